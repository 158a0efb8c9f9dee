"""What the OpenStack and the EC2 form of the tree answer, as cloud-init walks them."""

import msgspec
import pytest

from metadata import ec2, nocloud, openstack
from tests.metadata.documents import document, link


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


def test_user_data_is_given_byte_for_byte():
    nic = document(user_data=b"\x1f\x8b\x00binary")
    assert openstack.answer(nic, ["latest", "user_data"]).body == b"\x1f\x8b\x00binary"
    assert ec2.answer(nic, ["latest", "user-data"]).body == b"\x1f\x8b\x00binary"


def test_a_sealed_nic_tells_who_it_is_and_nothing_secret():
    nic = document(sealed=True, vendor_data="#cloud-config\n")
    assert openstack.answer(nic, ["latest", "meta_data.json"]).status == 200
    assert openstack.answer(nic, ["latest", "network_data.json"]).status == 200
    for parts in (["latest", "user_data"], ["latest", "password"]):
        assert openstack.answer(nic, parts).status == 404
    assert ec2.answer(nic, ["latest", "user-data"]).status == 404
    assert nocloud.answer(nic, ["user-data"]).body == b""
    assert openstack.answer(nic, ["latest", "vendor_data.json"]).body == b"{}"
    assert nocloud.answer(nic, ["vendor-data"]).body == b""
    assert "user_data" not in _lines(openstack.answer(nic, ["latest"]))
    assert "user-data" not in _lines(ec2.answer(nic, ["latest"]))


def test_what_is_not_secret_is_served_on():
    nic = document(sealed=True, open_user_data=b"#cloud-config\n")
    for answer in (
        openstack.answer(nic, ["latest", "user_data"]),
        ec2.answer(nic, ["latest", "user-data"]),
        nocloud.answer(nic, ["user-data"]),
    ):
        assert (answer.status, answer.body) == (200, b"#cloud-config\n")


def test_the_vendors_part_has_a_place_of_its_own():
    nic = document(vendor_data="#cloud-config\npackages: [htop]\n")
    told = msgspec.json.decode(openstack.answer(nic, ["latest", "vendor_data.json"]).body)
    # cloud-init takes what is named after it like user-data of the vendor.
    assert told == {"cloud-init": nic.vendor_data}
    assert nocloud.answer(nic, ["vendor-data"]).body.decode() == nic.vendor_data


@pytest.mark.parametrize(
    "parts",
    [["1999-01-01"], ["latest", "passwd"], ["latest", "meta_data.json", "x"], ["..", "latest"]],
)
def test_what_is_not_there_is_not_found(parts):
    assert openstack.answer(document(), parts).status == 404
    assert ec2.answer(document(), ["latest", "meta-data", *parts]).status == 404
    assert nocloud.answer(document(), parts).status == 404


@pytest.mark.parametrize("version", ec2.VERSIONS)
def test_the_ec2_walk_of_cloud_init_finds_every_leaf(version):
    """Names with a slash are folders, `N=name` below public-keys is a key's folder."""
    nic = document(identity="ec2", tags={"role": "web"})
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


def test_who_looks_for_openstack_is_shown_few_names_and_may_ask_for_all():
    """Each name that is listed is one request more in every first boot."""
    nic = document()
    assert _lines(ec2.answer(nic, ["latest", "meta-data"])) == [
        "hostname",
        "instance-id",
        "local-hostname",
        "local-ipv4",
        "public-keys/",
    ]
    assert ec2.answer(nic, ["latest", "meta-data", "mac"]).body.decode() == nic.mac


def test_a_nic_of_the_sites_dhcp_shows_no_address():
    nic = document(links=[link(address=None, address6=None)])
    assert ec2.answer(nic, ["latest", "meta-data", "local-ipv4"]).status == 404


def test_without_keys_there_is_no_folder_of_keys():
    # cloudbase-init would take an empty listing apart.
    nic = document(identity="ec2", ssh_keys=[])
    assert ec2.answer(nic, ["2009-04-04", "meta-data", "public-keys"]).status == 404
    assert "public-keys/" not in _lines(ec2.answer(nic, ["latest", "meta-data"]))


def test_the_identity_document_is_not_signed_and_says_why():
    told = msgspec.json.decode(
        ec2.answer(document(), ["latest", "dynamic", "instance-identity", "document"]).body
    )
    assert (told["instanceId"], told["privateIp"]) == (document().instance_id, "10.1.2.3")
    for name in ("signature", "pkcs7"):
        refused = ec2.answer(document(), ["latest", "dynamic", "instance-identity", name])
        assert refused.status == 404
        assert b"only AWS" in refused.body


@pytest.mark.parametrize(
    ("key", "shown"),
    [("role", True), ("a.b-c_d:e@f+g,h", True), ("a/b", False), ("..", False), ("0=x", False),
     ("two words", False), ("größe", False), ("", False)],
)  # fmt: skip
def test_tags_that_are_no_path_are_left_out_of_ec2_and_kept_in_openstack(key, shown):
    nic = document(tags={key: "value"}, identity="ec2")
    answer = ec2.answer(nic, ["latest", "meta-data", "tags", "instance"])
    assert (answer.status, answer.body) == ((200, key.encode()) if shown else (404, b"Not Found"))
    assert openstack.meta_data(nic)["meta"] == {key: "value"}


def test_nocloud_has_its_four_files():
    nic = document(vendor_data=None, zone="Berlin")
    names = _lines(nocloud.answer(nic, []))
    assert names == ["meta-data", "user-data", "vendor-data", "network-config"]
    assert [nocloud.answer(nic, [name]).status for name in names] == [200] * 4
    meta = msgspec.json.decode(nocloud.answer(nic, ["meta-data"]).body)
    assert (meta["instance-id"], meta["local-hostname"]) == (nic.instance_id, nic.hostname)
    assert meta["public-keys"] == nic.ssh_keys
