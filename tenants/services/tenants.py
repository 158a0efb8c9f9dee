"""Making and changing tenants and sites."""

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError, Q
from django.utils.text import slugify

from tenants.actor import Actor
from tenants.errors import InvalidInputError, NameTakenError, RuleError
from tenants.models import Membership, Role, Site, Tenant
from tenants.models.tenant import MAX_DEPTH
from tenants.permissions import in_words
from tenants.scope import current, system_scope
from tenants.services.audit import audit_record
from tenants.services.authority import SurplusPermissionsError, check_may_give
from tenants.services.live import live_publish
from tenants.services.tree import move_check, tree_change

# Names in addresses that are pages of their own.
_RESERVED_SLUGS = frozenset({"new"})


class SiteNotEmptyError(RuleError):
    code = "site_not_empty"
    status = 409


@transaction.atomic
def tenant_create(
    *, actor: Actor, name: str, parent: Tenant | None, kind: str = Tenant.Kind.CUSTOMER
) -> Tenant:
    """A customer or a group of them under `parent`, or an MSP where `parent` is None.

    Raises NameTakenError, InvalidInputError.
    """
    name = name.strip()
    slug = _slug_for(name)
    base, number = slug, 2
    with system_scope("addresses are unique in the whole portal"):
        while Tenant.objects.filter(slug=slug).exists():
            slug = f"{base[:58]}-{number}"
            number += 1
    if parent is None:
        kind = Tenant.Kind.MSP
    else:
        _check_place(kind, parent)
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
            after={"name": name, "kind": kind, "parent": parent.name if parent else None},
        )
    return tenant


@transaction.atomic
def tenant_move(*, actor: Actor, tenant: Tenant, parent: Tenant) -> Tenant:
    """A customer into a group of its MSP, into another one, or out of it. Memberships of the old
    group don't reach it any more, those of the new one do.

    Only who manages the customers of the whole MSP may do it, and gains nothing by it.

    Raises InvalidInputError, SurplusPermissionsError, NameTakenError, and what `move_check` does.
    """
    tree_change(tenant)
    tenant = (
        Tenant.objects.select_for_update(of=("self",)).select_related("parent").get(pk=tenant.pk)
    )
    if tenant.parent_id == parent.pk:
        return tenant
    if tenant.kind != Tenant.Kind.CUSTOMER or tenant.parent is None:
        raise InvalidInputError(
            "Only a customer can be moved. Move the customers of a group one by one.",
            field="parent",
        )
    _check_place(tenant.kind, parent)
    if tenant.line()[-1] != parent.line()[-1]:
        raise InvalidInputError(
            f"{parent.name} belongs to another MSP. Choose {tenant.name}'s own, or one of its "
            f"groups.",
            field="parent",
        )
    _check_roles_stay(tenant, parent)
    msp = parent.parent or parent
    check_may_give(actor, msp, {"tenant.manage", "user.manage"}, field="parent")
    move_check(actor=actor, tenant=tenant, parent=parent)
    held = Membership.objects.permissions_on(actor.user, tenant) if actor.user else frozenset()
    before, tenant.parent = tenant.parent, parent
    try:
        with transaction.atomic():
            tenant.save(update_fields=["parent"])
    except IntegrityError as error:
        raise NameTakenError(
            f"There is a “{tenant.name}” in {parent.name} already. Rename one of them first.",
            field="parent",
        ) from error
    if actor.user and (more := Membership.objects.permissions_on(actor.user, tenant) - held):
        raise SurplusPermissionsError(
            f"In {parent.name} you would hold more on {tenant.name} than now: {in_words(more)}. "
            f"Ask a colleague to move it.",
            field="parent",
        )
    audit_record(
        actor=actor,
        tenant=tenant,
        action="tenant.move",
        object_kind="tenant",
        object_id=tenant.id,
        object_name=tenant.name,
        before={"parent": before.name},
        after={"parent": parent.name},
    )
    return tenant


def _check_roles_stay(tenant: Tenant, parent: Tenant) -> None:
    """A role of the group that it leaves would be nobody's there. Raises InvalidInputError."""
    lost = Role.objects.filter(tenant__in=set(tenant.line()[1:]) - set(parent.line()))
    used = lost.filter(Q(memberships__tenant=tenant) | Q(access_rules__tenant=tenant))
    if names := ", ".join(sorted({role.name for role in used})):
        raise InvalidInputError(
            f"People have roles on {tenant.name} that belong to the group it would leave: {names}. "
            f"Give them others first.",
            field="parent",
        )


def _check_place(kind: str, parent: Tenant) -> None:
    """MSPs have groups and customers, groups have customers. Raises InvalidInputError."""
    if parent.kind == Tenant.Kind.CUSTOMER or len(parent.line()) >= MAX_DEPTH:
        raise InvalidInputError(
            "Customers can be grouped one level deep. Choose the MSP or a group as parent.",
            field="parent",
        )
    if kind == Tenant.Kind.GROUP and parent.kind != Tenant.Kind.MSP:
        raise InvalidInputError(
            "A group of customers stands right below its MSP. Choose the MSP.", field="parent"
        )


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
        site_id=site.id,
        object_name=name,
        after={"name": name, "address": site.address},
    )
    return site


@transaction.atomic
def tenant_rename(*, actor: Actor, tenant: Tenant, name: str) -> Tenant:
    """Another name. The address of its pages stays, so that links keep working.

    Raises NameTakenError, InvalidInputError.
    """
    name = name.strip()
    _slug_for(name)
    tenant = Tenant.objects.select_for_update().get(pk=tenant.pk)
    before, tenant.name = tenant.name, name
    if before == name:
        return tenant
    try:
        with transaction.atomic():
            tenant.save(update_fields=["name"])
    except IntegrityError as error:
        raise NameTakenError(
            f"There is a customer named “{name}” already. Choose another name.", field="name"
        ) from error
    audit_record(
        actor=actor,
        tenant=tenant,
        action="tenant.rename",
        object_kind="tenant",
        object_id=tenant.id,
        object_name=name,
        before={"name": before},
        after={"name": name},
    )
    return tenant


@transaction.atomic
def site_change(
    *,
    actor: Actor,
    site: Site,
    name: str | None = None,
    address: str | None = None,
    time_zone: str | None = None,
) -> Site:
    """Other values; None keeps one. The address of its page stays, so that links keep working.

    Raises NameTakenError, InvalidInputError.
    """
    site = Site.objects.select_for_update(of=("self",)).select_related("tenant").get(pk=site.pk)
    wished = {"name": name, "address": address, "time_zone": time_zone}
    before = {key: getattr(site, key) for key in wished}
    after = {key: before[key] if value is None else value.strip() for key, value in wished.items()}
    changed = [key for key in wished if after[key] != before[key]]
    if not changed:
        return site
    _slug_for(after["name"])
    for key in changed:
        setattr(site, key, after[key])
    try:
        with transaction.atomic():
            site.save(update_fields=changed)
    except IntegrityError as error:
        raise NameTakenError(
            f"{site.tenant.name} has a site named “{after['name']}” already. Choose another name.",
            field="name",
        ) from error
    audit_record(
        actor=actor,
        tenant=site.tenant,
        action="site.change",
        object_kind="site",
        object_id=site.id,
        site_id=site.id,
        object_name=site.name,
        before={key: before[key] for key in changed},
        after={key: after[key] for key in changed},
    )
    live_publish(tenant_id=site.tenant_id, kind="site", object_id=site.id)
    return site


@transaction.atomic
def site_remove(*, actor: Actor, site: Site) -> None:
    """Remove a site that has no hosts, with its join tokens. Raises SiteNotEmptyError."""
    site = Site.objects.select_for_update(of=("self",)).select_related("tenant").get(pk=site.pk)
    site_id = site.id
    try:
        with transaction.atomic():
            site.delete()
    except ProtectedError as error:
        raise SiteNotEmptyError(f"{site.name} has hosts. Remove them first.") from error
    audit_record(
        actor=actor,
        tenant=site.tenant,
        action="site.remove",
        object_kind="site",
        object_id=site_id,
        site_id=site_id,
        object_name=site.name,
        before={"name": site.name, "address": site.address, "time_zone": site.time_zone},
    )
    live_publish(tenant_id=site.tenant_id, kind="site", object_id=site_id)


def _slug_for(name: str) -> str:
    slug = slugify(name)[:63].strip("-")
    if not slug or slug in _RESERVED_SLUGS:
        raise InvalidInputError(
            "The name needs at least one letter or digit, and can't be “new”.", field="name"
        )
    return slug
