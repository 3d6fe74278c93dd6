from decimal import Decimal

from apps.dashboards.breakdown import Sums, lines, sum_by, total
from tests.dashboards.rows import row, sums


def test_unit_costs_are_over_what_has_a_price() -> None:
    part = sums("3", requests=4, tokens=2_000_000, unpriced=1)
    assert part.usd_per_request == 1
    assert part.usd_per_mtok == Decimal("1.5")
    assert part.usd_per_ktok == Decimal("0.0015")


def test_without_a_priced_request_there_is_no_unit_cost() -> None:
    part = sums("0", requests=2, tokens=10, unpriced=2)
    assert part.usd_per_request is None
    assert part.usd_per_mtok is None


def test_cache_share_is_of_all_input() -> None:
    part = total([row(input_tokens=800, cache_read_tokens=600, output_tokens=200)])
    assert part.cache_read_share == Decimal("0.75")
    assert Sums().cache_read_share is None


def test_rows_add_up_per_key_in_the_order_they_come() -> None:
    rows = [row("2", model="b"), row("1", model="a"), row("3", model="b", requests=5)]
    by_model = sum_by(rows, lambda r: r.labels["model"])
    assert list(by_model) == ["b", "a"]
    assert by_model["b"] == sums("5", requests=6)


def test_lines_are_ranked_and_know_their_share_and_change() -> None:
    made = lines({"a": sums("25"), "b": sums("75")}, {"a": sums("20")}, lambda key: f"model {key}")
    assert [line.name for line in made] == ["model b", "model a"]
    assert made[1].spend_share == Decimal("0.25")
    assert made[1].change == Decimal("0.25")
    assert made[0].change is None


def test_what_cost_before_and_no_more_is_a_line_too() -> None:
    made = lines({"a": sums("1")}, {"gone": sums("5"), "free": sums("0")}, str)
    assert [line.key for line in made] == ["a", "gone"]
    assert made[1].change == -1
    assert made[1].difference == -5


def test_without_any_spend_before_nothing_is_new() -> None:
    (line,) = lines({"a": sums("1")}, {}, str)
    assert line.before is None
