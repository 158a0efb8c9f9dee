"""Service accounts, and who knows them: whoever looks after their tenant."""

import uuid

import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from tenants.walls import MEMBERS, AccountWall, NewWall, PersonWall, TenantWall

KNOWN_BEFORE = (*MEMBERS, "tenants_accessrule")
KNOWN_BY = (*KNOWN_BEFORE, "tenants_serviceaccount")


class Migration(migrations.Migration):
    dependencies = [("tenants", "0011_token_scope")]

    operations = [
        migrations.AddField(
            model_name="user",
            name="is_service",
            field=models.BooleanField(default=False, editable=False),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("is_service", False), ("password__startswith", "!"), _connector="OR"
                ),
                name="user_service_has_no_password",
            ),
        ),
        migrations.CreateModel(
            name="ServiceAccount",
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
                ("name", models.CharField(max_length=100)),
                ("description", models.CharField(blank=True, max_length=300)),
                ("made_by_name", models.CharField(blank=True, max_length=254)),
                (
                    "made_by",
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
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="service_account",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "service account",
                "ordering": ["name", "id"],
                "constraints": [
                    models.UniqueConstraint(
                        models.F("tenant"),
                        django.db.models.functions.text.Lower("name"),
                        name="service_account_name_once_per_tenant",
                    )
                ],
            },
        ),
        TenantWall("tenants_serviceaccount", sign_in=True, own="user_id"),
        NewWall(
            PersonWall("tenants_apitoken", of_colleagues=True, known_by=KNOWN_BEFORE),
            PersonWall("tenants_apitoken", of_colleagues=True, known_by=KNOWN_BY),
        ),
        NewWall(
            AccountWall("tenants_user", known_by=KNOWN_BEFORE),
            AccountWall("tenants_user", known_by=KNOWN_BY),
        ),
    ]
