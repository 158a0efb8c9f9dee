"""Images over the API: fetch in scope, call one service, answer."""

from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.api.base import TenantViewSet
from vms.api.image_serializers import (
    ImageCreateSerializer,
    ImageIdentitySerializer,
    ImageSerializer,
    ImageUploadSerializer,
    ImageVersionAddSerializer,
)
from vms.models import Image
from vms.services.images import (
    image_create_from_upload,
    image_create_from_url,
    image_identify,
    image_retire,
    image_version_add,
)


class ImageFilter(filters.FilterSet):  # type: ignore[misc]
    name = filters.CharFilter(lookup_expr="iexact")
    tenant = filters.UUIDFilter(field_name="tenant_id")
    retired = filters.BooleanFilter(field_name="retired_at", lookup_expr="isnull", exclude=True)


class ImageViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[Image]):
    """What VMs' first disks start from. A version never changes once it is there."""

    queryset = Image.objects.select_related("tenant").prefetch_related("versions")
    serializer_class = ImageSerializer
    filterset_class = ImageFilter
    permissions_by_action = {
        "list": "image.view",
        "retrieve": "image.view",
        "create": "image.manage",
        "upload": "image.manage",
        "versions": "image.manage",
        "partial_update": "image.manage",
        "destroy": "image.manage",
    }

    @extend_schema(request=ImageCreateSerializer, responses={201: ImageSerializer})
    def create(self, request: Request) -> Response:
        """Add an image by its URL and SHA-256. Hosts fetch and verify it themselves."""
        image = image_create_from_url(actor=self.actor, **self.checked(ImageCreateSerializer))
        return Response(ImageSerializer(image).data, status=201)

    @extend_schema(
        request={"multipart/form-data": ImageUploadSerializer}, responses={201: ImageSerializer}
    )
    @action(detail=False, methods=["post"], parser_classes=[MultiPartParser])
    def upload(self, request: Request) -> Response:
        """Add an image by uploading its file."""
        image = image_create_from_upload(actor=self.actor, **self.checked(ImageUploadSerializer))
        return Response(ImageSerializer(image).data, status=201)

    @extend_schema(request=ImageVersionAddSerializer, responses={201: ImageSerializer})
    @action(detail=True, methods=["post"])
    def versions(self, request: Request, pk: str) -> Response:
        """Add a version, which new VMs are made from. VMs of earlier ones go on as they are."""
        image = self.get_object()
        image_version_add(actor=self.actor, image=image, **self.checked(ImageVersionAddSerializer))
        return Response(ImageSerializer(self.get_object()).data, status=201)

    @extend_schema(request=ImageIdentitySerializer, responses={200: ImageSerializer})
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change what VMs made from now on look for."""
        image = self.get_object()
        image_identify(actor=self.actor, image=image, **self.checked(ImageIdentitySerializer))
        return Response(ImageSerializer(self.get_object()).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Retire an image: no new VM is made from it, and those that were go on."""
        image_retire(actor=self.actor, image=self.get_object())
        return Response(status=204)
