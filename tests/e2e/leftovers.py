"""What a VM leaves on its host: nothing, once it is deleted."""

import json
import subprocess
from pathlib import Path


def _lines(*command: str) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def traces_of(vm: dict, agent_data: Path) -> list[str]:
    """Everything on this host that still carries the VM's or its NICs' ids."""
    vm_id = vm["id"]
    nics = ["".join(nic["id"].split("-"))[:12] for nic in vm["nics"]]
    found = [
        f"domain {line}"
        for line in _lines("virsh", "-q", "list", "--all", "--uuid")
        if vm_id in line
    ]
    found += [f"file {path}" for path in agent_data.rglob(f"*{vm_id}*")]
    for nic in nics:
        found += [f"namespace {line}" for line in _lines("ip", "netns") if nic in line]
        found += [f"link {line}" for line in _lines("ip", "-brief", "link") if nic in line]
        found += [f"nft {line}" for line in _lines("nft", "list", "tables") if nic in line]
    found += [f"process {line}" for line in _lines("ps", "-eo", "pid,args") if vm_id in line]
    return found


def links() -> set[str]:
    """Names of all network links of the host."""
    return {link["ifname"] for link in json.loads("".join(_lines("ip", "-json", "link")))}
