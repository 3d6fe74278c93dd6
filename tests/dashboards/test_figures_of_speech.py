from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.dashboards.templatetags import figures_of_speech as speech

AMOUNTS = st.decimals(
    min_value=Decimal("-1e12"), max_value=Decimal("1e12"), allow_nan=False, places=12
)


def told(text: str) -> str:
    """Thin spaces as plain ones, so that cases are readable."""
    return text.replace(speech.THIN_SPACE, " ")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", "0"),
        ("7", "7"),
        ("418", "418"),
        ("999.4", "999"),
        ("999.6", "1.00 k"),
        ("1240", "1.24 k"),
        ("12480", "12.5 k"),
        ("124800", "125 k"),
        ("999499", "999 k"),
        ("999500", "1.00 M"),
        ("1248000", "1.25 M"),
        ("3480000000", "3.48 G"),
        ("41.8", "41.8"),
        ("0.9996", "1.00"),
        ("0.000225", "0.000225"),
        ("-12480", "−12.5 k"),
    ],
)
def test_short_has_three_significant_digits(value: str, expected: str) -> None:
    assert told(speech.short(Decimal(value))) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", "0.00"),
        ("12480", "12,480.00"),
        ("12480.005", "12,480.01"),
        ("0.1", "0.10"),
        ("0.0999", "0.10"),
        ("0.0312", "0.0312"),
        ("0.000225", "0.000225"),
        ("0.00000001234", "0.0000000123"),
        ("-310", "−310.00"),
        ("-0.000225", "−0.000225"),
    ],
)
def test_money_in_tables_has_cents_and_small_money_its_digits(value: str, expected: str) -> None:
    assert speech.usd(Decimal(value)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("12480", "12.5 k"), ("418.4", "418"), ("99.996", "100.00"), ("41.8", "41.80")],
)
def test_money_in_cards_is_short(value: str, expected: str) -> None:
    assert told(speech.usd_short(Decimal(value))) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1234.567891", "1,234.567891"),
        ("5", "5.00"),
        ("5E+3", "5,000.00"),
        ("0.000225000", "0.000225"),
        ("-1E-12", "−0.000000000001"),
    ],
)
def test_exact_money_keeps_every_digit_and_is_never_scientific(value: str, expected: str) -> None:
    assert speech.usd_exact(Decimal(value)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("18.4199", "18.42"),
        ("0.31", "0.310"),
        ("0.0001", "0.000100"),
        ("250", "250.00"),
        ("0", "0"),
    ],
)
def test_unit_prices_say_something_however_small(value: str, expected: str) -> None:
    assert speech.unit_price(Decimal(value)) == expected


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        ("0", "0%"),
        ("0.0004", "<0.1%"),
        ("0.001", "0.1%"),
        ("0.064", "6.4%"),
        ("0.0996", "10%"),
        ("0.33", "33%"),
        ("0.996", ">99%"),
        ("1", "100%"),
    ],
)
def test_a_share_is_all_or_nothing_only_when_it_is(share: str, expected: str) -> None:
    assert speech.percent(Decimal(share)) == expected


@pytest.mark.parametrize(
    ("ratio", "expected", "direction"),
    [
        ("0.12", "+12%", "up"),
        ("-0.034", "−3%", "down"),
        ("0.004", "±0%", "flat"),
        ("-0.004", "±0%", "flat"),
        ("8.99", "+899%", "up"),
        ("62.4", "×63", "up"),
        (None, "new", "flat"),
    ],
)
def test_changes_carry_their_sign(ratio: str | None, expected: str, direction: str) -> None:
    value = None if ratio is None else Decimal(ratio)
    assert speech.change(value) == expected
    assert speech.direction(value) == direction


@pytest.mark.parametrize(
    ("share", "expected"),
    [("0.34", "a third"), ("0.5", "half"), ("0.26", "a quarter"), ("0.4", "40%"), ("0.05", "5.0%")],
)
def test_shares_in_sentences_are_words_where_there_are_good_ones(share: str, expected: str) -> None:
    assert speech.fraction(Decimal(share)) == expected


def test_nothing_is_a_dash() -> None:
    for say in (speech.short, speech.count, speech.usd, speech.usd_short, speech.unit_price):
        assert say(None) == "—"
    assert speech.money(None) == "—"


def test_an_amount_shows_its_exact_value_on_hover() -> None:
    html = speech.money_short(Decimal("12480.123456"))
    assert 'value="12480.123456"' in html
    assert 'title="12,480.123456 USD"' in html


def test_a_unit_cost_on_hover_has_an_end() -> None:
    html = speech.price(Decimal(1) / 3)
    assert 'title="0.333333333333 USD"' in html


def test_a_large_change_is_marked_as_large_and_a_small_one_is_not() -> None:
    assert 'class="change up large"' in speech.change_mark(Decimal("0.1"))
    assert 'class="change up"' in speech.change_mark(Decimal("0.09"))


@given(AMOUNTS)
def test_no_amount_is_scientific_or_has_an_ascii_minus(value: Decimal) -> None:
    for say in (
        speech.short,
        speech.usd,
        speech.usd_short,
        speech.usd_exact,
        speech.unit_price,
        speech.count,
    ):
        text = say(value)
        assert "E" not in text
        assert "e" not in text
        assert "-" not in text


@given(AMOUNTS)
def test_exact_money_reads_back_as_itself(value: Decimal) -> None:
    assert Decimal(speech.usd_exact(value).replace(",", "").replace("−", "-")) == value


@given(AMOUNTS)
def test_money_in_tables_is_off_by_less_than_a_cent(value: Decimal) -> None:
    read = Decimal(speech.usd(value).replace(",", "").replace("−", "-"))
    assert abs(read - value) <= Decimal("0.005")
