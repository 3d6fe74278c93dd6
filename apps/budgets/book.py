"""A tenant's budgets in this process's memory: read anew within a second of a change. Part of
selectors."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal, cast

from django.db import connection
from django.db.models import Count, Max

from apps.budgets.core.amounts import (
    DatedAmount,
    TopUp,
    Unit,
    amount_in_force,
    seen_at,
    topped_up,
)
from apps.budgets.core.periods import Calendar, Period, PeriodKind
from apps.budgets.core.scopes import Attributes, Scope, ScopeIndex
from apps.budgets.models import Budget, BudgetAmount, BudgetSettings, BudgetTopUp
from apps.pricing.selectors import list_backends
from apps.tenants.remembered import Remembered
from apps.tenants.scoping import current_tenant_id, tenant_scope
from apps.tenants.selectors import get_tenant, list_departments
from apps.usage.commits import Place

OnLimit = Literal["notify", "throttle", "refuse"]
MAX_PLACES: Final = 100_000


@dataclass(frozen=True, slots=True)
class BudgetTerms:
    """One budget, whole."""

    id: int
    name: str
    scope: Scope
    unit: Unit
    calendar: Calendar
    on_limit: OnLimit
    rollover: bool
    thresholds: tuple[Decimal, ...]
    projected_thresholds: tuple[Decimal, ...]
    created_at: datetime
    amounts: tuple[DatedAmount, ...]
    top_ups: tuple[TopUp, ...]

    @property
    def is_cap(self) -> bool:
        return self.on_limit == "refuse"

    def allowed(self, period: Period, now: datetime) -> Decimal:
        """The amount and top-ups of a period as they stand now, without what it inherited."""
        moment = seen_at(period, now)
        amount = amount_in_force(self.amounts, moment)
        if amount is None:
            # Begun before the budget was: its first amount is the whole period's.
            first = min(self.amounts, key=lambda dated: dated.effective_from, default=None)
            amount = first.amount if first else Decimal(0)
        return amount + topped_up(self.top_ups, moment)


@dataclass(frozen=True, slots=True)
class Choices:
    """What a tenant wants while its counters are not known."""

    cloud_while_unknown: str = "refuse"
    local_while_unknown: str = "allow"
    hold_seconds: int = 600


@dataclass(frozen=True, slots=True)
class BackendTerms:
    """What a backend is, whatever name its model was reported by."""

    id: int
    key: str
    provider: str
    model: str
    kind: str


@dataclass(frozen=True)
class BudgetBook:
    """A tenant's budgets, and what their scopes are about, as they stood when this was read.

    `departments`: id by code in lower case.
    """

    tenant_id: int
    fingerprint: tuple[object, ...]
    budgets: dict[int, BudgetTerms]
    backends: dict[int, BackendTerms]
    backends_by_key: dict[str, BackendTerms]
    departments: dict[str, int]
    choices: Choices
    index: ScopeIndex[BudgetTerms]
    _by_place: dict[Place, list[BudgetTerms]] = field(default_factory=dict)
    _running: dict[int, Period] = field(default_factory=dict)

    def running(self, terms: BudgetTerms, now: datetime) -> Period | None:
        """The period that a moment falls in; remembered, because the next moment's is the same."""
        period = self._running.get(terms.id)
        if period is None or not period.contains(now):
            period = terms.calendar.at(now)
            if period is not None:
                self._running[terms.id] = period
        return period

    def of_place(self, place: Place) -> list[BudgetTerms]:
        """The budgets that spend in this place counts against."""
        found = self._by_place.get(place)
        if found is None:
            if len(self._by_place) >= MAX_PLACES:
                self._by_place.clear()
            backend = self.backends.get(place.backend_id)
            found = self.matching(
                Attributes(
                    department_id=place.department_id,
                    customer_id=place.customer_id,
                    project=place.project,
                    api_key_id=place.api_key_id,
                    provider=place.provider,
                    model=place.model,
                    backend_id=place.backend_id,
                    kind=backend.kind if backend else None,
                )
            )
            self._by_place[place] = found
        return found

    def matching(self, attributes: Attributes) -> list[BudgetTerms]:
        """The budgets that cover a request: by its model's own name, or by its backend's."""
        found = self.index.matching(attributes)
        backend = self.backends.get(attributes.backend_id or 0)
        if backend is not None and backend.model != attributes.model:
            known = {terms.id for terms in found}
            named = self.index.matching(attributes._replace(model=backend.model))
            found += [terms for terms in named if terms.id not in known]
        return found


_books: Remembered[int, BudgetBook] = Remembered()


def budget_book(tenant_id: int) -> BudgetBook:
    """The tenant's budgets, at most a second old. Opens a scope of its own when it must read."""

    def read(known: BudgetBook | None) -> BudgetBook:
        with tenant_scope(tenant_id):
            return _read(tenant_id, known)

    return _books.get(tenant_id, read, stands=True)


def read_book() -> BudgetBook:
    """The tenant in scope's budgets as this transaction sees them; remembered by nobody."""
    tenant_id = current_tenant_id()
    return _read(tenant_id, _books.look(tenant_id))


def forget_book(tenant_id: int) -> None:
    """Read it anew next time: after a change by this process has committed."""
    _books.forget(tenant_id)


def _read(tenant_id: int, known: BudgetBook | None) -> BudgetBook:
    """The book as it stands; `known` again, with what it remembers, if nothing changed."""
    departments = list_departments()
    parents = {d.id: d.parent_id for d in departments}
    fingerprint = (
        *Budget.objects.aggregate(n=Count("id"), at=Max("changed_at")).values(),
        BudgetAmount.objects.aggregate(newest=Max("id"))["newest"],
        BudgetTopUp.objects.aggregate(newest=Max("id"))["newest"],
        tuple(BudgetSettings.objects.values_list()),
        get_tenant().time_zone,
        tuple(sorted(parents.items())),
    )
    backends = {
        b.id: BackendTerms(b.id, b.key, b.provider, b.model, b.kind) for b in list_backends()
    }
    if known and known.fingerprint == fingerprint and known.backends == backends:
        return known
    budgets = {terms.id: terms for terms in list_terms()}
    return BudgetBook(
        tenant_id=tenant_id,
        fingerprint=fingerprint,
        budgets=budgets,
        backends=backends,
        backends_by_key={backend.key: backend for backend in backends.values()},
        departments={d.code.lower(): d.id for d in departments},
        choices=read_choices(),
        index=ScopeIndex([(terms.scope, terms) for terms in budgets.values()], parents),
    )


def has_budgets() -> bool:
    """Whether the tenant in scope has a running budget, now."""
    return Budget.objects.filter(archived_at__isnull=True).exists()


def list_tenants_with_budgets() -> list[int]:
    """Tenants with a running budget. Needs no scope."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenants_with_budgets()")
        return [row[0] for row in cursor.fetchall()]


def list_terms(*, include_archived: bool = False) -> list[BudgetTerms]:
    """The tenant in scope's budgets, by id."""
    rows = Budget.objects.order_by("id")
    if not include_archived:
        rows = rows.filter(archived_at__isnull=True)
    newest: dict[int, dict[datetime, Decimal | None]] = defaultdict(dict)
    for row in BudgetAmount.objects.order_by("effective_from", "id"):
        newest[row.budget_id][row.effective_from] = row.amount
    top_ups: dict[int, list[TopUp]] = defaultdict(list)
    for added in BudgetTopUp.objects.order_by("id"):
        top_ups[added.budget_id].append(TopUp(added.starts_at, added.ends_at, added.amount))
    zone = get_tenant().zone
    return [
        BudgetTerms(
            id=row.pk,
            name=row.name,
            scope=Scope(
                department_id=row.department_id,
                customer_id=row.customer_id,
                project=row.project,
                api_key_id=row.api_key_id,
                provider=row.provider,
                model=row.model,
                backend_id=row.backend_id,
                kind=row.kind,
            ),
            unit=cast("Unit", row.unit),
            calendar=Calendar(cast("PeriodKind", row.period), zone, row.grant_start, row.grant_end),
            on_limit=cast("OnLimit", row.on_limit),
            rollover=row.rollover,
            thresholds=tuple(row.thresholds),
            projected_thresholds=tuple(row.projected_thresholds),
            created_at=row.created_at,
            amounts=tuple(
                DatedAmount(moment, amount)
                for moment, amount in newest[row.pk].items()
                if amount is not None
            ),
            top_ups=tuple(top_ups[row.pk]),
        )
        for row in rows
    ]


def live_periods(budgets: Iterable[BudgetTerms], now: datetime) -> list[tuple[int, Period]]:
    """Every budget's periods that counters are kept for: the last, the running and the next."""
    periods: list[tuple[int, Period]] = []
    for terms in budgets:
        calendar = terms.calendar
        running = calendar.at(now)
        if calendar.kind == "grant":
            periods.append((terms.id, calendar.starting(now.date())))
        elif running is not None:
            around = (calendar.before(running), running, calendar.after(running))
            periods += [(terms.id, period) for period in around]
    return periods


def read_choices() -> Choices:
    """The tenant in scope's; the defaults until somebody chose."""
    row = BudgetSettings.objects.first()
    if row is None:
        return Choices()
    return Choices(row.cloud_while_unknown, row.local_while_unknown, row.hold_seconds)
