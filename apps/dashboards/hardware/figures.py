"""Rows about own hardware to Plotly figures. Pure; see figures.py."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from typing import Any, Final

from apps.dashboards.colours import Series
from apps.dashboards.figures import Figure, spread
from apps.dashboards.templatetags.figures_of_speech import in_usd, localised, percent, unit_price
from apps.pricing.core.breakeven import CurvePoint

LABEL_GAP: Final = 0.075


@dataclass(frozen=True, slots=True)
class CloudLine:
    """A cloud model's price, and the utilisation from which own hardware is below it (or None)."""

    series: Series
    usd_per_mtok: Decimal
    break_even: Decimal | None


def utilisation_curve(
    local: Series,
    curve: Sequence[CurvePoint],
    clouds: Sequence[CloudLine],
    today: tuple[Decimal, Decimal] | None,
) -> Figure:
    """USD per million tokens by utilisation, on a logarithmic axis: own hardware falls, a cloud is
    level, and where they cross own hardware breaks even. `today`: (utilisation, USD)."""
    levels = [cloud.usd_per_mtok for cloud in clouds if cloud.usd_per_mtok > 0]
    prices = [point.usd_per_mtok for point in curve if point.usd_per_mtok > 0]
    traces = [_cloud(cloud) for cloud in clouds if cloud.usd_per_mtok > 0]
    traces.append(_local(local, curve))
    traces += [_crossing(local, cloud) for cloud in clouds if cloud.break_even is not None]
    if today is not None:
        traces.append(_today(local, *today))
    low, high = _bounds(prices, levels)
    return {
        "data": traces,
        "layout": {
            "hovermode": "closest",
            "xaxis": {
                "range": [0, 100],
                "tickvals": [0, 25, 50, 75, 100],
                "ticktext": ["0%", "25%", "50%", "75%", "100%"],
            },
            "yaxis": _log_axis(low, high),
            "annotations": _labels(local, prices[-1:], clouds, low, high),
            "meta": {"kind": "curve", "empty": not prices},
        },
    }


def _bounds(prices: Sequence[Decimal], levels: Sequence[Decimal]) -> tuple[float, float]:
    """Powers of ten: from below everything to a little above the dearest cloud (or 5% use)."""
    if not prices:
        return -1.0, 1.0
    at_five_percent = prices[min(4, len(prices) - 1)]
    low = math.log10(float(min(*prices, *levels)))
    high = math.log10(float(max([*levels, at_five_percent])))
    return low - 0.15, high + 0.15


def _log_axis(low: float, high: float) -> dict[str, Any]:
    steps = (1,) if high - low > 3 else (1, 3) if high - low > 1.5 else (1, 2, 5)
    ticks = [
        Decimal(step).scaleb(n)
        for n in range(math.floor(low), math.ceil(high) + 1)
        for step in steps
    ]
    shown = [tick for tick in ticks if low <= math.log10(float(tick)) <= high]
    return {
        "type": "log",
        "range": [low, high],
        "tickvals": [float(tick) for tick in shown],
        "ticktext": [localised(f"{tick:f}") for tick in shown],
    }


def _local(local: Series, curve: Sequence[CurvePoint]) -> dict[str, Any]:
    name = escape(local.name)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [float(point.utilisation * 100) for point in curve],
        "y": [float(point.usd_per_mtok) for point in curve],
        "customdata": [in_usd(unit_price(point.usd_per_mtok)) for point in curve],
        "hovertemplate": f"{name} at %{{x:.0f}}% in use: %{{customdata}} per million tokens"
        "<extra></extra>",
        "meta": local.as_meta() | {"role": "own-curve"},
    }


def _cloud(cloud: CloudLine) -> dict[str, Any]:
    name, price = escape(cloud.series.name), unit_price(cloud.usd_per_mtok)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": list(range(0, 101, 5)),
        "y": [float(cloud.usd_per_mtok)] * 21,
        "hovertemplate": f"{name}: {in_usd(price)} per million tokens<extra></extra>",
        "meta": cloud.series.as_meta() | {"role": "level"},
    }


def _crossing(local: Series, cloud: CloudLine) -> dict[str, Any]:
    at = cloud.break_even or Decimal(0)
    told = f"from {percent(at)} in use on, {escape(local.name)} costs less than"
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "break-even",
        "x": [float(at * 100)],
        "y": [float(cloud.usd_per_mtok)],
        "hovertemplate": f"{told} {escape(cloud.series.name)}<extra></extra>",
        "meta": cloud.series.as_meta() | {"role": "break-even"},
    }


def _today(local: Series, utilisation: Decimal, usd_per_mtok: Decimal) -> dict[str, Any]:
    told = f"{escape(local.name)} now: {percent(utilisation)} in use, {unit_price(usd_per_mtok)}"
    return {
        "type": "scatter",
        "mode": "markers+text",
        "name": "now",
        "x": [float(utilisation * 100)],
        "y": [float(usd_per_mtok)],
        "text": [f"now {unit_price(usd_per_mtok)}"],
        "textposition": "top right",
        "hovertemplate": f"{in_usd(told)} per million tokens<extra></extra>",
        "meta": local.as_meta() | {"role": "now"},
    }


def _labels(
    local: Series,
    ends: Sequence[Decimal],
    clouds: Sequence[CloudLine],
    low: float,
    high: float,
) -> list[dict[str, Any]]:
    """Names at the right edge, each as near to its line as the others let it."""
    named = [(one.series, one.usd_per_mtok) for one in clouds if one.usd_per_mtok > 0]
    named += [(local, end) for end in ends]
    named.sort(key=lambda pair: pair[1])
    wanted = [(math.log10(float(usd)) - low) / (high - low) for _, usd in named]
    places = spread(wanted, gap=LABEL_GAP, low=0.0, high=1.0)
    return [
        {
            "xref": "paper",
            "x": 1,
            "xanchor": "left",
            "yref": "paper",
            "y": place,
            "yanchor": "middle",
            "showarrow": False,
            "text": escape(series.name),
            "name": f"series:{series.place}:{series.shade}:{int(series.is_local)}",
        }
        for (series, _), place in zip(named, places, strict=True)
    ]
