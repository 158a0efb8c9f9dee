"""Whatever hosts, guests and people call things, it is read as text on every page and in every
file, and nowhere taken for markup or for a formula."""

import csv
import io

import pytest
from django.db import models
from django.test import Client

from agent.protocol import JobProgress
from consoles.models import ConsentRequest
from hypervisors.models import Hypervisor, Job, JobEvent, Network, Status
from hypervisors.services.hearing import readable
from tenants.actor import Actor
from tenants.models import Invitation, Role, SavedView, Site, Tenant, User
from tenants.services.audit import audit_record
from tests.hypervisors.fake_agent import snapshot_of
from tests.policy.matrix import Call, address, templates
from tests.policy.worlds import scene_make
from vms.models import Image, ImageVersion, VirtualMachine

MARK = "pwn"
HOSTILE = f"=<{MARK} onload=alert(1)>\"'`{{{{7*7}}}}"
OURS = [Tenant, Site, Hypervisor, Network, Job, JobEvent, VirtualMachine, Image, ImageVersion,
        User, Role, Invitation, ConsentRequest, SavedView]  # fmt: skip
# Checked words of ours, and keys that rows are found by.
_KEPT = {"slug", "hash", "sha256", "time_zone", "password", "email", "kind", "list_name",
         "link_channel", "link_run_id", "code", "url", "subject_kind", "object_kind",
         "format", "prefix", "machine_id"}  # fmt: skip


def spoiled(value):
    """The same shape, with something hostile in place of each text."""
    if isinstance(value, dict):
        return {key: spoiled(one) for key, one in value.items()}
    if isinstance(value, list):
        return [spoiled(one) for one in value]
    return HOSTILE if isinstance(value, str) else value


def spoil_everything(scene) -> int:
    world, count = scene.worlds["own"], 0
    host = Hypervisor.objects.get(pk=world.ids["hypervisor"])
    host.facts = spoiled(host.facts) | {"problems": [HOSTILE], "firmwares": ["bios"],
                                        "accelerator": "kvm"}  # fmt: skip
    host.save()
    for model in OURS:
        for field in model._meta.concrete_fields:
            free = isinstance(field, models.CharField | models.TextField) and not field.choices
            roomy = (field.max_length or 200) >= len(HOSTILE)
            if not free or not roomy or field.name in _KEPT or field.unique:
                continue
            if field.name == "name" and model in (Hypervisor, VirtualMachine):
                continue  # of letters, digits and hyphens; it stands in addresses
            if model is JobEvent:
                rows = JobEvent.objects.filter(job_id=world.ids["job"])
            else:
                rows = model._default_manager.filter(pk__in=[*world.ids.values()])
            count += rows.update(**{field.name: HOSTILE})
    Job.objects.filter(pk=world.ids["job"]).update(status=Status.FAILED)
    audit_record(
        actor=Actor(user=User.objects.get(pk=world.ids["user"]), user_agent=HOSTILE[:60]),
        tenant=Tenant.objects.get(pk=world.ids["tenant"]), action="site.change",
        object_kind="site", object_id=world.ids["site"], object_name=HOSTILE,
        before={"name": "x"}, after={"name": HOSTILE},
    )  # fmt: skip
    return count


@pytest.fixture
def asked(db):
    """The client of somebody of the customer whose every text is hostile, and its pages."""
    scene = scene_make()
    assert spoil_everything(scene) >= 15
    name = "customer-administrator of the customer"
    caller = next(one for one in scene.callers if one.name == name)
    client = Client()
    client.cookies["sessionid"] = caller.session
    pages = [
        address(Call(template, "get", ""), scene.worlds["own"])
        for template, _ in templates()
        if not template.startswith(("agent/", "api/"))
    ]
    return client, pages


def test_no_page_takes_a_text_for_markup(asked):
    told = 0
    client, pages = asked
    for where in pages:
        for headers in ({}, {"hx-request": "true"}):
            answer = client.get(where, headers=headers)
            assert answer.status_code < 500, where
            text = b"".join(answer).decode() if answer.streaming else answer.content.decode()
            if answer["Content-Type"].startswith("text/html"):
                assert f"<{MARK}" not in text, where
                told += f"&lt;{MARK}" in text
                assert "=49" not in text, where
    assert told > 15


def test_no_file_for_spreadsheets_holds_a_formula(asked):
    cells = 0
    client, pages = asked
    for where in pages:
        if where.startswith("/c/"):
            continue  # lists alone have files
        answer = client.get(where, {"format": "csv"})
        if not answer["Content-Type"].startswith("text/csv"):
            continue
        text = b"".join(answer).decode() if answer.streaming else answer.content.decode()
        for row in csv.reader(io.StringIO(text)):
            for cell in row:
                assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\0")), where
                cells += MARK in cell
    assert cells > 5


TRICKS = [f"a{trick}b" for trick in "\x00\x1b\x7f\x85\u061c\u200f\u202e\u2066"]
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize("text", TRICKS, ids=ascii)
def test_what_a_host_says_shows_as_what_it_is(text):
    heard = readable(snapshot_of(problems=[text], cpu_model=text))
    assert heard.facts.problems == [heard.facts.cpu_model]
    said = heard.facts.cpu_model
    assert said.startswith("a\ufffd")
    assert said.isprintable()
    step = readable(
        JobProgress(job_id="0" * 8 + "-0000-4000-8000-000000000000", percent=1, step=text)
    )
    assert step.step == said


@pytest.mark.parametrize("text", ["Über uns", "日本語", "a\nb", "עברית", "C:\\up"])
def test_what_is_readable_stays_readable(text):
    heard = readable(snapshot_of(problems=[text])).facts.problems[0]
    assert heard == text
