"""The second wall around images and VMs; see tenants/walls.py."""

from django.db import migrations

from tenants.walls import ParentWall, TenantWall


class Migration(migrations.Migration):
    dependencies = [
        ("vms", "0004_vm_usage"),
        ("tenants", "0005_walls"),
    ]

    operations = [
        TenantWall("vms_image", from_above=True),
        ParentWall("vms_imageversion", "image_id", "vms_image", from_above=True),
        TenantWall("vms_virtualmachine"),
        TenantWall("vms_vmusage"),
        ParentWall("vms_disk", "vm_id", "vms_virtualmachine"),
        ParentWall("vms_nic", "vm_id", "vms_virtualmachine"),
    ]
