"""Who is acting: a person, by session or token, from an address; or the portal itself."""

from dataclasses import dataclass

from tenants.models import ApiToken, User


@dataclass(frozen=True, kw_only=True)
class Actor:
    """`user` None is the portal itself (a schedule, a management command)."""

    user: User | None
    token: ApiToken | None = None
    ip: str | None = None

    @property
    def name(self) -> str:
        return self.user.email if self.user else "Basalt"


SYSTEM = Actor(user=None)
