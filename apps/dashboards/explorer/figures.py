"""The explorer's rows to Plotly figures: stacked where a measure adds up, lines where not. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from typing import TYPE_CHECKING, Any

from apps.dashboards.colours import Series, rest_of
from apps.dashboards.explorer.measures import Measure
from apps.dashboards.figures import Figure, in_rows, over_axis
from apps.dashboards.ticks import Axis

if TYPE_CHECKING:
    from apps.dashboards.explorer.reading import ExplorerRow


@dataclass(frozen=True, slots=True)
class Drawn:
    """One series' values per bucket; None is a gap."""

    series: Series
    values: tuple[Decimal | None, ...]


def over_time(measure: Measure, axis: Axis, drawn: Sequence[Drawn]) -> Figure:
    traces = [_trace(measure, axis, one) for one in drawn]
    figure = over_axis(traces, axis, kind="days")
    if measure.unit == "share":
        figure["layout"]["yaxis"] |= {"tickformat": ".0%"}
    return figure


def _trace(measure: Measure, axis: Axis, one: Drawn) -> dict[str, Any]:
    name = escape(one.series.name)
    trace: dict[str, Any] = {
        "name": name,
        "x": list(axis.labels),
        "y": [None if value is None else float(value) for value in one.values],
        "customdata": [measure.text(value) for value in one.values],
        "hovertemplate": f"{name}  %{{customdata}}<extra></extra>",
        "meta": one.series.as_meta(),
    }
    if measure.adds_up:
        return trace | {"type": "bar"}
    return trace | {
        "type": "scatter",
        "mode": "lines+markers",
        "meta": {**one.series.as_meta(), "role": "level"},
    }


def bars(measure: Measure, rows: Sequence["ExplorerRow"]) -> Figure:
    """One bar a group, the largest on top, its value at its end."""
    names = _unique([escape(row.name) for row in rows])
    traces = [_bar(measure, row, name, names) for row, name in zip(rows, names, strict=True)]
    values = [row.value for row in rows]
    traces.append(
        {
            "type": "scatter",
            "mode": "markers+text",
            "name": "value",
            "x": [max(float(value or 0), 0.0) for value in values],
            "y": names,
            "text": [f"\u00a0{measure.text(value)}" for value in values],
            "textposition": "middle right",
            "hoverinfo": "skip",
            "meta": {"role": "end-label"},
        }
    )
    figure = in_rows(traces, [row.name for row in rows], kind="allocation", hover="closest")
    figure["layout"]["yaxis"] = {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": names,
        "range": [len(names) - 0.5, -0.5],
    }
    return figure


def _bar(measure: Measure, row: "ExplorerRow", name: str, names: Sequence[str]) -> dict[str, Any]:
    series = row.series or rest_of(0, "")
    at = names.index(name)
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "x": [float(row.value or 0) if n == at else None for n in range(len(names))],
        "y": list(names),
        "customdata": [measure.text(row.value)] * len(names),
        "hovertemplate": f"{name}  %{{customdata}}<extra></extra>",
        "meta": series.as_meta(),
    }


def _unique(names: Sequence[str]) -> list[str]:
    """Two things of one name are two rows."""
    seen: dict[str, int] = {}
    made = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        made.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return made
