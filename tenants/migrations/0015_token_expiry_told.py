"""Whoever has a token is told once before it ends."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0014_idle_minutes'),
    ]

    operations = [
        migrations.AddField(
            model_name='apitoken',
            name='expiry_told_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
