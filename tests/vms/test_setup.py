"""The usual wishes for a first boot become a cloud-config, and nothing else."""

import email

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tenants.errors import InvalidInputError
from tests.factories import SSH_KEY
from vms.services.setup import (
    Setup,
    lines_read,
    mounts_read,
    packages_read,
    setup_check,
    setup_cloud_config,
    setup_joined,
    users_read,
)
from vms.services.user_data import user_data_check


def config_of(**wishes):
    text = setup_cloud_config(setup_check(Setup(**wishes)))
    first, rest = text.split("\n", 1)
    assert first == "#cloud-config"
    return yaml.safe_load(rest)


def test_without_wishes_there_is_nothing():
    assert setup_cloud_config(setup_check(Setup())) == ""


def test_packages_are_installed_from_fresh_lists():
    assert config_of(packages=packages_read("nginx, htop\ncurl")) == {
        "package_update": True,
        "packages": ["nginx", "htop", "curl"],
    }


def test_the_time_zone_and_the_upgrade():
    assert config_of(time_zone="Europe/Vienna", upgrade=True) == {
        "timezone": "Europe/Vienna",
        "package_update": True,
        "package_upgrade": True,
    }


def test_commands_stay_as_they_were_typed():
    commands = lines_read("echo 'a: b' > /tmp/x\n\nsystemctl restart nginx\n")
    assert config_of(commands=commands) == {
        "runcmd": ["echo 'a: b' > /tmp/x", "systemctl restart nginx"]
    }


def test_more_users_have_their_keys_and_no_password():
    [anna, ben] = config_of(users=users_read(f"anna {SSH_KEY}\nben\n"))["users"]
    assert anna["ssh_authorized_keys"] == [SSH_KEY]
    assert anna["lock_passwd"] is True
    assert "ssh_authorized_keys" not in ben


def test_the_proxy_is_for_packages_and_sessions():
    config = config_of(proxy="http://10.0.0.8:3128")
    assert config["apt"]["https_proxy"] == "http://10.0.0.8:3128"
    assert "HTTP_PROXY=http://10.0.0.8:3128\n" in config["write_files"][0]["content"]


def test_data_disks_are_formatted_once_and_mounted_by_their_label():
    config = config_of(data_mounts=["/srv/", "", "/mnt/data"])
    assert [(one["device"], one["label"]) for one in config["fs_setup"]] == [
        ("/dev/vdb", "data1"),
        ("/dev/vdd", "data3"),
    ]
    assert all(one["overwrite"] is False for one in config["fs_setup"])
    assert [mount[:2] for mount in config["mounts"]] == [
        ["LABEL=data1", "/srv"],
        ["LABEL=data3", "/mnt/data"],
    ]


def test_mounts_are_written_as_in_fstab():
    config = config_of(mounts=mounts_read("nas:/share /mnt/share nfs ro\nLABEL=old /old"))
    assert config["mounts"] == [
        ["nas:/share", "/mnt/share", "nfs", "ro", "0", "2"],
        ["LABEL=old", "/old", "auto", "defaults,nofail", "0", "2"],
    ]


@pytest.mark.parametrize(
    ("wishes", "field"),
    [
        ({"packages": ["rm -rf"]}, "packages"),
        ({"packages": ["-y"]}, "packages"),
        ({"packages": ["x"] * 101}, "packages"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"proxy": "ftp://x"}, "proxy"),
        ({"proxy": "http://x:99999"}, "proxy"),
        ({"proxy": "http://x/`id`"}, "proxy"),
        ({"proxy": "http://[x"}, "proxy"),
        ({"users": [("root", "")]}, "users"),
        ({"users": [("anna", "no key")]}, "users"),
        ({"users": [("anna", ""), ("anna", "")]}, "users"),
        ({"mounts": [("a b", "/x", "", "")]}, "mounts"),
        ({"mounts": [("a", "relative", "", "")]}, "mounts"),
        ({"mounts": [("a", "/etc", "", "")]}, "mounts"),
        ({"data_mounts": ["/"]}, "data_mounts"),
        ({"data_mounts": ["/srv", "/srv/"]}, "data_mounts"),
        ({"data_mounts": ["/a/../etc"]}, "data_mounts"),
        ({"commands": ["a\x00b"]}, "commands"),
    ],
)
def test_what_the_guest_could_not_do_is_refused_beside_its_field(wishes, field):
    with pytest.raises(InvalidInputError) as refusal:
        setup_check(Setup(**wishes))
    assert refusal.value.field == field


def test_the_vms_own_user_is_not_made_twice():
    with pytest.raises(InvalidInputError, match="there twice"):
        setup_check(Setup(users=[("maria", "")]), username="maria")


def test_a_line_that_is_no_mount_is_named():
    with pytest.raises(InvalidInputError, match="is no mount"):
        mounts_read("only-one-word")


def test_a_script_beside_it_is_a_part_of_its_own():
    joined = setup_joined("#cloud-config\npackages: [nginx]\n", "#!/bin/sh\necho {{ ip }} ü\n")
    parts = list(email.message_from_bytes(joined.encode()).walk())[1:]
    assert [part.get_content_type() for part in parts] == ["text/cloud-config", "text/plain"]
    assert parts[1].get_payload(decode=True).decode() == "#!/bin/sh\necho {{ ip }} ü\n"
    # Readable for who fills variables in.
    assert "{{ ip }}" in joined
    assert user_data_check(joined) == joined


def test_a_multipart_of_the_customer_stays_one():
    own = setup_joined("#cloud-config\na: 1\n", "#!/bin/sh\n")
    joined = setup_joined("#cloud-config\nb: 2\n", own)
    kinds = [part.get_content_type() for part in email.message_from_string(joined).walk()]
    assert kinds == [
        "multipart/mixed",
        "text/cloud-config",
        "multipart/mixed",
        "text/cloud-config",
        "text/plain",
    ]


def test_alone_neither_is_wrapped():
    assert setup_joined("", "#!/bin/sh\n") == "#!/bin/sh\n"
    assert setup_joined("#cloud-config\na: 1\n", "  ") == "#cloud-config\na: 1\n"


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=60)))
def test_any_command_arrives_as_it_was_typed(commands):
    checked = setup_check(Setup(commands=commands))
    text = setup_cloud_config(checked)
    assert (yaml.safe_load(text) or {}).get("runcmd", []) == list(checked.commands)
