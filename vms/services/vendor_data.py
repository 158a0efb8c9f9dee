"""What an MSP wants done in the first boot of all its customers' VMs."""

from django.db import transaction

from tenants.actor import Actor
from tenants.errors import InvalidInputError
from tenants.models import Tenant
from tenants.scope import system_scope
from tenants.services.audit import audit_record
from vms.services.user_data import user_data_check

_FIELD = "vendor_data"


@transaction.atomic
def vendor_data_set(*, actor: Actor, msp: Tenant, text: str) -> Tenant:
    """From now on, for VMs that are made or told anew. Empty: nothing.

    Raises InvalidInputError.
    """
    if msp.kind != Tenant.Kind.MSP:
        raise InvalidInputError(
            "Only an MSP has vendor data: it is for the VMs of all its customers.", field=_FIELD
        )
    try:
        text = user_data_check(text)
    except InvalidInputError as refusal:
        raise InvalidInputError(refusal.message, field=_FIELD) from refusal
    msp = Tenant.objects.select_for_update(of=("self",)).get(pk=msp.pk)
    before = msp.vendor_data
    if text == before:
        return msp
    msp.vendor_data = text
    msp.save(update_fields=["vendor_data"])
    audit_record(
        actor=actor,
        tenant=msp,
        action="tenant.vendor_data",
        object_kind="tenant",
        object_id=msp.id,
        object_name=msp.name,
        before={"bytes": len(before.encode())},
        after={"bytes": len(text.encode())},
    )
    return msp


def vendor_data_for(tenant: Tenant) -> str:
    """What the MSP over `tenant` says; it is not for the eyes of its customers' people."""
    with system_scope("the MSP's part goes to the guests of all its customers"):
        msp = Tenant.objects.filter(id=tenant.line()[-1]).only("vendor_data").first()
    return msp.vendor_data if msp is not None else ""
