"""The EC2 form of the metadata tree.

cloud-init's OpenStack source asks for it beside its own, and waits through six tries where
it is missing. https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
"""

from ipaddress import ip_address

from metadata.answers import Answer, Leaf, Tree, listing, resolve, text
from metadata.documents import NicDocument
from metadata.openstack import user_data

VERSIONS = ("1.0", "2007-01-19", "2008-09-01", "2009-04-04", "2011-01-01", "2021-03-23", "latest")


def answer(document: NicDocument, parts: list[str]) -> Answer:
    """What GET answers at a path that is not OpenStack's; `parts` is the whole path."""
    if parts[1:] == ["meta-data", "public-keys"] and parts[0] in VERSIONS:
        # The one folder that is listed in a form of its own.
        return listing(f"{number}=key-{number}" for number in range(len(document.ssh_keys)))
    return resolve(_tree(document), parts, mark="/")


def _tree(document: NicDocument) -> Tree:
    release: Tree = {"meta-data": _meta_data(document)}
    if document.user_data is not None and not document.sealed:
        release["user-data"] = lambda: user_data(document)
    return {**dict.fromkeys(VERSIONS, release), "openstack": {}}


def _meta_data(document: NicDocument) -> Tree:
    # Each name listed here is one request more in every first boot.
    values = {
        "hostname": document.hostname,
        "instance-id": document.instance_id,
        "local-hostname": document.hostname,
    }
    address = _address(document)
    if address is not None:
        values["local-ipv4"] = address
    tree: Tree = {name: _leaf(value) for name, value in values.items()}
    if document.ssh_keys:
        tree["public-keys"] = {
            str(number): {"openssh-key": _leaf(key)} for number, key in enumerate(document.ssh_keys)
        }
    return tree


def _leaf(value: str) -> Leaf:
    return lambda: text(value)


def _address(document: NicDocument) -> str | None:
    lease = document.lease
    if lease is None or ip_address(lease.address).is_link_local:
        return None
    return lease.address
