"""What is known beforehand of a scope's days: announced events, dated prices, public holidays."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final, cast

from apps.insights.core.forecast import KnownDays
from apps.insights.core.known_days import Effect, PriceStep, known_days, local_midnight
from apps.insights.core.weekly_level import WINDOW_DAYS
from apps.insights.price_changes import Filters, read_price_steps, read_recent
from apps.insights.public_holidays import public_holidays
from apps.insights.selectors import PlannedEventInfo, list_planned_events
from apps.tenants.selectors import TenantInfo
from apps.usage.selectors import Dimension

# An event of unknown size in a part of a scope says little about the whole of it below this share.
MINOR_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Known:
    """`events` and `price_steps` are those that `days` was made from."""

    days: KnownDays
    events: list[PlannedEventInfo]
    price_steps: list[PriceStep]


def read_known(
    filters: Filters, tenant: TenantInfo, *, now: datetime, first: date, end: date
) -> Known:
    """What is known at `now` of the local days [first, end) of what `filters` narrow."""
    zone = tenant.zone
    begin, finish = local_midnight(first, zone), local_midnight(end, zone)
    parts = _Parts(filters, tenant, now)
    events, effects = [], []
    for event in list_planned_events(start=begin, end=finish):
        if event.created_at > now or not parts.may_meet(event):
            continue
        events.append(event)
        effects.append(parts.effect(event))
    since = local_midnight(tenant.local_date(now) - timedelta(days=WINDOW_DAYS), zone)
    steps = read_price_steps(filters, tenant, start=since, end=finish, now=now)
    days = known_days(
        effects=effects,
        steps=steps,
        holidays=public_holidays(tenant.time_zone, first, end, country=tenant.country),
        zone=zone,
        first=first,
        end=end,
    )
    return Known(days, events, steps)


class _Parts:
    """How much of a scope's spend an event of another scope is about, by the last four weeks."""

    def __init__(self, filters: Filters, tenant: TenantInfo, now: datetime) -> None:
        self.filters = filters
        self.tenant = tenant
        self.now = now

    def may_meet(self, event: PlannedEventInfo) -> bool:
        return all(
            dimension not in self.filters or value in self.filters[cast("Dimension", dimension)]
            for dimension, value in event.scope.items()
        )

    def effect(self, event: PlannedEventInfo) -> Effect:
        """The event as it is felt in the scope of the filters."""
        of_event = {cast("Dimension", d): (value,) for d, value in event.scope.items()}
        both = {**self.filters, **of_event}
        if event.expected_extra_usd is not None:
            share = self._share(both, of_event)
            return Effect(
                event.starts_at, event.ends_at, extra_usd=float(event.expected_extra_usd) * share
            )
        share = self._share(both, self.filters)
        if event.expected_multiplier is None:
            return Effect(event.starts_at, event.ends_at, is_minor=share < MINOR_SHARE)
        multiplier = 1 + (float(event.expected_multiplier) - 1) * share
        return Effect(event.starts_at, event.ends_at, multiplier=multiplier)

    def _share(self, part: Filters, whole: Filters) -> float:
        if dict(part) == dict(whole):
            return 1.0
        in_part, in_whole = self._usd(part), self._usd(whole)
        return float(in_part / in_whole) if in_whole > 0 else 0.0

    def _usd(self, filters: Mapping[Dimension, tuple[str | None, ...]]) -> Decimal:
        return max(read_recent(filters, self.tenant, now=self.now).total.cost_usd, Decimal(0))
