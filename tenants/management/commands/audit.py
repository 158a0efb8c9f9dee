"""The audit log at the command line: checking, checkpoints, export, and archiving old events."""

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from tenants.errors import RuleError
from tenants.models import DeletedTenant, Tenant
from tenants.scope import system_scope
from tenants.scoped_command import ScopedCommand
from tenants.services.audit_checkpoints import (
    CheckpointUnreadableError,
    checkpoints_in,
    checkpoints_make,
    key_path,
    keys_trusted,
    public_key,
)
from tenants.services.audit_delivery import checkpoints_append, checkpoints_deliver
from tenants.services.audit_export import export_csv, export_lines, file_verify
from tenants.services.audit_prune import audit_prune
from tenants.services.audit_verify import ChainReport, audit_verify, verification_store


def _day(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no day. Write it like 2026-01-31.") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


class Command(ScopedCommand):
    help = __doc__
    scope = system_scope("the operator checks and keeps the audit log of the whole portal")

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_subparsers(dest="what", required=True)

        verify = what.add_parser("verify", help="check every chain; ends with 1 when one is broken")
        verify.add_argument(
            "--checkpoints", nargs="+", type=Path, default=[], metavar="FILE",
            help="checkpoints that were kept elsewhere",
        )  # fmt: skip
        verify.add_argument(
            "--key", nargs="+", default=[], metavar="HEX", help="more public keys to trust"
        )
        verify.add_argument("--file", type=Path, help="check this export, not the database")
        verify.add_argument("--json", action="store_true", help="one JSON document")

        checkpoint = what.add_parser("checkpoint", help="sign where every chain stands")
        checkpoint.add_argument("--out", type=Path, metavar="FILE", help="add them to this file")
        checkpoint.add_argument(
            "--deliver", action="store_true", help="to the targets of the settings"
        )

        export = what.add_parser("export", help="all events with their proof")
        export.add_argument("--format", choices=("jsonl", "csv"), default="jsonl")
        export.add_argument("--out", type=Path, metavar="FILE", help="instead of standard output")
        export.add_argument("--tenant", metavar="SLUG", help="events of this customer alone")

        prune = what.add_parser("prune", help="archive old events, then remove them")
        prune.add_argument("--before", type=_day, required=True, metavar="DAY")
        prune.add_argument("--archive", type=Path, required=True, metavar="FOLDER")

        what.add_parser("key", help="show the public key that checkpoints are checked with")

    def handle(self, *_args: Any, **options: Any) -> None:
        steps: dict[str, Callable[..., None]] = {
            "verify": self._verify,
            "checkpoint": self._checkpoint,
            "export": self._export,
            "prune": self._prune,
            "key": self._key,
        }
        try:
            steps[options["what"]](**options)
        except (CheckpointUnreadableError, RuleError, OSError) as error:
            raise CommandError(str(error)) from error

    # ------------------------------------------------------------------ verify

    def _verify(self, **options: Any) -> None:
        given = [one for path in options["checkpoints"] for one in checkpoints_in(path)]
        trusted = keys_trusted(more=options["key"])
        if options["file"] is not None:
            reports = file_verify(options["file"], checkpoints=given, trusted=trusted)
        else:
            reports = audit_verify(checkpoints=given, trusted=trusted)
            verification_store(reports)
        broken = any(report.problem for report in reports)
        if options["json"]:
            said = {"ok": not broken, "chains": [_as_json(report) for report in reports]}
            self.stdout.write(json.dumps(said))
        else:
            for report in reports:
                self._tell(report)
        if broken:
            sys.exit(1)

    def _tell(self, report: ChainReport) -> None:
        if report.problem is not None:
            self.stderr.write(f"{report.name}: BROKEN. {report.problem.sentence}")
            self.stderr.write(f"  Vouched for: up to event {report.last:,}.")
            return
        mark = report.checkpoint
        signed = (
            f"signed up to event {mark.seq:,} at {mark.at:%Y-%m-%d %H:%M} UTC"
            if mark
            else "no checkpoint yet"
        )
        self.stdout.write(f"{report.name}: {report.events:,} events are unbroken, {signed}.")

    # ------------------------------------------------------------------ the others

    def _checkpoint(self, **options: Any) -> None:
        made = checkpoints_make()
        lines = "".join(one.as_line() + "\n" for one in made)
        if options["out"] is not None:
            checkpoints_append(options["out"], lines)
        elif not options["deliver"]:
            self.stdout.write(lines, ending="")
        if options["deliver"]:
            failures = checkpoints_deliver(made)
            if failures:
                raise CommandError("\n".join(failures))

    def _export(self, **options: Any) -> None:
        tenant = _tenant(options["tenant"]) if options["tenant"] else None
        out = options["out"]
        file = out.open("w", encoding="utf-8", newline="") if out else sys.stdout
        try:
            if options["format"] == "csv":
                export_csv(file, tenant=tenant)
            else:
                for line in export_lines(tenant=tenant):
                    file.write(line + "\n")
        finally:
            if out:
                file.close()

    def _prune(self, **options: Any) -> None:
        pruned = audit_prune(before=options["before"], folder=options["archive"])
        for one in pruned:
            self.stdout.write(
                f"{one.name}: {one.events:,} events, up to {one.until:,}, are in {one.path}."
            )
        if not pruned:
            self.stdout.write("No event is that old.")

    def _key(self, **_options: Any) -> None:
        self.stdout.write(public_key())
        self.stderr.write(f"The private key is {key_path()}. Keep a copy where backups are kept.")


def _tenant(slug: str) -> Any:
    tenant = Tenant.objects.filter(slug=slug).first()
    if tenant is not None:
        return tenant.pk
    gone = DeletedTenant.objects.filter(name__iexact=slug).order_by("-deleted_at").first()
    if gone is None:
        raise CommandError(f"There is no customer “{slug}”. Give its short name, as in addresses.")
    return gone.pk


def _as_json(report: ChainReport) -> dict[str, Any]:
    problem, mark = report.problem, report.checkpoint
    return {
        "chain": str(report.chain),
        "name": report.name,
        "ok": problem is None,
        "events": report.events,
        "verified_until": report.last,
        "hash": report.hash.hex(),
        "checkpoint": mark and {"seq": mark.seq, "at": mark.at.isoformat()},
        "problem": problem
        and {
            "kind": problem.kind,
            "first_bad_event": problem.seq,
            "event_id": problem.event_id and str(problem.event_id),
            "sentence": problem.sentence,
        },
    }
