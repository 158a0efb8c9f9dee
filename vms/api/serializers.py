"""VMs in the API."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from hypervisors.api.serializers import JobSerializer
from hypervisors.models import Hypervisor, Network
from hypervisors.services.jobs import host_must_be_online
from tenants.api.fields import InputSerializer, InScope, ReferenceSerializer, rows_named
from tenants.models import Site
from vms.api.nic_serializers import NO_SUCH_NETWORK, NicSerializer, NicWishSerializer
from vms.api.setup_serializers import SetupSerializer
from vms.api.telling_serializers import BootSerializer
from vms.models import Disk, Image, VirtualMachine
from vms.services.capacity import site_choose_host
from vms.services.creation import NicRequest, VmRequest
from vms.services.sealed import SealedSecrets, sealed_read


class DiskSerializer(serializers.ModelSerializer[Disk]):
    class Meta:
        model = Disk
        fields = ["id", "position", "size_gib", "observed_capacity", "observed_allocation"]
        read_only_fields = fields


class VmSerializer(serializers.ModelSerializer[VirtualMachine]):
    tenant = ReferenceSerializer(read_only=True)
    site = ReferenceSerializer(source="hypervisor.site", read_only=True)
    hypervisor = ReferenceSerializer(read_only=True)
    image = ReferenceSerializer(source="image_version.image", read_only=True)
    image_version = serializers.IntegerField(source="image_version.number", read_only=True)
    power = serializers.CharField(
        source="observed_power", read_only=True, help_text="What the host last saw."
    )
    ssh_keys = serializers.ListField(child=serializers.CharField(), read_only=True)
    user_data = serializers.CharField(
        read_only=True, help_text="What is not secret of it, with its variables as written."
    )
    tags = serializers.DictField(child=serializers.CharField(), read_only=True)
    boot = serializers.SerializerMethodField(help_text="Null: nothing was heard of it yet.")
    disks = DiskSerializer(many=True, read_only=True)
    nics = NicSerializer(many=True, read_only=True)

    class Meta:
        model = VirtualMachine
        fields = [
            "id",
            "tenant",
            "site",
            "hypervisor",
            "name",
            "hostname",
            "state",
            "power",
            "desired_power",
            "observed_at",
            "cloud_init",
            "cloud_init_at",
            "boot",
            "boot_at",
            "instance_id",
            "vcpus",
            "memory_mib",
            "firmware",
            "autostart",
            "image",
            "image_version",
            "username",
            "ssh_keys",
            "has_password",
            "has_user_data",
            "user_data",
            "tags",
            "disks",
            "nics",
            "created_at",
        ]
        read_only_fields = fields

    @extend_schema_field(BootSerializer(allow_null=True))
    def get_boot(self, vm: VirtualMachine) -> dict[str, Any] | None:
        return dict(BootSerializer(vm.boot).data) if vm.boot else None


class VmAndJobSerializer(serializers.Serializer[Any]):
    vm = VmSerializer()
    job = JobSerializer()


class DiskWishSerializer(InputSerializer):
    size_gib = serializers.IntegerField(min_value=1)


class VmCreateSerializer(InputSerializer):
    """Either `hypervisor` or `site`: at a site, the online host with the most free memory."""

    name = serializers.CharField(max_length=63, help_text="The guest's host name too.")
    hypervisor = InScope(
        lambda: Hypervisor.objects.select_related("tenant", "site"),
        thing="host",
        permission="vm.create",
        required=False,
    )
    site = InScope(Site.objects.all, thing="site", permission="vm.create", required=False)
    image = InScope(
        lambda: Image.objects.filter(retired_at=None), thing="image", permission="image.view"
    )
    vcpus = serializers.IntegerField(default=1)
    memory_mib = serializers.IntegerField(default=1024)
    disks = DiskWishSerializer(
        many=True, required=False, help_text="The first is the boot disk. Default: one of 10 GiB."
    )
    nics = NicWishSerializer(
        many=True, required=False, help_text="Default: one on the host's first network."
    )
    username = serializers.CharField(
        max_length=32, default="", allow_blank=True, help_text="Default: the image's."
    )
    password = serializers.CharField(
        required=False,
        allow_null=True,
        write_only=True,
        trim_whitespace=False,
        max_length=128,
        help_text="Sealed to the host at once; this or an SSH key is needed.",
    )
    ssh_keys = serializers.ListField(
        child=serializers.CharField(max_length=8192, allow_blank=True), default=list, max_length=64
    )
    user_data = serializers.CharField(
        required=False,
        allow_null=True,
        allow_blank=True,
        write_only=True,
        trim_whitespace=False,
        help_text="A script, cloud-config or what else cloud-init takes; at most 64 KiB.",
    )
    id = serializers.UUIDField(
        required=False, help_text="With `sealed_secrets`: the VM's id, a random UUID (version 4)."
    )
    sealed_secrets = serializers.CharField(
        required=False,
        write_only=True,
        max_length=360_000,
        help_text="In place of `password` and a secret `user_data`: what you sealed to the host's "
        "`seal_public` with the purpose `vm:<id>`, in base64. See the API's guide.",
    )
    sealed_holds = serializers.MultipleChoiceField(
        choices=["password", "user_data"], required=False, help_text="What is in it."
    )
    secret_user_data = serializers.BooleanField(
        default=True,
        help_text="Seal `user_data` to the host: nobody can read it again, and the guest only "
        "until its first boot is done.",
    )
    setup = SetupSerializer(required=False)
    tags = serializers.DictField(
        child=serializers.CharField(max_length=256, allow_blank=True),
        default=dict,
        help_text="The guest is told them as metadata.",
    )
    firmware = serializers.ChoiceField(choices=["bios", "uefi"], default="bios")
    autostart = serializers.BooleanField(
        default=True, help_text="Start again after the host lost power."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("hypervisor" in attrs) == ("site" in attrs):
            raise serializers.ValidationError(
                {"hypervisor": ["Give either the host or the site that the VM is to run at."]}
            )
        disks_gib = [disk["size_gib"] for disk in attrs.pop("disks", [{"size_gib": 10}])]
        nics = attrs.pop("nics", None)
        attrs |= attrs.pop("setup", {})
        attrs["sealed"] = _sealed(attrs)
        hypervisor = attrs.pop("hypervisor", None)
        site = attrs.pop("site", None)
        if hypervisor is None:
            hypervisor = site_choose_host(
                site=site,
                memory_mib=attrs["memory_mib"],
                disks_gib=disks_gib,
                networks=self._networks_by_id(nics or []),
            )
        host_must_be_online(hypervisor)
        request = VmRequest(disks_gib=disks_gib, nics=self._nics(nics, hypervisor), **attrs)
        return {"hypervisor": hypervisor, "request": request}

    def _networks_by_id(self, nics: list[dict[str, Any]]) -> list[Network]:
        visible = self._visible_networks()
        ids = [
            serializers.UUIDField().run_validation(nic["network"]) for nic in nics if _is_id(nic)
        ]
        return list(visible.filter(pk__in=ids))

    def _nics(
        self, nics: list[dict[str, Any]] | None, hypervisor: Hypervisor
    ) -> list[NicRequest] | None:
        if nics is None:
            return None
        wishes = []
        for index, nic in enumerate(nics):
            visible = self._visible_networks()
            if not _is_id(nic):
                visible = visible.filter(hypervisor=hypervisor)
            found = rows_named(visible, nic["network"])
            if len(found) != 1 or not isinstance(found[0], Network):
                raise serializers.ValidationError({f"nics.{index}.network": [NO_SUCH_NETWORK]})
            wishes.append(
                NicRequest(
                    network=found[0], address=nic.get("address"), address6=nic.get("address6")
                )
            )
        return wishes

    def _visible_networks(self) -> Any:
        return Network.objects.allowed(self.context["request"].user, "network.view")


def _sealed(attrs: dict[str, Any]) -> SealedSecrets | None:
    vm_id, box = attrs.pop("id", None), attrs.pop("sealed_secrets", None)
    holds = attrs.pop("sealed_holds", set())
    if box is None:
        if vm_id is not None or holds:
            raise serializers.ValidationError(
                {"sealed_secrets": ["“id” and “sealed_holds” are only for what you sealed."]}
            )
        return None
    if vm_id is None:
        raise serializers.ValidationError({"id": ["Give the id that you sealed the secrets with."]})
    return sealed_read(
        vm_id=vm_id,
        box=box,
        has_password="password" in holds,
        has_user_data="user_data" in holds,
    )


def _is_id(nic: dict[str, Any]) -> bool:
    try:
        serializers.UUIDField().run_validation(nic["network"])
    except serializers.ValidationError:
        return False
    return True


class VmRenameSerializer(InputSerializer):
    name = serializers.CharField(max_length=63)


class RebootSerializer(InputSerializer):
    force = serializers.BooleanField(default=False, help_text="Like the reset button.")


class DiskChangeSerializer(InputSerializer):
    id = serializers.UUIDField(
        required=False, allow_null=True, help_text="A disk to grow; without it, one to add."
    )
    size_gib = serializers.IntegerField(min_value=1)


class VmResizeSerializer(InputSerializer):
    """What is left out stays. All but `autostart` needs the VM to be off."""

    vcpus = serializers.IntegerField(required=False)
    memory_mib = serializers.IntegerField(required=False)
    disks = DiskChangeSerializer(many=True, required=False)
    autostart = serializers.BooleanField(required=False)

    def validate_disks(self, disks: list[dict[str, Any]]) -> list[tuple[Any, int]]:
        return [(disk.get("id"), disk["size_gib"]) for disk in disks]
