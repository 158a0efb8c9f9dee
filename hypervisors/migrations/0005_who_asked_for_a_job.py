from typing import Any

from django.db import migrations, models
from django.db.models import OuterRef, Subquery


def keep_the_names(apps: Any, _editor: Any) -> None:
    jobs = apps.get_model("hypervisors", "Job").objects.exclude(requested_by=None)
    people = apps.get_model("tenants", "User").objects.filter(pk=OuterRef("requested_by"))
    jobs.update(requested_by_name=Subquery(people.values("email")[:1]))


class Migration(migrations.Migration):
    dependencies = [
        ("hypervisors", "0004_walls"),
    ]

    operations = [
        migrations.AddField(
            model_name="job",
            name="requested_by_name",
            field=models.CharField(blank=True, max_length=254),
        ),
        migrations.RunPython(keep_the_names, migrations.RunPython.noop),
    ]
