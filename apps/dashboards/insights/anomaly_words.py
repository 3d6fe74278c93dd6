"""Findings in words: what happened, why, and what became of it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from apps.dashboards.money import shown
from apps.dashboards.periods import short_day
from apps.dashboards.pricing.words import moment_words
from apps.dashboards.sentences import Answer, Phrase
from apps.dashboards.templatetags.figures_of_speech import in_money, in_usd, usd_short
from apps.insights.core.finding_words import Names, finding_title, series_words
from apps.insights.finding_selectors import (
    CausePart,
    FindingInfo,
    FindingRecord,
    PastFinding,
)

KIND_TAGS: Final = {
    "spike": "spike",
    "outage": "outage",
    "shift": "new level",
    "drift": "drift",
    "storm": "dearer requests",
}
EFFECT_WORDS: Final = {
    "volume": "more or fewer requests",
    "mix": "other models and tasks",
    "prompts": "longer or shorter prompts",
    "answers": "longer or shorter answers",
    "cache": "what caches gave back",
    "price": "prices, and the rest",
}


@dataclass(frozen=True, slots=True)
class FindingLine:
    """A row of the list."""

    info: FindingInfo
    title: str
    since: str
    lasted: str
    kind: str
    state: str
    waits: bool


@dataclass(frozen=True, slots=True)
class CauseRow:
    """A part of the excess; `width` is how much of it, between 0 and 1."""

    name: str
    part: CausePart
    share: Decimal
    width: Decimal


@dataclass(frozen=True, slots=True)
class CauseTable:
    """One partition: its rows add up to the whole."""

    dimension: str
    rows: Sequence[CauseRow]


@dataclass(frozen=True, slots=True)
class SensitivityRow:
    """What a sensitivity would have left of the findings, and what people said of these.

    `right`: the useful share of those that were answered; None when none was.
    """

    sensitivity: str
    found: int
    told: int
    useful: int
    expected: int
    usd: Decimal
    is_now: bool

    @property
    def unanswered(self) -> int:
        return self.found - self.useful - self.expected

    @property
    def right(self) -> Decimal | None:
        answered = self.useful + self.expected
        return Decimal(self.useful) / answered if answered else None


def title_of(info: FindingInfo, zone: ZoneInfo, now: datetime, names: Names) -> str:
    day = info.first_bad_at.astimezone(zone).date()
    return finding_title(
        info.series,
        excess_usd=info.excess_usd,
        since=since_words(info.first_bad_at, zone, now),
        explanation=info.explanation,
        money=lambda usd: in_money(usd_short(shown().on(day, usd))),
        names=names,
    )


def since_words(moment: datetime, zone: ZoneInfo, now: datetime) -> str:
    """since 14:00, since yesterday 14:00, from 11 Nov 14:00"""
    local, today = moment.astimezone(zone), now.astimezone(zone).date()
    clock = f"{local:%H:%M}"
    if local.date() == today:
        return f"since {clock}"
    if local.date() == today - timedelta(days=1):
        return f"since yesterday {clock}"
    return f"from {short_day(local.date())} {clock}"


def finding_line(info: FindingInfo, zone: ZoneInfo, now: datetime, names: Names) -> FindingLine:
    local = info.first_bad_at.astimezone(zone)
    return FindingLine(
        info=info,
        title=title_of(info, zone, now, names),
        since=f"{short_day(local.date())}, {local:%H:%M}",
        lasted=hours_words(info.hours),
        kind=KIND_TAGS[info.kind],
        state=state_words(info, zone, now),
        waits=info.is_waiting(now),
    )


def told_words(info: FindingInfo, zone: ZoneInfo) -> str:
    """When people were told, and how long after the first bad hour began."""
    if info.alerted_at is None:
        return "nobody"
    return (
        f"{moment_words(info.alerted_at, zone)},"
        f" {delay_words(info.alerted_at - info.first_bad_at)} after the first bad hour began"
    )


def delay_words(delay: timedelta) -> str:
    """45 minutes, 1 h 30 min, 17 hours, 3 days"""
    minutes = max(round(delay / timedelta(minutes=1)), 0)
    if minutes < 60:
        return "1 minute" if minutes == 1 else f"{minutes} minutes"
    if minutes < 6 * 60:
        return (
            f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else hours_words(minutes // 60)
        )
    return hours_words(round(minutes / 60))


def hours_words(hours: int) -> str:
    if hours < 48:
        return "1 hour" if hours == 1 else f"{hours} hours"
    return f"{hours / 24:.0f} days"


def state_words(info: FindingInfo, zone: ZoneInfo, now: datetime) -> str:
    if info.withdrawn:
        return "usage that came late explains it"
    if info.answer == "expected":
        return f"expected, says {info.answered_by}"
    if info.answer == "acknowledged":
        return f"{info.answered_by} looks after it"
    if info.snoozed_until is not None and info.snoozed_until > now:
        local = info.snoozed_until.astimezone(zone)
        return f"snoozed until {short_day(local.date())}, {local:%H:%M}"
    return "going on" if info.closed_at is None else "over, nobody answered"


def list_answer(waiting: Sequence[FindingInfo], watched: str) -> Answer:
    if not waiting:
        return (Phrase("Nothing waits for an answer.", strong=True), Phrase(f" {watched}"))
    over = sum((one.excess_usd for one in waiting if one.excess_usd > 0), Decimal(0))
    count = "1 finding waits" if len(waiting) == 1 else f"{len(waiting)} findings wait"
    return (
        Phrase(f"{count} for an answer", strong=True),
        Phrase(f": {in_usd(usd_short(over))} more than expected, in all. {watched}"),
    )


def question_of(info: FindingInfo, names: Names) -> str:
    more = "more" if info.excess_usd >= 0 else "less"
    name = series_words(info.series, names)
    verb = "cost" if info.series[0] == "model_task" else "spend"
    return (
        f"Why did {name[:1].lower() + name[1:] if info.series[0] == 'all' else name} {verb} {more}?"
    )


def chart_title(info: FindingInfo, zone: ZoneInfo) -> str:
    first = info.first_bad_at.astimezone(zone)
    last = (info.last_bad_at + timedelta(hours=1)).astimezone(zone)
    end = (
        f"{last:%H:%M}" if last.date() == first.date() else f"{short_day(last.date())} {last:%H:%M}"
    )
    return (
        f"{in_usd(usd_short(info.actual_usd))} instead of {usd_short(info.expected_usd)}"
        f" between {short_day(first.date())} {first:%H:%M} and {end}"
    )


def cause_tables(info: FindingInfo, names: Mapping[tuple[str, str], str]) -> list[CauseTable]:
    """By dimension, the most telling first; `names` are what values are called."""
    tables = []
    for parts in info.partitions:
        rows = [_cause_row(part, info.excess_usd, names) for part in parts]
        shown = [row for row in rows if not row.part.is_rest or row.part.excess_usd]
        if any(not row.part.is_rest for row in shown):
            tables.append(CauseTable(parts[0].dimension, shown))
    return tables


def _cause_row(
    part: CausePart, excess_usd: Decimal, names: Mapping[tuple[str, str], str]
) -> CauseRow:
    share = part.excess_usd / excess_usd if excess_usd else Decimal(0)
    if part.is_rest:
        name = "everything else"
    elif part.value is None:
        name = f"no {part.dimension}"
    else:
        name = names.get((part.dimension, part.value), part.value)
    return CauseRow(name, part, share, min(max(share, Decimal(0)), Decimal(1)))


def effect_rows(info: FindingInfo) -> list[tuple[str, Decimal, Decimal]]:
    """(what, USD, share of the excess), the largest first; they add up to it."""
    whole = info.excess_usd
    rows = sorted(info.effects.items(), key=lambda pair: -abs(pair[1]))
    return [(EFFECT_WORDS[name], usd, usd / whole if whole else Decimal(0)) for name, usd in rows]


def going_on(info: FindingInfo, zone: ZoneInfo, now: datetime) -> tuple[Decimal, Decimal]:
    """(USD a day, USD to the end of the local month) beyond what is expected, if it goes on."""
    local = now.astimezone(zone)
    month_end = (local.replace(day=1) + timedelta(days=32)).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    hours = Decimal(max((month_end - local) / timedelta(hours=1), 0.0))
    return info.usd_per_hour * 24, info.usd_per_hour * hours


def record_title(record: FindingRecord) -> str:
    answered = record.useful + record.expected
    if not record.found:
        return "Nothing was found in the last 90 days"
    if not answered:
        return f"{record.found} found in 90 days, none answered yet"
    return f"{record.useful} of {answered} answered findings were useful"


def waiting_sentence(count: int, over_usd: Decimal) -> str:
    """For the overview: how many findings wait, and what they come to; empty when none does."""
    if not count:
        return ""
    findings = "1 anomaly waits" if count == 1 else f"{count} anomalies wait"
    over = in_money(usd_short(shown().at_latest(over_usd)))
    return f"{findings} for an answer: {over} more than expected."


def sensitivity_rows(past: Sequence[PastFinding], now: float) -> list[SensitivityRow]:
    """What other sensitivities would have made of what was found, or nearly, at the one of now.

    Higher ones first. Nobody answered what they would have found: `unanswered` counts it.
    """
    rows = []
    for part in (2.0, 1.5, 1.25, 1.0, 0.8, 0.67, 0.5, 0.33):
        left = [one for one in past if _is_left(one, now, part)]
        rows.append(
            SensitivityRow(
                sensitivity=f"{now * part:.3g}",
                found=len(left),
                told=sum(one.was_told for one in left),
                useful=sum(one.answer == "acknowledged" for one in left),
                expected=sum(one.answer == "expected" for one in left),
                usd=sum((one.at_stake_usd for one in left), Decimal(0)),
                is_now=part == 1,
            )
        )
    return rows


def _is_left(one: PastFinding, now: float, part: float) -> bool:
    """Whether `part` times the sensitivity of now finds it; all that was found stays at more."""
    if part >= 1 and one.was_found:
        return True
    return part != 1 and one.score * now * part >= 1
