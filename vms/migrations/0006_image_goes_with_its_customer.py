"""A customer that is deleted takes its images along."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0007_audit_chain"),
        ("vms", "0005_walls"),
    ]

    operations = [
        migrations.AlterField(
            model_name="image",
            name="tenant",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="tenants.tenant",
            ),
        ),
    ]
