"""Customers' consent to consoles."""

import uuid

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from tenants.walls import TenantWall

_ID = models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)
_MADE = models.DateTimeField(db_index=True, default=django.utils.timezone.now, editable=False)


class Migration(migrations.Migration):
    dependencies = [
        ("consoles", "0004_open_consoles"),
        ("vms", "0005_walls"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ConsentRule",
            fields=[
                ("id", _ID),
                ("created_at", _MADE),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
                (
                    "vm",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="vms.virtualmachine",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "vm"), name="consent_rule_once", nulls_distinct=False
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ConsentRequest",
            fields=[
                ("id", _ID),
                ("created_at", _MADE),
                ("requester_name", models.CharField(max_length=254)),
                ("reason", models.CharField(max_length=500)),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("approved_until", models.DateTimeField(blank=True, null=True)),
                (
                    "decided_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "requester",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
                (
                    "vm",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="vms.virtualmachine",
                    ),
                ),
            ],
            options={"ordering": ["-created_at", "-id"]},
        ),
        # Who reaches a customer alone is held to the rules of the group over it, too.
        TenantWall("consoles_consentrule", from_above=True),
        TenantWall("consoles_consentrequest"),
    ]
