"""Asking for a new VM."""

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect

from hypervisors.models import Job
from portal.views.base import PageView, tell_form
from portal.views.forms.vm_create import (
    Place,
    Places,
    VmCreateForm,
    defaults_for,
    values_of_job,
)
from tenants.errors import RuleError
from vms.models import VirtualMachine
from vms.services.creation import vm_create
from vms.services.preview import vm_preview

# What the services call a field, and what the form does.
_FIELDS = {
    "memory_mib": "memory_gib",
    "disks": "disk_gib",
    "nics": "network",
    "hypervisor": "place",
    "site": "place",
    "data_mounts": "disk_gib",
    "sealed_secrets": "sealed",
    "sealed_holds": "sealed",
    "id": "sealed",
}


class VmCreateView(PageView):
    """The form. `?host=`, `?site=` and `?from=<job>` fill it in beforehand."""

    permission = "vm.create"
    template_name = "pages/vm_new.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        asked = request.GET
        earlier = self._earlier(asked.get("from"))
        places = Places(self.user)
        place = places.first(
            asked.get("place"),
            f"host:{asked.get('host')}",
            f"site:{asked.get('site')}",
            *(host.value for host in self._hosts_of_site(places, asked.get("site"))),
            f"host:{earlier.hypervisor_id}" if earlier else None,
            self._last_place() if not asked.get("place") else None,
        )
        if place is None:
            return self.page({"places": places}, template="pages/vm_new_nowhere.html")
        values = defaults_for(self.user, place, asked.dict())
        if earlier is not None:
            values |= values_of_job(earlier, place)
        return self._form(VmCreateForm(initial=values, places=places, place=place), earlier)

    def post(self, request: HttpRequest) -> HttpResponse:
        places = Places(self.user)
        place = places.first(request.POST.get("place"))
        if place is None:
            return self.page({"places": places}, template="pages/vm_new_nowhere.html", status=409)
        form = VmCreateForm(request.POST, places=places, place=place)
        if not form.is_valid():
            return self._form(form, status=422)
        try:
            with transaction.atomic():
                host, wish = form.request()
                vm, _ = vm_create(actor=self.actor, hypervisor=host, request=wish)
        except RuleError as refusal:
            tell_form(form, refusal, **_FIELDS)
            return self._form(form, status=422)
        return redirect("vm", customer=vm.tenant.slug, name=vm.name)

    def _form(
        self, form: VmCreateForm, earlier: Job | None = None, status: int = 200
    ) -> HttpResponse:
        return self.page({"form": form, "place": form.chosen, "earlier": earlier}, status=status)

    def _hosts_of_site(self, places: Places, site_id: str | None) -> list[Place]:
        hosts = [host for host in places.hosts if str(host.site_id) == site_id]
        found = [
            places.get(f"host:{host.id}") for host in sorted(hosts, key=lambda h: not h.online)
        ]
        return [place for place in found if place is not None]

    def _earlier(self, job_id: str | None) -> Job | None:
        if not job_id or len(job_id) != 36:
            return None
        jobs = Job.objects.allowed(self.user, "job.view").filter(kind="vm.create")
        return next((job for job in jobs.filter(id__in=_uuids(job_id))), None)

    def _last_place(self) -> str | None:
        last = (
            VirtualMachine.objects.filter(created_by=self.user, hypervisor__online=True)
            .order_by("-created_at")
            .values_list("hypervisor_id", flat=True)
            .first()
        )
        return f"host:{last}" if last else None


class VmPreviewView(PageView):
    """What the guest would be told. Asked by the form of VmCreateView, with its fields but for
    the secrets; changes nothing."""

    permission = "vm.create"
    template_name = "components/vm_preview.html"

    def post(self, request: HttpRequest) -> HttpResponse:
        places = Places(self.user)
        place = places.get(request.POST.get("place"))
        if place is None:
            raise Http404
        form = VmCreateForm(request.POST, places=places, place=place)
        if not form.is_valid():
            return self._told(form, "Some fields above need another look first.")
        try:
            with transaction.atomic():
                host, wish = form.request()
            preview = vm_preview(actor=self.actor, hypervisor=host, request=wish)
        except RuleError as refusal:
            return self._told(form, refusal.message)
        return self.page({"preview": preview})

    def _told(self, form: VmCreateForm, message: str) -> HttpResponse:
        errors = [
            (form.fields[name].label, " ".join(map(str, messages)))
            for name, messages in form.errors.items()
            if name in form.fields
        ]
        return self.page({"message": message, "errors": errors})


def _uuids(text: str) -> list[str]:
    """The text as a list of one id, or of none where it is no UUID."""
    from uuid import UUID

    try:
        return [str(UUID(text))]
    except ValueError:
        return []
