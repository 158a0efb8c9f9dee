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


def on_host() -> set[str]:
    """What running guests make on a host: links, namespaces, nft tables, guests, mounts."""
    found = {f"link {link['ifname']}" for link in json.loads("".join(_lines("ip", "-j", "link")))}
    found |= {f"namespace {line.split()[0]}" for line in _lines("ip", "netns")}
    found |= {line for line in _lines("nft", "list", "tables") if line.startswith("table")}
    found |= {f"guest {name}" for name in Path("/run/libvirt/qemu").glob("*.xml")}
    found |= {f"mount {path}" for path in Path("/run/basalt-agent").glob("*")}
    return found
