"""The second wall around console tickets; see tenants/walls.py."""

from django.db import migrations

from tenants.walls import TenantWall


class Migration(migrations.Migration):
    dependencies = [
        ("consoles", "0002_initial"),
        ("tenants", "0005_walls"),
    ]

    operations = [
        TenantWall("consoles_consoleticket"),
    ]
