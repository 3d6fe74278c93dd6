"""When reports are due, and what they cover, by the clocks of their tenants."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from apps.dashboards.reports.times import Rhythm, closed_period, last_due, next_due, period_name

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# The rhythm, where, and now; when it was due, the first day it covers, when it is due next.
CASES = """
# The 31st is February's last day, and April's.
monthly 31 8  UTC  2027-03-01T00:00  2027-02-28T08:00 2027-01-01 2027-03-31T08:00
monthly 31 8  UTC  2028-02-29T08:00  2028-02-29T08:00 2028-01-01 2028-03-31T08:00
monthly 31 8  UTC  2027-04-30T07:59  2027-03-31T08:00 2027-02-01 2027-04-30T08:00
monthly 1 0   UTC  2027-01-01T00:00  2027-01-01T00:00 2026-12-01 2027-02-01T00:00
# 28 March 2027: clocks skip from 2 to 3, which is when 02:00 is past.
weekly 6 2  Europe/Berlin  2027-03-28T00:59  2027-03-21T01:00 2027-03-08 2027-03-28T01:00
weekly 6 2  Europe/Berlin  2027-03-28T01:00  2027-03-28T01:00 2027-03-15 2027-04-04T00:00
# 25 October 2026: they show 02:00 twice, and the first counts.
weekly 6 2  Europe/Berlin  2026-10-25T00:30  2026-10-25T00:00 2026-10-12 2026-11-01T01:00
# Monday, 08:00 there is Monday, 02:15 in UTC.
weekly 0 8  Asia/Kathmandu  2026-11-23T02:15  2026-11-23T02:15 2026-11-16 2026-11-30T02:15
weekly 0 8  Asia/Kathmandu  2026-11-23T02:14  2026-11-16T02:15 2026-11-09 2026-11-23T02:15
"""


@pytest.mark.parametrize("case", [c for c in CASES.splitlines() if c and not c.startswith("#")])
def test_due_and_covered(case: str) -> None:
    frequency, day, hour, name, now, due, covers, then = case.split()
    zone, one = ZoneInfo(name), Rhythm(frequency, int(day), int(hour))  # type: ignore[arg-type]
    assert last_due(one, zone, at(now)) == (at(due), date.fromisoformat(covers))
    assert next_due(one, zone, at(now)) == at(then)


def test_a_week_over_a_change_of_clocks_is_of_whole_local_days() -> None:
    week = closed_period("weekly", date(2026, 10, 19), BERLIN)
    assert (week.start, week.end) == (at("2026-10-18T22:00"), at("2026-10-25T23:00"))
    assert week.before_start == at("2026-10-11T22:00")
    assert len(week.days) == 7
    month = closed_period("monthly", date(2026, 3, 1), BERLIN)
    assert (month.before_start, month.before_end) == (at("2026-01-31T23:00"), month.start)


def test_periods_have_names() -> None:
    assert period_name("weekly", date(2026, 11, 16)) == "the week of 16 to 22 November 2026"
    assert period_name("weekly", date(2026, 12, 28)) == (
        "the week of 28 December to 3 January 2027"
    )
    assert period_name("monthly", date(2026, 10, 1)) == "October 2026"
