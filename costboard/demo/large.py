"""The demo's usage of a few weeks again and again over the twelve months before: `make demo-large`.

What ingest wrote of the newest weeks is repeated by `apps.usage.repeating`, whole weeks earlier,
so that weekdays and hours keep their shapes, and folded by the same fold as all else.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from apps.tenants.scoping import tenant_scope
from apps.usage.repeating import (
    ROWS_PER_COMMIT,
    Template,
    ensure_months,
    repeat_charges,
    take_template,
)
from apps.usage.selectors import SpendQuery, read_spend
from apps.usage.services import fold_pending
from costboard.demo.progress import Progress

WEEKS_REPEATED: Final = 4
MONTHS: Final = timedelta(days=364)
WEEK: Final = timedelta(weeks=1)


def load_large(tenant_id: int, *, wanted_events: int, now: datetime) -> int:
    """Repeat the newest weeks until the tenant has so many events; returns how many were written.

    Copies of one week stand minutes apart. Safe to repeat: what is there counts.
    """
    missing = wanted_events - count_events(tenant_id, now=now)
    if missing <= 0:
        return 0
    end = now.replace(minute=0, second=0, microsecond=0)
    template = take_template(tenant_id, end - WEEKS_REPEATED * WEEK, end, now=now)
    if not template.rows:
        return 0
    ensure_months(now - MONTHS - WEEKS_REPEATED * WEEK, now)
    progress = Progress("months", missing)
    for back in shifts():
        for first in range(0, template.rows, ROWS_PER_COMMIT):
            rows = min(ROWS_PER_COMMIT, template.rows - first, missing - progress.done)
            if rows <= 0:
                progress.finish()
                return progress.done
            progress.advance(_repeat(tenant_id, template, first, rows, back))
    progress.finish()
    return progress.done


def shifts() -> Iterator[timedelta]:
    """Every four weeks back through the months, then the same some minutes off, without end."""
    blocks = MONTHS // (WEEKS_REPEATED * WEEK)
    for round_ in range(1, 10_000):
        for block in range(1, blocks):
            yield block * WEEKS_REPEATED * WEEK + timedelta(minutes=3 * (round_ - 1))


def count_events(tenant_id: int, *, now: datetime) -> int:
    with tenant_scope(tenant_id):
        start = now - MONTHS - 2 * WEEKS_REPEATED * WEEK
        return read_spend(SpendQuery(start, now + timedelta(days=1))).total.requests


def _repeat(tenant_id: int, template: Template, first: int, rows: int, back: timedelta) -> int:
    now = datetime.now(UTC)
    written = repeat_charges(tenant_id, template, first=first, rows=rows, back=back, now=now)
    while fold_pending(tenant_id, now=now):
        pass
    return written
