"""A guest's screen as a small picture, for those who may open its console."""

from agent.protocol import VERSION
from consoles.services.consent import consent_check
from hypervisors.services.jobs import host_must_be_online
from hypervisors.services.screens import SINCE_PROTOCOL, Screen, screen_ask, screen_latest
from tenants.errors import RuleError
from tenants.models import User
from vms.models import Power, VirtualMachine

_DARK = {Power.OFF, Power.CRASHED, Power.UNKNOWN}


class NoScreenError(RuleError):
    """There is no screen to show, and the message says why."""

    code = "no_screen"
    status = 409


def vm_screen(*, user: User, vm: VirtualMachine) -> Screen | None:
    """The newest picture, while the host is asked for the next one; None until the first has
    come. The caller has fetched `vm` among those on which the person holds vm.console.

    Raises ConsentNeededError, HostOfflineError, NoScreenError.
    """
    consent_check(user, vm)
    host = vm.hypervisor
    host_must_be_online(host)
    if vm.observed_power in _DARK or vm.state != VirtualMachine.State.READY:
        raise NoScreenError(f"“{vm.name}” is off, so its screen is dark. Start it to see it.")
    if host.simulated:
        raise NoScreenError("This VM's host is simulated: its VMs have no screen.")
    if host.protocol < SINCE_PROTOCOL:
        raise NoScreenError(
            f"The agent of {host.name} is older than this portal (protocol {host.protocol} of "
            f"{VERSION}) and takes no pictures. Install it again with the install command."
        )
    screen_ask(hypervisor_id=host.id, vm_id=vm.id)
    screen = screen_latest(vm.id)
    if screen is not None and not screen.png:
        raise NoScreenError(screen.message or "The host can't show this VM's screen.")
    return screen
