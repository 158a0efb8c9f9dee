"""CSV: what the list shows, all of it, sent as it is read, and no formula in it."""

import csv
import io

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient

from tests.factories import JobFactory, VirtualMachineFactory
from vms.models import VirtualMachine


def read(answer):
    return list(csv.DictReader(io.StringIO(b"".join(answer).decode())))


@pytest.mark.parametrize("address", ["vms", "hosts", "sites", "customers", "images", "activity"])
def test_every_list_gives_a_file_of_its_own_name(as_technician, fleet, address):
    JobFactory(hypervisor=fleet.host)
    page = as_technician.get(f"/{address}/").content.decode()
    assert 'href="?format=csv"' in page
    answer = as_technician.get(f"/{address}/?format=csv")
    assert answer.streaming
    assert f'filename="basalt-{address}-' in answer["Content-Disposition"]
    assert len(read(answer)) >= 1


def test_it_holds_all_pages_in_the_order_and_with_the_filters_of_the_list(as_technician, fleet):
    for number in range(60):
        VirtualMachineFactory(hypervisor=fleet.host, name=f"many-{number:02}", vcpus=number % 3 + 1)
    page = as_technician.get("/vms/?q=many&sort=-vcpus")
    assert 'href="?q=many&amp;sort=-vcpus&amp;format=csv"' in page.content.decode()
    rows = read(as_technician.get("/vms/?q=many&sort=-vcpus&format=csv"))
    assert len(rows) == 60
    assert [row["vcpus"] for row in rows] == ["3"] * 20 + ["2"] * 20 + ["1"] * 20


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_cell_is_taken_for_a_formula(as_technician, fleet, begin):
    VirtualMachine.objects.filter(pk=fleet.vm.pk).update(name=f"{begin}cmd|calc")
    (row,) = read(as_technician.get("/vms/?format=csv"))
    assert row["name"] == f"'{begin}cmd|calc"


def test_cells_with_commas_quotes_and_lines_stay_one_cell(as_technician, fleet):
    fleet.site.address = 'Main Street 1, "back door"\n4000 Basel'
    fleet.site.save()
    (row,) = read(as_technician.get("/sites/?format=csv"))
    assert row["address"] == fleet.site.address


@pytest.mark.django_db(transaction=True)
def test_the_server_sends_it_in_parts(fleet, technician):
    """As uvicorn asks for it: nothing gathers the whole file first."""
    client = AsyncClient()
    client.force_login(technician)

    async def parts():
        answer = await client.get("/vms/", {"format": "csv"})
        assert answer.is_async
        return [part async for part in answer.streaming_content]

    text = b"".join(async_to_sync(parts)()).decode()
    assert text.startswith("name,customer,")
    assert "alder-vm" in text
