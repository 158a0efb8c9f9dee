"""Groups of customers, and exceptions from what memberships give."""

import django.db.models.deletion
import django.utils.timezone
import uuid
from django.conf import settings
from django.db import migrations, models

from tenants.walls import MEMBERS, AccountWall, NewWall, PersonWall, TenantWall

KNOWN_BY = (*MEMBERS, "tenants_accessrule")


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0007_audit_chain'),
        ('vms', '0005_walls'),
    ]

    operations = [
        migrations.CreateModel(
            name='AccessRule',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('effect', models.CharField(choices=[('allow', 'May use'), ('deny', 'May not see')], max_length=8)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                'ordering': ['created_at', 'id'],
            },
        ),
        migrations.AddField(
            model_name="role",
            name="created_at",
            field=models.DateTimeField(default=django.utils.timezone.now, editable=False),
        ),
        migrations.AlterModelOptions(
            name='role',
            options={'ordering': ['name', 'id']},
        ),
        migrations.RemoveConstraint(
            model_name='tenant',
            name='tenant_msp_has_no_parent',
        ),
        migrations.AlterField(
            model_name='tenant',
            name='kind',
            field=models.CharField(choices=[('msp', 'MSP'), ('group', 'Group of customers'), ('customer', 'Customer')], max_length=16),
        ),
        migrations.AddConstraint(
            model_name='tenant',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind', 'msp'), ('parent', None)), models.Q(('kind__in', ['group', 'customer']), ('parent__isnull', False)), _connector='OR'), name='tenant_msp_has_no_parent'),
        ),
        migrations.AddField(
            model_name='accessrule',
            name='role',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='access_rules', to='tenants.role'),
        ),
        migrations.AddField(
            model_name='accessrule',
            name='site',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='access_rules', to='tenants.site'),
        ),
        migrations.AddField(
            model_name='accessrule',
            name='tenant',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='access_rules', to='tenants.tenant'),
        ),
        migrations.AddField(
            model_name='accessrule',
            name='user',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='access_rules', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='accessrule',
            name='vm',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='access_rules', to='vms.virtualmachine'),
        ),
        migrations.AddConstraint(
            model_name='accessrule',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('effect', 'deny'), ('role', None), ('site', None)), models.Q(('effect', 'deny'), ('role', None), ('vm', None)), models.Q(('effect', 'allow'), ('role__isnull', False), ('site', None), ('vm__isnull', False)), models.Q(('effect', 'allow'), ('role__isnull', False), ('site__isnull', False), ('vm', None)), _connector='OR'), name='access_rule_gives_a_role_on_one_thing'),
        ),
        migrations.AddConstraint(
            model_name='accessrule',
            constraint=models.UniqueConstraint(fields=('user', 'tenant', 'site', 'vm', 'effect', 'role'), name='access_rule_once', nulls_distinct=False),
        ),
        # A customer with customers was what groups are now.
        migrations.RunSQL(
            "UPDATE tenants_tenant SET kind = 'group' WHERE kind = 'customer' "
            "AND id IN (SELECT parent_id FROM tenants_tenant)",
            "UPDATE tenants_tenant SET kind = 'customer' WHERE kind = 'group'",
        ),
        TenantWall("tenants_accessrule", sign_in=True, own="user_id"),
        # Whoever was given a site or a VM is known to those who look after it.
        *(
            NewWall(PersonWall(table, of_colleagues=True), PersonWall(table, of_colleagues=True, known_by=KNOWN_BY))
            for table in (
                "tenants_user_groups",
                "tenants_user_user_permissions",
                "tenants_apitoken",
                "guardian_userobjectpermission",
                "account_emailaddress",
            )
        ),
        NewWall(AccountWall("tenants_user"), AccountWall("tenants_user", known_by=KNOWN_BY)),
    ]
