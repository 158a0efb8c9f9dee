"""Retiring many images at once: last year's, when this year's are there."""

from urllib.parse import urlencode

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.templatetags.basalt import icon
from portal.views.bulk import Action, BulkPage, Fate
from vms.models import Image
from vms.services.images import image_retire


def _fate(image: Image) -> Fate:
    why_not = "it is retired already" if image.retired_at else ""
    return Fate("is retired: no new VM is made from it. VMs that were, go on", why_not)


_ACTIONS = {
    "retire": Action(
        verb="Retire",
        done="retired",
        icon="history",
        fate=_fate,
        carry_out=lambda actor, image: image_retire(actor=actor, image=image),
        kind="image.retire",
    )
}


class ImageBulkView(BulkPage):
    permission = "image.manage"
    list_name = "images"
    nouns = ("image", "images")
    followed_at = "images"
    follow = "VMs that were made from what is retired go on as they are."

    def actions(self) -> dict[str, Action]:
        return _ACTIONS

    def rows(self) -> "QuerySet[Image]":
        return (
            Image.objects.allowed(self.user, self.permission)
            .select_related("tenant")
            .order_by("name", "id")
        )

    def describe(self, row: Image) -> tuple[str, str, str, SafeString]:
        word, shape = ("Retired", "history") if row.retired_at else ("In use", "package")
        state = format_html('<span class="state state-idle">{}{}</span>', icon(shape), word)
        return (
            row.name,
            f"{reverse('images')}?{urlencode({'q': row.name, 'retired': 'yes'})}",
            row.tenant.name if row.tenant else "Everybody",
            state,
        )
