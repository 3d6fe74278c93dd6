"""Moments from what a clock on the wall shows, through its changes. Pure."""

from datetime import UTC, date, datetime, time, timedelta, tzinfo

MINUTE = timedelta(minutes=1)


def moment_of(day: date, at: time, zone: tzinfo) -> datetime:
    """When the clocks of `zone` first show `at` on that day, in UTC.

    Shown twice (clocks go back): the first time. Never shown (clocks go forward): the moment of the
    change, which is the first at which that time is past.
    """
    first = datetime.combine(day, at, zone).replace(fold=0)
    moment = first.astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == first.replace(tzinfo=None):
        return moment
    # In a gap the two folds enclose the change.
    before = first.replace(fold=1).astimezone(UTC)
    after = moment
    while after - before > MINUTE:
        middle = before + (after - before) // 2 // MINUTE * MINUTE
        if middle.astimezone(zone).utcoffset() == before.astimezone(zone).utcoffset():
            before = middle
        else:
            after = middle
    return after


def day_begins(moment: datetime, zone: tzinfo) -> datetime:
    """The start of the local day that the moment is in, in UTC."""
    return moment_of(moment.astimezone(zone).date(), time.min, zone)


def next_day_begins(moment: datetime, zone: tzinfo) -> datetime:
    """The start of the local day after the moment's, in UTC."""
    return moment_of(moment.astimezone(zone).date() + timedelta(days=1), time.min, zone)
