"""Findings as opportunities: what a runaway loop cost beyond the usual, and which requests a
finding is about. Reads insights and rollups; writes nothing.

The saving is the finding's excess, its interval what was ordinary for those hours. It is confirmed
by other numbers: the same hours of the four weeks before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from apps.insights.core.finding_words import series_words
from apps.insights.finding_selectors import FindingInfo, get_finding, list_findings
from apps.pricing.selectors import list_backends
from apps.routing.core.opportunities import Opportunity
from apps.routing.core.traffic import Estimate
from apps.usage.hourly import BETWEEN, Cell, read_cells

MAX_FINDINGS: Final = 200
HOUR: Final = timedelta(hours=1)
WEEK_HOURS: Final = 168
WEEKS: Final = 4
# Longer than this it is a new level of work, and no loop.
LONGEST: Final = timedelta(days=3)
# A loop costs so many times what was expected.
RUNAWAY_TIMES: Final = 2
# What is ordinary is itself a guess: at least so much of the excess either way.
DOUBT: Final = 0.05
NAMED: Final = ("customer", "department", "task")
NO_QUALITY: Final = Estimate(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Episodes:
    """`requests` names those that findings are about, as changes do, with `first_s` and `last_s`
    from the window's start; `storms` those that lost their cache. `loops` cost for nothing."""

    requests: Sequence[Mapping[str, Any]]
    storms: Sequence[Mapping[str, Any]]
    loops: Sequence[FindingInfo]


def read_episodes(start: datetime, end: datetime, *, now: datetime) -> Episodes:
    """Of findings of [start, end) that nobody called expected."""
    backends = {one.model: one.key for one in list_backends()}
    found = [
        one
        for one in list_findings(now=now, limit=MAX_FINDINGS)
        if one.first_bad_at < end
        and one.last_bad_at >= start
        and one.excess_usd > 0
        and one.answer != "expected"
        and not one.withdrawn
        and one.last_bad_at - one.first_bad_at <= LONGEST
    ]
    storms = [one for one in found if _main_effect(one) == "cache"]
    loops = [
        one
        for one in found
        if one not in storms and one.actual_usd >= RUNAWAY_TIMES * one.expected_usd
    ]
    named = [_requests(one, start, backends) for one in loops]
    lost = [_requests(one, start, backends, ("task", "backend")) for one in storms]
    return Episodes(
        [one for one in named if len(one) > 2], [one for one in lost if len(one) == 4], loops
    )


def _requests(
    info: FindingInfo,
    start: datetime,
    backends: Mapping[str, str],
    fields: Sequence[str] = (*NAMED, "backend"),
) -> dict[str, Any]:
    named = _named(info, backends)
    return {
        "first_s": (info.first_bad_at - start).total_seconds(),
        "last_s": (info.last_bad_at + HOUR - start).total_seconds(),
        **{name: value for name, value in named.items() if name in fields},
    }


def loop_opportunities(episodes: Episodes, *, months: float) -> list[Opportunity]:
    """What each loop cost beyond the usual. Its change is outside Costboard: a limit on turns or
    spend in the router, or the guard rail of anomalies."""
    return [_of_loop(one, months) for one in episodes.loops]


def confirmed_usd(finding_id: int) -> float | None:
    """The excess anew: what the series cost then, less the mean of the same hours before."""
    detail = get_finding(finding_id)
    if detail is None:
        return None
    info = detail.info
    first = int(info.first_bad_at.timestamp()) // 3600
    end = int(info.last_bad_at.timestamp()) // 3600 + 1
    then, before = Decimal(0), Decimal(0)
    for cell in read_cells(first, end, step_hours=WEEK_HOURS, weeks=WEEKS):
        if _is_of(cell, info.series):
            if cell.weeks_back:
                before += cell.cost_usd
            else:
                then += cell.cost_usd
    return float(then - before / WEEKS)


def _of_loop(info: FindingInfo, months: float) -> Opportunity:
    detail = get_finding(info.id)
    bad = [point for point in detail.points if point.is_bad] if detail else []
    excess = float(info.excess_usd)
    low = min(sum(max(0.0, p.actual_usd - p.high_usd) for p in bad), (1 - DOUBT) * excess)
    high = max(sum(p.actual_usd - p.low_usd for p in bad), (1 + DOUBT) * excess)
    saving = Estimate(excess, low, high).times(1 / months)
    story = [list(pair) for pair in info.explanation.get("story", [])]
    return Opportunity(
        kind="runaway",
        key=f"runaway:{info.id}",
        saving=saving,
        gain=saving,
        quality_points=NO_QUALITY,
        requests=0.0,
        change={"kind": "finding", "finding_id": info.id},
        facts={
            "finding_id": info.id,
            "series": series_words(info.series),
            "story": story,
            "hours": info.hours,
            "first_bad_at": info.first_bad_at.isoformat(),
        },
        lasted_days=info.hours / 24 / months,
    )


def _main_effect(info: FindingInfo) -> str:
    effects = info.effects
    return max(effects, key=lambda name: effects[name]) if effects else ""


def _named(info: FindingInfo, backends: Mapping[str, str]) -> dict[str, str]:
    """The fields that a change can name: from what the finding is about and what explains it."""
    dimension, key = info.series
    pairs = [(str(name), str(value)) for name, value in info.explanation.get("story", [])]
    if dimension == "model_task":
        model, _, task = key.partition(BETWEEN)
        pairs += [("model", model), ("task", task)]
    else:
        pairs.append((dimension, key))
    named = {name: value for name, value in pairs if name in NAMED and value}
    model = dict(pairs).get("model", "")
    return named | ({"backend": backends[model]} if model in backends else {})


def _is_of(cell: Cell, series: tuple[str, str]) -> bool:
    dimension, key = series
    if dimension == "all":
        return True
    if dimension == "model_task":
        return key == BETWEEN.join(cell.labels.get(name) or "" for name in ("model", "task"))
    return cell.labels.get(dimension) == key
