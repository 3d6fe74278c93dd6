"""Why spend changed between two stretches of time: rollup rows handed to core/spend_change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from apps.insights.core.spend_change import (
    ChangeCell,
    Effects,
    ListPrices,
    Usage,
    exact_sum,
    split_change,
)
from apps.pricing.core.meters import CACHE_READ, CACHE_WRITE_5M, INPUT, OUTPUT, PARENT
from apps.pricing.core.money import EXACT
from apps.pricing.selectors import list_backends
from apps.usage.selectors import Dimension, SpendRow


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """What one value of a dimension cost before and now, and why: its effects add up to that."""

    key: str | None
    before_usd: Decimal
    now_usd: Decimal
    effects: Effects

    @property
    def change_usd(self) -> Decimal:
        return EXACT.subtract(self.now_usd, self.before_usd)


@dataclass(frozen=True, slots=True)
class SpendChange:
    """The change of the whole, and of each value of a dimension on its own.

    `between` is what no line has: shifts between them. Its effects add up to nothing, and with
    it every column of effects adds up to the whole's.
    """

    whole: ChangeLine
    lines: list[ChangeLine]
    between: Effects


def explain_change(
    now: Sequence[SpendRow],
    before: Sequence[SpendRow],
    *,
    at: datetime,
    by: Dimension | None = None,
) -> SpendChange:
    """Rows of two stretches that carry a `backend` label, and one for `by`; list prices of `at`.

    Lines come by how much they changed, the most first.
    """
    prices = _list_prices(at)
    whole = _line(None, now, before, prices)
    if by is None:
        return SpendChange(whole, [], Effects())
    keys = dict.fromkeys(row.labels[by] for row in (*now, *before))
    lines = [
        _line(
            key,
            [row for row in now if row.labels[by] == key],
            [row for row in before if row.labels[by] == key],
            prices,
        )
        for key in keys
    ]
    lines.sort(key=lambda line: (-abs(line.change_usd), -line.now_usd, line.key or ""))
    return SpendChange(whole, lines, whole.effects.minus(line.effects for line in lines))


def _line(
    key: str | None,
    now: Sequence[SpendRow],
    before: Sequence[SpendRow],
    prices: dict[str, ListPrices],
) -> ChangeLine:
    used_now, used_before = _by_backend(now), _by_backend(before)
    cells = [
        ChangeCell(
            used_before.get(backend, Usage()), used_now.get(backend, Usage()), prices.get(backend)
        )
        for backend in dict.fromkeys([*used_now, *used_before])
    ]
    return ChangeLine(
        key=key,
        before_usd=exact_sum(row.cost_usd for row in before),
        now_usd=exact_sum(row.cost_usd for row in now),
        effects=split_change(cells),
    )


def _by_backend(rows: Sequence[SpendRow]) -> dict[str, Usage]:
    grouped: dict[str, list[SpendRow]] = {}
    for row in rows:
        grouped.setdefault(row.labels["backend"] or "", []).append(row)
    return {
        backend: Usage(
            cost_usd=exact_sum(row.cost_usd for row in found),
            uncached_tokens=sum(
                row.input_tokens - row.cache_read_tokens - row.cache_write_tokens for row in found
            ),
            cache_read_tokens=sum(row.cache_read_tokens for row in found),
            cache_write_tokens=sum(row.cache_write_tokens for row in found),
            output_tokens=sum(row.output_tokens for row in found),
        )
        for backend, found in grouped.items()
    }


def _list_prices(at: datetime) -> dict[str, ListPrices]:
    """By backend; one without a price of input is left out. A meter without a price of its own
    costs what it is part of."""
    found: dict[str, ListPrices] = {}
    for backend in list_backends():
        if backend.card is None:
            continue
        listed = backend.card.unit_prices(at)
        if INPUT in listed:
            found[backend.key] = ListPrices(
                uncached=listed[INPUT],
                cache_read=_listed(listed, CACHE_READ),
                cache_write=_listed(listed, CACHE_WRITE_5M),
                output=_listed(listed, OUTPUT),
            )
    return found


def _listed(listed: Mapping[str, Decimal], meter: str) -> Decimal:
    wanted: str | None = meter
    while wanted is not None and wanted not in listed:
        wanted = PARENT.get(wanted)
    return listed[wanted] if wanted else Decimal(0)
