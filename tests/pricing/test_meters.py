"""Further meters: parts of the buckets, searches, seconds. Each item is priced once."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from genai_prices.data_units import unit_data
from hypothesis import given
from hypothesis import strategies as st

from apps.pricing.core.meters import (
    CACHE_READ,
    DIMENSIONS,
    INPUT,
    OUTPUT,
    is_part_of,
    shared_part,
)
from apps.pricing.core.money import usd_from_units
from apps.pricing.core.rates import Rate
from apps.pricing.core.rating import MeteredUsage, RateBook, RateCard

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
AUDIO, CACHED_AUDIO = "input_audio_tokens", "cache_audio_read_tokens"
PRICED = (INPUT, CACHE_READ, AUDIO, CACHED_AUDIO, OUTPUT, "web_searches", "audio_seconds")
prices = st.decimals(0, 10**4, places=6)
tokens = st.integers(0, 10**7)


def rate(meter: str, price_usd: Decimal | str, **fields: Any) -> Rate:
    defaults = {"id": 1, "source": "catalogue", "unit_quantity": 1_000_000}
    if meter == "audio_seconds":
        defaults["unit_quantity"] = 3600
    return Rate(**(defaults | fields), meter=meter, price_usd=Decimal(price_usd))


@st.composite
def cards(draw: st.DrawFn) -> RateCard:
    return RateCard([rate(meter, draw(prices), id=n) for n, meter in enumerate(PRICED)])


@st.composite
def requests(draw: st.DrawFn) -> tuple[MeteredUsage, dict[str, int]]:
    """Any consistent request: text, audio, cached text and cached audio dealt apart."""
    text, audio, cached_text, cached_audio, output = (draw(tokens) for _ in range(5))
    usage = MeteredUsage(text + audio, cached_text + cached_audio, 0, 0, output)
    meters = {
        AUDIO: audio + cached_audio,
        CACHED_AUDIO: cached_audio,
        "web_searches": draw(st.integers(0, 100)),
        "audio_seconds": draw(st.integers(0, 10**6)),
    }
    return usage, meters


def test_the_meters_are_genai_prices_own() -> None:
    theirs = {meter: frozenset(unit["dimensions"].items()) for meter, unit in unit_data.items()}
    assert theirs == DIMENSIONS


def test_what_is_part_of_what() -> None:
    assert is_part_of(CACHED_AUDIO, AUDIO)
    assert is_part_of(CACHED_AUDIO, CACHE_READ)
    assert not is_part_of(AUDIO, CACHE_READ)
    assert shared_part(AUDIO, CACHE_READ) == CACHED_AUDIO
    assert shared_part(AUDIO, "input_image_tokens") is None


@given(cards(), requests())
def test_the_lines_add_up_and_count_each_token_once(
    card: RateCard, request: tuple[MeteredUsage, dict[str, int]]
) -> None:
    usage, meters = request
    cost = card.cost(usage, AT, meters=meters)
    lines = card.explain(usage, AT, meters=meters)
    assert cost is not None
    assert cost >= 0
    assert sum(Fraction(line.cost_usd) for line in lines) == Fraction(cost)
    assert sum(x.quantity for x in lines if x.meter.endswith("_tokens")) == (
        usage.input_tokens + usage.output_tokens
    )


@given(cards(), requests(), st.sampled_from(["web_searches", "audio_seconds", AUDIO, CACHED_AUDIO]))
def test_more_of_a_meter_never_costs_less(
    card: RateCard, request: tuple[MeteredUsage, dict[str, int]], meter: str
) -> None:
    """One item more, which of audio is one token more of its bucket as well."""
    usage, meters = request
    more = meters | {meter: meters[meter] + 1}
    fields = {name: getattr(usage, name) for name in MeteredUsage.__struct_fields__}
    if meter == AUDIO:
        fields["uncached_input_tokens"] += 1
    if meter == CACHED_AUDIO:
        fields["cache_read_tokens"] += 1
        more[AUDIO] += 1
    cost, more_cost = (
        card.cost(usage, AT, meters=meters),
        card.cost(MeteredUsage(**fields), AT, meters=more),
    )
    assert cost is not None
    assert more_cost is not None
    assert more_cost >= cost


@given(cards(), requests())
def test_without_further_meters_both_ways_agree(
    card: RateCard, request: tuple[MeteredUsage, dict[str, int]]
) -> None:
    usage, _ = request
    buckets = [getattr(usage, name) for name in MeteredUsage.__struct_fields__]
    units = card.cost_units(*buckets, AT.timestamp())
    assert card.cost_units_of(usage, AT.timestamp()) == units
    assert card.cost_units_of(usage, AT.timestamp(), meters={"web_searches": 0}) == units


def test_a_part_without_a_price_is_charged_as_its_bucket() -> None:
    card = RateCard([rate(INPUT, "3"), rate(OUTPUT, "15")])
    usage = MeteredUsage(1000, 0, 0, 0, 10)
    assert card.cost(usage, AT, meters={AUDIO: 600, "web_searches": 3}) == card.cost(usage, AT)


def test_an_own_price_for_cached_tokens_is_lent_to_cached_audio() -> None:
    """The catalogue prices every overlap; an own rate over it may make one that it does not."""
    card = RateCard(
        [rate(INPUT, "4"), rate(AUDIO, "10"), rate(CACHE_READ, "1", source="tenant", id=2)]
    )
    meters = {AUDIO: 1_000_000, CACHED_AUDIO: 1_000_000}
    usage = MeteredUsage(0, 1_000_000)
    assert card.cost(usage, AT, meters=meters) == 1


@pytest.mark.parametrize(
    ("meters", "is_priced"),
    [
        ({AUDIO: 10}, True),
        ({"web_searches": 1}, False),
        ({"web_searches": 0}, True),
        ({"requests": 2}, True),
        ({"thoughts": 1}, False),
    ],
)
def test_what_an_own_list_does_not_price_is_unknown(
    meters: dict[str, int], is_priced: bool
) -> None:
    card = RateCard([rate(INPUT, "1", source="tenant"), rate(OUTPUT, "1", source="tenant")])
    assert (card.cost(MeteredUsage(10), AT, meters=meters) is not None) == is_priced


def test_more_audio_than_input_has_no_price() -> None:
    card = RateCard([rate(INPUT, "1"), rate(AUDIO, "2")])
    assert card.cost(MeteredUsage(10), AT, meters={AUDIO: 11}) is None
    assert card.explain(MeteredUsage(10), AT, meters={AUDIO: 11}) == []


def test_an_events_requests_each_pay_the_fee() -> None:
    card = RateCard([rate(INPUT, "0"), rate("requests", "5", unit_quantity=1000)])
    assert card.cost(MeteredUsage(), AT) == Decimal("0.005")
    assert card.cost(MeteredUsage(), AT, meters={"requests": 3}) == Decimal("0.015")


@given(prices, st.integers(0, 10**7))
def test_seconds_at_an_hours_price_are_rounded_once(price_usd: Decimal, seconds: int) -> None:
    card = RateCard([rate("audio_seconds", price_usd)])
    exact = Fraction(price_usd) * seconds / 3600
    cost = card.cost(MeteredUsage(), AT, meters={"audio_seconds": seconds})
    assert cost == usd_from_units(round(exact * 10**24))


@pytest.mark.parametrize(("seconds", "billed"), [(0, 0), (1, 10), (10, 10), (11, 11), (3600, 3600)])
def test_groq_bills_ten_seconds_at_least(
    catalogue_book: RateBook, seconds: int, billed: int
) -> None:
    card = catalogue_book.resolve("groq", "whisper-large-v3-turbo").card
    assert card is not None
    cost = card.cost(MeteredUsage(), AT, meters={"input_audio_seconds": seconds})
    assert cost == usd_from_units(round(Fraction("0.04") * billed / 3600 * 10**24))
