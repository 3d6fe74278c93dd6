"""Stretches of the tenant's own time, and what each is compared with. Pure."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from apps.dashboards.conventions import conventions

MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DEFAULT_PERIOD = "month"
ROLLING_DAYS = {"7d": 7, "30d": 30, "90d": 90}
PERIOD_LABELS = {
    "month": "This month",
    "last-month": "Last month",
    "7d": "7 days",
    "30d": "30 days",
    "90d": "90 days",
}
WINDOW_LABELS = {
    "15m": "15 minutes",
    "hour": "Hour",
    "day": "Day",
    "week": "Week",
    "month": "30 days",
}
DEFAULT_WINDOW = "hour"
WINDOW_LENGTHS = {
    "15m": timedelta(minutes=15),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
}


WINDOW_WORDS = {
    "15m": "in the last 15 minutes",
    "hour": "in the last hour",
    "day": "in the last 24 hours",
    "week": "in the last 7 days",
    "month": "in the last 30 days",
}


@dataclass(frozen=True, slots=True)
class Period:
    """[start, end) in whole local days up to `end`, and the stretch it is measured against.

    `days` are the local days a chart shows: those of the month still to come too.
    """

    slug: str
    start: datetime
    end: datetime
    before_start: datetime
    before_end: datetime
    days: tuple[date, ...]
    in_words: str
    before_in_words: str


@dataclass(frozen=True, slots=True)
class Window:
    """The last stretch of time up to now, in buckets."""

    slug: str
    start: datetime
    end: datetime
    before_start: datetime
    in_words: str

    @property
    def minutes(self) -> int:
        return (self.end - self.start) // timedelta(minutes=1)


def local_moment(day: date, wall_time: time, zone: ZoneInfo) -> datetime:
    """The instant of a wall clock time on a local day, in UTC.

    A time that the clocks skip is read an hour later, one that comes twice as the first.
    """
    return datetime.combine(day, wall_time, tzinfo=zone).astimezone(UTC)


def local_midnight(day: date, zone: ZoneInfo) -> datetime:
    return local_moment(day, time.min, zone)


def month_start(day: date) -> date:
    return day.replace(day=1)


def next_month(day: date) -> date:
    return month_start(month_start(day) + timedelta(days=32))


def previous_month(day: date) -> date:
    return month_start(month_start(day) - timedelta(days=1))


def days_between(first: date, end: date) -> tuple[date, ...]:
    """The days of [first, end)."""
    return tuple(first + timedelta(days=n) for n in range((end - first).days))


def month_name(day: date) -> str:
    """English, whatever the server's locale: pages are in English."""
    return MONTHS[day.month - 1]


def weekday_name(day: date) -> str:
    return WEEKDAYS[day.weekday()]


def in_order(day: date, month: str, *, year: bool = True) -> str:
    """A day in the order of whoever reads: 16 Nov 2026; Nov 16, 2026; 2026 Nov 16."""
    order = conventions().day_order
    if not year:
        return f"{day.day} {month}" if order == "dmy" else f"{month} {day.day}"
    if order == "mdy":
        return f"{month} {day.day}, {day.year}"
    return f"{day.day} {month} {day.year}" if order == "dmy" else f"{day.year} {month} {day.day}"


def long_day(day: date) -> str:
    """16 November 2026"""
    return in_order(day, month_name(day))


def dated(day: date) -> str:
    """16 Nov 2026"""
    return in_order(day, month_name(day)[:3])


def short_day(day: date) -> str:
    """16 Nov"""
    return in_order(day, month_name(day)[:3], year=False)


def read_period(slug: str, zone: ZoneInfo, now: datetime) -> Period:
    """The period a slug names; an unknown one is this month."""
    if slug in ROLLING_DAYS:
        return _rolling(slug, zone, now)
    if slug == "last-month":
        return _last_month(zone, now)
    return _this_month(zone, now)


def _this_month(zone: ZoneInfo, now: datetime) -> Period:
    local = now.astimezone(zone)
    first, before = month_start(local.date()), previous_month(local.date())
    # 31 March by 10:40 is compared with the whole of February.
    same_day = before + timedelta(days=local.day - 1)
    same_moment = local_moment(same_day, local.time(), zone)
    return Period(
        slug="month",
        start=local_midnight(first, zone),
        end=now,
        before_start=local_midnight(before, zone),
        before_end=min(same_moment, local_midnight(first, zone)),
        days=days_between(first, next_month(first)),
        in_words=f"in {month_name(first)} so far",
        before_in_words=f"{month_name(before)} by this moment",
    )


def _last_month(zone: ZoneInfo, now: datetime) -> Period:
    end = month_start(now.astimezone(zone).date())
    first = previous_month(end)
    before = previous_month(first)
    return Period(
        slug="last-month",
        start=local_midnight(first, zone),
        end=local_midnight(end, zone),
        before_start=local_midnight(before, zone),
        before_end=local_midnight(first, zone),
        days=days_between(first, end),
        in_words=f"in {month_name(first)}",
        before_in_words=month_name(before),
    )


def _rolling(slug: str, zone: ZoneInfo, now: datetime) -> Period:
    length = ROLLING_DAYS[slug]
    local = now.astimezone(zone)
    first = local.date() - timedelta(days=length - 1)
    before = first - timedelta(days=length)
    return Period(
        slug=slug,
        start=local_midnight(first, zone),
        end=now,
        before_start=local_midnight(before, zone),
        before_end=local_moment(local.date() - timedelta(days=length), local.time(), zone),
        days=days_between(first, local.date() + timedelta(days=1)),
        in_words=f"in the last {length} days",
        before_in_words=f"the {length} days before",
    )


def chosen_period(first: date, last: date, zone: ZoneInfo, now: datetime) -> Period:
    """Local days from the first to the last, both in; beside as many days before them.

    Where the last is today the period has got as far as now, and so does what it is compared with.
    """
    length = (last - first).days + 1
    after = last + timedelta(days=1)
    before = first - timedelta(days=length)
    start, end = local_midnight(first, zone), local_midnight(after, zone)
    local = now.astimezone(zone)
    is_running = start < now < end and local.date() == last
    return Period(
        slug="days",
        start=start,
        end=now if is_running else end,
        before_start=local_midnight(before, zone),
        before_end=(
            local_moment(first - timedelta(days=1), local.time(), zone) if is_running else start
        ),
        days=days_between(first, after),
        in_words=_days_in_words(first, last),
        before_in_words="the day before" if length == 1 else f"the {length} days before",
    )


def _days_in_words(first: date, last: date) -> str:
    if first == last:
        return f"on {long_day(first)}"
    return f"from {dated(first)} to {dated(last)}"


def end_of_day(moment: datetime, zone: ZoneInfo) -> datetime:
    """The local midnight at or after a moment."""
    day = moment.astimezone(zone).date()
    midnight = local_midnight(day, zone)
    return midnight if midnight == moment else local_midnight(day + timedelta(days=1), zone)


def read_window(slug: str, zone: ZoneInfo, now: datetime) -> Window:
    """The window a slug names; an unknown one is the last hour. A month is of local days."""
    slug = slug if slug in WINDOW_LENGTHS else DEFAULT_WINDOW
    length = WINDOW_LENGTHS[slug]
    start, before_start = now - length, now - 2 * length
    if slug == "month":
        today = now.astimezone(zone).date()
        start = local_midnight(today - timedelta(days=length.days - 1), zone)
        before_start = local_midnight(today - timedelta(days=2 * length.days - 1), zone)
    return Window(slug, start, now, before_start, WINDOW_WORDS[slug])
