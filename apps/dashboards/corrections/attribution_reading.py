"""Rules, unattributed usage and re-attributions as the page shows them: read, put into words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, get_args
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from apps.dashboards.corrections.repricing_reading import (
    STATE_WORDS,
    Run,
    month_words,
    progress_of,
    root_preview,
    span_words,
)
from apps.dashboards.pricing.words import day_words, moment_words
from apps.dashboards.sentences import Answer, Phrase
from apps.dashboards.templatetags.figures_of_speech import count, in_usd, percent, usd_short
from apps.tenants.selectors import TenantInfo, list_api_keys
from apps.usage.attribution import RuleInfo, list_rules
from apps.usage.core.attribution import KEY, TAG_PREFIX, TARGETS, Target
from apps.usage.core.repricing import changed_months, closed_among
from apps.usage.reattribution import get_reattribution, list_reattributions
from apps.usage.repricing import RepricingInfo, RepricingRefusedError, get_repricing
from apps.usage.unattributed import RuleMatch, Unattributed, read_unattributed

BY_WORDS: Final = {
    "key": "API key",
    "provider": "provider",
    "model": "model",
    "customer": "customer",
    "department": "department",
    "project": "project",
    "environment": "environment",
    "task": "task",
    "source": "source",
    "user": "user",
    "tag": "tag",
}
# In the order in which people look; what is not here is left out (a provider follows a model).
BY_SHOWN: Final = (
    "key", "model", "source", "project", "tag", "user", "customer", "department", "task",
    "environment",
)  # fmt: skip
DOOR_WORDS: Final = {
    "native": "native", "litellm": "LiteLLM", "otlp": "OpenTelemetry", "cloudevents": "CloudEvents",
}  # fmt: skip
TARGET_NAMES: Final[tuple[Target, ...]] = get_args(Target)


@dataclass(frozen=True, slots=True)
class PartRow:
    """`assign`: the query that opens the form with this part chosen; none for what cannot be."""

    name: str | None
    cost_usd: Decimal
    share: Decimal | None
    requests: int
    assign: str


@dataclass(frozen=True, slots=True)
class PartTable:
    by: str
    of_newest: bool
    rows: list[PartRow]


@dataclass(frozen=True, slots=True)
class RuleRow:
    info: RuleInfo
    says: str
    means: str
    where: str
    dated: str
    stands: bool


@dataclass(frozen=True, slots=True)
class Flow:
    before: str
    after: str
    changed: int
    moved_usd: Decimal


@dataclass(frozen=True, slots=True)
class MonthMoved:
    name: str
    changed: int
    moved_usd: Decimal
    unpriced: int


@dataclass(frozen=True, slots=True)
class MoveRow(Run):
    """One re-attribution. `moved_usd` is the dry run's until it runs."""

    chosen: str
    given_to: str
    moved_usd: Decimal
    months: list[MonthMoved]
    flows: list[Flow]
    more_flows: int
    new_names: str


@dataclass(frozen=True, slots=True)
class AttributionReport:
    """All of the page but its forms."""

    target: Target
    found: Unattributed
    answer: Answer
    tables: list[PartTable]
    rules: list[RuleRow]
    rows: list[MoveRow]
    opened: MoveRow | None
    running: MoveRow | None


def read_attribution(
    tenant: TenantInfo, target: Target, start: datetime, end: datetime, *, opened: int | None
) -> AttributionReport:
    keys = {str(key.id): key.name for key in list_api_keys()}
    found = read_unattributed(target, start, end)
    runs = list_reattributions()
    by_id = {run.id: run for run in runs}
    opened = _open(opened, by_id, runs)
    for run in list(by_id.values()):
        if run.undo_of is not None and run.undo_of not in by_id:
            by_id[run.undo_of] = get_repricing(run.undo_of)
    rows = [_row(run, by_id, keys, tenant) for run in runs]
    return AttributionReport(
        target=target,
        found=found,
        answer=_answer(found),
        tables=[
            PartTable(BY_WORDS[by], by in ("source", "user", "tag"), _parts(found, by))
            for by in BY_SHOWN
            if found.parts.get(by)
        ],
        rules=[_rule(info, keys, tenant.zone, end) for info in list_rules()],
        rows=rows,
        opened=None if opened is None else _row(by_id[opened], by_id, keys, tenant),
        running=next((row for row in rows if row.info.status == "running"), None),
    )


def match_words(match: RuleMatch, *, days: int) -> str:
    """What a rule would have met, in a sentence."""
    if not match.is_known:
        return (
            "This attribute was not kept so far: what it meets shows as usage comes in."
            " The past can be assigned by what is known of it."
        )
    requests = _requests(match.requests)
    sentence = (
        f"Would match {requests}, {in_usd(usd_short(match.cost_usd))} of the last {days} days"
    )
    if match.examined is None:
        return f"{sentence}."
    return f"{sentence}; tried on the newest {count(match.examined)} alone."


def _requests(number: int) -> str:
    return "1 request" if number == 1 else f"{count(number)} requests"


def _open(
    opened: int | None, by_id: dict[int, RepricingInfo], runs: Sequence[RepricingInfo]
) -> int | None:
    """The run asked for, else a newest one that waits or works."""
    if opened is not None and opened not in by_id:
        try:
            by_id[opened] = get_reattribution(opened)
        except RepricingRefusedError:
            opened = None
    if opened is None and runs and runs[0].status in ("draft", "running"):
        opened = runs[0].id
    return opened


def _parts(found: Unattributed, by: str) -> list[PartRow]:
    whole = found.cost_usd
    rows = []
    for part in found.parts[by]:
        chosen = {"of": found.target, f"w_{by}": part.value or "", "assign": by}
        if part.value is None:
            chosen[f"none_{by}"] = "1"
        can_choose = part.value is not None or by in (*TARGETS, "user")
        rows.append(
            PartRow(
                name=part.name,
                cost_usd=part.cost_usd,
                share=part.cost_usd / whole if whole else None,
                requests=part.requests,
                assign=urlencode(chosen) if can_choose else "",
            )
        )
    return rows


def _rule(info: RuleInfo, keys: Mapping[str, str], zone: ZoneInfo, now: datetime) -> RuleRow:
    rule = info.rule
    if rule.attribute == KEY:
        says = f"key {keys.get(rule.value or '', rule.value)}, where nothing else says"
    elif rule.attribute.startswith(TAG_PREFIX):
        says = f"tag {rule.attribute.removeprefix(TAG_PREFIX)}"
    else:
        says = rule.attribute
    if rule.value is not None and rule.attribute != KEY:
        says += f" = {rule.value}"
    where = [DOOR_WORDS[rule.door.name.lower()]] if rule.door is not None else []
    where += [f"source {rule.source}"] if rule.source else []
    dated = [f"from {day_words(rule.effective_from, zone)}"] if rule.effective_from else []
    dated += [f"until {moment_words(rule.effective_to, zone)}"] if rule.effective_to else []
    return RuleRow(
        info=info,
        says=says,
        means=rule.name or "its value",
        where=", ".join(where),
        dated=" ".join(dated),
        stands=rule.effective_to is None or rule.effective_to > now,
    )


def _row(
    run: RepricingInfo,
    by_id: Mapping[int, RepricingInfo],
    keys: Mapping[str, str],
    tenant: TenantInfo,
) -> MoveRow:
    move, preview = run.move or {}, run.preview or {}
    is_draft = run.status == "draft"
    closed = closed_among(
        changed_months(root_preview(run, by_id) or {"months": []}), tenant.books_closed_through
    )
    return MoveRow(
        info=run,
        state=STATE_WORDS[run.status],
        span=span_words(run.starts_at, run.ends_at, tenant.zone),
        chosen=_chosen_words(move["where"], keys),
        given_to=", ".join(_named(name, value) for name, value in move["to"].items()),
        made_at=moment_words(run.created_at, tenant.zone),
        finished_at=moment_words(run.finished_at, tenant.zone) if run.finished_at else "",
        changed=preview["changed"] if is_draft else run.changed_charges,
        moved_usd=Decimal(preview["moved_usd"]) if is_draft else run.cost_change_usd,
        progress=progress_of(run, by_id),
        closed_months=", ".join(f"{month:%B %Y}" for month in closed),
        months=[
            MonthMoved(
                month_words(one["month"]), one["changed"], Decimal(one["moved_usd"]),
                one["unpriced"],
            )
            for one in preview.get("months", [])
        ],
        flows=[
            Flow(
                _whose(one["from"]), _whose(one["to"]), one["changed"], Decimal(one["moved_usd"])
            )
            for one in preview.get("flows", [])
        ],
        more_flows=preview.get("more_flows", 0),
        new_names=", ".join(preview.get("new_names", [])),
    )  # fmt: skip


def _chosen_words(where: Mapping[str, Any], keys: Mapping[str, str]) -> str:
    words = []
    for name, value in where.items():
        shown = keys.get(value or "", value) if name == "key" else value
        words.append(_named(name, shown))
    return ", ".join(words) or "all charges"


def _named(name: str, value: str | None) -> str:
    return f"no {name}" if value is None else f"{BY_WORDS.get(name, name)} {value}"


def _whose(names: Mapping[str, str | None]) -> str:
    return ", ".join(_named(name, value) for name, value in names.items())


def _answer(found: Unattributed) -> Answer:
    if not found.all_requests:
        return (Phrase("Nothing was used in the last 30 days."),)
    if not found.requests:
        return (
            Phrase("All usage of the last 30 days names its "),
            Phrase(f"{found.target}.", strong=True),
        )
    share = f", {percent(found.share)} of the spend" if found.share else ""
    return (
        Phrase(f"{in_usd(usd_short(found.cost_usd))}{share}", strong=True),
        Phrase(f" of the last 30 days names no {found.target}: {_requests(found.requests)}."),
    )
