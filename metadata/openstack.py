"""The OpenStack form of the metadata tree, which cloud-init and cloudbase-init read.

https://docs.openstack.org/nova/latest/user/metadata.html. All versions hold the same: guests
choose one by what they know, and fields they don't know do no harm.
"""

import base64
import os
from typing import Any

from metadata.answers import Answer, Tree, json_answer, not_found, resolve, text
from metadata.documents import NicDocument
from metadata.network_data import network_data

VERSIONS = (
    "2012-08-10",
    "2013-04-04",
    "2013-10-17",
    "2015-10-15",
    "2016-06-30",
    "2016-10-06",
    "2017-02-22",
    "2018-08-27",
    "2020-10-14",
    "latest",
)
_SEED_BYTES = 512


def answer(document: NicDocument, parts: list[str]) -> Answer:
    """What GET answers below /openstack/; `parts` is the rest of the path."""
    files = _files(document)
    return resolve(dict.fromkeys(VERSIONS, files), parts, mark="")


def _files(document: NicDocument) -> Tree:
    files: Tree = {
        "meta_data.json": lambda: json_answer(meta_data(document)),
        "network_data.json": lambda: json_answer(network_data(document)),
        "vendor_data.json": lambda: json_answer(vendor_data(document)),
        # Nova's second place, for what another service says at each request: nobody here.
        "vendor_data2.json": lambda: json_answer({}),
    }
    if not document.sealed:
        # Where it may be asked for and posted; the server of the NIC holds it.
        files["password"] = lambda: text("")
    if user_data(document).status == 200:
        files["user_data"] = lambda: user_data(document)
    return files


def meta_data(document: NicDocument) -> dict[str, Any]:
    """The guest's identity. The uuid is the machine's own, as its firmware shows it, so that
    cloud-init knows the instance again after a reboot without asking."""
    names = [f"key-{number}" for number in range(len(document.ssh_keys))]
    return {
        "uuid": document.instance_id,
        "name": document.hostname,
        "hostname": document.hostname,
        "launch_index": 0,
        "availability_zone": document.zone,
        "meta": document.tags,
        "public_keys": dict(zip(names, document.ssh_keys, strict=True)),
        "keys": [
            {"name": name, "type": "ssh", "data": key}
            for name, key in zip(names, document.ssh_keys, strict=True)
        ],
        # Fresh for each asker: guests mix it into their pool, which is poor at first boot.
        "random_seed": base64.b64encode(os.urandom(_SEED_BYTES)).decode(),
    }


def user_data(document: NicDocument) -> Answer:
    """The user-data as it is; once the first boot is over, what is not secret of it."""
    served = document.open_user_data if document.sealed else document.user_data
    if served is None:
        return not_found()
    return Answer(body=served, content_type="application/octet-stream")


def vendor_data(document: NicDocument) -> dict[str, str]:
    """The MSP's part, where cloud-init looks for it. The customer's own goes before."""
    if document.sealed or not document.vendor_data:
        return {}
    return {"cloud-init": document.vendor_data}
