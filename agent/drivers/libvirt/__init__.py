"""Guests on libvirt: the connection, the guests, and the domain XML are three small things."""

from agent.drivers.libvirt.driver import LibvirtDriver

__all__ = ["LibvirtDriver"]
