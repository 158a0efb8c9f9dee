"""What the OpenStack and the EC2 form of the tree answer, as cloud-init walks them."""

import msgspec
import pytest

from metadata import ec2, openstack
from metadata.documents import last_resort_lease
from tests.metadata.documents import document


def _lines(answer):
    return answer.body.decode().split("\n")


def test_versions_are_listed_one_a_line_without_slashes():
    # cloud-init compares each line with the versions it knows.
    assert _lines(openstack.answer(document(), [])) == list(openstack.VERSIONS)


@pytest.mark.parametrize("version", openstack.VERSIONS)
def test_each_version_lists_its_files_and_has_them(version):
    nic = document()
    names = _lines(openstack.answer(nic, [version]))
    assert "meta_data.json" in names
    assert "user_data" in names
    assert [openstack.answer(nic, [version, name]).status for name in names] == [200] * len(names)


def test_meta_data_carries_identity_and_keys():
    meta = msgspec.json.decode(openstack.answer(document(), ["latest", "meta_data.json"]).body)
    assert meta["uuid"] == "6e0f3d1c-0000-4000-8000-000000000001"
    assert meta["hostname"] == "web-1"
    assert list(meta["public_keys"].values()) == ["ssh-ed25519 AAAA one", "ssh-ed25519 BBBB two"]
    assert [key["data"] for key in meta["keys"]] == list(meta["public_keys"].values())


def test_each_asker_gets_a_seed_of_their_own():
    nic = document()
    assert openstack.meta_data(nic)["random_seed"] != openstack.meta_data(nic)["random_seed"]


def test_network_data_is_given_as_it_is():
    nic = document(network_data={"links": [{"id": "nic0"}], "networks": [], "services": []})
    answer = openstack.answer(nic, ["2018-08-27", "network_data.json"])
    assert msgspec.json.decode(answer.body) == nic.network_data
    assert answer.content_type == "application/json"


def test_user_data_is_given_byte_for_byte():
    nic = document(user_data=b"\x1f\x8b\x00binary")
    assert openstack.answer(nic, ["latest", "user_data"]).body == b"\x1f\x8b\x00binary"
    assert ec2.answer(nic, ["latest", "user-data"]).body == b"\x1f\x8b\x00binary"


def test_a_sealed_nic_tells_who_it_is_and_nothing_secret():
    nic = document(sealed=True)
    assert openstack.answer(nic, ["latest", "meta_data.json"]).status == 200
    assert openstack.answer(nic, ["latest", "network_data.json"]).status == 200
    for parts in (["latest", "user_data"], ["latest", "password"]):
        assert openstack.answer(nic, parts).status == 404
    assert ec2.answer(nic, ["latest", "user-data"]).status == 404
    assert "user_data" not in _lines(openstack.answer(nic, ["latest"]))
    assert "user-data" not in _lines(ec2.answer(nic, ["latest"]))


def test_vendor_data_that_is_no_json_is_not_served():
    broken = document(vendor_data=b"{")
    assert openstack.answer(broken, ["latest", "vendor_data.json"]).status == 404
    whole = document(vendor_data=b'"#cloud-config"')
    assert openstack.answer(whole, ["latest", "vendor_data.json"]).body == b'"#cloud-config"'


@pytest.mark.parametrize(
    "parts",
    [["1999-01-01"], ["latest", "passwd"], ["latest", "meta_data.json", "x"], ["..", "latest"]],
)
def test_what_is_not_there_is_not_found(parts):
    assert openstack.answer(document(), parts).status == 404
    assert ec2.answer(document(), ["latest", "meta-data", *parts]).status == 404


@pytest.mark.parametrize("version", ec2.VERSIONS)
def test_the_ec2_walk_of_cloud_init_finds_every_leaf(version):
    """Names with a slash are folders, `N=name` below public-keys is a key's folder."""
    nic = document()
    leaves = {}

    def walk(parts):
        answer = ec2.answer(nic, parts)
        assert answer.status == 200, parts
        for name in _lines(answer):
            if name.endswith("/"):
                walk([*parts, name.rstrip("/")])
            elif parts[-1] == "public-keys":
                path = [*parts, name.split("=")[0], "openssh-key"]
                leaves["/".join(path[2:])] = ec2.answer(nic, path)
            else:
                leaves["/".join([*parts, name][2:])] = ec2.answer(nic, [*parts, name])

    walk([version, "meta-data"])
    assert {answer.status for answer in leaves.values()} == {200}
    assert leaves["instance-id"].body.decode() == nic.instance_id
    assert leaves["local-ipv4"].body == b"10.1.2.3"
    assert leaves["public-keys/1/openssh-key"].body == b"ssh-ed25519 BBBB two"


def test_a_borrowed_address_is_not_shown_as_the_guests_own():
    nic = document(lease=last_resort_lease())
    assert ec2.answer(nic, ["latest", "meta-data", "local-ipv4"]).status == 404
