"""What holds for any rates and any usage: disjoint buckets, no negative cost, plain sums."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.pricing.core.meters import (
    CACHE_READ,
    CACHE_WRITE,
    CACHE_WRITE_1H,
    CACHE_WRITE_5M,
    INPUT,
    OUTPUT,
    PARENT,
    REASONING,
    REQUESTS,
    STANDALONE,
)
from apps.pricing.core.money import EXACT, plain_decimal
from apps.pricing.core.rates import Rate
from apps.pricing.core.rating import MeteredUsage, RateCard

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
OPTIONAL = (CACHE_READ, CACHE_WRITE, CACHE_WRITE_5M, CACHE_WRITE_1H, REASONING, REQUESTS)
tokens = st.integers(0, 10**9)
prices = st.decimals(0, 10**6, places=18)


def rate(meter: str, price_usd: Decimal | str, *, rate_id: int = 1, **fields: Any) -> Rate:
    return Rate(
        **({"source": "catalogue", "unit_quantity": 1_000_000} | fields),
        id=rate_id,
        meter=meter,
        price_usd=Decimal(price_usd),
    )


@st.composite
def usages(draw: st.DrawFn) -> MeteredUsage:
    buckets = [draw(tokens) for _ in range(5)]
    return MeteredUsage(*buckets, draw(st.integers(0, buckets[4])))


@st.composite
def flat_cards(draw: st.DrawFn) -> RateCard:
    """Any prices, without dates, windows or tiers; sub-meters priced or not."""
    meters = [INPUT, OUTPUT, *draw(st.lists(st.sampled_from(OPTIONAL), unique=True))]
    return RateCard([rate(meter, draw(prices), rate_id=n) for n, meter in enumerate(meters)])


@given(flat_cards(), usages())
def test_never_negative_and_always_the_sum_of_its_lines(
    card: RateCard, usage: MeteredUsage
) -> None:
    cost = card.cost(usage, AT)
    assert cost is not None
    assert cost >= 0
    with localcontext(EXACT):
        assert cost == sum(line.cost_usd for line in card.explain(usage, AT))


@given(flat_cards(), usages())
def test_every_token_is_in_exactly_one_line(card: RateCard, usage: MeteredUsage) -> None:
    lines = card.explain(usage, AT)
    counted = {line.meter: line.quantity for line in lines}
    assert len(counted) == len(lines)
    counted.pop(REQUESTS, None)
    assert sum(counted.values()) == usage.input_tokens + usage.output_tokens


@given(flat_cards(), usages(), st.integers(0, 4), st.integers(1, 10**6))
def test_more_of_a_bucket_never_costs_less(
    card: RateCard, usage: MeteredUsage, bucket: int, more: int
) -> None:
    fields = [getattr(usage, name) for name in MeteredUsage.__struct_fields__]
    fields[bucket] += more
    cost, more_cost = card.cost(usage, AT), card.cost(MeteredUsage(*fields), AT)
    assert cost is not None
    assert more_cost is not None
    assert more_cost >= cost


@given(flat_cards(), usages(), usages())
def test_cost_is_additive_without_fees(
    card: RateCard, one: MeteredUsage, two: MeteredUsage
) -> None:
    """Two requests cost what one of both's tokens would, but for a second request's fee."""
    both = MeteredUsage(
        *(getattr(one, name) + getattr(two, name) for name in MeteredUsage.__struct_fields__)
    )
    fee = card.cost(MeteredUsage(), AT)
    costs = [card.cost(usage, AT) for usage in (one, two, both)]
    assert None not in costs
    with localcontext(EXACT):
        assert costs[0] + costs[1] == costs[2] + fee  # type: ignore[operator]


@given(flat_cards(), st.lists(usages(), max_size=20), st.randoms(use_true_random=False))
def test_order_of_events_changes_nothing(
    card: RateCard, events: list[MeteredUsage], chance: random.Random
) -> None:
    shuffled = events.copy()
    chance.shuffle(shuffled)
    assert total_units(card, events) == total_units(card, shuffled)


def total_units(card: RateCard, events: list[MeteredUsage]) -> int:
    at_s = AT.timestamp()
    return sum(
        card.cost_units(*(getattr(u, name) for name in MeteredUsage.__struct_fields__), at_s)
        for u in events
    )


@given(usages(), st.lists(st.sampled_from(sorted(PARENT)), unique=True))
def test_a_sub_meter_at_its_parents_price_changes_nothing(
    usage: MeteredUsage, priced_apart: list[str]
) -> None:
    """Cache and reasoning are never counted twice: naming them at the same price is no charge."""
    price = {INPUT: "3", OUTPUT: "15"}
    plain = RateCard([rate(INPUT, "3"), rate(OUTPUT, "15")])
    apart = [rate(m, price[OUTPUT] if m == REASONING else price[INPUT]) for m in priced_apart]
    split = RateCard([rate(INPUT, "3"), rate(OUTPUT, "15"), *apart])
    assert split.cost(usage, AT) == plain.cost(usage, AT)


@pytest.mark.parametrize(
    ("priced", "charged_as"),
    [
        ([], (INPUT, INPUT, INPUT)),
        ([CACHE_READ], (CACHE_READ, INPUT, INPUT)),
        ([CACHE_WRITE], (INPUT, CACHE_WRITE, CACHE_WRITE)),
        ([CACHE_WRITE, CACHE_WRITE_1H], (INPUT, CACHE_WRITE, CACHE_WRITE_1H)),
        ([CACHE_WRITE, CACHE_WRITE_5M], (INPUT, CACHE_WRITE_5M, CACHE_WRITE)),
    ],
)
def test_a_meter_without_a_price_is_charged_as_its_parent(
    priced: list[str], charged_as: tuple[str, str, str]
) -> None:
    card = RateCard([rate(meter, "2") for meter in (INPUT, OUTPUT, *priced)])
    lines = {line.meter: line for line in card.explain(MeteredUsage(1, 1, 1, 1, 1), AT)}
    cached = (CACHE_READ, CACHE_WRITE_5M, CACHE_WRITE_1H)
    assert tuple(lines[meter].priced_as for meter in cached) == charged_as


def test_reasoning_stands_apart_only_where_it_has_a_price() -> None:
    usage = MeteredUsage(output_tokens=200, reasoning_tokens=64)
    within = RateCard([rate(INPUT, "1"), rate(OUTPUT, "10")])
    apart = RateCard([rate(INPUT, "1"), rate(OUTPUT, "10"), rate(REASONING, "3")])
    assert [(x.meter, x.quantity) for x in within.explain(usage, AT)] == [(OUTPUT, 200)]
    assert [(x.meter, x.quantity) for x in apart.explain(usage, AT)] == [
        (OUTPUT, 136),
        (REASONING, 64),
    ]
    assert apart.cost(usage, AT) == Decimal("0.001552")


def test_the_whole_request_pays_the_tier_it_reaches() -> None:
    card = RateCard(
        [rate(INPUT, "1"), rate(INPUT, "2", tier_start_tokens=1000), rate(OUTPUT, "10")]
    )
    assert card.cost(MeteredUsage(400, 600), AT) == Decimal("0.001")
    assert card.cost(MeteredUsage(401, 600), AT) == Decimal("0.002002")


def test_a_price_begins_at_its_moment_and_ends_before_the_next() -> None:
    change = datetime(2026, 6, 1, tzinfo=UTC)
    card = RateCard(
        [
            rate(INPUT, "1", effective_to=change),
            rate(INPUT, "2", effective_from=change),
            rate(OUTPUT, "0"),
        ]
    )
    usage = MeteredUsage(1_000_000)
    assert card.cost(usage, change - timedelta(microseconds=1)) == 1
    assert card.cost(usage, change) == 2
    india = timedelta(hours=5, minutes=30)
    local = change.replace(tzinfo=None).replace(tzinfo=UTC) + india
    assert card.cost(usage, local - india) == 2


def test_a_window_of_the_day_is_in_utc() -> None:
    night = {"window_start_s": 0, "window_end_s": 6 * 3600}
    day = {"window_start_s": 6 * 3600, "window_end_s": 86_400}
    card = RateCard([rate(INPUT, "1", **night), rate(INPUT, "4", **day), rate(OUTPUT, "0")])
    usage = MeteredUsage(1_000_000)
    assert card.cost(usage, AT.replace(hour=5, minute=59)) == 1
    assert card.cost(usage, AT.replace(hour=6, minute=0)) == 4


def test_a_variant_is_chosen_by_the_whole_of_its_context() -> None:
    when = (("region", "eu"), ("service_tier", "flex"))
    card = RateCard([rate(INPUT, "2"), rate(OUTPUT, "0"), rate(INPUT, "1", when=when)])
    usage = MeteredUsage(1_000_000)
    assert card.cost(usage, AT, {"service_tier": "flex", "region": "eu", "more": "x"}) == 1
    assert card.cost(usage, AT, {"service_tier": "flex"}) == 2
    assert card.cost(usage, AT) == 2


@pytest.mark.parametrize(
    ("usage", "is_priced"),
    [(MeteredUsage(10), True), (MeteredUsage(10, 0, 0, 0, 1), False), (MeteredUsage(), True)],
)
def test_what_an_own_list_leaves_out_is_unknown_not_free(
    usage: MeteredUsage, is_priced: bool
) -> None:
    card = RateCard([rate(INPUT, "2", source="tenant")])
    assert (card.cost(usage, AT) is not None) == is_priced
    assert bool(card.explain(usage, AT)) == (is_priced and usage.input_tokens > 0)


def test_before_its_first_rate_nothing_is_priced() -> None:
    card = RateCard([rate(m, "2", source="tenant", effective_from=AT) for m in (INPUT, OUTPUT)])
    assert card.cost(MeteredUsage(), AT - timedelta(seconds=1)) is None
    assert card.cost_units(1, 0, 0, 0, 0, 0, AT.timestamp() - 1) == -1
    assert card.cost(MeteredUsage(1), AT) == Decimal("0.000002")


@pytest.mark.parametrize(
    "usage",
    [MeteredUsage(-1), MeteredUsage(cache_read_tokens=-1), MeteredUsage(0, 0, 0, 0, 1, 2)],
)
def test_impossible_counts_are_refused(usage: MeteredUsage) -> None:
    with pytest.raises(ValueError, match="token counts"):
        RateCard([rate(INPUT, "1"), rate(OUTPUT, "1")]).cost(usage, AT)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        RateCard([rate(INPUT, "1")]).cost(MeteredUsage(1), AT.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0.0250", "0.025"),
        ("1E+2", "100"),
        ("100", "100"),
        ("0E-24", "0"),
        ("1E-24", "0.000000000000000000000001"),
    ],
)
def test_money_in_json_has_every_digit_and_no_exponent(amount: str, text: str) -> None:
    assert plain_decimal(Decimal(amount)) == text


@given(
    flat_cards(),
    usages(),
    st.dictionaries(st.sampled_from(sorted(STANDALONE)), st.integers(0, 10**6)),
    st.dictionaries(st.sampled_from(sorted(STANDALONE)), prices),
)
def test_meters_that_touch_no_other_add_their_own_price(
    card: RateCard, usage: MeteredUsage, meters: dict[str, int], listed: dict[str, Decimal]
) -> None:
    """The short way of pricing them comes to what the lines of the long way add up to."""
    further = [rate(meter, price, rate_id=90) for meter, price in listed.items()]
    card = RateCard([*card.rates, *further])
    cost, tokens_alone = card.cost(usage, AT, meters=meters), card.cost(usage, AT)
    assert cost is not None
    assert tokens_alone is not None
    with localcontext(EXACT):
        assert cost == sum(x.cost_usd for x in card.explain(usage, AT, meters=meters))
        added = sum((n * listed.get(m, Decimal(0)) for m, n in meters.items()), Decimal(0))
        assert cost == tokens_alone + added / 1_000_000


@given(usages(), st.sampled_from(sorted(STANDALONE)))
def test_a_meter_that_own_rates_leave_out_is_unpriced(usage: MeteredUsage, meter: str) -> None:
    own = [rate(m, "1", source="tenant") for m in (INPUT, OUTPUT)]
    assert RateCard(own).cost(usage, AT, meters={meter: 1}) is None
    assert RateCard(own).cost(usage, AT, meters={meter: 0}) is not None
