"""An agent's words about jobs, taken only from the link that speaks for the host."""

from django.db import transaction

from agent.protocol import JobAccepted, JobFinished, JobProgress
from hypervisors.services.jobs import job_accepted, job_finished, job_progress
from hypervisors.services.links import Link, link_must_hold


@transaction.atomic
def job_word_store(*, link: Link, message: JobAccepted | JobProgress | JobFinished) -> None:
    """Words about jobs of other hosts, unknown jobs and ended ones change nothing.

    Raises LinkLostError.
    """
    host = link_must_hold(link)
    match message:
        case JobAccepted():
            job_accepted(hypervisor=host, job_id=message.job_id)
        case JobProgress():
            job_progress(
                hypervisor=host,
                job_id=message.job_id,
                percent=message.percent,
                step=message.step,
            )
        case JobFinished():
            job_finished(hypervisor=host, report=message)
