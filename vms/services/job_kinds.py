"""What VM jobs are in the host's words, and what their ends mean for the rows."""

from typing import Any

from django.db import IntegrityError, transaction

from agent.protocol import (
    CreateVm,
    DeleteVm,
    DiskSpec,
    ImageSource,
    JobArguments,
    JobFinished,
    RebootVm,
    RenameVm,
    ResizeVm,
    ShutdownVm,
    StartVm,
    StopVm,
)
from hypervisors.models import Job, Status
from hypervisors.services.job_kinds import JobKind, JobObsoleteError, job_kind_register
from tenants.services.live import live_publish
from vms.models import Disk, ImageVersion, VirtualMachine
from vms.models.vm import VirtualMachineQuerySet
from vms.services.capacity import GIB
from vms.services.observing import vm_observed
from vms.services.specs import guest_spec, nic_specs
from vms.services.telling import tell_words, told


def job_kinds_register() -> None:
    """Called once, when Django is ready."""
    for name, label, build, on_end in (
        ("vm.create", "Create VM", _build_create, _on_create_end),
        ("vm.start", "Start VM", _build_start, _on_end),
        ("vm.shutdown", "Shut down VM", _build_shutdown, _on_end),
        ("vm.stop", "Force off VM", _build_stop, _on_end),
        ("vm.reboot", "Restart VM", _build_reboot, _on_end),
        ("vm.resize", "Resize VM", _build_resize, _on_resize_end),
        ("vm.rename", "Rename VM", _build_rename, _on_rename_end),
        ("vm.delete", "Delete VM", _build_delete, _on_delete_end),
        ("vm.tell", "Change what the guest is told", _build_tell, _on_tell_end),
        ("vm.reset_password", "Reset password", _build_tell, _on_tell_end),
        ("vm.first_boot", "Run first boot again", _build_tell, _on_tell_end),
    ):
        job_kind_register(JobKind(name=name, label=label, build=build, on_end=on_end))


# ------------------------------------------------------------------ in the host's words


def _build_create(job: Job) -> JobArguments:
    vm = _subject(job)
    return CreateVm(
        vm_id=str(vm.id),
        name=vm.name,
        vcpus=vm.vcpus,
        memory_mib=vm.memory_mib,
        firmware="uefi" if vm.firmware == "uefi" else "bios",
        image=_image_source(vm.image_version),
        disks=[
            DiskSpec(disk_id=str(disk.id), size=disk.size_gib * GIB, boot=disk.position == 0)
            for disk in vm.disks.all()
        ],
        nics=nic_specs(vm),
        guest=guest_spec(vm),
        autostart=vm.autostart,
    )


def _image_source(version: ImageVersion) -> ImageSource:
    return ImageSource(
        version_id=str(version.id),
        sha256=version.sha256,
        format="raw" if version.format == "raw" else "qcow2",
        size=version.size,
        url=version.url if version.source == ImageVersion.Source.URL else None,
    )


def _build_start(job: Job) -> JobArguments:
    return StartVm(vm_id=str(_subject(job).id))


def _build_shutdown(job: Job) -> JobArguments:
    return ShutdownVm(vm_id=str(_subject(job).id))


def _build_stop(job: Job) -> JobArguments:
    return StopVm(vm_id=str(_subject(job).id))


def _build_reboot(job: Job) -> JobArguments:
    return RebootVm(vm_id=str(_subject(job).id), force=bool(job.arguments.get("force")))


def _build_resize(job: Job) -> JobArguments:
    vm = _subject(job)
    sizes = {str(disk.id): disk.size_gib for disk in vm.disks.all()}
    return ResizeVm(
        vm_id=str(vm.id),
        vcpus=job.arguments.get("vcpus"),
        memory_mib=job.arguments.get("memory_mib"),
        disks=[
            DiskSpec(disk_id=disk["id"], size=disk["size_gib"] * GIB)
            for disk in job.arguments.get("disks", [])
            if sizes.get(disk["id"]) != disk["size_gib"]
        ],
        autostart=job.arguments.get("autostart"),
    )


def _build_rename(job: Job) -> JobArguments:
    vm = _subject(job)
    return RenameVm(vm_id=str(vm.id), name=vm.name, hostname=vm.hostname)


def _build_delete(job: Job) -> JobArguments:
    # The row may be gone already when a lost deletion is asked for again: still worth asking.
    return DeleteVm(vm_id=str(job.subject_id), keep_disks=bool(job.arguments.get("keep_disks")))


def _build_tell(job: Job) -> JobArguments:
    return tell_words(job, _subject(job))


def _subject(job: Job) -> VirtualMachine:
    vm = (
        _of_job(job)
        .select_related("image_version__image", "hypervisor__site", "tenant__parent__parent")
        .first()
    )
    if vm is None:
        raise JobObsoleteError(f"“{job.subject_name}” is gone.")
    return vm


# ------------------------------------------------------------------ what an end means


def _on_end(job: Job, report: JobFinished | None) -> None:
    """Power jobs: the host's own report says how the guest is now."""
    vm = _locked_subject(job)
    if vm is None:
        return
    if report is not None and report.vm is not None and report.vm.vm_id == str(vm.id):
        vm_observed(vm, report.vm)
    live_publish(tenant_id=vm.tenant_id, kind="vm", object_id=vm.id)


def _on_create_end(job: Job, report: JobFinished | None) -> None:
    """A failed creation left nothing on the host, and one that was never sent neither: the
    VM goes, and the job keeps its name and the reason. Of a lost one nobody knows: it stays
    until the host speaks, or a person deletes it."""
    vm = _locked_subject(job)
    if vm is None:
        return
    if job.status == Status.SUCCEEDED:
        vm.state = VirtualMachine.State.READY
        # The host has its own copy; here it has no use any more.
        vm.sealed_secrets = None
        vm.save(update_fields=["state", "sealed_secrets"])
    elif job.status == Status.LOST:
        # Nothing is sent again: whoever tries again gives them again.
        vm.sealed_secrets = None
        vm.save(update_fields=["sealed_secrets"])
    else:
        _remove(vm)
        return
    _on_end(job, report)


def _on_resize_end(job: Job, report: JobFinished | None) -> None:
    vm = _locked_subject(job)
    if vm is None:
        return
    if job.status == Status.SUCCEEDED:
        wanted: dict[str, Any] = job.arguments
        vm.vcpus = wanted.get("vcpus", vm.vcpus)
        vm.memory_mib = wanted.get("memory_mib", vm.memory_mib)
        vm.autostart = wanted.get("autostart", vm.autostart)
        vm.save(update_fields=["vcpus", "memory_mib", "autostart"])
        for position, disk in enumerate(wanted.get("disks", [])):
            Disk.objects.update_or_create(
                id=disk["id"],
                vm=vm,
                defaults={"size_gib": disk["size_gib"]},
                create_defaults={"size_gib": disk["size_gib"], "position": position},
            )
    _on_end(job, report)


def _on_rename_end(job: Job, report: JobFinished | None) -> None:
    vm = _locked_subject(job)
    before = job.arguments.get("before")
    if vm is None or not before:
        return
    if job.status in {Status.FAILED, Status.EXPIRED, Status.CANCELLED}:
        vm.name, vm.hostname = before, before.lower()
        try:
            with transaction.atomic():
                vm.save(update_fields=["name", "hostname"])
        except IntegrityError:
            # Somebody took the old name meanwhile. The new one stays: it is in use by no one
            # else, and the host knows its guests by id.
            pass
    _on_end(job, report)


def _on_tell_end(job: Job, report: JobFinished | None) -> None:
    vm = _locked_subject(job)
    if vm is None:
        return
    told(vm, job, succeeded=job.status == Status.SUCCEEDED)
    _on_end(job, report)


def _on_delete_end(job: Job, report: JobFinished | None) -> None:
    vm = _locked_subject(job)
    if vm is None:
        return
    if job.status == Status.SUCCEEDED:
        _remove(vm)
        return
    _on_end(job, report)


def _locked_subject(job: Job) -> VirtualMachine | None:
    return _of_job(job).select_for_update(of=("self",)).first()


def _of_job(job: Job) -> VirtualMachineQuerySet:
    if job.subject_id is None:
        return VirtualMachine.objects.none()
    return VirtualMachine.objects.filter(pk=job.subject_id, hypervisor_id=job.hypervisor_id)


def _remove(vm: VirtualMachine) -> None:
    tenant_id, vm_id = vm.tenant_id, vm.id
    vm.delete()
    live_publish(tenant_id=tenant_id, kind="vm", object_id=vm_id)
