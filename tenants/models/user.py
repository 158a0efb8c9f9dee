"""People, who sign in by e-mail."""

import uuid
from typing import Any, ClassVar, Self

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import AnonymousUser, PermissionsMixin
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Lower
from django.utils import timezone


class UserQuerySet(models.QuerySet["User"]):
    def allowed(self, user: "User | AnonymousUser", permission: str) -> Self:
        """People who have, or had, a membership of a tenant on which `user` holds `permission`, or
        were given a single site or VM of one; and its service accounts. What they have elsewhere
        is another matter: ask for that by the same permission."""
        from tenants.models.access_rule import AccessRule
        from tenants.models.membership import Membership
        from tenants.models.service_account import ServiceAccount

        member = Membership.objects.allowed(user, permission).filter(user=OuterRef("pk"))
        given = AccessRule.objects.allowed(user, permission).filter(user=OuterRef("pk"))
        service = ServiceAccount.objects.allowed(user, permission).filter(user=OuterRef("pk"))
        return self.filter(Exists(member) | Exists(given) | Exists(service))


class UserManager(BaseUserManager["User"]):
    def get_queryset(self) -> UserQuerySet:
        return UserQuerySet(self.model, using=self._db)

    def allowed(self, user: "User | AnonymousUser", permission: str) -> UserQuerySet:
        """As UserQuerySet.allowed."""
        return self.get_queryset().allowed(user, permission)

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """A person; without a password they can't sign in until they set one."""
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=(username or "").strip().lower())


class User(AbstractBaseUser, PermissionsMixin):
    """A person. What they may do comes from memberships, never from a flag here."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=100, blank=True)
    time_zone = models.CharField(max_length=64, default="UTC")
    ssh_keys: "models.JSONField[list[str], list[str]]" = models.JSONField(default=list, blank=True)
    """Public keys that the form for a new VM begins with."""
    is_active = models.BooleanField(default=True)
    is_service = models.BooleanField(default=False, editable=False)
    """A service account (see ServiceAccount): it has tokens, and no way to sign in."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints = [
            models.UniqueConstraint(Lower("email"), name="user_email_once"),
            models.CheckConstraint(
                name="user_service_has_no_password",
                # As Django writes one that nothing matches.
                condition=Q(is_service=False) | Q(password__startswith="!"),  # noqa: S106
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.email
