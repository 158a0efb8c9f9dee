"""First boots in people's words: what each stage is for, what went wrong, and what to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from portal.views.states import Look
from vms.models import Nic, VirtualMachine


@dataclass(frozen=True)
class Advice:
    """`what` happened, most likely why, and what to do `next`."""

    what: str
    next: str


REASONS = MappingProxyType(
    {
        "bad_yaml": Advice(
            "The user-data is not valid YAML, so the guest left it out, or a part of it.",
            "The lines below say where it stops. Correct it (a missing bracket, a tab, or wrong "
            "indentation are usual), then make the VM again or run its first boot again.",
        ),
        "schema": Advice(
            "The user-data names settings that cloud-init does not know, or with values of "
            "another kind.",
            "The lines below name them. Look them up in cloud-init's list of modules; the rest "
            "was applied.",
        ),
        "package_failed": Advice(
            "Packages could not be installed.",
            "Check their names against the guest's release, and that the guest reaches its "
            "package mirror: DNS, gateway, proxy. Then install them in the guest, or run the "
            "first boot again.",
        ),
        "script_failed": Advice(
            "A script ended with an error.",
            "The lines below say where. What it did before is done. Correct it, and run it in "
            "the guest, or run the first boot again.",
        ),
        "user_failed": Advice(
            "The user, its password or its keys could not be set up.",
            "Look at the console for what the guest says, and choose a user name that the image "
            "does not use itself.",
        ),
        "disk_failed": Advice(
            "A disk could not be prepared or mounted.",
            "Compare the disks named in the user-data with those of the VM; the first is the "
            "boot disk.",
        ),
        "module_failed": Advice(
            "A part of the configuration failed.",
            "The lines below name it. The rest was done; correct that part in the guest, or run "
            "the first boot again.",
        ),
        "no_network": Advice(
            "The guest brought up no network.",
            "Check that the image has a driver for virtio NICs, and that its own settings don't "
            "switch the NIC off. The console shows what it says.",
        ),
        "no_datasource": Advice(
            "The guest never asked for its settings.",
            "Does the image have cloud-init (or cloudbase-init), and does it boot at all? Look "
            "at the console. Images made for one other cloud may need another identity: see "
            "the image's page.",
        ),
        "wrong_datasource": Advice(
            "The guest took its settings from somewhere else.",
            "The image brings a source of its own, or asks for another kind of metadata. Choose "
            "another identity on the image's page, or an image without settings inside.",
        ),
        "timeout": Advice(
            "The guest asked for its settings, and never said that it was done.",
            "It may still be at work, or hang: look at the console. A first boot with a "
            "phone_home of its own does not report here. Its secrets are sealed now.",
        ),
        "crashed": Advice(
            "The guest's system broke down while it started.",
            "The lines below are its last words. Check that the image is whole and fits the "
            "VM's firmware and memory.",
        ),
        "warnings": Advice(
            "It is configured, with warnings.",
            "Read the lines below; often nothing needs to be done.",
        ),
    }
)
_UNKNOWN = Advice(
    "Something went wrong.", "Read the lines below, and look at the console of the VM."
)
_STAGES = MappingProxyType(
    {
        "local": "Finds its settings",
        "network": "Network and users",
        "config": "Configuration",
        "final": "Packages and scripts",
    }
)
_STATUS = MappingProxyType(
    {
        "waiting": Look("idle", "clock", "not yet"),
        "running": Look("busy", "loader-2", "under way", spin=True),
        "ok": Look("good", "circle-check", "done"),
        "warnings": Look("warn", "alert-triangle", "warnings"),
        "failed": Look("bad", "circle-x", "failed"),
    }
)
_VERDICTS = MappingProxyType(
    {
        "waiting": Look("idle", "clock", "Not heard of yet"),
        "running": Look("busy", "loader-2", "Configuring itself", spin=True),
        "done": Look("good", "circle-check", "Configured"),
        "degraded": Look("warn", "alert-triangle", "Configured, with warnings"),
        "failed": Look("bad", "circle-x", "Configuration failed"),
    }
)
_SOURCES = MappingProxyType(
    {
        "reports": "the guest's reports",
        "result": "what it found at the end",
        "serial": "its serial line",
        "agent": "its guest agent",
        "phone_home": "its own word at the end",
    }
)
_NIC = MappingProxyType(
    {
        "not_asked": Look("idle", "clock", "Not asked yet"),
        "served": Look("busy", "download", "Served"),
        "sealed": Look("good", "lock", "Sealed"),
    }
)


@dataclass(frozen=True)
class StageWords:
    name: str
    words: str
    look: Look
    seconds: str
    errors: list[str]


@dataclass(frozen=True)
class BootWords:
    """One first boot as its card shows it. `advice` None: nothing is to be done."""

    look: Look
    advice: Advice | None
    reason: str
    stages: list[StageWords]
    log: list[str]
    known_from: str
    datasource: str
    waits: bool
    """Another first boot waits for the next start."""


def boot_words(vm: VirtualMachine) -> BootWords | None:
    """None while nothing was heard."""
    boot: Mapping[str, Any] = vm.boot
    waits = bool(boot) and boot.get("instance_id") != (vm.instance_id or str(vm.id))
    if not boot:
        return None
    reason = boot.get("reason") or ""
    return BootWords(
        look=_VERDICTS.get(boot.get("verdict", ""), _VERDICTS["waiting"]),
        advice=REASONS.get(reason, _UNKNOWN) if reason else None,
        reason=reason,
        stages=[_stage(stage) for stage in boot.get("stages", [])],
        log=list(boot.get("log", [])),
        known_from=_known_from(boot.get("source", "")),
        datasource=boot.get("datasource", ""),
        waits=waits,
    )


def nic_look(nic: Nic) -> Look:
    """What a NIC's metadata service has done so far."""
    return _NIC.get(nic.metadata_state, _NIC["not_asked"])


def _stage(stage: Mapping[str, Any]) -> StageWords:
    seconds = stage.get("seconds")
    return StageWords(
        name=stage["name"],
        words=_STAGES.get(stage["name"], stage["name"]),
        look=_STATUS.get(stage["status"], _STATUS["waiting"]),
        seconds="" if seconds is None else _duration(seconds),
        errors=list(stage.get("errors", [])),
    )


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _known_from(source: str) -> str:
    known = [_SOURCES[name] for name in source.split(",") if name in _SOURCES]
    return ", ".join(known)
