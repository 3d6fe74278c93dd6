"""A moment in a query string: the tenant's day, or an instant."""

from datetime import UTC, date, datetime, time

from apps.tenants.problems import Problem
from apps.tenants.selectors import TenantInfo


def read_moment(name: str, given: str | None, tenant: TenantInfo) -> datetime | None:
    """The start of a date in the tenant's zone, or an RFC 3339 instant, in UTC; None if not given.

    Raises Problem 422 naming the parameter when it is neither.
    """
    if not given:
        return None
    try:
        if len(given) == 10:
            local = datetime.combine(date.fromisoformat(given), time.min, tenant.zone)
            return local.astimezone(UTC)
        # A "+" in a query string arrives as a space.
        moment = datetime.fromisoformat(given.replace(" ", "+"))
        # The calendar's first and last year leave no room for an offset.
        if moment.tzinfo is not None and 1 < moment.year < 9999:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Problem(
        422,
        "invalid_time",
        f"`{name}` is a date (2026-11-01, in {tenant.time_zone}) or an RFC 3339 time with offset",
        field=name,
    )
