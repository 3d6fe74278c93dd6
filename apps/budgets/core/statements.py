"""Charge-back: a month's spend as statements per payer, shared costs split by a stated rule. Pure.

Each piece of spend stands on one statement: on its own payer's, or, if a rule takes it, in that
rule's pool, which is split to the last digit (integers of 1e-24 USD, rounded on the running sum).
So the statements of a month add up to what the month cost and what changed of closed months.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from math import lcm
from typing import Final, Literal

from apps.pricing.core.money import EXACT
from apps.pricing.core.sharing import exact_sum, from_units, share_between, whole_units

PayerKind = Literal["department", "customer"]
Source = Literal["unattributed", "department", "project"]
Rule = Literal["even", "usage", "fixed"]
NOBODY: Final = 0
MAX_WEIGHT: Final = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Piece:
    """Spend of one month by all that statements and rules ask for; ids None where not named.

    `of_month` is None for the statement's own month, else the closed month whose change this is.
    """

    department_id: int | None
    customer_id: int | None
    project: str | None
    model: str
    cost_usd: Decimal
    requests: int
    of_month: date | None = None

    def payer(self, kind: PayerKind) -> int:
        return (self.department_id if kind == "department" else self.customer_id) or NOBODY


@dataclass(frozen=True, slots=True)
class SharingRule:
    """Which spend is shared, and how: evenly or by usage between those that spend, or by fixed
    weights."""

    id: int
    name: str
    source: Source
    rule: Rule
    department_id: int | None = None
    project: str | None = None
    weights: Mapping[int, Decimal] = field(default_factory=dict)

    def takes(self, piece: Piece, kind: PayerKind) -> bool:
        if self.source == "unattributed":
            return piece.payer(kind) == NOBODY
        if self.source == "department":
            return piece.department_id == self.department_id
        return piece.project == self.project


@dataclass(frozen=True, slots=True)
class ModelLine:
    """Own spend on a model; of a closed month if `of_month` says so: an adjustment."""

    model: str
    cost_usd: Decimal
    requests: int
    of_month: date | None = None


@dataclass(frozen=True, slots=True)
class SharedLine:
    """A part of a pool: `weight` of `whole_weight`."""

    name: str
    rule: Rule
    pool_usd: Decimal
    weight: Decimal
    whole_weight: Decimal
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class PayerSums:
    """A payer's month: its spend by model, adjustments of closed months, its parts of pools."""

    payer_id: int
    models: tuple[ModelLine, ...]
    adjustments: tuple[ModelLine, ...]
    shared: tuple[SharedLine, ...]

    @property
    def own_usd(self) -> Decimal:
        return exact_sum(line.cost_usd for line in self.models)

    @property
    def adjustment_usd(self) -> Decimal:
        return exact_sum(line.cost_usd for line in self.adjustments)

    @property
    def shared_usd(self) -> Decimal:
        return exact_sum(line.cost_usd for line in self.shared)

    @property
    def total_usd(self) -> Decimal:
        return exact_sum((self.own_usd, self.adjustment_usd, self.shared_usd))


def differences(now: Iterable[Piece], reported: Iterable[Piece]) -> list[Piece]:
    """What has changed of closed months: their spend now less what was reported of it."""
    costs: dict[tuple[object, ...], Decimal] = defaultdict(Decimal)
    requests: dict[tuple[object, ...], int] = defaultdict(int)
    pieces: dict[tuple[object, ...], Piece] = {}
    for sign, some in ((1, now), (-1, reported)):
        for piece in some:
            key = (
                piece.of_month,
                piece.department_id,
                piece.customer_id,
                piece.project,
                piece.model,
            )
            pieces[key] = piece
            costs[key] = EXACT.add(costs[key], piece.cost_usd * sign)
            requests[key] += piece.requests * sign
    return [
        Piece(
            department_id=piece.department_id,
            customer_id=piece.customer_id,
            project=piece.project,
            model=piece.model,
            cost_usd=costs[key],
            requests=requests[key],
            of_month=piece.of_month,
        )
        for key, piece in pieces.items()
        if costs[key] or requests[key]
    ]


def make_statements(
    kind: PayerKind, pieces: Sequence[Piece], rules: Sequence[SharingRule]
) -> list[PayerSums]:
    """One per payer that has anything, by payer id; NOBODY's is what names no payer."""
    own: dict[int, list[Piece]] = defaultdict(list)
    pools: dict[int, list[Piece]] = defaultdict(list)
    for piece in pieces:
        rule = next((rule for rule in rules if rule.takes(piece, kind)), None)
        if rule is None:
            own[piece.payer(kind)].append(piece)
        else:
            pools[rule.id].append(piece)
    usage = {
        payer: exact_sum(p.cost_usd for p in some if p.of_month is None)
        for payer, some in own.items()
        if payer != NOBODY
    }
    shared: dict[int, list[SharedLine]] = defaultdict(list)
    for rule in rules:
        weights = _weights(rule, usage)
        if not weights:
            # Nobody to share it: it stays where it fell.
            for piece in pools[rule.id]:
                own[piece.payer(kind)].append(piece)
            continue
        pool_usd = exact_sum(piece.cost_usd for piece in pools[rule.id])
        if pool_usd:
            for payer, line in _split(rule, pool_usd, weights):
                shared[payer].append(line)
    return [
        PayerSums(
            payer_id=payer,
            models=_by_model(p for p in own[payer] if p.of_month is None),
            adjustments=_by_model(p for p in own[payer] if p.of_month is not None),
            shared=tuple(shared[payer]),
        )
        for payer in sorted(own.keys() | shared.keys())
    ]


def _weights(rule: SharingRule, usage: Mapping[int, Decimal]) -> dict[int, Decimal]:
    if rule.rule == "fixed":
        return {payer: w for payer, w in sorted(rule.weights.items()) if w > 0}
    spending = {payer: usd for payer, usd in sorted(usage.items()) if usd > 0}
    return dict.fromkeys(spending, Decimal(1)) if rule.rule == "even" else spending


def _split(
    rule: SharingRule, pool_usd: Decimal, weights: Mapping[int, Decimal]
) -> Iterable[tuple[int, SharedLine]]:
    """The pool in parts that add up to it."""
    whole = whole_units(pool_usd)
    parts = {payer: Fraction(weight) for payer, weight in weights.items()}
    scale = lcm(*(part.denominator for part in parts.values()))
    full = int(sum(parts.values()) * scale)
    whole_weight = exact_sum(weights.values())
    start = 0
    for payer, part in parts.items():
        end = start + int(part * scale)
        line = SharedLine(
            name=rule.name,
            rule=rule.rule,
            pool_usd=pool_usd,
            weight=weights[payer],
            whole_weight=whole_weight,
            cost_usd=from_units(share_between(whole, start, end, full)),
        )
        start = end
        yield payer, line


def _by_model(pieces: Iterable[Piece]) -> tuple[ModelLine, ...]:
    """Summed by month and model, the dearest first."""
    costs: dict[tuple[date | None, str], Decimal] = defaultdict(Decimal)
    requests: dict[tuple[date | None, str], int] = defaultdict(int)
    for piece in pieces:
        key = (piece.of_month, piece.model)
        costs[key] = EXACT.add(costs[key], piece.cost_usd)
        requests[key] += piece.requests
    lines = [
        ModelLine(model, cost, requests[month, model], month)
        for (month, model), cost in costs.items()
        if cost or requests[month, model]
    ]
    return tuple(
        sorted(lines, key=lambda line: (line.of_month or date.min, -line.cost_usd, line.model))
    )
