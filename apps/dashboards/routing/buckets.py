"""How a window is cut into buckets for its figure, and where each row falls. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from apps.dashboards.periods import Window, days_between
from apps.dashboards.ticks import Axis, buckets_between, day_axis, hour_axis, minute_axis
from apps.usage.selectors import Interval, SpendRow

INTERVALS: Mapping[str, Interval] = {
    "15m": "minute",
    "hour": "minute",
    "day": "hour",
    "week": "hour",
    "month": "day",
}
# Minutes that may make one bucket: the fewest that hold enough requests for a share to mean much.
MINUTES_OF: Mapping[str, tuple[int, ...]] = {"15m": (1, 3), "hour": (1, 2, 5)}
ENOUGH_REQUESTS = 25
HOURS_OF: Mapping[str, int] = {"day": 1, "week": 6}
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Buckets:
    """The buckets of a figure, in order, and the rollups' own buckets that fall into each."""

    axis: Axis
    in_words: str
    places: Mapping[date | datetime, int]

    @property
    def count(self) -> int:
        return len(self.axis.labels)

    def place(self, bucket: date | datetime | None) -> int | None:
        """Where a row's bucket is drawn; None outside the window."""
        if isinstance(bucket, datetime):
            return self.places.get(bucket.astimezone(UTC))
        return None if bucket is None else self.places.get(bucket)


def cut_window(window: Window, zone: ZoneInfo, rows: Sequence[SpendRow]) -> Buckets:
    interval = INTERVALS[window.slug]
    if interval == "day":
        return _days(window, zone)
    if interval == "hour":
        return _hours(window, zone, rows)
    return _minutes(window, zone, sum(row.requests for row in rows))


def _days(window: Window, zone: ZoneInfo) -> Buckets:
    last = (window.end - timedelta(microseconds=1)).astimezone(zone).date()
    days = days_between(window.start.astimezone(zone).date(), last + timedelta(days=1))
    return Buckets(day_axis(days), "day", {day: n for n, day in enumerate(days)})


def _hours(window: Window, zone: ZoneInfo, rows: Sequence[SpendRow]) -> Buckets:
    """Hours, or quarters of the local day over a week: 168 bars would be a texture."""
    # Rollups cut hours where the tenant's clock does: :15, :30 or :45 of UTC in some zones.
    known = next((row.bucket for row in rows if isinstance(row.bucket, datetime)), None)
    phase = known or window.start.astimezone(zone).replace(minute=0, second=0, microsecond=0)
    hours = buckets_between(window.start, window.end, HOUR, phase)
    together = HOURS_OF[window.slug]
    starts: list[datetime] = []
    places: dict[date | datetime, int] = {}
    last_block: tuple[date, int] | None = None
    for hour in hours:
        local = hour.astimezone(zone)
        block = (local.date(), local.hour // together)
        # Where clocks go back an hour comes twice: alone it stays two, in a block it is one.
        if block != last_block or together == 1:
            first = local.hour - local.hour % together
            starts.append(local.replace(hour=first, minute=0) if together > 1 else local)
            last_block = block
        places[hour.astimezone(UTC)] = len(starts) - 1
    words = "hour" if together == 1 else f"{together} hours"
    return Buckets(hour_axis(starts), words, places)


def _minutes(window: Window, zone: ZoneInfo, requests: int) -> Buckets:
    choices = MINUTES_OF[window.slug]
    together = next(
        (n for n in choices if requests * n >= ENOUGH_REQUESTS * window.minutes), choices[-1]
    )
    step = timedelta(minutes=together)
    moments = buckets_between(window.start, window.end, step, datetime(2000, 1, 1, tzinfo=UTC))
    axis = minute_axis([moment.astimezone(zone) for moment in moments])
    places: dict[date | datetime, int] = {
        (moment + timedelta(minutes=n)).astimezone(UTC): place
        for place, moment in enumerate(moments)
        for n in range(together)
    }
    return Buckets(axis, "minute" if together == 1 else f"{together} minutes", places)
