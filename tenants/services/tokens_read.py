"""Reads about tokens of the API and service accounts, and what a token is good for in words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Prefetch, Q, QuerySet

from tenants.models import ApiToken, Membership, ServiceAccount, Tenant, User
from tenants.permissions import by_subject
from tenants.services.people import READ_ONLY


def tokens_reached(user: User, token: ApiToken | None = None) -> "QuerySet[ApiToken]":
    """One's own tokens, and those of service accounts that one looks after. A token that is good
    for less than its owner reaches, of the owner's, itself and those made with it."""
    own = Q(user=user)
    if token is not None and token.bound:
        own &= Q(pk=token.pk) | Q(made_with=token.pk)
    accounts = ServiceAccount.objects.allowed(user, "user.manage").order_by()
    rows = ApiToken.objects.listed().filter(own | Q(user__in=accounts.values("user_id")))
    return rows.select_related("user", "made_with").order_by("-created_at", "-id")


def tokens_of(user: User) -> "QuerySet[ApiToken]":
    """All of this account that are shown. The caller knows that they may be."""
    return ApiToken.objects.listed().filter(user=user).select_related("user", "made_with")


def service_accounts_for_list(
    viewer: User, permission: str = "user.view"
) -> "QuerySet[ServiceAccount]":
    """Those on which the viewer holds `permission`, with `seen_memberships` of their users and
    `seen_tokens`."""
    held = Membership.objects.allowed(viewer, "user.view").select_related("tenant", "role")
    return (
        ServiceAccount.objects.allowed(viewer, permission)
        .select_related("tenant", "user")
        .prefetch_related(
            Prefetch("user__memberships", held.order_by("created_at"), to_attr="seen_memberships"),
            Prefetch(
                "user__api_tokens",
                ApiToken.objects.listed().select_related("made_with"),
                to_attr="seen_tokens",
            ),
        )
    )


@dataclass(frozen=True)
class TokenWords:
    """A token for people: `may` and `where` are parts of sentences."""

    token: ApiToken
    may: str
    where: str
    stops: str
    """What will stop working when it is revoked."""


def token_words(tokens: Iterable[ApiToken]) -> list[TokenWords]:
    """Each with its words. One query for the names of all their tenants. What the reader does not
    reach is counted, not named."""
    rows = list(tokens)
    wanted = {tenant for token in rows for tenant in token.tenants or ()}
    names: dict[UUID, str] = {}
    if wanted:
        found = Tenant.objects.filter(id__in=wanted).order_by("name")
        names = dict(found.values_list("id", "name"))
    return [
        TokenWords(
            token=token,
            may=permissions_words(token.permissions),
            where=_places(token.tenants, names),
            stops=_stops(token),
        )
        for token in rows
    ]


def permissions_words(permissions: Sequence[str] | None) -> str:
    """ "Everything its owner may", "Only look", "See VMs, Start, stop and restart VMs"."""
    if permissions is None:
        return "everything that its owner may do"
    if set(permissions) <= set(READ_ONLY) and len(permissions) > 1:
        return "only look"
    names = [words for _, some in by_subject(permissions) for _, words in some]
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return ", ".join(names)


def _places(tenants: Sequence[UUID] | None, names: dict[UUID, str]) -> str:
    if tenants is None:
        return "wherever its owner gets"
    known = [names[tenant] for tenant in tenants if tenant in names]
    beyond = len(tenants) - len(known)
    if not known:
        return "nowhere that you see"
    words = ", ".join(sorted(known, key=str.casefold)[:3])
    more = max(0, len(known) - 3) + beyond
    return f"{words} and {more} more" if more else words


def _stops(token: ApiToken) -> str:
    if token.last_used_at is None:
        return "It was never used: nothing stops working."
    return (
        "Whatever works with it gets “401” from now on, and consoles that it opened close. It was "
        f"last used from {token.last_used_ip or 'an address that is not known'}."
    )
