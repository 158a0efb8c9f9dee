"""How the agent comes to a host: the bundle, the installer, the systemd unit."""
