"""What `{{ name }}` stands for, and what is said of a name that stands for nothing."""

import pytest

from tenants.actor import SYSTEM
from tenants.errors import InvalidInputError
from tenants.services.custom_fields import custom_fields_set
from tests.factories import (
    CustomerFactory,
    HypervisorFactory,
    MspFactory,
    NetworkFactory,
    SiteFactory,
    VirtualMachineFactory,
)
from vms.services.specs import guest_spec
from vms.services.variables import filled_in, guest_variables
from vms.services.vendor_data import vendor_data_set

pytestmark = pytest.mark.django_db


@pytest.fixture
def msp(db):
    return MspFactory(name="Nordlicht")


@pytest.fixture
def vm(msp):
    customer = CustomerFactory(name="Alder Ltd", parent=msp)
    site = SiteFactory(tenant=customer, name="Head office", time_zone="Europe/Vienna")
    host = HypervisorFactory(site=site, name="rack-1")
    network = NetworkFactory(hypervisor=host, subnet="10.1.0.0/24", gateway="10.1.0.1")
    vm = VirtualMachineFactory(hypervisor=host, name="Web-1", username="maria", network=network)
    vm.nics.update(address="10.1.0.7")
    return vm


def test_a_script_may_use_what_the_portal_knows(vm):
    text = (
        "{{ name }} {{ hostname }} {{ username }} {{ ip }} {{ gateway }} "
        "{{ customer.name }} {{ site.name }} {{ site.time_zone }} {{ host.name }}"
    )
    assert filled_in(text, guest_variables(vm)) == (
        "Web-1 web-1 maria 10.1.0.7 10.1.0.1 Alder Ltd Head office Europe/Vienna rack-1"
    )


def test_fields_of_the_customer_win_over_those_of_its_msp(vm, msp):
    custom_fields_set(actor=SYSTEM, owner=msp, fields={"ntp": "10.0.0.1", "vpn": "a.example"})
    custom_fields_set(actor=SYSTEM, owner=vm.tenant, fields={"vpn": "b.example"})
    custom_fields_set(actor=SYSTEM, owner=vm.hypervisor.site, fields={"rack": "7"})
    vm.refresh_from_db()
    text = "{{ customer.ntp }} {{ customer.vpn }} {{ site.rack }}"
    assert filled_in(text, guest_variables(vm)) == "10.0.0.1 b.example 7"


def test_an_unknown_variable_is_refused_with_the_one_that_was_meant(vm):
    with pytest.raises(InvalidInputError, match=r"\{\{ sitename \}\}.*Did you mean.*site.name"):
        filled_in("{{ sitename }}", guest_variables(vm))


def test_an_address_that_the_site_gives_is_not_known(vm):
    vm.nics.update(address=None)
    with pytest.raises(InvalidInputError, match="the site's own DHCP gives its address"):
        filled_in("{{ ip }}", guest_variables(vm))


def test_the_host_is_told_of_all_of_it(vm, msp):
    vendor_data_set(actor=SYSTEM, msp=msp, text="#cloud-config\npackages: [htop]\n")
    vm.user_data, vm.tags = "#!/bin/sh\necho {{ ip }}\n", {"role": "web"}
    vm.save()
    spec = guest_spec(vm)
    assert spec.user_data == "#!/bin/sh\necho {{ ip }}\n"
    assert spec.variables["ip"] == "10.1.0.7"
    assert spec.vendor_data == "#cloud-config\npackages: [htop]\n"
    assert spec.tags == {"role": "web"}
    assert spec.instance_id == str(vm.id)


def test_vendor_data_that_the_guest_would_not_understand_is_refused(msp):
    with pytest.raises(InvalidInputError, match="not valid YAML") as refusal:
        vendor_data_set(actor=SYSTEM, msp=msp, text="#cloud-config\npackages: [htop\n")
    assert refusal.value.field == "vendor_data"


def test_a_customer_has_no_vendor_data(vm):
    with pytest.raises(InvalidInputError, match="Only an MSP"):
        vendor_data_set(actor=SYSTEM, msp=vm.tenant, text="#!/bin/sh\n")
