"""What an hour of own hardware costs: total cost of ownership, line by line. Pure.

Depreciation + interest + electricity + maintenance + hosting + staff.
Source: Barroso, Hölzle, Ranganathan, "The Datacenter as a Computer", 3rd edition, chapter 6
(capital as depreciation and interest, operation as power, maintenance, space and people).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from zoneinfo import ZoneInfo

from apps.pricing.core.depreciation import (
    Asset,
    Method,
    charge_interest,
    depreciate,
    production_usd,
)
from apps.pricing.core.electricity import MeasuredEnergy, Power
from apps.pricing.core.local_time import (
    DateRange,
    Interval,
    MonthAmount,
    add_months,
    month_interval,
    spread,
)
from apps.pricing.core.money import EXACT, usd_from_units
from apps.pricing.core.sharing import exact_sum, share_between, whole_units


class CostKind(StrEnum):
    DEPRECIATION = "depreciation"
    INTEREST = "interest"
    ELECTRICITY = "electricity"
    MAINTENANCE = "maintenance"
    HOSTING = "hosting"
    STAFF = "staff"


@dataclass(frozen=True, slots=True)
class CostLine:
    """`source` is the asset or running cost that it comes from."""

    kind: CostKind
    source: str
    amount_usd: Decimal


@dataclass(frozen=True, slots=True)
class HourCost:
    """The cost of an hour (or of any other interval), as lines that add up."""

    hour: Interval
    lines: tuple[CostLine, ...]

    @property
    def total_usd(self) -> Decimal:
        return exact_sum(line.amount_usd for line in self.lines)

    def by_kind(self) -> dict[CostKind, Decimal]:
        return {
            kind: exact_sum(line.amount_usd for line in self.lines if line.kind == kind)
            for kind in CostKind
        }


@dataclass(frozen=True, slots=True)
class ScheduledAsset:
    """An asset with its posted months. Production depreciation has none: it is due by the token."""

    asset: Asset
    depreciation: tuple[MonthAmount, ...]
    interest: tuple[MonthAmount, ...]


@dataclass(frozen=True, slots=True)
class RunningCost:
    """Paid every month in force, spread over the month's real hours.

    `share` is the part of it that this backend bears: a quarter of an engineer is 0.25.
    """

    kind: CostKind
    source: str
    usd_per_month: Decimal
    in_force: DateRange
    share: Decimal = Decimal(1)

    def __post_init__(self) -> None:
        if self.kind not in (CostKind.MAINTENANCE, CostKind.HOSTING, CostKind.STAFF):
            raise ValueError(f"{self.kind} is not paid by the month")
        if self.usd_per_month < 0 or not 0 <= self.share <= 1:
            raise ValueError(f"{self.source}: {self.usd_per_month} USD, share {self.share}")
        whole_units(self.monthly_usd)

    @property
    def monthly_usd(self) -> Decimal:
        return EXACT.multiply(self.usd_per_month, self.share)


@dataclass(frozen=True, slots=True)
class Hardware:
    """All that a backend's cost is made of. `zone` is the tenant's: its months are posted."""

    zone: ZoneInfo
    assets: tuple[ScheduledAsset, ...] = ()
    power: Power | None = None
    running_costs: tuple[RunningCost, ...] = ()


@dataclass(frozen=True, slots=True)
class Activity:
    """What the hardware did in an interval.

    `load_share` (0 to 1) is the share of it under load. `tokens` and `tokens_before` (by asset
    name: served since in service) matter to production depreciation only.
    """

    load_share: Fraction = Fraction(0)
    measured: MeasuredEnergy | None = None
    tokens: int = 0
    tokens_before: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.load_share <= 1:
            raise ValueError(f"load share {self.load_share} is not from 0 to 1")


def schedule_asset(asset: Asset, zone: ZoneInfo) -> ScheduledAsset:
    by_tokens = asset.method == Method.UNITS_OF_PRODUCTION
    return ScheduledAsset(
        asset,
        () if by_tokens else depreciate(asset, zone),
        charge_interest(asset.loan, asset.in_service, zone) if asset.loan else (),
    )


def hour_cost(hardware: Hardware, hour: Interval, activity: Activity) -> HourCost:
    """The cost of an interval within or across months, lines that are nothing left out.

    Intervals that meet add up, but for electricity, which is rounded to 1e-24 USD each.
    """
    if not hour.microseconds:
        raise ValueError(f"no time between {hour.starts_at} and {hour.ends_at}")
    lines = (
        *_asset_lines(hardware, hour, activity),
        *_power_lines(hardware, hour, activity),
        *_running_lines(hardware, hour),
    )
    return HourCost(hour, tuple(line for line in lines if line.amount_usd))


def _asset_lines(hardware: Hardware, hour: Interval, activity: Activity) -> Iterator[CostLine]:
    for scheduled in hardware.assets:
        asset = scheduled.asset
        if asset.method == Method.UNITS_OF_PRODUCTION:
            due = _production_usd(asset, hardware.zone, hour, activity)
        else:
            due = _posted_usd(scheduled.depreciation, hour)
        yield CostLine(CostKind.DEPRECIATION, asset.name, due)
        yield CostLine(CostKind.INTEREST, asset.name, _posted_usd(scheduled.interest, hour))


def _posted_usd(months: tuple[MonthAmount, ...], hour: Interval) -> Decimal:
    return exact_sum(month.between(hour) for month in months)


def _production_usd(asset: Asset, zone: ZoneInfo, hour: Interval, activity: Activity) -> Decimal:
    if asset.life.clip(hour, zone) is None:
        return Decimal(0)
    before = activity.tokens_before.get(asset.name, 0)
    return production_usd(asset, tokens_before=before, tokens=activity.tokens)


def _power_lines(hardware: Hardware, hour: Interval, activity: Activity) -> Iterator[CostLine]:
    if hardware.power is not None:
        usd = hardware.power.electricity_usd(hour, activity.load_share, activity.measured)
        yield CostLine(CostKind.ELECTRICITY, "electricity", usd)


def _running_lines(hardware: Hardware, hour: Interval) -> Iterator[CostLine]:
    for cost in hardware.running_costs:
        yield CostLine(cost.kind, cost.source, _running_usd(cost, hour, hardware.zone))


def _running_usd(cost: RunningCost, hour: Interval, zone: ZoneInfo) -> Decimal:
    due = cost.in_force.clip(hour, zone)
    if due is None:
        return Decimal(0)
    return exact_sum(spread(cost.monthly_usd, month, due) for month in _months_touched(due, zone))


@lru_cache(maxsize=4096)
def _months_touched(interval: Interval, zone: ZoneInfo) -> tuple[Interval, ...]:
    """A day early and a day late: a zone may repeat the midnight that begins a month."""
    month = interval.starts_at.astimezone(zone).date().replace(day=1)
    month = add_months(month, -1)
    found = []
    while (over := month_interval(month, zone)).starts_at < interval.ends_at:
        found.append(over)
        month = add_months(month, 1)
    return tuple(found)


def split_cost(cost: HourCost, weights: Mapping[str, int]) -> dict[str, HourCost]:
    """The cost of hardware that several backends share, by weight, line by line; adds up."""
    whole = sum(weights.values())
    if whole <= 0 or min(weights.values()) < 0:
        raise ValueError(f"weights {dict(weights)} share nothing out")
    parts = {}
    start = 0
    for backend, weight in sorted(weights.items()):
        lines = tuple(_part_of(line, start, start + weight, whole) for line in cost.lines)
        parts[backend] = HourCost(cost.hour, lines)
        start += weight
    return parts


def _part_of(line: CostLine, start: int, end: int, whole: int) -> CostLine:
    units = share_between(whole_units(line.amount_usd), start, end, whole)
    return CostLine(line.kind, line.source, usd_from_units(units))
