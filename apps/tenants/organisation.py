"""Departments and customers as people change them, audited. A part of services.

None is removed: usage names them, and its charges stay for good. One that was made by mistake is
renamed, or hung elsewhere.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal

from django.db import IntegrityError, transaction

from apps.tenants.core.department_tree import MAX_LENGTH, WantedDepartment, wrong_move
from apps.tenants.errors import DepartmentCycleError, InvalidTenantInputError
from apps.tenants.models import Customer, Department, Tenant
from apps.tenants.services import (
    check_locale,
    check_tenant_values,
    create_customer,
    create_department,
    record_audit,
)

TIERS: Final = tuple(Customer.Tier.values)
KEEP: Final = "\0keep"
What = Literal["department", "customer"]


def change_tenant(
    *, name: str, currency: str, country: str, locale: str = "", actor: str, now: datetime
) -> None:
    """Call the organisation otherwise, report in another currency, keep other holidays, write
    figures otherwise. Its time
    zone stays: every day of the past was cut by it."""
    tenant = Tenant.objects.select_for_update(no_key=True).get()
    name = _text(name, "name")
    check_tenant_values(time_zone=tenant.time_zone, currency=currency, country=country)
    check_locale(locale)
    after = {"name": name, "currency": currency, "country": country, "locale": locale}
    before = {field: getattr(tenant, field) for field in after}
    if after == before:
        return
    Tenant.objects.update(**after)
    record_audit(
        actor=actor,
        action="tenant.changed",
        subject=f"tenant:{tenant.pk}",
        before=before,
        after=after,
        now=now,
    )


def add_department(
    *, code: str, name: str, parent_code: str | None, actor: str, now: datetime
) -> None:
    """Add a cost centre below another, or at the top."""
    code, name = _text(code, "code"), _text(name or code, "name")
    _lock_tenant()
    parents = _parents()
    parent = _department(parent_code, "parent") if parent_code else None
    # A new one is at the foot of the tree: numbers start at 1.
    _check_move({**parents, 0: None}, 0, parent)
    try:
        with transaction.atomic():
            create_department(code=code, name=name, parent_code=parent_code, now=now)
    except IntegrityError as error:
        raise InvalidTenantInputError(f"there is a department {code} already", field="code") from (
            error
        )
    after = {"code": code, "name": name, "parent": parent_code}
    _audit("department", code, "added", actor, now, after=after)


def add_departments(wanted: Sequence[WantedDepartment], *, actor: str, now: datetime) -> int:
    """Add those that are not there yet; return how many. A second time adds none."""
    known = {code.lower() for code in Department.objects.values_list("code", flat=True)}
    missing = [one for one in wanted if one.code.lower() not in known]
    for one in missing:
        add_department(
            code=one.code, name=one.name, parent_code=one.parent_code, actor=actor, now=now
        )
    return len(missing)


def change_department(
    *, code: str, actor: str, now: datetime, name: str = KEEP, parent_code: str | None = KEEP
) -> None:
    """Call it otherwise, or hang it elsewhere (None: at the top). What routers call it stays."""
    _lock_tenant()
    department = _department(code, "code")
    before = _department_values(department)
    if name != KEEP:
        department.name = _text(name, "name")
    if parent_code != KEEP:
        parent = _department(parent_code, "parent") if parent_code else None
        _check_move(_parents(), department.pk, parent)
        department.parent = parent
    after = _department_values(department)
    if after == before:
        return
    department.discovered = False
    department.save(update_fields=["name", "parent", "discovered"])
    _audit("department", department.code, "changed", actor, now, before=before, after=after)


def add_customer(*, external_id: str, name: str, tier: str, actor: str, now: datetime) -> None:
    """Add somebody the tenant serves, by the id that usage will carry."""
    external_id = _text(external_id, "id")
    name = _text(name or external_id, "name")
    _check_tier(tier)
    try:
        with transaction.atomic():
            create_customer(external_id=external_id, name=name, tier=tier, now=now)
    except IntegrityError as error:
        raise InvalidTenantInputError(
            f"there is a customer {external_id} already", field="id"
        ) from error
    after = {"external_id": external_id, "name": name, "tier": tier}
    _audit("customer", external_id, "added", actor, now, after=after)


def change_customer(
    *, external_id: str, actor: str, now: datetime, name: str = KEEP, tier: str = KEEP
) -> None:
    """Call them otherwise, or put them into another tier. A tier holds for all their usage, that
    of the past too: it is told by who it was for."""
    customer = Customer.objects.select_for_update().filter(external_id=external_id).first()
    if customer is None:
        raise InvalidTenantInputError(f"no customer has the id {external_id[:100]!r}", field="id")
    before = {"name": customer.name, "tier": customer.tier}
    if name != KEEP:
        customer.name = _text(name, "name")
    if tier != KEEP:
        _check_tier(tier)
        customer.tier = tier
    after = {"name": customer.name, "tier": customer.tier}
    if after == before:
        return
    customer.discovered = False
    customer.save(update_fields=["name", "tier", "discovered"])
    _audit("customer", external_id, "changed", actor, now, before=before, after=after)


def _department(code: str, field: str) -> Department:
    found = Department.objects.select_related("parent").filter(code__iexact=code).first()
    if found is None:
        raise InvalidTenantInputError(f"there is no department {code[:100]!r}", field=field)
    return found


def _department_values(department: Department) -> dict[str, Any]:
    parent = department.parent
    return {"name": department.name, "parent": parent.code if parent else None}


def _parents() -> dict[int, int | None]:
    return dict(Department.objects.values_list("id", "parent_id"))


def _check_move(parents: dict[int, int | None], moved: int, parent: Department | None) -> None:
    wrong = wrong_move(parents, moved, parent.pk if parent else None)
    if wrong:
        raise DepartmentCycleError(f"it cannot hang there: {wrong}", field="parent")


def _check_tier(tier: str) -> None:
    if tier not in TIERS:
        raise InvalidTenantInputError(f"tier is one of {', '.join(TIERS)}", field="tier")


def _text(text: str, field: str) -> str:
    text = text.strip()
    if not text or len(text) > MAX_LENGTH or "\0" in text:
        raise InvalidTenantInputError(f"{field} has 1 to {MAX_LENGTH} characters", field=field)
    return text


def _lock_tenant() -> None:
    """Two moves at once could make a ring of what each of them may do alone."""
    Tenant.objects.select_for_update(no_key=True).get()


def _audit(
    what: What,
    name: str,
    verb: str,
    actor: str,
    now: datetime,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    record_audit(
        actor=actor,
        action=f"{what}.{verb}",
        subject=f"{what}:{name}"[:200],
        before=before,
        after=after,
        now=now,
    )
