"""A new password for who forgot the old one: a link by e-mail. A part of services.

The link is signed, not stored: it holds for an hour (PASSWORD_RESET_TIMEOUT), and until the
password is another or the person signs in. It is of a person, and needs no scope.
"""

from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.tokens import default_token_generator
from django.db import transaction
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode

from apps.tenants.models import User
from apps.tenants.people import check_password_strength
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import list_memberships
from apps.tenants.services import record_audit
from apps.tenants.sessions import forget_sessions


@dataclass(frozen=True, slots=True)
class ResetOffer:
    """Whose password a link sets."""

    user_id: int
    email: str


def make_reset_code(email: str) -> tuple[str, str] | None:
    """(address, code of the link); None where nobody who may sign in has this address."""
    user = User.objects.filter(email__iexact=email.strip(), is_active=True).first()
    if user is None:
        return None
    number = urlsafe_base64_encode(str(user.pk).encode())
    return user.email, f"{number}.{default_token_generator.make_token(user)}"


def find_reset(code: str) -> ResetOffer | None:
    """None for a link that is over, was used, or never was."""
    user = _user_of(code)
    return ResetOffer(user.pk, user.email) if user else None


@transaction.atomic
def reset_password(code: str, *, password: str, now: datetime) -> bool:
    """Set it; every session of the person ends, and each of their tenants' audit log says so.

    False where the link is over; raises InvalidTenantInputError for a weak password.
    """
    user = _user_of(code, lock=True)
    if user is None:
        return False
    check_password_strength(password)
    user.set_password(password)
    user.sign_outs += 1
    user.save(update_fields=["password", "sign_outs"])
    forget_sessions(user.pk)
    for membership in list_memberships(user.pk):
        with tenant_scope(membership.tenant_id):
            record_audit(
                actor=user.email,
                action="member.password_reset",
                subject=f"member:{user.email}"[:200],
                now=now,
            )
    return True


def _user_of(code: str, *, lock: bool = False) -> User | None:
    number, _, token = code.partition(".")
    try:
        user_id = int(urlsafe_base64_decode(number).decode())
    except (ValueError, OverflowError):
        return None
    if not 0 < user_id < 2**63:
        return None
    rows = User.objects.select_for_update() if lock else User.objects.all()
    user = rows.filter(pk=user_id, is_active=True).first()
    if user is None or not default_token_generator.check_token(user, token):
        return None
    return user
