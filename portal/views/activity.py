"""Activity: what was asked of hosts, how far it is, and what became of it."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.safestring import SafeString

from hypervisors.models import Job, Status
from hypervisors.services.jobs import job_cancel
from portal.templatetags.basalt import job_label, job_state
from portal.views.advice import advice_for
from portal.views.base import PageView
from portal.views.bulk import Action, BulkPage, Button, Fate
from portal.views.filters import JobFilters
from portal.views.lists import ListPage
from portal.views.queries import jobs_for_list
from portal.views.states import job_look
from portal.views.tables import JobTable
from vms.models import VirtualMachine


class ActivityView(ListPage):
    permission = "job.view"
    table_class = JobTable
    filters_class = JobFilters
    name = "activity"
    buttons = (Button("job-bulk", "cancel", "job.view", "rotate", "Take back…"),)
    columns = (
        ("when", lambda row: row.created_at.isoformat()),
        ("what", lambda row: row.kind),
        ("subject", lambda row: row.subject_name),
        ("customer", lambda row: row.tenant.name),
        ("host", lambda row: row.hypervisor.name),
        ("by", lambda row: row.requested_by_name or "Basalt"),
        ("outcome", lambda row: job_look(row).word),
        ("error", lambda row: row.error_message),
        ("finished", lambda row: row.finished_at and row.finished_at.isoformat()),
        ("id", lambda row: row.id),
    )

    def rows(self) -> "QuerySet[Job]":
        return jobs_for_list(self.user)

    def about(self) -> dict[str, Any]:
        return {
            "title": "Activity",
            "lead": "All that was asked of hosts, how far it is, and what became of it.",
            "events": ["job"],
            "action": None,
            "empty": (
                "activity",
                "Nothing has been done yet",
                (
                    "Whatever you ask of a host is listed here, with its steps and its outcome: "
                    "creating a VM, starting it, deleting it."
                ),
            ),
        }


class JobView(PageView):
    permission = "job.view"
    template_name = "pages/job.html"

    def get(self, request: HttpRequest, job_id: str) -> HttpResponse:
        job = self.one(jobs_for_list_unscoped(), id=job_id)
        vm = None
        if job.subject_id is not None:
            vms = VirtualMachine.objects.allowed(self.user, "vm.view").select_related("tenant")
            vm = vms.filter(id=job.subject_id).first()
        may = self.may(job)
        failed = job.status in (Status.FAILED, Status.EXPIRED, Status.LOST, Status.CANCELLED)
        again = ""
        if failed and job.kind == "vm.create" and "vm.create" in may and vm is None:
            again = f"{reverse('vm-new')}?from={job.id}"
        elif failed and vm is not None:
            again = reverse("vm", args=(vm.tenant.slug, vm.name))
        return self.page(
            {
                "job": job,
                "vm": vm,
                "events": job.events.all()[:500],
                "failed": failed,
                "advice": advice_for(job) if failed else "",
                "again": again,
                "may_cancel": job.status == Status.QUEUED and _permission(job) in may,
                "asked": _asked(job),
            }
        )


class JobCancelView(PageView):
    """Takes back what was not sent yet. Whoever may ask for it, may take it back."""

    permission = "job.view"

    def post(self, request: HttpRequest, job_id: str) -> HttpResponse:
        job = self.one(jobs_for_list_unscoped(), id=job_id)
        job = self.one(jobs_for_list_unscoped(), permission=_permission(job), id=job_id)

        def cancel() -> str:
            job_cancel(actor=self.actor, job=job)
            return "It is taken back: the host will not hear of it."

        self.attempt(cancel)
        return redirect("job", job_id=job.id)


class JobBulkView(BulkPage):
    """Takes back many that were not sent yet."""

    permission = "job.view"
    list_name = "activity"
    nouns = ("job", "jobs")
    followed_at = "activity"

    def actions(self) -> dict[str, Action]:
        mine: dict[str, set[Any]] = {}

        def fate(job: Job) -> Fate:
            needed = _permission(job)
            if needed not in mine:
                waiting = Job.objects.allowed(self.user, needed).filter(status=Status.QUEUED)
                mine[needed] = set(waiting.values_list("id", flat=True))
            if job.status == Status.QUEUED and job.id not in mine[needed]:
                return Fate("", "your role may not ask for this, so it may not take it back")
            if job.status != Status.QUEUED:
                return Fate("", "the host has begun" if job.active else "it has ended already")
            return Fate("is taken back: the host will not hear of it")

        cancel = Action(
            verb="Take back",
            done="taken back",
            icon="rotate",
            fate=fate,
            carry_out=lambda actor, job: job_cancel(actor=actor, job=job),
        )
        return {"cancel": cancel}

    def rows(self) -> "QuerySet[Job]":
        return jobs_for_list(self.user)

    def describe(self, row: Job) -> tuple[str, str, str, SafeString]:
        return (
            f"{job_label(row.kind)} {row.subject_name}",
            reverse("job", args=(row.id,)),
            f"{row.tenant.name} · {row.hypervisor.name}",
            job_state(row),
        )


def jobs_for_list_unscoped() -> "QuerySet[Job]":
    """Jobs with what their page shows; the view scopes them."""
    return Job.objects.select_related("hypervisor", "hypervisor__site", "tenant", "requested_by")


_NEEDS = {
    "vm.create": "vm.create",
    "vm.resize": "vm.edit",
    "vm.rename": "vm.edit",
    "vm.delete": "vm.delete",
    "vm.tell": "vm.tell",
    "vm.reset_password": "vm.tell",
    "vm.first_boot": "vm.tell",
}


def _permission(job: Job) -> str:
    return _NEEDS.get(job.kind, "vm.power")


_WORDS = {
    "vcpus": "Processors",
    "memory_mib": "Memory (MiB)",
    "disks_gib": "Disks (GiB)",
    "ssh_keys": "SSH keys",
    "username": "User",
    "has_password": "Password given",
    "has_user_data": "Script given",
    "keep_disks": "Keep disks",
    "tags": "Tags",
    "user_data": "User-data",
    "instance_id": "New instance",
}


def _asked(job: Job) -> list[tuple[str, str]]:
    """The job's visible arguments, in words."""
    found = []
    for key, value in job.arguments.items():
        if isinstance(value, bool):
            text = "yes" if value else "no"
        elif isinstance(value, list):
            text = ", ".join(_part(part) for part in value)
        else:
            text = str(value)
        found.append((_WORDS.get(key, key.replace("_", " ").capitalize()), text))
    return found


def _part(part: Any) -> str:
    if isinstance(part, dict):
        return " ".join(str(value) for key, value in part.items() if value and key != "id")
    return str(part)
