"""Recent charges as the planner takes them: requests with their worth, what they were billed, and
how well they went. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from apps.routing.core.live import Billed, Judged
from apps.routing.core.rule import Request
from apps.routing.core.value_model import ValueModel

# A task's conversions tell of quality once so many answers could have converted, here and in all.
CONVERSIONS_SEEN: Final = 100
# Outcomes that a cell's conversions count as, at most: they say little of each answer.
CONVERSIONS_COUNT: Final = 200
MAX_CUSTOMERS: Final = 1000
MIDDLING: Final = 0.5
KeyT = TypeVar("KeyT")


class Charge(NamedTuple):
    """One request as it ran. Amounts in USD; None where nobody said. `department` as planned."""

    ts_s: float
    department: str
    customer: str
    tier: str
    task: str
    backend: str
    tokens_in: int
    tokens_out: int
    cost_usd: float | None
    revenue_usd: float | None
    quality: float | None
    converted: bool | None


@dataclass(frozen=True, slots=True)
class Recent:
    """`estimated_out` is the mean output by task, over all backends; `revenue_usd` the mean a
    request of a customer earned; `conversion` the share of a task's answers that converted."""

    requests: Sequence[Request]
    judged: Sequence[Judged]
    billed: Sequence[Billed]
    estimated_out: Mapping[str, float]
    revenue_usd: Mapping[str, float]
    conversion: Mapping[str, float]


def digest(charges: Sequence[Charge], model: ValueModel, backends: frozenset[str]) -> Recent:
    """`charges` by time; those on backends that are not planned with teach nothing."""
    by_task = _means([(c.task, float(c.tokens_out)) for c in charges])
    by_cell = _means([((c.backend, c.task), float(c.tokens_out)) for c in charges])
    revenue = _means([(c.customer, c.revenue_usd or 0.0) for c in charges if c.customer])
    conversion = _means(
        [(c.task, float(c.converted)) for c in charges if c.converted is not None],
        least=CONVERSIONS_SEEN,
    )
    requests, billed, judged = [], [], []
    for charge in charges:
        cell = by_cell[charge.backend, charge.task]
        # As long as the backends' answers are on average: one that writes more is told by what it
        # is billed.
        out = charge.tokens_out * by_task[charge.task] / cell if cell else by_task[charge.task]
        request = Request(
            charge.department,
            charge.tier,
            charge.task,
            charge.tokens_in,
            out,
            2.0 * out,
            model.request_value_usd(
                charge.tier,
                charge.task,
                revenue_usd=revenue.get(charge.customer, 0.0),
                conversion_chance=conversion.get(charge.task, 0.0),
            ),
            MIDDLING,
        )
        requests.append(request)
        if charge.backend not in backends:
            continue
        if charge.cost_usd is not None:
            billed.append(Billed(request, charge.backend, charge.cost_usd))
        if charge.quality is not None:
            judged.append(Judged(charge.task, charge.backend, charge.quality, charge.ts_s))
    judged += _by_conversion(charges, model, backends, conversion)
    top = sorted(revenue, key=lambda name: -revenue[name])[:MAX_CUSTOMERS]
    return Recent(
        requests, judged, billed, by_task, {c: revenue[c] for c in top if revenue[c]}, conversion
    )


def _by_conversion(
    charges: Sequence[Charge],
    model: ValueModel,
    backends: frozenset[str],
    conversion: Mapping[str, float],
) -> list[Judged]:
    """A backend whose answers convert half as often as the task's do is taken for half as good as
    the table's mean. A conversion is rare: n answers tell as much as n x rate reviews."""
    seen: dict[tuple[str, str], list[Charge]] = defaultdict(list)
    for charge in charges:
        if charge.converted is not None and charge.backend in backends:
            seen[charge.task, charge.backend].append(charge)
    judged = []
    for (task, backend), rows in sorted(seen.items()):
        usual = conversion.get(task, 0.0)
        if len(rows) < CONVERSIONS_SEEN or usual <= 0.0:
            continue
        peers = [b for t, b in seen if t == task]
        table = [model.quality_of(b, task, is_local=b.startswith("local/")) for b in peers]
        rate = sum(bool(row.converted) for row in rows) / len(rows)
        success = min(1.0, sum(table) / len(table) * rate / usual)
        count = min(CONVERSIONS_COUNT, round(len(rows) * usual))
        judged += [Judged(task, backend, success, rows[-1].ts_s)] * count
    return judged


def _means(rows: Sequence[tuple[KeyT, float]], *, least: int = 1) -> dict[KeyT, float]:
    sums: dict[KeyT, list[float]] = {}
    for key, value in rows:
        row = sums.setdefault(key, [0.0, 0.0])
        row[0] += value
        row[1] += 1
    return {key: total / count for key, (total, count) in sums.items() if count >= least}
