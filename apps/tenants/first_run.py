"""The first account and organisation of an empty installation. A part of services; needs no scope.

Whoever reaches a fresh installation first must not own it: it takes the set-up token, which stands
on the server's own terminal (`manage.py setup_link`, and the output of `migrate`). It follows from
SECRET_KEY, so that every web process knows it and nothing is kept, and opens nothing as soon as
there is an account.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import connection, transaction
from django.utils.crypto import constant_time_compare, salted_hmac

from apps.tenants.errors import InvalidTenantInputError, NotAllowedError
from apps.tenants.models import User
from apps.tenants.people import check_email, check_password_strength
from apps.tenants.scoping import tenant_scope
from apps.tenants.services import add_member, create_tenant, create_user, record_audit

# Any number: who sets up takes turns.
LOCK: Final = 4_083_551
MAX_NAME_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class FirstAccount:
    """Who sets up, and what for. `country` is an ISO code, or empty where the time zone tells."""

    email: str
    password: str
    person: str
    organisation: str
    time_zone: str
    currency: str
    country: str = ""


def needs_setup() -> bool:
    """Whether nobody can sign in yet."""
    return not User.objects.exists()


def setup_token() -> str:
    return salted_hmac("costboard.setup", "the first account", algorithm="sha256").hexdigest()


def is_setup_token(given: str) -> bool:
    return constant_time_compare(given, setup_token())


@transaction.atomic
def set_up(token: str, wanted: FirstAccount, *, now: datetime) -> tuple[int, int]:
    """Make the first account, owner of the first tenant; return both ids.

    Raises NotAllowedError with another token or once there is an account, InvalidTenantInputError
    for what cannot be taken.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    if not is_setup_token(token) or not needs_setup():
        raise NotAllowedError("this installation is set up already, or the link is another's")
    email = check_email(wanted.email)
    organisation = wanted.organisation.strip()
    if not 0 < len(organisation) <= MAX_NAME_LENGTH:
        raise InvalidTenantInputError(
            f"the name has 1 to {MAX_NAME_LENGTH} characters", field="organisation"
        )
    check_password_strength(wanted.password)
    tenant_id = create_tenant(
        name=organisation,
        time_zone=wanted.time_zone,
        currency=wanted.currency,
        country=wanted.country,
        now=now,
    )
    user_id = create_user(
        email=email, password=wanted.password, name=wanted.person[:MAX_NAME_LENGTH], now=now
    )
    with tenant_scope(tenant_id):
        add_member(user_id=user_id, role="owner", now=now)
        record_audit(
            actor=email,
            action="tenant.created",
            subject=f"tenant:{tenant_id}",
            after={
                "name": organisation,
                "time_zone": wanted.time_zone,
                "currency": wanted.currency,
                "country": wanted.country,
            },
            now=now,
        )
    return user_id, tenant_id
