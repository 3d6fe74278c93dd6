"""The only reader of tenants, people, departments, customers and keys."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection

from apps.tenants.core.access import KeyIdentity, hash_secret
from apps.tenants.models import (
    ApiKey,
    AuditEntry,
    Customer,
    Department,
    Invitation,
    Member,
    Tenant,
    User,
)
from apps.tenants.scoping import once


@dataclass(frozen=True, slots=True)
class TenantInfo:
    id: int
    slug: str
    name: str
    time_zone: str
    currency: str
    books_closed_through: date | None = None
    country: str = ""
    locale: str = ""

    @property
    def books_open_from(self) -> datetime | None:
        """The first moment after the closed months; None while no month is closed."""
        if self.books_closed_through is None:
            return None
        first_day = self.books_closed_through + timedelta(days=1)
        return datetime.combine(first_day, time.min, self.zone)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    def local_date(self, moment: datetime) -> date:
        """The tenant's own calendar day at that moment."""
        return moment.astimezone(self.zone).date()


@dataclass(frozen=True, slots=True)
class Membership:
    tenant_id: int
    tenant_name: str
    role: str


@dataclass(frozen=True, slots=True)
class MemberInfo:
    """A person in the tenant in scope."""

    user_id: int
    email: str
    name: str
    role: str
    created_at: datetime
    last_sign_in_at: datetime | None


@dataclass(frozen=True, slots=True)
class InvitationInfo:
    """An offer that nobody took up yet; it may be too old by now."""

    id: int
    email: str
    role: str
    invited_by: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class CustomerInfo:
    id: int
    external_id: str
    name: str
    tier: str
    discovered: bool = False


@dataclass(frozen=True, slots=True)
class DepartmentInfo:
    id: int
    code: str
    name: str
    parent_id: int | None
    discovered: bool = False


@dataclass(frozen=True, slots=True)
class ApiKeyInfo:
    id: int
    name: str
    prefix: str
    scopes: Sequence[str]
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class AuditInfo:
    """Who did what, when; `subject` as in "rate:12"."""

    at: datetime
    actor: str
    action: str
    subject: str
    after: dict[str, Any] | None = None
    before: dict[str, Any] | None = None


def find_key(secret: str) -> KeyIdentity | None:
    """Whose key this is; None when unknown or revoked. Needs no scope."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM find_api_key(%s)", [hash_secret(secret)])
        row = cursor.fetchone()
    return KeyIdentity(row[0], row[1], row[2], frozenset(row[3])) if row else None


def list_memberships(user_id: int) -> list[Membership]:
    """The tenants a person may enter, by name. Needs no scope."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM memberships_of_user(%s)", [user_id])
        return [Membership(*row) for row in cursor.fetchall()]


def find_user_id(email: str) -> int | None:
    """The person with this e-mail address, whatever its case. Needs no scope."""
    return User.objects.filter(email__iexact=email).values_list("id", flat=True).first()


def list_tenant_ids() -> list[int]:
    """Every tenant, for work that visits each in turn. Needs no scope."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM every_tenant_id()")
        return [row[0] for row in cursor.fetchall()]


@once
def get_tenant() -> TenantInfo:
    """The tenant in scope."""
    columns = (
        *("id", "slug", "name", "time_zone", "currency", "books_closed_through", "country"),
        "locale",
    )
    return TenantInfo(*Tenant.objects.values_list(*columns).get())


def find_customer_id(external_id: str) -> int | None:
    """The customer that routers call so; None when there is none."""
    rows = Customer.objects.filter(external_id=external_id)
    return rows.values_list("id", flat=True).first()


def find_customer(external_id: str) -> CustomerInfo | None:
    """The customer that routers call so."""
    rows = Customer.objects.filter(external_id=external_id)
    row = rows.values_list("id", "external_id", "name", "tier", "discovered").first()
    return CustomerInfo(*row) if row else None


@once
def list_customers() -> list[CustomerInfo]:
    rows = Customer.objects.order_by("name").values_list(
        "id", "external_id", "name", "tier", "discovered"
    )
    return [CustomerInfo(*row) for row in rows]


@once
def list_departments() -> list[DepartmentInfo]:
    rows = Department.objects.order_by("name").values_list(
        "id", "code", "name", "parent_id", "discovered"
    )
    return [DepartmentInfo(*row) for row in rows]


@once
def list_api_keys() -> list[ApiKeyInfo]:
    rows = ApiKey.objects.order_by("-created_at", "-id").values_list(
        "id", "name", "prefix", "scopes", "created_at", "revoked_at"
    )
    return [ApiKeyInfo(*row) for row in rows]


def list_members() -> list[MemberInfo]:
    """The people in the tenant in scope, by e-mail."""
    rows = Member.objects.order_by("user__email").values_list(
        "user_id", "user__email", "user__name", "role", "created_at", "user__last_login"
    )
    return [MemberInfo(*row) for row in rows]


def list_invitations() -> list[InvitationInfo]:
    """Open offers to join, the newest first."""
    rows = Invitation.objects.filter(accepted_at=None, withdrawn_at=None).order_by("-created_at")
    columns = ("id", "email", "role", "invited_by", "created_at", "expires_at")
    return [InvitationInfo(*row) for row in rows.values_list(*columns)]


def list_audit(moments: Iterable[datetime]) -> list[AuditInfo]:
    """What was done at exactly these moments: changes carry the time of their audit entry."""
    rows = AuditEntry.objects.filter(at__in=set(moments)).order_by("id")
    return [
        AuditInfo(*row) for row in rows.values_list("at", "actor", "action", "subject", "after")
    ]


def list_audit_of(subject: str, *, limit: int) -> list[AuditInfo]:
    """What was done to one thing ("budget:12"), newest first."""
    rows = AuditEntry.objects.filter(subject=subject).order_by("-at", "-id")[:limit]
    columns = ("at", "actor", "action", "subject", "after", "before")
    return [AuditInfo(*row) for row in rows.values_list(*columns)]
