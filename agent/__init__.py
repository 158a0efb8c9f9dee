"""The Basalt agent: the thin program on each host. It imports no part of the portal."""
