"""Retry storms: one prompt paid for again and again within minutes. Pure.

Of a chain of attempts two are needed: the first, and the first that brought an answer. Had the
router waited after a failure, and given an answer that it had, no more would have been paid for;
everybody would have had the same answers.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from apps.routing.core.changes import Change
from apps.routing.core.opportunities import WORTH_TELLING, Opportunity
from apps.routing.core.traffic import Estimate, estimate

DAY_S: Final = 86_400
# Two alike are chance; a storm is at least so many.
LEAST_ATTEMPTS: Final = 3
# Of a shape that comes up anyway, a chain is told when chance explains at most this part of it.
BY_CHANCE: Final = 0.1
# What is answered each time and goes on for so long, or comes back on so many days, is a habit of
# the work: a poll, a nightly batch.
HABIT_S: Final = 3_600.0
HABIT_DAYS: Final = 4
# How far off the saving may be, as a share in standard deviations: failures say themselves what
# they were; of answers asked for again some may have been meant.
FAILED_DOUBT, ANSWERED_DOUBT = 0.10, 0.30
NO_QUALITY: Final = Estimate(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One paid attempt. Attempts of one `shape` look alike; the window holds `seen` of them."""

    shape: int
    seen: int
    at_s: float
    usd: float
    is_answer: bool
    backend: str
    task: str
    who: str


@dataclass(frozen=True, slots=True)
class Storm:
    """A chain of attempts, and what those that nobody needed cost."""

    attempts: tuple[Attempt, ...]
    wasted: tuple[Attempt, ...]

    @property
    def usd(self) -> float:
        return sum(one.usd for one in self.wasted)

    @property
    def doubt(self) -> float:
        failed = sum(not one.is_answer for one in self.wasted)
        return FAILED_DOUBT if failed * 2 >= len(self.wasted) else ANSWERED_DOUBT


def find_storms(
    attempts: Sequence[Attempt], *, gap_s: float, window_s: float, change: Change | None = None
) -> list[Storm]:
    """Storms among attempts in the order of time; with a change, those of its task and backend."""
    by_shape: dict[int, list[Attempt]] = defaultdict(list)
    for one in attempts:
        if change is None or (one.task, one.backend) == (change["task"], change["backend"]):
            by_shape[one.shape].append(one)
    return [storm for rows in by_shape.values() for storm in _of_shape(rows, gap_s, window_s)]


def _of_shape(rows: Sequence[Attempt], gap_s: float, window_s: float) -> Iterator[Storm]:
    chains = list(_chains(rows, gap_s))
    calm = [chain for chain in chains if all(one.is_answer for one in chain)]
    is_habit = len({chain[0].at_s // DAY_S for chain in calm}) >= HABIT_DAYS
    for chain in chains:
        if len(chain) < LEAST_ATTEMPTS or _by_chance(chain, gap_s, window_s):
            continue
        is_long = chain[-1].at_s - chain[0].at_s >= HABIT_S
        if chain in calm and (is_habit or is_long):
            continue
        yield Storm(chain, _wasted(chain))


def _chains(rows: Sequence[Attempt], gap_s: float) -> Iterator[tuple[Attempt, ...]]:
    chain: list[Attempt] = []
    for one in rows:
        if chain and one.at_s - chain[-1].at_s > gap_s:
            yield tuple(chain)
            chain = []
        chain.append(one)
    if chain:
        yield tuple(chain)


def _by_chance(chain: Sequence[Attempt], gap_s: float, window_s: float) -> bool:
    """Whether so many may well have come together, as often as the shape comes otherwise."""
    span_s = chain[-1].at_s - chain[0].at_s + 2 * gap_s
    others = chain[0].seen - len(chain)
    return others * span_s / window_s > BY_CHANCE * len(chain)


def _wasted(chain: Sequence[Attempt]) -> tuple[Attempt, ...]:
    answer = next((n for n, one in enumerate(chain) if one.is_answer), 0)
    return tuple(one for n, one in enumerate(chain) if n not in (0, answer))


def saved_by(storms: Iterable[Storm], weight: float) -> Estimate:
    """USD with its 90% interval: each storm was drawn with chance 1 / weight, and is what it seems
    within its doubt, one for all."""
    total, variance, doubted = 0.0, 0.0, 0.0
    for storm in storms:
        total += weight * storm.usd
        variance += weight * (weight - 1.0) * storm.usd**2
        doubted += weight * storm.usd * storm.doubt
    return estimate(total, variance + doubted**2)


def retry_opportunities(
    storms: Sequence[Storm], *, weight: float, months: float, spent_usd: float
) -> list[Opportunity]:
    """One for each task and backend; what is not worth anybody's time is left out."""
    by_work: dict[tuple[str, str], list[Storm]] = defaultdict(list)
    for storm in storms:
        by_work[storm.attempts[0].task, storm.attempts[0].backend].append(storm)
    found = [
        _opportunity(task, backend, rows, weight, months)
        for (task, backend), rows in sorted(by_work.items())
    ]
    least = WORTH_TELLING * spent_usd / months
    return [one for one in found if one.saving.mean >= least]


def _opportunity(
    task: str, backend: str, storms: Sequence[Storm], weight: float, months: float
) -> Opportunity:
    saving = saved_by(storms, weight).times(1 / months)
    wasted = [one for storm in storms for one in storm.wasted]
    days = {one.at_s // DAY_S for one in wasted}
    return Opportunity(
        kind="retries",
        key=f"retries:{task}:{backend}",
        saving=saving,
        gain=saving,
        quality_points=NO_QUALITY,
        requests=weight * len(wasted) / months,
        change={"kind": "retries", "task": task, "backend": backend},
        facts={
            "task": task,
            "backend": backend,
            "storms": round(weight * len(storms)),
            "longest": max(len(storm.attempts) for storm in storms),
            "failed_share": sum(not one.is_answer for one in wasted) / len(wasted),
            "mostly_by": _mostly(wasted),
            "days": len(days),
        },
        lasted_days=len(days) / months,
    )


def _mostly(wasted: Sequence[Attempt]) -> str:
    """Who wasted most; nobody where it is not as good as one."""
    usd: dict[str, float] = defaultdict(float)
    for one in wasted:
        usd[one.who] += one.usd
    name = max(usd, key=lambda who: usd[who])
    return name if usd[name] >= sum(usd.values()) / 2 else ""
