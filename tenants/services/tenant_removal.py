"""Deleting a customer. What was done for it stays in the audit log, and stays readable."""

from django.db import transaction
from django.db.models import ProtectedError

from tenants.actor import Actor
from tenants.errors import InvalidInputError, RuleError
from tenants.models import DeletedTenant, Tenant
from tenants.scope import system_scope
from tenants.services.audit import audit_record
from tenants.services.second_person_rules import second_person_check


class TenantNotEmptyError(RuleError):
    code = "tenant_not_empty"
    status = 409


@transaction.atomic
def tenant_remove(*, actor: Actor, tenant: Tenant) -> None:
    """Delete a customer that has no customers, sites or hosts any more, with its images, its
    roles and its memberships. Whoever reads the audit log of the tenant above goes on reading
    this one's. An MSP is not deleted: nobody would be left to read.

    Raises InvalidInputError, TenantNotEmptyError, SecondPersonNeededError.
    """
    second_person_check(actor=actor, kind="tenant.remove", row=tenant)
    tenant = Tenant.objects.select_for_update(of=("self",)).get(pk=tenant.pk)
    above = tenant.parent
    if above is None:
        raise InvalidInputError("An MSP can't be deleted. Delete its customers, one by one.")
    tenant_id, name = tenant.id, tenant.name
    audit_record(
        actor=actor,
        tenant=tenant,
        action="tenant.remove",
        object_kind="tenant",
        object_id=tenant_id,
        object_name=name,
        before={"name": name, "parent": above.name},
    )
    try:
        # Whoever may delete it need not reach the tenant above, which its events go to.
        with transaction.atomic(), system_scope("its events become readable to the one above"):
            # And those of customers that were deleted below it.
            DeletedTenant.objects.filter(reach_tenant=tenant).update(reach_tenant=above)
            DeletedTenant.objects.create(
                id=tenant_id, name=name, reach_tenant=above, chain_id=above.parent_id or above.id
            )
            tenant.delete()
    except ProtectedError as error:
        held = sorted({str(row._meta.verbose_name_plural) for row in error.protected_objects})
        raise TenantNotEmptyError(
            f"{name} has {' and '.join(held)} still. Remove them first, then delete it."
        ) from error
