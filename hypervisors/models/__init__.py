"""Hosts, their networks, and the jobs we ask of them."""

from hypervisors.models.hypervisor import Hypervisor, JoinToken, Network
from hypervisors.models.job import ACTIVE, ENDED, TRANSITIONS, Job, JobEvent, Status
from hypervisors.models.usage import HostUsage

__all__ = [
    "ACTIVE",
    "ENDED",
    "TRANSITIONS",
    "HostUsage",
    "Hypervisor",
    "Job",
    "JobEvent",
    "JoinToken",
    "Network",
    "Status",
]
