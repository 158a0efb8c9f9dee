"""What can go wrong with a host's network."""

from agent.errors import JobFailedError


class NetworkError(JobFailedError):
    """The host's network is not as it must be. `code` is stable: `bridge_missing`,
    `subnet_in_use`, `internal`."""
