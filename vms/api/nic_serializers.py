"""NICs in the API."""

from typing import Any

from rest_framework import serializers

from hypervisors.models import Hypervisor, Network
from tenants.api.fields import InputSerializer, ReferenceSerializer, rows_named
from vms.models import Nic

NO_SUCH_NETWORK = "There is no such network, or you may not see it."


class NicSerializer(serializers.ModelSerializer[Nic]):
    network = ReferenceSerializer(read_only=True)
    address = serializers.IPAddressField(
        read_only=True, allow_null=True, help_text="Given by the portal; null: the site's DHCP."
    )
    address6 = serializers.IPAddressField(
        read_only=True, allow_null=True, help_text="Given by the portal; null: none is."
    )
    observed_addresses = serializers.ListField(
        child=serializers.CharField(),
        read_only=True,
        help_text="What the guest was seen to use, in CIDR form.",
    )
    dropped = serializers.DictField(
        child=serializers.IntegerField(),
        read_only=True,
        help_text="Frames that the NIC's guard has dropped, by what was wrong with them. Empty: "
        "the guard is off, or the host has not told.",
    )

    class Meta:
        model = Nic
        fields = [
            "id",
            "position",
            "network",
            "mac",
            "address",
            "address6",
            "guard",
            "observed_addresses",
            "metadata_state",
            "asked_at",
            "served_at",
            "sealed_at",
            "lan_dhcp",
            "dropped",
        ]
        read_only_fields = fields
        extra_kwargs = {
            "guard": {"help_text": "Whether what it may not say on its network is dropped."},
            "lan_dhcp": {
                "help_text": "Who gives it its lease. silent: nobody on its LAN does, so it has "
                "one that reaches its metadata and nothing else."
            },
        }


class NicAddressesSerializer(InputSerializer):
    address = serializers.IPAddressField(
        protocol="ipv4",
        required=False,
        allow_null=True,
        help_text="Without it, the next free one, or the site's DHCP.",
    )
    address6 = serializers.IPAddressField(
        protocol="ipv6",
        required=False,
        allow_null=True,
        help_text="The same of IPv6, where the network has it.",
    )


class NicWishSerializer(NicAddressesSerializer):
    network = serializers.CharField(
        max_length=100, help_text="Id of a network, or its name on the VM's host."
    )


class NicAddSerializer(NicWishSerializer):
    guard = serializers.BooleanField(
        default=True, help_text="Drop what the guest may not say on its network."
    )


class NicChangeSerializer(InputSerializer):
    """What is left out stays."""

    address = serializers.IPAddressField(protocol="ipv4", required=False)
    address6 = serializers.IPAddressField(protocol="ipv6", required=False)
    guard = serializers.BooleanField(required=False)


def network_named(user: Any, hypervisor: Hypervisor, named: str) -> Network:
    """The network of this id, or of this name on the host. Raises ValidationError."""
    visible = Network.objects.allowed(user, "network.view")
    try:
        serializers.UUIDField().run_validation(named)
    except serializers.ValidationError:
        visible = visible.filter(hypervisor=hypervisor)
    found = rows_named(visible, named)
    if len(found) != 1 or not isinstance(found[0], Network):
        raise serializers.ValidationError({"network": [NO_SUCH_NETWORK]})
    return found[0]
