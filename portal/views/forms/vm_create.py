"""The form that asks for a new VM. Sensible defaults for all but the credentials."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from django import forms

from hypervisors.models import Hypervisor, Job, Network
from portal.views.forms.vm_secrets import SealedFields, seal_keys
from portal.views.forms.vm_setup import SetupFields
from portal.views.names import vm_name_suggest
from tenants.models import Site, Tenant, User
from vms.models import Image, ImageVersion, VirtualMachine
from vms.services.capacity import GIB, HostCapacity, host_capacity, site_choose_host
from vms.services.creation import MAX_DISKS, NicRequest, VmRequest
from vms.services.variables import GUEST_WORDS, place_variables

CUSTOM = "custom"


@dataclass(frozen=True)
class Size:
    """A usual size: the card that most people press. Memory and disk in GiB."""

    key: str
    label: str
    vcpus: int
    memory_gib: int
    disk_gib: int
    fits: bool = True
    why_not: str = ""


SIZES = (
    Size("small", "Small", 1, 1, 10),
    Size("medium", "Medium", 2, 4, 40),
    Size("large", "Large", 4, 8, 80),
    Size("xlarge", "Extra large", 8, 16, 160),
)


class Place:
    """Where a VM shall run: one host, or the host of a site with the most memory free."""

    def __init__(self, site: Site, host: Hypervisor | None, hosts: list[Hypervisor]) -> None:
        """`hosts`: those that the VM may come to be on."""
        self.site, self.host, self.hosts = site, host, hosts

    @property
    def value(self) -> str:
        return f"host:{self.host.id}" if self.host else f"site:{self.site.id}"

    @property
    def tenant(self) -> Tenant:
        return self.site.tenant

    @cached_property
    def networks(self) -> list[Network]:
        """First the one that is taken when nothing is chosen."""
        return list(self.host.networks.order_by("created_at", "name")) if self.host else []

    @cached_property
    def images(self) -> list[Image]:
        """Images with a version that can be used; `smallest_disk_gib` is set on each."""
        images = {
            image.id: image
            for image in Image.objects.usable_by(self.tenant).order_by("name", "created_at")
        }
        versions = ImageVersion.objects.filter(
            image__in=images, state=ImageVersion.State.READY
        ).order_by("number")
        newest = {version.image_id: version for version in versions}
        for image_id, version in newest.items():
            image = images[image_id]
            image.smallest_disk_gib = max(  # type: ignore[attr-defined]
                image.min_disk_gib, -(-(version.virtual_size or 0) // GIB)
            )
        return [image for image_id, image in images.items() if image_id in newest]

    @property
    def seal_keys(self) -> str:
        """What the browser seals to: the keys of all hosts that the VM may come to be on."""
        return seal_keys(self.hosts)

    @property
    def variables(self) -> str:
        """Names that scripts may use, for the browser to check."""
        return " ".join([*place_variables(self.hosts[0]), *GUEST_WORDS])

    @cached_property
    def capacity(self) -> HostCapacity | None:
        return host_capacity(self.host) if self.host else None

    def sizes(self, image: Image | None) -> list[Size]:
        """The usual sizes, each with whether it fits this host."""
        return [self._fitted(size, image) for size in SIZES]

    def _fitted(self, size: Size, image: Image | None) -> Size:
        disk = max(size.disk_gib, getattr(image, "smallest_disk_gib", 1))
        why = ""
        if self.host is not None and self.capacity is not None:
            cpus = self.host.facts.get("cpus")
            memory, room = self.capacity.memory_free_mib, self.capacity.disk_free
            if cpus and size.vcpus > cpus:
                why = f"the host has {cpus} processor{'s' if cpus > 1 else ''}"
            elif memory is not None and size.memory_gib * 1024 > memory:
                why = f"{max(memory, 0) / 1024:.1f} GiB of memory left"
            elif room is not None and disk * GIB > room:
                why = f"{max(room, 0) // GIB} GiB of disk left"
        return Size(size.key, size.label, size.vcpus, size.memory_gib, disk, not why, why)


class Places:
    """All places where a person may create VMs."""

    def __init__(self, user: User) -> None:
        self.hosts = list(
            Hypervisor.objects.allowed(user, "vm.create")
            .select_related("site", "tenant", "site__tenant")
            .order_by("tenant__name", "site__name", "name")
        )
        self._by_value: dict[str, Place] = {}
        self.choices: list[tuple[str, list[tuple[str, str]]]] = []
        sites: dict[uuid.UUID, list[Hypervisor]] = {}
        for host in self.hosts:
            sites.setdefault(host.site_id, []).append(host)
        for hosts in sites.values():
            site = hosts[0].site
            group = []
            for host in hosts:
                place = Place(site, host, [host])
                self._by_value[place.value] = place
                group.append((place.value, host.name + ("" if host.online else " (offline)")))
            if len(hosts) > 1:
                place = Place(site, None, hosts)
                self._by_value[place.value] = place
                group.append((place.value, "The host with the most memory free"))
            self.choices.append((f"{site.tenant.name} · {site.name}", group))

    def get(self, value: str | None) -> Place | None:
        return self._by_value.get(value or "")

    def first(self, *wanted: str | None) -> Place | None:
        """The first of the wanted ones that there is, else an online host, else any."""
        for value in wanted:
            place = self.get(value)
            if place is not None:
                return place
        online = next((host for host in self.hosts if host.online), None)
        host = online or next(iter(self.hosts), None)
        return self.get(f"host:{host.id}") if host else None


class VmCreateForm(SetupFields, SealedFields):
    """`place` decides which images and networks there are to choose from."""

    use_required_attribute = False

    place = forms.ChoiceField(label="Host")
    name = forms.CharField(
        label="Name", max_length=63, help_text="Letters, digits and hyphens. The guest's host name."
    )
    image = forms.ChoiceField(label="Image", error_messages={"required": "Choose an image."})
    size = forms.ChoiceField(
        label="Size", choices=[(size.key, size.label) for size in SIZES] + [(CUSTOM, "Custom")]
    )
    vcpus = forms.IntegerField(label="Processors", required=False, min_value=1, max_value=512)
    memory_gib = forms.DecimalField(
        label="Memory (GiB)",
        required=False,
        min_value=Decimal("0.0625"),
        max_value=16_384,
        decimal_places=4,
    )
    disk_gib = forms.IntegerField(
        label="Boot disk (GiB)", required=False, min_value=1, max_value=65_536
    )
    network = forms.ChoiceField(label="Network", required=False)
    address = forms.GenericIPAddressField(
        label="IP address", required=False, help_text="Leave empty for the next free one."
    )
    username = forms.CharField(label="User name", max_length=32)
    ssh_keys = forms.CharField(
        label="SSH keys",
        required=False,
        max_length=100_000,
        help_text="Public keys, one a line: those of your account, or of your last VM.",
        widget=forms.Textarea(
            attrs={"rows": 3, "class": "mono", "spellcheck": "false", "autocomplete": "off"}
        ),
    )
    password = forms.CharField(
        label="Password",
        required=False,
        max_length=1000,
        strip=False,
        help_text="For the console and sudo. It is sealed for the host, and never shown again.",
        widget=forms.PasswordInput(render_value=True, attrs={"autocomplete": "new-password"}),
    )
    firmware = forms.ChoiceField(
        label="Firmware",
        choices=[("bios", "BIOS"), ("uefi", "UEFI")],
        help_text="UEFI for guests that ask for it.",
    )
    autostart = forms.BooleanField(
        label="Start again after the host had a power cut", required=False
    )

    def __init__(self, *args: Any, places: Places, place: Place, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.places, self.chosen = places, place
        self._choices("place").choices = places.choices
        self._choices("image").choices = [(str(each.id), each.name) for each in place.images]
        self._choices("network").choices = [
            ("", "Automatic"),
            *((str(each.id), each.name) for each in place.networks),
        ]

    def _choices(self, name: str) -> forms.ChoiceField:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - declared above
        return field

    @property
    def chosen_image(self) -> Image | None:
        wanted = str(self["image"].value() or "")
        return next((image for image in self.chosen.images if str(image.id) == wanted), None)

    @property
    def sizes(self) -> list[Size]:
        return self.chosen.sizes(self.chosen_image)

    @property
    def advanced_open(self) -> bool:
        """Whether the folded part has something in it that should be seen."""
        names = ("firmware", "autostart")
        filled = self["firmware"].value() == "uefi"
        return filled or bool(self.data_rows) or any(self.errors.get(name) for name in names)

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        size = next((each for each in self.sizes if each.key == values.get("size")), None)
        if size is not None:
            values |= {
                "vcpus": size.vcpus,
                "memory_gib": Decimal(size.memory_gib),
                "disk_gib": size.disk_gib,
            }
        else:
            for name in ("vcpus", "memory_gib", "disk_gib"):
                if values.get(name) is None and name not in self.errors:
                    self.add_error(name, f"{self.fields[name].label}: give a number.")
        values["data_disks"] = self._clean_data_disks()
        return values

    def _clean_data_disks(self) -> list[int]:
        sizes = [size.strip() for size, _ in self.data_rows if size.strip()]
        if len(sizes) >= MAX_DISKS:
            self.add_error("disk_gib", f"A VM has at most {MAX_DISKS} disks.")
            return []
        if not all(text.isascii() and text.isdigit() and len(text) < 7 for text in sizes):
            self.add_error("disk_gib", "A data disk's size is a whole number of GiB.")
            return []
        return [int(text) for text in sizes]

    def request(self) -> tuple[Hypervisor, VmRequest]:
        """The host, and what is asked of it. Raises NoHostFitsError."""
        values = self.cleaned_data
        image = next(each for each in self.chosen.images if str(each.id) == values["image"])
        memory_mib = int(values["memory_gib"] * 1024)
        disks = [values["disk_gib"], *values["data_disks"]]
        host = self.chosen.host or site_choose_host(
            site=self.chosen.site, memory_mib=memory_mib, disks_gib=disks
        )
        networks = self.chosen.networks or list(host.networks.order_by("created_at", "name"))
        network = next(
            (each for each in networks if str(each.id) == values["network"]),
            networks[0] if networks else None,
        )
        nics = [NicRequest(network=network, address=values["address"] or None)] if network else []
        return host, VmRequest(
            name=values["name"],
            image=image,
            vcpus=values["vcpus"],
            memory_mib=memory_mib,
            disks_gib=disks,
            nics=nics,
            username=values["username"],
            password=values["password"] or None,
            ssh_keys=[key.strip() for key in values["ssh_keys"].splitlines() if key.strip()],
            user_data=values["user_data"] or None,
            secret_user_data=not values["readable"],
            sealed=self.sealed_for(host),
            setup=self.setup(),
            tags=values["tags"],
            firmware=values["firmware"],
            autostart=values["autostart"],
        )


def defaults_for(user: User, place: Place, asked: Mapping[str, str]) -> dict[str, Any]:
    """What the form starts with: the person's last VM, else what suits most. `asked` are
    values of the address, which win."""
    last = (
        VirtualMachine.objects.filter(created_by=user)
        .select_related("image_version")
        .order_by("-created_at")
        .first()
    )
    images = {str(image.id): image for image in place.images}
    image_id = asked.get("image") or (str(last.image_version.image_id) if last else "")
    image = images.get(image_id) or next(iter(images.values()), None)
    sizes = place.sizes(image)
    size = next((each for each in sizes if each.fits), None)
    values: dict[str, Any] = {
        "place": place.value,
        "name": vm_name_suggest(place.tenant),
        "image": str(image.id) if image else "",
        "size": size.key if size else CUSTOM,
        "vcpus": size.vcpus if size else 1,
        "memory_gib": size.memory_gib if size else "0.5",
        "disk_gib": size.disk_gib if size else getattr(image, "smallest_disk_gib", 5),
        "network": str(place.networks[0].id) if place.networks else "",
        "username": (last.username if last else "") or (image.default_username if image else ""),
        "ssh_keys": "\n".join(user.ssh_keys or (last.ssh_keys if last else [])),
        "firmware": "bios",
        "autostart": True,
        "time_zone": place.site.time_zone if place.site.time_zone != "UTC" else "",
    }
    known = {"name", "size", "vcpus", "memory_gib", "disk_gib", "network", "address"}
    values |= {name: asked[name] for name in known if asked.get(name)}
    if values["network"] not in {str(network.id) for network in place.networks}:
        values["network"] = str(place.networks[0].id) if place.networks else ""
    if any(each.key == values["size"] and not each.fits for each in sizes):
        values["size"] = size.key if size else CUSTOM
    return values


def values_of_job(job: Job, place: Place) -> dict[str, Any]:
    """What an earlier creation asked for, but for its secrets."""
    asked = job.arguments
    nic: dict[str, Any] = next(iter(asked.get("nics", [])), {})
    disks = asked.get("disks_gib") or [10]
    image = next(
        (each for each in place.images if str(asked.get("image", "")).startswith(each.name)), None
    )
    network = next((each for each in place.networks if each.name == nic.get("network")), None)
    values = {
        "name": asked.get("name", job.subject_name),
        "size": CUSTOM,
        "vcpus": asked.get("vcpus", 1),
        "memory_gib": f"{asked.get('memory_mib', 1024) / 1024:g}",
        "disk_gib": disks[0],
        "data_disks": [str(size) for size in disks[1:]],
        "username": asked.get("username", ""),
        "firmware": asked.get("firmware", "bios"),
        "autostart": asked.get("autostart", True),
    }
    if image is not None:
        values["image"] = str(image.id)
    if network is not None:
        values["network"] = str(network.id)
    return values
