"""Rows to Plotly figures: data and a small semantic layout. Pure.

A figure carries no colour, font or size. Each trace's `meta` names its place in the palette and
whether it is local; static/js/figures.js dresses it from the page's CSS, in either theme. What
people read on hover is written here, from Decimal; floats only place marks.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from html import escape
from typing import Any

from apps.dashboards.breakdown import Line
from apps.dashboards.colours import Series
from apps.dashboards.insights.forecast_figures import Expected, band_to_come
from apps.dashboards.templatetags.figures_of_speech import (
    count,
    in_money,
    in_usd,
    localised,
    percent,
    unit_price,
    usd,
    usd_short,
)
from apps.dashboards.ticks import Axis, day_axis
from apps.insights.core.spend_change import exact_sum

Figure = dict[str, Any]
# The least distance between two direct labels, in per cent of the height.
LABEL_GAP = 7.0


@dataclass(frozen=True, slots=True)
class Stack:
    """One series' money per position along an axis; None draws nothing."""

    series: Series
    values: tuple[Decimal | None, ...]


@dataclass(frozen=True, slots=True)
class ShareBand:
    """One series' requests per bucket; or its tokens, or millionths of a USD."""

    series: Series
    requests: tuple[int, ...]


def spend_by_day(
    days: Sequence[date], stacks: Sequence[Stack], expected: Mapping[date, Expected]
) -> Figure:
    """Stacked bars per local day; over days to come a band from p10 to p90 and p50 dashed."""
    axis = day_axis(days)
    traces = [_bar(stack, axis.labels) for stack in stacks]
    totals = [_sum_at(stacks, n) for n in range(len(days))]
    traces.append(_total_on_hover(axis.labels, totals))
    if expected:
        # Below the bars: today's own stand in front of what the day may still come to.
        traces = [*band_to_come(axis.labels, [expected.get(day) for day in days]), *traces]
    return over_axis(traces, axis, kind="days")


def _bar(stack: Stack, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "bar",
        "name": escape(stack.series.name),
        "x": list(labels),
        "y": [_float(value) for value in stack.values],
        "customdata": [usd(value) for value in stack.values],
        "hovertemplate": f"{escape(stack.series.name)}  %{{customdata}}<extra></extra>",
        "meta": stack.series.as_meta(),
    }


def _total_on_hover(labels: Sequence[str], totals: Sequence[Decimal | None]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "total",
        "x": list(labels),
        "y": [_float(value) for value in totals],
        "customdata": [in_money(usd(value)) for value in totals],
        "hovertemplate": "<b>total  %{customdata}</b><extra></extra>",
        "meta": {"role": "total"},
    }


def over_axis(traces: list[dict[str, Any]], axis: Axis, *, kind: str) -> Figure:
    tiers = [{"at": [n for n, _ in tier], "text": [t for _, t in tier]} for tier in axis.tiers]
    return {
        "data": traces,
        "layout": {
            "barmode": "relative",
            "hovermode": "x unified",
            "xaxis": {
                "type": "category",
                "categoryorder": "array",
                "categoryarray": list(axis.labels),
                "range": [-0.5, len(axis.labels) - 0.5],
                "unifiedhovertitle": {"text": "%{x}"},
            },
            "yaxis": {"rangemode": "tozero"},
            "meta": {"kind": kind, "ticks": tiers, "empty": not traces},
        },
    }


def allocation(names: Sequence[str], stacks: Sequence[Stack]) -> Figure:
    """Horizontal bars, one per name from the top, stacked by series, the sum at the end."""
    rows = _unique([escape(name) for name in names])
    totals = [_sum_at(stacks, n) or Decimal(0) for n in range(len(names))]
    traces = []
    for stack in stacks:
        trace = _bar(stack, ())
        trace |= {"orientation": "h", "y": rows, "x": trace["y"]}
        traces.append(trace)
    traces.append(
        {
            "type": "scatter",
            "mode": "markers+text",
            "name": "total",
            "x": [_float(total) for total in totals],
            "y": rows,
            "text": [f"\u00a0{usd_short(total)}" for total in totals],
            "textposition": "middle right",
            "customdata": [in_money(usd(total)) for total in totals],
            "hovertemplate": "<b>total  %{customdata}</b><extra></extra>",
            "meta": {"role": "end-label"},
        }
    )
    figure = in_rows(traces, names, kind="allocation", hover="y unified")
    figure["layout"]["yaxis"] = {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": rows,
        "range": [len(rows) - 0.5, -0.5],
    }
    return figure


def _unique(names: Sequence[str]) -> list[str]:
    """Two customers of one name are two rows."""
    seen: dict[str, int] = {}
    made = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        made.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return made


def in_rows(traces: list[dict[str, Any]], names: Sequence[str], *, kind: str, hover: str) -> Figure:
    return {
        "data": traces,
        "layout": {
            "barmode": "relative",
            "hovermode": hover,
            "xaxis": {"rangemode": "tozero"},
            "yaxis": {
                "type": "linear",
                "range": [len(names) - 0.5, -0.5],
                "tickvals": list(range(len(names))),
                "ticktext": [escape(name) for name in names],
            },
            "meta": {"kind": kind, "rows": len(names), "empty": not names},
        },
    }


@dataclass(frozen=True, slots=True)
class BackendMark:
    """A backend as the routing figures draw it."""

    series: Series
    line: Line


def share_pair(backends: Sequence[BackendMark]) -> Figure:
    """Per backend its share of requests above its share of spend: the gap is what it costs."""
    traces: list[dict[str, Any]] = []
    for n, backend in enumerate(backends):
        line, name = backend.line, escape(backend.series.name)
        requests, spend = line.request_share, line.spend_share
        traces.append(
            _share_bar(n, -0.2, requests, "of requests", f"{name}: {count(line.now.requests)}")
            | {"meta": {"role": "requests"}}
        )
        bar = _share_bar(n, 0.2, spend, "of spend", f"{name}: {in_money(usd(line.now.known))},")
        if line.now.known is None:
            bar |= {"text": ["no price yet"]}
        traces.append(bar | {"meta": backend.series.as_meta()})
    figure = in_rows(traces, [b.series.name for b in backends], kind="pair", hover="closest")
    shares = [s for b in backends for s in (b.line.request_share, b.line.spend_share) if s]
    # Room for "44% of requests" beyond the longest bar.
    figure["layout"]["xaxis"] |= {
        "range": [0, float(max(shares, default=Decimal(1))) * 100],
        "ticksuffix": "%",
    }
    figure["layout"]["barmode"] = "overlay"
    return figure


def _share_bar(n: int, offset: float, share: Decimal | None, of: str, told: str) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": of,
        "y": [n + offset],
        "x": [_float(share, 100) or 0.0],
        "width": 0.36,
        "text": [f"{percent(share)} {of}"],
        "textposition": "outside",
        "cliponaxis": False,
        "constraintext": "none",
        "hovertemplate": f"{told} {of}<extra></extra>",
    }


def share_over_time(
    axis: Axis, bands: Sequence[ShareBand], told: Callable[[int], str] = count
) -> Figure:
    """Each series' share of the requests of each bucket, stacked to 100; no requests, no bar.
    `told` writes how many there were."""
    totals = [sum(band.requests[n] for band in bands) for n in range(len(axis.labels))]
    traces = [_band(band, axis, totals, told) for band in bands]
    figure = over_axis(traces, axis, kind="shares")
    figure["layout"]["yaxis"] |= {"range": [0, 100], "ticksuffix": "%"}
    figure["layout"]["annotations"] = _direct_labels(bands)
    return figure


def _band(
    band: ShareBand, axis: Axis, totals: Sequence[int], told: Callable[[int], str]
) -> dict[str, Any]:
    shares = [
        Decimal(here) / all_ if all_ and here else None
        for here, all_ in zip(band.requests, totals, strict=True)
    ]
    name = escape(band.series.name)
    return {
        "type": "bar",
        "name": name,
        "x": list(axis.labels),
        "y": [_float(share, 100) for share in shares],
        "customdata": [
            f"{percent(share)}, {told(here)}"
            for share, here in zip(shares, band.requests, strict=True)
        ],
        "hovertemplate": f"{name}  %{{customdata}}<extra></extra>",
        "meta": band.series.as_meta(),
    }


def _direct_labels(bands: Sequence[ShareBand]) -> list[dict[str, Any]]:
    """Names at the right edge, where their bands are on the whole.

    Not where the last bucket has them: it has just begun, and names would jump as it fills.
    """
    whole = sum(sum(band.requests) for band in bands)
    if not whole:
        return []
    middles, base = [], 0.0
    for band in bands:
        share = sum(band.requests) / whole * 100
        middles.append(base + share / 2)
        base += share
    places = spread(middles, gap=LABEL_GAP, low=LABEL_GAP / 2, high=100 - LABEL_GAP / 2)
    return [
        {
            "xref": "paper",
            "x": 1,
            "xanchor": "left",
            "yref": "y",
            "y": place,
            "showarrow": False,
            "text": escape(band.series.name),
            "name": f"series:{band.series.place}:{band.series.shade}:{int(band.series.is_local)}",
        }
        for band, place in zip(bands, places, strict=True)
    ]


def spread(wanted: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Ascending positions moved as little as needed to be `gap` apart within [low, high].

    Too many to fit stand evenly.
    """
    if not wanted:
        return []
    if gap * (len(wanted) - 1) > high - low:
        step = (high - low) / (len(wanted) - 1)
        return [low + step * n for n in range(len(wanted))]
    placed: list[float] = []
    for position in wanted:
        placed.append(max(position, placed[-1] + gap if placed else low))
    placed[-1] = min(placed[-1], high)
    for n in range(len(placed) - 2, -1, -1):
        placed[n] = min(placed[n], placed[n + 1] - gap)
    return placed


def cost_ladder(backends: Sequence[BackendMark]) -> Figure:
    """Effective USD per 1,000 tokens on a logarithmic axis; a mark's area is its requests."""
    priced = [b for b in backends if b.line.now.usd_per_ktok]
    priced.sort(key=lambda b: b.line.now.usd_per_ktok or 0)
    values = [b.line.now.usd_per_ktok or Decimal(1) for b in priced]
    traces = []
    for n, (backend, value) in enumerate(zip(priced, values, strict=True)):
        line, name = backend.line, escape(backend.series.name)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "name": name,
                "x": [float(value)],
                "y": [n],
                "text": [f"\u00a0<b>{unit_price(value)}</b>\u00a0 {name}\u00a0"],
                "textposition": "middle right",
                "cliponaxis": False,
                "marker": {"size": [10 + 26 * math.sqrt(float(line.request_share or 0))]},
                "hovertemplate": f"{name}: {in_usd(unit_price(value))} per 1k tokens,"
                f" {percent(line.request_share)} of requests<extra></extra>",
                "meta": backend.series.as_meta(),
            }
        )
    figure = in_rows(traces, [b.series.name for b in priced], kind="ladder", hover="closest")
    figure["layout"]["xaxis"] = _log_axis(values)
    return figure


def _log_axis(values: Sequence[Decimal]) -> dict[str, Any]:
    """A logarithmic axis with plain numbers at powers of ten, and some room at its ends."""
    if not values:
        return {"type": "log", "range": [-4, -1], "tickvals": [], "ticktext": []}
    low, high = math.log10(float(min(values))), math.log10(float(max(values)))
    ticks = [Decimal(1).scaleb(n) for n in range(math.floor(low), math.ceil(high) + 1)]
    return {
        "type": "log",
        "range": [low - 0.2, high + 0.2],
        "tickvals": [float(tick) for tick in ticks],
        "ticktext": [localised(f"{tick:f}") for tick in ticks],
    }


def spark(today: Sequence[Decimal | None], usual: Sequence[Decimal]) -> Figure:
    """Two running sums over a local day, without axes: today so far, and the usual one."""
    lines: list[tuple[str, list[Decimal | None]]] = [("usual", [*usual]), ("today", [*today])]
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "lines",
                "name": role,
                "x": list(range(len(values))),
                "y": [_float(value) for value in values],
                "hoverinfo": "skip",
                "meta": {"role": role},
            }
            for role, values in lines
            if values
        ],
        "layout": {"meta": {"kind": "spark"}, "yaxis": {"rangemode": "tozero"}},
    }


def _sum_at(stacks: Sequence[Stack], n: int) -> Decimal | None:
    found = [stack.values[n] for stack in stacks if stack.values[n] is not None]
    return exact_sum(value for value in found if value is not None) if found else None


def _float(value: Decimal | None, times: int = 1) -> float | None:
    return None if value is None else float(value * times)
