from decimal import Decimal

import pytest

from apps.dashboards.routing.sentences import (
    BackendLine,
    SharePoint,
    find_shift,
    ladder_title,
    over_time_title,
    pair_title,
    routing_answer,
)
from apps.dashboards.sentences import plain
from tests.dashboards.rows import line

LAST_HOUR = "in the last hour"


def backend(
    name: str, requests: int, cost: str, *, local: bool = False, tokens: int = 1000
) -> BackendLine:
    """A backend of a window with 100 requests for 100 USD."""
    made = line(name, cost, requests=requests, whole_requests=100, tokens=tokens)
    return BackendLine(made, is_local=local)


MIXED = [
    backend("local-70b", 44, "6", local=True),
    backend("sonnet", 49, "56"),
    backend("opus", 7, "38"),
]


def test_routing_answer_weighs_requests_against_money() -> None:
    assert plain(routing_answer(MIXED, window_in_words=LAST_HOUR)) == (
        "In the last hour 44% of requests ran on local hardware for 6.0% of the money;"
        " opus took 7.0% of requests and 38% of the money."
    )


def test_without_local_or_gap_the_busiest_is_named() -> None:
    even = [backend("a", 67, "66"), backend("b", 33, "34")]
    assert plain(routing_answer(even, window_in_words=LAST_HOUR)) == (
        "In the last hour a took two thirds of requests."
    )


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        (1, "In the last hour the only request went to a, 100.00 USD."),
        (4, "In the last hour all 4 requests went to a, 25.00 USD each."),
    ],
)
def test_one_backend_is_said_to_have_it_all(requests: int, expected: str) -> None:
    only = BackendLine(line("a", "100", requests=requests, whole_requests=requests), is_local=False)
    assert plain(routing_answer([only], window_in_words=LAST_HOUR)) == expected


def test_no_requests_are_said_plainly() -> None:
    assert plain(routing_answer([], window_in_words=LAST_HOUR)) == "No requests in the last hour."


def test_pair_title_names_the_widest_gap_or_says_there_is_none() -> None:
    assert pair_title(MIXED) == "opus answers 7.0% of requests for 38% of the money"
    assert pair_title([backend("a", 50, "52"), backend("b", 50, "48")]) == (
        "Requests and money go the same way"
    )
    assert pair_title([]) == "Share of requests beside share of spend"


def test_ladder_title_says_how_far_apart_prices_are() -> None:
    rungs = [backend("local", 1, "0.001", tokens=10_000), backend("opus", 1, "0.18", tokens=10_000)]
    assert ladder_title(rungs) == "A token on opus buys 180 on local"
    assert ladder_title(rungs[:1]) == "What 1,000 tokens cost"


def points(shares: list[int], requests: int = 100) -> list[SharePoint]:
    return [SharePoint(f"10:{n:02}", requests, share) for n, share in enumerate(shares)]


def test_a_clear_move_is_found_where_it_happened() -> None:
    shift = find_shift(points([20] * 6 + [50] * 6))
    assert shift is not None
    assert (shift.label, round(shift.points, 2)) == ("10:06", Decimal("0.30"))


@pytest.mark.parametrize(
    "shares",
    [
        [20] * 12,
        [20, 24, 19, 22, 25, 18, 21, 23, 20, 19, 22, 24],
        # One odd bucket at the end is no move.
        [20] * 11 + [90],
    ],
)
def test_noise_and_a_single_odd_bucket_are_no_move(shares: list[int]) -> None:
    assert find_shift(points(shares)) is None


def test_few_requests_prove_no_move() -> None:
    assert find_shift(points([1] * 6 + [3] * 6, requests=5)) is None


def test_empty_buckets_are_survived() -> None:
    assert find_shift(points([0] * 5, requests=0)) is None
    assert find_shift([]) is None


def test_the_title_tells_a_move_to_the_one_who_gained() -> None:
    gained, lost = points([20] * 6 + [50] * 6), points([80] * 6 + [50] * 6)
    assert over_time_title({"local": gained, "opus": lost}) == (
        "Traffic moved to local from 10:06 on"
    )


def test_without_a_move_the_busiest_is_named() -> None:
    assert (
        over_time_title({"a": points([70] * 8), "b": points([30] * 8)}) == "a takes 70% of requests"
    )
    assert over_time_title({}) == "Share of requests over time"
