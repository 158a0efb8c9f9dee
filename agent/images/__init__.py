"""Images on this host: fetched once, verified, then only read."""
