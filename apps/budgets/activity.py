"""What charges brought to which budget's period, written down as they fold. Part of services.

Thresholds are looked at where something changed, however late it came; and pages can say how much
of what was spent had been reserved.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal

from django.db import connection
from django.db.models import F

from apps.budgets.book import BudgetBook
from apps.budgets.counters import CounterId
from apps.budgets.models import Hold, PeriodActivity
from apps.budgets.spent import CommitCounts, measured, read_parts
from apps.pricing.core.money import EXACT
from apps.tenants.scoping import current_tenant_id
from apps.usage.commits import Volume

# In one order everywhere: two writers of the same rows cannot deadlock.
_NOTE = """
INSERT INTO budgets_periodactivity AS a
    (tenant_id, budget_id, period_start, changes, checked_changes, reserved_amount)
SELECT %(tenant_id)s, b, s, 1, 0, r
FROM unnest(%(budgets)s::bigint[], %(starts)s::timestamptz[], %(reserved)s::numeric[])
    AS u (b, s, r)
ORDER BY b, s
ON CONFLICT (tenant_id, budget_id, period_start) DO UPDATE SET
    changes = a.changes + 1, reserved_amount = a.reserved_amount + excluded.reserved_amount
"""


def note_changes(counts: Iterable[CommitCounts]) -> None:
    """Remember which periods these commits changed. In the fold's transaction."""
    _note({counter: Decimal(0) for each in counts for counter in each.amounts})


def note_reserved(book: BudgetBook, settled: Iterable[tuple[Hold, Volume]]) -> None:
    """Add charges to what was spent by reservation, in every period that had held them."""
    sums: dict[CounterId, Decimal] = defaultdict(Decimal)
    for hold, volume in settled:
        for counter, _ in read_parts(hold.parts):
            terms = book.budgets.get(counter.budget_id)
            if terms is not None:
                sums[counter] = EXACT.add(sums[counter], measured(volume, terms.unit))
    _note(sums)


def list_unchecked() -> dict[CounterId, int]:
    """The periods whose thresholds are to be looked at, and the change up to which."""
    rows = PeriodActivity.objects.filter(changes__gt=F("checked_changes"))
    return {
        CounterId(budget_id, start): changes
        for budget_id, start, changes in rows.values_list("budget_id", "period_start", "changes")
    }


def note_checked(checked: Mapping[CounterId, int]) -> None:
    """Thresholds were looked at; what changed meanwhile stays to be looked at."""
    for counter, changes in sorted(checked.items()):
        PeriodActivity.objects.filter(
            budget_id=counter.budget_id, period_start=counter.period_start
        ).update(checked_changes=changes)


def read_reserved(counters: Iterable[CounterId]) -> dict[CounterId, Decimal]:
    """What of each period's spent came by reservation."""
    wanted = set(counters)
    rows = PeriodActivity.objects.filter(
        budget_id__in={c.budget_id for c in wanted},
        period_start__in={c.period_start for c in wanted},
    )
    found: dict[CounterId, Decimal] = {}
    columns = ("budget_id", "period_start", "reserved_amount")
    for budget_id, start, reserved in rows.values_list(*columns):
        found[CounterId(budget_id, start)] = reserved
    return {counter: found.get(counter, Decimal(0)) for counter in wanted}


def _note(reserved: Mapping[CounterId, Decimal]) -> None:
    if not reserved:
        return
    budgets: list[int] = []
    starts: list[datetime] = []
    for counter in reserved:
        budgets.append(counter.budget_id)
        starts.append(counter.period_start)
    with connection.cursor() as cursor:
        cursor.execute(
            _NOTE,
            {
                "tenant_id": current_tenant_id(),
                "budgets": budgets,
                "starts": starts,
                "reserved": list(reserved.values()),
            },
        )
