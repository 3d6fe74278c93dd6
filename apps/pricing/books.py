"""Closed months: no price within them changes. A part of services."""

from datetime import datetime

from apps.pricing.errors import ClosedPeriodError
from apps.tenants.selectors import get_tenant


def check_books_open(changed_from: datetime | None, *, field: str) -> None:
    """Raise ClosedPeriodError if prices would change from this moment (None: ever) on, and the
    tenant in scope has closed its books for a part of that. The database says the same."""
    tenant = get_tenant()
    open_from = tenant.books_open_from
    if open_from is None or (changed_from is not None and changed_from >= open_from):
        return
    since = "the beginning of time" if changed_from is None else changed_from.isoformat()
    raise ClosedPeriodError(
        f"this would change prices from {since} on, but the books are closed through"
        f" {tenant.books_closed_through}: let it begin at {open_from.isoformat()} or later,"
        " or open those months first",
        field=field,
    )
