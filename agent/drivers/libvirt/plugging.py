"""NICs of running domains: adding one, taking one out, its cable."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import libvirt

from agent.drivers.base import NicDefinition
from agent.drivers.libvirt.domain_xml import live_interface, unplugged_interface_xml
from agent.errors import JobFailedError

_LET_GO_S = 20.0
_LOOK_AGAIN_S = 0.5
_ASK_AGAIN = 10
"""Looks between two requests: a guest that was still starting has missed the first."""


class NicPlugs(ABC):
    """The part of the driver that works on a running domain's NICs."""

    @abstractmethod
    async def _on_domain(self, vm_id: str, action: Callable[[Any], Any]) -> None: ...

    async def attach_nic(self, vm_id: str, nic: NicDefinition) -> None:
        def attach(domain: Any) -> None:
            if live_interface(domain.XMLDesc(0), nic.mac) is not None:
                return
            try:
                domain.attachDeviceFlags(
                    unplugged_interface_xml(nic), libvirt.VIR_DOMAIN_AFFECT_LIVE
                )
            except libvirt.libvirtError as error:
                if "No more available PCI slots" not in str(error):
                    raise
                raise JobFailedError(
                    "no_free_slot",
                    "The running guest has no slot left for another NIC. Shut it down and add "
                    "the NIC then; from its next start on it has slots for more.",
                ) from error

        await self._on_domain(vm_id, attach)

    async def detach_nic(self, vm_id: str, mac: str) -> None:
        there = True

        def look(domain: Any) -> None:
            nonlocal there
            active = domain.isActive()
            there = active and live_interface(domain.XMLDesc(0), mac) is not None

        def ask(domain: Any) -> None:
            xml = live_interface(domain.XMLDesc(0), mac) if domain.isActive() else None
            if xml is None:
                return
            # An error here tells of a request that is under way: whether it leads anywhere is
            # seen by looking.
            with contextlib.suppress(libvirt.libvirtError):
                domain.detachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)

        for turn in range(int(_LET_GO_S / _LOOK_AGAIN_S)):
            if turn % _ASK_AGAIN == 0:
                await self._on_domain(vm_id, ask)
            await self._on_domain(vm_id, look)
            if not there:
                return
            await asyncio.sleep(_LOOK_AGAIN_S)
        raise JobFailedError(
            "guest_kept_nic",
            f"The guest did not let go of the NIC within {_LET_GO_S:.0f} s: it may still be "
            "starting, or its system cannot give up devices while it runs. Try again in a "
            "minute, or shut the VM down and remove the NIC then.",
        )

    async def set_cable(self, vm_id: str, mac: str, *, plugged: bool) -> None:
        def set_link(domain: Any) -> None:
            xml = live_interface(domain.XMLDesc(0), mac, plugged=plugged)
            if xml is not None:
                domain.updateDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)

        await self._on_domain(vm_id, set_link)
