"""Sockets say what each of their messages needs. One that says nothing is not answered."""

from typing import Any, ClassVar

from django.core.exceptions import ImproperlyConfigured

from tenants.permissions import PERMISSIONS

FROM_PORTAL = "from the portal"
"""A message of the portal's own processes, over the channel layer: no client can send it."""
OWN_HOST = "about the host itself"
"""What a host says, which counts for that host's own rows and for no others."""
PROVES = "proves who speaks"
"""What is said before anybody is known."""
NOTHING_HEARD = "not listened to"

WORDS = frozenset({FROM_PORTAL, OWN_HOST, PROVES, NOTHING_HEARD})
"""In place of a permission."""
_CONNECTION = frozenset({"websocket.connect", "websocket.receive", "websocket.disconnect"})


class Declared:
    """The beginning of every consumer's bases."""

    messages: ClassVar[dict[str, str]]
    """Each type of message of the channel layer to what it needs: a permission or one of WORDS."""
    hears: ClassVar[dict[Any, str]]
    """The same for what clients send: by the type of a typed message, or `str` and `bytes`."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for declared in ("messages", "hears"):
            for name, need in getattr(cls, declared, {}).items():
                if need not in WORDS and need not in PERMISSIONS:
                    raise ImproperlyConfigured(f"{cls.__name__}: {name} needs an unknown {need!r}")

    @classmethod
    def must_declare(cls, kind: str) -> None:
        """Raises ImproperlyConfigured for a type of message that nothing is declared for."""
        if kind not in _CONNECTION and kind not in getattr(cls, "messages", {}):
            raise ImproperlyConfigured(
                f"{cls.__name__} declares nothing for “{kind}”: say in `messages` what it needs."
            )

    async def dispatch(self, message: dict[str, Any]) -> None:
        self.must_declare(message["type"])
        await super().dispatch(message)  # type: ignore[misc]
