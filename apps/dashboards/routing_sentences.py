"""What the traffic says: rules over shares of requests and of money. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from apps.dashboards.breakdown import Line
from apps.dashboards.sentences import (
    TELLING_GAP,
    Answer,
    Phrase,
    capitalised,
    unpriced_sentence,
)
from apps.dashboards.templatetags.figures_of_speech import (
    count,
    fraction,
    percent,
    times,
    unit_price,
)

# A shift is told when a share moves by this much between what came before and what came after.
SHIFT_POINTS = Decimal("0.12")
# Each side of a shift must have this part of the buckets, and this many requests.
SHIFT_SIDE = Decimal("0.2")
SHIFT_REQUESTS = 30
# ... and a move must be this many standard errors wide: every bucket of every backend is tried.
SHIFT_SIGMAS = 4.5
STEADY_POINTS = Decimal("0.05")


@dataclass(frozen=True, slots=True)
class BackendLine:
    """A backend's line of the table, and where it runs."""

    line: Line
    is_local: bool


@dataclass(frozen=True, slots=True)
class SharePoint:
    """Requests of one bucket: all of them, and those of the backend looked at."""

    label: str
    requests: int
    of_backend: int


def routing_answer(backends: Sequence[BackendLine], *, window_in_words: str) -> Answer:
    """Where the traffic goes and what it costs there."""
    busy = [backend for backend in backends if backend.line.now.requests]
    if not busy:
        return (Phrase(f"No requests {window_in_words}."),)
    whole = busy[0].line.whole
    start = f"{capitalised(window_in_words)} "
    if len(busy) == 1:
        return (*_only(busy[0].line, start), *unpriced_sentence(whole.unpriced_requests))
    clauses = [c for c in (_local_clause(busy), _dear_clause(busy)) if c]
    if not clauses:
        clauses = [_busiest_clause(busy)]
    parts: list[Phrase] = [Phrase(start)]
    for n, clause in enumerate(clauses):
        parts += [Phrase("; "), *clause] if n else clause
    return (*parts, Phrase("."), *unpriced_sentence(whole.unpriced_requests))


def _only(line: Line, start: str) -> Answer:
    number = line.now.requests
    requests = "the only request" if number == 1 else f"all {count(number)} requests"
    parts = [Phrase(f"{start}{requests} went to "), Phrase(line.name, strong=True)]
    if line.now.usd_per_request is not None:
        each = "" if number == 1 else " each"
        parts.append(Phrase(f", {unit_price(line.now.usd_per_request)} USD{each}"))
    return (*parts, Phrase("."))


def _local_clause(busy: Sequence[BackendLine]) -> list[Phrase]:
    local = [backend.line for backend in busy if backend.is_local]
    if not local or len(local) == len(busy):
        return []
    whole = local[0].whole
    requests = Decimal(sum(line.now.requests for line in local)) / whole.requests
    clause = [Phrase(f"{percent(requests)} of requests ran on local hardware", strong=True)]
    if whole.cost_usd:
        spend = sum((line.now.cost_usd for line in local), Decimal(0)) / whole.cost_usd
        clause.append(Phrase(f" for {percent(spend)} of the money"))
    return clause


def widest_gap(busy: Sequence[BackendLine]) -> Line | None:
    """The backend whose share of spend most exceeds its share of requests, if by a lot."""
    gaps = [
        ((backend.line.spend_share or Decimal(0)) - (backend.line.request_share or 0), backend.line)
        for backend in busy
    ]
    gap, line = max(gaps, key=lambda pair: pair[0])
    return line if gap >= TELLING_GAP else None


def _dear_clause(busy: Sequence[BackendLine]) -> list[Phrase]:
    line = widest_gap(busy)
    if line is None:
        return []
    shares = f"{percent(line.request_share)} of requests and {percent(line.spend_share)}"
    return [Phrase(f"{line.name} took {shares} of the money", strong=True)]


def _busiest_clause(busy: Sequence[BackendLine]) -> list[Phrase]:
    line = max((backend.line for backend in busy), key=lambda line: line.now.requests)
    share = fraction(line.request_share or Decimal(0))
    return [Phrase(f"{line.name} took {share} of requests", strong=True)]


def pair_title(backends: Sequence[BackendLine]) -> str:
    """Requests beside money: who gets more money than requests, and who less."""
    busy = [backend for backend in backends if backend.line.now.requests]
    if len(busy) < 2 or not busy[0].line.whole.cost_usd:
        return "Share of requests beside share of spend"
    line = widest_gap(busy)
    if line is None:
        return "Requests and money go the same way"
    requests, spend = line.request_share or Decimal(0), line.spend_share or Decimal(0)
    return f"{line.name} answers {percent(requests)} of requests for {percent(spend)} of the money"


def ladder_title(backends: Sequence[BackendLine]) -> str:
    """How far apart unit costs are."""
    priced = [backend.line for backend in backends if backend.line.now.usd_per_ktok]
    if len(priced) < 2:
        return "What 1,000 tokens cost"
    dearest = max(priced, key=lambda line: line.now.usd_per_ktok or 0)
    cheapest = min(priced, key=lambda line: line.now.usd_per_ktok or 0)
    ratio = (dearest.now.usd_per_ktok or Decimal(0)) / (cheapest.now.usd_per_ktok or Decimal(1))
    if ratio < 2:
        return "1,000 tokens cost about the same everywhere"
    return f"A token on {dearest.name} buys {times(ratio)} on {cheapest.name}"


def over_time_title(points_of: Mapping[str, Sequence[SharePoint]]) -> str:
    """When traffic moved, and to whom; else who has most of it."""
    if not points_of or not any(p.requests for points in points_of.values() for p in points):
        return "Share of requests over time"
    shifts = [(find_shift(points), name) for name, points in points_of.items()]
    found = [(shift, name) for shift, name in shifts if shift is not None and shift.points > 0]
    if found:
        shift, name = max(found, key=lambda pair: pair[0].points)
        return f"Traffic moved to {name} from {shift.label} on"
    busiest = max(points_of, key=lambda name: sum(p.of_backend for p in points_of[name]))
    whole = sum(p.requests for p in points_of[busiest])
    share = Decimal(sum(p.of_backend for p in points_of[busiest])) / whole
    return f"{busiest} takes {_all_or(share)} requests"


def _all_or(share: Decimal) -> str:
    return "all" if share == 1 else f"{fraction(share)} of"


@dataclass(frozen=True, slots=True)
class Shift:
    label: str
    points: Decimal


def find_shift(points: Sequence[SharePoint]) -> Shift | None:
    """The bucket from which on the share is most clearly another than before it, if any is.

    Weighs the difference by how evenly the bucket cuts the requests, so that one odd bucket at
    an end does not count as a move. Both sides need enough buckets and requests.
    """
    best: tuple[float, int, Decimal] | None = None
    margin = max(2, int(len(points) * SHIFT_SIDE))
    all_requests = sum(p.requests for p in points)
    all_of_backend = sum(p.of_backend for p in points)
    before, before_of = 0, 0
    for cut in range(1, len(points) - margin + 1):
        before += points[cut - 1].requests
        before_of += points[cut - 1].of_backend
        after, after_of = all_requests - before, all_of_backend - before_of
        if cut < margin or before < SHIFT_REQUESTS or after < SHIFT_REQUESTS:
            continue
        moved = Decimal(after_of) / after - Decimal(before_of) / before
        weight = float(abs(moved)) * (before * after) ** 0.5 / all_requests
        if best is None or weight > best[0]:
            best = (weight, cut, moved)
    if best is None or abs(best[2]) < SHIFT_POINTS:
        return None
    share = all_of_backend / all_requests
    # `weight` is the difference of two proportions over its standard error, but for these.
    sigmas = best[0] * (all_requests / (share * (1 - share))) ** 0.5
    if sigmas < SHIFT_SIGMAS:
        return None
    return Shift(points[best[1]].label, best[2])
