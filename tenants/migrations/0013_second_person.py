"""A second person for what destroys many things."""

import uuid
from typing import Any

import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import tenants.models.second_person
from tenants.walls import TenantWall

_ID = models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)
_MADE = models.DateTimeField(db_index=True, default=django.utils.timezone.now, editable=False)
_DESTROYING = ["vm.delete", "vm.power", "hypervisor.manage", "image.manage", "tenant.manage"]


def _give(apps: Any, _editor: Any) -> None:
    """Whose own role lets them destroy things, may ask for it and agree to it. The built-in roles
    are written anew after each migration."""
    roles = apps.get_model("tenants", "Role").objects
    for role in roles.exclude(tenant=None).filter(permissions__overlap=_DESTROYING):
        if "agreement.manage" not in role.permissions:
            role.permissions = [*role.permissions, "agreement.manage"]
            role.save(update_fields=["permissions"])


def _take(apps: Any, _editor: Any) -> None:
    roles = apps.get_model("tenants", "Role").objects
    for role in roles.filter(permissions__contains=["agreement.manage"]):
        role.permissions = [one for one in role.permissions if one != "agreement.manage"]
        role.save(update_fields=["permissions"])


class Migration(migrations.Migration):
    dependencies = [("tenants", "0012_service_accounts")]

    operations = [
        migrations.CreateModel(
            name="SecondPersonRule",
            fields=[
                ("id", _ID),
                ("created_at", _MADE),
                (
                    "threshold",
                    models.PositiveSmallIntegerField(
                        default=2,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(100),
                        ],
                    ),
                ),
                (
                    "tenant",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={"abstract": False},
        ),
        migrations.CreateModel(
            name="SecondPersonRequest",
            fields=[
                ("id", _ID),
                ("created_at", _MADE),
                ("kind", models.CharField(max_length=63)),
                ("option", models.CharField(blank=True, max_length=32)),
                ("things", models.JSONField(default=list)),
                (
                    "site_ids",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.UUIDField(), default=list, size=None
                    ),
                ),
                (
                    "vm_ids",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.UUIDField(), default=list, size=None
                    ),
                ),
                ("reason", models.CharField(max_length=500)),
                ("asker_name", models.CharField(max_length=254)),
                (
                    "expires_at",
                    models.DateTimeField(default=tenants.models.second_person.tomorrow),
                ),
                (
                    "decision",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("agreed", "Agreed"),
                            ("refused", "Refused"),
                            ("withdrawn", "Taken back"),
                        ],
                        max_length=16,
                    ),
                ),
                ("decided_by_name", models.CharField(blank=True, max_length=254)),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("word", models.CharField(blank=True, max_length=500)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "asker",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
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
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={"ordering": ["-created_at", "-id"]},
        ),
        # Who reaches a customer alone is held to the rules of those over it, too.
        TenantWall("tenants_secondpersonrule", from_above=True),
        # Whoever asked sees what came of it, also where it went to the tenant above.
        TenantWall("tenants_secondpersonrequest", own="asker_id"),
        migrations.RunPython(_give, _take),
    ]
