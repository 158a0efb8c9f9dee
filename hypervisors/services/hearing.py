"""An agent's words about jobs, taken only from the link that speaks for the host."""

import re

import msgspec
from django.db import transaction

from agent.protocol import FromAgent, JobAccepted, JobFinished, JobProgress
from hypervisors.services.jobs import job_accepted, job_finished, job_progress
from hypervisors.services.links import Link, link_must_hold

# Control characters as JSON writes them, and those of Unicode that turn a line's direction round
# (UAX 9), in UTF-8.
_UNREADABLE = re.compile(
    rb"\\u00[01][0-9a-f]|\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xaa-\xae]"
    rb"|\xe2\x81[\xa6-\xa9]"
)


def readable(message: FromAgent) -> FromAgent:
    """The message, with a sign in place of each character that shows as something else than it
    is. What a guest printed may hold any: PostgreSQL's text takes no NUL, and a name that is
    read backwards is not the name that it seems to be."""
    text = msgspec.json.encode(message)
    if _UNREADABLE.search(text) is None:
        return message
    replaced: FromAgent = msgspec.json.decode(
        _UNREADABLE.sub(rb"\\ufffd", text), type=type(message)
    )
    return replaced


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
