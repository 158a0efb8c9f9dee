"""Saved views: one's own questions to a list, under names; and never more than the list shows."""

import uuid

import pytest
from django.contrib.messages import get_messages

from tenants.models import SavedView
from tenants.services.saved_views import MOST
from tests.factories import MembershipFactory, VirtualMachineFactory


def save(client, query="power=off&sort=-name", name="Night shift", **more):
    return client.post("/views/", {"list": "vms", "query": query, "name": name, **more})


def told(answer):
    return " ".join(str(message) for message in get_messages(answer.wsgi_request))


def shown_names(answer):
    return [row.record.name for row in answer.context["table"].page.object_list]


def views(answer):
    return [view.name for view in answer.context["views"]]


def test_what_a_list_shows_is_saved_and_opened_above_it(as_customer, fleet):
    VirtualMachineFactory(hypervisor=fleet.host, name="sleeper", observed_power="off")
    page = as_customer.get("/vms/?power=off&sort=-name&cursor=x&q=")
    assert page.context["view_query"] == "power=off&sort=-name"
    answer = save(as_customer, page.context["view_query"])
    assert answer["Location"] == "/vms/?power=off&sort=-name"
    opened = as_customer.get(answer["Location"])
    assert shown_names(opened) == ["sleeper"]
    assert opened.context["current_view"].name == "Night shift"
    assert 'aria-current="true" data-testid="view">Night shift' in opened.content.decode()
    assert as_customer.get("/hosts/").context["views"] == []


def test_only_filters_and_sorting_are_kept_and_only_those_that_there_are(as_customer, fleet):
    save(as_customer, "power=off&format=csv&cursor=abc&next=//evil&sort=password&sort=-vcpus&x=%00")
    assert SavedView.objects.get().query == "power=off&sort=-vcpus"


@pytest.mark.parametrize("query", ["power=on-fire", "site=x", "q=%00", f"site={uuid.UUID(int=7)}"])
def test_a_filter_that_the_list_does_not_understand_is_not_saved(as_customer, fleet, query):
    answer = save(as_customer, query)
    assert "does not understand" in told(answer)
    assert not SavedView.objects.exists()


def test_another_tenants_site_is_like_none_at_all(as_customer, fleet, others):
    foreign = save(as_customer, f"site={others.site.id}")
    assert "does not understand: Site." in told(foreign)
    assert not SavedView.objects.exists()


def test_a_view_shows_no_more_than_its_person_may_see_now(client, technician, fleet, others):
    client.force_login(technician)
    save(client, f"site={others.site.id}")
    view = SavedView.objects.get()
    assert shown_names(client.get(f"/vms/?{view.query}")) == ["birch-vm"]
    technician.memberships.all().delete()
    MembershipFactory(tenant=fleet.customer, user=technician, role="customer-viewer")
    page = client.get(f"/vms/?{view.query}")
    assert "birch" not in page.content.decode()
    assert "Site: there is no such choice" in page.content.decode()


def test_the_list_opens_with_the_default_and_all_is_still_one_press_away(as_customer, fleet):
    VirtualMachineFactory(hypervisor=fleet.host, name="sleeper", observed_power="off")
    save(as_customer, default="yes")
    answer = as_customer.get("/vms/", follow=True)
    assert answer.redirect_chain == [("/vms/?power=off&sort=-name", 302)]
    assert shown_names(answer) == ["sleeper"]
    assert 'href="?view=all"' in answer.content.decode()
    assert shown_names(as_customer.get("/vms/?view=all")) == ["alder-vm", "sleeper"]


def test_one_view_of_a_list_is_its_default(as_customer, fleet):
    save(as_customer, default="yes")
    save(as_customer, "power=running", "Awake")
    night, awake = SavedView.objects.get(name="Night shift"), SavedView.objects.get(name="Awake")
    as_customer.post(f"/views/{awake.id}/default/", {"default": "yes"})
    assert list(SavedView.objects.filter(is_default=True)) == [awake]
    as_customer.post(f"/views/{awake.id}/default/", {"default": "no"})
    assert as_customer.get("/vms/").status_code == 200
    assert not SavedView.objects.get(pk=night.pk).is_default


def test_a_default_of_everything_does_not_lead_in_circles(as_customer, fleet):
    save(as_customer, "", "Everything", default="yes")
    assert as_customer.get("/vms/").status_code == 200


def test_saving_under_a_name_that_is_there_replaces_it(as_customer, fleet):
    save(as_customer)
    save(as_customer, "power=running", "NIGHT shift")
    view = SavedView.objects.get()
    assert (view.name, view.query) == ("NIGHT shift", "power=running")


def test_a_view_is_renamed_but_not_to_anothers_name(as_customer, fleet):
    save(as_customer)
    save(as_customer, "power=running", "Awake")
    awake = SavedView.objects.get(name="Awake")
    answer = as_customer.post(f"/views/{awake.id}/rename/", {"name": " night  SHIFT "})
    assert "Another saved view of this list is named" in told(answer)
    as_customer.post(f"/views/{awake.id}/rename/", {"name": "awake  now"})
    assert views(as_customer.get("/vms/")) == ["awake now", "Night shift"]


@pytest.mark.parametrize("name", ["", "   ", "a\x00b", "x" * 41, "a\u202eb"])
def test_a_name_must_be_one(as_customer, fleet, name):
    answer = save(as_customer, name=name)
    assert "name" in told(answer)
    assert not SavedView.objects.exists()


def test_a_name_is_text_and_nothing_else(as_customer, fleet):
    save(as_customer, name="<b onclick=x>")
    page = as_customer.get("/vms/").content.decode()
    assert "<b onclick" not in page
    assert "&lt;b onclick=x&gt;" in page


def test_a_deleted_view_is_gone_and_the_list_shows_all(as_customer, fleet):
    save(as_customer, default="yes")
    answer = as_customer.post(f"/views/{SavedView.objects.get().id}/delete/", follow=True)
    assert answer.redirect_chain == [("/vms/?view=all", 302)]
    assert shown_names(answer) == ["alder-vm"]
    assert not SavedView.objects.exists()


@pytest.mark.parametrize("action", ["rename", "default", "delete"])
def test_another_persons_view_is_like_none_at_all(client, technician, fleet, action):
    client.force_login(technician)
    save(client)
    view = SavedView.objects.get()
    client.force_login(fleet.owner)
    theirs = client.post(f"/views/{view.id}/{action}/", {"name": "mine", "default": "yes"})
    never = client.post(f"/views/{uuid.uuid4()}/{action}/", {"name": "mine", "default": "yes"})
    assert theirs.status_code == never.status_code == 404
    assert theirs.content == never.content
    after = SavedView.objects.get()
    assert (after.name, after.is_default) == ("Night shift", False)
    assert views(client.get("/vms/")) == []


def test_there_is_a_most_and_a_sentence_about_it(as_customer, fleet):
    for number in range(MOST):
        save(as_customer, f"q={number}", f"View {number}")
    assert "20 saved views already" in told(save(as_customer, "q=more", "One more"))
    assert SavedView.objects.count() == MOST
    save(as_customer, "q=instead", "View 3")
    assert SavedView.objects.get(name="View 3").query == "q=instead"


def test_too_much_to_save_is_refused(as_customer, fleet):
    assert "too long to be saved" in told(save(as_customer, f"q={'x' * 1200}"))


@pytest.mark.parametrize("name", ["nonsense", "", "vms/"])
def test_a_view_of_no_list_is_not_found(as_customer, fleet, name):
    answer = as_customer.post("/views/", {"list": name, "query": "", "name": "x"})
    assert answer.status_code == 404


def test_nobody_saves_a_view_without_signing_in(client, db):
    assert save(client)["Location"].startswith("/account/login/")
    assert not SavedView.objects.exists()
