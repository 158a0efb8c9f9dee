"""The Basalt agent: the thin program on each host. It imports no part of the portal."""

__version__ = "0.1.0"
