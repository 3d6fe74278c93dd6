"""What an excess is made of: parts by each dimension that add up to it exactly. Pure.

Each partition splits the same excess (actual less expected) over the values of one dimension. What
a value was expected to cost is its share of the same hours of the weeks before, scaled so that all
of them come to what the detector expected. What is not shown is in "everything else".
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

EXACT: Final = Context(prec=80)
STEP: Final = Decimal("0.000001")
ZERO: Final = Decimal(0)
# A part that explains less is not shown by itself.
LEAST_SHARE: Final = Decimal("0.02")
MAX_PARTS: Final = 6
# What belongs to the one-line story: explains most of the excess, and more than it usually costs.
STORY_SHARE: Final = Decimal("0.6")
STORY_SURPRISE: Final = Decimal("0.15")
MAX_STORY: Final = 4

TOKEN_KIND: Final = "token kind"  # noqa: S105 - a dimension, no password
# What the story is told of; backends, projects and environments mostly follow from these.
STORY_DIMENSIONS: Final = frozenset({"model", "customer", "router", "task", "status", "department"})


@dataclass(frozen=True, slots=True)
class SpendCell:
    """Everything with the same labels: over the hours in question, and over those before.

    `usual` sums several earlier periods: only its proportions count. `kind_usd` and
    `usual_kind_usd` split the two costs by kind of token, as well as prices tell.
    """

    labels: Mapping[str, str | None]
    actual_usd: Decimal
    usual_usd: Decimal
    kind_usd: Mapping[str, Decimal]
    usual_kind_usd: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Part:
    """One value's part; `value` None is not attributed. `surprise` ranks it: how much of the excess
    it explains, times how little of the tenant's usual spend it is."""

    dimension: str
    value: str | None
    actual_usd: Decimal
    expected_usd: Decimal
    surprise: Decimal = ZERO
    is_rest: bool = False

    @property
    def excess_usd(self) -> Decimal:
        return EXACT.subtract(self.actual_usd, self.expected_usd)


@dataclass(frozen=True, slots=True)
class Explanation:
    """`partitions`: by dimension, the best explained first; each adds up to the excess.
    `story`: the values that together explain `story_usd` of it, the most telling first."""

    actual_usd: Decimal
    expected_usd: Decimal
    partitions: Sequence[Sequence[Part]]
    story: Sequence[Part]
    story_usd: Decimal

    @property
    def excess_usd(self) -> Decimal:
        return EXACT.subtract(self.actual_usd, self.expected_usd)

    @property
    def ranked(self) -> list[Part]:
        """All parts but the rest, the most telling first."""
        parts = [part for partition in self.partitions for part in partition if not part.is_rest]
        return sorted(parts, key=lambda part: -part.surprise)


# (actual, usual) of a cell by the values of a dimension.
CellReader = Callable[[SpendCell], Mapping[str | None, tuple[Decimal, Decimal]]]


@dataclass(frozen=True, slots=True)
class _Excess:
    """What is split: the cells, the whole tenant's, and what they come to."""

    cells: Sequence[SpendCell]
    everything: Sequence[SpendCell]
    actual_usd: Decimal
    expected_usd: Decimal


def explain_excess(
    cells: Sequence[SpendCell],
    everything: Sequence[SpendCell],
    *,
    actual_usd: Decimal,
    expected_usd: Decimal,
    dimensions: Sequence[str],
) -> Explanation:
    """Split `actual_usd - expected_usd` of what `cells` hold; `everything` is the whole tenant.

    Costs that no cell holds are in everything else. Works for too little spend as for too much.
    """
    excess = _Excess(cells, everything, actual_usd, expected_usd)
    partitions = [_partition(dimension, _by_label(dimension), excess) for dimension in dimensions]
    partitions.append(_partition(TOKEN_KIND, _by_kind, excess))
    partitions.sort(key=lambda parts: -max((p.surprise for p in parts), default=ZERO))
    explanation = Explanation(actual_usd, expected_usd, partitions, (), ZERO)
    story, story_usd = _story(explanation, cells)
    return Explanation(actual_usd, expected_usd, partitions, story, story_usd)


def _by_label(
    dimension: str,
) -> CellReader:
    return lambda cell: {cell.labels.get(dimension): (cell.actual_usd, cell.usual_usd)}


def _by_kind(cell: SpendCell) -> Mapping[str | None, tuple[Decimal, Decimal]]:
    return {
        kind: (cell.kind_usd.get(kind, ZERO), cell.usual_kind_usd.get(kind, ZERO))
        for kind in cell.kind_usd.keys() | cell.usual_kind_usd.keys()
    }


def _sums(
    read: CellReader,
    cells: Iterable[SpendCell],
) -> dict[str | None, tuple[Decimal, Decimal]]:
    sums: dict[str | None, tuple[Decimal, Decimal]] = {}
    for cell in cells:
        for value, (actual, usual) in read(cell).items():
            before = sums.get(value, (ZERO, ZERO))
            sums[value] = (EXACT.add(before[0], actual), EXACT.add(before[1], usual))
    return sums


def _partition(dimension: str, read: CellReader, whole: _Excess) -> list[Part]:
    sums, tenant = _sums(read, whole.cells), _sums(read, whole.everything)
    whole_usual = _usual_usd(whole.cells)
    tenant_usual = _usual_usd(whole.everything)
    excess = EXACT.subtract(whole.actual_usd, whole.expected_usd)
    parts = []
    for value, (actual, usual) in sums.items():
        share = EXACT.divide(usual, whole_usual) if whole_usual > 0 else ZERO
        expected = _rounded(EXACT.multiply(share, whole.expected_usd))
        explained = _share(EXACT.subtract(actual, expected), excess)
        usual_share = _share(tenant.get(value, (ZERO, ZERO))[1], tenant_usual)
        surprise = max(min(explained, Decimal(1)), Decimal(-1)) * (1 - min(usual_share, Decimal(1)))
        parts.append(Part(dimension, value, _rounded(actual), expected, surprise))
    parts.sort(key=lambda part: (-abs(part.excess_usd), str(part.value)))
    shown = [p for p in parts[:MAX_PARTS] if abs(_share(p.excess_usd, excess)) >= LEAST_SHARE]
    rest_actual, rest_expected = whole.actual_usd, whole.expected_usd
    for part in shown:
        rest_actual = EXACT.subtract(rest_actual, part.actual_usd)
        rest_expected = EXACT.subtract(rest_expected, part.expected_usd)
    return [*shown, Part(dimension, None, rest_actual, rest_expected, is_rest=True)]


def _story(
    explanation: Explanation, cells: Sequence[SpendCell]
) -> tuple[tuple[Part, ...], Decimal]:
    """Values of different dimensions that together still explain most of the excess."""
    excess = explanation.excess_usd
    if not excess:
        return (), ZERO
    story: list[Part] = []
    together = excess
    inside = list(cells)
    whole_usual = _usual_usd(cells)
    for part in explanation.ranked:
        is_telling = part.surprise >= STORY_SURPRISE
        if not is_telling or part.value is None or len(story) == MAX_STORY:
            continue
        told = {one.dimension for one in story}
        if part.dimension not in STORY_DIMENSIONS - told:
            continue
        # Whose key it is says which department.
        if part.dimension == "department" and told & {"customer", "router"}:
            continue
        narrowed = [cell for cell in inside if cell.labels.get(part.dimension) == part.value]
        usual = _usual_usd(narrowed)
        share = EXACT.divide(usual, whole_usual) if whole_usual > 0 else ZERO
        expected = _rounded(EXACT.multiply(share, explanation.expected_usd))
        left = EXACT.subtract(exact_sum(cell.actual_usd for cell in narrowed), expected)
        if _share(left, excess) >= STORY_SHARE:
            story.append(part)
            inside, together = narrowed, left
    return tuple(story), (together if story else ZERO)


def _usual_usd(cells: Iterable[SpendCell]) -> Decimal:
    return exact_sum(cell.usual_usd for cell in cells)


def exact_sum(values: Iterable[Decimal]) -> Decimal:
    """Without rounding: costs have more digits than a usual sum keeps."""
    whole = ZERO
    for value in values:
        whole = EXACT.add(whole, value)
    return whole


def _share(part: Decimal, whole: Decimal) -> Decimal:
    return EXACT.divide(part, whole) if whole else ZERO


def _rounded(value: Decimal) -> Decimal:
    return value.quantize(STEP, ROUND_HALF_EVEN, context=EXACT)
