"""The demo's usage of a few weeks again and again over the twelve months before: `make demo-large`.

What ingest wrote of the newest weeks is repeated by `apps.usage.repeating`, whole weeks earlier,
so that weekdays and hours keep their shapes, and folded by the same fold as all else: all copies
of the same weeks at once, as each fold writes every bucket of theirs again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import connection

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
# How far back each stretch of the year lies from the weeks that are repeated.
STRETCHES: Final = [n * WEEKS_REPEATED * WEEK for n in range(1, MONTHS // (WEEKS_REPEATED * WEEK))]
# Between copies of one stretch.
APART: Final = timedelta(minutes=3)
ROWS_PER_FOLD: Final = 1_000_000
# A fold of so many sorts them in memory.
WORK_MEMORY: Final = "256MB"


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
    copies = 0
    with _work_memory():
        while progress.done < missing:
            # Whole rounds through the year first, then one that ends where there is enough.
            rounds = max(1, (missing - progress.done) // (template.rows * len(STRETCHES)))
            for stretch in STRETCHES:
                for copy in range(copies, copies + rounds):
                    _repeat(tenant_id, template, stretch + copy * APART, missing, progress)
                while fold_pending(tenant_id, now=now, most_rows=ROWS_PER_FOLD):
                    pass
            copies += rounds
    progress.finish()
    return progress.done


def count_events(tenant_id: int, *, now: datetime) -> int:
    with tenant_scope(tenant_id):
        start = now - MONTHS - 2 * WEEKS_REPEATED * WEEK
        return read_spend(SpendQuery(start, now + timedelta(days=1))).total.requests


def _repeat(
    tenant_id: int, template: Template, back: timedelta, missing: int, progress: Progress
) -> None:
    """One copy of the template, or what is missing of the events."""
    for first in range(0, template.rows, ROWS_PER_COMMIT):
        rows = min(ROWS_PER_COMMIT, template.rows - first, missing - progress.done)
        if rows > 0:
            progress.advance(
                repeat_charges(
                    tenant_id, template, first=first, rows=rows, back=back, now=datetime.now(UTC)
                )
            )


@contextmanager
def _work_memory() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('work_mem', %s, false)", [WORK_MEMORY])
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET work_mem")
