"""What customers bring and cost, drawn. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from html import escape
from typing import Any

from apps.dashboards.figures import Figure, Stack, spend_by_day
from apps.dashboards.templatetags.figures_of_speech import in_money, signed_usd, usd
from apps.dashboards.ticks import day_axis
from apps.usage.core.margins import Earnings


@dataclass(frozen=True, slots=True)
class MarginBar:
    name: str
    earned: Earnings


def margin_bars(bars: Sequence[MarginBar]) -> Figure:
    """A bar per customer from zero: to the left what it cost beyond what it brought."""
    places = list(range(len(bars)))
    traces: list[dict[str, Any]] = []
    for role, wanted in (("loss", True), ("gain", False)):
        chosen = [
            (n, one) for n, one in zip(places, bars, strict=True) if one.earned.loses is wanted
        ]
        if chosen:
            traces.append(_bars(role, chosen))
    return {
        "data": traces,
        "layout": {
            "barmode": "overlay",
            "hovermode": "closest",
            "xaxis": {},
            "yaxis": {
                "type": "linear",
                "range": [len(bars) - 0.5, -0.5],
                "tickvals": places,
                "ticktext": [escape(one.name) for one in bars],
            },
            "meta": {"kind": "margins", "rows": len(bars), "empty": not bars},
        },
    }


def _bars(role: str, chosen: Sequence[tuple[int, MarginBar]]) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": "loses" if role == "loss" else "earns",
        "y": [n for n, _ in chosen],
        "x": [float(one.earned.margin) for _, one in chosen],
        "text": [signed_usd(one.earned.margin) for _, one in chosen],
        "textposition": "outside",
        "cliponaxis": False,
        "constraintext": "none",
        "hovertemplate": [
            f"{escape(one.name)}: brought {in_money(usd(one.earned.revenue))},"
            f" cost {usd(one.earned.cost)}<extra></extra>"
            for _, one in chosen
        ],
        "meta": {"role": role},
    }


def cost_and_revenue(
    days: Sequence[date], stacks: Sequence[Stack], revenue: Sequence[Decimal | None]
) -> Figure:
    """Cost stacked by model per local day, revenue as a line across it."""
    figure = spend_by_day(days, stacks, {})
    if any(value for value in revenue if value is not None):
        figure["data"].append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": "revenue",
                "x": list(day_axis(days).labels),
                "y": [None if value is None else float(value) for value in revenue],
                "customdata": [usd(value) for value in revenue],
                "hovertemplate": "revenue  %{customdata}<extra></extra>",
                "meta": {"role": "revenue"},
            }
        )
    return figure
