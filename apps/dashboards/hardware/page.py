"""What the pages about own hardware show: read, summed and put into words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from apps.dashboards.colours import OTHER_PLACE, Series, model_key
from apps.dashboards.figures import Figure, Stack, spend_by_day
from apps.dashboards.hardware import sentences
from apps.dashboards.hardware.figures import CloudLine, utilisation_curve
from apps.dashboards.spending.model_spend import series_of
from apps.dashboards.ticks import day_label
from apps.pricing.core.breakeven import BreakEven
from apps.pricing.core.tco import CostKind
from apps.pricing.hardware_pool import DeploymentInfo, PoolInfo
from apps.usage.hardware_comparison import LocalComparison, compare_with_clouds
from apps.usage.hardware_report import CostSummary, by_local_day, read_hour_lines, summarise_hours

DAYS: Final = 7
MOST_DRAWN: Final = 9
KIND_WORDS: Final = {
    CostKind.DEPRECIATION: "depreciation",
    CostKind.INTEREST: "interest",
    CostKind.ELECTRICITY: "electricity",
    CostKind.MAINTENANCE: "maintenance",
    CostKind.HOSTING: "hosting",
    CostKind.STAFF: "staff",
}


@dataclass(frozen=True, slots=True)
class CostRow:
    """One kind of cost: over the days, of the whole, and in a mean hour."""

    name: str
    usd: Decimal
    share: Decimal | None
    usd_per_hour: Decimal


@dataclass(frozen=True, slots=True)
class DayRow:
    label: str
    used_usd: Decimal
    idle_usd: Decimal
    utilisation: Decimal | None
    allocated_usd_per_mtok: Decimal | None


@dataclass(frozen=True, slots=True)
class BackendReport:
    """A local backend's hours of the last days."""

    id: int
    deployment: DeploymentInfo
    pool: str
    series: Series
    title: str
    summary: CostSummary
    usd_per_hour: Decimal | None
    rows: list[CostRow]
    days: list[DayRow]
    figure: Figure
    legend: tuple[Series, ...]

    @property
    def key(self) -> str:
        """Names its figure on the page."""
        return f"days-{self.id}"

    @property
    def json_id(self) -> str:
        return f"{self.key}-json"


def read_hardware(pools: Sequence[PoolInfo], zone: ZoneInfo, now: datetime) -> list[BackendReport]:
    """Every backend that runs on own hardware today, the dearest first."""
    today = now.astimezone(zone).date()
    days = [today - timedelta(days=n) for n in range(DAYS - 1, -1, -1)]
    start = datetime.combine(days[0], time.min, zone).astimezone(UTC)
    found = [(pool, d) for pool in pools for d in pool.deployments_on(today)]
    keys = {d.id: model_key(d.model, "local") for _, d in found}
    series = series_of(list(keys.values())) if keys else {}
    made = [
        _backend(pools, pool, deployment, series[keys[deployment.id]], days, start, now)
        for pool, deployment in found
    ]
    return sorted(made, key=lambda one: -one.summary.total_usd)


def _backend(  # noqa: PLR0917 - one call, in the order of the question
    pools: Sequence[PoolInfo],
    pool: PoolInfo,
    deployment: DeploymentInfo,
    series: Series,
    days: Sequence[date],
    start: datetime,
    now: datetime,
) -> BackendReport:
    lines = read_hour_lines(pools, deployment.backend, start, now, now=now)
    summary = summarise_hours(lines)
    by_day = {day: summarise_hours(found) for day, found in by_local_day(lines, pool).items()}
    used = Series("used", "used", series.place, is_local=True)
    idle = Series("idle", "idle", OTHER_PLACE)
    drawn = [by_day.get(day) for day in days]
    stacks = (
        Stack(used, tuple(day.used_usd if day else None for day in drawn)),
        Stack(idle, tuple(day.idle_usd if day else None for day in drawn)),
    )
    return BackendReport(
        id=deployment.id,
        deployment=deployment,
        pool=pool.name,
        series=series,
        title=sentences.backend_title(series.name, summary),
        summary=summary,
        usd_per_hour=summary.total_usd / summary.hours if summary.hours else None,
        rows=_cost_rows(summary),
        days=[
            DayRow(
                day_label(day),
                one.used_usd,
                one.idle_usd,
                one.utilisation,
                one.allocated_usd_per_mtok,
            )
            for day, one in reversed(by_day.items())
        ],
        figure=spend_by_day(days, stacks, {}),
        legend=(used, idle),
    )


def _cost_rows(summary: CostSummary) -> list[CostRow]:
    return [
        CostRow(
            KIND_WORDS[kind],
            usd,
            usd / summary.total_usd if summary.total_usd else None,
            usd / summary.hours,
        )
        for kind, usd in summary.lines.items()
        if usd
    ]


@dataclass(frozen=True, slots=True)
class CloudRow:
    series: Series
    backend: str
    usd_per_mtok: Decimal | None
    against: str
    break_even: BreakEven | None
    break_even_words: str
    payback_words: str

    @property
    def mtok_per_month(self) -> Decimal | None:
        return self.break_even.mtok_per_month if self.break_even else None


@dataclass(frozen=True, slots=True)
class ComparisonReport:
    """One local backend beside the clouds."""

    id: int
    local: LocalComparison
    series: Series
    title: str
    rows: list[CloudRow]
    figure: Figure
    legend: tuple[Series, ...]
    undrawn: int

    @property
    def key(self) -> str:
        """Names its figure on the page."""
        return f"curve-{self.id}"

    @property
    def json_id(self) -> str:
        return f"{self.key}-json"


def read_comparisons(pools: Sequence[PoolInfo], now: datetime) -> list[ComparisonReport]:
    found = compare_with_clouds(now=now, pools=pools)
    wanted = [model_key(one.model, "local") for one in found]
    wanted += [model_key(cloud.model, "cloud") for one in found for cloud in one.clouds]
    series = series_of(wanted) if wanted else {}
    return [_comparison(n, one, series) for n, one in enumerate(found)]


def _comparison(n: int, one: LocalComparison, series: dict[str, Series]) -> ComparisonReport:
    local = series[model_key(one.model, "local")]
    rows = [
        CloudRow(
            series=series[model_key(cloud.model, "cloud")],
            backend=cloud.backend,
            usd_per_mtok=cloud.usd_per_mtok,
            against=sentences.against(one.usd_per_mtok, cloud.usd_per_mtok),
            break_even=cloud.break_even,
            break_even_words=sentences.break_even_words(cloud.break_even),
            payback_words=sentences.payback_words(cloud.payback),
        )
        for cloud in one.clouds
    ]
    priced = [row for row in rows if row.usd_per_mtok]
    drawn = [
        CloudLine(
            row.series,
            row.usd_per_mtok or Decimal(0),
            row.break_even.utilisation if row.break_even else None,
        )
        for row in priced[:MOST_DRAWN]
    ]
    today = (one.utilisation, one.usd_per_mtok) if one.usd_per_mtok is not None else None
    return ComparisonReport(
        id=n,
        local=one,
        series=local,
        title=sentences.comparison_title(one),
        rows=rows,
        figure=utilisation_curve(local, one.curve, drawn, today),
        legend=(local, *(line.series for line in drawn)),
        undrawn=len(priced) - len(drawn),
    )
