import itertools
import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.dashboards import figures
from apps.dashboards.colours import Series, rest_of
from apps.dashboards.figures import BackendMark, ShareBand, Stack
from apps.dashboards.insights.forecast_figures import Expected, Miss, misses
from apps.dashboards.ticks import day_axis
from tests.dashboards.rows import line

OPUS = Series("cloud|opus", "opus", "0")
LOCAL = Series("local|llama", "llama <70b>", "1", is_local=True)
DAYS = [date(2026, 11, 1) + timedelta(days=n) for n in range(30)]


def usd(*values: str | None) -> tuple[Decimal | None, ...]:
    return tuple(None if value is None else Decimal(value) for value in values)


def drawn(figure: figures.Figure) -> dict[str, Any]:
    """The figure as the browser gets it; raises where Plotly's own schema does."""
    sent: dict[str, Any] = json.loads(json.dumps(figure))
    go.Figure(sent)
    return sent


def marks() -> list[BackendMark]:
    return [
        BackendMark(LOCAL, line("l", "6", requests=44, whole_requests=100, tokens=10**6)),
        BackendMark(OPUS, line("o", "94", requests=56, whole_requests=100, tokens=10**6)),
    ]


def test_days_are_stacked_bars_with_gaps_where_nothing_is() -> None:
    stack = Stack(OPUS, usd("0.000225", *[None] * 29))
    figure = drawn(figures.spend_by_day(DAYS, [stack], {}))
    bars, total = figure["data"]
    assert bars["y"][:2] == [0.000225, None]
    assert bars["customdata"][0] == "0.000225"
    assert total["customdata"][:2] == ["0.000225 USD", "—"]
    assert figure["layout"]["xaxis"]["categoryarray"][0] == "Sun 1 Nov"


def test_the_forecast_is_a_band_over_days_to_come_alone() -> None:
    stack = Stack(OPUS, usd(*["5"] * 20, *[None] * 10))
    expected = {day: Expected(Decimal(4), Decimal(5), Decimal(7)) for day in DAYS[20:]}
    figure = drawn(figures.spend_by_day(DAYS, [stack], expected))
    by_role = {trace["meta"].get("role"): trace for trace in figure["data"]}
    for role, value in (("band-low", 4.0), ("forecast", 5.0), ("band-high", 7.0)):
        assert by_role[role]["y"] == [None] * 20 + [value] * 10
    assert by_role["forecast"]["customdata"][-1] == "5.00 USD, 4.00 to 7.00"
    # Plotly fills towards the trace before: the upper edge follows the lower one at once.
    roles = [trace["meta"].get("role") for trace in figure["data"]]
    assert roles.index("band-high") == roles.index("band-low") + 1


def test_a_past_forecast_is_drawn_by_how_far_it_was_off() -> None:
    row = Miss("October 2026", Decimal("-0.1"), Decimal("0.02"), Decimal("0.2"))
    interval, middle = drawn(misses([row]))["data"]
    assert interval["x"] == [-10.0, 20.0, None]
    assert middle["x"] == [2.0]


def test_traces_carry_meaning_and_no_colour() -> None:
    stacks = [
        Stack(OPUS, usd("1")),
        Stack(LOCAL, usd("2")),
        Stack(rest_of(4, "models"), usd("1")),
    ]
    figure = drawn(figures.allocation(["Acme"], stacks))
    assert [trace["meta"].get("local") for trace in figure["data"][:2]] == [False, True]
    assert figure["data"][2]["meta"]["place"] == "other"
    text = json.dumps(figure)
    assert "#" not in text
    assert "rgb" not in text
    assert "marker" not in figure["data"][0]


def test_names_are_text_and_never_markup() -> None:
    figure = drawn(figures.allocation(["<b>Acme</b>"], [Stack(LOCAL, usd("2"))]))
    assert figure["data"][0]["name"] == "llama &lt;70b&gt;"
    assert figure["data"][0]["y"] == ["&lt;b&gt;Acme&lt;/b&gt;"]


def test_two_customers_of_one_name_are_two_rows() -> None:
    figure = drawn(figures.allocation(["Acme", "Acme"], [Stack(OPUS, usd("2", "1"))]))
    assert figure["layout"]["yaxis"]["categoryarray"] == ["Acme", "Acme (2)"]


def test_allocation_ends_each_bar_with_its_sum() -> None:
    stacks = [Stack(OPUS, usd("2", None)), Stack(LOCAL, usd("3.5", None))]
    figure = drawn(figures.allocation(["Acme", "Globex"], stacks))
    assert [text.strip("\u00a0") for text in figure["data"][-1]["text"]] == ["5.50", "0.00"]


def test_pair_sets_requests_beside_spend() -> None:
    figure = drawn(figures.share_pair(marks()))
    texts = [trace["text"][0] for trace in figure["data"]]
    assert texts == ["44% of requests", "6.0% of spend", "56% of requests", "94% of spend"]
    assert figure["data"][0]["meta"] == {"role": "requests"}
    assert figure["data"][1]["meta"]["local"] is True


def test_ladder_climbs_from_cheap_to_dear_and_leaves_out_what_has_no_price() -> None:
    free = BackendMark(OPUS, line("f", "0", requests=0, tokens=0))
    figure = drawn(figures.cost_ladder([*reversed(marks()), free]))
    assert [trace["x"] for trace in figure["data"]] == [[0.006], [0.094]]
    low, high = figure["layout"]["xaxis"]["range"]
    assert low < -2.2
    assert high > -1.03


def test_shares_of_a_bucket_add_up_and_an_empty_bucket_is_a_gap() -> None:
    axis = day_axis(DAYS[:3])
    bands = [ShareBand(OPUS, (3, 0, 1)), ShareBand(LOCAL, (1, 0, 0))]
    figure = drawn(figures.share_over_time(axis, bands))
    assert [trace["y"] for trace in figure["data"]] == [[75.0, None, 100.0], [25.0, None, None]]
    assert figure["data"][0]["customdata"][0] == "75%, 3"


@pytest.mark.parametrize(
    "figure",
    [
        figures.allocation([], []),
        figures.share_pair([]),
        figures.cost_ladder([]),
        figures.share_over_time(day_axis(DAYS), []),
        figures.spend_by_day(DAYS, [], {}),
        figures.spark([], []),
    ],
)
def test_a_figure_of_nothing_is_a_figure(figure: figures.Figure) -> None:
    drawn(figure)


def test_spark_draws_today_over_the_usual() -> None:
    figure = drawn(figures.spark(usd("0", "1", None), [Decimal(0), Decimal(2), Decimal(3)]))
    assert [trace["name"] for trace in figure["data"]] == ["usual", "today"]


@given(st.lists(st.floats(0, 100), max_size=20).map(sorted))
def test_labels_are_apart_in_order_and_inside(wanted: list[float]) -> None:
    placed = figures.spread(wanted, gap=7, low=3, high=97)
    assert len(placed) == len(wanted)
    least = min(7.0, 94 / max(1, len(wanted) - 1))
    for before, after in itertools.pairwise(placed):
        assert after - before >= least - 1e-6
    assert all(3 - 1e-6 <= place <= 97 + 1e-6 for place in placed)


def test_labels_that_fit_stay_where_they_are() -> None:
    assert figures.spread([10, 40, 80], gap=7, low=3, high=97) == [10, 40, 80]
