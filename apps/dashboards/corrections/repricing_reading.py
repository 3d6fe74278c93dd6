"""Repricing runs as the page shows them: read, and put into words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, cast
from zoneinfo import ZoneInfo

from apps.dashboards.periods import long_day
from apps.dashboards.pricing.words import day_words, moment_words
from apps.dashboards.templatetags.figures_of_speech import count, in_usd, signed_usd, usd_exact
from apps.tenants.selectors import TenantInfo
from apps.usage.core.repricing import changed_months, closed_among
from apps.usage.repricing import (
    RepricingInfo,
    RepricingRefusedError,
    get_repricing,
    list_repricings,
)

MOST_MONTHS: Final = 24
DAY: Final = timedelta(days=1)
STATE_WORDS: Final = {
    "draft": "dry run",
    "running": "running",
    "done": "done",
    "failed": "failed midway",
    "undone": "undone",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """An amount with its sign, and every digit of it."""

    words: str
    exact: str


@dataclass(frozen=True, slots=True)
class MonthRow:
    name: str
    charges: int
    changed: int
    before_usd: Decimal
    after_usd: Decimal
    difference: Difference
    unpriced_before: int
    unpriced_after: int


@dataclass(frozen=True, slots=True)
class PayerRow:
    name: str | None
    changed: int
    difference: Difference


@dataclass(frozen=True, slots=True)
class Preview:
    """What a dry run answered."""

    whole: MonthRow
    months: list[MonthRow]
    customers: list[PayerRow]
    departments: list[PayerRow]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of corrections. `changed` is the dry run's until it runs."""

    info: RepricingInfo
    state: str
    span: str
    made_at: str
    finished_at: str
    changed: int
    progress: Decimal | None
    closed_months: str

    @property
    def can_start(self) -> bool:
        return self.info.status == "failed" or (self.info.status == "draft" and self.changed > 0)

    @property
    def can_undo(self) -> bool:
        return self.info.status == "done" or (
            self.info.status == "failed" and self.info.undo_of is None
        )


@dataclass(frozen=True, slots=True)
class RunRow(Run):
    """One repricing. `difference` is the dry run's until it runs."""

    narrowed: str
    difference: Difference
    preview: Preview | None


@dataclass(frozen=True, slots=True)
class RepricingReport:
    """All of the page but its forms."""

    rows: list[RunRow]
    opened: RunRow | None
    running: RunRow | None
    answer: str
    closed_through: str
    closed_through_day: date | None


def read_report(tenant: TenantInfo, opened: int | None) -> RepricingReport:
    """The runs, newest first, and one of them in full: the one asked for, or a newest draft."""
    runs = list_repricings()
    by_id = {run.id: run for run in runs}
    if opened is not None and opened not in by_id:
        try:
            found = get_repricing(opened)
        except RepricingRefusedError:
            found = None
        if found is None or found.move is not None:
            opened = None
        else:
            by_id[opened] = found
    if opened is None and runs and runs[0].status in ("draft", "running"):
        opened = runs[0].id
    for run in list(by_id.values()):
        if run.undo_of is not None and run.undo_of not in by_id:
            by_id[run.undo_of] = get_repricing(run.undo_of)
    rows = [_row(run, by_id, tenant) for run in runs]
    running = next((row for row in rows if row.info.status == "running"), None)
    closed = tenant.books_closed_through
    return RepricingReport(
        rows=rows,
        opened=None if opened is None else _row(by_id[opened], by_id, tenant),
        running=running,
        answer=_answer(rows, running),
        closed_through=long_day(closed) if closed else "",
        closed_through_day=closed,
    )


def last_days_of_months(tenant: TenantInfo, now: datetime) -> list[tuple[str, str]]:
    """(day, month in words) of the months that are over, newest first, and the closed one."""
    day = tenant.local_date(now).replace(day=1) - DAY
    days = []
    for _ in range(MOST_MONTHS):
        days.append(day)
        day = day.replace(day=1) - DAY
    closed = tenant.books_closed_through
    if closed is not None and closed not in days:
        days = sorted([*days, closed], reverse=True)
    return [(day.isoformat(), f"{day:%B %Y}") for day in days]


def _row(run: RepricingInfo, by_id: Mapping[int, RepricingInfo], tenant: TenantInfo) -> RunRow:
    zone = tenant.zone
    preview = _preview(run.preview) if run.preview else None
    is_draft = run.status == "draft" and preview is not None
    closed = closed_among(
        changed_months(root_preview(run, by_id) or {"months": []}), tenant.books_closed_through
    )
    return RunRow(
        info=run,
        state=STATE_WORDS[run.status],
        span=span_words(run.starts_at, run.ends_at, zone),
        narrowed=_narrowed(run),
        made_at=moment_words(run.created_at, zone),
        finished_at=moment_words(run.finished_at, zone) if run.finished_at else "",
        changed=preview.whole.changed if is_draft and preview else run.changed_charges,
        difference=preview.whole.difference
        if is_draft and preview
        else _difference(run.cost_change_usd),
        progress=progress_of(run, by_id),
        closed_months=", ".join(f"{month:%B %Y}" for month in closed),
        preview=preview,
    )


def root_preview(
    run: RepricingInfo, by_id: Mapping[int, RepricingInfo]
) -> Mapping[str, Any] | None:
    """The dry run of what an undo, or its undo, moves."""
    while run.undo_of is not None:
        run = by_id.get(run.undo_of) or get_repricing(run.undo_of)
    return run.preview


def progress_of(run: RepricingInfo, by_id: Mapping[int, RepricingInfo]) -> Decimal | None:
    """0 to 1 while a run is at work or stopped midway."""
    if run.status not in ("running", "failed"):
        return None
    if run.undo_of is None:
        whole = int((run.preview or {}).get("charges", 0))
    else:
        whole = by_id[run.undo_of].changed_charges if run.undo_of in by_id else 0
    return min(Decimal(1), Decimal(run.examined_charges) / whole) if whole else Decimal(0)


def _preview(found: Mapping[str, Any]) -> Preview:
    return Preview(
        whole=_month("in all", found),
        months=[_month(month_words(month["month"]), month) for month in found["months"]],
        customers=_payers(found["customers"]),
        departments=_payers(found["departments"]),
    )


def _month(name: str, sums: Mapping[str, Any]) -> MonthRow:
    return MonthRow(
        name=name,
        charges=sums["charges"],
        changed=sums["changed"],
        before_usd=Decimal(sums["before_usd"]),
        after_usd=Decimal(sums["after_usd"]),
        difference=_difference(Decimal(sums["difference_usd"])),
        unpriced_before=sums["unpriced_before"],
        unpriced_after=sums["unpriced_after"],
    )


def _payers(found: Sequence[Mapping[str, Any]]) -> list[PayerRow]:
    return [
        PayerRow(
            cast("str | None", one["name"]),
            one["changed"],
            _difference(Decimal(one["difference_usd"])),
        )
        for one in found
    ]


def _difference(amount: Decimal) -> Difference:
    return Difference(signed_usd(amount), usd_exact(amount))


def month_words(month: str) -> str:
    """ "2026-11" in words."""
    return f"{date.fromisoformat(f'{month}-01'):%B %Y}"


def span_words(starts_at: datetime, ends_at: datetime, zone: ZoneInfo) -> str:
    """Whole days by their first and last; any other range by its moments."""
    first = day_words(starts_at, zone)
    if ends_at.astimezone(zone).time() != time.min:
        return f"{first} to {day_words(ends_at, zone)}"
    # A day has at least 23 hours: one back is the last day, and its own name.
    last = day_words(ends_at - timedelta(hours=1), zone).split(",")[0]
    return first if first == last else f"{first} to {last}"


def _narrowed(run: RepricingInfo) -> str:
    parts = [part for part in (run.provider, run.model, run.backend, run.customer) if part]
    parts += ["only unpriced"] if run.only_unpriced else []
    return ", ".join(parts)


def _answer(rows: Sequence[RunRow], running: RunRow | None) -> str:
    if running is not None:
        return f"Repricing {running.info.id} is at work: each charge is corrected in the open."
    in_force = next((row for row in rows if row.info.status == "done"), None)
    if in_force is None:
        return "Charges of the past can be priced anew: first a dry run, then the run, then undo."
    charges = "1 charge" if in_force.changed == 1 else f"{count(in_force.changed)} charges"
    return (
        f"Repricing {in_force.info.id} was the last in force: it changed {charges}"
        f" by {in_usd(in_force.difference.words)}."
    )
