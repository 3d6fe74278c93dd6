"""The only writer of tenants, people, departments, customers, keys and the audit trail."""

import re
import secrets
from collections.abc import Iterable
from datetime import date, datetime
from functools import partial
from typing import Any
from zoneinfo import available_timezones

from django.db import connection, transaction
from django.utils.text import slugify

from apps.tenants.core.access import KEY_PREFIX, ROLES, SCOPES, SHOWN_PREFIX_LENGTH, hash_secret
from apps.tenants.errors import InvalidTenantInputError
from apps.tenants.key_memory import keys
from apps.tenants.locales import MAX_TAG_LENGTH, conventions_of
from apps.tenants.models import ApiKey, AuditEntry, Customer, Department, Member, Tenant, User
from apps.tenants.scoping import current_tenant_id, tenant_scope


def create_tenant(
    *,
    name: str,
    time_zone: str,
    now: datetime,
    currency: str = "USD",
    country: str = "",
    slug: str = "",
) -> int:
    """Create an organisation and return its id."""
    check_tenant_values(time_zone=time_zone, currency=currency, country=country)
    with connection.cursor() as cursor:
        # The wall asks for the scope before the row exists, so its id comes first.
        cursor.execute("SELECT nextval(pg_get_serial_sequence('tenants_tenant', 'id'))")
        (tenant_id,) = cursor.fetchone()
    with tenant_scope(tenant_id):
        Tenant.objects.create(
            id=tenant_id,
            slug=slug or f"{slugify(name)[:40]}-{tenant_id}",
            name=name,
            time_zone=time_zone,
            currency=currency,
            country=country,
            created_at=now,
        )
    return int(tenant_id)


def check_tenant_values(*, time_zone: str, currency: str, country: str) -> None:
    """Raises InvalidTenantInputError naming the one that cannot be taken."""
    if time_zone not in available_timezones():
        raise InvalidTenantInputError(
            f"{time_zone[:100]!r} is not an IANA time zone such as Europe/Berlin",
            field="time_zone",
        )
    if not re.fullmatch("[A-Z]{3}", currency):
        raise InvalidTenantInputError(
            f"{currency[:20]!r} is not an ISO currency such as EUR", field="currency"
        )
    if not re.fullmatch("([A-Z]{2}(-[A-Z0-9]{1,3})?)?", country):
        raise InvalidTenantInputError(
            f"{country[:20]!r} is not an ISO country such as DE, or a part of one such as DE-BY",
            field="country",
        )


def check_locale(tag: str) -> None:
    """Raises InvalidTenantInputError for what is no locale; none at all is fine."""
    if tag and (len(tag) > MAX_TAG_LENGTH or conventions_of(tag) is None):
        raise InvalidTenantInputError(f"{tag[:20]!r} is not a locale such as de-CH", field="locale")


def create_user(*, email: str, password: str, now: datetime, name: str = "") -> int:
    """Create a person who can sign in and return their id. The e-mail is kept in lower case."""
    user = User(email=email.strip().lower(), name=name, created_at=now)
    user.set_password(password)
    user.save()
    return user.pk


def add_member(*, user_id: int, role: str, now: datetime) -> None:
    """Give a person a role in the tenant in scope."""
    if role not in ROLES:
        raise InvalidTenantInputError(f"role is {role!r}; it is one of {ROLES}", field="role")
    Member.objects.create(user_id=user_id, role=role, created_at=now)


def create_department(
    *, code: str, name: str, now: datetime, parent_code: str | None = None
) -> int:
    """Add a cost centre to the tenant in scope and return its id."""
    parent = Department.objects.get(code__iexact=parent_code) if parent_code else None
    return Department.objects.create(code=code, name=name, parent=parent, created_at=now).pk


def create_customer(*, external_id: str, name: str, tier: str, now: datetime) -> int:
    """Add a customer to the tenant in scope and return its id."""
    return Customer.objects.create(external_id=external_id, name=name, tier=tier, created_at=now).pk


def ensure_departments(codes: Iterable[str], *, now: datetime) -> dict[str, int]:
    """Ids of the departments that usage names, by the code as given; unseen ones are added."""
    wanted = set(codes)
    Department.objects.bulk_create(
        [
            Department(
                tenant_id=current_tenant_id(), code=code, name=code, discovered=True, created_at=now
            )
            # In one order, so that two transactions that add the same codes cannot deadlock; of
            # several spellings the one in small letters stands.
            for code in sorted(wanted, key=lambda code: (code.lower(), code.swapcase()))
        ],
        ignore_conflicts=True,
    )
    # PostgreSQL says which codes are the same but for case: Python knows other rules for a few
    # letters, and would look for a department that was never added.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT given.code, known.id FROM unnest(%s::text[]) AS given (code)"
            " JOIN tenants_department AS known ON lower(known.code) = lower(given.code)"
            " WHERE known.tenant_id = %s",
            [list(wanted), current_tenant_id()],
        )
        return dict(cursor.fetchall())


def ensure_customers(external_ids: Iterable[str], *, now: datetime) -> dict[str, int]:
    """Ids of the customers that usage names; unseen ones are added in the standard tier."""
    wanted = set(external_ids)
    Customer.objects.bulk_create(
        [
            Customer(
                tenant_id=current_tenant_id(),
                external_id=external_id,
                name=external_id,
                discovered=True,
                created_at=now,
            )
            for external_id in sorted(wanted)
        ],
        ignore_conflicts=True,
    )
    rows = Customer.objects.filter(external_id__in=wanted).values_list("external_id", "id")
    return dict(rows)


def issue_api_key(*, name: str, scopes: Iterable[str], actor: str, now: datetime) -> str:
    """Make a key for the tenant in scope. The returned secret is never to be had again."""
    chosen = [scope for scope in SCOPES if scope in set(scopes)]
    unknown = set(scopes) - set(SCOPES)
    if unknown or not chosen:
        raise InvalidTenantInputError(
            f"scopes are some of {', '.join(SCOPES)}; got {sorted(scopes)}", field="scopes"
        )
    secret = KEY_PREFIX + secrets.token_urlsafe(32)
    key = ApiKey.objects.create(
        name=name,
        prefix=secret[:SHOWN_PREFIX_LENGTH],
        secret_hash=hash_secret(secret),
        scopes=chosen,
        created_at=now,
    )
    record_audit(
        actor=actor,
        action="api_key.issued",
        subject=f"api_key:{key.pk}",
        after={"name": name, "scopes": chosen},
        now=now,
    )
    return secret


def revoke_api_key(*, api_key_id: int, actor: str, now: datetime) -> None:
    """Refuse this key: from now on here, within a second everywhere. Twice changes nothing."""
    changed = ApiKey.objects.filter(pk=api_key_id, revoked_at=None).update(revoked_at=now)
    if changed:
        record_audit(
            actor=actor, action="api_key.revoked", subject=f"api_key:{api_key_id}", now=now
        )
        transaction.on_commit(partial(keys.forget, api_key_id))


def write_books_closed_through(day: date | None) -> None:
    """Set the last day of the closed months of the tenant in scope; None opens them all.

    What closing means for a domain, and its audit, are that domain's.
    """
    Tenant.objects.update(books_closed_through=day)


def record_audit(
    *,
    actor: str,
    action: str,
    subject: str,
    now: datetime,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Write down who did what, in the caller's transaction."""
    AuditEntry.objects.create(
        at=now, actor=actor, action=action, subject=subject, before=before, after=after
    )
