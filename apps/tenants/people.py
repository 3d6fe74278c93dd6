"""People of a tenant: inviting them, their roles, removing them. A part of services.

Every change locks the tenant's row first, so that two owners who demote each other at the same
moment do not leave it without one.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import connection
from django.db.models import QuerySet

from apps.tenants.core.access import ROLES, Role, hash_secret, may_manage
from apps.tenants.errors import InvalidTenantInputError, InvitationEndedError, NotAllowedError
from apps.tenants.models import Invitation, Member, Tenant, User
from apps.tenants.scoping import tenant_scope
from apps.tenants.services import add_member, check_locale, create_user, record_audit
from apps.tenants.sessions import forget_sessions

INVITATION_DAYS: Final = 7
MAX_OPEN_INVITATIONS: Final = 100
MAX_NAME_LENGTH: Final = 200
MAX_PASSWORD_LENGTH: Final = 256
Roles = dict[str, str] | None


@dataclass(frozen=True, slots=True)
class InvitationOffer:
    """What a link offers; `has_account` when its e-mail belongs to somebody who signs in."""

    id: int
    tenant_id: int
    tenant_name: str
    email: str
    role: str
    has_account: bool


def invite(*, email: str, role: str, actor: str, now: datetime) -> str:
    """Offer a place in the tenant in scope; return the link's token, never to be had again.

    A newer invitation of the same address takes the older one's place.
    """
    email = check_email(email)
    _check_role(role, _lock_tenant(actor))
    if Member.objects.filter(user__email__iexact=email).exists():
        raise InvalidTenantInputError(f"{email} is a member already", field="email")
    others = _open_invitations().exclude(email__iexact=email)
    if others.filter(expires_at__gt=now).count() >= MAX_OPEN_INVITATIONS:
        raise InvalidTenantInputError(
            f"{MAX_OPEN_INVITATIONS} invitations are open; withdraw some first", field="email"
        )
    _open_invitations().filter(email__iexact=email).update(withdrawn_at=now)
    token = secrets.token_urlsafe(32)
    Invitation.objects.create(
        email=email,
        role=role,
        token_hash=hash_secret(token),
        invited_by=actor,
        created_at=now,
        expires_at=now + timedelta(days=INVITATION_DAYS),
    )
    _audit("member.invited", email, actor, now, after={"role": role})
    return token


def withdraw_invitation(*, invitation_id: int, actor: str, now: datetime) -> None:
    """Take back an open offer; a second time changes nothing."""
    own_role = _lock_tenant(actor)
    offered = _open_invitations().filter(pk=invitation_id).first()
    if offered is None:
        return
    _check_role(offered.role, own_role)
    offered.withdrawn_at = now
    offered.save(update_fields=["withdrawn_at"])
    _audit("member.invitation_withdrawn", offered.email, actor, now)


def find_invitation(token: str, *, now: datetime) -> InvitationOffer:
    """What this link offers. Needs no scope. Raises InvitationEndedError when it offers nothing."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM find_invitation(%s, %s)", [hash_secret(token), now])
        row = cursor.fetchone()
    if row is None:
        raise InvitationEndedError("this invitation was used, withdrawn, or is too old")
    offer_id, tenant_id, tenant_name, email, role = row
    has_account = User.objects.filter(email__iexact=email).exists()
    return InvitationOffer(offer_id, tenant_id, tenant_name, email, role, has_account)


def accept_invitation(token: str, *, user_id: int, now: datetime) -> InvitationOffer:
    """Make the person it was made out to a member. Needs no scope.

    Raises NotAllowedError for somebody else, InvitationEndedError when it was used meanwhile.
    """
    offer = find_invitation(token, now=now)
    user = User.objects.get(pk=user_id)
    if user.email.lower() != offer.email.lower():
        raise NotAllowedError(f"this invitation is for {offer.email}, not for {user.email}")
    with tenant_scope(offer.tenant_id):
        _lock_tenant()
        if not _open_invitations().filter(pk=offer.id).update(accepted_at=now):
            raise InvitationEndedError("this invitation was used or withdrawn a moment ago")
        if not Member.objects.filter(user_id=user_id).exists():
            add_member(user_id=user_id, role=offer.role, now=now)
            _audit("member.joined", user.email, user.email, now, after={"role": offer.role})
    return offer


def accept_as_new_person(token: str, *, name: str, password: str, now: datetime) -> int:
    """Make an account for the invited address, and a member of it; return the user's id."""
    offer = find_invitation(token, now=now)
    if offer.has_account:
        raise NotAllowedError(f"{offer.email} has an account: sign in with it first")
    check_password_strength(password)
    # One transaction: an account that joined nothing would stand in the way of the next try.
    with tenant_scope(offer.tenant_id):
        user_id = create_user(
            email=offer.email, password=password, name=name.strip()[:MAX_NAME_LENGTH], now=now
        )
        accept_invitation(token, user_id=user_id, now=now)
    return user_id


def change_role(*, user_id: int, role: str, actor: str, now: datetime) -> None:
    """Give a member another role. Raises NotAllowedError where that is not the actor's to do, or
    the last owner would be none."""
    own_role = _lock_tenant(actor)
    member = _member(user_id)
    if member.role == role:
        return
    _check_role(member.role, own_role)
    _check_role(role, own_role)
    _keep_an_owner(member)
    before, after = {"role": member.role}, {"role": role}
    member.role = role
    member.save(update_fields=["role"])
    _audit("member.role_changed", member.user.email, actor, now, before=before, after=after)


def remove_member(*, user_id: int, actor: str, now: datetime) -> None:
    """Take a person out of the tenant, at once; everybody may leave but the last owner."""
    own_role = _lock_tenant(actor)
    member = _member(user_id)
    if member.user.email != actor:
        _check_role(member.role, own_role)
    _keep_an_owner(member)
    before = {"role": member.role}
    email = member.user.email
    member.delete()
    _audit("member.removed", email, actor, now, before=before)


def change_password(
    *, user_id: int, password: str, actor: str, now: datetime, this_session: str = ""
) -> None:
    """Set a password; every session of the person but the caller's own ends by it."""
    check_password_strength(password)
    user = User.objects.get(pk=user_id)
    user.set_password(password)
    user.save(update_fields=["password"])
    forget_sessions(user_id, but=this_session)
    _audit("member.password_changed", user.email, actor, now)


def set_locale(*, user_id: int, locale: str) -> None:
    """How figures are written for a person; empty: as their browser asks. Nobody else's affair, so
    not audited."""
    check_locale(locale)
    User.objects.filter(pk=user_id).update(locale=locale)


def sign_out_everywhere(*, user_id: int, actor: str, now: datetime) -> None:
    """End every session of a person."""
    user = User.objects.select_for_update().get(pk=user_id)
    user.sign_outs += 1
    user.save(update_fields=["sign_outs"])
    forget_sessions(user_id)
    _audit("member.signed_out_everywhere", user.email, actor, now)


def check_password_strength(password: str) -> None:
    """Raises InvalidTenantInputError that says what a password needs."""
    if len(password) > MAX_PASSWORD_LENGTH:
        raise InvalidTenantInputError(
            f"a password has at most {MAX_PASSWORD_LENGTH} characters", field="password"
        )
    try:
        validate_password(password)
    except ValidationError as error:
        raise InvalidTenantInputError(
            " ".join(error.messages).rstrip("."), field="password"
        ) from error


def check_email(email: str) -> str:
    """As it is kept. Raises InvalidTenantInputError for what is no address."""
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError as error:
        raise InvalidTenantInputError(
            f"{email[:100]!r} is not an e-mail address", field="email"
        ) from error
    return email


def _check_role(role: str, own_role: str) -> None:
    if role not in ROLES:
        raise InvalidTenantInputError(f"role is {role!r}; it is one of {ROLES}", field="role")
    if not may_manage(own_role, role):
        raise NotAllowedError(f"{_article(own_role)} does not decide about {role}s; an owner does")


def _article(role: str) -> str:
    return f"{'a' if role == 'viewer' else 'an'} {role}"


def _lock_tenant(actor: str = "") -> str:
    """The actor's role as it is once nobody else changes roles; empty when they have none."""
    # NO KEY: usage that is being written refers to this row, and must not wait.
    Tenant.objects.select_for_update(no_key=True).get()
    own = Member.objects.filter(user__email=actor).values_list("role", flat=True).first()
    return own or ""


def _open_invitations() -> QuerySet[Invitation]:
    return Invitation.objects.filter(accepted_at=None, withdrawn_at=None)


def _member(user_id: int) -> Member:
    member = Member.objects.select_related("user").filter(user_id=user_id).first()
    if member is None:
        raise InvalidTenantInputError("this person is no member any more", field="user_id")
    return member


def _keep_an_owner(member: Member) -> None:
    """What is done to the only owner would leave nobody who may do it back."""
    role: Role = "owner"
    if member.role == role and Member.objects.filter(role=role).count() == 1:
        raise NotAllowedError(
            f"{member.user.email} is the only owner; make somebody else owner first"
        )


def _audit(
    action: str, email: str, actor: str, now: datetime, *, before: Roles = None, after: Roles = None
) -> None:
    record_audit(
        actor=actor,
        action=action,
        subject=f"member:{email}"[:200],
        before=before,
        after=after,
        now=now,
    )
