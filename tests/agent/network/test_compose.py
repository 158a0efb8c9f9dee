"""What a guest is told, composed from what the portal asked for."""

import email
import subprocess
from email.message import Message
from ipaddress import IPv4Address

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.network.compose import DONE_URL, hash_password, merged_user_data, nic_document
from agent.network.errors import NetworkError
from agent.protocol import GuestSpec, NetworkSpec, NicSpec, RouteSpec
from metadata.documents import Lease, NicDocument, last_resort_lease
from metadata.network_data import network_data

LAN = NetworkSpec(
    network_id="21111111-1111-1111-1111-111111111111",
    kind="bridge",
    bridge="br0",
    gateway="10.1.0.1",
    dns=["10.1.0.2", "fd00::2"],
)
KEY = "ssh-ed25519 AAAA me@there"
ANYWHERE = str(IPv4Address(0))


def guest(**changes) -> GuestSpec:
    fields = {
        "instance_id": "11111111-2222-3333-4444-555555555555",
        "hostname": "web-1",
        "username": "alice",
        "ssh_keys": [KEY],
    }
    return GuestSpec(**{**fields, **changes})


def nic(address: str | None, *, network: NetworkSpec = LAN, number: int = 1) -> NicSpec:
    return NicSpec(
        nic_id=f"{number}1111111-1111-1111-1111-111111111111",
        mac=f"52:54:00:00:00:0{number}",
        network=network,
        address=address,
    )


def composed(one: NicSpec, *, of: dict | None = None, **changes) -> NicDocument:
    """The document of a guest with this NIC; `of` changes what is said of the guest."""
    fields = {"password_hash": None, "user_data": None, "host_dns": ["9.9.9.9"]}
    return nic_document(guest=guest(**(of or {})), nic=one, nics=[one], **{**fields, **changes})


def parts(user_data: bytes) -> list[Message]:
    """As cloud-init takes a message apart."""
    whole = email.message_from_bytes(user_data)
    assert whole.is_multipart()
    assert whole.defects == []
    return [part for part in whole.walk() if not part.is_multipart()]


def text(part: Message) -> str:
    return part.get_payload(decode=True).decode()


def own_config(user_data: bytes) -> dict:
    body = text(parts(user_data)[-1])
    assert body.startswith("#cloud-config\n")
    # JSON is YAML, so what reads as JSON reads as cloud-config.
    return msgspec.json.decode(body.split("\n", 1)[1])


# ------------------------------------------------------------------ user-data


def test_a_user_with_a_key_has_no_password_and_may_do_everything():
    config = own_config(merged_user_data(guest=guest(), password_hash=None, user_data=None))
    assert config["users"] == [
        {
            "name": "alice",
            "shell": "/bin/bash",
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "lock_passwd": True,
            "ssh_authorized_keys": [KEY],
        }
    ]
    assert config["ssh_pwauth"] is False


def test_a_password_with_a_key_is_for_the_console():
    config = own_config(merged_user_data(guest=guest(), password_hash="$6$x$y", user_data=None))
    [user] = config["users"]
    assert user["lock_passwd"] is False
    assert user["hashed_passwd"] == "$6$x$y"
    assert config["ssh_pwauth"] is False


def test_a_password_alone_is_good_for_ssh_too():
    only_password = guest(ssh_keys=[])
    config = own_config(
        merged_user_data(guest=only_password, password_hash="$6$x$y", user_data=None)
    )
    assert config["ssh_pwauth"] is True
    assert "ssh_authorized_keys" not in config["users"][0]


def test_the_end_of_the_first_boot_is_reported():
    config = own_config(merged_user_data(guest=guest(), password_hash=None, user_data=None))
    assert config["phone_home"]["url"] == DONE_URL == "http://169.254.169.254/basalt/v1/done"


def test_a_full_name_is_kept_apart_from_the_hosts_own():
    config = own_config(
        merged_user_data(
            guest=guest(hostname="web-1.example.org"), password_hash=None, user_data=None
        )
    )
    assert (config["hostname"], config["fqdn"]) == ("web-1", "web-1.example.org")


def test_the_customers_part_comes_first_and_unchanged():
    script = "#!/bin/sh\necho 'größe: 5 € — ✓'\n"
    user_data = merged_user_data(guest=guest(), password_hash=None, user_data=script)
    first, own = parts(user_data)
    assert first.get_content_type() == "text/plain"
    assert text(first) == script
    assert own.get_content_type() == "text/cloud-config"


def test_our_users_are_added_to_theirs_and_their_other_wishes_stay():
    user_data = merged_user_data(
        guest=guest(), password_hash=None, user_data="#cloud-config\nusers: [bob]\n"
    )
    own = parts(user_data)[-1]
    assert own["Merge-Type"] == "list(append)+dict(no_replace,recurse_list)+str()"
    assert own["X-Merge-Type"] == own["Merge-Type"]


def test_a_mime_message_of_the_customer_is_nested_as_one():
    theirs = (
        "Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\n\n"
        "--b\nContent-Type: text/cloud-config\n\npackages: [htop]\n"
        "--b\nContent-Type: text/x-shellscript\n\n#!/bin/sh\necho ü\n--b--\n"
    )
    user_data = merged_user_data(guest=guest(), password_hash=None, user_data=theirs)
    kinds = [part.get_content_type() for part in parts(user_data)]
    assert kinds == ["text/cloud-config", "text/x-shellscript", "text/cloud-config"]
    assert "packages: [htop]" in text(parts(user_data)[0])


def test_the_same_wishes_make_the_same_document():
    one = nic("10.1.0.5/24")
    assert composed(one, user_data="#!/bin/sh\n") == composed(one, user_data="#!/bin/sh\n")


@settings(deadline=None)
@given(st.text(max_size=2000))
def test_no_user_data_of_a_customer_hides_ours(user_data):
    encodable = user_data.encode(errors="replace").decode()
    merged = merged_user_data(guest=guest(), password_hash=None, user_data=encodable)
    assert own_config(merged)["users"][0]["name"] == "alice"


@settings(deadline=None)
@given(st.text(alphabet="-=\n\r Contentype:multipar/mixed;boundy'\"0123456789abcdef", max_size=300))
def test_no_broken_mime_of_a_customer_hides_ours(rest):
    user_data = f"Content-Type: multipart/mixed; boundary=b\n\n--b\n{rest}"
    merged = merged_user_data(guest=guest(), password_hash=None, user_data=user_data)
    assert own_config(merged)["users"][0]["name"] == "alice"


def test_in_ec2_form_the_vendors_part_is_within_the_user_data_and_before_the_customers():
    vendor, own = "#cloud-config\npackages: [htop]\n", "#!/bin/sh\ntrue\n"
    told = composed(
        nic("10.1.0.5/24"), user_data=own, of={"identity": "ec2", "vendor_data": vendor}
    )
    assert [text(part) for part in parts(told.user_data)][:2] == [vendor, own]
    assert told.vendor_data is None


@pytest.mark.parametrize("identity", ["openstack", "nocloud"])
def test_in_the_other_forms_the_vendors_part_has_its_own_place(identity):
    vendor = "#cloud-config\npackages: [htop]\n"
    told = composed(nic("10.1.0.5/24"), of={"identity": identity, "vendor_data": vendor})
    assert told.vendor_data == vendor
    assert len(parts(told.user_data)) == 1


def test_after_the_first_boot_nothing_secret_is_left_and_the_rest_is():
    told = composed(nic("10.1.0.5/24"), password_hash="$6$x$y", user_data="#!/bin/sh\n# secret\n")
    first, left = ("".join(map(text, parts(one))) for one in (told.user_data, told.open_user_data))
    for secret in ("$6$x$y", "# secret"):
        assert secret in first
        assert secret not in left
    [user] = own_config(told.open_user_data)["users"]
    # Whoever begins anew with it must not be locked out of a password that is set.
    assert user["lock_passwd"] is False


def test_user_data_in_clear_is_served_on():
    clear = "#cloud-config\nbootcmd: [date]\n"
    told = composed(nic("10.1.0.5/24"), password_hash="$6$x$y", of={"user_data": clear})
    assert text(parts(told.user_data)[0]) == text(parts(told.open_user_data)[0]) == clear
    assert "$6$x$y" not in text(parts(told.open_user_data)[1])


def test_variables_are_filled_in_on_the_host_in_all_parts():
    told = composed(
        nic("10.1.0.5/24"),
        user_data="#!/bin/sh\necho {{ site.name }}\n",
        of={"vendor_data": "#cloud-config\n# {{site.name}}\n", "variables": {"site.name": "Bonn"}},
    )
    assert text(parts(told.user_data)[0]) == "#!/bin/sh\necho Bonn\n"
    assert told.vendor_data == "#cloud-config\n# Bonn\n"
    assert told.zone == "Bonn"


def test_a_template_of_cloud_inits_own_is_left_to_it():
    template = "## template: jinja\n#cloud-config\n# {{ ds.meta_data.x }}\n"
    assert text(parts(composed(nic(None), user_data=template).user_data)[0]) == template


@pytest.mark.parametrize("where", ["user_data", "vendor_data"])
def test_a_variable_that_is_not_there_is_named(where):
    with pytest.raises(NetworkError, match=r"“site\.nam”") as refusal:
        composed(nic(None), of={where: "#!/bin/sh\necho {{ site.nam }}\n"})
    assert refusal.value.code == "variable_unknown"


def test_text_that_grows_too_long_is_refused():
    text_of_many = "#!/bin/sh\n" + "{{ a }}" * 9000
    with pytest.raises(NetworkError, match="limit is 262144") as refusal:
        composed(nic(None), user_data=text_of_many, of={"variables": {"a": "x" * 1024}})
    assert refusal.value.code == "user_data_too_long"


# ------------------------------------------------------------------ passwords


@pytest.mark.parametrize("password", ["secret", "with spaces", "ünïcödé€", "-6", "$6$", "x" * 256])
def test_a_hash_is_of_that_password(password):
    made = hash_password(password)
    _, scheme, salt, _ = made.split("$")
    assert scheme == "6"
    again = subprocess.run(
        ["openssl", "passwd", "-6", "-salt", salt, "-stdin"],
        input=password.encode(),
        capture_output=True,
        check=True,
    )
    assert again.stdout.decode().strip() == made


def test_each_hash_has_its_own_salt():
    assert hash_password("secret") != hash_password("secret")


@pytest.mark.parametrize("password", ["", "two\nlines", "a\rb", "a\0b", "x" * 257, "ü" * 129])
def test_what_no_prompt_takes_is_refused(password):
    with pytest.raises(ValueError, match="256 bytes"):
        hash_password(password)


# ------------------------------------------------------------------ network


def test_an_address_is_given_to_the_nic_with_that_mac():
    data = network_data(composed(nic("10.1.0.5/24"), host_dns=["9.9.9.9"]))
    [link], [network] = data["links"], data["networks"]
    assert (link["ethernet_mac_address"], link["type"]) == ("52:54:00:00:00:01", "phy")
    assert network["link"] == link["id"]
    assert (network["type"], network["ip_address"]) == ("ipv4", "10.1.0.5")
    assert network["netmask"] == "255.255.255.0"
    assert network["routes"] == [{"network": ANYWHERE, "netmask": ANYWHERE, "gateway": "10.1.0.1"}]
    assert [service["address"] for service in data["services"]] == ["10.1.0.2", "fd00::2"]


def test_a_nic_of_the_sites_dhcp_asks_there():
    data = network_data(composed(nic(None), host_dns=["9.9.9.9"]))
    assert data["networks"][0]["type"] == "ipv4_dhcp"
    assert data["services"] == []


def test_a_network_without_name_servers_takes_the_hosts():
    bare = msgspec.structs.replace(LAN, dns=[])
    data = network_data(composed(nic("10.1.0.5/24", network=bare), host_dns=["9.9.9.9"]))
    assert [service["address"] for service in data["services"]] == ["9.9.9.9"]


def test_an_ipv6_address_has_its_route_by_ipv6():
    six = msgspec.structs.replace(LAN, gateway="fd00:1::1")
    data = network_data(composed(nic("fd00:1::5/64", network=six), host_dns=[]))
    network = data["networks"][0]
    assert (network["type"], network["netmask"]) == ("ipv6", "ffff:ffff:ffff:ffff::")
    assert network["routes"] == [{"network": "::", "netmask": "::", "gateway": "fd00:1::1"}]


def test_where_nothing_leads_anywhere_the_service_stays_in_reach():
    closed = msgspec.structs.replace(LAN, gateway=None)
    data = network_data(composed(nic("10.1.0.5/24", network=closed), host_dns=[]))
    assert data["networks"][1]["ip_address"] == "169.254.10.1"
    assert data["networks"][1]["netmask"] == "255.255.0.0"


def test_each_nic_of_a_guest_is_described_on_all_of_them():
    both = [nic("10.1.0.5/24"), nic(None, number=2)]
    documents = [
        nic_document(
            guest=guest(), nic=one, nics=both, password_hash=None, user_data=None, host_dns=[]
        )
        for one in both
    ]
    assert documents[0].links == documents[1].links
    assert [document.mac for document in documents] == ["52:54:00:00:00:01", "52:54:00:00:00:02"]


def test_a_given_address_is_leased_with_gateway_servers_and_mtu():
    wide = msgspec.structs.replace(LAN, mtu=9000)
    document = composed(nic("10.1.0.5/24", network=wide))
    assert document.lease == Lease(
        address="10.1.0.5", prefix=24, gateway="10.1.0.1", dns=["10.1.0.2"], mtu=9000
    )
    assert not document.last_resort


def test_without_an_address_the_site_leases_and_we_stand_by():
    document = composed(nic(None))
    assert document.lease is None
    assert document.last_resort


def test_both_families_routes_servers_and_domains_are_given():
    wide = msgspec.structs.replace(
        LAN,
        mtu=1400,
        gateway6="fd00:1::1",
        routes=[
            RouteSpec(destination="10.9.0.1/16", gateway="10.1.0.9"),
            RouteSpec(destination="fd09::/48", gateway="fd00:1::9"),
        ],
        search=["corp.example"],
    )
    one = msgspec.structs.replace(nic("10.1.0.5/24", network=wide), address6="fd00:1::5/64")
    [link] = composed(one).links
    assert (link.address, link.gateway) == ("10.1.0.5/24", "10.1.0.1")
    assert (link.address6, link.gateway6) == ("fd00:1::5/64", "fd00:1::1")
    assert [route.destination for route in link.routes] == ["10.9.0.0/16", "fd09::/48"]
    assert (link.dns, link.search, link.mtu) == (["10.1.0.2", "fd00::2"], ["corp.example"], 1400)


def test_routes_of_a_family_without_an_address_are_left_out():
    six = msgspec.structs.replace(
        LAN, routes=[RouteSpec(destination="fd09::/48", gateway="fd00::9")]
    )
    [link] = composed(nic("10.1.0.5/24", network=six)).links
    assert (link.routes, link.address6, link.gateway6) == ([], None, None)


def test_a_guest_with_ipv6_alone_borrows_an_address_to_be_told():
    six = msgspec.structs.replace(LAN, gateway="fd00:1::1")
    assert composed(nic("fd00:1::5/64", network=six)).lease == last_resort_lease()


@pytest.mark.parametrize("address", ["10.1.0.5/33", "10.1.0", "fd00::/129", "nonsense"])
def test_an_address_that_cannot_be_read_is_refused(address):
    with pytest.raises(NetworkError, match="cannot be read"):
        composed(nic(address))
