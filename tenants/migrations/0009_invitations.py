"""Invitations by e-mail, behind a wall that opens to who comes with a link."""

import uuid

import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from tenants.walls import TenantWall


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0008_access_rules"),
        ("tenants", "0006_sign_in"),
        ("tenants", "0007_audit_chain"),
    ]

    operations = [
        migrations.CreateModel(
            name="Invitation",
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
                ("email", models.EmailField(max_length=254)),
                ("membership_expires_at", models.DateTimeField(blank=True, null=True)),
                ("hash", models.CharField(max_length=64, unique=True)),
                ("sent_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("mailed", models.BooleanField(default=False)),
                ("expires_at", models.DateTimeField()),
                ("accepted_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "invited_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "role",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenants.role",
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
            ],
            options={
                "ordering": ["-created_at", "-id"],
                "constraints": [
                    models.UniqueConstraint(
                        models.F("tenant"),
                        models.F("role"),
                        django.db.models.functions.text.Lower("email"),
                        condition=models.Q(("accepted_at", None), ("revoked_at", None)),
                        name="invitation_once",
                    )
                ],
            },
        ),
        TenantWall("tenants_invitation", sign_in=True),
    ]
