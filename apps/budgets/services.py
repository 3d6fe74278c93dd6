"""The only writer of budgets. Reservations stand in holds.py, counters in rebuild.py."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db import IntegrityError, transaction

from apps.budgets.allowing import add_top_up, change_amount, withdraw_amount
from apps.budgets.book import OnLimit, read_choices
from apps.budgets.changing import check_amount, locked, record, tell_when_committed
from apps.budgets.core.amounts import Unit
from apps.budgets.core.periods import PeriodKind
from apps.budgets.errors import InvalidBudgetInput
from apps.budgets.expiry import sweep
from apps.budgets.holds import reserve
from apps.budgets.models import Budget, BudgetAmount, BudgetSettings
from apps.budgets.scope_names import scope_columns
from apps.budgets.settling import release, settle
from apps.pricing.core.money import plain_decimal
from apps.tenants.scoping import current_tenant_id
from apps.tenants.services import record_audit

__all__ = [
    "BudgetTermsInput",
    "add_top_up",
    "archive_budget",
    "change_amount",
    "change_budget",
    "create_budget",
    "release",
    "reserve",
    "set_choices",
    "settle",
    "sweep",
    "withdraw_amount",
]

WHILE_UNKNOWN: Final = ("refuse", "allow")
MIN_HOLD_SECONDS: Final = 5
MAX_HOLD_SECONDS: Final = 86_400
MAX_THRESHOLDS: Final = 10
MAX_THRESHOLD: Final = Decimal(1000)


@dataclass(frozen=True, slots=True)
class BudgetTermsInput:
    """What a person or the API asks for. `scope`: names by field, as routers send them."""

    scope: Mapping[str, str]
    period: PeriodKind
    unit: Unit
    amount: Decimal
    on_limit: OnLimit = "notify"
    name: str = ""
    rollover: bool = False
    thresholds: Sequence[Decimal] = ()
    projected_thresholds: Sequence[Decimal] = ()
    grant_start: datetime | None = None
    grant_end: datetime | None = None


def create_budget(wanted: BudgetTermsInput, *, actor: str, now: datetime) -> int:
    """Add a budget for the tenant in scope and return its id. It counts what its running period
    has spent already."""
    check_amount(wanted.amount, wanted.unit)
    _check_thresholds("thresholds", wanted.thresholds)
    _check_thresholds("projected_thresholds", wanted.projected_thresholds)
    _check_grant(wanted)
    columns = scope_columns(wanted.scope)
    try:
        with transaction.atomic():
            budget = Budget.objects.create(
                name=wanted.name or _name_of(wanted),
                period=wanted.period,
                unit=wanted.unit,
                on_limit=wanted.on_limit,
                rollover=wanted.rollover,
                thresholds=sorted(set(wanted.thresholds)),
                projected_thresholds=sorted(set(wanted.projected_thresholds)),
                grant_start=wanted.grant_start,
                grant_end=wanted.grant_end,
                created_at=now,
                created_by=actor,
                changed_at=now,
                **columns,
            )
    except IntegrityError as error:
        if "budget_once" not in str(error):
            raise
        raise InvalidBudgetInput(
            f"there is a budget in {wanted.unit} per {wanted.period} for this scope already that"
            f" does {wanted.on_limit} at its limit; change its amount, or archive it first",
            field="scope",
        ) from error
    BudgetAmount.objects.create(
        budget=budget, amount=wanted.amount, effective_from=now, recorded_at=now, actor=actor
    )
    record(budget, "budget.created", actor=actor, now=now, after=_terms_of(wanted))
    return budget.pk


def change_budget(
    budget_id: int,
    *,
    actor: str,
    now: datetime,
    name: str | None = None,
    on_limit: OnLimit | None = None,
    rollover: bool | None = None,
    thresholds: Sequence[Decimal] | None = None,
    projected_thresholds: Sequence[Decimal] | None = None,
) -> None:
    """Change what a budget does, not what it is about. None leaves as it is."""
    budget = locked(budget_id)
    wanted: dict[str, Any] = {"name": name, "on_limit": on_limit, "rollover": rollover}
    for field, values in (
        ("thresholds", thresholds),
        ("projected_thresholds", projected_thresholds),
    ):
        if values is not None:
            _check_thresholds(field, values)
            wanted[field] = sorted(set(values))
    changes = {
        field: value
        for field, value in wanted.items()
        if value is not None and value != getattr(budget, field)
    }
    if budget.period == "grant" and changes.get("rollover"):
        raise InvalidBudgetInput("a grant has no next period to roll over to", field="rollover")
    if not changes:
        return
    before = {field: _plain(getattr(budget, field)) for field in changes}
    for field, value in changes.items():
        setattr(budget, field, value)
    budget.changed_at = now
    try:
        with transaction.atomic():
            budget.save(update_fields=[*changes, "changed_at"])
    except IntegrityError as error:
        if "budget_once" not in str(error):
            raise
        raise InvalidBudgetInput(
            f"another budget of this scope, period and unit does {on_limit} at its limit already",
            field="on_limit",
        ) from error
    after = {field: _plain(value) for field, value in changes.items()}
    record(budget, "budget.changed", actor=actor, now=now, before=before, after=after)


def archive_budget(budget_id: int, *, actor: str, reason: str = "", now: datetime) -> None:
    """End a budget: it counts and refuses no more. Its history stays."""
    budget = locked(budget_id)
    budget.archived_at = budget.changed_at = now
    budget.save(update_fields=["archived_at", "changed_at"])
    after = {"reason": reason.strip()[:500]}
    record(budget, "budget.archived", actor=actor, now=now, after=after)


def set_choices(
    *,
    cloud_while_unknown: str,
    local_while_unknown: str,
    hold_seconds: int,
    actor: str,
    now: datetime,
) -> None:
    """What routers are told while the counters are rebuilt, and how long a hold lasts. Nothing is
    written down where it is so already."""
    _check_choices(cloud_while_unknown, local_while_unknown, hold_seconds)
    before = asdict(read_choices())
    BudgetSettings.objects.update_or_create(
        tenant_id=current_tenant_id(),
        defaults={
            "cloud_while_unknown": cloud_while_unknown,
            "local_while_unknown": local_while_unknown,
            "hold_seconds": hold_seconds,
        },
    )
    after = asdict(read_choices())
    if after == before:
        return
    record_audit(
        actor=actor,
        action="budget.settings",
        subject="budget_settings",
        before=before,
        after=after,
        now=now,
    )
    tell_when_committed(now)


def _check_choices(cloud: str, local: str, hold_seconds: int) -> None:
    for field, choice in (("cloud_while_unknown", cloud), ("local_while_unknown", local)):
        if choice not in WHILE_UNKNOWN:
            raise InvalidBudgetInput(f"{choice!r} is neither refuse nor allow", field=field)
    if not MIN_HOLD_SECONDS <= hold_seconds <= MAX_HOLD_SECONDS:
        raise InvalidBudgetInput(
            f"{hold_seconds} seconds: a hold lasts {MIN_HOLD_SECONDS} to {MAX_HOLD_SECONDS}",
            field="hold_seconds",
        )


def _check_thresholds(field: str, values: Sequence[Decimal]) -> None:
    if len(values) > MAX_THRESHOLDS:
        raise InvalidBudgetInput(f"{len(values)} thresholds; {MAX_THRESHOLDS} at most", field=field)
    for value in values:
        if not value.is_finite() or not 0 < value <= MAX_THRESHOLD:
            raise InvalidBudgetInput(
                f"{value} is not a threshold: percent, over 0 up to {MAX_THRESHOLD}", field=field
            )


def _check_grant(wanted: BudgetTermsInput) -> None:
    """A grant has dates, on whole quarter hours: what rollups can sum."""
    if wanted.period != "grant":
        if wanted.grant_start or wanted.grant_end:
            raise InvalidBudgetInput(
                f"a budget per {wanted.period} has no dates of its own; period grant has",
                field="grant_start",
            )
        return
    if wanted.grant_start is None or wanted.grant_end is None:
        raise InvalidBudgetInput("a grant needs its start and its end", field="grant_start")
    if wanted.grant_start >= wanted.grant_end:
        raise InvalidBudgetInput(
            f"it ends at {wanted.grant_end.isoformat()}, not after it starts", field="grant_end"
        )
    if wanted.rollover:
        raise InvalidBudgetInput("a grant has no next period to roll over to", field="rollover")
    for field, moment in (("grant_start", wanted.grant_start), ("grant_end", wanted.grant_end)):
        if moment.timestamp() % 900:
            raise InvalidBudgetInput(
                f"{moment.isoformat()} is not on a quarter of an hour", field=field
            )


def _name_of(wanted: BudgetTermsInput) -> str:
    about = ", ".join(f"{field} {name}" for field, name in sorted(wanted.scope.items()))
    return f"{about or 'Everything'} per {wanted.period}"[:200]


def _terms_of(wanted: BudgetTermsInput) -> dict[str, Any]:
    return {
        "scope": dict(wanted.scope),
        "period": wanted.period,
        "unit": wanted.unit,
        "amount": plain_decimal(wanted.amount),
        "on_limit": wanted.on_limit,
        "rollover": wanted.rollover,
        "thresholds": _plain(wanted.thresholds),
        "projected_thresholds": _plain(wanted.projected_thresholds),
        "grant_start": wanted.grant_start.isoformat() if wanted.grant_start else None,
        "grant_end": wanted.grant_end.isoformat() if wanted.grant_end else None,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [plain_decimal(Decimal(each)) for each in value]
    return value
