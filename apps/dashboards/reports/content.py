"""What a report of spend says: read from the rollups once, for one closed week or month."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from apps.budgets.status import read_statuses
from apps.dashboards.breakdown import Line, Sums, lines, relative_change, sum_by, total
from apps.dashboards.budgets import budget_words
from apps.dashboards.insights.anomaly_words import finding_line
from apps.dashboards.money import shown
from apps.dashboards.overview.why import Why, read_why
from apps.dashboards.periods import Period, weekday_name
from apps.dashboards.reading import Names, read_all, read_before, read_period_by_day
from apps.dashboards.reports.times import Frequency, closed_period, period_name
from apps.dashboards.routing.savings_words import opportunity_line
from apps.dashboards.sentences import plain
from apps.dashboards.templatetags.figures_of_speech import change, in_money, percent, usd
from apps.dashboards.ticks import day_label
from apps.insights.finding_selectors import list_findings, read_names
from apps.routing.opportunities import list_opportunities
from apps.tenants.selectors import TenantInfo
from apps.usage.selectors import Dimension, SpendQuery, SpendRow
from apps.usage.spend_rows import spend_csv

ROWS: Final = 8
TOLD: Final = 3
BUDGETS_TOLD: Final = 10
BAR_HEIGHT: Final = 84
FILE_GROUPS: Final[tuple[Dimension, ...]] = ("model", "department", "customer")
AT_LIMIT: Final = ("over", "at_risk")


@dataclass(frozen=True, slots=True)
class DayBar:
    """`height` in pixels; a day with any spend is to be seen. `label` is empty where none fits."""

    day: str
    label: str
    cost: Decimal
    height: int


@dataclass(frozen=True, slots=True)
class PartRow:
    """`width`: its bar, in per cent of the longest. `change`: empty with nothing before."""

    name: str
    cost: Decimal | None
    cost_usd: Decimal | None
    share: Decimal | None
    change: str
    width: int


@dataclass(frozen=True, slots=True)
class PartTable:
    title: str
    what: str
    rows: list[PartRow]


@dataclass(frozen=True, slots=True)
class Note:
    """A line that leads to a page."""

    text: str
    path: str


@dataclass(frozen=True, slots=True)
class ReportContent:
    """Budgets, findings and opportunities are as they stand when it is made; the rest is of the
    period. `file` is a CSV of it by model, department and customer, the rows of GET /spend."""

    tenant: str
    frequency: Frequency
    name: str
    period: Period
    whole: Sums
    before: Sums
    why: Why | None
    days: list[DayBar]
    tables: list[PartTable]
    budgets: list[Note]
    findings: list[Note]
    opportunities: list[Note]
    file: str

    @property
    def change(self) -> Decimal | None:
        return relative_change(self.whole.cost, self.before.cost)

    @property
    def period_end_day(self) -> date:
        """The first local day after it."""
        return self.period.days[-1] + timedelta(days=1)

    @property
    def reasons(self) -> str:
        """Why spend changed, in a sentence; empty where there is nothing to compare with."""
        return plain(self.why.sentence) if self.why else ""

    @property
    def dearest_day(self) -> DayBar | None:
        """None where nothing was spent."""
        dearest = max(self.days, key=lambda bar: bar.cost)
        return dearest if dearest.cost else None

    @property
    def subject(self) -> str:
        change = self.change
        moved = ""
        if change is not None and change:
            way = "more" if change > 0 else "less"
            moved = f", {percent(abs(change))} {way} than {self.period.before_in_words}"
        return f"{self.tenant}: {in_money(usd(self.whole.cost))} {self.period.in_words}{moved}"


def read_report(
    tenant: TenantInfo, frequency: Frequency, first_day: date, *, now: datetime
) -> ReportContent:
    """Four reads of rollups, whatever was used; the tenant is the one in scope."""
    zone = tenant.zone
    period = closed_period(frequency, first_day, zone)
    query = SpendQuery(start=period.start, end=period.end, group_by=FILE_GROUPS)
    parts = read_all(query)
    by_day = read_period_by_day(period, zone, ("backend",), {})
    before = read_before(period, (*FILE_GROUPS, "backend"), {})
    names = Names()
    return ReportContent(
        tenant=tenant.name,
        frequency=frequency,
        name=period_name(frequency, first_day),
        period=period,
        whole=total(parts.rows),
        before=total(before),
        why=read_why(by_day, before, period=period, at=period.end),
        days=_day_bars(by_day, period, frequency),
        tables=[
            _table("model", "Models", parts.rows, before, _model_name),
            _table("department", "Departments", parts.rows, before, names.department),
            _table("customer", "Customers", parts.rows, before, names.customer),
        ],
        budgets=_budgets(now),
        findings=_findings(tenant, now),
        opportunities=_opportunities(),
        file=spend_csv(query, parts, shown().currency),
    )


def _model_name(model: str | None) -> str:
    return model or "model not named"


def _day_bars(rows: Sequence[SpendRow], period: Period, frequency: Frequency) -> list[DayBar]:
    sums: Mapping[object, Sums] = sum_by(rows, lambda row: row.bucket)
    spent = {day: sums[day].cost if day in sums else Decimal(0) for day in period.days}
    most = max(spent.values())
    return [
        DayBar(
            day=day_label(day),
            label=_bar_label(day, frequency),
            cost=cost,
            height=max(1, round(cost / most * BAR_HEIGHT)) if cost > 0 else 0,
        )
        for day, cost in spent.items()
    ]


def _bar_label(day: date, frequency: Frequency) -> str:
    if frequency == "weekly":
        return weekday_name(day)[:3]
    return str(day.day) if day.day % 7 == 1 else ""


def _table(
    dimension: Dimension,
    title: str,
    rows: Sequence[SpendRow],
    before: Sequence[SpendRow],
    name: Callable[[str | None], str],
) -> PartTable:
    """The dearest few, and the rest of them in one row, so that it adds up."""

    def key(row: SpendRow) -> str | None:
        return row.labels[dimension]

    made = lines(sum_by(rows, key), sum_by(before, key), name)
    shown, rest = made[:ROWS], made[ROWS:]
    if rest:
        shown = [*shown, _together(rest)]
    most = max((line.now.cost for line in shown), default=Decimal(0))
    return PartTable(title, dimension, [_row(line, most) for line in shown])


def _together(rest: Sequence[Line]) -> Line:
    befores = [line.before for line in rest if line.before is not None]
    return Line(
        key=None,
        name=f"{len(rest)} more",
        now=total(line.now for line in rest),
        whole=rest[0].whole,
        before=total(befores) if befores else None,
    )


def _row(line: Line, most: Decimal) -> PartRow:
    cost = line.now.cost
    return PartRow(
        name=line.name,
        cost=line.now.known,
        cost_usd=line.now.known_usd,
        share=line.spend_share,
        change=change(line.change) if line.before is not None else "",
        width=max(1, round(cost / most * 100)) if cost > 0 else 0,
    )


def _budgets(now: datetime) -> list[Note]:
    troubled = [one for one in read_statuses(now=now) if one.health in AT_LIMIT]
    return [
        Note(budget_words.finding(one), f"/budgets/{one.terms.id}")
        for one in troubled[:BUDGETS_TOLD]
    ]


def _findings(tenant: TenantInfo, now: datetime) -> list[Note]:
    open_ones = list_findings(now=now, state="open")[:TOLD]
    names = read_names() if open_ones else {}
    titles = [finding_line(one, tenant.zone, now, names).title for one in open_ones]
    return [
        Note(f"{title}: {_at_latest(one.at_stake_usd)} at stake", f"/anomalies/{one.id}")
        for title, one in zip(titles, open_ones, strict=True)
    ]


def _at_latest(value_usd: Decimal) -> str:
    return in_money(usd(shown().at_latest(value_usd)))


def _opportunities() -> list[Note]:
    return [
        Note(
            f"{opportunity_line(one).title}: {_at_latest(one.saving_usd)} a month",
            "/opportunities",
        )
        for one in list_opportunities(limit=TOLD)
    ]
