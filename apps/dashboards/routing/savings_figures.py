"""Figures of opportunities, replays and hindsight. Pure; dressed by static/js/dress.js."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from html import escape
from typing import Any, Final

from apps.dashboards.colours import OTHER_PLACE
from apps.dashboards.templatetags.figures_of_speech import in_usd, percent, usd
from apps.dashboards.ticks import day_axis
from apps.routing.hindsights import HindsightInfo

Figure = dict[str, Any]
MOST_ROWS: Final = 10


def savings(rows: Sequence[tuple[str, Decimal, Decimal, Decimal]]) -> Figure:
    """Per opportunity (label, low, mean, high) its interval and what replays say, in USD."""
    rows = rows[:MOST_ROWS]
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "90% interval",
            "x": [x for _, low, _, high in rows for x in (float(low), float(high), None)],
            "y": [y for n in range(len(rows)) for y in (n, n, None)],
            "hoverinfo": "skip",
            "meta": {"role": "interval"},
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "saving",
            "x": [float(mean) for _, _, mean, _ in rows],
            "y": list(range(len(rows))),
            "customdata": [
                f"{escape(label)}: {in_usd(usd(mean))}, {usd(low)} to {usd(high)}"
                for label, low, mean, high in rows
            ],
            "hovertemplate": "%{customdata}<extra></extra>",
            "meta": {"role": "miss"},
        },
    ]
    reach = max((float(high) for *_, high in rows), default=1.0)
    least = min([0.0, *(float(low) for _, low, _, _ in rows)])
    figure = _in_rows(traces, [label for label, *_ in rows], "misses")
    figure["layout"]["xaxis"] = {"range": [least * 1.05, reach * 1.05], "zeroline": True}
    return figure


def before_and_after(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Per backend what it cost (outlined), and would have (filled), in USD."""
    traces: list[dict[str, Any]] = []
    rows = rows[:MOST_ROWS]
    for n, row in enumerate(rows):
        own = {"place": OTHER_PLACE, "local": row["is_local"], "shade": 0, "dotted": False}
        for offset, key, told, meta in (
            (-0.2, "happened_usd", "happened", {"role": "requests"}),
            (0.2, "would_usd", "would have", own),
        ):
            money = usd(Decimal(repr(row[key])))
            traces.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "name": told,
                    "y": [n + offset],
                    "x": [row[key]],
                    "width": 0.36,
                    "text": [f"{money} {told}"],
                    "textposition": "outside",
                    "cliponaxis": False,
                    "constraintext": "none",
                    "hovertemplate": f"{escape(row['name'])}: {in_usd(money)} {told}"
                    "<extra></extra>",
                    "meta": meta,
                }
            )
    figure = _in_rows(traces, [row["name"] for row in rows], "pair")
    longest = max((row[key] for row in rows for key in ("happened_usd", "would_usd")), default=1.0)
    figure["layout"]["xaxis"] = {"range": [0, longest], "rangemode": "tozero"}
    figure["layout"]["barmode"] = "overlay"
    return figure


def _in_rows(traces: list[dict[str, Any]], names: Sequence[str], kind: str) -> Figure:
    return {
        "data": traces,
        "layout": {
            "hovermode": "closest",
            "yaxis": {
                "type": "linear",
                "range": [len(names) - 0.5, -0.5],
                "tickvals": list(range(len(names))),
                "ticktext": [escape(name) for name in names],
            },
            "meta": {"kind": kind, "rows": len(names), "empty": not names},
        },
    }


def hindsight_days(rows: Sequence[HindsightInfo]) -> Figure:
    """By day the value of what was done, below the most that its money could have done."""
    ordered = sorted(rows, key=lambda row: row.first_day)
    days: list[date] = [row.first_day for row in ordered]
    axis = day_axis(days)
    labels = list(axis.labels)

    def line(role: str, name: str, values: list[float], told: list[str]) -> dict[str, Any]:
        return {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": labels,
            "y": values,
            "customdata": told,
            "hovertemplate": f"{name} %{{customdata}}<extra></extra>",
            "meta": {"role": role},
        }

    traces = [
        line(
            "usual",
            "best possible",
            [float(row.bound_usd) for row in ordered],
            [f"{in_usd(usd(row.bound_usd))}" for row in ordered],
        ),
        line(
            "today",
            "done",
            [float(row.done_usd) for row in ordered],
            [f"{in_usd(usd(row.done_usd))}, {percent(row.share)}" for row in ordered],
        ),
    ]
    tiers = [{"at": [n for n, _ in tier], "text": [t for _, t in tier]} for tier in axis.tiers]
    return {
        "data": traces,
        "layout": {
            "hovermode": "x unified",
            "xaxis": {
                "type": "category",
                "categoryorder": "array",
                "categoryarray": labels,
                "range": [-0.5, len(labels) - 0.5],
                "unifiedhovertitle": {"text": "%{x}"},
            },
            "yaxis": {"rangemode": "tozero"},
            "meta": {"kind": "days", "ticks": tiers, "empty": not rows},
        },
    }
