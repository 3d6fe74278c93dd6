"""Money in the currency that a tenant reports in: dated rates, and files of them. Pure.

The rule (docs/decisions/0024): what a local day cost is converted at that day's rate; on a day
without one (a weekend, a holiday) at the last before it, at most MAX_AGE old. A day without any
rate is not converted, and then neither is a sum that holds it: unknown is not zero.
"""

import csv
import io
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Final

USD: Final = "USD"
MAX_AGE: Final = timedelta(days=7)
# A rate has this many decimals: a quotient (the bank quotes what a euro buys) is rounded to them.
RATE_DECIMALS: Final = Decimal("1e-12")
MAX_RATE: Final = Decimal(10) ** 9
MAX_LINES: Final = 20_000
# Wide enough that no product or sum of the ledger's digits and a rate's is ever rounded.
EXACT: Final = Context(prec=80)


@dataclass(frozen=True, slots=True)
class DayRate:
    """What one USD is worth on a day."""

    day: date
    per_usd: Decimal


@dataclass(frozen=True, slots=True)
class Converted:
    """`usd` in another currency: `amount` None while some of its days have no rate.

    `unrated_days` are those with a cost and no rate, the first of them first.
    """

    currency: str
    usd: Decimal
    amount: Decimal | None
    unrated_days: tuple[date, ...] = ()

    def part(self, usd: Decimal) -> Decimal | None:
        """What a part of it comes to at its average; None where that is not known."""
        if self.amount is None or not self.usd:
            return None
        return EXACT.divide(EXACT.multiply(usd, self.amount), self.usd)


class Rates:
    """The rates of one currency, in any order."""

    def __init__(self, currency: str, rates: Iterable[DayRate]) -> None:
        self.currency = currency
        ordered = sorted(rates, key=lambda rate: rate.day)
        self._days = [rate.day for rate in ordered]
        self._values = [rate.per_usd for rate in ordered]

    def on(self, day: date) -> Decimal | None:
        """What one USD was worth that day; None where nobody said so within MAX_AGE."""
        position = bisect_right(self._days, day) - 1
        if position < 0 or day - self._days[position] > MAX_AGE:
            return None
        return self._values[position]

    def by_day(self, first: date, last: date) -> dict[date, Decimal]:
        """The rate of each day from `first` to `last` that has one."""
        days = (first + timedelta(days=n) for n in range((last - first).days + 1))
        return {day: rate for day in days if (rate := self.on(day)) is not None}

    def nearest(self, day: date) -> Decimal | None:
        """The last before a day, however old, else the first after; None where there is none."""
        position = bisect_right(self._days, day)
        return self._values[max(position - 1, 0)] if self._values else None

    def convert(self, usd_by_day: Mapping[date, Decimal]) -> Converted:
        """The sum of what each day cost at its own rate; exact."""
        usd, amount, unrated = Decimal(0), Decimal(0), []
        for day, cost_usd in sorted(usd_by_day.items()):
            usd = EXACT.add(usd, cost_usd)
            if not cost_usd:
                continue
            rate = self.on(day)
            if rate is None:
                unrated.append(day)
            else:
                amount = EXACT.add(amount, EXACT.multiply(cost_usd, rate))
        return Converted(self.currency, usd, None if unrated else amount, tuple(unrated))


def read_rates_csv(text: str, currency: str) -> tuple[list[DayRate], str]:
    """Rates out of a CSV, and what is wrong with it in words (empty: nothing).

    Known by its heading: `date,per_usd`, or the European Central Bank's `eurofxref-hist.csv`
    (`Date, USD, JPY, ...`: units for one euro; the rate is the quotient of two of its columns).
    """
    lines = [line for line in csv.reader(io.StringIO(text.lstrip("\ufeff"))) if any(line)]
    heading = [name.strip().lower() for name in lines[0]] if lines else []
    wrong = _wrong_file(lines, heading, currency)
    if wrong:
        return [], wrong
    is_own = heading[:2] == ["date", "per_usd"]
    rates: list[DayRate] = []
    for number, line in enumerate(lines[1:], start=2):
        row = dict(zip(heading, line, strict=False))
        try:
            rate = _own(line) if is_own else _ecb(row, currency)
        except (ValueError, KeyError, IndexError, InvalidOperation):
            return [], f"line {number} holds no day such as 2026-11-23, or no number"
        if rate is not None and not 0 < rate.per_usd < MAX_RATE:
            return [], f"line {number}: a rate is above 0 and below {MAX_RATE:f}"
        if rate is not None:
            rates.append(rate)
    return rates, "" if rates else f"the file quotes no rate of {currency}"


def _wrong_file(lines: Sequence[Sequence[str]], heading: Sequence[str], currency: str) -> str:
    if not lines:
        return "the file is empty"
    if len(lines) > MAX_LINES:
        return f"{len(lines)} lines; at most {MAX_LINES} are read"
    if heading[:2] == ["date", "per_usd"]:
        return ""
    if not ("date" in heading and "usd" in heading):
        return "the heading is date,per_usd or the European Central Bank's: Date,USD,JPY,..."
    if currency != "EUR" and currency.lower() not in heading:
        return f"the file has no column {currency}"
    return ""


def _own(line: Sequence[str]) -> DayRate:
    return DayRate(date.fromisoformat(line[0].strip()), rounded(Decimal(line[1].strip())))


def _ecb(row: Mapping[str, str], currency: str) -> DayRate | None:
    """None on a day when one of the two currencies was not quoted."""
    usd = row["usd"].strip()
    own = "1" if currency == "EUR" else row[currency.lower()].strip()
    if {usd, own} & {"", "N/A"}:
        return None
    return DayRate(
        date.fromisoformat(row["date"].strip()), rounded(EXACT.divide(Decimal(own), Decimal(usd)))
    )


def rounded(rate: Decimal) -> Decimal:
    """As it is kept. Raises ValueError for what is no number."""
    if not rate.is_finite():
        raise ValueError(str(rate))
    return rate.quantize(RATE_DECIMALS, ROUND_HALF_EVEN, context=EXACT)
