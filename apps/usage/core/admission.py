"""Which events are taken at all: the time window. Pure."""

from datetime import datetime, timedelta

from apps.usage.core.events import Parsed, Rejection

# A year and a month: late corrections of last year's books still arrive.
RETENTION = timedelta(days=400)
# Routers' clocks are wrong; an event from further ahead is a mistake, not a clock.
MAX_CLOCK_AHEAD = timedelta(hours=1)
MAX_ROWS = 10_000


def admit(parsed: Parsed, *, now: datetime) -> Parsed:
    """`parsed` without the events outside [now - RETENTION, now + MAX_CLOCK_AHEAD]."""
    oldest, newest = now - RETENTION, now + MAX_CLOCK_AHEAD
    if all(oldest <= event.occurred_at <= newest for event in parsed.events):
        return parsed
    said = parsed.attributes
    kept = Parsed(
        events=[],
        indexes=[],
        rejections=list(parsed.rejections),
        attributes=None if said is None else [],
    )
    for row, (index, event) in enumerate(zip(parsed.indexes, parsed.events, strict=True)):
        if oldest <= event.occurred_at <= newest:
            kept.events.append(event)
            kept.indexes.append(index)
            if said is not None and kept.attributes is not None:
                kept.attributes.append(said[row])
        else:
            kept.rejections.append(_refuse(index, event.event_id, event.occurred_at, now))
    return kept


def _refuse(index: int, event_id: str, occurred_at: datetime, now: datetime) -> Rejection:
    if occurred_at > now:
        code = "timestamp_in_future"
        limit = f"at most {MAX_CLOCK_AHEAD} ahead of this server's clock; check the router's clock"
    else:
        code = "timestamp_too_old"
        limit = f"at most {RETENTION.days} days old"
    return Rejection(
        index=index,
        id=event_id,
        code=code,
        field="timestamp",
        detail=f"timestamp {occurred_at.isoformat()} is outside what is kept: {limit}",
    )
