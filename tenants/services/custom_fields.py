"""Fields of one's own on customers and sites, which scripts of their VMs may use."""

import re
from collections.abc import Mapping
from typing import TypeVar

from django.db import transaction

from tenants.actor import Actor
from tenants.errors import InvalidInputError
from tenants.models import Site, Tenant
from tenants.services.audit import audit_record

MOST_FIELDS = 16
_NAME = re.compile(r"\A[a-z][a-z0-9_]{0,30}\Z")
_LONGEST_VALUE = 500
_FIELD = "custom_fields"
# What the portal knows by itself: `{{ site.name }}` is always the site's name.
_TAKEN = frozenset({"name", "slug", "address", "time_zone"})

Owner = TypeVar("Owner", Tenant, Site)


def custom_fields_read(text: str, *, field: str = _FIELD) -> dict[str, str]:
    """Fields as a person types them, one a line: `name = value`. `field` is the one of the form
    that a refusal is about. Raises InvalidInputError."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        name, mark, value = (part.strip() for part in line.partition("="))
        if not mark:
            raise InvalidInputError(
                f"“{line.strip()[:60]}” has no “=”. Write one a line: vpn_gateway = 10.9.8.1",
                field=field,
            )
        if name in fields:
            raise InvalidInputError(f"“{name}” is there twice. Keep one of them.", field=field)
        fields[name] = value
    return fields


def custom_fields_write(fields: Mapping[str, str]) -> str:
    """The text that `custom_fields_read` reads."""
    return "".join(f"{name} = {value}\n" for name, value in fields.items())


def custom_fields_check(fields: Mapping[str, str]) -> dict[str, str]:
    """The fields, stripped. Raises InvalidInputError."""
    if len(fields) > MOST_FIELDS:
        raise InvalidInputError(
            f"{len(fields)} fields are too many: {MOST_FIELDS} at most.", field=_FIELD
        )
    return {_name(name): _value(name, value) for name, value in fields.items()}


@transaction.atomic
def custom_fields_set(*, actor: Actor, owner: Owner, fields: Mapping[str, str]) -> Owner:
    """All fields of a tenant or site from now on. VMs that are made, or told anew, use them.

    Raises InvalidInputError.
    """
    checked = custom_fields_check(fields)
    locked = type(owner).objects.select_for_update(of=("self",)).get(pk=owner.pk)
    before = locked.custom_fields
    if before == checked:
        return locked
    locked.custom_fields = checked
    locked.save(update_fields=["custom_fields"])
    is_site = isinstance(locked, Site)
    audit_record(
        actor=actor,
        tenant=locked.tenant if isinstance(locked, Site) else locked,
        action="site.fields" if is_site else "tenant.fields",
        object_kind="site" if is_site else "tenant",
        object_id=locked.id,
        object_name=locked.name,
        site_id=locked.id if is_site else None,
        before={"fields": before},
        after={"fields": checked},
    )
    return locked


def _name(name: str) -> str:
    if not _NAME.match(name):
        raise InvalidInputError(
            f"“{name[:40]}” is no name of a field: it has small letters, digits and “_”, begins "
            "with a letter, and has 31 characters at most.",
            field=_FIELD,
        )
    if name in _TAKEN:
        raise InvalidInputError(
            f"The portal knows “{name}” by itself. Choose another name for the field.",
            field=_FIELD,
        )
    return name


def _value(name: str, value: str) -> str:
    value = value.strip()
    if len(value) > _LONGEST_VALUE or not value.isprintable():
        raise InvalidInputError(
            f"The value of “{name}” is one line of {_LONGEST_VALUE} characters at most.",
            field=_FIELD,
        )
    return value
