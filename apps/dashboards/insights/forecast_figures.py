"""What is to come, drawn: a soft band from p10 to p90 with p50 dashed. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from apps.dashboards.money import shown
from apps.dashboards.templatetags.figures_of_speech import in_money, percent, usd_short
from apps.insights.forecasts import MoneyQuantiles

Figure = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Expected:
    """What a time to come will cost in the page's currency: eight times of ten low to high."""

    low: Decimal
    middle: Decimal
    high: Decimal


def expect(
    usd: MoneyQuantiles, *, spent: Decimal = Decimal(0), spent_usd: Decimal = Decimal(0)
) -> Expected:
    """A forecast of USD, of which `spent` is known already: the rest is at the latest rate."""
    ends = (shown().ahead(v, spent=spent, spent_usd=spent_usd) for v in usd.in_order)
    return Expected(*ends)


def band_to_come(
    labels: Sequence[str], expected: Sequence[Expected | None]
) -> list[dict[str, Any]]:
    """Traces over the days that have a forecast; gaps over the others."""
    edges = [
        ("band-low", [one.low if one else None for one in expected]),
        ("band-high", [one.high if one else None for one in expected]),
    ]
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": role,
            "x": list(labels),
            "y": [_float(value) for value in values],
            "hoverinfo": "skip",
            "meta": {"role": role},
        }
        for role, values in edges
    ]
    middle: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        "name": "forecast",
        "x": list(labels),
        "y": [_float(one.middle) if one else None for one in expected],
        "customdata": [_in_words(one) if one else "" for one in expected],
        "hovertemplate": "expected %{customdata}<extra></extra>",
        "meta": {"role": "forecast"},
    }
    return [*traces, middle]


def _in_words(one: Expected) -> str:
    low, middle, high = (usd_short(value) for value in (one.low, one.middle, one.high))
    return f"{in_money(middle)}, {low} to {high}"


@dataclass(frozen=True, slots=True)
class Miss:
    """How a forecast was off, as a share of what it came to, and where its interval lay then."""

    label: str
    low: Decimal
    middle: Decimal
    high: Decimal


def misses(rows: Sequence[Miss]) -> Figure:
    """Per past forecast its interval and its middle, both beside what was spent: 0 is a hit."""
    names = [row.label for row in rows]
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "80% interval",
            "x": [x for row in rows for x in (_percent(row.low), _percent(row.high), None)],
            "y": [y for n in range(len(rows)) for y in (n, n, None)],
            "hoverinfo": "skip",
            "meta": {"role": "interval"},
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "forecast",
            "x": [_percent(row.middle) for row in rows],
            "y": list(range(len(rows))),
            "customdata": [
                f"{row.label}: {percent(row.middle)} off, {percent(row.low)} to {percent(row.high)}"
                for row in rows
            ],
            "hovertemplate": "%{customdata}<extra></extra>",
            "meta": {"role": "miss"},
        },
    ]
    reach = max((abs(_percent(x)) for row in rows for x in (row.low, row.high)), default=10.0)
    return {
        "data": traces,
        "layout": {
            "hovermode": "closest",
            "xaxis": {"range": [-reach * 1.05, reach * 1.05], "ticksuffix": "%", "zeroline": True},
            "yaxis": {
                "type": "linear",
                "range": [len(rows) - 0.5, -0.5],
                "tickvals": list(range(len(rows))),
                "ticktext": names,
            },
            "meta": {"kind": "misses", "rows": len(rows), "empty": not rows},
        },
    }


def _percent(value: Decimal) -> float:
    return float(value * 100)


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
