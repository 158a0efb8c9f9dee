"""Sessions that nobody uses end, where a policy says so. Policies of before go on without it."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0013_second_person'),
    ]

    operations = [
        migrations.AddField(
            model_name='signinpolicy',
            name='idle_minutes',
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
    ]
