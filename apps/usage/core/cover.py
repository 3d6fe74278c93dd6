"""How a stretch of time is put together from few buckets: whole months, days, quarter hours.

A bucket may also be taken away: all but the last two days of a month is the month less two days.
Pure. Every zone's offset is a multiple of 15 minutes, so that quarter hours fill any local day.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

Grain = Literal["minute", "quarter_hour", "day", "month"]
MINUTE: Final = timedelta(minutes=1)
QUARTER_HOUR: Final = timedelta(minutes=15)
DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
# Reading two stretches for one costs something too: what is taken away has to save as many buckets.
_SAVES: Final = 4


@dataclass(frozen=True, slots=True)
class Span:
    """Buckets of one grain in [start, end): instants of quarter hours, local dates of days, first
    days of months. `sign` -1 takes them away."""

    grain: Grain
    start: date | datetime
    end: date | datetime
    sign: Literal[1, -1] = 1


def floor_to(moment: datetime, step: timedelta) -> datetime:
    return moment - (moment - _EPOCH) % step


def ceil_to(moment: datetime, step: timedelta) -> datetime:
    return moment + (_EPOCH - moment) % step


def quarter_hours(start: datetime, end: datetime) -> tuple[Span, ...]:
    """The quarter hours that [start, end) touches."""
    start, end = floor_to(start, QUARTER_HOUR), ceil_to(end, QUARTER_HOUR)
    return (Span("quarter_hour", start, end),) if start < end else ()


def cover(start: datetime, end: datetime, zone: ZoneInfo, *, with_months: bool) -> tuple[Span, ...]:
    """[start, end), widened to whole quarter hours, as the sum of few buckets of the zone's days.

    Without months every span falls into one day each.
    """
    start, end = floor_to(start, QUARTER_HOUR), ceil_to(end, QUARTER_HOUR)
    if start >= end:
        return ()
    first, last = start.astimezone(zone).date(), end.astimezone(zone).date()
    starts_whole, ends_whole = start == _midnight(first, zone), end == _midnight(last, zone)
    if first == last:
        return tuple(_part_of_day(first, start, end, zone))
    spans: list[Span] = []
    if not starts_whole:
        spans += _part_of_day(first, start, _midnight(first + DAY, zone), zone)
        first += DAY
    spans += _months(first, last) if with_months else _days(first, last)
    if not ends_whole:
        spans += _part_of_day(last, _midnight(last, zone), end, zone)
    return tuple(_netted(spans))


def _netted(spans: Sequence[Span]) -> Iterator[Span]:
    """Neighbours as one, and nothing both added and taken away; the coarsest first."""
    for grain in ("month", "day", "quarter_hour"):
        steps: dict[Any, int] = {}
        for span in spans:
            if span.grain == grain:
                steps[span.start] = steps.get(span.start, 0) + span.sign
                steps[span.end] = steps.get(span.end, 0) - span.sign
        marks = sorted(mark for mark, step in steps.items() if step)
        for start, end, level in zip(
            marks, marks[1:], accumulate(steps[mark] for mark in marks), strict=False
        ):
            if level:
                yield Span(grain, start, end, 1 if level > 0 else -1)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """Where a local day begins; where clocks skip midnight, when they have."""
    return datetime.combine(day, time.min, zone).astimezone(UTC)


def _part_of_day(day: date, start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[Span]:
    midnight, after = _midnight(day, zone), _midnight(day + DAY, zone)
    inside, outside = end - start, (start - midnight) + (after - end)
    if inside <= outside + (_SAVES + 1) * QUARTER_HOUR:
        yield Span("quarter_hour", start, end)
        return
    yield Span("day", day, day + DAY)
    for missing_start, missing_end in ((midnight, start), (end, after)):
        if missing_start < missing_end:
            yield Span("quarter_hour", missing_start, missing_end, -1)


def _days(first: date, end: date) -> Iterator[Span]:
    if first < end:
        yield Span("day", first, end)


def _months(first: date, end: date) -> Iterator[Span]:
    """Days of [first, end) as months, and single days before and after them."""
    head_end = min(_next_month(first), end) if first.day > 1 else first
    tail_start = max(end.replace(day=1), head_end)
    yield from _part_of_month(first, head_end)
    if head_end < tail_start:
        yield Span("month", head_end, tail_start)
    yield from _part_of_month(tail_start, end)


def _part_of_month(first: date, end: date) -> Iterator[Span]:
    if first >= end:
        return
    month, after = first.replace(day=1), _next_month(first)
    inside, outside = (end - first).days, (first - month).days + (after - end).days
    if inside <= outside + _SAVES + 1:
        yield Span("day", first, end)
        return
    yield Span("month", month, after)
    for missing_first, missing_end in ((month, first), (end, after)):
        if missing_first < missing_end:
            yield Span("day", missing_first, missing_end, -1)


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
