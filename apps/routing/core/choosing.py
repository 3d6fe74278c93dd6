"""One request at the decision door: the rule's choice under what people decided by hand, and the
order in which backends are tried when caps refuse. Pure."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

from apps.routing.core.overrides import Hand, Mode
from apps.routing.core.rule import MAX_QUALITY, Choice, Request, Room, Rule


class NoneEligible(Exception):
    """No candidate meets the floor, the quality asked for, and what people decided. `best` is the
    (backend, table quality) that comes nearest; `least` what is due; `banned` who was barred."""

    def __init__(
        self, tier: str, task: str, least: float, best: tuple[str, float] | None, banned: int
    ) -> None:
        super().__init__(f"no backend for {tier} {task}")
        self.tier, self.task, self.least = tier, task, least
        self.best, self.banned = best, banned


class Expected(NamedTuple):
    """What a backend would bring: chance of success, USD, and value less cost without prices."""

    quality: float
    cost_usd: float
    worth_usd: float


@dataclass(frozen=True, slots=True)
class Plan:
    """`order`: the backends that may run it, the first to be tried first. `advised` is the
    policy's choice (None: it is worth no backend's price); `rule` the narrowed rule."""

    order: tuple[str, ...]
    advised: Choice
    propensity: float
    rule: Rule
    notes: tuple[str, ...]


def choose(
    rule: Rule,
    request: Request,
    room: Room,
    *,
    candidates: Sequence[str],
    worst_usd: Mapping[str, float],
    hand: Hand,
    mode: Mode,
    min_quality: float,
    draw: str,
    cheapest_only: bool,
) -> Plan:
    """Raises NoneEligible. `draw` decides whether the request explores (its id: asked twice, it is
    answered alike). `cheapest_only`: what covers it is used up, or slowed."""
    keep, notes = _kept(rule, request, candidates, hand, min_quality)
    narrow = rule.narrowed(
        request.tier, request.task, keep, {n: o.boost_share for n, o in hand.boosted.items()}
    )
    may_run = [option.backend for option in narrow.options_of(request.tier, request.task)]
    if not may_run:
        raise _none(rule, request, candidates, hand, min_quality)
    notes += [f"{name} {hand.boosted[name].words()}" for name in may_run if name in hand.boosted]
    by_cost = sorted(may_run, key=lambda name: (worst_usd[name], name))
    advised = narrow.decide(request, room)
    if cheapest_only:
        return Plan(tuple(by_cost[:1]), advised, 1.0, narrow, tuple(notes))
    if mode == "observe":
        return Plan(tuple(by_cost), advised, 1.0, narrow, tuple(notes))
    advised, propensity = _explored(narrow, request, room, advised, draw)
    if advised.backend is None:
        return Plan(tuple(by_cost), advised, propensity, narrow, tuple(notes))
    rest = [name for name in by_cost if name != advised.backend]
    return Plan((advised.backend, *rest), advised, propensity, narrow, tuple(notes))


def expected(rule: Rule, request: Request, backend: str) -> Expected:
    """Of a backend that meets the floor. KeyError otherwise."""
    fail = rule.policy.fail_multiplier[request.tier]
    for option in rule.options_of(request.tier, request.task):
        if option.backend == backend:
            worth = min(option.worth + option.slope * request.difficulty, option.ceiling)
            cost = request.tokens_in * option.usd_in + request.est_tokens_out * option.usd_out
            quality = min((worth + fail) / (1.0 + fail), MAX_QUALITY)
            return Expected(quality, cost, request.value_usd * worth - cost)
    raise KeyError(backend)


def _kept(
    rule: Rule, request: Request, candidates: Sequence[str], hand: Hand, min_quality: float
) -> tuple[Container[str], list[str]]:
    """Where it may go, floors apart; and what was done by hand."""
    table = _table(rule, request.task)
    keep = {
        name
        for name in candidates
        if name not in hand.banned and table.get(name, 0.0) >= min_quality
    }
    notes = [f"{n} {hand.banned[n].words()}" for n in candidates if n in hand.banned]
    pinned = keep & hand.pinned.keys()
    can = {option.backend for option in rule.options_of(request.tier, request.task)}
    for name in sorted(pinned):
        below = "" if name in can else "; it is below the floor, which no pin lowers"
        notes.append(f"{name} {hand.pinned[name].words()}{below}")
    return pinned & can or keep, notes


def _none(
    rule: Rule, request: Request, candidates: Sequence[str], hand: Hand, min_quality: float
) -> NoneEligible:
    policy = rule.policy
    floor = policy.floors[request.tier][policy.tasks.index(request.task)]
    table = _table(rule, request.task)
    known = [(table[name], name) for name in candidates if name in table]
    best = max(known, default=None)
    return NoneEligible(
        request.tier,
        request.task,
        max(floor, min_quality),
        (best[1], best[0]) if best else None,
        sum(name in hand.banned for name in candidates),
    )


def _table(rule: Rule, task: str) -> dict[str, float]:
    """What floors are held against, by backend."""
    names = (backend.name for backend in rule.policy.backends)
    return dict(zip(names, rule.policy.table_quality[task], strict=True))


def _explored(
    rule: Rule, request: Request, room: Room, choice: Choice, draw: str
) -> tuple[Choice, float]:
    """Now and then by optimistic qualities; with the chance it was to be chosen by."""
    share = rule.policy.explore_share
    if share <= 0.0 or rule.policy.version == 0:
        return choice, 1.0
    other = rule.decide(request, room, explore=True)
    if other.backend == choice.backend:
        return choice, 1.0
    if crc32(draw.encode()) / 2**32 < share:
        return other, share
    return choice, 1.0 - share
