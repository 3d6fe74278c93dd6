"""Hindsight of closed days and months: made once a day, kept, read by pages and the API."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from apps.pricing.core.local_time import add_months, day_start
from apps.routing.core.building import Money
from apps.routing.core.hindsight_days import look_back
from apps.routing.core.value_model import ValueModel
from apps.routing.facts import UNASSIGNED
from apps.routing.opportunities import money
from apps.routing.replay_models import Hindsight
from apps.routing.selectors import read_value_model
from apps.routing.traffic import Window, read_window
from apps.routing.what_if_facts import standing_money
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import get_tenant
from apps.usage.selectors import SpendQuery, read_spend

DAYS_BACK: Final = 14
MOST_A_RUN: Final = 15
DAY_SAMPLE: Final = 2_500
MONTH_SAMPLE: Final = 10_000
MAX_LISTED: Final = 400


@dataclass(frozen=True, slots=True)
class HindsightInfo:
    """`done_usd` and `bound_usd` are value less cost. `causes`: task, ran, better, usd."""

    period: str
    first_day: date
    requests: int
    spent_usd: Decimal
    done_usd: Decimal
    bound_usd: Decimal
    causes: Sequence[Mapping[str, Any]]
    value_model: int
    computed_at: datetime

    @property
    def left_usd(self) -> Decimal:
        return self.bound_usd - self.done_usd

    @property
    def share(self) -> Decimal | None:
        """Of the best possible value; None where there was none to be had."""
        return self.done_usd / self.bound_usd if self.bound_usd > 0 else None


def look_back_at_due(tenant_id: int, *, now: datetime) -> int:
    """The last closed days and month that have no hindsight yet; returns how many were made."""
    with tenant_scope(tenant_id):
        tenant = get_tenant()
        today = tenant.local_date(now)
        month = add_months(today.replace(day=1), -1)
        wanted = [("month", month)]
        wanted += [("day", today - timedelta(days=n)) for n in range(1, DAYS_BACK + 1)]
        stand = set(
            Hindsight.objects.filter(
                first_day__gte=min(month, today - timedelta(days=DAYS_BACK))
            ).values_list("period", "first_day")
        )
    made = 0
    for period, first in wanted:
        if (period, first) not in stand and made < MOST_A_RUN:
            made += _look_back(tenant_id, period, first, now)
    return made


def _look_back(tenant_id: int, period: str, first: date, now: datetime) -> int:
    with tenant_scope(tenant_id):
        zone = get_tenant().zone
        end = add_months(first, 1) if period == "month" else first + timedelta(days=1)
        start_at, end_at = day_start(first, zone), day_start(end, zone)
        model = read_value_model(end_at)
        limit = MONTH_SAMPLE if period == "month" else DAY_SAMPLE
        window = read_window(start_at, end_at, model=model, limit=limit)
        if not len(window.traffic):
            return 0
        found = look_back(
            window.traffic,
            local_places=_places(model, window.traffic.labels),
            money=_money(window, period, first, now),
        )
        Hindsight.objects.update_or_create(
            tenant_id=tenant_id,
            period=period,
            first_day=first,
            defaults={
                "requests": round(found.requests),
                "spent_usd": money(found.spent_usd),
                "done_usd": money(found.done_usd),
                "bound_usd": max(money(found.bound_usd), money(found.done_usd)),
                "causes": [asdict(cause) for cause in found.causes],
                "value_model": model.version,
                "computed_at": now,
            },
        )
    return 1


def _money(window: Window, period: str, first: date, now: datetime) -> Money:
    """The budgets that stand; of departments on a day what was left of the month when it began."""
    money = standing_money(window, now=now)
    if period == "month" or first.day == 1:
        return money
    month = day_start(first.replace(day=1), get_tenant().zone)
    rows = read_spend(
        SpendQuery(month, window.start, ("department",), filters={"kind": ("cloud",)})
    ).rows
    before = {row.labels["department"] or UNASSIGNED: float(row.cost_usd) for row in rows}
    left = {
        code: max(0.0, usd - before.get(code, 0.0)) for code, usd in money.department_usd.items()
    }
    return replace(money, department_usd=left)


def _places(model: ValueModel, labels: Any) -> float:
    local = [
        name for name, is_local in zip(labels.backends, labels.is_local, strict=True) if is_local
    ]
    return model.local_places(local)


def list_hindsights(*, period: str = "day", limit: int = 31) -> list[HindsightInfo]:
    """The tenant in scope's, the latest first."""
    rows = Hindsight.objects.filter(period=period).order_by("-first_day")
    return [
        HindsightInfo(**{name: getattr(row, name) for name in HindsightInfo.__slots__})
        for row in rows[: min(limit, MAX_LISTED)]
    ]
