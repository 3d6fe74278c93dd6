"""What the traffic says: rules over shares of requests and of money. Pure."""

import math
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
    in_usd,
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
# ... and this part of the buckets on each side must lie nearer to their own side's share.
SHIFT_AGREEMENT = 0.75
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
        parts.append(Phrase(f", {in_usd(unit_price(line.now.usd_per_request))}{each}"))
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


def over_time_title(points_of: Mapping[str, Sequence[SharePoint]], of: str = "requests") -> str:
    """When traffic moved, and to whom; else who has most of it. Tokens and money are no counts of
    independent things: of them only the latter is told."""
    if not points_of or not any(p.requests for points in points_of.values() for p in points):
        return f"Share of {of} over time"
    counted = points_of.items() if of == "requests" else ()
    shifts = [(find_shift(points), name) for name, points in counted]
    found = [(shift, name) for shift, name in shifts if shift is not None and shift.points > 0]
    if found:
        shift, name = max(found, key=lambda pair: pair[0].points)
        return f"Traffic moved to {name} from {shift.label} on"
    busiest = max(points_of, key=lambda name: sum(p.of_backend for p in points_of[name]))
    whole = sum(p.requests for p in points_of[busiest])
    share = Decimal(sum(p.of_backend for p in points_of[busiest])) / whole
    return f"{busiest} takes {_all_or(share)} {of}"


def _all_or(share: Decimal) -> str:
    return "all" if share == 1 else f"{fraction(share)} of"


@dataclass(frozen=True, slots=True)
class Shift:
    label: str
    points: Decimal


def find_shift(points: Sequence[SharePoint]) -> Shift | None:
    """The bucket from which on the share is clearly another than before it, if there is one.

    The best cut is the one whose two sides differ by most standard errors. It is told if they
    differ by enough, if chance would not do it, and if nearly all buckets take part: one odd
    bucket is no move.
    """
    margin = max(2, int(len(points) * SHIFT_SIDE))
    best: tuple[float, int] | None = None
    for cut in range(margin, len(points) - margin + 1):
        sigmas = _standard_errors(points[:cut], points[cut:])
        if best is None or sigmas > best[0]:
            best = (sigmas, cut)
    if best is None or best[0] < SHIFT_SIGMAS:
        return None
    before, after = points[: best[1]], points[best[1] :]
    moved = _share(after) - _share(before)
    if abs(moved) < SHIFT_POINTS or not _all_take_part(before, after):
        return None
    return Shift(after[0].label, moved)


def _share(points: Sequence[SharePoint]) -> Decimal:
    return Decimal(sum(p.of_backend for p in points)) / sum(p.requests for p in points)


def _standard_errors(before: Sequence[SharePoint], after: Sequence[SharePoint]) -> float:
    """How far two proportions are apart, in standard errors of their pooled difference."""
    sizes = [sum(p.requests for p in side) for side in (before, after)]
    if min(sizes) < SHIFT_REQUESTS:
        return 0.0
    pooled = float(_share([*before, *after]))
    if pooled in (0.0, 1.0):
        return 0.0
    error = math.sqrt(pooled * (1 - pooled) * (1 / sizes[0] + 1 / sizes[1]))
    return abs(float(_share(after) - _share(before))) / error


def _all_take_part(before: Sequence[SharePoint], after: Sequence[SharePoint]) -> bool:
    """Whether nearly all buckets lie on their side's half of the way between the two shares."""
    low, high = _share(before), _share(after)
    middle = (low + high) / 2
    for side, share in ((before, low), (after, high)):
        busy = [Decimal(p.of_backend) / p.requests for p in side if p.requests]
        with_it = sum(1 for one in busy if (one > middle) == (share > middle))
        if with_it < len(busy) * SHIFT_AGREEMENT:
            return False
    return True
