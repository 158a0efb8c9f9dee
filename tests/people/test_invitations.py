"""Invitations: what they give, to whom, and when they give nothing."""

from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from tenants.actor import Actor
from tenants.errors import InvalidInputError, NameTakenError
from tenants.models import AuditEvent, Invitation, Membership, Role, User
from tenants.scope import NOTHING, scope_of
from tenants.services.invitation_mail import invitation_mail
from tenants.services.invitations import (
    AccountExistsError,
    InvitationClosedError,
    OtherAccountError,
    RoleBeyondOwnError,
    invitation_accept,
    invitation_accept_new,
    invitation_by_secret,
    invitation_create,
    invitation_renew,
    invitation_revoke,
    roles_for,
)
from tenants.services.limits import TooOftenError
from tests.factories import CustomerFactory, MembershipFactory, MspFactory, UserFactory

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"
NOBODY = Actor(user=None, ip="192.0.2.7")


@pytest.fixture(autouse=True)
def _fresh_limits():
    from django.core.cache import cache

    cache.clear()


@pytest.fixture
def customer():
    return CustomerFactory(parent=MspFactory(name="Northwind"), name="Alder Ltd")


@pytest.fixture
def admin(customer):
    return MembershipFactory(tenant=customer, role="customer-administrator").user


def role(slug):
    return Role.objects.get(tenant=None, slug=slug)


def invite(admin, customer, email="new@example.com", slug="customer-operator", **options):
    with scope_of(admin):
        return invitation_create(
            actor=Actor(user=admin), tenant=customer, role=role(slug), email=email, **options
        )


def accept_new(secret, name="New Person"):
    with NOTHING:
        return invitation_accept_new(actor=NOBODY, secret=secret, name=name, password=PASSWORD)


def test_an_invitation_changes_nothing_until_it_is_accepted(admin, customer):
    people, members = User.objects.count(), Membership.objects.count()
    invitation, secret = invite(admin, customer)
    assert (User.objects.count(), Membership.objects.count()) == (people, members)
    assert invitation.state == "open"
    assert secret not in str(Invitation.objects.values().get())


def test_whoever_accepts_gets_an_account_with_the_role_and_its_end(admin, customer):
    ends = timezone.now() + timedelta(days=30)
    _, secret = invite(admin, customer, "New@Example.com", membership_expires_at=ends)
    membership, user = accept_new(secret)
    assert user.email == "new@example.com"
    assert user.name == "New Person"
    assert user.check_password(PASSWORD)
    assert membership.role == role("customer-operator")
    assert membership.tenant == customer
    assert membership.expires_at == ends
    event = AuditEvent.objects.filter(action="invitation.accept").get()
    assert (event.actor, event.ip, event.tenant) == (user, "192.0.2.7", customer)


def test_a_link_works_once(admin, customer):
    _, secret = invite(admin, customer)
    accept_new(secret)
    with pytest.raises(InvitationClosedError, match=r"accepted already.*sign in"):
        accept_new(secret)


def test_who_has_an_account_accepts_as_that_account(admin, customer):
    person = UserFactory(email="here@example.com")
    _, secret = invite(admin, customer, "Here@example.com")
    with pytest.raises(AccountExistsError, match="Sign in"):
        accept_new(secret)
    with scope_of(person):
        invitation_accept(actor=Actor(user=person), secret=secret)
    assert Membership.objects.permissions_of(person, customer) >= {"vm.power"}


def test_who_is_signed_in_as_somebody_else_is_told_so(admin, customer):
    stranger = UserFactory()
    _, secret = invite(admin, customer)
    with scope_of(stranger), pytest.raises(OtherAccountError, match="Sign out"):
        invitation_accept(actor=Actor(user=stranger), secret=secret)
    assert not Membership.objects.filter(user=stranger).exists()


def test_inviting_tells_nothing_of_an_account_elsewhere(admin, customer):
    MembershipFactory(user=UserFactory(email="elsewhere@example.com"))
    known, _ = invite(admin, customer, "elsewhere@example.com")
    unknown, _ = invite(admin, customer, "unknown@example.com")
    fields = {"id", "email", "hash", "created_at", "sent_at", "expires_at"}
    looks = [
        {key: value for key, value in vars(row).items() if key[0] != "_" and key not in fields}
        for row in (known, unknown)
    ]
    assert looks[0] == looks[1]


def test_who_is_a_member_with_this_role_is_not_invited_again(admin, customer):
    with pytest.raises(NameTakenError, match="already"):
        invite(admin, customer, admin.email, "customer-administrator")


def test_the_same_invitation_twice_is_refused_in_words(admin, customer):
    invite(admin, customer)
    with pytest.raises(NameTakenError, match="invited already"):
        invite(admin, customer, "NEW@example.com")
    invite(admin, customer, slug="customer-viewer")


@pytest.mark.parametrize("slug", ["msp-owner", "msp-technician"])
def test_nobody_gives_more_than_they_hold(admin, customer, slug):
    with pytest.raises(RoleBeyondOwnError):
        invite(admin, customer, slug=slug)
    with scope_of(admin):
        assert not roles_for(admin, customer).filter(slug=slug).exists()


def test_nobody_gives_a_role_of_a_tenant_that_is_none_of_theirs(admin, customer):
    other = Role.objects.create(
        tenant=CustomerFactory(), slug="x", name="X", permissions=["vm.view"]
    )
    with scope_of(admin), pytest.raises(RoleBeyondOwnError):
        invitation_create(actor=Actor(user=admin), tenant=customer, role=other, email="a@b.example")


def _left(admin, customer):
    Membership.objects.filter(user=admin).update(expires_at=timezone.now())


def _narrowed(admin, customer):
    Membership.objects.filter(user=admin).update(role=role("customer-operator"))


def _closed(admin, customer):
    User.objects.filter(pk=admin.pk).update(is_active=False)


def _deleted(admin, customer):
    admin.delete()


@pytest.mark.parametrize("fate", [_left, _narrowed, _closed, _deleted])
def test_when_the_inviter_may_no_more_the_link_opens_nothing(admin, customer, fate):
    _, secret = invite(admin, customer)
    fate(admin, customer)
    with pytest.raises(InvitationClosedError, match=r"Ask the administrators of Alder Ltd"):
        accept_new(secret)
    assert not User.objects.filter(email="new@example.com").exists()


def test_an_expired_link_says_so_and_can_be_sent_anew(admin, customer):
    invitation, old = invite(admin, customer)
    now = timezone.now()
    Invitation.objects.update(sent_at=now - timedelta(days=7), expires_at=now)
    with NOTHING, pytest.raises(InvitationClosedError, match="expired"):
        invitation_by_secret(old)
    with scope_of(admin):
        _, new = invitation_renew(actor=Actor(user=admin), invitation=invitation)
    with NOTHING, pytest.raises(InvitationClosedError, match="newest message"):
        invitation_by_secret(old)
    accept_new(new)


def test_what_was_taken_back_opens_nothing(admin, customer):
    invitation, secret = invite(admin, customer)
    with scope_of(admin):
        invitation_revoke(actor=Actor(user=admin), invitation=invitation)
        with pytest.raises(InvitationClosedError, match="taken back already"):
            invitation_renew(actor=Actor(user=admin), invitation=invitation)
    with pytest.raises(InvitationClosedError, match="taken back"):
        accept_new(secret)
    # And the address can be invited again.
    invite(admin, customer)


def test_a_time_that_is_over_gives_nothing(admin, customer):
    with pytest.raises(InvalidInputError, match="over"):
        invite(admin, customer, membership_expires_at=timezone.now())
    _, secret = invite(admin, customer)
    Invitation.objects.update(membership_expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(InvitationClosedError, match="over"):
        accept_new(secret)


def test_an_account_that_was_closed_opens_again_with_a_new_password(admin, customer):
    gone = UserFactory(email="gone@example.com", is_active=False)
    before = gone.get_session_auth_hash()
    _, secret = invite(admin, customer, "gone@example.com")
    _, user = accept_new(secret, "Back Again")
    assert user.pk == gone.pk
    assert user.is_active
    assert user.name == "Back Again"
    assert user.get_session_auth_hash() != before


def test_an_invitation_never_cuts_short_what_is_held(admin, customer):
    person = UserFactory(email="here@example.com")
    _, secret = invite(
        admin, customer, person.email, membership_expires_at=timezone.now() + timedelta(days=1)
    )
    held = MembershipFactory(user=person, tenant=customer, role="customer-operator")
    with scope_of(person):
        invitation_accept(actor=Actor(user=person), secret=secret)
    held.refresh_from_db()
    assert held.expires_at is None


def test_an_ended_membership_comes_back_by_invitation(admin, customer):
    person = UserFactory(email="here@example.com")
    held = MembershipFactory(user=person, tenant=customer, role="customer-operator")
    Membership.objects.filter(pk=held.pk).update(expires_at=timezone.now() - timedelta(days=9))
    _, secret = invite(admin, customer, person.email)
    with scope_of(person):
        invitation_accept(actor=Actor(user=person), secret=secret)
    held.refresh_from_db()
    assert held.expires_at is None


def test_one_address_is_not_flooded(admin, customer):
    invitation, _ = invite(admin, customer)
    with scope_of(admin):
        for _ in range(4):
            invitation_renew(actor=Actor(user=admin), invitation=invitation)
        with pytest.raises(TooOftenError, match="within an hour"):
            invitation_renew(actor=Actor(user=admin), invitation=invitation)


def test_the_message_says_who_invites_to_what_until_when(admin, customer, settings):
    settings.BASALT_ORIGIN = "https://portal.example"
    admin.name = "Mia\r\nBcc: all@example.com"
    admin.save()
    ends = timezone.now() + timedelta(days=400)
    invitation, secret = invite(admin, customer, membership_expires_at=ends)
    assert invitation_mail(invitation=invitation, secret=secret)
    [message] = mail.outbox
    assert message.to == ["new@example.com"]
    assert message.subject == "Invitation to Alder Ltd"
    assert f"Mia Bcc: all@example.com ({admin.email}) invites you to Alder Ltd" in message.body
    assert f"“Customer operator” until {ends:%A} {ends.day} {ends:%b} {ends.year}" in message.body
    assert f"https://portal.example/invited/{secret}/" in message.body
    invitation.refresh_from_db()
    assert invitation.mailed


def test_without_a_mail_server_nothing_is_sent_and_that_is_said(admin, customer, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    invitation, secret = invite(admin, customer)
    assert not invitation_mail(invitation=invitation, secret=secret)
    assert not Invitation.objects.get().mailed


def test_a_mail_server_that_does_not_answer_is_no_error(admin, customer, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    invitation, secret = invite(admin, customer)
    assert not invitation_mail(invitation=invitation, secret=secret)
