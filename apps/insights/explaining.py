"""What lies behind an excess: cells of the rollups, handed to the arithmetic of core/causes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from statistics import median
from typing import Any, Final

from apps.insights.core.causes import (
    EXACT,
    TOKEN_KIND,
    Explanation,
    SpendCell,
    exact_sum,
    explain_excess,
)
from apps.insights.core.effects import WorkCell, split_effects
from apps.insights.core.flags import SeriesKey, matches
from apps.pricing.core.meters import CACHE_READ, CACHE_WRITE_5M, INPUT, OUTPUT, PARENT
from apps.pricing.selectors import list_backends
from apps.usage.hourly import (
    CELL_DIMENSIONS,
    Cell,
    list_costliest_charges,
    read_cells,
    read_department_parents,
    start_of_hour,
)

WEEK: Final = 7 * 24
WEEKS: Final = 4
# A week whose same hours cost this many times the usual, or this part of it, is no guide.
UNUSUAL_WEEK: Final = 2.0
SAMPLES: Final = 5
SAMPLED_SLICES: Final = 50
KIND_METERS: Final = {
    "uncached": INPUT,
    "cache_read": CACHE_READ,
    "cache_write": CACHE_WRITE_5M,
    "output": OUTPUT,
}
KIND_WORDS: Final = {
    "uncached": "uncached input",
    "cache_read": "cache reads",
    "cache_write": "cache writes",
    "output": "output",
}
NO_TOKENS: Final[Mapping[str, int]] = dict.fromkeys(KIND_METERS, 0)


@dataclass(frozen=True, slots=True)
class _Both:
    """One combination of labels, over the hours in question and over those of earlier weeks."""

    labels: Mapping[str, str | None]
    slice_ids: tuple[int, ...]
    now: Cell | None
    before: Sequence[Cell]

    @property
    def actual_usd(self) -> Decimal:
        return self.now.cost_usd if self.now else Decimal(0)

    @property
    def usual_usd(self) -> Decimal:
        return exact_sum(cell.cost_usd for cell in self.before)


@dataclass(frozen=True, slots=True)
class Explained:
    """Causes, effects (USD, adding up to the excess), how much of the input was read from caches
    before and now, and some charges."""

    causes: Explanation
    effects: Mapping[str, Decimal]
    cache_share_before: float | None
    cache_share: float | None
    charge_ids: Sequence[int]

    def as_json(self) -> dict[str, Any]:
        return {
            "actual_usd": str(self.causes.actual_usd),
            "expected_usd": str(self.causes.expected_usd),
            "partitions": [
                [
                    {
                        "dimension": part.dimension,
                        "value": _told_value(part.dimension, part.value),
                        "actual_usd": str(part.actual_usd),
                        "expected_usd": str(part.expected_usd),
                        "excess_usd": str(part.excess_usd),
                        "surprise": round(float(part.surprise), 6),
                        "is_rest": part.is_rest,
                    }
                    for part in partition
                ]
                for partition in self.causes.partitions
            ],
            "story": [[part.dimension, part.value] for part in self.causes.story],
            "story_usd": str(self.causes.story_usd),
            "effects": {name: str(usd) for name, usd in self.effects.items()},
            "cache_share_before": self.cache_share_before,
            "cache_share": self.cache_share,
            "charge_ids": list(self.charge_ids),
        }


class CellBook:
    """The tenant in scope's hours [first, end) beside the same hours of earlier weeks.

    `until` cuts the hours in question off where they are running.
    """

    def __init__(self, first: int, end: int, *, until: datetime | None = None) -> None:
        self.first, self.end = first, end
        self._parents = read_department_parents()
        step = -(-(end - first) // WEEK) * WEEK
        cells = read_cells(first, end, step_hours=step, weeks=WEEKS, until=until)
        weeks = _ordinary_weeks(cells)
        self._weeks = max(len(weeks), 1)
        self._cells = _pair(cells, weeks)
        self._at = start_of_hour(first)
        self._prices = _token_prices(self._at)

    def shared_usd(self, one: SeriesKey, other: SeriesKey) -> float:
        """The excess over the mean week of what two series have in common."""
        return sum(
            float(cell.actual_usd) - float(cell.usual_usd) / self._weeks
            for cell in self._cells
            if self._is_in(cell, one) and self._is_in(cell, other)
        )

    def actual_usd(self, series: SeriesKey) -> Decimal:
        return exact_sum(cell.actual_usd for cell in self._cells if self._is_in(cell, series))

    def explain(
        self, series: SeriesKey, *, actual_usd: Decimal, expected_usd: Decimal
    ) -> Explained:
        inside = [cell for cell in self._cells if self._is_in(cell, series)]
        explanation = explain_excess(
            [self._spend_cell(cell) for cell in inside],
            [self._spend_cell(cell) for cell in self._cells],
            actual_usd=actual_usd,
            expected_usd=expected_usd,
            dimensions=CELL_DIMENSIONS,
        )
        effects = split_effects(
            self._work_cells(inside), actual_usd=actual_usd, expected_usd=expected_usd
        )
        return Explained(
            explanation, effects, *_cache_shares(inside), self._samples(inside, explanation)
        )

    def _is_in(self, cell: _Both, series: SeriesKey) -> bool:
        return matches(series, cell.labels, self._parents)

    def _spend_cell(self, cell: _Both) -> SpendCell:
        prices = self._prices.get(cell.labels["backend"] or "", {})
        return SpendCell(
            labels=cell.labels,
            actual_usd=cell.actual_usd,
            usual_usd=cell.usual_usd,
            kind_usd=_by_kind(cell.actual_usd, cell.now.tokens if cell.now else NO_TOKENS, prices),
            usual_kind_usd=_by_kind(cell.usual_usd, _tokens(cell.before), prices),
        )

    def _work_cells(self, cells: Sequence[_Both]) -> list[WorkCell]:
        groups: dict[tuple[str | None, str | None], list[_Both]] = {}
        for cell in cells:
            groups.setdefault((cell.labels["backend"], cell.labels["task"]), []).append(cell)
        return [
            WorkCell(
                actual_usd=exact_sum(one.actual_usd for one in group),
                usual_usd=exact_sum(one.usual_usd for one in group),
                requests=sum(one.now.requests for one in group if one.now),
                usual_requests=sum(cell.requests for one in group for cell in one.before),
                tokens=_tokens([one.now for one in group if one.now]),
                usual_tokens=_tokens([cell for one in group for cell in one.before]),
                usd_per_token=self._prices.get(backend or "", {}),
            )
            for (backend, _), group in groups.items()
        ]

    def _samples(self, cells: Sequence[_Both], explanation: Explanation) -> list[int]:
        """Dear charges of what the story tells about; none where spend is too low."""
        if explanation.excess_usd <= 0:
            return []
        wanted = {(part.dimension, part.value) for part in explanation.story}
        told = [c for c in cells if all(c.labels.get(d) == v for d, v in wanted)]
        told.sort(key=lambda cell: -cell.actual_usd)
        slices = [number for cell in told[:SAMPLED_SLICES] for number in cell.slice_ids]
        found = list_costliest_charges(self.first, self.end, slices, limit=SAMPLES)
        return [charge_id for charge_id, _ in found]


def _told_value(dimension: str, value: str | None) -> str | None:
    return KIND_WORDS.get(value or "", value) if dimension == TOKEN_KIND else value


def _ordinary_weeks(cells: Sequence[Cell]) -> frozenset[int]:
    """Earlier weeks in which these hours cost about what they usually do."""
    totals: dict[int, float] = {}
    for cell in cells:
        if cell.weeks_back:
            totals[cell.weeks_back] = totals.get(cell.weeks_back, 0.0) + float(cell.cost_usd)
    if not totals:
        return frozenset()
    middle = median(totals.values())
    return frozenset(
        week
        for week, usd in totals.items()
        if middle / UNUSUAL_WEEK <= usd <= middle * UNUSUAL_WEEK or len(totals) < 3
    )


def _pair(cells: Sequence[Cell], weeks: frozenset[int]) -> list[_Both]:
    found: dict[tuple[str | None, ...], tuple[list[Cell], list[Cell]]] = {}
    for cell in cells:
        now, before = found.setdefault(tuple(cell.labels.values()), ([], []))
        if cell.weeks_back == 0:
            now.append(cell)
        elif cell.weeks_back in weeks:
            before.append(cell)
    return [
        _Both(
            labels=(now or before)[0].labels,
            slice_ids=now[0].slice_ids if now else (),
            now=now[0] if now else None,
            before=before,
        )
        for now, before in found.values()
        if now or before
    ]


def _token_prices(at: datetime) -> dict[str, dict[str, float]]:
    """By backend and kind of token, USD each at list prices; a kind without a price is left out."""
    prices: dict[str, dict[str, float]] = {}
    for backend in list_backends():
        if backend.card is None:
            continue
        listed = backend.card.unit_prices(at)
        found = {kind: _listed(listed, meter) for kind, meter in KIND_METERS.items()}
        prices[backend.key] = {
            kind: float(usd) / 1e6 for kind, usd in found.items() if usd is not None
        }
    return prices


def _listed(listed: Mapping[str, Decimal], meter: str | None) -> Decimal | None:
    """A meter without a price of its own costs what it is part of."""
    while meter is not None and meter not in listed:
        meter = PARENT.get(meter)
    return listed[meter] if meter else None


def _by_kind(
    usd: Decimal, tokens: Mapping[str, int], prices: Mapping[str, float]
) -> dict[str, Decimal]:
    """A cost over the kinds of tokens it paid for, in proportion to their list prices; exactly.

    Without prices, by count. What rounding leaves is the last kind's.
    """
    weights = {
        kind: count * prices.get(kind, 0.0 if prices else 1.0) for kind, count in tokens.items()
    }
    whole = sum(weights.values())
    if not usd or whole <= 0:
        return {"other": usd} if usd else {}
    parts: dict[str, Decimal] = {}
    left = usd
    kinds = [kind for kind in KIND_METERS if weights.get(kind)]
    for kind in kinds[:-1]:
        parts[kind] = EXACT.multiply(usd, Decimal(weights[kind] / whole)).quantize(
            Decimal("1e-12"), context=EXACT
        )
        left = EXACT.subtract(left, parts[kind])
    return parts | {kinds[-1]: left}


def _tokens(cells: Sequence[Cell]) -> dict[str, int]:
    return {kind: sum(cell.tokens[kind] for cell in cells) for kind in KIND_METERS}


def _cache_shares(cells: Sequence[_Both]) -> tuple[float | None, float | None]:
    before = _tokens([cell for one in cells for cell in one.before])
    return _read_share(before), _read_share(_tokens([one.now for one in cells if one.now]))


def _read_share(tokens: Mapping[str, int]) -> float | None:
    whole = tokens["uncached"] + tokens["cache_read"] + tokens["cache_write"]
    return round(tokens["cache_read"] / whole, 4) if whole else None
