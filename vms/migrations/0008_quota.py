"""Quotas, with their wall."""

import uuid

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

from tenants.walls import TenantWall


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0009_invitations"),
        ("vms", "0007_what_guests_are_told"),
    ]

    operations = [
        migrations.CreateModel(
            name="Quota",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_index=True, default=django.utils.timezone.now, editable=False
                    ),
                ),
                ("vms", models.PositiveIntegerField(blank=True, null=True)),
                ("vcpus", models.PositiveIntegerField(blank=True, null=True)),
                ("memory_mib", models.PositiveIntegerField(blank=True, null=True)),
                ("disk_gib", models.PositiveIntegerField(blank=True, null=True)),
                ("snapshots", models.PositiveIntegerField(blank=True, null=True)),
                (
                    "site",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenants.site",
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
            options={"ordering": ["created_at", "id"]},
        ),
        migrations.AddConstraint(
            model_name="quota",
            constraint=models.UniqueConstraint(
                fields=("tenant", "site"), name="quota_once", nulls_distinct=False
            ),
        ),
        TenantWall("vms_quota"),
    ]
