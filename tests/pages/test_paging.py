"""Pages by key: each row once, in every order, while rows come and go; and cursors of others."""

import copy
import uuid
from datetime import timedelta

import pytest
from django.core import signing
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from hypervisors.models import Hypervisor, Job, Status
from portal.views.keyset import Ordering, keyset_page
from portal.views.saved_views import LISTS
from tenants.models import AuditEvent, Site, Tenant
from tests.factories import (
    CustomerFactory,
    HypervisorFactory,
    JobFactory,
    SiteFactory,
    UserFactory,
    VirtualMachineFactory,
)
from vms.models import Image, Power, VirtualMachine

ROWS = 250
START = timezone.now().replace(microsecond=654321)
SORTS = [
    (name, sort)
    for name, page in sorted(LISTS.items())
    for column in page.table_class.base_columns
    if page.table_class.base_columns[column].orderable is not False
    for sort in (column, f"-{column}")
]


def again(row, **changes):
    """The same row once more, not in the database yet."""
    other = copy.copy(row)
    other._state = copy.copy(row._state)
    other._state.adding = True
    other.pk = uuid.uuid4()
    for name, value in changes.items():
        setattr(other, name, value)
    return other


class Many:
    """Rows of each list, with many equals in every column, and none at all where it can be."""

    def __init__(self, fleet, others):
        self.fleet = fleet
        self.hosts_of = [fleet.host, others.host, HypervisorFactory(site=fleet.site)]
        self.sites_of = [fleet.site, others.site]
        self.people = [fleet.owner, None, others.owner, UserFactory(email="zed@example.com")]

    def customers(self, n):
        return again(
            self.fleet.customer,
            name=f"{'Aé-'[n % 3]} {n % 40} {n}",
            slug=f"many-{n}",
            created_at=START - timedelta(days=n % 7),
        )

    def sites(self, n):
        return again(
            self.sites_of[n % 2],
            name=f"{'Site' if n % 2 else 'site'} {n % 50}-{n}",
            slug=f"many-{n}",
            address=("", "Main Street 1", "Zoo 7")[n % 3],
        )

    def hosts(self, n):
        return again(
            self.hosts_of[n % 3],
            name=f"many-{n}",
            sign_public=uuid.uuid4().bytes * 2,
            online=n % 2 == 0,
            last_seen_at=None if n % 3 == 0 else START - timedelta(microseconds=n % 9),
        )

    def vms(self, n):
        return again(
            self.fleet.vm,
            hypervisor=self.hosts_of[n % 3],
            tenant=self.hosts_of[n % 3].tenant,
            name=f"many-{n}",
            vcpus=n % 4 + 1,
            memory_mib=512 * (n % 5 + 1),
            observed_power=Power.values[n % len(Power.values)],
            created_at=START - timedelta(microseconds=n % 11),
        )

    def images(self, n):
        return again(
            self.fleet.image,
            name=f"many-{n}",
            tenant=(None, self.fleet.msp)[n % 2],
            created_at=START - timedelta(hours=n % 5),
        )

    def activity(self, n):
        return again(
            self.job(),
            hypervisor=self.hosts_of[n % 3],
            tenant=self.hosts_of[n % 3].tenant,
            subject_id=uuid.uuid4(),
            kind=("vm.start", "vm.delete", "vm.create")[n % 3],
            status=Status.values[n % len(Status.values)],
            requested_by=self.people[n % 4],
            created_at=START - timedelta(seconds=n % 13),
        )

    def audit(self, n):
        return AuditEvent(
            tenant=self.hosts_of[n % 3].tenant,
            actor_name=f"person {n % 4}",
            action="vm.start",
            object_name=f"many-{n}",
            created_at=START - timedelta(seconds=n % 13),
        )

    def job(self):
        return Job.objects.first() or JobFactory(hypervisor=self.fleet.host)

    def make(self, name, numbers):
        rows = [getattr(self, name)(n) for n in numbers]
        return [row.pk for row in MODELS[name].objects.bulk_create(rows)]


MODELS = {
    "customers": Tenant,
    "sites": Site,
    "hosts": Hypervisor,
    "vms": VirtualMachine,
    "images": Image,
    "activity": Job,
    "audit": AuditEvent,
}


@pytest.fixture
def many(fleet, others):
    return Many(fleet, others)


def rows_and_ordering(name, sort, user, rf):
    """As the list's own page finds them."""
    page = LISTS[name]()
    page.setup(rf.get("/", {"sort": sort}))
    page.request.user = user
    from portal.views.lists import paths_of, sorts

    table = page.table_class(page.rows(), order_by=sorts(page.table_class, page.request.GET))
    return page.rows(), Ordering(page.rows(), paths_of(table))


@pytest.mark.parametrize(("name", "sort"), SORTS)
def test_each_row_that_stays_is_shown_once_while_others_come_and_go(
    many, technician, rf, name, sort
):
    made = many.make(name, range(ROWS))
    rows, ordering = rows_and_ordering(name, sort, technician, rf)
    before = set(rows.values_list("pk", flat=True))
    assert before >= set(made)
    doomed = iter(made[::5])
    seen, cursor, number = [], "", 0
    while number == 0 or cursor:
        page = keyset_page(rows, ordering, cursor=cursor, per_page=30)
        assert not page.stale
        seen += [row.pk for row in page.rows]
        cursor = page.next
        # Near the front and near the end alike: some rows go, others come, between two pages.
        if name != "audit":  # where nothing ever goes
            MODELS[name].objects.filter(pk__in=[next(doomed) for _ in range(4)]).delete()
        many.make(name, range(ROWS + number * 4, ROWS + number * 4 + 4))
        number += 1
    assert number >= 8
    assert len(seen) == len(set(seen))
    stayed = before & set(rows.values_list("pk", flat=True))
    in_order = [pk for pk in ordering.sorted(rows).values_list("pk", flat=True) if pk in stayed]
    assert [pk for pk in seen if pk in stayed] == in_order


@pytest.mark.parametrize(("name", "sort"), SORTS)
def test_going_back_shows_the_same_pages(many, technician, rf, name, sort):
    many.make(name, range(100))
    rows, ordering = rows_and_ordering(name, sort, technician, rf)
    there, cursor = [], ""
    while not there or cursor:
        page = keyset_page(rows, ordering, cursor=cursor, per_page=30)
        there.append(page)
        cursor = page.next
    assert [len(page.rows) for page in there[:3]] == [30, 30, 30]
    assert there[0].previous == ""
    back = [there[-1]]
    while back[-1].previous:
        back.append(keyset_page(rows, ordering, cursor=back[-1].previous, per_page=30))
    assert [page.rows for page in reversed(back)] == [page.rows for page in there]


def test_hosts_that_were_never_seen_come_last_either_way(many, technician, rf):
    many.make("hosts", range(9))
    for sort in ("last_seen_at", "-last_seen_at"):
        rows, ordering = rows_and_ordering("hosts", sort, technician, rf)
        page = keyset_page(rows, ordering, cursor="", per_page=50)
        never = [row.last_seen_at is None for row in page.rows]
        assert never == sorted(never)
        assert sum(never) == 3


def address_after(client, address):
    return client.get(address).context["table"].page.keyset.next


def first_names(answer):
    return [row.record.name for row in answer.context["table"].page.object_list]


@pytest.fixture
def long_list(many):
    many.make("vms", range(120))


HOSTILE = [
    "x",
    "%00",
    "a" * 100_000,
    "..:..",
    signing.dumps(["name,id", 0, "a", "b"], salt="another"),
    signing.dumps(["name,id", 0, "a"], salt="basalt.keyset"),
    signing.dumps(["-name,-id", 0, "a", {"id": str(uuid.uuid4())}], salt="basalt.keyset"),
    signing.dumps("text", salt="basalt.keyset"),
    signing.dumps(7, salt="basalt.keyset"),
    signing.dumps([], salt="basalt.keyset"),
    "\N{GRINNING FACE}",
]


@pytest.mark.parametrize("cursor", HOSTILE, ids=range(len(HOSTILE)))
def test_a_cursor_that_is_none_of_the_lists_shows_the_first_page_and_says_so(
    as_technician, long_list, cursor
):
    answer = as_technician.get("/vms/", {"cursor": cursor})
    assert answer.status_code == 200
    assert "so this is the first one" in answer.content.decode()
    assert first_names(answer) == first_names(as_technician.get("/vms/"))


def test_so_does_one_letter_changed_or_left_out_of_a_real_one(as_technician, long_list):
    real = address_after(as_technician, "/vms/")
    assert "this is the first one" not in as_technician.get(f"/vms/?cursor={real}").content.decode()
    for cursor in (real[:-1], "A" + real[1:], real.replace(":", "", 1)):
        answer = as_technician.get("/vms/", {"cursor": cursor})
        assert answer.context["table"].page.keyset.stale


def test_a_cursor_of_another_sorting_shows_the_first_page(as_technician, long_list):
    cursor = address_after(as_technician, "/vms/?sort=vcpus")
    answer = as_technician.get("/vms/", {"cursor": cursor, "sort": "-vcpus"})
    assert answer.context["table"].page.keyset.stale


def test_a_page_whose_rows_are_all_gone_is_the_first_page(as_technician, long_list):
    first = as_technician.get("/vms/")
    VirtualMachine.objects.exclude(name__in=first_names(first)).delete()
    answer = as_technician.get("/vms/", {"cursor": first.context["table"].page.keyset.next})
    assert "so this is the first one" in answer.content.decode()
    assert first_names(answer) == first_names(first)


def test_another_persons_cursor_widens_nothing(client, technician, fleet, others, long_list):
    client.force_login(technician)
    cursor = address_after(client, "/vms/")
    client.force_login(fleet.owner)
    answer = client.get("/vms/", {"cursor": cursor})
    theirs = {row.record.tenant for row in answer.context["table"].page.object_list}
    assert theirs == {fleet.customer}


def test_no_page_counts_the_whole_table(as_technician, long_list):
    with CaptureQueriesContext(connection) as captured:
        as_technician.get("/vms/")
    counts = [each["sql"] for each in captured if "COUNT(" in each["sql"]]
    assert counts
    assert all("LIMIT " in sql for sql in counts)


def test_filters_and_sorting_stay_from_page_to_page(as_technician, long_list):
    answer = as_technician.get("/vms/?q=many&sort=-vcpus")
    page = answer.content.decode()
    assert 'rel="next" href="?q=many&amp;sort=-vcpus&amp;cursor=' in page
    cursor = answer.context["table"].page.keyset.next
    second = as_technician.get("/vms/", {"q": "many", "sort": "-vcpus", "cursor": cursor})
    assert "cursor" not in second.context["view_query"]
    assert 'href="?q=many&amp;sort=vcpus"' in second.content.decode()


LISTED = ["/vms/", "/hosts/", "/sites/", "/customers/", "/images/", "/activity/"]


@pytest.mark.parametrize("address", [*LISTED, *(f"{each}?format=csv" for each in LISTED)])
def test_a_hundred_rows_take_as_many_queries_as_five(as_technician, fleet, many, address):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            answer = as_technician.get(address)
            text = b"".join(answer)
        assert answer.status_code == 200
        return len(captured), text.count(b"many-")

    name = address.split("/")[1]
    for _ in range(3):
        VirtualMachineFactory(hypervisor=HypervisorFactory(site=SiteFactory()))
        CustomerFactory(parent=fleet.msp)
    many.make(name, range(5))
    queries()
    few, _ = queries()
    many.make(name, range(5, 40))
    queries()  # the first after customers were added writes down whom the person reaches
    more, _ = queries()
    many.make(name, range(40, 105))
    queries()
    # The page now has another after it, and the list is counted.
    most, _ = queries()
    assert more == few
    assert most <= few + 1


def test_equal_values_are_told_apart_by_id(fleet, technician, rf):
    VirtualMachine.objects.update(vcpus=F("vcpus"))
    rows, ordering = rows_and_ordering("vms", "-vcpus", technician, rf)
    assert ordering.name == "-vcpus,-id"
    assert str(ordering.sorted(rows).query).rstrip().endswith('"vms_virtualmachine"."id" DESC')
