"""What an asset costs in each local month: depreciation, and interest where it is financed. Pure.

A schedule is a running sum over the asset's own months (15 March to 15 April, ...), straight
between its knots, days counted where a calendar month begins within an asset month. What is posted
for a calendar month is the running sum at its end, rounded to cents, less what was posted before:
so months always add up to the whole, to the cent.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Final
from zoneinfo import ZoneInfo

from apps.pricing.core.local_time import (
    DateRange,
    Interval,
    MonthAmount,
    add_months,
    month_interval,
)
from apps.pricing.core.money import usd_from_units
from apps.pricing.core.sharing import CENTS, from_units, share_between, whole_units

YEAR: Final = 12
MAX_LIFE_MONTHS: Final = 600
MAX_FACTOR: Final = 10


class Method(StrEnum):
    STRAIGHT_LINE = "straight_line"
    DECLINING_BALANCE = "declining_balance"
    SUM_OF_YEARS_DIGITS = "sum_of_years_digits"
    UNITS_OF_PRODUCTION = "units_of_production"


@dataclass(frozen=True, slots=True)
class Loan:
    """An annuity loan from the in-service date. `annual_rate` is a fraction: 0.06 is 6%."""

    principal_usd: Decimal
    annual_rate: Decimal
    term_months: int

    def __post_init__(self) -> None:
        whole_units(self.principal_usd, CENTS)
        _require(self.principal_usd > 0, f"a loan of {self.principal_usd} USD is not more than 0")
        _require(0 <= self.annual_rate <= 1, f"rate {self.annual_rate} is not from 0 to 1")
        _require(
            1 <= self.term_months <= MAX_LIFE_MONTHS,
            f"term {self.term_months} months is not from 1 to {MAX_LIFE_MONTHS}",
        )


@dataclass(frozen=True, slots=True)
class Asset:
    """Something bought. `factor` is for declining balance, `lifetime_tokens` for production.

    Prices are whole cents. Depreciation runs from `in_service` for `life_months`.
    """

    name: str
    purchase_price_usd: Decimal
    salvage_value_usd: Decimal
    in_service: date
    life_months: int
    method: Method = Method.STRAIGHT_LINE
    factor: Decimal = Decimal(2)
    lifetime_tokens: int | None = None
    loan: Loan | None = None

    def __post_init__(self) -> None:
        price, salvage = self.purchase_price_usd, self.salvage_value_usd
        whole_units(price, CENTS)
        whole_units(salvage, CENTS)
        _require(
            0 <= salvage <= price, f"salvage {salvage} USD is not from 0 to the price {price} USD"
        )
        _require(
            1 <= self.life_months <= MAX_LIFE_MONTHS,
            f"life {self.life_months} months is not from 1 to {MAX_LIFE_MONTHS}",
        )
        _require(0 < self.factor <= MAX_FACTOR, f"factor {self.factor} is not over 0, to 10")
        by_tokens = self.method == Method.UNITS_OF_PRODUCTION
        _require(
            (self.lifetime_tokens or 0) > 0 if by_tokens else self.lifetime_tokens is None,
            f"lifetime tokens {self.lifetime_tokens} do not go with {self.method}",
        )

    @property
    def depreciable_cents(self) -> int:
        return whole_units(self.purchase_price_usd - self.salvage_value_usd, CENTS)

    @property
    def life(self) -> DateRange:
        return DateRange(self.in_service, add_months(self.in_service, self.life_months))


@dataclass(frozen=True, slots=True)
class RunningSum:
    """Cents due at each age in months, straight in between. Both begin at 0."""

    ages: tuple[int, ...]
    cents: tuple[Fraction, ...]

    def at(self, age: Fraction) -> Fraction:
        for (age0, age1), (cents0, cents1) in zip(
            pairwise(self.ages), pairwise(self.cents), strict=True
        ):
            if age <= age1:
                return cents0 + (cents1 - cents0) * (age - age0) / (age1 - age0)
        return self.cents[-1]


def depreciate(asset: Asset, zone: ZoneInfo) -> tuple[MonthAmount, ...]:
    """Depreciation by local month; adds up to cost less salvage, to the cent.

    Not for units of production, which is due as tokens are served: see `depreciate_production`.
    """
    ages = (*range(0, asset.life_months, YEAR), asset.life_months)
    running = RunningSum(ages, tuple(accumulate(_yearly_cents(asset), initial=Fraction(0))))
    return tuple(_post(running, asset.in_service, zone))


def _yearly_cents(asset: Asset) -> Iterator[Fraction]:
    match asset.method:
        case Method.STRAIGHT_LINE:
            return straight_line(asset)
        case Method.DECLINING_BALANCE:
            return declining_balance(asset)
        case Method.SUM_OF_YEARS_DIGITS:
            return sum_of_years_digits(asset)
        case Method.UNITS_OF_PRODUCTION:
            raise ValueError(f"{asset.name} depreciates by tokens served, not by time")


def straight_line(asset: Asset) -> Iterator[Fraction]:
    """Cents in each year of life: the same every month.

    Source: 26 CFR 1.167(b)-1; IAS 16, paragraph 62.
    """
    for left in _months_left(asset):
        yield Fraction(asset.depreciable_cents * min(left, YEAR), asset.life_months)


def declining_balance(asset: Asset) -> Iterator[Fraction]:
    """Cents in each year of life: `factor` / life of the book value, until the straight line over
    what remains of life is more, then that. Never below salvage.

    Source: 26 CFR 1.167(b)-2; the change to straight line as in IRS Publication 946 and the
    spreadsheet function VDB, with the year as period.
    """
    salvage = Fraction(whole_units(asset.salvage_value_usd, CENTS))
    book = salvage + asset.depreciable_cents
    for left in _months_left(asset):
        declining = book * Fraction(asset.factor) * min(left, YEAR) / asset.life_months
        straight = (book - salvage) * min(left, YEAR) / left
        due = min(max(declining, straight), book - salvage)
        book -= due
        yield due


def sum_of_years_digits(asset: Asset) -> Iterator[Fraction]:
    """Cents in each year of life: years left at its start, over the sum of these.

    Lives of 3 1/2 years have the digits 3.5, 2.5, 1.5 and 0.5.
    Source: 26 CFR 1.167(b)-3.
    """
    digits = sum(_months_left(asset))
    for left in _months_left(asset):
        yield Fraction(asset.depreciable_cents * left, digits)


def _months_left(asset: Asset) -> range:
    """Months of life left at the start of each of its years."""
    return range(asset.life_months, 0, -YEAR)


def depreciate_production(
    asset: Asset, tokens_by_month: Mapping[date, int], zone: ZoneInfo
) -> tuple[MonthAmount, ...]:
    """Depreciation by local month (keys are first days) from the tokens served in each.

    What was not produced by the end of life is not in it: `unproduced_usd` says how much to write
    off. Source: units of production method, IAS 16, paragraph 62.
    """
    posted = []
    served = 0
    months = list(_months_of_life(asset.in_service, asset.life_months, zone))
    strange = tokens_by_month.keys() - {month for month, _, _ in months}
    _require(not strange, f"{asset.name}: {sorted(map(str, strange))} are not months of its life")
    for month, over, _ in months:
        tokens = tokens_by_month.get(month, 0)
        cents = _production_units(asset, served, tokens, asset.depreciable_cents)
        posted.append(MonthAmount(month, over, from_units(cents, CENTS)))
        served += tokens
    return tuple(posted)


def production_usd(asset: Asset, *, tokens_before: int, tokens: int) -> Decimal:
    """Depreciation due for serving `tokens` after `tokens_before`: a whole number of 1e-24 USD.

    Tokens beyond the lifetime are free: the asset is written down by then.
    """
    units = whole_units(from_units(asset.depreciable_cents, CENTS))
    return usd_from_units(_production_units(asset, tokens_before, tokens, units))


def unproduced_usd(asset: Asset, tokens_served: int) -> Decimal:
    """Cost less salvage that the tokens served did not use up: to write off when life ends."""
    left = asset.depreciable_cents - _production_units(
        asset, 0, tokens_served, asset.depreciable_cents
    )
    return from_units(left, CENTS)


def _production_units(asset: Asset, tokens_before: int, tokens: int, whole: int) -> int:
    if not asset.lifetime_tokens:
        raise ValueError(f"{asset.name} depreciates by {asset.method}, not by tokens served")
    _require(min(tokens, tokens_before) >= 0, f"{tokens_before}, then {tokens} tokens: below 0")
    lifetime = asset.lifetime_tokens
    end = min(tokens_before + tokens, lifetime)
    return share_between(whole, min(tokens_before, lifetime), end, lifetime)


def charge_interest(loan: Loan, starts_on: date, zone: ZoneInfo) -> tuple[MonthAmount, ...]:
    """Interest by local month; adds up to the interest of all instalments, to the cent."""
    cents = tuple(accumulate(map(Fraction, interest_cents(loan)), initial=Fraction(0)))
    return tuple(_post(RunningSum(tuple(range(loan.term_months + 1)), cents), starts_on, zone))


def interest_cents(loan: Loan) -> Iterator[int]:
    """The interest in each monthly instalment: a twelfth of the annual rate on what is still owed.

    The instalment is level, P i / (1 - (1 + i)^-n), and both are rounded to cents as banks do;
    the last one clears the loan. Source: ordinary annuity, as the spreadsheet functions PMT, IPMT.
    """
    monthly = Fraction(loan.annual_rate) / YEAR
    owed = whole_units(loan.principal_usd, CENTS)
    growth = (1 + monthly) ** loan.term_months
    exact = owed * monthly * growth / (growth - 1) if monthly else Fraction(owed, loan.term_months)
    instalment = int(exact + Fraction(1, 2))
    for left in range(loan.term_months, 0, -1):
        interest = int(owed * monthly + Fraction(1, 2))
        yield interest
        owed -= min(instalment - interest, owed) if left > 1 else owed


def _post(running: RunningSum, starts_on: date, zone: ZoneInfo) -> Iterator[MonthAmount]:
    posted = 0
    for month, over, age in _months_of_life(starts_on, running.ages[-1], zone):
        due = int(running.at(age) + Fraction(1, 2))
        yield MonthAmount(month, over, from_units(due - posted, CENTS))
        posted = due


def _months_of_life(
    starts_on: date, months: int, zone: ZoneInfo
) -> Iterator[tuple[date, Interval, Fraction]]:
    """Each local month, the part of it within life, and the age in months where that ends.

    A part that has no real time (a zone that skipped its only day) is left to the next month.
    """
    ends_before = add_months(starts_on, months)
    life = DateRange(starts_on, ends_before)
    month = starts_on.replace(day=1)
    while month < ends_before:
        following = add_months(month, 1)
        over = life.clip(month_interval(month, zone), zone)
        if over is not None:
            yield month, over, _age(starts_on, min(following, ends_before))
        month = following


def _age(starts_on: date, day: date) -> Fraction:
    """Months from one day to another, the last begun one by its days."""
    whole = (day.year - starts_on.year) * YEAR + day.month - starts_on.month
    if add_months(starts_on, whole) > day:
        whole -= 1
    since, until = add_months(starts_on, whole), add_months(starts_on, whole + 1)
    return whole + Fraction((day - since).days, (until - since).days)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
