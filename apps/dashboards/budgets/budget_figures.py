"""A budget's period drawn: what was spent against the even pace and the amount, and the band in
which it is expected to end. Pure."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from html import escape
from typing import Any

from django.utils.safestring import SafeString

from apps.budgets.core.amounts import Unit
from apps.budgets.status import BudgetStatus
from apps.dashboards.budgets.budget_words import bare, figure
from apps.dashboards.figures import Figure
from apps.dashboards.insights.forecast_figures import Expected, band_to_come
from apps.dashboards.periods import short_day
from apps.dashboards.ticks import day_axis


@dataclass(frozen=True, slots=True)
class DayLine:
    """One day of the table below a chart; `spent` None on days to come, the others on past ones."""

    day: str
    spent: SafeString | None
    low: SafeString | None
    mid: SafeString | None
    high: SafeString | None


@dataclass(frozen=True, slots=True)
class BurnUp:
    """The chart of one budget and its numbers."""

    figure: Figure
    lines: list[DayLine]


def burn_up(status: BudgetStatus, today: date) -> BurnUp | None:
    """None where there is no way to draw: a period of one day, or nothing to go by yet."""
    if len(status.days) < 2:
        return None
    unit, amount = status.terms.unit, status.standing.amount
    days = [day.day for day in status.days]
    axis = day_axis(days)
    spent = [
        day.total.mid if day.is_past else status.standing.spent if day.day == today else None
        for day in status.days
    ]
    ahead = _ahead(status)
    even = [amount * (n + 1) / len(days) for n in range(len(days))]
    traces = [
        *band_to_come(axis.labels, ahead),
        _line("even pace", axis.labels, even, unit, role="usual"),
        _line("amount", axis.labels, [amount] * len(days), unit, role="limit"),
        _line("spent", axis.labels, spent, unit, role="spent"),
    ]
    tiers = [{"at": [n for n, _ in tier], "text": [t for _, t in tier]} for tier in axis.tiers]
    made: Figure = {
        "data": traces,
        "layout": {
            "hovermode": "x unified",
            "xaxis": {
                "type": "category",
                "categoryorder": "array",
                "categoryarray": list(axis.labels),
                "range": [-0.5, len(days) - 0.5],
                "unifiedhovertitle": {"text": "%{x}"},
            },
            "yaxis": {"rangemode": "tozero"},
            "meta": {"kind": "days", "ticks": tiers, "empty": False},
        },
    }
    return BurnUp(made, _lines(status, spent))


def _ahead(status: BudgetStatus) -> list[Expected | None]:
    """The band over the days to come, tied to where the last whole day ended."""
    ahead: list[Expected | None] = []
    for n, day in enumerate(status.days):
        is_tie = day.is_past and n + 1 < len(status.days) and not status.days[n + 1].is_past
        total = day.total
        shown = not day.is_past or is_tie
        ahead.append(Expected(total.low, total.mid, total.high) if shown else None)
    return ahead


def _line(
    name: str,
    labels: tuple[str, ...],
    values: list[Decimal] | list[Decimal | None],
    unit: Unit,
    *,
    role: str,
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": escape(name),
        "x": list(labels),
        "y": [float(value) if value is not None else None for value in values],
        "customdata": [figure(value, unit) if value is not None else "" for value in values],
        "hovertemplate": f"{escape(name)}  %{{customdata}}<extra></extra>",
        "meta": {"role": role},
    }


def _lines(status: BudgetStatus, spent: list[Decimal | None]) -> list[DayLine]:
    lines, unit = [], status.terms.unit
    for day, value in zip(status.days, spent, strict=True):
        total = None if day.is_past else day.total
        lines.append(
            DayLine(
                day=short_day(day.day),
                spent=bare(value, unit) if value is not None else None,
                low=bare(total.low, unit) if total else None,
                mid=bare(total.mid, unit) if total else None,
                high=bare(total.high, unit) if total else None,
            )
        )
    return lines
