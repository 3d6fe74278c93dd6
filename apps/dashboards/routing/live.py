"""Where requests go and what they cost there, over the last stretch of time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from apps.dashboards import colours, figures, sentences
from apps.dashboards.breakdown import Line, Sums, lines, sum_by, total
from apps.dashboards.colours import Series
from apps.dashboards.periods import Window, end_of_day
from apps.dashboards.routing import sentences as routing_sentences
from apps.dashboards.routing.buckets import INTERVALS, Buckets, cut_window
from apps.dashboards.services import keep_positions
from apps.dashboards.templatetags.figures_of_speech import count, usd
from apps.dashboards.ticks import Axis
from apps.usage.selectors import Interval, SpendQuery, SpendRow, read_spend

BACKENDS_DRAWN = 8
MARKS_DRAWN = 9
MICRO: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Measure:
    """What shares are of: `name` in words, its amount of a row as a whole number, and as text."""

    name: str
    label: str
    of: Callable[[SpendRow], int]
    told: Callable[[int], str]


MEASURES: Final = {
    "requests": Measure("requests", "Requests", lambda row: row.requests, count),
    "tokens": Measure("tokens", "Tokens", lambda row: row.tokens, count),
    "spend": Measure(
        "the spend",
        "Spend",
        lambda row: int(row.cost_usd * MICRO),
        lambda micro: f"{usd(Decimal(micro) / MICRO)} USD",
    ),
}


@dataclass(frozen=True, slots=True)
class BackendRow:
    line: Line
    series: Series
    before_request_share: Decimal | None

    @property
    def request_points(self) -> Decimal | None:
        """How far the share of requests moved, as a share."""
        if self.before_request_share is None or self.line.request_share is None:
            return None
        return self.line.request_share - self.before_request_share


@dataclass(frozen=True, slots=True)
class SharesRow:
    label: str
    whole: str
    shares: tuple[Decimal | None, ...]


@dataclass(frozen=True, slots=True)
class Routing:
    window: Window
    measure: Measure
    bucket_in_words: str
    answer: sentences.Answer
    rows: list[BackendRow]
    whole: Sums
    pair: figures.Figure
    pair_title: str
    pair_rows: int
    shares: figures.Figure
    shares_title: str
    legend: list[Series]
    shares_table: list[SharesRow]
    ladder: figures.Figure
    ladder_title: str
    ladder_rows: int

    @property
    def requests_per_minute(self) -> Decimal:
        return Decimal(self.whole.requests) / self.window.minutes


def row_backend(row: SpendRow) -> str:
    return row.labels["backend"] or ""


def read_routing(window: Window, zone: ZoneInfo, of: str = "requests") -> Routing:
    """`of`: a key of MEASURES."""
    measure = MEASURES[of]
    interval = INTERVALS[window.slug]
    spend = read_spend(
        SpendQuery(
            start=window.start,
            # Whole days come from the day rollup: nothing happened between now and midnight.
            end=end_of_day(window.end, zone) if interval == "day" else window.end,
            group_by=("backend", "model", "kind"),
            interval=interval,
        )
    )
    before = _read_before(window, interval)
    sums = sum_by(spend.rows, row_backend)
    series = _series(spend.rows, sums)
    made = lines(dict(sums.items()), None, lambda key: series[key or ""].name)
    made.sort(key=lambda line: (-line.now.requests, -line.now.cost_usd, line.name))
    local_lines = [
        routing_sentences.BackendLine(line, series[line.key or ""].is_local) for line in made
    ]
    marks = _marks(made, series)
    cut = cut_window(window, zone, spend.rows)
    bands = _bands(spend.rows, sums, series, cut, measure)
    before_whole = total(before.values())
    return Routing(
        window=window,
        measure=measure,
        bucket_in_words=cut.in_words,
        answer=routing_sentences.routing_answer(local_lines, window_in_words=window.in_words),
        rows=[_backend_row(line, series, before, before_whole) for line in made],
        whole=total(sums.values()),
        pair=figures.share_pair(marks),
        pair_title=routing_sentences.pair_title(local_lines),
        pair_rows=len(marks),
        shares=figures.share_over_time(cut.axis, bands, measure.told),
        shares_title=routing_sentences.over_time_title(_share_points(cut, bands), measure.name),
        legend=[band.series for band in bands],
        shares_table=_shares_table(cut.axis, bands, measure),
        ladder=figures.cost_ladder(marks),
        ladder_title=routing_sentences.ladder_title(local_lines),
        ladder_rows=sum(1 for mark in marks if mark.line.now.usd_per_ktok),
    )


def _marks(made: Sequence[Line], series: Mapping[str, Series]) -> list[figures.BackendMark]:
    """The backends worth drawing: those with much of the requests or much of the money."""

    def weight(line: Line) -> Decimal:
        return max(line.request_share or Decimal(0), line.spend_share or Decimal(0))

    worth = {line.key for line in sorted(made, key=weight, reverse=True)[:MARKS_DRAWN]}
    return [figures.BackendMark(series[line.key or ""], line) for line in made if line.key in worth]


def _read_before(window: Window, interval: Interval) -> dict[str, Sums]:
    """The stretch just before, per backend: what shares are compared with."""
    query = SpendQuery(
        start=window.before_start,
        end=window.start,
        group_by=("backend",),
        by_minute=interval == "minute",
    )
    return sum_by(read_spend(query).rows, row_backend)


def _series(rows: Sequence[SpendRow], sums: Mapping[str, Sums]) -> dict[str, Series]:
    """A series per backend. A backend that reports several models takes its dearest one's."""
    by_pair = sum_by(rows, lambda row: (row_backend(row), row.labels["model"] or ""))
    kinds = {row_backend(row): row.labels["kind"] or "" for row in rows}
    models = dict(sorted(by_pair, key=lambda pair: by_pair[pair].cost_usd))
    ranked, _ = colours.leading(sums, len(sums))
    positions = keep_positions(models[backend] for backend in ranked)
    return colours.backend_series(
        [(backend, models[backend], kinds[backend]) for backend in ranked], positions
    )


def _backend_row(
    line: Line, series: Mapping[str, Series], before: Mapping[str, Sums], before_whole: Sums
) -> BackendRow:
    earlier = before.get(line.key or "", Sums())
    share = Decimal(earlier.requests) / before_whole.requests if before_whole.requests else None
    return BackendRow(line, series[line.key or ""], share)


def _bands(
    rows: Sequence[SpendRow],
    sums: Mapping[str, Sums],
    series: Mapping[str, Series],
    cut: Buckets,
    measure: Measure,
) -> list[figures.ShareBand]:
    """What is measured, per bucket, of the busiest backends, and of the rest together."""
    by_requests = sorted(sums, key=lambda key: (-sums[key].requests, key))
    drawn_count = BACKENDS_DRAWN if len(by_requests) > BACKENDS_DRAWN + 1 else len(by_requests)
    drawn = [series[key] for key in by_requests[:drawn_count]]
    if len(by_requests) > drawn_count:
        drawn.append(colours.rest_of(len(by_requests) - drawn_count, "backends"))
    band_of = {key: n for n, key in enumerate(by_requests[:drawn_count])}
    cells = [[0] * cut.count for _ in drawn]
    for row in rows:
        place = cut.place(row.bucket)
        if place is not None:
            cells[band_of.get(row_backend(row), drawn_count)][place] += measure.of(row)
    return [figures.ShareBand(one, tuple(cell)) for one, cell in zip(drawn, cells, strict=True)]


def _share_points(
    cut: Buckets, bands: Sequence[figures.ShareBand]
) -> dict[str, list[routing_sentences.SharePoint]]:
    """What the sentence about moves looks at: each backend's requests among all, per bucket."""
    totals = [sum(band.requests[n] for band in bands) for n in range(cut.count)]
    return {
        band.series.name: [
            routing_sentences.SharePoint(label, whole, here)
            for label, whole, here in zip(cut.axis.labels, totals, band.requests, strict=True)
        ]
        for band in bands
        if band.series.place != colours.OTHER_PLACE
    }


def _shares_table(
    axis: Axis, bands: Sequence[figures.ShareBand], measure: Measure
) -> list[SharesRow]:
    """The figure as a table, newest bucket first; buckets without requests are left out."""
    made = []
    for n, label in enumerate(axis.labels):
        whole = sum(band.requests[n] for band in bands)
        if whole:
            here = [band.requests[n] for band in bands]
            shares = tuple(Decimal(one) / whole if one else None for one in here)
            made.append(SharesRow(label, measure.told(whole), shares))
    return made[::-1]
