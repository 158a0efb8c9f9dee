"""Images: the list, bringing one in by URL or upload, and retiring one."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from portal.views.base import PageView, tell_form
from portal.views.bulk import Button
from portal.views.filters import ImageFilters
from portal.views.forms.images import (
    DownloadForm,
    IdentityForm,
    ImageForm,
    ImageUploadForm,
    ImageUrlForm,
)
from portal.views.image_table import ImageTable
from portal.views.lists import ListPage
from tenants.errors import RuleError
from tenants.models import Membership, Tenant
from vms.models import Image, ImageVersion
from vms.services.images import (
    image_create_from_upload,
    image_create_from_url,
    image_identify,
    image_retire,
    image_version_add,
)


class ImagesView(ListPage):
    permission = "image.view"
    table_class = ImageTable
    filters_class = ImageFilters
    name = "images"
    buttons = (Button("image-bulk", "retire", "image.manage", "history", "Retire…"),)
    columns = (
        ("name", lambda row: row.name),
        ("os", lambda row: row.os),
        ("for", lambda row: row.tenant.name if row.tenant else "Everybody"),
        ("user", lambda row: row.default_username),
        ("metadata", lambda row: row.identity),
        ("version", lambda row: max((v.number for v in row.versions.all()), default="")),
        ("sha256", lambda row: next((v.sha256 for v in row.versions.all()), "")),
        ("added", lambda row: row.created_at.isoformat()),
        ("retired", lambda row: row.retired_at and row.retired_at.isoformat()),
    )

    def rows(self) -> "QuerySet[Image]":
        newest_first = ImageVersion.objects.order_by("-number")
        return (
            Image.objects.allowed(self.user, self.permission)
            .select_related("tenant")
            .prefetch_related(Prefetch("versions", queryset=newest_first))
        )

    def for_table(self) -> dict[str, Any]:
        manageable = Tenant.objects.allowed(self.user, "image.manage").values_list("id", flat=True)
        return {"manageable": set(manageable)}

    def about(self) -> dict[str, Any]:
        return {
            "title": "Images",
            "lead": "What VMs are made from. A version never changes once it is here.",
            "events": ["image"],
            "action": ("image-new", "Add image", "image.manage"),
            "empty": (
                "package",
                "No image yet",
                (
                    "An image is a disk with an operating system that configures itself: a "
                    "cloud image. Give the URL and SHA-256 of Debian's, Ubuntu's or your own, or "
                    "upload one."
                ),
            ),
        }


class _ImageCreate(PageView):
    permission = "image.manage"
    form_class: type[ImageForm]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated and (
            self.permission not in Membership.objects.permissions_of(request.user)
        ):
            raise PermissionDenied
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.page({"form": self.form_class(user=self.user)})

    def post(self, request: HttpRequest) -> HttpResponse:
        form = self.form_class(request.POST, request.FILES, user=self.user)
        if form.is_valid():
            try:
                self.create(form.cleaned_data)
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("images")
        return self.page({"form": form}, status=422)

    def create(self, values: dict[str, Any]) -> Image:
        raise NotImplementedError


class ImageUrlView(_ImageCreate):
    template_name = "pages/image_new.html"
    form_class = ImageUrlForm

    def create(self, values: dict[str, Any]) -> Image:
        return image_create_from_url(actor=self.actor, **values)


# Files of gigabytes go straight to disk. The handlers must be set before the body is read,
# and the check of the CSRF token reads it: so it is done afterwards.
@method_decorator(csrf_exempt, name="dispatch")
class ImageUploadView(_ImageCreate):
    template_name = "pages/image_upload.html"
    form_class = ImageUploadForm

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        request.upload_handlers = [TemporaryFileUploadHandler(request)]
        checked: HttpResponseBase = csrf_protect(super().dispatch)(request, *args, **kwargs)
        return checked

    def create(self, values: dict[str, Any]) -> Image:
        values["sha256"] = values["sha256"] or None
        return image_create_from_upload(actor=self.actor, **values)


class ImageVersionView(PageView):
    """Adds the next version of an image."""

    permission = "image.manage"
    template_name = "pages/image_version.html"

    def get(self, request: HttpRequest, image_id: str) -> HttpResponse:
        return self._page(self.one(Image.objects.all(), id=image_id), DownloadForm())

    def post(self, request: HttpRequest, image_id: str) -> HttpResponse:
        image = self.one(Image.objects.all(), id=image_id)
        form = DownloadForm(request.POST)
        if form.is_valid():
            try:
                version = image_version_add(actor=self.actor, image=image, **form.cleaned_data)
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                messages.success(
                    request, f"New VMs are made from version {version.number} of {image.name}."
                )
                return redirect("images")
        return self._page(image, form, status=422)

    def _page(self, image: Image, form: DownloadForm, *, status: int = 200) -> HttpResponse:
        versions = image.versions.order_by("-number")
        return self.page({"image": image, "form": form, "versions": versions}, status=status)


class ImageIdentityView(PageView):
    """Says which metadata VMs of an image look for."""

    permission = "image.manage"
    template_name = "pages/image_identity.html"

    def get(self, request: HttpRequest, image_id: str) -> HttpResponse:
        image = self.one(Image.objects.all(), id=image_id)
        form = IdentityForm(initial={"identity": image.identity})
        return self.page({"image": image, "form": form})

    def post(self, request: HttpRequest, image_id: str) -> HttpResponse:
        image = self.one(Image.objects.all(), id=image_id)
        form = IdentityForm(request.POST)
        if not form.is_valid():
            return self.page({"image": image, "form": form}, status=422)
        image = image_identify(
            actor=self.actor, image=image, identity=form.cleaned_data["identity"]
        )
        messages.success(
            request, f"New VMs of {image.name} look for {image.get_identity_display()} metadata."
        )
        return redirect("images")


class ImageRetireView(PageView):
    permission = "image.manage"
    template_name = "pages/image_retire.html"

    def get(self, request: HttpRequest, image_id: str) -> HttpResponse:
        return self.page({"image": self.one(Image.objects.all(), id=image_id)})

    def post(self, request: HttpRequest, image_id: str) -> HttpResponse:
        image = self.one(Image.objects.all(), id=image_id)

        def retire() -> str:
            image_retire(actor=self.actor, image=image)
            return f"{image.name} is retired: no new VM is made from it. VMs that were, go on."

        self.attempt(retire)
        return redirect("images")
