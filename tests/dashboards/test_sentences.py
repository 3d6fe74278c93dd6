from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from apps.dashboards import sentences
from apps.dashboards.breakdown import Line
from apps.dashboards.insights.forecast_figures import Expected
from apps.dashboards.periods import read_period
from apps.dashboards.sentences import DayMix, plain
from tests.dashboards.rows import line

FORECAST = Expected(Decimal(16100), Decimal(16900), Decimal(18000))
NOVEMBER = read_period("month", ZoneInfo("UTC"), datetime(2026, 11, 23, 10, 40, tzinfo=UTC))


def overview(
    spent: str = "12480",
    before: str = "11360",
    forecast: Expected | None = FORECAST,
    lines: list[Line] | None = None,
    unpriced: int = 0,
) -> str:
    answer = sentences.overview_answer(
        period=NOVEMBER,
        spent=Decimal(spent),
        before=Decimal(before),
        forecast=forecast,
        lines=lines or [],
        unpriced_requests=unpriced,
    )
    return plain(answer).replace("\u202f", " ")


def test_the_overview_says_how_much_where_to_and_what_changed() -> None:
    assert overview() == (
        "12.5 k USD in November so far, on course for 16.9 k,"
        " between 16.1 k and 18.0 k."
        " That is 1.12 k more than October by this moment (+10%)."
    )


def test_a_month_that_can_end_nowhere_else_is_told_without_a_band() -> None:
    over = Expected(Decimal(12480), Decimal(12480), Decimal(12480))
    assert "on course for 12.5 k. " in overview(forecast=over)


def test_other_pages_end_with_where_the_month_does() -> None:
    said = plain(sentences.forecast_sentence(Decimal(12480), FORECAST)).replace("\u202f", " ")
    assert said == " The month is on course for 16.9 k, between 16.1 k and 18.0 k USD."
    assert sentences.forecast_sentence(Decimal(0), FORECAST) == ()


def test_the_overview_names_the_model_that_made_most_of_the_change() -> None:
    moved = [line("claude-opus", "9000", before="8000"), line("gpt-5", "3480", before="3360")]
    assert overview(lines=moved).endswith("(+10%), mostly claude-opus.")


def test_no_reason_is_named_where_many_share_it() -> None:
    moved = [line(f"model-{n}", "130", before="100") for n in range(4)]
    assert "mostly" not in overview(spent="520", before="400", lines=moved)


def test_a_fall_is_explained_by_what_fell() -> None:
    moved = [line("grew", "60", before="50"), line("fell", "10", before="90")]
    said = overview(spent="70", before="140", forecast=None, lines=moved)
    assert said == (
        "70.00 USD in November so far."
        " That is 70.00 less than October by this moment (−50%), mostly fell."
    )


def test_a_change_within_noise_is_called_the_same() -> None:
    assert overview(spent="1010", before="1000", forecast=None).endswith(
        "About the same as October by this moment."
    )


def test_without_a_period_before_nothing_is_compared() -> None:
    assert overview(before="0", forecast=None) == "12.5 k USD in November so far."


def test_nothing_spent_is_said_plainly() -> None:
    assert overview(spent="0") == "Nothing spent in November so far."


@pytest.mark.parametrize(
    ("unpriced", "expected"),
    [(1, "1 request has no price yet"), (1200, "1,200 requests have no price yet")],
)
def test_unpriced_requests_are_always_told(unpriced: int, expected: str) -> None:
    assert expected in overview(unpriced=unpriced)
    assert expected in overview(spent="0", unpriced=unpriced)


def day(cost: str = "10", *, weekend: bool = False, local: int = 0, **more: str) -> DayMix:
    """A day of 100 requests on one model, and of what `more` names."""
    usd = {"opus": Decimal(cost)} | {model: Decimal(value) for model, value in more.items()}
    return DayMix("11 Nov", weekend, usd, 100, local)


TWO = [line("opus", "34"), line("gpt-5", "30")]


@pytest.mark.parametrize(
    ("recent", "expected"),
    [
        (None, "opus is a third of spend"),
        ("0.35", "opus is a third of spend"),
        ("0.45", "opus is a third of spend and rising"),
        ("0.20", "opus is a third of spend and falling"),
    ],
)
def test_the_leader_is_named_and_its_trend_if_it_has_one(recent: str | None, expected: str) -> None:
    assert sentences.spend_title(TWO, Decimal(recent) if recent else None, []) == expected


def test_one_model_is_all_of_spend() -> None:
    only = [line("opus", "100"), line("local", "0")]
    assert sentences.spend_title(only, None, []) == "opus is all of spend"


def test_without_a_leader_spend_is_spread() -> None:
    many = [line(f"m{n}", "10") for n in range(10)]
    assert sentences.spend_title(many, None, []) == "Spend is spread over 10 models, none above 10%"


def test_without_spend_the_title_claims_nothing() -> None:
    assert sentences.spend_title([], None, []) == "Spend by day"


def test_local_hardware_at_weekends_is_told_when_it_is_so() -> None:
    week = [day(local=20) for _ in range(5)]
    busy = [*week, day(weekend=True, local=50), day(weekend=True, local=60)]
    assert sentences.spend_title(TWO, None, busy) == (
        "opus is a third of spend; at weekends local hardware takes 55% of requests"
    )
    even = [*week, day(weekend=True, local=20), day(weekend=True, local=28)]
    assert sentences.spend_title(TWO, None, even) == "opus is a third of spend"


def test_an_unusual_day_is_told_with_its_reason_and_silences_the_trend() -> None:
    days = [day("10", mini="1") for _ in range(5)] + [day("10", mini="15")]
    assert sentences.spend_title(TWO, Decimal("0.5"), days) == (
        "opus is a third of spend; 11 Nov cost 2.3 times a usual weekday, through mini"
    )


def test_a_quiet_weekend_does_not_make_weekdays_unusual() -> None:
    days = [day("10") for _ in range(5)] + [day("2", weekend=True) for _ in range(4)]
    assert sentences.spend_title(TWO, None, days) == "opus is a third of spend"


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        (["100"], "a is all of spend"),
        (["60", "40"], "a is 60% of spend"),
        (["30", "25", "45"], "a and b are 55% of spend"),
        (["30", "15", "10", "45"], "a, b and c are 55% of spend"),
        (["15", "14", "13", "58"], "a leads with 15% of spend"),
        (["9", "8", "7", "76"], "Spend is spread over 4 customers, none above 9.0%"),
    ],
)
def test_allocation_says_how_concentrated_spend_is(costs: list[str], expected: str) -> None:
    named = [line(name, cost) for name, cost in zip("abcd", costs, strict=False)]
    assert sentences.allocation_title(named, "customers") == expected


def test_spend_of_nobody_is_never_the_leader() -> None:
    made = [line("no customer", "70", key=None), line("a", "30")]
    assert sentences.allocation_title(made, "customers").startswith("a is")
    assert sentences.allocation_title(made[:1], "customers") == "Spend names no customers"


def test_customers_answer_names_the_largest_and_who_grew_most() -> None:
    made = [line("Acme", "60", before="58"), line("Globex", "40", before="20")]
    answer = sentences.allocation_answer(
        made, period=NOVEMBER, what="customer", unattributed_share=Decimal("0.2")
    )
    assert plain(answer) == (
        "Acme cost 60.00 USD in November so far, 60% of all."
        " Globex grew most: 20.00 more than October by this moment (+100%)."
        " 20% names no customer."
    )


def test_models_answer_sets_the_dearest_against_the_cheapest() -> None:
    made = [
        line("opus", "18.42", tokens=1_000_000),
        line("local", "0.19", tokens=1_000_000),
        line("unpriced", "0", tokens=0),
    ]
    assert plain(sentences.models_answer(made)) == (
        "A million tokens cost 0.190 USD on local and 18.42 on opus: 97 times as much."
    )


def test_models_answer_is_silent_without_prices() -> None:
    assert sentences.models_answer([line("opus", "0")]) == ()


def test_the_largest_is_not_named_twice() -> None:
    made = [line("Acme", "60", before="30"), line("Globex", "40", before="39")]
    answer = sentences.allocation_answer(
        made, period=NOVEMBER, what="customer", unattributed_share=None
    )
    assert " It grew most: 30.00 more" in plain(answer)
