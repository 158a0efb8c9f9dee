"""Usage on the pages: sparklines without a query for each row, in the reader's scope."""

import re

import pytest
from django.test import Client
from django.utils import timezone

from hypervisors.models import HostUsage
from hypervisors.models.usage import QUARTER
from hypervisors.services.usage import floor
from portal.views.sparks import spark
from tests.factories import HypervisorFactory, MembershipFactory, VirtualMachineFactory
from tests.pages.conftest import fleet_of
from vms.models import VmUsage


@pytest.fixture
def technician(fleet):
    client = Client()
    client.force_login(MembershipFactory(tenant=fleet.msp, role="msp-technician").user)
    return client


def heard_of(vm, cpu=30):
    at = floor(timezone.now(), QUARTER)
    common = {"tenant": vm.tenant, "at": at, "span_s": QUARTER, "cpu_percent": cpu}
    VmUsage.objects.create(vm=vm, memory_used_mib=512, **common)
    HostUsage.objects.create(hypervisor=vm.hypervisor, memory_used_mib=8192, **common)


def queries_of(client, path, django_assert_max_num_queries):
    with django_assert_max_num_queries(60) as counted:
        assert client.get(path).status_code == 200
    return len(counted)


@pytest.mark.parametrize("path", ["/vms/", "/hosts/"])
def test_more_rows_take_no_more_queries(technician, fleet, path, django_assert_max_num_queries):
    heard_of(fleet.vm)
    technician.get(path)  # once a minute it is noted where a session is used from
    few = queries_of(technician, path, django_assert_max_num_queries)
    for _ in range(5):
        host = HypervisorFactory(site=fleet.site)
        heard_of(VirtualMachineFactory(hypervisor=host))
    assert queries_of(technician, path, django_assert_max_num_queries) == few


def test_a_row_says_in_words_what_its_lines_show(technician, fleet):
    heard_of(fleet.vm)
    page = technician.get("/vms/").content.decode()
    assert "Processor in the last 24 hours: now 30 %, 30 % on average, 30 % at most" in page
    assert "Memory in the last 24 hours: now 50 %" in page
    hosts = technician.get("/hosts/").content.decode()
    assert "Memory in the last 24 hours: now 25 %" in hosts


def test_a_customers_list_holds_no_line_of_another_customer(fleet, msp):
    other = fleet_of(msp, "birch")
    heard_of(other.vm)
    client = Client()
    client.force_login(fleet.owner)
    assert 'class="spark' not in client.get("/vms/").content.decode()


def test_a_page_knows_where_its_figures_are(technician, fleet):
    assert f"/api/v1/vms/{fleet.vm.id}/usage/" in technician.get(fleet.vm_page).content.decode()
    page = technician.get(fleet.host_page).content.decode()
    assert f"/api/v1/hypervisors/{fleet.host.id}/usage/" in page


def test_a_line_has_a_gap_where_nothing_was_heard():
    drawn = spark("Processor", [10, 20, None, None, 40, 50, None, 5], 100, css="first")
    line = re.search(r'class="line" d="([^"]*)"', drawn).group(1)
    # Two pieces and a dot.
    assert line.count("M") == 3
    assert line.endswith("h.1")


@pytest.mark.parametrize(("values", "whole"), [([], 100), ([None, None], 100), ([1, 2], 0)])
def test_what_is_not_known_is_not_drawn(values, whole):
    assert spark("Memory", values, whole, css="second") == ""


def test_values_beyond_the_whole_stay_in_the_picture():
    drawn = spark("Memory", [500, -3], 100, css="second")
    assert "100 % at most" in drawn
    line = re.search(r'class="line" d="M([^"]*)"', drawn).group(1)
    heights = [float(number) for number in line.split()[1::2]]
    assert heights == [1.5, 20.5]


# ------------------------------------------------------------------ the grid of sites


@pytest.mark.parametrize(
    ("host", "vm", "words", "tone"),
    [
        ({}, {}, "All well", "good"),
        ({"online": False}, {}, "Offline", "bad"),
        ({}, {"observed_power": "crashed"}, "1 VM in trouble", "bad"),
        ({"facts": {"problems": ["The disk is full."]}}, {}, "Has problems", "warn"),
    ],
)
def test_a_site_shows_the_worst_there_is(technician, fleet, host, vm, words, tone):
    type(fleet.host).objects.update(**host)
    type(fleet.vm).objects.update(**vm)
    page = technician.get("/").content.decode()
    card = re.search(r'<a class="site-card[^>]*>.*?</a>', page, re.DOTALL).group(0)
    assert f"site-card {tone}" in card
    assert words in card
    assert fleet.site_page in card
    running = 0 if vm else 1
    assert f"{running}/1 VM running" in card


def test_one_of_two_hosts_away_is_a_warning(technician, fleet):
    HypervisorFactory(site=fleet.site, online=False)
    page = technician.get("/").content.decode()
    assert "1 of 2 hosts offline" in page
    assert "1/2 hosts online" in page
