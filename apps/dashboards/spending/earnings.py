"""Cost to serve against revenue for pages: by customer, tier and model, from one reading."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from zoneinfo import ZoneInfo

from apps.dashboards.breakdown import relative_change, sum_by
from apps.dashboards.colours import Series, model_key
from apps.dashboards.money import shown
from apps.dashboards.periods import Period, end_of_day
from apps.dashboards.reading import Filters, Names, read_before, read_rows
from apps.dashboards.sentences import Answer
from apps.dashboards.spending.margin_figures import MarginBar, margin_bars
from apps.dashboards.spending.margin_words import margins_answer, margins_title
from apps.dashboards.spending.model_spend import series_of
from apps.dashboards.trends import Trend, trend_of
from apps.usage.core.margins import Earnings
from apps.usage.margins import Margins, add_up, settle_margins
from apps.usage.selectors import SpendQuery, SpendRow

MOST_LISTED = 250
LOSERS_DRAWN, EARNERS_DRAWN = 8, 7


@dataclass(frozen=True, slots=True)
class CustomerLine:
    """A customer over the period. `id` None: there is no page of it."""

    key: str | None
    id: int | None
    name: str
    tier: str
    earned: Earnings
    change: Decimal | None
    trend: Trend | None


@dataclass(frozen=True, slots=True)
class PartLine:
    """A tier or a model, over the period."""

    name: str
    filter_value: str | None
    series: Series | None
    earned: Earnings


@dataclass(frozen=True, slots=True)
class CustomerEarnings:
    lines: list[CustomerLine]
    nobody: CustomerLine | None
    whole: Earnings
    tiers: list[PartLine]
    models: list[PartLine]
    has_revenue: bool
    title: str
    figure: dict[str, object]
    drawn: list[CustomerLine]
    answer: Answer
    unlisted: int
    # What was read, by customer, tier, model and kind; and of the stretch before, by customer.
    rows: list[SpendRow]
    before_rows: list[SpendRow]


def read_customer_earnings(period: Period, zone: ZoneInfo, filters: Filters) -> CustomerEarnings:
    """Who earns and who costs: the deepest loss first."""
    query = SpendQuery(
        start=period.start,
        end=end_of_day(period.end, zone),
        group_by=("customer", "tier", "model", "kind"),
        filters=filters,
    )
    rows = read_rows(query)
    found = settle_margins(query, rows, until=period.end, rates=shown().rates)
    before_rows = read_before(period, ("customer",), filters)
    lines = _customer_lines(found, before_rows, period, zone, filters)
    named = [line for line in lines if line.key is not None]
    nobody = next((line for line in lines if line.key is None), None)
    losers = [line for line in named if line.earned.loses]
    drawn = _drawn(named) if found.has_revenue else []
    return CustomerEarnings(
        lines=named[:MOST_LISTED],
        nobody=nobody,
        whole=found.whole,
        tiers=_tier_lines(found),
        models=_model_lines(found),
        has_revenue=found.has_revenue,
        title=margins_title([(one.name, one.earned) for one in losers], len(named)),
        figure=margin_bars([MarginBar(one.name, one.earned) for one in drawn]),
        drawn=drawn,
        answer=margins_answer(
            [(one.name, one.earned) for one in named],
            unattributed=nobody.earned if nobody else None,
            in_words=period.in_words,
        )
        if found.has_revenue
        else (),
        unlisted=max(0, len(named) - MOST_LISTED),
        rows=rows,
        before_rows=before_rows,
    )


def by_label(found: Margins, place: int) -> dict[str | None, Earnings]:
    """Summed over all labels but one."""
    sums: dict[str | None, Earnings] = {}
    for labels, earned in found.rows.items():
        sums[labels[place]] = sums.get(labels[place], Earnings()).plus(earned)
    return sums


def _customer_lines(
    found: Margins,
    before_rows: Sequence[SpendRow],
    period: Period,
    zone: ZoneInfo,
    filters: Filters,
) -> list[CustomerLine]:
    names = Names()
    before = sum_by(before_rows, lambda row: row.labels["customer"])
    daily = _daily(period, zone, filters)
    lines = []
    for key, earned in by_label(found, 0).items():
        known = names.customers.get(key) if key is not None else None
        cost_before = before[key].cost if key in before else None
        lines.append(
            CustomerLine(
                key=key,
                id=known.id if known else None,
                name=names.customer(key),
                tier=known.tier if known else "",
                earned=earned,
                change=relative_change(earned.cost, cost_before),
                trend=trend_of(_costs(daily.get(key, [])), period.days),
            )
        )
    return sorted(lines, key=lambda one: (one.earned.margin, one.name))


def _daily(period: Period, zone: ZoneInfo, filters: Filters) -> Mapping[str | None, list[SpendRow]]:
    query = SpendQuery(
        start=period.start,
        end=end_of_day(period.end, zone),
        group_by=("customer",),
        interval="day",
        filters=filters,
    )
    found: dict[str | None, list[SpendRow]] = {}
    for row in read_rows(query):
        found.setdefault(row.labels["customer"], []).append(row)
    return found


def _costs(rows: Sequence[SpendRow]) -> dict[date, Decimal]:
    return {row.bucket: row.cost for row in rows if isinstance(row.bucket, date)}


def _drawn(named: Sequence[CustomerLine]) -> list[CustomerLine]:
    """The deepest losses, then those that bring most."""
    losers = [line for line in named if line.earned.loses]
    earners = [line for line in named if line.earned.margin > 0][::-1]
    room = LOSERS_DRAWN + EARNERS_DRAWN - min(len(losers), LOSERS_DRAWN)
    return [*losers[:LOSERS_DRAWN], *earners[:room]]


def _tier_lines(found: Margins) -> list[PartLine]:
    lines = [
        PartLine(tier or "no customer", tier, None, earned)
        for tier, earned in by_label(found, 1).items()
    ]
    return sorted(lines, key=lambda one: (one.filter_value is None, one.earned.margin))


def _model_lines(found: Margins) -> list[PartLine]:
    sums: dict[str, Earnings] = {}
    for (_, _, model, kind), earned in found.rows.items():
        if model is not None:
            key = model_key(model, kind)
            sums[key] = sums.get(key, Earnings()).plus(earned)
    series = series_of(sorted(sums, key=lambda key: -sums[key].cost)) if sums else {}
    lines = [
        PartLine(series[key].name, key.partition("|")[2], series[key], earned)
        for key, earned in sums.items()
    ]
    unused = [e for labels, e in found.rows.items() if labels[2] is None]
    if unused:
        lines.append(PartLine("contracts of which nothing was used", None, None, add_up(unused)))
    return sorted(lines, key=lambda one: (one.series is None, one.earned.margin))
