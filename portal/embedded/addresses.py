"""Where the portal listens, and what it is called there."""

import socket

from portal.embedded.processes import EmbeddedError

ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104


def must_be_free(host: str, port: int) -> None:
    """Raises EmbeddedError, with a sentence, when nobody can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise EmbeddedError(
                f"Port {port} of {host} can't be used ({error.strerror}). Choose another with "
                "--port N."
            ) from error


def address_to_show(host: str) -> str:
    """What belongs into the portal's address when it listens on `host`."""
    address = _primary_address() if host in ANY_ADDRESS else host
    return f"[{address}]" if ":" in address else address


def _primary_address() -> str:
    """The address with which this machine would speak to others; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def own_names() -> list[str]:
    """Names by which others may call this machine."""
    return sorted({socket.gethostname(), socket.getfqdn()})
