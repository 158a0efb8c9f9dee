from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0003_saved_view"),
    ]

    operations = [
        migrations.AddField(
            model_name="user",
            name="ssh_keys",
            field=models.JSONField(blank=True, default=list),
        ),
    ]
