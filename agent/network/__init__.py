"""Networks of the host, and each virtual NIC's own wire to the metadata service."""
