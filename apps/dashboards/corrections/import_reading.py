"""Imports as the page shows them: read, and put into words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from apps.dashboards.periods import dated
from apps.dashboards.pricing.words import moment_words
from apps.dashboards.sentences import capitalised
from apps.dashboards.templatetags.figures_of_speech import count, in_usd, usd_exact, usd_short
from apps.tenants.selectors import TenantInfo
from apps.usage.core.import_mapping import LATENCY_S, UNCACHED, ColumnMapping
from apps.usage.core.import_preview import ImportPreview, Sums
from apps.usage.imports import (
    ImportInfo,
    ImportRefusedError,
    Reject,
    get_import,
    list_imports,
    list_rejects,
    sample_upload,
)

STATE_WORDS: Final = {
    "uploaded": "uploaded",
    "checking": "dry run under way",
    "checked": "dry run made",
    "running": "running",
    "done": "done",
    "failed": "stopped midway",
    "discarded": "discarded",
}
SHOWN_NAMES: Final = 12
SHOWN_REJECTS: Final = 10
MAX_CELL: Final = 40
# The list of charges takes spans of this many days.
CHARGE_SPANS: Final = ((1, "day"), (7, "week"), (31, "month"), (366, "year"))
# What a column may be, in words, by what people look for first.
FIELD_GROUPS: Final[tuple[tuple[str, tuple[tuple[str, str], ...]], ...]] = (
    (
        "The call",
        (
            ("timestamp", "time of the call"),
            ("model", "model"),
            ("provider", "provider"),
            ("id", "id of the call"),
            ("status", "status"),
        ),
    ),
    (
        "Tokens",
        (
            ("usage.input_tokens", "input tokens, cache included"),
            (UNCACHED, "input tokens without cache"),
            ("usage.cache_read_tokens", "cache read tokens"),
            ("usage.cache_write_tokens", "cache write tokens"),
            ("usage.cache_write_1h_tokens", "cache write tokens, 1 hour"),
            ("usage.output_tokens", "output tokens"),
            ("usage.reasoning_tokens", "reasoning tokens"),
        ),
    ),
    (
        "Who pays",
        (
            ("customer", "customer"),
            ("department", "department"),
            ("user", "user"),
            ("project", "project"),
            ("environment", "environment"),
            ("task", "task"),
        ),
    ),
    (
        "More",
        (
            ("backend", "backend"),
            ("requested_model", "model asked for"),
            ("source", "source"),
            ("latency_ms", "latency, ms"),
            (LATENCY_S, "latency, seconds"),
            ("time_to_first_token_ms", "time to first token, ms"),
            ("reported_cost", "cost as reported, USD"),
            ("revenue", "revenue, USD"),
            ("converted", "converted"),
            ("quality_score", "quality score"),
            ("energy_wh", "energy, Wh"),
            ("decision_id", "decision id"),
            ("policy_version", "policy version"),
        ),
    ),
)
FIXED_FIELDS: Final = (
    "provider", "model", "source", "customer", "department", "project", "environment",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ColumnRow:
    """A column of the file: its first values, and the field it is mapped to ("" for none)."""

    number: int
    heading: str
    samples: list[str]
    field: str
    tag: str
    others: str


@dataclass(frozen=True, slots=True)
class NameRow:
    name: str
    rows: int
    cost: str
    exact: str
    unpriced: int


@dataclass(frozen=True, slots=True)
class PreviewRead:
    """What a dry run found, by its largest."""

    months: list[NameRow]
    models: list[NameRow]
    unpriced: list[tuple[str, int]]
    customers: list[tuple[str, int]]
    more_customers: int
    reasons: list[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class ImportRow:
    """One import in words."""

    info: ImportInfo
    state: str
    share: Decimal
    period: str
    cost: str
    cost_exact: str
    made_at: str
    charges_span: str

    @property
    def is_live(self) -> bool:
        return self.info.is_upload and self.info.state in ("checking", "running")

    @property
    def is_open(self) -> bool:
        """Whether an upload waits for somebody."""
        return self.info.is_upload and self.info.state in ("uploaded", "checked", "failed")


@dataclass(frozen=True, slots=True)
class ImportReport:
    """All of the page but its forms. `opened` comes with what there is to read of it."""

    rows: list[ImportRow]
    opened: ImportRow | None
    columns: list[ColumnRow]
    export: str
    preview: PreviewRead | None
    rejects: list[Reject]
    closed_months: str
    answer: str


def read_report(
    tenant: TenantInfo, opened: int | None, now: datetime, chosen: ColumnMapping | None = None
) -> ImportReport:
    """Imports, newest first, and one in full: the one asked for, else one that waits or works.

    `chosen`: the columns as a form that was refused has them.
    """
    known = [_row(info, tenant, now) for info in list_imports()]
    found = _find(known, opened, tenant, now)
    columns, export = _columns(tenant, found, chosen)
    preview = found.info.preview if found else None
    return ImportReport(
        rows=known,
        opened=found,
        columns=columns,
        export=export,
        preview=_preview(preview) if preview is not None else None,
        rejects=list_rejects(found.info.id, limit=SHOWN_REJECTS) if found else [],
        closed_months=_closed_months(preview, tenant) if preview is not None else "",
        answer=_answer(known),
    )


def shown_cell(cell: Any) -> str:
    """A value to know a column by; a long text is told of only: it may be a prompt."""
    if cell is None or cell == "":
        return ""
    if isinstance(cell, list | dict):
        return "(a list)" if isinstance(cell, list) else "(an object)"
    text = str(cell)
    return text if len(text) <= MAX_CELL else f"(text of {count(len(text))} characters)"


def _find(
    known: Sequence[ImportRow], opened: int | None, tenant: TenantInfo, now: datetime
) -> ImportRow | None:
    if opened is not None:
        for row in known:
            if row.info.id == opened:
                return row
        try:
            return _row(get_import(opened), tenant, now)
        except ImportRefusedError:
            return None
    return next((row for row in known if row.is_live or row.is_open), None)


def _columns(
    tenant: TenantInfo, found: ImportRow | None, chosen: ColumnMapping | None
) -> tuple[list[ColumnRow], str]:
    if found is None or not found.info.is_upload or found.info.state not in ("uploaded", "checked"):
        return [], ""
    look = sample_upload(tenant.id, found.info)
    mapping = chosen or found.info.mapping
    listed = {name for _, group in FIELD_GROUPS for name, _ in group}
    columns = []
    for number, heading in enumerate(look.headings):
        name = mapping.columns.get(heading, "")
        tag = f"tags.{heading}"
        columns.append(
            ColumnRow(
                number=number,
                heading=heading,
                samples=[shown_cell(row[number]) for row in look.samples[:3]],
                field=name,
                tag=tag,
                others=name if name and name not in listed and name != tag else "",
            )
        )
    return columns, look.guess.export


def _row(info: ImportInfo, tenant: TenantInfo, now: datetime) -> ImportRow:
    share = Decimal(info.done_bytes) / info.size_bytes
    return ImportRow(
        info=info,
        state=STATE_WORDS[info.state],
        share=min(share, Decimal(1)),
        period=_period(info, tenant),
        cost=usd_short(info.cost_usd),
        cost_exact=usd_exact(info.cost_usd),
        made_at=moment_words(info.created_at, tenant.zone),
        charges_span=_span(info, now),
    )


def _period(info: ImportInfo, tenant: TenantInfo) -> str:
    if info.first_occurred_at is None or info.last_occurred_at is None:
        return ""
    first = tenant.local_date(info.first_occurred_at)
    last = tenant.local_date(info.last_occurred_at)
    return dated(first) if first == last else f"{dated(first)} to {dated(last)}"


def _span(info: ImportInfo, now: datetime) -> str:
    """The narrowest span of the list of charges that holds them all."""
    if info.first_occurred_at is None:
        return ""
    age = now - info.first_occurred_at
    return next((name for days, name in CHARGE_SPANS if age <= timedelta(days=days)), "year")


def _preview(found: ImportPreview) -> PreviewRead:
    return PreviewRead(
        months=[_name_row(month, found.months[month]) for month in sorted(found.months)],
        models=[_name_row(name, sums) for name, sums in _dearest(found.models)],
        unpriced=_most(found.unpriced_models),
        customers=_most(found.unknown_customers),
        more_customers=max(len(found.unknown_customers) - SHOWN_NAMES, 0),
        reasons=[(_reason(name), rows) for name, rows in _most(found.reasons)],
    )


def _dearest(sums: dict[str, Sums]) -> list[tuple[str, Sums]]:
    ordered = sorted(sums.items(), key=lambda item: (-int(item[1].cost_units), item[0]))
    return ordered[:SHOWN_NAMES]


def _most(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:SHOWN_NAMES]


def _name_row(name: str, sums: Sums) -> NameRow:
    cost_usd = Decimal(sums.cost_usd)
    return NameRow(name, sums.rows, usd_short(cost_usd), usd_exact(cost_usd), sums.unpriced)


def _reason(name: str) -> str:
    code, _, field = name.partition("|")
    words = capitalised(code.replace("_", " "))
    return f"{words} in {field}" if field else words


def _closed_months(preview: ImportPreview, tenant: TenantInfo) -> str:
    closed = tenant.books_closed_through
    if closed is None:
        return ""
    return ", ".join(month for month in sorted(preview.months) if month <= f"{closed:%Y-%m}")


def _answer(known: Sequence[ImportRow]) -> str:
    live = next((row for row in known if row.is_live), None)
    if live is not None:
        what = "is being tried" if live.info.state == "checking" else "is being imported"
        return f"{live.info.file_name} {what}."
    done = next((row for row in known if row.info.state == "done"), None)
    if done is None:
        return "A dry run says what a file would add, before anything is written."
    rows = "1 charge" if done.info.accepted == 1 else f"{count(done.info.accepted)} charges"
    return f"{done.info.file_name} was the last: it added {rows}, {in_usd(done.cost)}."
