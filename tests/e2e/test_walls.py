"""A customer's user meets another customer's VM: there is no such thing."""

import pytest

pytestmark = [pytest.mark.guest, pytest.mark.libvirt, pytest.mark.root, pytest.mark.browser]


@pytest.fixture(scope="module")
def vm(stack):
    answer = stack.api.post(
        "vms/",
        {
            "name": "not-yours",
            "hypervisor": stack.hypervisor["id"],
            "image": stack.image["id"],
            "vcpus": 1,
            "memory_mib": 256,
            "disks": [{"size_gib": 5}],
            "username": "tester",
            "password": "correct horse 42",
        },
        expect=202,
    )
    assert stack.wait_for_job(answer["job"]["id"])["status"] == "succeeded"
    yield answer["vm"]
    stack.delete_vm_if_there(answer["vm"]["id"])


@pytest.fixture(scope="module")
def stranger(stack):
    """The administrator of another customer: e-mail, password and an API of their own."""
    return stack.new_user(customer="Other Works", role="customer-administrator")


def test_the_api_says_404_as_for_a_vm_that_never_was(stack, vm, stranger):
    missing = "00000000-0000-4000-8000-000000000000"
    for path in ("vms/{}/", "vms/{}/console/", "vms/{}/start/", "vms/{}/resize/"):
        method = stranger.api.get if path == "vms/{}/" else stranger.api.post
        theirs = method(path.format(vm["id"]), expect=404)
        nobodys = method(path.format(missing), expect=404)
        assert theirs == nobodys
    stranger.api.delete(f"vms/{vm['id']}/", expect=404)
    assert stranger.api.get("vms/")["results"] == []
    stack.api.get(f"vms/{vm['id']}/")


@pytest.fixture
def page(stack, stranger, browser):
    """The stranger's browser, signed in."""
    page = browser.new_page()
    page.goto(stack.url)
    page.get_by_test_id("login-email").fill(stranger.email)
    page.get_by_test_id("login-password").fill(stranger.password)
    page.get_by_test_id("login-submit").click()
    page.wait_for_url(f"{stack.url}/")
    yield page
    page.close()


def test_the_pages_say_404(stack, vm, page):
    base = f"{stack.url}/c/{stack.customer['slug']}/vms"
    for address in (f"{base}/not-yours/", f"{base}/not-yours/console/", f"{base}/never-was/"):
        assert page.goto(address).status == 404


def test_a_ticket_for_the_console_is_worth_nothing_in_a_strangers_session(
    stack, vm, stranger, page
):
    cookie = "; ".join(f"{each['name']}={each['value']}" for each in page.context.cookies())
    ticket = stack.api.post(f"vms/{vm['id']}/console/", expect=202)
    assert stranger.open_socket(ticket["url"], cookie=cookie) == 4404


def test_no_console_opens_with_a_made_up_ticket(stack, vm, stranger):
    ticket = stack.api.post(f"vms/{vm['id']}/console/", expect=202)
    made_up = ticket["url"].rstrip("/").rsplit("/", 1)[0] + "/made-up-ticket/"
    assert stranger.open_socket(made_up, cookie="") in (403, 404, 4404)
