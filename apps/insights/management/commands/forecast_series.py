"""`manage.py forecast_series`: CSV case_id,ts,value on stdin to case_id,total,lo80,hi80 on stdout.

`ts` is an hour (RFC 3339, UTC); the last one of a case is its cut. `total` is what the calendar
month of the cut, in UTC, will have cost: the rows of the month so far and a forecast of the rest.
Needs no database and no tenant.
"""

import csv
import math
import sys
from array import array
from datetime import UTC, date, datetime, timedelta
from typing import Any, TextIO

import holidays
import numpy as np
from django.core.management.base import BaseCommand, CommandError

from apps.insights.core.forecast import KnownDays, PeriodForecast, forecast_period
from apps.insights.core.utc_hours import EPOCH, history_before, hour_number

COLUMNS = ["case_id", "ts", "value"]


class Command(BaseCommand):
    help = "Forecast each case's month: CSV case_id,ts,value on stdin, case_id,total,lo80,hi80 out."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument(
            "--country", help="ISO code whose public holidays the cases keep; default: none"
        )

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        cases = read_cases(sys.stdin)
        calendar = _calendar(options["country"], cases)
        writer = csv.writer(self.stdout, lineterminator="\n")
        writer.writerow(["case_id", "total", "lo80", "hi80"])
        for case_id, (hours, usd) in cases.items():
            forecast = forecast_month(np.array(hours), np.array(usd), KnownDays(holidays=calendar))
            total = forecast.total_usd
            writer.writerow([case_id, *(f"{x:.6f}" for x in (total.p50, total.p10, total.p90))])


Cases = dict[str, tuple["array[int]", "array[float]"]]


def read_cases(lines: TextIO) -> Cases:
    """Hours and values of each case, in the order of its rows. CommandError names a bad line."""
    rows = csv.reader(lines)
    heading = next(rows, None)
    if heading is None or [name.strip() for name in heading[:3]] != COLUMNS:
        raise CommandError(f"the first line is {','.join(COLUMNS)}; got {','.join(heading or [])}")
    cases: Cases = {}
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        try:
            case_id, hour, value = row[0], _hour(row[1]), float(row[2])
        except (IndexError, ValueError) as error:
            raise CommandError(f"line {number}: {error}; needs {','.join(COLUMNS)}") from error
        if not math.isfinite(value):
            raise CommandError(f"line {number}: value is {row[2]!r}; leave unknown hours out")
        hours, usd = cases.setdefault(case_id, (array("q"), array("d")))
        hours.append(hour)
        usd.append(value)
    return cases


def _hour(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"ts {text!r} has no offset")
    return hour_number(moment)


def forecast_month(
    hours: "np.ndarray[Any, np.dtype[np.int64]]",
    usd: "np.ndarray[Any, np.dtype[np.float64]]",
    known: KnownDays,
) -> PeriodForecast:
    """The UTC month of the last row."""
    cut = int(hours.max()) + 1
    first = (EPOCH + timedelta(days=(cut - 1) // 24)).replace(day=1)
    history = history_before(hours, usd, cut)
    return forecast_period(history, start=first, end=next_month(first), known=known)


def next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def _calendar(country: str | None, cases: Cases) -> frozenset[date]:
    if not country or not cases:
        return frozenset()
    years = {_year(hour) for hours, _ in cases.values() for hour in (min(hours), max(hours))}
    wanted = range(min(years), max(years) + 2)
    try:
        return frozenset(holidays.country_holidays(country.upper(), years=wanted))
    except NotImplementedError as error:
        raise CommandError(f"--country {country!r} is not a country known: {error}") from error


def _year(hour: int) -> int:
    return datetime.fromtimestamp(hour * 3600, UTC).year
