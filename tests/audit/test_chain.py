"""The chain of the audit log: whoever changes what was written is found out."""

import io
import json
import stat
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.db.utils import DatabaseError, ProgrammingError
from django.utils import timezone

from tenants.actor import SYSTEM, Actor
from tenants.database.owner import as_owner
from tenants.models import AuditCheckpoint, AuditEvent, AuditLink, AuditVerification
from tenants.services.audit import audit_record
from tenants.services.audit_checkpoints import checkpoints_make, key_path
from tenants.services.audit_proof import as_json, from_json
from tenants.services.audit_read import chain_links
from tenants.services.audit_verify import audit_verify
from tenants.services.tenants import site_create, tenant_rename
from tenants.tasks import make_audit_checkpoints, verify_audit_log
from tests.audit.tampering import doors_open, tamper
from tests.factories import CustomerFactory, MspFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)
NASTY = {
    "text": 'ä "q" \\ \n \t \x07 \x7f \u2028 \U0001f600',
    "n": 10**30,
    "list": [1, None, True, {}],
}


@pytest.fixture
def msp() -> Any:
    return MspFactory()


def write(tenant: Any, count: int = 5) -> None:
    for number in range(count):
        audit_record(
            actor=Actor(user=None, ip="192.0.2.7" if number % 2 else "2001:db8::1"),
            tenant=tenant,
            action="site.create",
            object_kind="site",
            object_id=uuid.uuid4(),
            object_name=f"Site {number}",
            after={"name": f"Site {number}", **NASTY},
        )


def run(*arguments: str) -> tuple[int, str]:
    """`manage.py audit …`: how it ends, and what it says."""
    out = io.StringIO()
    try:
        call_command("audit", *map(str, arguments), stdout=out, stderr=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_every_event_gets_its_place_when_its_change_is_committed(msp):
    customer = CustomerFactory(parent=msp)
    site_create(actor=SYSTEM, tenant=customer, name="Main")
    tenant_rename(actor=SYSTEM, tenant=msp, name="Another")
    events = AuditEvent.objects.order_by("created_at").select_related("link")
    assert [(event.chain_id, event.link.seq) for event in events] == [(msp.id, 1), (msp.id, 2)]
    [report] = audit_verify()
    assert (report.chain, report.events, report.last, report.problem) == (msp.id, 2, 2, None)


def test_what_is_rolled_back_leaves_no_place_empty(msp):
    write(msp, 1)
    with transaction.atomic():
        write(msp, 3)
        transaction.set_rollback(True)
    write(msp, 1)
    assert list(AuditLink.objects.order_by("seq").values_list("seq", flat=True)) == [1, 2]


def test_msps_have_chains_of_their_own_and_what_is_nobodys_has_the_portals(msp):
    write(msp, 2)
    write(MspFactory(), 3)
    write(None, 1)
    assert sorted(report.events for report in audit_verify()) == [1, 2, 3]


def test_those_who_write_at_once_get_places_without_gaps(msp):
    customers = [CustomerFactory(parent=msp) for _ in range(4)]
    others = MspFactory()

    def work(customer: Any) -> None:
        from tenants.scope import system_scope

        try:
            with system_scope("a test"):
                for _ in range(15):
                    with transaction.atomic():
                        # Both chains, in either order: sorted, or these would wait for each other.
                        write(customer, 1)
                        write(others, 1)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(one,)) for one in customers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(report.events, report.problem) for report in audit_verify()] == [(60, None)] * 2


def test_the_database_and_python_hash_alike_whatever_an_event_holds(msp):
    audit_record(
        actor=Actor(user=UserFactory(), ip="::ffff:192.0.2.1", user_agent="ä" * 50, session="ab"),
        tenant=msp, action="x", object_kind="y", object_id=None, object_name="“ü”",
        before=NASTY, after={"b": NASTY, "aa": NASTY, "a": 0.5}, site_id=uuid.uuid4(),
    )  # fmt: skip
    [report] = audit_verify()
    assert report.problem is None
    [link] = chain_links(msp.id)
    assert link.texts is not None
    assert from_json(json.loads(json.dumps(as_json(link.texts)))) == link.texts


# ------------------------------------------------------------------ nobody changes it


@pytest.mark.parametrize("table", ["event", "link", "checkpoint"])
@pytest.mark.parametrize(
    "statement",
    ["UPDATE {} SET chain_id = chain_id", "DELETE FROM {}", "TRUNCATE {}"],
)
def test_neither_the_application_nor_the_owner_changes_what_was_written(msp, table, statement):
    write(msp, 1)
    checkpoints_make()
    words = statement.format(f"tenants_audit{table}")
    with pytest.raises(ProgrammingError, match="permission denied"):
        connection.cursor().execute(words)
    with as_owner(), pytest.raises(DatabaseError, match="The audit log is kept"):
        connection.cursor().execute(words)
    # The setting is no door for who may not delete in the first place.
    with transaction.atomic():
        connection.cursor().execute("SET LOCAL basalt.audit_door = 'prune'")
        with pytest.raises(ProgrammingError), transaction.atomic():
            connection.cursor().execute(words)
    assert AuditEvent.objects.count() == AuditLink.objects.count() == 1


def test_the_application_makes_no_links_by_itself(msp):
    with pytest.raises(ProgrammingError, match="permission denied"):
        AuditLink.objects.create(event_id=uuid.uuid4(), chain_id=msp.id, seq=1, hash=b"x" * 32)
    with pytest.raises(ProgrammingError, match="permission denied"):
        connection.cursor().execute("INSERT INTO tenants_auditqueue (chain_id) VALUES (null)")


def test_whoever_is_named_can_be_deleted_and_the_event_stays_as_it_was(msp):
    person = UserFactory()
    actor = Actor(user=person, ip="192.0.2.1")
    tenant_rename(actor=actor, tenant=msp, name="Another")
    person.delete()
    event = AuditEvent.objects.get()
    assert event.actor_name == person.email
    assert event.actor_id is not None
    assert audit_verify()[0].problem is None


# ------------------------------------------------------------------ tampering is found


@pytest.fixture
def log(msp: Any) -> Iterator[Any]:
    """A chain of twelve, with a checkpoint in the middle and one at the end."""
    write(msp, 6)
    checkpoints_make()
    write(msp, 6)
    checkpoints_make()
    with doors_open():
        yield msp


@pytest.mark.parametrize(
    ("statement", "kind", "first_bad"),
    [
        ("UPDATE tenants_auditevent SET object_name = 'x' WHERE id = {7}", "edited", 7),
        ("UPDATE tenants_auditevent SET ip = NULL WHERE id = {7}", "edited", 7),
        ("UPDATE tenants_auditlink SET hash = sha256('x') WHERE seq = 3", "edited", 3),
        ("DELETE FROM tenants_auditevent WHERE id = {5}", "deleted", 5),
        ("DELETE FROM tenants_auditlink WHERE seq = 5", "deleted", 5),
        ("DELETE FROM tenants_auditlink WHERE seq = 1", "deleted", 1),
        ("DELETE FROM tenants_auditlink WHERE seq > 10", "truncated", 11),
        ("DELETE FROM tenants_auditlink", "truncated", 1),
    ],
)
def test_the_first_bad_event_is_named(log, statement, kind, first_bad):
    ids = [None, *AuditLink.objects.order_by("seq").values_list("event_id", flat=True)]
    quoted = [f"'{one}'" for one in ids]
    with as_owner(), connection.cursor() as cursor:
        cursor.execute(statement.format(*quoted))
    [report] = audit_verify()
    assert report.problem is not None
    assert (report.problem.kind, report.problem.seq) == (kind, first_bad)
    assert report.last == first_bad - 1


def test_a_chain_written_anew_agrees_with_itself_but_not_with_checkpoints_kept_elsewhere(
    log, tmp_path
):
    kept = tmp_path / "kept.jsonl"
    assert run("checkpoint", "--out", kept)[0] == 0
    with as_owner():
        tamper("rewrite", at=9)
        AuditCheckpoint.objects.all().delete()
    assert audit_verify()[0].problem is None
    status, said = run("verify", "--checkpoints", kept)
    assert status == 1
    assert "Events were written anew" in said


def test_a_checkpoint_that_nobody_trusted_signed_proves_nothing(log, tmp_path):
    kept = tmp_path / "kept.jsonl"
    run("checkpoint", "--out", kept)
    said = json.loads(kept.read_text())
    kept.write_text(json.dumps(said | {"seq": 11}))
    status, words = run("verify", "--checkpoints", kept)
    assert status == 1
    assert "not signed by a key that is trusted here" in words


@pytest.mark.parametrize("seed", range(40))
def test_tamperings_by_chance_are_found(log, seed):
    with as_owner():
        what = tamper(seed=seed)
    assert audit_verify()[0].problem is not None, what


# ------------------------------------------------------------------ the command line


def test_verify_says_what_it_found_and_the_page_can_show_it(msp):
    write(msp, 3)
    run("checkpoint", "--out", "/dev/null")
    status, said = run("verify")
    assert status == 0
    assert f"{msp.name}: 3 events are unbroken, signed up to event 3" in said
    status, said = run("verify", "--json")
    assert json.loads(said)["chains"][0]["verified_until"] == 3
    row = AuditVerification.objects.get()
    assert (row.chain_id, row.seq, row.problem) == (msp.id, 3, "")


def test_the_key_is_readable_to_the_portal_alone_and_stays_the_same():
    first = run("key")[1].splitlines()[0]
    assert run("key")[1].splitlines()[0] == first
    assert stat.S_IMODE(key_path().stat().st_mode) == 0o600


def test_an_export_proves_itself_and_shows_what_was_changed_in_it(msp, tmp_path):
    write(msp, 4)
    checkpoints_make()
    path = tmp_path / "export.jsonl"
    assert run("export", "--out", path) == (0, "")
    assert run("verify", "--file", path)[0] == 0
    path.write_text(path.read_text().replace("Site 2", "Site 9", 1))
    status, said = run("verify", "--file", path)
    assert status == 1
    assert "Event 3 was changed." in said


def test_an_export_of_one_customer_is_proven_without_the_others_events(msp, tmp_path):
    ours, theirs = CustomerFactory(parent=msp), CustomerFactory(parent=msp)
    write(ours, 2)
    write(theirs, 2)
    write(ours, 1)
    checkpoints_make()
    path = tmp_path / "export.jsonl"
    run("export", "--tenant", ours.slug, "--out", path)
    assert str(theirs.id) not in path.read_text()
    status, said = run("verify", "--file", path)
    assert status == 0
    assert "3 events are unbroken, signed up to event 5" in said


def test_a_table_of_events_has_no_cell_that_is_a_formula(msp, tmp_path):
    audit_record(
        actor=SYSTEM, tenant=msp, action="x", object_kind="y", object_id=None,
        object_name="=HYPERLINK(1)",
    )  # fmt: skip
    path = tmp_path / "export.csv"
    run("export", "--format", "csv", "--out", path)
    assert ",'=HYPERLINK(1)," in path.read_text()


def test_old_events_go_to_a_file_and_leave_an_anchor_that_is_verified(msp, tmp_path):
    write(msp, 4)
    before = timezone.now()
    write(msp, 3)
    status, said = run("prune", "--before", before.isoformat(), "--archive", tmp_path)
    assert status == 0
    assert "4 events, up to 4, are in" in said
    assert AuditEvent.objects.count() == 3
    [report] = audit_verify()
    assert (report.problem, report.events, report.last) == (None, 3, 7)
    write(msp, 1)
    assert AuditLink.objects.order_by("-seq").first().seq == 8
    [archive] = tmp_path.glob("*.jsonl")
    assert run("verify", "--file", archive)[0] == 0
    # All of them, later: the chain goes on, and the second archive after the first.
    later = timezone.now() + timedelta(days=1)
    run("prune", "--before", later.isoformat(), "--archive", tmp_path)
    write(msp, 2)
    [report] = audit_verify()
    assert (report.problem, report.events, report.last) == (None, 2, 10)
    assert run("prune", "--before", "2001-01-01", "--archive", tmp_path)[1].strip() == (
        "No event is that old."
    )


def test_events_that_went_without_an_anchor_are_missed(log):
    with as_owner(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM tenants_auditlink WHERE seq <= 4")
    [report] = audit_verify()
    assert report.problem is not None
    assert report.problem.seq == 1


# ------------------------------------------------------------------ by itself


def test_checkpoints_go_where_they_are_wanted_each_hour(msp, settings, tmp_path, mailoutbox):
    settings.BASALT_AUDIT_CHECKPOINT_DIR = tmp_path / "elsewhere"
    settings.BASALT_AUDIT_CHECKPOINT_EMAIL = "auditor@example.com"
    settings.BASALT_AUDIT_CHECKPOINT_URL = "http://127.0.0.1:1/nobody"
    write(msp, 2)
    make_audit_checkpoints.apply()
    write(msp, 1)
    make_audit_checkpoints.apply()
    path = Path(tmp_path / "elsewhere" / "audit-checkpoints.jsonl")
    assert [json.loads(line)["seq"] for line in path.read_text().splitlines()] == [2, 3]
    assert mailoutbox[1].to == ["auditor@example.com"]
    assert run("verify", "--checkpoints", path)[0] == 0


def test_the_log_is_checked_each_day(log):
    assert verify_audit_log.apply().get() is True
    with as_owner(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM tenants_auditlink WHERE seq = 5")
    assert verify_audit_log.apply().get() is False
    assert "Event 5 was deleted." in AuditVerification.objects.get().problem
