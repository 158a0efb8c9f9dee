"""Which consoles are open now, and with which token."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("consoles", "0003_walls"),
        ("tenants", "0009_invitations"),
    ]

    operations = [
        migrations.AddField(
            model_name="consoleticket",
            name="token",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="tenants.apitoken",
            ),
        ),
        migrations.AddField(
            model_name="consoleticket",
            name="seen_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="consoleticket",
            name="closed_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
