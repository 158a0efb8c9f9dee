"""Who is acting: a person, by session or token, from an address; or the portal itself."""

import hashlib
import re
from dataclasses import dataclass
from uuid import UUID

from tenants.models import ApiToken, AuditEvent, User

AGREED = "agreed by a second person"
"""In place of a credential, of what was done because two people wanted it."""
_LONGEST_AGENT = 120
# What a browser calls itself by, the most telling first: nearly all say Mozilla and Safari too.
_BROWSERS = (("Edg", "Edge"), ("OPR", "Opera"), ("Firefox", "Firefox"), ("Chrome", "Chrome"))
_SYSTEMS = ("Windows", "Android", "iPhone", "iPad", "Mac OS X", "Linux")


@dataclass(frozen=True, kw_only=True)
class Actor:
    """`user` None is the portal itself (a schedule, a management command)."""

    user: User | None
    token: ApiToken | None = None
    ip: str | None = None
    user_agent: str = ""
    """Shortened: see `agent_short`."""
    session: str = ""
    """The beginning of a hash of the session's key: see `session_mark`."""
    agreed: frozenset[UUID] = frozenset()
    """Ids of what a second person has agreed to, just now."""

    @property
    def name(self) -> str:
        if self.user is None:
            return "Basalt"
        return self.user.name if self.user.is_service else self.user.email

    @property
    def kind(self) -> str:
        """One of AuditEvent.ActorKind."""
        if self.user is None:
            return AuditEvent.ActorKind.SYSTEM
        if self.user.is_service:
            return AuditEvent.ActorKind.SERVICE
        return AuditEvent.ActorKind.TOKEN if self.token else AuditEvent.ActorKind.PERSON

    @property
    def credential(self) -> str:
        """Which token or session it was, in words that open nothing."""
        if self.agreed:
            return AGREED
        if self.token is not None:
            return f"token {self.token.prefix}"
        return f"session {self.session}" if self.session else ""


SYSTEM = Actor(user=None)


def session_mark(key: str | None) -> str:
    """Eight digits that tell sessions apart. The key itself would let whoever reads it in."""
    return hashlib.sha256(key.encode()).hexdigest()[:8] if key else ""


def agent_short(text: str) -> str:
    """“Firefox 140 on Linux”; of what is no browser, its first words."""
    for mark, name in _BROWSERS:
        found = re.search(rf"\b{mark}/(\d+)", text)
        if found:
            return _on_system(f"{name} {found[1]}", text)
    found = re.search(r"\bVersion/(\d+).*\bSafari/", text)
    if found:
        return _on_system(f"Safari {found[1]}", text)
    printable = "".join(letter for letter in text if letter.isprintable())
    return printable[:_LONGEST_AGENT]


def _on_system(browser: str, text: str) -> str:
    system = next((name for name in _SYSTEMS if name in text), "")
    return f"{browser} on {system}" if system else browser
