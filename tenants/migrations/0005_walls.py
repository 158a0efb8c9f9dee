"""The second wall around people, tenants and what is theirs; see tenants/walls.py."""

import django.contrib.postgres.fields
import django.utils.timezone
from django.db import migrations, models

from tenants.walls import (
    FUNCTIONS,
    NO_FUNCTIONS,
    AccountWall,
    FollowWall,
    PersonWall,
    TenantWall,
    TreeWall,
)


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0004_user_ssh_keys"),
        ("guardian", "0003_remove_groupobjectpermission_guardian_gr_content_ae6aec_idx_and_more"),
        ("account", "0009_emailaddress_unique_primary_email"),
    ]

    operations = [
        migrations.CreateModel(
            name="TenantSet",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                (
                    "tenants",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.UUIDField(), size=None
                    ),
                ),
                (
                    "used_at",
                    models.DateTimeField(db_index=True, default=django.utils.timezone.now),
                ),
            ],
        ),
        migrations.RunSQL(FUNCTIONS, NO_FUNCTIONS),
        TenantWall("tenants_membership", sign_in=True, own="user_id"),
        AccountWall("tenants_user"),
        PersonWall("tenants_user_groups", of_colleagues=True),
        PersonWall("tenants_user_user_permissions", of_colleagues=True),
        PersonWall("tenants_apitoken", of_colleagues=True),
        PersonWall("tenants_idempotentanswer"),
        PersonWall("tenants_savedview"),
        TreeWall("tenants_tenant"),
        TenantWall("tenants_role", from_above=True, sign_in=True),
        TenantWall("tenants_site"),
        TenantWall("tenants_auditevent"),
        PersonWall("guardian_userobjectpermission", of_colleagues=True),
        PersonWall("account_emailaddress", of_colleagues=True),
        FollowWall("account_emailconfirmation", "email_address_id", "account_emailaddress"),
    ]
