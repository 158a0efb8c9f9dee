"""What jobs on NICs are in the host's words, and what their ends mean for the rows."""

from django.db import IntegrityError, transaction

from agent.protocol import AttachNic, ChangeNic, DetachNic, JobArguments, JobFinished
from hypervisors.models import Job, Status
from hypervisors.services.job_kinds import JobKind, JobObsoleteError, job_kind_register
from tenants.services.live import live_publish
from vms.models import Nic, VirtualMachine
from vms.services.observing import vm_observed
from vms.services.specs import nic_spec

_NEVER_DONE = frozenset({Status.FAILED, Status.EXPIRED, Status.CANCELLED})


def nic_job_kinds_register() -> None:
    """Called once, when Django is ready."""
    for name, label, build, on_end in (
        ("vm.nic-add", "Add NIC", _build_add, _on_add_end),
        ("vm.nic-remove", "Remove NIC", _build_remove, _on_remove_end),
        ("vm.nic-change", "Change NIC", _build_change, _on_change_end),
    ):
        job_kind_register(JobKind(name=name, label=label, build=build, on_end=on_end))


def _build_add(job: Job) -> JobArguments:
    return AttachNic(vm_id=str(job.subject_id), nic=nic_spec(_nic(job)))


def _build_remove(job: Job) -> JobArguments:
    # Its row may be gone when a lost removal is asked for again: still worth asking.
    return DetachNic(vm_id=str(job.subject_id), nic_id=str(job.arguments["nic"]))


def _build_change(job: Job) -> JobArguments:
    return ChangeNic(vm_id=str(job.subject_id), nic=nic_spec(_nic(job)))


def _on_add_end(job: Job, report: JobFinished | None) -> None:
    """One that could not be added has left nothing on the host: its row goes, and gives its
    addresses back. Of a lost one nobody knows: it stays until the host speaks."""
    vm = _locked_vm(job)
    if vm is not None and job.status in _NEVER_DONE:
        vm.nics.filter(pk=job.arguments["nic"]).delete()
    _ended(vm, report)


def _on_remove_end(job: Job, report: JobFinished | None) -> None:
    vm = _locked_vm(job)
    if vm is not None and job.status == Status.SUCCEEDED:
        vm.nics.filter(pk=job.arguments["nic"]).delete()
    _ended(vm, report)


def _on_change_end(job: Job, report: JobFinished | None) -> None:
    vm = _locked_vm(job)
    before = job.arguments.get("before")
    if vm is not None and before and job.status in _NEVER_DONE:
        try:
            with transaction.atomic():
                vm.nics.filter(pk=job.arguments["nic"]).update(**before)
        except IntegrityError:
            # Somebody has its old address meanwhile. It keeps the new one, which nobody else has.
            pass
    _ended(vm, report)


def _ended(vm: VirtualMachine | None, report: JobFinished | None) -> None:
    if vm is None:
        return
    if report is not None and report.vm is not None and report.vm.vm_id == str(vm.id):
        vm_observed(vm, report.vm)
    live_publish(tenant_id=vm.tenant_id, kind="vm", object_id=vm.id)


def _nic(job: Job) -> Nic:
    nic = (
        Nic.objects.select_related("network")
        .filter(pk=job.arguments["nic"], vm=job.subject_id, vm__hypervisor=job.hypervisor_id)
        .first()
    )
    if nic is None:
        raise JobObsoleteError(f"The NIC of “{job.subject_name}” is gone.")
    return nic


def _locked_vm(job: Job) -> VirtualMachine | None:
    if job.subject_id is None:
        return None
    vms = VirtualMachine.objects.select_for_update(of=("self",))
    return vms.filter(pk=job.subject_id, hypervisor_id=job.hypervisor_id).first()
