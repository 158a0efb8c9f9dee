"""Forms that bring images in."""

from typing import Any, ClassVar

from django import forms

from tenants.models import Tenant, User
from vms.models import Identity

IDENTITY_HELP = (
    "What tells the guest where its settings are. OpenStack is right for most cloud images, and "
    "for Windows with cloudbase-init. Choose EC2 for images made for AWS, NoCloud for those that "
    "know nothing else."
)


class IdentityForm(forms.Form):
    """Which metadata guests of an image look for."""

    use_required_attribute = False

    identity = forms.ChoiceField(
        label="Looks for metadata of", choices=Identity.choices, help_text=IDENTITY_HELP
    )


class ImageForm(forms.Form):
    """What every image has, wherever it comes from."""

    use_required_attribute = False

    tenant = forms.ModelChoiceField(
        label="For",
        queryset=Tenant.objects.none(),
        to_field_name="slug",
        empty_label=None,
        help_text="A customer's own, or the MSP's: then all its customers can use it.",
    )
    name = forms.CharField(label="Name", max_length=100, help_text="For example debian-12.")
    os = forms.CharField(
        label="Operating system", max_length=100, required=False, help_text="For people: Debian 12."
    )
    default_username = forms.CharField(label="Usual user name", max_length=32, initial="admin")
    identity = forms.ChoiceField(
        label="Looks for metadata of",
        choices=Identity.choices,
        required=False,
        help_text=IDENTITY_HELP,
    )
    min_disk_gib = forms.IntegerField(
        label="Smallest disk (GiB)", min_value=1, max_value=65_536, initial=3
    )
    min_memory_mib = forms.IntegerField(
        label="Least memory (MiB)", min_value=64, max_value=16_777_216, initial=512
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["tenant"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101 - declared above
        field.queryset = Tenant.objects.allowed(user, "image.manage").order_by("-kind", "name")

    def clean_identity(self) -> str:
        return self.cleaned_data["identity"] or Identity.OPENSTACK

    first_fields: ClassVar[tuple[str, ...]] = ()
    """Shown in full width, before the others."""

    @property
    def first(self) -> list[forms.BoundField]:
        return [self[name] for name in self.first_fields]

    @property
    def others(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name not in self.first_fields]


class DownloadForm(forms.Form):
    """Where hosts fetch an image from."""

    use_required_attribute = False

    url = forms.CharField(
        label="URL",
        max_length=2000,
        help_text="https:// address of a qcow2 or raw cloud image. Hosts fetch it themselves.",
    )
    sha256 = forms.CharField(
        label="SHA-256",
        max_length=64,
        help_text="64 hexadecimal digits. The image's maker publishes it beside the file.",
        widget=forms.TextInput(attrs={"class": "mono", "spellcheck": "false"}),
    )
    format = forms.ChoiceField(label="Format", choices=[("qcow2", "qcow2"), ("raw", "raw")])


class ImageUrlForm(DownloadForm, ImageForm):
    first_fields = ("url", "sha256")
    field_order = ("url", "sha256", "name", "os", "tenant", "format")


class ImageUploadForm(ImageForm):
    file = forms.FileField(label="Disk image", help_text="qcow2 or raw; its form is recognised.")
    sha256 = forms.CharField(
        label="SHA-256",
        max_length=64,
        required=False,
        help_text="Optional: then the upload is checked against it.",
        widget=forms.TextInput(attrs={"class": "mono", "spellcheck": "false"}),
    )

    first_fields = ("file", "sha256")
    field_order = ("file", "sha256", "name", "os", "tenant")
