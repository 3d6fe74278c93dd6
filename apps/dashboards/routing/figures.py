"""Figures of the routing policy: its prices over time, estimates beside bills. Pure."""

import math
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from html import escape
from typing import Any, Final
from zoneinfo import ZoneInfo

from apps.dashboards.colours import OTHER_PLACE
from apps.dashboards.figures import Figure, in_rows
from apps.dashboards.periods import short_day
from apps.dashboards.templatetags.figures_of_speech import count, in_usd, usd
from apps.routing.core.policy import from_json
from apps.routing.selectors import PolicyChangeInfo

# Labels drawn at most, from the densest that fits down.
LABELS: Final = (24, 12, 6, 3, 2)
MOST_ROWS: Final = 10
STEPS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
ONE_DAY_S: Final = 36 * 3600


def worth_over_time(rows: Sequence[PolicyChangeInfo], zone: ZoneInfo) -> Figure:
    """What a dollar of the month, of today and of the dearest department was worth, by policy that
    was told, oldest first."""
    ordered = sorted(rows, key=lambda row: row.version)
    labels = [f"{_moment(row.at, zone)}, policy {row.version}" for row in ordered]
    prices = [_prices(row.document) for row in ordered]
    lines = (
        ("usual", "dearest department"),
        ("today", "today"),
        ("spent", "this month"),
    )
    traces: list[dict[str, Any]] = []
    for place, (role, name) in enumerate(lines):
        values = [price[place] for price in prices]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": labels,
                "y": values,
                "line": {"shape": "hv"},
                "customdata": [in_usd(usd(Decimal(repr(value)))) for value in values],
                "hovertemplate": f"{name}  %{{customdata}}<extra></extra>",
                "meta": {"role": role},
            }
        )
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
            # A department that has nothing left is a thousand times as dear as one with plenty.
            "yaxis": {
                "type": "log",
                "range": [-0.03, _top(prices)],
                "tickvals": list(STEPS),
                "ticktext": [count(step) for step in STEPS],
            },
            "meta": {"kind": "days", "ticks": _ticks(ordered, zone), "empty": len(ordered) < 2},
        },
    }


def _top(prices: Sequence[tuple[float, float, float]]) -> float:
    highest = max((max(price) for price in prices), default=2.0)
    return math.log10(max(2.0, highest)) + 0.05


def _prices(document: str) -> tuple[float, float, float]:
    """(dearest department, today, month): what a dollar must bring there."""
    policy = from_json(document)
    month, day = 1.0 + policy.month_price, 1.0 + policy.day_price
    dearest = max((row.price for row in policy.departments.values()), default=0.0)
    return month + day - 1.0 + dearest, day, month


def _ticks(rows: Sequence[PolicyChangeInfo], zone: ZoneInfo) -> list[dict[str, Any]]:
    """Fewer and fewer labels; times of day where all is of a day or so."""
    if not rows:
        return []
    is_short = (rows[-1].at - rows[0].at).total_seconds() < ONE_DAY_S
    tiers = []
    for most in LABELS:
        step = max(1, -(-len(rows) // most))
        at = list(range(0, len(rows), step))
        texts = [_moment(rows[n].at, zone) for n in at]
        tiers.append({"at": at, "text": [text[-5:] if is_short else text[:-7] for text in texts]})
    return tiers


def _moment(at: datetime, zone: ZoneInfo) -> str:
    local = at.astimezone(zone)
    return f"{short_day(local.date())}, {local:%H:%M}"


def advised_and_ran(rows: Sequence[tuple[str, int, int]]) -> Figure:
    """Per backend what the policy would have sent there (outlined), and what ran there."""
    rows = rows[:MOST_ROWS]
    traces: list[dict[str, Any]] = []
    own = {"place": OTHER_PLACE, "local": False, "shade": 0, "dotted": False}
    for n, (name, advised, ran) in enumerate(rows):
        sides: tuple[tuple[float, int, str, dict[str, Any]], ...] = (
            (-0.2, advised, "advised", {"role": "requests"}),
            (0.2, ran, "ran", own),
        )
        for offset, requests, told, meta in sides:
            traces.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "name": told,
                    "y": [n + offset],
                    "x": [requests],
                    "width": 0.36,
                    "text": [f"{count(requests)} {told}"],
                    "textposition": "outside",
                    "cliponaxis": False,
                    "constraintext": "none",
                    "hovertemplate": f"{escape(name)}: {count(requests)} {told}<extra></extra>",
                    "meta": meta,
                }
            )
    figure = in_rows(traces, [name for name, *_ in rows], kind="pair", hover="closest")
    longest = max((max(advised, ran) for _, advised, ran in rows), default=1)
    figure["layout"]["xaxis"] = {"range": [0, longest], "rangemode": "tozero"}
    figure["layout"]["barmode"] = "overlay"
    return figure
