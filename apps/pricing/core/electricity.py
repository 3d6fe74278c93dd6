"""What the power of own hardware costs: watts to energy, energy to USD by the local clock. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from itertools import combinations, pairwise
from typing import Final
from zoneinfo import ZoneInfo

from apps.pricing.core.local_time import DateRange, Interval, offset_changes
from apps.pricing.core.money import COST_DECIMALS
from apps.pricing.core.sharing import rounded

SATURDAY: Final = 5
MICROSECONDS_PER_HOUR: Final = 3_600_000_000


class Days(StrEnum):
    ALL = "all"
    WEEKDAYS = "weekdays"
    WEEKEND = "weekend"


@dataclass(frozen=True, slots=True)
class PriceWindow:
    """A price from one local time (included) to another (not); 22:00 to 06:00 goes through
    midnight, 00:00 to 00:00 is all day. Each moment is tested by the day it is on itself: Saturday
    03:00 is weekend, though the night began on Friday.
    """

    usd_per_kwh: Decimal
    starts: time
    ends: time
    days: Days = Days.ALL

    def covers(self, at: time, *, weekend: bool) -> bool:
        if self.days == (Days.WEEKDAYS if weekend else Days.WEEKEND):
            return False
        if self.starts < self.ends:
            return self.starts <= at < self.ends
        return at >= self.starts or at < self.ends


@dataclass(frozen=True, slots=True)
class ElectricityPrice:
    """The prices of a stretch of local days: by window, `usd_per_kwh` outside of all windows.

    Holidays count as weekend. Windows must not overlap.
    """

    usd_per_kwh: Decimal
    in_force: DateRange
    windows: tuple[PriceWindow, ...] = ()
    holidays: frozenset[date] = frozenset()

    def __post_init__(self) -> None:
        for price in (self.usd_per_kwh, *(window.usd_per_kwh for window in self.windows)):
            if price < 0:
                raise ValueError(f"{price} USD per kWh is negative")
        for weekend in (False, True):
            for at in (window.starts for window in self.windows):
                both = [window for window in self.windows if window.covers(at, weekend=weekend)]
                if len(both) > 1:
                    raise ValueError(f"two windows have a price at {at}: {both[0]} and {both[1]}")

    def usd_per_kwh_at(self, local: datetime) -> Decimal:
        weekend = local.weekday() >= SATURDAY or local.date() in self.holidays
        for window in self.windows:
            if window.covers(local.time(), weekend=weekend):
                return window.usd_per_kwh
        return self.usd_per_kwh


@dataclass(frozen=True, slots=True)
class Tariff:
    """Dated prices at one place; `zone` is where the hardware stands, whatever the tenant's is."""

    zone: ZoneInfo
    prices: tuple[ElectricityPrice, ...]

    def __post_init__(self) -> None:
        for one, other in combinations(self.prices, 2):
            if one.in_force.overlaps(other.in_force):
                raise ValueError(f"prices overlap: {one.in_force} and {other.in_force}")

    def price_on(self, day: date) -> ElectricityPrice:
        """LookupError where no price is known: that is not free."""
        for price in self.prices:
            if day in price.in_force:
                return price
        raise LookupError(f"no electricity price for {day}")

    def usd_per_kwh_at(self, moment: datetime) -> Decimal:
        local = moment.astimezone(self.zone)
        return self.price_on(local.date()).usd_per_kwh_at(local)

    def cut(self, interval: Interval) -> Iterator[tuple[Interval, Decimal]]:
        """The interval in pieces of one price each, in order, with USD per kWh."""
        for starts_at, ends_at in pairwise(sorted(self._cuts(interval))):
            yield Interval(starts_at, ends_at), self.usd_per_kwh_at(starts_at)

    def _cuts(self, interval: Interval) -> set[datetime]:
        """Every moment within at which the price may change, a few at which it does not.

        Both readings of a time that the clock shows twice are taken.
        """
        cuts = {interval.starts_at, interval.ends_at, *offset_changes(interval, self.zone)}
        day = interval.starts_at.astimezone(self.zone).date()
        last = interval.ends_at.astimezone(self.zone).date()
        while day <= last:
            for at in {time.min, *self._boundaries(day)}:
                for fold in (0, 1):
                    moment = datetime.combine(day, at.replace(fold=fold), self.zone)
                    cuts.add(moment.astimezone(UTC))
            day += timedelta(days=1)
        return {cut for cut in cuts if interval.starts_at <= cut <= interval.ends_at}

    def _boundaries(self, day: date) -> Iterator[time]:
        for price in self.prices:
            if day in price.in_force:
                for window in price.windows:
                    yield from (window.starts, window.ends)


@dataclass(frozen=True, slots=True)
class Node:
    """One or more equal machines (or GPUs) by nameplate, powered on `powered` days.

    Power is a straight line from idle to load by the share of time under load.
    Source: Fan, Weber, Barroso, "Power provisioning for a warehouse-sized computer", ISCA 2007.
    """

    name: str
    idle_watts: Decimal
    load_watts: Decimal
    powered: DateRange
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.idle_watts <= self.load_watts:
            raise ValueError(f"{self.name}: idle {self.idle_watts} W, load {self.load_watts} W")
        if self.count < 1:
            raise ValueError(f"{self.name}: {self.count} machines")

    def watts(self, load_share: Fraction) -> Fraction:
        idle, load = Fraction(self.idle_watts), Fraction(self.load_watts)
        return self.count * (idle + (load - idle) * load_share)


class Covers(StrEnum):
    """What measured energy is of."""

    HOUR = "hour"  # a meter that ran all the time
    REQUESTS = "requests"  # `energy_wh` of events: says nothing of the time between them


@dataclass(frozen=True, slots=True)
class MeasuredEnergy:
    """Stands over nameplate. `at_facility`: metered before cooling and losses, so PUE is in it."""

    energy_wh: Decimal
    covers: Covers = Covers.HOUR
    at_facility: bool = False

    def __post_init__(self) -> None:
        if self.energy_wh < 0:
            raise ValueError(f"{self.energy_wh} Wh is negative")


@dataclass(frozen=True, slots=True)
class Power:
    """The nodes of a backend, where they stand, and what power costs there.

    PUE: all energy of the facility over that of the machines. Source: ISO/IEC 30134-2.
    """

    nodes: tuple[Node, ...]
    tariff: Tariff
    pue: Decimal = Decimal(1)

    def __post_init__(self) -> None:
        if self.pue < 1:
            raise ValueError(f"PUE {self.pue} is below 1")

    def electricity_usd(
        self, hour: Interval, load_share: Fraction, measured: MeasuredEnergy | None = None
    ) -> Decimal:
        """The electricity of an interval, its energy used evenly over it. To 1e-24 USD."""
        if measured is None:
            usd = self._nameplate_usd(hour, load_share)
        elif measured.covers == Covers.HOUR:
            usd = self._measured_usd(hour, measured)
        else:
            usd = self._measured_usd(hour, measured) + self._between_requests_usd(hour, load_share)
        return rounded(usd, COST_DECIMALS)

    def _nameplate_usd(self, hour: Interval, load_share: Fraction) -> Fraction:
        usd = Fraction(0)
        for node in self.nodes:
            powered = node.powered.clip(hour, self.tariff.zone)
            if powered is not None:
                usd += node.watts(load_share) * _usd_per_watt(self.tariff, powered)
        return usd * Fraction(self.pue)

    def _between_requests_usd(self, hour: Interval, load_share: Fraction) -> Fraction:
        """Idle power for the share of the hour in which no request ran."""
        return self._nameplate_usd(hour, Fraction(0)) * (1 - load_share)

    def _measured_usd(self, hour: Interval, measured: MeasuredEnergy) -> Fraction:
        mean_watts = Fraction(measured.energy_wh) * MICROSECONDS_PER_HOUR / hour.microseconds
        factor = 1 if measured.at_facility else Fraction(self.pue)
        return factor * mean_watts * _usd_per_watt(self.tariff, hour)


def _usd_per_watt(tariff: Tariff, interval: Interval) -> Fraction:
    """What one watt costs that is drawn all the while."""
    usd = Fraction(0)
    for piece, usd_per_kwh in tariff.cut(interval):
        kilowatt_hours = Fraction(piece.microseconds, MICROSECONDS_PER_HOUR * 1000)
        usd += kilowatt_hours * Fraction(usd_per_kwh)
    return usd
