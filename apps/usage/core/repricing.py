"""Repricing: what a correction is, what a dry run adds up, and which run may be undone. Pure.

Money is integers of 1e-24 USD, as rating has it; -1 stands for "no price", never for an amount.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from apps.pricing.core.money import COST_DECIMALS, EXACT, plain_decimal, usd_from_units
from apps.usage.core.rating import UNPRICED

TOP_SHOWN: Final = 10
QUARTER_HOUR_S: Final = 900

Status = Literal["draft", "running", "done", "failed", "undone"]


def noun_of(*, moves: bool) -> str:
    """What a run of corrections is called: one that moves charges, or one that prices them."""
    return "re-attribution" if moves else "repricing"


class RepricingRefusedError(ValueError):
    """What was asked for cannot be done; the sentence says why. `field`: the input at fault."""

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


@dataclass(frozen=True, slots=True)
class RepricingScope:
    """Which charges: [starts_at, ends_at) by when they occurred, and any further narrowing.

    Names are as slices and spend carry them; None is any.
    """

    starts_at: datetime
    ends_at: datetime
    provider: str | None = None
    model: str | None = None
    backend: str | None = None
    customer: str | None = None
    only_unpriced: bool = False


def correct(before_units: int, unpriced: int, new_units: int) -> tuple[int, int] | None:
    """(cost_units, unpriced_change) that an adjustment must carry; None when nothing changes.

    `before_units` is the effective cost (the charge and all its adjustments), `unpriced` 1 while
    no price is known, and then before_units is 0.
    """
    now_unpriced = 1 if new_units == UNPRICED else 0
    cost_units = (0 if now_unpriced else new_units) - before_units
    unpriced_change = now_unpriced - unpriced
    return (cost_units, unpriced_change) if cost_units or unpriced_change else None


@dataclass(slots=True)
class Sums:
    """Before and after over some charges."""

    charges: int = 0
    changed: int = 0
    before_units: int = 0
    change_units: int = 0
    unpriced_before: int = 0
    unpriced_change: int = 0

    def add(self, other: "Sums") -> None:
        self.charges += other.charges
        self.changed += other.changed
        self.before_units += other.before_units
        self.change_units += other.change_units
        self.unpriced_before += other.unpriced_before
        self.unpriced_change += other.unpriced_change


@dataclass(slots=True)
class Differences:
    """Changed charges and the difference in cost, of one customer or department."""

    changed: int = 0
    change_units: int = 0


@dataclass(slots=True)
class PreviewSums:
    """What a dry run adds up, charge by charge. Its size grows with months and names alone."""

    zone: ZoneInfo
    months: dict[date, Sums] = field(default_factory=dict)
    customers: dict[int | None, Differences] = field(default_factory=dict)
    departments: dict[int | None, Differences] = field(default_factory=dict)
    _sums_by_quarter_hour: dict[int, Sums] = field(default_factory=dict)

    def add(
        self,
        epoch_s: float,
        before_units: int,
        unpriced: int,
        correction: tuple[int, int] | None,
        *,
        customer_id: int | None,
        department_id: int | None,
    ) -> None:
        sums = self._sums_at(epoch_s)
        sums.charges += 1
        sums.before_units += before_units
        sums.unpriced_before += unpriced
        if correction is None:
            return
        cost_units, unpriced_change = correction
        sums.changed += 1
        sums.change_units += cost_units
        sums.unpriced_change += unpriced_change
        for differences in (
            self.customers.setdefault(customer_id, Differences()),
            self.departments.setdefault(department_id, Differences()),
        ):
            differences.changed += 1
            differences.change_units += cost_units

    def total(self) -> Sums:
        total = Sums()
        for sums in self.months.values():
            total.add(sums)
        return total

    def _sums_at(self, epoch_s: float) -> Sums:
        # Every zone's offset is a whole number of quarter hours: a month never begins within one.
        quarter_hour = int(epoch_s // QUARTER_HOUR_S)
        sums = self._sums_by_quarter_hour.get(quarter_hour)
        if sums is None:
            local = datetime.fromtimestamp(quarter_hour * QUARTER_HOUR_S, self.zone)
            month = local.date().replace(day=1)
            sums = self._sums_by_quarter_hour[quarter_hour] = self.months.setdefault(month, Sums())
        return sums


def preview_as_json(
    sums: PreviewSums, customers: Mapping[int, str], departments: Mapping[int, str]
) -> dict[str, Any]:
    """The dry run's answer as a page or the API shows it. Money is decimal strings, exact."""
    return _sums_as_json(sums.total()) | {
        "months": [
            {"month": f"{month:%Y-%m}"} | _sums_as_json(found)
            for month, found in sorted(sums.months.items())
        ],
        "customers": _top(sums.customers, customers),
        "departments": _top(sums.departments, departments),
    }


def changed_months(preview: Mapping[str, Any]) -> list[date]:
    """First days of the tenant's months in which the run changes a charge."""
    return [
        date.fromisoformat(f"{month['month']}-01")
        for month in preview["months"]
        if month["changed"]
    ]


def closed_among(months: Iterable[date], closed_through: date | None) -> list[date]:
    """Those of the months (first days) whose books are closed."""
    return [m for m in months if closed_through is not None and m <= closed_through]


def is_month_end(day: date) -> bool:
    return (day + timedelta(days=1)).day == 1


def usd(units: int) -> str:
    return plain_decimal(usd_from_units(units))


def _sums_as_json(sums: Sums) -> dict[str, Any]:
    return {
        "charges": sums.charges,
        "changed": sums.changed,
        "before_usd": usd(sums.before_units),
        "after_usd": usd(sums.before_units + sums.change_units),
        "difference_usd": usd(sums.change_units),
        "unpriced_before": sums.unpriced_before,
        "unpriced_after": sums.unpriced_before + sums.unpriced_change,
    }


def _top(found: Mapping[int | None, Differences], names: Mapping[int, str]) -> list[dict[str, Any]]:
    """The largest differences first; name None: not attributed."""
    largest = sorted(found.items(), key=lambda item: -abs(item[1].change_units))[:TOP_SHOWN]
    return [
        {
            "name": None if key is None else names.get(key, f"#{key}"),
            "changed": differences.changed,
            "difference_usd": usd(differences.change_units),
        }
        for key, differences in largest
    ]


@dataclass(frozen=True, slots=True)
class Run:
    """A run that wrote adjustments: of its own, or (`undo_of`) the opposites of another's."""

    id: int
    undo_of: int | None = None


def runs_standing_after_each(runs: Sequence[Run]) -> list[tuple[int, ...]]:
    """Which repricings are in force after each run, the newest last. Runs in their order.

    Equal states mean equal sums: an undo takes away exactly what its run put on top.
    """
    states: list[tuple[int, ...]] = []
    origin, adds = _origins(runs)
    standing: tuple[int, ...] = ()
    for run in runs:
        standing = (*standing, origin[run.id]) if adds[run.id] else standing[:-1]
        states.append(standing)
    return states


def find_blocking(runs: Sequence[Run], run_id: int) -> int | None:
    """Why a run cannot be undone: the id of the run in the way (itself: its effect is gone).

    None when it can: all that came after it has been undone.
    """
    states = runs_standing_after_each(runs)
    index = next(n for n, run in enumerate(runs) if run.id == run_id)
    if states[index] == states[-1]:
        return None
    origin, adds = _origins(runs)
    if (origin[run_id] in states[-1]) != adds[run_id]:
        return run_id
    if len(states[-1]) > len(states[index]):
        return states[-1][-1]
    return next(run.id for run in reversed(runs) if not adds[run.id])


def list_statuses(runs: Sequence[Run]) -> dict[int, Status]:
    """ "done" while what a run did is in force, else "undone"."""
    if not runs:
        return {}
    origin, adds = _origins(runs)
    standing = runs_standing_after_each(runs)[-1]
    return {
        run.id: "done" if (origin[run.id] in standing) == adds[run.id] else "undone" for run in runs
    }


def _origins(runs: Sequence[Run]) -> tuple[dict[int, int], dict[int, bool]]:
    """By run: the repricing whose amounts it moves, and whether it adds them or takes them away."""
    origin: dict[int, int] = {}
    adds: dict[int, bool] = {}
    for run in runs:
        origin[run.id] = run.id if run.undo_of is None else origin[run.undo_of]
        adds[run.id] = run.undo_of is None or not adds[run.undo_of]
    return origin, adds


def units_from_usd(amount: Decimal) -> int:
    """A ledger amount (it has 24 decimals) in 1e-24 USD, exactly."""
    return int(EXACT.scaleb(amount, COST_DECIMALS))
