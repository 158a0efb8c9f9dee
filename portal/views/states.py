"""States as people see them: a colour, an icon and a word, never a colour alone."""

from dataclasses import dataclass

from django.utils import timezone

from hypervisors.models import Hypervisor, Job, Status
from tenants.models import Invitation, Site, User
from vms.models import Power, VirtualMachine


@dataclass(frozen=True)
class Look:
    """`tone` is one of good, warn, bad, busy, idle."""

    tone: str
    icon: str
    word: str
    spin: bool = False
    hint: str = ""


_POWER = {
    Power.RUNNING: Look("good", "player-play", "Running"),
    Power.PAUSED: Look("warn", "player-pause", "Paused"),
    Power.SHUTTING_DOWN: Look("busy", "loader-2", "Shutting down", spin=True),
    Power.OFF: Look("idle", "power", "Off"),
    Power.CRASHED: Look("bad", "alert-triangle", "Crashed"),
    Power.UNKNOWN: Look("idle", "help", "Unknown"),
}
_UNDER_WAY = {
    "vm.create": "Being created",
    "vm.start": "Starting",
    "vm.shutdown": "Shutting down",
    "vm.stop": "Stopping",
    "vm.reboot": "Restarting",
    "vm.resize": "Being resized",
    "vm.delete": "Being deleted",
}
_JOB = {
    Status.QUEUED: Look("idle", "clock", "Waiting for the host"),
    Status.SENT: Look("busy", "loader-2", "Sent to the host", spin=True),
    Status.RUNNING: Look("busy", "loader-2", "Running", spin=True),
    Status.SUCCEEDED: Look("good", "circle-check", "Done"),
    Status.FAILED: Look("bad", "circle-x", "Failed"),
    Status.CANCELLED: Look("idle", "circle-x", "Cancelled"),
    Status.EXPIRED: Look("warn", "clock", "Expired"),
    Status.LOST: Look("warn", "help", "No word from the host"),
}
_CLOUD_INIT = {
    VirtualMachine.CloudInit.UNKNOWN: Look("idle", "help", "Not heard of yet"),
    VirtualMachine.CloudInit.RUNNING: Look("busy", "loader-2", "Configuring itself", spin=True),
    VirtualMachine.CloudInit.DONE: Look("good", "circle-check", "Configured"),
    VirtualMachine.CloudInit.FAILED: Look("bad", "circle-x", "Configuration failed"),
}
_INVITATION = {
    Invitation.State.OPEN: Look("busy", "mail", "Sent"),
    Invitation.State.ACCEPTED: Look("good", "circle-check", "Accepted"),
    Invitation.State.EXPIRED: Look("warn", "clock", "Expired"),
    Invitation.State.REVOKED: Look("idle", "circle-x", "Taken back"),
}


def power_look(power: str) -> Look:
    """The bare power state."""
    return _POWER.get(Power(power), _POWER[Power.UNKNOWN])


def vm_look(vm: VirtualMachine, job_kind: str | None = None) -> Look:
    """A VM at a glance: what is being done to it, else what its host sees. `job_kind` is the
    kind of the job that holds it."""
    if job_kind in _UNDER_WAY:
        return Look("busy", "loader-2", _UNDER_WAY[job_kind], spin=True)
    if vm.state == VirtualMachine.State.CREATING:
        return Look("warn", "help", "Creation unclear", hint="Its host has not said how it ended")
    if vm.state == VirtualMachine.State.MISSING:
        return Look("bad", "alert-triangle", "Missing", hint="Its host does not have it any more")
    if not vm.hypervisor.online:
        last = power_look(vm.observed_power).word.lower()
        return Look("idle", "plug-connected-x", "Host offline", hint=f"Last seen {last}")
    return power_look(vm.observed_power)


def host_look(host: Hypervisor) -> Look:
    """A host at a glance."""
    if not host.online:
        return Look(
            "bad", "plug-connected-x", "Offline" if host.connected_at else "Never connected"
        )
    if host.clone_seen_at and (timezone.now() - host.clone_seen_at).days < 1:
        return Look("warn", "copy", "Cloned", hint="A second machine uses this host's identity")
    if host.facts.get("problems"):
        return Look("warn", "alert-triangle", "Has problems")
    return Look("good", "circle-check", "Online")


def site_look(site: Site) -> Look:
    """The worst there is at a site. The site is one of `sites_for_list`, which counts."""
    counts = vars(site)
    hosts, trouble = counts["host_count"], counts["trouble_count"]
    offline = hosts - counts["online_count"]
    if not hosts:
        return Look("idle", "plug", "No host yet")
    if offline == hosts:
        return Look("bad", "plug-connected-x", "Offline" if hosts == 1 else "All hosts offline")
    if trouble:
        return Look("bad", "alert-triangle", f"{trouble} VM{'s' * (trouble > 1)} in trouble")
    if offline:
        return Look("warn", "plug-connected-x", f"{offline} of {hosts} hosts offline")
    if counts["problem_count"]:
        return Look("warn", "alert-triangle", "Has problems")
    return Look("good", "circle-check", "All well")


def job_look(job: Job) -> Look:
    """A job at a glance."""
    return _JOB[Status(job.status)]


def cloud_init_look(vm: VirtualMachine) -> Look:
    """How far the guest is with configuring itself."""
    return _CLOUD_INIT[VirtualMachine.CloudInit(vm.cloud_init)]


def person_look(person: User) -> Look:
    """Whether somebody is here. The person is one of `people_for_list`."""
    if vars(person)["is_here"]:
        return Look("good", "user", "Active")
    return Look("idle", "logout", "Left")


def invitation_look(invitation: Invitation) -> Look:
    """What became of an invitation."""
    look = _INVITATION[invitation.state]
    if invitation.state == Invitation.State.OPEN and not invitation.mailed:
        return Look("warn", "link", "Not mailed", hint="The link must be passed on by hand")
    return look
