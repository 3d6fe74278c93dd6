"""A finding's hours: what was spent, what was expected, and the hours that stand out. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from apps.dashboards.templatetags.figures_of_speech import in_usd, usd
from apps.dashboards.ticks import hour_axis
from apps.insights.finding_selectors import ChartPoint

Figure = dict[str, Any]


def local_hours(points: Sequence[ChartPoint], zone: ZoneInfo) -> list[datetime]:
    return [datetime.fromtimestamp(p.hour * 3600, UTC).astimezone(zone) for p in points]


def finding_hours(points: Sequence[ChartPoint], zone: ZoneInfo) -> Figure:
    """Spend per hour over its ordinary range; bad hours marked."""
    axis = hour_axis(local_hours(points, zone))
    labels = list(axis.labels)

    def line(role: str, name: str, values: Sequence[float | None], **more: Any) -> dict[str, Any]:
        return {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": labels,
            "y": list(values),
            "hoverinfo": "skip",
            "meta": {"role": role},
        } | more

    told = [in_usd(usd(_money(p.actual_usd))) for p in points]
    expected = [
        f"{in_usd(usd(_money(p.expected_usd)))}, ordinary {usd(_money(p.low_usd))} to"
        f" {usd(_money(p.high_usd))}"
        for p in points
    ]
    traces = [
        line("band-low", "low", [p.low_usd for p in points]),
        line("band-high", "high", [p.high_usd for p in points]),
        line("usual", "expected", [p.expected_usd for p in points])
        | {"customdata": expected, "hovertemplate": "expected %{customdata}<extra></extra>"},
        line("today", "spent", [p.actual_usd for p in points])
        | {"customdata": told, "hovertemplate": "<b>spent %{customdata}</b><extra></extra>"},
        line("bad-hour", "bad", [p.actual_usd if p.is_bad else None for p in points])
        | {"mode": "markers"},
    ]
    for trace in traces[2:4]:
        trace.pop("hoverinfo")
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
            "meta": {"kind": "days", "ticks": tiers, "empty": not points},
        },
    }


def _money(value: float) -> Decimal:
    return Decimal(repr(value))
