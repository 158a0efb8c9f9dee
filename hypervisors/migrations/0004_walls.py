"""The second wall around hosts and jobs; see tenants/walls.py."""

from django.db import migrations

from tenants.walls import ParentWall, TenantWall


class Migration(migrations.Migration):
    dependencies = [
        ("hypervisors", "0003_host_usage"),
        ("tenants", "0005_walls"),
    ]

    operations = [
        TenantWall("hypervisors_jointoken"),
        TenantWall("hypervisors_hypervisor"),
        TenantWall("hypervisors_network"),
        TenantWall("hypervisors_hostusage"),
        TenantWall("hypervisors_job"),
        ParentWall("hypervisors_jobevent", "job_id", "hypervisors_job"),
    ]
