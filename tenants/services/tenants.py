"""Making tenants and sites."""

from django.db import IntegrityError, transaction
from django.utils.text import slugify

from tenants.actor import Actor
from tenants.errors import InvalidInputError, NameTakenError
from tenants.models import Site, Tenant
from tenants.models.tenant import MAX_DEPTH
from tenants.scope import current, system_scope
from tenants.services.audit import audit_record

# Names in addresses that are pages of their own.
_RESERVED_SLUGS = frozenset({"new"})


@transaction.atomic
def tenant_create(*, actor: Actor, name: str, parent: Tenant | None) -> Tenant:
    """A customer under `parent`, or an MSP where `parent` is None.

    Raises NameTakenError, InvalidInputError.
    """
    name = name.strip()
    slug = _slug_for(name)
    base, number = slug, 2
    with system_scope("addresses are unique in the whole portal"):
        while Tenant.objects.filter(slug=slug).exists():
            slug = f"{base[:58]}-{number}"
            number += 1
    depth, above = 1, parent
    while above is not None:
        depth, above = depth + 1, above.parent
    if depth > MAX_DEPTH:
        raise InvalidInputError(
            "Customers can be grouped one level deep. Choose the MSP or a group as parent.",
            field="parent",
        )
    kind = Tenant.Kind.MSP if parent is None else Tenant.Kind.CUSTOMER
    try:
        with transaction.atomic():
            tenant = Tenant.objects.create(name=name, slug=slug, kind=kind, parent=parent)
    except IntegrityError as error:
        raise NameTakenError(
            f"There is a customer named “{name}” already. Choose another name.", field="name"
        ) from error
    # Whoever made it reaches it from the next request on; its first event is written now.
    with current().including(tenant.id):
        audit_record(
            actor=actor,
            tenant=tenant,
            action="tenant.create",
            object_kind="tenant",
            object_id=tenant.id,
            object_name=name,
            after={"name": name, "parent": parent.name if parent else None},
        )
    return tenant


@transaction.atomic
def site_create(
    *, actor: Actor, tenant: Tenant, name: str, address: str = "", time_zone: str = "UTC"
) -> Site:
    """A site of `tenant`. Raises NameTakenError, InvalidInputError."""
    name = name.strip()
    try:
        with transaction.atomic():
            site = Site.objects.create(
                tenant=tenant,
                name=name,
                slug=_slug_for(name),
                address=address.strip(),
                time_zone=time_zone,
            )
    except IntegrityError as error:
        raise NameTakenError(
            f"{tenant.name} has a site named “{name}” already. Choose another name.", field="name"
        ) from error
    audit_record(
        actor=actor,
        tenant=tenant,
        action="site.create",
        object_kind="site",
        object_id=site.id,
        object_name=name,
        after={"name": name, "address": site.address},
    )
    return site


def _slug_for(name: str) -> str:
    slug = slugify(name)[:63].strip("-")
    if not slug or slug in _RESERVED_SLUGS:
        raise InvalidInputError(
            "The name needs at least one letter or digit, and can't be “new”.", field="name"
        )
    return slug
