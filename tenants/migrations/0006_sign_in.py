"""How people sign in: policies, identity providers, known devices; and walls around these and
around allauth's tables of second factors, sessions and providers' accounts."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
import uuid

from django.conf import settings
from django.db import migrations, models

import tenants.models.sign_in
from tenants.walls import ClosedWall, FollowWall, PersonWall, TenantWall


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0005_walls'),
        ('mfa', '0003_authenticator_type_uniq'),
        ('socialaccount', '0006_alter_socialaccount_extra_data'),
        ('usersessions', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='IdentityProvider',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(db_index=True, default=django.utils.timezone.now, editable=False)),
                ('kind', models.CharField(choices=[('oidc', 'OpenID Connect'), ('saml', 'SAML 2.0')], max_length=8)),
                ('name', models.CharField(max_length=100)),
                ('enabled', models.BooleanField(default=True)),
                ('issuer', models.CharField(max_length=500)),
                ('client_id', models.CharField(blank=True, max_length=255)),
                ('sealed_secret', models.TextField(blank=True)),
                ('sso_url', models.CharField(blank=True, max_length=500)),
                ('certificate', models.TextField(blank=True)),
                ('makes_accounts', models.BooleanField(default=False)),
                ('asks_second_factor', models.BooleanField(default=False)),
                ('default_role', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.role')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'ordering': ['name', 'id'],
            },
        ),
        migrations.CreateModel(
            name='IdentityProviderDomain',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('domain', models.CharField(max_length=253, unique=True)),
                ('provider', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='domains', to='tenants.identityprovider')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'ordering': ['domain'],
            },
        ),
        migrations.CreateModel(
            name='KnownDevice',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('hash', models.CharField(max_length=64)),
                ('family', models.CharField(max_length=100)),
                ('first_seen_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('last_seen_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='known_devices', to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.CreateModel(
            name='SignInPolicy',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(db_index=True, default=django.utils.timezone.now, editable=False)),
                ('mfa_for', models.CharField(choices=[('nobody', 'Nobody: it is recommended, not required'), ('roles', 'People with these roles'), ('everybody', 'Everybody')], default='nobody', max_length=16)),
                ('mfa_roles', django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), blank=True, default=list, size=None)),
                ('session_hours', models.PositiveIntegerField(blank=True, null=True)),
                ('methods', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('password', 'Password'), ('passkey', 'Passkey'), ('provider', 'Single sign-on')], max_length=16), default=tenants.models.sign_in.all_methods, size=None)),
                ('for_customers', models.BooleanField(default=False)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
        ),
        migrations.AddConstraint(
            model_name='identityprovider',
            constraint=models.UniqueConstraint(models.F('tenant'), django.db.models.functions.text.Lower('name'), name='identity_provider_name_once'),
        ),
        migrations.AddConstraint(
            model_name='knowndevice',
            constraint=models.UniqueConstraint(fields=('user', 'hash'), name='known_device_once'),
        ),
        migrations.AddConstraint(
            model_name='signinpolicy',
            constraint=models.UniqueConstraint(fields=('tenant',), name='sign_in_policy_once'),
        ),
        migrations.AddConstraint(
            model_name='signinpolicy',
            constraint=models.CheckConstraint(condition=models.Q(('methods__len__gt', 0)), name='sign_in_policy_some_method'),
        ),
        # Read by everybody whom a policy of the tenants above binds, and before it is known who.
        TenantWall("tenants_signinpolicy", from_above=True),
        TenantWall("tenants_identityprovider", sign_in=True),
        TenantWall("tenants_identityproviderdomain", sign_in=True),
        PersonWall("tenants_knowndevice"),
        PersonWall("mfa_authenticator"),
        PersonWall("usersessions_usersession"),
        PersonWall("socialaccount_socialaccount"),
        FollowWall("socialaccount_socialtoken", "account_id", "socialaccount_socialaccount"),
        # Providers are tenants_identityprovider: allauth's own table stays empty.
        ClosedWall("socialaccount_socialapp"),
    ]
