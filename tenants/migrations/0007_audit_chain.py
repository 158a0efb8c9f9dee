"""The audit log: who, from where; its chain; and keys that stand in no deletion's way."""

import uuid

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from tenants.database.audit import BACKFILL, DOWN, KEEP, KEEP_NOT, UP
from tenants.walls import AuditWall, TenantWall


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0006_sign_in"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditCheckpoint",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("chain_id", models.UUIDField()),
                ("name", models.CharField(max_length=100)),
                ("seq", models.BigIntegerField()),
                ("hash", models.BinaryField(max_length=32)),
                ("anchor", models.BooleanField(default=False)),
                (
                    "made_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("key", models.CharField(max_length=64)),
                ("signature", models.CharField(max_length=128)),
            ],
            options={
                "ordering": ["chain_id", "seq", "made_at"],
            },
        ),
        migrations.CreateModel(
            name="AuditLink",
            fields=[
                (
                    "event",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="link",
                        serialize=False,
                        to="tenants.auditevent",
                    ),
                ),
                ("chain_id", models.UUIDField()),
                ("seq", models.BigIntegerField()),
                ("hash", models.BinaryField(max_length=32)),
            ],
        ),
        migrations.CreateModel(
            name="AuditVerification",
            fields=[
                ("chain_id", models.UUIDField(primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=100)),
                ("events", models.BigIntegerField()),
                ("seq", models.BigIntegerField()),
                ("problem", models.TextField(default="")),
                (
                    "checked_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
            ],
        ),
        migrations.CreateModel(
            name="DeletedTenant",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=100)),
                (
                    "chain_id",
                    models.UUIDField(default=uuid.UUID("00000000-0000-0000-0000-000000000000")),
                ),
                (
                    "deleted_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
            ],
        ),
        migrations.AddField(
            model_name="auditevent",
            name="actor_kind",
            field=models.CharField(
                choices=[
                    ("person", "Person"),
                    ("token", "Token"),
                    ("service", "Service account"),
                    ("system", "Basalt"),
                ],
                default="system",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="auditevent",
            name="chain_id",
            field=models.UUIDField(
                default=uuid.UUID("00000000-0000-0000-0000-000000000000"), editable=False
            ),
        ),
        migrations.AddField(
            model_name="auditevent",
            name="credential",
            field=models.CharField(default="", max_length=64),
        ),
        migrations.AddField(
            model_name="auditevent",
            name="site_id",
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name="auditevent",
            name="tenant_name",
            field=models.CharField(default="", max_length=100),
        ),
        migrations.AddField(
            model_name="auditevent",
            name="user_agent",
            field=models.CharField(default="", max_length=120),
        ),
        migrations.AlterField(
            model_name="auditevent",
            name="actor",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AlterField(
            model_name="auditevent",
            name="object_id",
            field=models.UUIDField(null=True),
        ),
        migrations.AlterField(
            model_name="auditevent",
            name="tenant",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="tenants.tenant",
            ),
        ),
        migrations.AlterField(
            model_name="auditevent",
            name="token",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="tenants.apitoken",
            ),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["tenant", "-created_at", "-id"], name="audit_of_tenant"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["object_id", "-created_at"], name="audit_of_object"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["actor", "-created_at"], name="audit_of_actor"),
        ),
        migrations.AddIndex(
            model_name="auditcheckpoint",
            index=models.Index(fields=["chain_id", "-seq"], name="audit_checkpoint_of"),
        ),
        migrations.AddConstraint(
            model_name="auditlink",
            constraint=models.UniqueConstraint(fields=("chain_id", "seq"), name="audit_link_once"),
        ),
        migrations.AddField(
            model_name="deletedtenant",
            name="reach_tenant",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="tenants.tenant",
            ),
        ),
        AuditWall("tenants_auditevent"),
        TenantWall("tenants_auditlink", "chain_id", from_above=True),
        TenantWall("tenants_auditcheckpoint", "chain_id"),
        TenantWall("tenants_auditverification", "chain_id"),
        TenantWall("tenants_deletedtenant", "reach_tenant_id"),
        migrations.RunSQL(UP, DOWN),
        migrations.RunSQL(BACKFILL, migrations.RunSQL.noop),
        migrations.RunSQL(KEEP, KEEP_NOT),
    ]
