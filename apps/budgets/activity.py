"""What charges brought to which budget's period, written down as they fold. Part of services.

Thresholds are looked at where something changed, however late it came; and pages can say how much
of what was spent had been reserved.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from django.db import connection
from django.db.models import F

from apps.budgets.book import BudgetBook
from apps.budgets.counter_types import CounterId
from apps.budgets.models import Hold, PeriodActivity
from apps.budgets.spent import CommitCounts, amount_value, measured, read_parts
from apps.pricing.core.money import EXACT
from apps.tenants.scoping import current_tenant_id
from apps.usage.commits import Volume
from apps.usage.services import hold_folds

# In one order everywhere: two writers of the same rows cannot deadlock.
_NOTE = """
INSERT INTO budgets_periodactivity AS a
    (tenant_id, budget_id, period_start, changes, checked_changes, fallen_amount, reserved_amount)
SELECT %(tenant_id)s, b, s, 1, 0, f, r
FROM unnest(%(budgets)s::bigint[], %(starts)s::timestamptz[], %(sums)s::numeric[],
    %(fallen)s::numeric[], %(reserved)s::numeric[]) AS u (b, s, sum, f, r)
ORDER BY b, s
ON CONFLICT (tenant_id, budget_id, period_start) DO UPDATE SET
    changes = a.changes + 1,
    fallen_amount = greatest(a.fallen_amount - (
        SELECT sum FROM unnest(%(budgets)s::bigint[], %(starts)s::timestamptz[],
            %(sums)s::numeric[]) AS v (b, s, sum)
        WHERE b = a.budget_id AND s = a.period_start
    ), excluded.fallen_amount),
    reserved_amount = a.reserved_amount + excluded.reserved_amount
"""


@dataclass(frozen=True, slots=True)
class _Change:
    """What a batch brought to a period in all, by how much it stood higher within the batch than at
    its end, and what of it had been reserved."""

    total: Decimal = Decimal(0)
    fallen: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)

    def then(self, amount: Decimal) -> "_Change":
        """After one more commit: what rises makes up for a fall, what falls adds to it."""
        return _Change(
            EXACT.add(self.total, amount),
            max(Decimal(0), EXACT.subtract(self.fallen, amount)),
            self.reserved,
        )


def note_changes(book: BudgetBook, counts: Iterable[CommitCounts]) -> None:
    """Remember which periods these commits changed, in their order. In the fold's transaction."""
    changes: dict[CounterId, _Change] = defaultdict(_Change)
    for each in sorted(counts, key=lambda each: each.commit_number):
        for counter, amount in each.amounts.items():
            unit = book.budgets[counter.budget_id].unit
            changes[counter] = changes[counter].then(amount_value(amount, unit))
    _note(changes)


def note_reserved(book: BudgetBook, settled: Iterable[tuple[Hold, Volume]]) -> None:
    """Add charges to what was spent by reservation, in every period that had held them."""
    sums: dict[CounterId, Decimal] = defaultdict(Decimal)
    for hold, volume in settled:
        for counter, _ in read_parts(hold.parts):
            terms = book.budgets.get(counter.budget_id)
            if terms is not None:
                sums[counter] = EXACT.add(sums[counter], measured(volume, terms.unit))
    _note({counter: _Change(reserved=reserved) for counter, reserved in sums.items()})


@dataclass(frozen=True, slots=True)
class Unchecked:
    """A period whose thresholds are to be looked at, up to which change, and by how much it stood
    higher since the last look."""

    counter: CounterId
    changes: int
    fallen: Decimal


def list_unchecked(limit: int) -> list[Unchecked]:
    """What changed since thresholds were looked at. Lets nobody fold meanwhile: with what the
    rollups say now, it tells how high each period stood."""
    rows = PeriodActivity.objects.filter(changes__gt=F("checked_changes"))
    columns = ("budget_id", "period_start", "changes", "fallen_amount")
    if not rows.exists():
        return []
    hold_folds(current_tenant_id())
    found = rows.order_by("budget_id", "period_start").values_list(*columns)[:limit]
    return [
        Unchecked(CounterId(budget_id, start), changes, fallen)
        for budget_id, start, changes, fallen in found
    ]


def note_checked(checked: Iterable[Unchecked]) -> None:
    """Thresholds were looked at, while folds were held."""
    for one in checked:
        PeriodActivity.objects.filter(
            budget_id=one.counter.budget_id, period_start=one.counter.period_start
        ).update(checked_changes=one.changes, fallen_amount=0)


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


def _note(changes: Mapping[CounterId, _Change]) -> None:
    if not changes:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            _NOTE,
            {
                "tenant_id": current_tenant_id(),
                "budgets": [counter.budget_id for counter in changes],
                "starts": [counter.period_start for counter in changes],
                "sums": [change.total for change in changes.values()],
                "fallen": [change.fallen for change in changes.values()],
                "reserved": [change.reserved for change in changes.values()],
            },
        )
