"""Fields of one's own on customers and sites."""

import pytest

from tenants.actor import SYSTEM
from tenants.errors import InvalidInputError
from tenants.models import AuditEvent
from tenants.services.custom_fields import (
    MOST_FIELDS,
    custom_fields_read,
    custom_fields_set,
    custom_fields_write,
)
from tests.factories import CustomerFactory, SiteFactory

pytestmark = pytest.mark.django_db


def test_what_is_typed_is_read_and_written_again():
    text = "vpn_gateway = 10.9.8.1\nmotto = a = b\n"
    fields = custom_fields_read(f"\n {text}\n")
    assert fields == {"vpn_gateway": "10.9.8.1", "motto": "a = b"}
    assert custom_fields_write(fields) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no mark", "has no “=”"),
        ("a = 1\na = 2", "there twice"),
    ],
)
def test_a_line_that_cant_be_read_is_named(text, why):
    with pytest.raises(InvalidInputError, match=why):
        custom_fields_read(text)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"Big": "1"}, "no name of a field"),
        ({"a.b": "1"}, "no name of a field"),
        ({"": "1"}, "no name of a field"),
        ({"name": "1"}, "by itself"),
        ({"a": "x" * 501}, "one line of 500"),
        ({"a": "one\ntwo"}, "one line of 500"),
        ({"a": "\x00"}, "one line of 500"),
        ({f"f{number}": "" for number in range(MOST_FIELDS + 1)}, "too many"),
    ],
)
def test_what_could_not_be_used_is_refused_and_nothing_changes(fields, why):
    customer = CustomerFactory()
    with pytest.raises(InvalidInputError, match=why):
        custom_fields_set(actor=SYSTEM, owner=customer, fields=fields)
    customer.refresh_from_db()
    assert customer.custom_fields == {}


@pytest.mark.parametrize("factory", [CustomerFactory, SiteFactory])
def test_a_change_is_one_event(factory):
    owner = factory()
    custom_fields_set(actor=SYSTEM, owner=owner, fields={"rack": " 7 "})
    custom_fields_set(actor=SYSTEM, owner=owner, fields={"rack": "7"})
    event = AuditEvent.objects.get(object_id=owner.id)
    assert event.after == {"fields": {"rack": "7"}}
    owner.refresh_from_db()
    assert owner.custom_fields == {"rack": "7"}
