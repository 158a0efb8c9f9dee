"""For the operator: let somebody in again who can't sign in any more."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from tenants.actor import SYSTEM
from tenants.models import SignInPolicy, Tenant, User
from tenants.scope import system_scope
from tenants.scoped_command import ScopedCommand
from tenants.services.audit import audit_record
from tenants.services.second_factors import second_factor_reset


class Command(ScopedCommand):
    help = "Takes the second factors off an account, or the sign-in policy off a tenant."
    scope = system_scope("the operator rescues whoever is shut out, wherever they are")

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--second-factor-of", metavar="EMAIL", help="forget all of this account")
        what.add_argument("--policy-of", metavar="SLUG", help="this tenant asks nothing any more")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        if options["second_factor_of"]:
            self._second_factor(options["second_factor_of"])
        else:
            self._policy(options["policy_of"])

    def _second_factor(self, email: str) -> None:
        user = User.objects.filter(email__iexact=email).first()
        if user is None:
            raise CommandError(f"Nobody has the address {email}.")
        forgotten = second_factor_reset(actor=SYSTEM, user=user)
        self.stdout.write(f"{forgotten} forgotten. {user.email} signs in with the password alone.")

    def _policy(self, slug: str) -> None:
        tenant = Tenant.objects.filter(slug=slug).first()
        policy = SignInPolicy.objects.filter(tenant=tenant).first() if tenant else None
        if tenant is None or policy is None:
            raise CommandError(f"There is no sign-in policy of “{slug}”.")
        policy.delete()
        audit_record(
            actor=SYSTEM,
            tenant=tenant,
            action="sign_in_policy.remove",
            object_kind="sign_in_policy",
            object_id=None,
            object_name=tenant.name,
        )
        self.stdout.write(f"{tenant.name} asks nothing of people who sign in any more.")
