"""Where a month ends if it goes on as it has so far. Pure."""

from datetime import datetime, timedelta
from decimal import Decimal

# Less than a day says more about the hour than about the month.
MIN_ELAPSED = timedelta(days=1)


def project_month_end(
    spent_usd: Decimal, *, month_start: datetime, month_end: datetime, now: datetime
) -> Decimal | None:
    """Spend so far / time so far * the whole month, in USD; None while too little has passed.

    Needs aware datetimes, so that months with a change of clocks have the hours they have.
    """
    elapsed = min(now, month_end) - month_start
    if elapsed < MIN_ELAPSED:
        return None
    return spent_usd * Decimal(_microseconds(month_end - month_start)) / _microseconds(elapsed)


def _microseconds(length: timedelta) -> int:
    return length // timedelta(microseconds=1)
