"""Findings: opened, extended, closed, and told once. Part of the services; ticks.py calls it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import numpy as np

from apps.alerts.services import Severity, raise_alert
from apps.insights.core.finding_words import cache_words, finding_title
from apps.insights.core.flags import (
    APART_HOURS,
    NAMED_SHARE,
    Flag,
    SeriesKey,
    group_flags,
    is_shared,
    kind_of,
    name_giver,
    rank_of,
)
from apps.insights.core.series_state import VALUE_HOURS, WINDOW_HOURS
from apps.insights.detector_memory import Memory
from apps.insights.explaining import CellBook
from apps.insights.finding_models import AnomalySettings, Finding, NearMiss
from apps.insights.finding_selectors import read_names
from apps.insights.guard import restrict_runaway
from apps.insights.known_hours import hour_of
from apps.tenants.core.money_words import MoneyWords
from apps.tenants.exchange import read_money_words
from apps.tenants.selectors import TenantInfo
from apps.usage.hourly import start_of_hour

Standing = Finding | NearMiss
USD: Final = Decimal("0.000001")
# What is older when it is found (a first run over history) is listed and told nobody.
TOLD_WITHIN: Final = timedelta(hours=48)
MAX_HOURS: Final = 14 * 24
MAX_MEMBERS: Final = 200
CHART_HOURS_BEFORE: Final = 72
CRITICAL_TIMES: Final = 10
RENAMED_TIMES: Final = 1.5
# Of the tenant's minimum for a day: what has been spent by then, lest cents make a finding.
SO_FAR_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Looking:
    """One look at the hours up to `hour`. `until` is set while that hour still runs; `now` is when
    it happens, `memory` holds what was learnt with that hour."""

    memory: Memory
    tenant: TenantInfo
    settings: AnomalySettings
    hour: int
    now: datetime
    until: datetime | None = None


def observe(look: Looking, flags: Sequence[Flag]) -> None:
    """Take what stood out in one hour: extend the findings it belongs to, open others."""
    if not flags:
        return
    start, end = min(flag.first_hour for flag in flags), look.hour + 1
    book: CellBook | None = None

    def shared_usd(one: SeriesKey, other: SeriesKey) -> float:
        nonlocal book
        if book is None:
            book = CellBook(start, end, until=look.until)
        return book.shared_usd(one, other)

    recent = recent_findings(start, look.hour)
    named = {finding.pk: (finding.dimension, finding.key) for finding in recent}
    homeless: list[Flag] = []
    extended: dict[int, tuple[Finding, list[Flag]]] = {}
    # The widest first: what it renames, its parts belong to.
    for flag in sorted(flags, key=lambda one: -abs(one.excess_usd)):
        home = next((f for f in recent if is_of(f, flag)), None) or next(
            (f for f in recent if is_like(f, flag, named[f.pk], shared_usd)), None
        )
        if home is None:
            homeless.append(flag)
            continue
        if _is_wider(flag, home):
            named[home.pk] = flag.series
        extended.setdefault(home.pk, (home, []))[1].append(flag)
    for finding, group in extended.values():
        _extend(look, finding, group)
    for group in group_flags(homeless, shared_usd):
        lead = name_giver(group)
        if is_worth(look, lead.at_stake_usd, abs(lead.excess_usd)):
            _open(look, group)


def close_ended(look: Looking) -> bool:
    """Close what stood out no more for APART_HOURS, or for so long that it is the new usual.

    Returns whether anything stays open.
    """
    stays_open = False
    for finding in Finding.objects.filter(closed_at=None):
        first, last = hour_of(finding.first_bad_at), hour_of(finding.last_bad_at)
        _chart(look, finding)
        if look.hour - last >= APART_HOURS or look.hour - first >= MAX_HOURS:
            finding.closed_at = max(look.now, finding.opened_at)
        stays_open |= finding.closed_at is None
        finding.save(update_fields=["points", "closed_at"])
    return stays_open


def withdraw_explained(look: Looking, series: Sequence[SeriesKey], flags: Sequence[Flag]) -> None:
    """Late usage changed these series' hours: close open findings of which nothing is left."""
    flagged = {(flag.series, flag.hour) for flag in flags}
    known = set(series)
    for finding in Finding.objects.filter(closed_at=None):
        named = (finding.dimension, finding.key)
        hours = range(hour_of(finding.first_bad_at), look.hour + 1)
        if named not in known or any((named, hour) in flagged for hour in hours):
            continue
        members = [(dimension, key) for dimension, key in finding.members]
        if any((member, hour) in flagged for member in members for hour in hours):
            continue
        finding.closed_at, finding.withdrawn = look.now, True
        finding.save(update_fields=["closed_at", "withdrawn"])


def recent_findings(first: int, hour: int) -> list[Finding]:
    """Findings that what stands out from `first` to `hour` may belong to."""
    rows = Finding.objects.filter(
        last_bad_at__gte=start_of_hour(first - APART_HOURS),
        first_bad_at__lte=start_of_hour(hour),
        withdrawn=False,
    )
    return list(rows.order_by("first_bad_at", "pk"))


def _is_near(finding: Standing, flag: Flag) -> bool:
    """Whether the flag's own hours reach back to the finding's: a quiet night ends no storm."""
    return hour_of(finding.last_bad_at) >= flag.first_hour - APART_HOURS


def _is_above(finding: Standing) -> bool:
    return finding.excess_usd >= 0


def is_of(finding: Standing, flag: Flag) -> bool:
    """Whether the flag goes on with what one of the finding's own series began."""
    if not _is_near(finding, flag) or _is_above(finding) != (flag.excess_usd >= 0):
        return False
    return list(flag.series) in finding.members


def is_like(finding: Standing, flag: Flag, named: SeriesKey, shared_usd: Any) -> bool:
    """Whether the flag is another view of what the finding, named after `named`, tells."""
    if not _is_near(finding, flag) or _is_above(finding) != (flag.excess_usd >= 0):
        return False
    return is_shared(flag.series, named, shared_usd)


def _is_wider(flag: Flag, finding: Finding) -> bool:
    """Whether so much more of it shows in this series that the finding is named after it."""
    return abs(flag.excess_usd) > RENAMED_TIMES * abs(float(finding.excess_usd))


def _open(look: Looking, group: Sequence[Flag]) -> None:
    lead = name_giver(group)
    finding = Finding(
        tenant_id=look.tenant.id,
        kind=kind_of(group),
        dimension=lead.series[0],
        key=lead.series[1],
        members=[list(flag.series) for flag in group][:MAX_MEMBERS],
        first_bad_at=start_of_hour(lead.first_hour),
        last_bad_at=start_of_hour(lead.last_hour),
        score=max(flag.score for flag in group),
        opened_at=look.now,
    )
    _measure(look, finding, lead)
    # Of the hours it names alone, in cells and exact, it may come to less than was flagged.
    excess = finding.excess_usd if lead.excess_usd >= 0 else -finding.excess_usd
    if not is_worth(look, float(finding.at_stake_usd), float(excess)):
        return
    finding.save()
    restrict_runaway(finding, look.settings, now=look.now)
    _tell(look, finding)


def is_worth(look: Looking, at_stake_usd: float, so_far_usd: float) -> bool:
    """Whether a finding is opened of it."""
    least = float(look.settings.min_usd)
    return at_stake_usd >= least and so_far_usd >= SO_FAR_SHARE * least


def _extend(look: Looking, finding: Finding, group: Sequence[Flag]) -> None:
    named = next((f for f in group if f.series == (finding.dimension, finding.key)), None)
    wider = name_giver(group)
    if wider is not named and _renames(wider, named, finding):
        finding.dimension, finding.key = wider.series
        finding.first_bad_at = min(finding.first_bad_at, start_of_hour(wider.first_hour))
        finding.points = []
        named = wider
    new = [list(flag.series) for flag in group if list(flag.series) not in finding.members]
    finding.members = [*finding.members, *new][:MAX_MEMBERS]
    finding.score = max(finding.score, *(flag.score for flag in group))
    last = start_of_hour(max(flag.last_hour for flag in group))
    if last > finding.last_bad_at:
        finding.last_bad_at, finding.closed_at = last, None
    _measure(look, finding, named)
    finding.save()
    restrict_runaway(finding, look.settings, now=look.now)
    _tell(look, finding)


def _renames(wider: Flag, named: Flag | None, finding: Finding) -> bool:
    """Whether the finding is named after another series: one that shows much more of it, or as
    much of it and says better whom to talk to. `named` is today's, if it stands out now."""
    if named is None:
        return _is_wider(wider, finding)
    if _is_wider(wider, finding) and _is_part(named, wider):
        return True
    is_as_much = abs(wider.excess_usd) >= NAMED_SHARE * abs(named.excess_usd)
    return is_as_much and rank_of(wider.series) < rank_of(named.series)


def _is_part(named: Flag, wider: Flag) -> bool:
    """Not where the named series grew as much itself since it was measured."""
    return abs(wider.excess_usd) > RENAMED_TIMES * abs(named.excess_usd)


def _measure(look: Looking, finding: Finding, flag: Flag | None) -> None:
    """What the named series cost and should have, from its first bad hour to its last, and why."""
    _chart(look, finding)
    series = (finding.dimension, finding.key)
    first, last = hour_of(finding.first_bad_at), hour_of(finding.last_bad_at)
    book = CellBook(first, last + 1, until=look.until)
    expected = sum(p[2] for p in finding.points if first <= p[0] <= last)
    if flag is not None and not finding.points:
        expected = flag.expected_usd
    finding.actual_usd = book.actual_usd(series).quantize(USD)
    finding.expected_usd = Decimal(repr(float(expected))).quantize(USD)
    finding.excess_usd = finding.actual_usd - finding.expected_usd
    hours = last - first + 1
    a_day = abs(finding.excess_usd) / hours * 24
    finding.at_stake_usd = max(abs(finding.excess_usd), a_day).quantize(USD)
    finding.explanation = book.explain(
        series, actual_usd=finding.actual_usd, expected_usd=finding.expected_usd
    ).as_json()


def _chart(look: Looking, finding: Finding) -> None:
    """Bring the named series' hours up to date, as far back as the detector remembers."""
    found = look.memory.place((finding.dimension, finding.key))
    if found is None:
        return
    part, column = found
    state = part.detector.state
    known = {int(point[0]): point for point in finding.points}
    first = hour_of(finding.first_bad_at)
    last_bad = hour_of(finding.last_bad_at)
    begin = max(first - CHART_HOURS_BEFORE, look.hour - WINDOW_HOURS + 30)
    for hour in range(begin, look.hour + 1):
        if hour in known and hour < look.hour - 2 and look.hour >= look.memory.hour - 1:
            continue
        at = hour % WINDOW_HOURS
        values = (
            state.value[0, hour % VALUE_HOURS, column],
            state.expected[0, at, column],
            state.low[0, at, column],
            state.high[0, at, column],
        )
        if not any(np.isnan(value) for value in values):
            known[hour] = [hour, *(round(float(v), 6) for v in values)]
    kept = [known[hour] for hour in sorted(known)]
    finding.points = [[*point[:5], first <= point[0] <= last_bad] for point in kept]


def _tell(look: Looking, finding: Finding) -> None:
    """Alert once, when enough is at stake and nobody has answered yet."""
    if finding.alerted_at is not None or finding.answer:
        return
    if finding.at_stake_usd < look.settings.min_usd:
        return
    if look.now - finding.last_bad_at > TOLD_WITHIN + timedelta(hours=1):
        return
    if finding.snoozed_until is not None and finding.snoozed_until > look.now:
        return
    local = finding.first_bad_at.astimezone(look.tenant.zone)
    words = read_money_words(now=look.now)
    title = finding_title(
        (finding.dimension, finding.key),
        excess_usd=finding.excess_usd,
        since=f"since {local:%H:%M}",
        explanation=finding.explanation,
        money=lambda usd: words.amount(usd, finding.first_bad_at),
        names=read_names(),
    )
    is_loud = finding.at_stake_usd >= CRITICAL_TIMES * look.settings.min_usd
    raise_alert(
        key=f"finding:{finding.pk}",
        kind="anomaly",
        severity=Severity.CRITICAL if is_loud and finding.excess_usd > 0 else Severity.WARNING,
        subject=title,
        body=_body(finding, title, f"{local:%Y-%m-%d %H:%M} ({look.tenant.time_zone})", words),
        path=f"/anomalies/{finding.pk}",
        amount_usd=finding.at_stake_usd,
        now=look.now,
        details={
            "finding_id": finding.pk,
            "kind": finding.kind,
            "series": {"dimension": finding.dimension, "key": finding.key},
            "excess_usd": str(finding.excess_usd),
            "story": finding.explanation["story"],
        },
    )
    finding.alerted_at = look.now
    finding.save(update_fields=["alerted_at"])


def _body(finding: Finding, title: str, since: str, words: MoneyWords) -> str:
    def told(usd: Decimal) -> str:
        return words.amount(usd, finding.first_bad_at)

    lines = [
        f"{title}.",
        f"First bad hour: {since}.",
        f"Spent {told(finding.actual_usd)}, expected {told(finding.expected_usd)}.",
        f"A day of this comes to {told(finding.at_stake_usd)}.",
    ]
    cache = cache_words(finding.explanation)
    return "\n".join([*lines, f"{cache[:1].upper()}{cache[1:]}."] if cache else lines)
