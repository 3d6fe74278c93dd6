"""The explorer's figures: any measure by one or two dimensions, over time, beside before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from apps.dashboards import colours
from apps.dashboards.breakdown import Sums, relative_change, sum_by, total
from apps.dashboards.colours import Series
from apps.dashboards.explorer import figures as explorer_figures
from apps.dashboards.explorer.figures import Drawn
from apps.dashboards.explorer.measures import REPORTED, Measure
from apps.dashboards.explorer.state import ExplorerState, dimension_words
from apps.dashboards.explorer.words import explorer_answer, explorer_title
from apps.dashboards.figures import Figure
from apps.dashboards.periods import Period, end_of_day
from apps.dashboards.reading import Names, Read, read_before, read_in_usd, read_period
from apps.dashboards.sentences import Answer
from apps.dashboards.services import keep_positions
from apps.dashboards.templatetags.figures_of_speech import count
from apps.dashboards.ticks import Axis, day_axis, hour_axis, month_axis, week_axis
from apps.pricing.core.money import EXACT
from apps.usage.reporting import read_reported
from apps.usage.selectors import Dimension, Interval, SpendQuery, SpendRow

SERIES_DRAWN: Final = 8
BARS_DRAWN: Final = 15
# A group's value of each dimension that it is of.
Key = tuple[str | None, ...]
HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ExplorerRow:
    """A group beside itself before. `key` None: all others together, or everything."""

    key: Key | None
    names: tuple[str, ...]
    now: Sums
    before: Sums
    measure: Measure
    whole: Decimal | None
    series: Series | None = None

    @property
    def value(self) -> Decimal | None:
        return self.measure.of(self.now)

    @property
    def value_before(self) -> Decimal | None:
        return self.measure.of(self.before) if self.before.requests else None

    @property
    def share(self) -> Decimal | None:
        if not self.measure.adds_up or self.value is None or not self.whole:
            return None
        return self.value / self.whole

    @property
    def difference(self) -> Decimal | None:
        """None where either is unknown; what does not add up has no before where it did not run."""
        before = self.value_before
        if before is None and self.measure.adds_up and not self.before.requests:
            before = Decimal(0)
        if self.value is None or before is None:
            return None
        return EXACT.subtract(self.value, before) if self.measure.adds_up else self.value - before

    @property
    def change(self) -> Decimal | None:
        return None if self.value is None else relative_change(self.value, self.value_before)

    @property
    def name(self) -> str:
        return " · ".join(self.names)


@dataclass(frozen=True, slots=True)
class TimeRow:
    """A bucket of the figure over time, as a table has it: `values` by series, then all."""

    label: str
    bucket: date | datetime
    values: tuple[Decimal | None, ...]
    total: Decimal | None


@dataclass(frozen=True, slots=True)
class Explorer:
    state: ExplorerState
    period: Period
    interval: Interval | None
    rows: list[ExplorerRow]
    # Beyond the top, summed; None where nothing is.
    rest: ExplorerRow | None
    whole: ExplorerRow
    group_count: int
    answer: Answer
    title: str
    legend: list[Series]
    figure: Figure
    bars: int
    over_time: list[TimeRow]
    names: "ValueNames"


@dataclass(frozen=True, slots=True)
class _Cut:
    """A period in buckets."""

    period: Period
    interval: Interval
    zone: ZoneInfo


class ValueNames:
    """What values of dimensions are called; lists are read where they are asked for."""

    def __init__(self) -> None:
        self._names: Names | None = None

    def of(self, dimension: Dimension, value: str | None) -> str:
        if dimension == "customer":
            return self._read().customer(value)
        if dimension in ("department", "department_tree"):
            return self._read().department(value)
        if value is None:
            return f"no {dimension_words(dimension)}"
        return value

    def _read(self) -> Names:
        if self._names is None:
            self._names = Names()
        return self._names


def read_explorer(state: ExplorerState, zone: ZoneInfo, now: datetime) -> Explorer:
    period = state.read_period(zone, now)
    interval = state.fitting_interval(period)
    group_by, filters = state.group_by, state.spend_filters
    # A model's colour goes with where it runs; what runs on local hardware is drawn hatched.
    with_kind: tuple[Dimension, ...] = (*group_by, *(() if "kind" in group_by else ("kind",)))
    read = _read_of(state)
    rows = read_period(period, zone, with_kind, filters, read=read)
    sums = sum_by(rows, lambda row: _key(row, group_by))
    before_rows = read_before(period, group_by, filters, read=read)
    before = sum_by(before_rows, lambda row: _key(row, group_by))
    names = ValueNames()
    made = _rows(state, sums, before, names)
    listed = made[: state.top] if len(made) > state.top + 1 else made
    drawn = _with_series(state, listed, _local_keys(rows, group_by))
    whole = _summed(state, "all", made)
    rest = _summed(state, f"{count(len(made) - len(listed))} more", made[len(listed) :])
    figure, legend, over_time = (
        _bars(state, drawn, rest if len(made) > len(listed) else None)
        if interval is None
        else _over_time(state, _Cut(period, interval, zone), drawn, len(made))
    )
    return Explorer(
        state=state,
        period=period,
        interval=interval,
        rows=drawn,
        rest=rest if len(made) > len(listed) else None,
        whole=whole,
        group_count=len(made),
        answer=explorer_answer(state, period, made, whole),
        title=explorer_title(state, made),
        legend=legend,
        figure=figure,
        bars=min(len(drawn), BARS_DRAWN) + 1,
        over_time=over_time,
        names=names,
    )


def unread_explorer(state: ExplorerState, zone: ZoneInfo, now: datetime) -> Explorer:
    """What can be told of a question that was not read: which one it is."""
    nothing = _summed(state, "all", [])
    return Explorer(
        state=state,
        period=state.read_period(zone, now),
        interval=None,
        rows=[],
        rest=None,
        whole=nothing,
        group_count=0,
        answer=(),
        title="",
        legend=[],
        figure={},
        bars=0,
        over_time=[],
        names=ValueNames(),
    )


def _read_of(state: ExplorerState) -> Read:
    return read_reported if state.measure.key == REPORTED else read_in_usd


def _key(row: SpendRow, group_by: Sequence[Dimension]) -> Key:
    return tuple(row.labels[dimension] for dimension in group_by)


def _rows(
    state: ExplorerState,
    sums: Mapping[Key, Sums],
    before: Mapping[Key, Sums],
    names: ValueNames,
) -> list[ExplorerRow]:
    """The largest first; what there was before and is no more, too; what is unknown last."""
    measure = state.measure
    whole = measure.of(total(sums.values()))
    made = [
        ExplorerRow(
            key=key,
            names=tuple(
                names.of(dimension, value)
                for dimension, value in zip(state.group_by, key, strict=True)
            ),
            now=sums.get(key, Sums()),
            before=before.get(key, Sums()),
            measure=measure,
            whole=whole,
        )
        for key in dict.fromkeys([*sums, *before])
    ]
    made.sort(key=lambda r: (r.value is None, -(r.value or 0), -r.now.requests, r.name))
    return made


def _summed(state: ExplorerState, name: str, rows: Sequence[ExplorerRow]) -> ExplorerRow:
    return ExplorerRow(
        key=None,
        names=(name,),
        now=total(row.now for row in rows),
        before=total(row.before for row in rows),
        measure=state.measure,
        whole=rows[0].whole if rows else None,
    )


def _local_keys(rows: Sequence[SpendRow], group_by: Sequence[Dimension]) -> set[Key]:
    """Groups that ran on local hardware alone."""
    kinds: dict[Key, set[str | None]] = {}
    for row in rows:
        kinds.setdefault(_key(row, group_by), set()).add(row.labels["kind"])
    return {key for key, found in kinds.items() if found == {colours.LOCAL}}


def _with_series(
    state: ExplorerState, rows: Sequence[ExplorerRow], local: set[Key]
) -> list[ExplorerRow]:
    """A model keeps its colour; other things take places in the order they are listed."""
    by_model = state.group_by == ("model",)
    positions = keep_positions(r.key[0] or "" for r in rows if r.key) if by_model else {}
    made = []
    for n, row in enumerate(rows):
        key = row.key or ()
        place = positions[key[0] or ""] if by_model else n
        series = Series(
            key="\x1f".join(value or "" for value in key),
            name=row.name,
            place=str(place % colours.PALETTE_SIZE),
            is_local=row.key in local,
            dotted=place >= colours.PALETTE_SIZE,
        )
        made.append(
            ExplorerRow(row.key, row.names, row.now, row.before, row.measure, row.whole, series)
        )
    return made


def _bars(
    state: ExplorerState, rows: Sequence[ExplorerRow], rest: ExplorerRow | None
) -> tuple[Figure, list[Series], list[TimeRow]]:
    drawn = [row for row in rows[:BARS_DRAWN] if row.value is not None]
    left = [*rows[BARS_DRAWN:], *([rest] if rest else [])]
    if left and state.measure.adds_up:
        others = len(rows) - len(drawn) + (0 if rest is None else 1)
        together = _summed(state, "all others" if others else "", left)
        drawn = [*drawn, together]
    return explorer_figures.bars(state.measure, drawn), [], []


def _over_time(
    state: ExplorerState, cut: _Cut, rows: Sequence[ExplorerRow], group_count: int
) -> tuple[Figure, list[Series], list[TimeRow]]:
    leading = [row for row in rows if row.now.requests or row.now.cost_usd]
    if len(leading) > SERIES_DRAWN + 1:
        leading = leading[:SERIES_DRAWN]
    cells, totals = _read_cells(state, cut, leading), _read_totals(state, cut)
    buckets, axis = _axis(cut, totals)
    drawn = [
        Drawn(row.series, tuple(_value(state.measure, cells.get((row.key, b))) for b in buckets))
        for row in leading
        if row.series is not None
    ]
    if group_count > len(leading) and state.measure.adds_up:
        rest = colours.rest_of(group_count - len(leading), "groups")
        drawn.append(Drawn(rest, tuple(_left(state, totals, cells, leading, b) for b in buckets)))
    table = [
        TimeRow(
            label,
            bucket,
            tuple(one.values[n] for one in drawn),
            _value(state.measure, totals.get(bucket)),
        )
        for n, (label, bucket) in enumerate(zip(axis.labels, buckets, strict=True))
        if bucket in totals
    ]
    figure = explorer_figures.over_time(state.measure, axis, drawn)
    return figure, [one.series for one in drawn], table[::-1]


def _value(measure: Measure, sums: Sums | None) -> Decimal | None:
    return None if sums is None else measure.of(sums)


def _left(
    state: ExplorerState,
    totals: Mapping[date | datetime, Sums],
    cells: Mapping[tuple[Key | None, date | datetime], Sums],
    leading: Sequence[ExplorerRow],
    bucket: date | datetime,
) -> Decimal | None:
    """What others than the leading came to in a bucket."""
    whole = _value(state.measure, totals.get(bucket))
    if whole is None:
        return None
    for row in leading:
        whole = EXACT.subtract(whole, _value(state.measure, cells.get((row.key, bucket))) or 0)
    return whole


def _read_cells(
    state: ExplorerState, cut: _Cut, leading: Sequence[ExplorerRow]
) -> dict[tuple[Key | None, date | datetime], Sums]:
    """The leading groups' sums per bucket: only their values of the first dimension are read."""
    first = state.group_by[0]
    filters = state.spend_filters
    if first not in filters and leading:
        filters[first] = tuple({row.key[0] for row in leading if row.key})
    wanted = {row.key for row in leading}
    cells: dict[tuple[Key | None, date | datetime], Sums] = {}
    for row in _read_buckets(state, cut, state.group_by, filters):
        key = _key(row, state.group_by)
        if key in wanted and row.bucket is not None:
            place = (key, row.bucket)
            cells[place] = cells.get(place, Sums()).plus(row)
    return cells


def _read_totals(state: ExplorerState, cut: _Cut) -> dict[date | datetime, Sums]:
    rows = _read_buckets(state, cut, (), state.spend_filters)
    return {row.bucket: Sums().plus(row) for row in rows if row.bucket is not None}


def _read_buckets(
    state: ExplorerState,
    cut: _Cut,
    group_by: tuple[Dimension, ...],
    filters: Mapping[Dimension, tuple[str | None, ...]],
) -> list[SpendRow]:
    query = SpendQuery(
        start=cut.period.start,
        end=end_of_day(cut.period.end, cut.zone),
        group_by=group_by,
        interval=cut.interval,
        filters=filters,
    )
    return _read_of(state)(query)


def _axis(
    cut: _Cut, known: Mapping[date | datetime, Sums]
) -> tuple[Sequence[date | datetime], Axis]:
    """Every bucket of the period, those without anything too: a gap is to be seen."""
    period, interval, zone = cut.period, cut.interval, cut.zone
    if interval == "hour":
        hours = sorted({*_hours(period, zone), *(b for b in known if isinstance(b, datetime))})
        return hours, hour_axis([hour.astimezone(zone) for hour in hours])
    if interval == "day":
        return period.days, day_axis(period.days)
    starts = tuple(dict.fromkeys(_bucket_of(day, interval) for day in period.days))
    return starts, (week_axis if interval == "week" else month_axis)(starts)


def _hours(period: Period, zone: ZoneInfo) -> list[datetime]:
    """Instants at which the tenant's clock shows a full hour; days of 23 and 25 hours too."""
    end = min(period.end, end_of_day(period.end, zone))
    hours, at = [], period.start.astimezone(UTC)
    while at < end:
        hours.append(at)
        at += HOUR
    return hours


def _bucket_of(day: date, interval: Interval) -> date:
    return day - timedelta(days=day.weekday()) if interval == "week" else day.replace(day=1)
