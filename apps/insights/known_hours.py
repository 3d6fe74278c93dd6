"""What is known beforehand of hours that are scored: announced events, holidays, dated prices."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, cast
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from apps.insights.core.flags import SeriesKey
from apps.insights.detector_memory import Memory
from apps.insights.price_changes import Filters, read_price_factors
from apps.insights.public_holidays import public_holidays
from apps.insights.selectors import PlannedEventInfo, list_planned_events
from apps.pricing.selectors import list_backends
from apps.tenants.selectors import TenantInfo
from apps.usage.hourly import BETWEEN, start_of_hour
from apps.usage.selectors import Dimension, SpendQuery, read_spend

Flags = NDArray[np.bool_]
# A part of a series that is less does not make its hours other than usual.
MINOR_SHARE: Final = 0.05
SHARE_DAYS: Final = 14


class AnnouncedHours:
    """Which series an announced event changes, hour by hour; reads nothing when there is none."""

    def __init__(self, first: int, end: int, tenant: TenantInfo) -> None:
        self._events = list_planned_events(start=start_of_hour(first), end=start_of_hour(end))
        self._tenant = tenant
        self._shares: dict[tuple[int, SeriesKey], float] = {}

    def of(self, series: Sequence[SeriesKey], hour: int) -> Flags | None:
        starts, ends = start_of_hour(hour), start_of_hour(hour + 1)
        holding = [e for e in self._events if e.starts_at < ends and e.ends_at > starts]
        if not holding:
            return None
        return np.array([any(self._touches(e, key) for e in holding) for key in series])

    def _touches(self, event: PlannedEventInfo, series: SeriesKey) -> bool:
        if not event.scope:
            return True
        if (event.id, series) not in self._shares:
            self._shares[event.id, series] = self._share(event, series)
        return self._shares[event.id, series] >= MINOR_SHARE

    def _share(self, event: PlannedEventInfo, series: SeriesKey) -> float:
        """How much of the series the event is about: by recent spend, before and during it."""
        of_series = filters_of(series)
        of_event = {cast("Dimension", d): (v,) for d, v in event.scope.items()}
        shared = of_series.keys() & of_event.keys()
        if any(of_series[d] != of_event[d] for d in shared):
            return 0.0
        if of_event.items() <= of_series.items():
            return 1.0
        whole = self._usd(event, of_series)
        return self._usd(event, {**of_series, **of_event}) / whole if whole > 0 else 0.0

    def _usd(self, event: PlannedEventInfo, filters: Filters) -> float:
        start = event.starts_at - timedelta(days=SHARE_DAYS)
        spend = read_spend(SpendQuery(start=start, end=event.ends_at, filters=filters))
        return float(spend.total.cost_usd)


def filters_of(series: SeriesKey) -> Filters:
    """A series as filters of spend. A department is itself alone: trees are the caller's."""
    dimension, key = series
    if dimension == "all":
        return {}
    if dimension == "model_task":
        model, task = key.split(BETWEEN)
        return {"model": (model,), "task": (task,)}
    return {cast("Dimension", dimension): (key,)}


class QuietHours:
    """Whether hours are part of a public holiday where the tenant is."""

    def __init__(self, tenant: TenantInfo) -> None:
        self._zone: ZoneInfo = tenant.zone
        self._name = tenant.time_zone
        self._country = tenant.country

    def is_quiet(self, hour: int) -> bool:
        day = start_of_hour(hour).astimezone(self._zone).date()
        end = day + timedelta(days=1)
        return day in public_holidays(self._name, day, end, country=self._country)


def rate_edges(start: datetime, end: datetime) -> Mapping[int, set[str]]:
    """Hours of [start, end) in which a rate on record begins or ends -> the backends concerned."""
    edges: dict[int, set[str]] = {}
    for backend in list_backends():
        if backend.card is None or backend.kind != "cloud":
            continue
        for rate in backend.card.rates:
            for moment in (rate.effective_from, rate.effective_to):
                if moment is not None and start <= moment < end:
                    hour = int(moment.timestamp()) // 3600
                    edges.setdefault(hour, set()).add(backend.key)
    return edges


def apply_price_steps(memory: Memory, hour: int, tenant: TenantInfo) -> None:
    """Restate what was learnt in the prices that hold from this hour on."""
    factors = read_price_factors(tenant, at=start_of_hour(hour), until=start_of_hour(hour + 1))
    for part in memory.parts:
        for series, column in part.columns.items():
            if series in factors:
                part.detector.reprice(np.array([column], dtype=np.intp), factors[series])
                part.is_rewritten = True


def hour_of(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp()) // 3600
