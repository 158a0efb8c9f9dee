"""From what is known of a first boot to how it went: done, degraded, failed, and why.

The reasons are for programs; the portal has the words for people (portal/views/boot_words.py).
"""

import re
from typing import Literal

from agent.boot.evidence import STAGES, Evidence, StageEvidence
from agent.protocol import Boot, BootStage

_Verdict = Literal["waiting", "running", "done", "degraded", "failed"]

_BAD_YAML = re.compile(
    r"(?i)failed loading yaml|failed at merging in cloud config|invalid (?:yaml|format) at line"
    r"|(?:scanner|parser|composer)error|could not (?:find|determine) .*(?:yaml|mapping)"
    r"|while (?:parsing|scanning) a|unhandled non-multipart"
)
_SCHEMA = re.compile(r"(?i)schema validation|invalid cloud-config|schema error")
_MODULES = {
    "scripts-user": "script_failed",
    "scripts-vendor": "script_failed",
    "scripts-per-instance": "script_failed",
    "scripts-per-boot": "script_failed",
    "scripts-per-once": "script_failed",
    "runcmd": "script_failed",
    "bootcmd": "script_failed",
    "package-update-upgrade-install": "package_failed",
    "apt-configure": "package_failed",
    "yum-add-repo": "package_failed",
    "zypper-add-repo": "package_failed",
    "apk-configure": "package_failed",
    "snap": "package_failed",
    "users-groups": "user_failed",
    "set-passwords": "user_failed",
    "ssh": "user_failed",
    "mounts": "disk_failed",
    "disk-setup": "disk_failed",
    "growpart": "disk_failed",
    "resizefs": "disk_failed",
}
_MODULE_IN_ERROR = re.compile(r"^\('([a-z_-]{1,64})',")
_MODULE_IN_LINE = re.compile(
    r"(?i)running module ([a-z_-]{1,64}) .* failed|failed to run module ([a-z_-]{1,64})"
)
_DATASOURCES = {
    "openstack": ("OpenStack", "Ec2"),
    "ec2": ("Ec2", "OpenStack"),
    "nocloud": ("NoCloud",),
}
# A failure of one of these explains those of the others.
_GRAVEST = (
    "bad_yaml",
    "user_failed",
    "disk_failed",
    "package_failed",
    "script_failed",
    "module_failed",
)


def boot_of(known: Evidence) -> Boot:
    """The whole in one: verdict, reason, stages, lines."""
    verdict, reason = _verdict(known)
    return Boot(
        instance_id=known.instance_id,
        verdict=verdict,
        reason=reason,
        source=",".join(known.sources)[:255],
        datasource=known.datasource[:255],
        stages=[_stage(known, name) for name in STAGES],
        log=known.lines,
    )


def _verdict(known: Evidence) -> tuple[_Verdict, str | None]:
    if known.crashed and not known.ended:
        return "failed", "crashed"
    if _datasource_is_wrong(known):
        found_none = "DataSourceNone" in known.datasource
        return "failed", _nothing_heard(known) if found_none else "wrong_datasource"
    failure = next(iter(_failures(known)), None)
    if known.ended or known.home:
        return ("failed", failure) if failure else _warned(known)
    heard = known.asked or bool(known.stages or known.modules)
    if known.overdue:
        return "failed", failure or ("timeout" if heard else _nothing_heard(known))
    return "running" if heard else "waiting", failure


def _nothing_heard(known: Evidence) -> str:
    return "no_network" if known.no_network else "no_datasource"


def _warned(known: Evidence) -> tuple[_Verdict, str | None]:
    if any(_SCHEMA.search(line) for line in known.lines):
        return "degraded", "schema"
    results = [*known.modules.values(), *(stage.result for stage in known.stages.values())]
    if "WARN" in results or any("[WARNING]" in line for line in known.lines):
        return "degraded", "warnings"
    return "done", None


def _failures(known: Evidence) -> list[str]:
    """Reasons, the one that explains most first."""
    found = set()
    said = [*known.lines, *(error for stage in known.stages.values() for error in stage.errors)]
    if any(_BAD_YAML.search(line) for line in said):
        found.add("bad_yaml")
    for name, result in known.modules.items():
        if result == "FAIL":
            found.add(_reason(name.partition("/")[2]))
    for stage in known.stages.values():
        for error in stage.errors:
            named = _MODULE_IN_ERROR.match(error)
            found.add(_reason(named[1]) if named else "module_failed")
    for line in known.lines:
        named = _MODULE_IN_LINE.search(line)
        if named:
            found.add(_reason(named[1] or named[2]))
    if not found and any(stage.result == "FAIL" for stage in known.stages.values()):
        found.add("module_failed")
    return sorted(found, key=_GRAVEST.index)


def _reason(module: str) -> str:
    return _MODULES.get(module.replace("_", "-"), "module_failed")


def _datasource_is_wrong(known: Evidence) -> bool:
    if not known.datasource:
        return False
    expected = _DATASOURCES.get(known.identity, ())
    return not any(f"DataSource{name}" in known.datasource for name in expected)


def _stage(known: Evidence, name: str) -> BootStage:
    stage = known.stages.get(name, StageEvidence())
    failed = [
        module.partition("/")[2]
        for module, result in known.modules.items()
        if module.startswith(f"{name}/") and result == "FAIL"
    ]
    errors = [*stage.errors, *(f"{module} failed" for module in failed if not stage.errors)]
    return BootStage(
        name=name,  # type: ignore[arg-type]
        status=_status(known, name, stage, bool(errors)),  # type: ignore[arg-type]
        started_at=stage.started_at,
        seconds=_seconds(stage),
        errors=errors[:16],
    )


def _seconds(stage: StageEvidence) -> float | None:
    if stage.seconds is not None:
        return stage.seconds
    if stage.started_at is None or stage.ended_at is None:
        return None
    return round(max(stage.ended_at - stage.started_at, 0.0), 1)


def _status(known: Evidence, name: str, stage: StageEvidence, failed: bool) -> str:
    # User-data is taken apart in this stage, and cloud-init goes on without what it can't read.
    unread = name == "network" and "bad_yaml" in _failures(known)
    if failed or unread or stage.result == "FAIL":
        return "failed"
    if stage.result == "WARN":
        return "warnings"
    if stage.result or stage.ended_at is not None or known.ended or known.home:
        return "ok"
    later = STAGES[STAGES.index(name) + 1 :]
    if any(one in known.stages for one in later):
        return "ok"
    if stage.started_at is not None:
        return "failed" if known.crashed else "running"
    return "waiting"
