"""Labels under a time axis, at several densities: the browser takes the densest that fits. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TypeVar

from apps.dashboards.periods import month_name, short_day, weekday_name

# Positions along the axis and what to write there.
Tier = tuple[tuple[int, str], ...]
MomentT = TypeVar("MomentT", bound=date)


@dataclass(frozen=True, slots=True)
class Axis:
    """Buckets in order: a unique label each (a hover's heading), and tick tiers, densest first."""

    labels: tuple[str, ...]
    tiers: tuple[Tier, ...]


def day_label(day: date) -> str:
    return f"{weekday_name(day)[:3]} {short_day(day)}"


def day_axis(days: Sequence[date]) -> Axis:
    """Every day, every other, each week's Monday (a month: 1, 8, 15, ...), and month starts."""
    whole_month = bool(days) and days[0].day == 1 and len(days) <= 31
    every_other = (lambda d: d.day % 2 == 1) if whole_month else (lambda d: d.toordinal() % 2 == 0)
    weekly = (lambda d: d.day % 7 == 1) if whole_month else (lambda d: d.weekday() == 0)
    keep: list[Callable[[date], bool]] = [
        lambda _: True,
        every_other,
        weekly,
        (lambda d: d.weekday() == 0 and d.toordinal() % 14 < 7),
        (lambda d: d.day == 1),
    ]
    tiers = [_tier(days, wanted, _day_text) for wanted in keep]
    return Axis(tuple(day_label(day) for day in days), tuple(tier for tier in tiers if tier))


def _day_text(day: date, before: date | None) -> str:
    """The month is named where it changes."""
    return str(day.day) if before and before.month == day.month else short_day(day)


def minute_axis(moments: Sequence[datetime]) -> Axis:
    """Local minutes: each fifth, tenth, fifteenth and thirtieth."""
    keep = [_every_minutes(step) for step in (5, 10, 15, 30)]
    tiers = [_tier(moments, wanted, _clock) for wanted in keep]
    labels = _unique([f"{moment:%H:%M}" for moment in moments])
    return Axis(labels, tuple(tier for tier in tiers if tier))


def hour_axis(moments: Sequence[datetime]) -> Axis:
    """Local hours: over a day each third, sixth, twelfth; over more, the days' starts."""
    labels = _unique([f"{day_label(moment.date())}, {moment:%H:%M}" for moment in moments])
    if not moments or moments[-1] - moments[0] <= timedelta(hours=49):
        tiers = [_tier(moments, _every_hours(step), _clock) for step in (1, 3, 6, 12)]
    else:
        tiers = [
            _tier(moments, _every_hours(24), lambda m, _: day_label(m.date())),
            _tier(moments, _every_hours(24), lambda m, _: short_day(m.date())),
            _tier(moments, lambda m: m.hour == 0 and m.toordinal() % 2 == 0, _day_of),
        ]
    return Axis(labels, tuple(tier for tier in tiers if tier))


def _clock(moment: datetime, before: datetime | None) -> str:  # noqa: ARG001
    return f"{moment:%H:%M}"


def _day_of(moment: datetime, before: datetime | None) -> str:  # noqa: ARG001
    return short_day(moment.date())


def _every_minutes(step: int) -> Callable[[datetime], bool]:
    return lambda moment: moment.minute % step == 0


def _every_hours(step: int) -> Callable[[datetime], bool]:
    return lambda moment: moment.hour % step == 0 and moment.minute == 0


def _tier(
    moments: Sequence[MomentT],
    wanted: Callable[[MomentT], bool],
    text: Callable[[MomentT, MomentT | None], str],
) -> Tier:
    """`text` gets each moment kept, and the one kept before it."""
    positions = [n for n, moment in enumerate(moments) if wanted(moment)]
    before = [None, *(moments[n] for n in positions)]
    return tuple((n, text(moments[n], before[k])) for k, n in enumerate(positions))


def _unique(labels: Sequence[str]) -> tuple[str, ...]:
    """Where clocks go back an hour comes twice: the second is named so."""
    seen: set[str] = set()
    made = []
    for label in labels:
        made.append(f"{label} again" if label in seen else label)
        seen.add(label)
    return tuple(made)


def buckets_between(
    start: datetime, end: datetime, step: timedelta, known: datetime | None
) -> list[datetime]:
    """Every bucket start that meets [start, end), in phase with one that is known to exist.

    Rollups cut hours where the tenant's clock does, which may be at :15, :30 or :45 of UTC.
    """
    phase = known if known is not None else start
    first = start - (start - phase) % step
    moments = []
    while first < end:
        moments.append(first)
        first += step
    return moments


def week_axis(mondays: Sequence[date]) -> Axis:
    """Weeks by their first days: each, every other, each fourth."""
    tiers = [
        _tier(mondays, _every_weeks(step), lambda day, _: short_day(day)) for step in (1, 2, 4, 13)
    ]
    return Axis(tuple(_week_label(day) for day in mondays), tuple(tier for tier in tiers if tier))


def _week_label(day: date) -> str:
    return f"week of {short_day(day)} {day.year}"


def _every_weeks(step: int) -> Callable[[date], bool]:
    return lambda day: day.toordinal() // 7 % step == 0


def month_axis(firsts: Sequence[date]) -> Axis:
    """Months: each, each quarter's first, Januaries."""
    tiers = [
        _tier(firsts, lambda _: True, _month_text),
        _tier(firsts, lambda day: day.month % 3 == 1, _month_text),
        _tier(firsts, lambda day: day.month == 1, _month_text),
    ]
    labels = tuple(f"{month_name(day)} {day.year}" for day in firsts)
    return Axis(labels, tuple(tier for tier in tiers if tier))


def _month_text(day: date, before: date | None) -> str:
    """The year is named where it changes."""
    name = month_name(day)[:3]
    return name if before and before.year == day.year else f"{name} {day.year}"
