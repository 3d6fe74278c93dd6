"""A tenant's own rates for some requests: a variant, a tier of input, hours of the UTC day."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st

from apps.pricing.core.meters import INPUT, OUTPUT
from apps.pricing.core.rates import DAY_S, Rate
from apps.pricing.core.rating import MeteredUsage, RateCard
from apps.pricing.errors import ClosedPeriodError, InvalidRateError, RateOverlapError
from apps.pricing.models import TenantRate
from apps.pricing.selectors import list_rates
from apps.pricing.services import change_rate
from apps.tenants.models import AuditEntry
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.tenants.services import write_books_closed_through
from tests.pricing.conftest import NOW, SetRate, book_of

MINI = {"provider": "openai", "model": "gpt-4o-mini"}  # input 0.15, batch 0.075
BATCH = {"processing": "batch"}
MILLION = MeteredUsage(1_000_000)
MIDNIGHT = datetime(2026, 11, 1, tzinfo=UTC)
NIGHT = {"window_start_s": 22 * 3600, "window_end_s": DAY_S}
TICK = timedelta(microseconds=1)


def cost(
    tenant: TenantInfo,
    usage: MeteredUsage = MILLION,
    at: datetime = NOW,
    context: Mapping[str, str] | None = None,
    names: Mapping[str, str] = MINI,
) -> Decimal | None:
    card = book_of(tenant).resolve(names["provider"], names["model"]).card
    return card.cost(usage, at, context) if card else None


def test_a_batch_rate_is_for_batches_alone(tenant: TenantInfo, set_rate: SetRate) -> None:
    set_rate(INPUT, "0.06", when=BATCH, **MINI)
    assert cost(tenant, context=BATCH) == Decimal("0.06")
    assert cost(tenant) == Decimal("0.15")
    assert cost(tenant, context={"service_tier": "flex"}) == Decimal("0.15")
    # The catalogue's batch price of what the tenant says nothing about stands.
    assert cost(tenant, MeteredUsage(output_tokens=1_000_000), context=BATCH) == Decimal("0.3")


def test_a_standard_rate_leaves_the_catalogues_batch_price(
    tenant: TenantInfo, set_rate: SetRate
) -> None:
    set_rate(INPUT, "0.12", **MINI)
    assert (cost(tenant), cost(tenant, context=BATCH)) == (Decimal("0.12"), Decimal("0.075"))


def test_a_tier_begins_with_the_token_after_it(tenant: TenantInfo, set_rate: SetRate) -> None:
    """A tier alone: shorter requests keep the catalogue's price, and are not free."""
    set_rate(INPUT, "0.4", tier_start_tokens=200_000, **MINI)
    assert cost(tenant, MeteredUsage(200_000)) == Decimal("0.03")
    assert cost(tenant, MeteredUsage(200_001)) == Decimal("0.0800004")
    # Cache counts for the tier; cached tokens keep the catalogue's own price, 0.075.
    assert cost(tenant, MeteredUsage(200_000, 1)) == Decimal("0.080000075")


def test_tiers_stand_one_upon_another(tenant: TenantInfo, set_rate: SetRate) -> None:
    own = {"provider": "local", "model": "llama-3-70b"}
    set_rate(INPUT, "1")
    set_rate(INPUT, "2", tier_start_tokens=1000)
    set_rate(INPUT, "3", tier_start_tokens=2000)
    costs = [cost(tenant, MeteredUsage(n), names=own) for n in (1000, 1001, 2000, 2001)]
    assert costs == [
        Decimal("0.001"), Decimal("0.002002"), Decimal("0.004"), Decimal("0.006003"),
    ]  # fmt: skip


def test_an_own_model_with_a_tier_alone_does_not_price_shorter_requests(
    tenant: TenantInfo, set_rate: SetRate
) -> None:
    own = {"provider": "local", "model": "llama-3-70b"}
    set_rate(INPUT, "2", tier_start_tokens=1000)
    assert cost(tenant, MeteredUsage(1000), names=own) is None
    assert cost(tenant, MeteredUsage(1001), names=own) == Decimal("0.002002")


def test_hours_begin_at_their_second_and_end_before_their_last(
    tenant: TenantInfo, set_rate: SetRate
) -> None:
    set_rate(INPUT, "0.05", **NIGHT, **MINI)
    moments = (
        MIDNIGHT - timedelta(hours=2) - TICK,
        MIDNIGHT - timedelta(hours=2),
        MIDNIGHT - TICK,
        MIDNIGHT,
    )
    assert [cost(tenant, at=at) for at in moments] == [
        Decimal("0.15"), Decimal("0.05"), Decimal("0.05"), Decimal("0.15"),
    ]  # fmt: skip


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kathmandu", "America/New_York"])
def test_hours_are_utc_wherever_the_clock_hangs(
    tenant: TenantInfo, set_rate: SetRate, zone: str
) -> None:
    set_rate(INPUT, "0.05", **NIGHT, **MINI)
    at = (MIDNIGHT - timedelta(hours=1)).astimezone(ZoneInfo(zone))
    assert cost(tenant, at=at) == Decimal("0.05")
    assert cost(tenant, at=at + timedelta(hours=1)) == Decimal("0.15")


def test_night_over_midnight_is_two_rates(tenant: TenantInfo, set_rate: SetRate) -> None:
    early = {"window_start_s": 0, "window_end_s": 6 * 3600}
    with pytest.raises(InvalidRateError) as refusal:
        set_rate(INPUT, "0.05", window_start_s=22 * 3600, window_end_s=6 * 3600, **MINI)
    assert str(refusal.value) == (
        "22:00 to 06:00 UTC runs over midnight, and a window is within one day:"
        " record two rates, 22:00 to 24:00 and 00:00 to 06:00"
    )
    for window in (NIGHT, early):
        set_rate(INPUT, "0.05", **window, **MINI)
    hours = [cost(tenant, at=MIDNIGHT + timedelta(hours=h)) for h in (-3, -2, 5, 6)]
    assert hours == [Decimal("0.15"), Decimal("0.05"), Decimal("0.05"), Decimal("0.15")]


def test_all_three_at_once(tenant: TenantInfo, set_rate: SetRate) -> None:
    set_rate(INPUT, "0.01", when=BATCH, tier_start_tokens=1000, **NIGHT, **MINI)
    late, long = MIDNIGHT - timedelta(hours=1), MeteredUsage(1001)
    assert cost(tenant, long, late, BATCH) == Decimal("0.00001001")
    assert cost(tenant, MeteredUsage(1000), late, BATCH) == Decimal("0.000075")
    assert cost(tenant, long, MIDNIGHT, BATCH) == Decimal("0.000075075")
    assert cost(tenant, long, late) == Decimal("0.00015015")


def test_a_change_keeps_what_the_rate_is_for(tenant: TenantInfo, set_rate: SetRate) -> None:
    rate_id = set_rate(INPUT, "0.05", when=BATCH, tier_start_tokens=9, **NIGHT, **MINI)
    with tenant_scope(tenant.id):
        change_rate(
            rate_id=rate_id,
            price_usd_per_mtok=Decimal("0.04"),
            effective_from=MIDNIGHT,
            actor="ann",
            now=NOW,
        )
        kept = {
            (r.tier_start_tokens, r.window_start_s, r.window_end_s, r.when["processing"])
            for r in list_rates(source="tenant")
        }
        entry = AuditEntry.objects.latest("id")
    assert kept == {(9, 22 * 3600, DAY_S, "batch")}
    assert [entry.before[n] for n in ("window_start_s", "window_end_s")] == [22 * 3600, DAY_S]


# What cannot be.


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"window_start_s": 60, "window_end_s": 60}, "window_end_s", "00:01 to 00:01 is empty"),
        ({"window_start_s": 7200, "window_end_s": 0}, "window_end_s", "record 02:00 to 24:00"),
        ({"window_end_s": DAY_S + 1}, "window_end_s", "seconds 0 to 86400, not 0 to 86401"),
        ({"window_start_s": -1}, "window_start_s", "seconds 0 to 86400, not -1 to 86400"),
        ({"tier_start_tokens": 10**11}, "tier_start_tokens", "0 to 10000000000"),
        ({"when": {"tier": "flex"}}, "when", "no request states 'tier'"),
        ({"when": {"processing": "Batch"}}, "when", "small letters"),
        ({"when": {"service_tier": "standard"}}, "when", "leave it out for the standard price"),
        ({"when": {"service_tier": ""}}, "when", "leave it out for the standard price"),
    ],
)
def test_a_condition_that_cannot_be_is_refused(
    set_rate: SetRate, fields: dict[str, Any], field: str, said: str
) -> None:
    with pytest.raises(InvalidRateError) as refusal:
        set_rate(INPUT, "1", **fields)
    assert refusal.value.field == field
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("standing", "added", "said"),
    [
        (
            NIGHT,
            {"window_start_s": 82_800},
            r"22:00 to 24:00 UTC\).*hours that it leaves",
        ),
        ({}, NIGHT, r"end it and give each part of the day a rate"),
        (NIGHT, {}, r"\(22:00 to 24:00 UTC\) already costs 1 USD"),
        ({"tier_start_tokens": 9}, {"tier_start_tokens": 9}, r"\(more than 9 input tokens\)"),
        ({"when": BATCH}, {"when": BATCH}, r"\(processing batch\) already costs 1 USD"),
    ],
)
def test_an_overlap_of_conditions_is_refused_with_what_it_overlaps(
    set_rate: SetRate, standing: dict[str, Any], added: dict[str, Any], said: str
) -> None:
    set_rate(INPUT, "1", **standing)
    with pytest.raises(RateOverlapError, match=said):
        set_rate(INPUT, "2", **added)


def test_conditions_that_do_not_meet_stand_beside_one_another(set_rate: SetRate) -> None:
    for fields in (
        {"window_end_s": 22 * 3600},
        NIGHT,
        {"when": BATCH},
        {"when": BATCH, "tier_start_tokens": 1},
        {"tier_start_tokens": 1},
        {"tier_start_tokens": 2},
    ):
        assert set_rate(INPUT, "1", **fields)


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"window_start_s": 80_000}, "tenant_rate_no_overlap"),
        ({"window_start_s": 0, "window_end_s": 80_000}, "tenant_rate_no_overlap"),
        ({"window_start_s": 80_000, "window_end_s": 80_000}, "window_within_a_day"),
        ({"window_start_s": 80_000, "window_end_s": 60}, "window_within_a_day"),
        ({"tier_start_tokens": -1}, "tier_start_tokens"),
        ({"price_usd": Decimal(-1), "window_start_s": 0, "window_end_s": 1}, "not_negative"),
    ],
)
def test_the_database_refuses_conditions_too(
    tenant: TenantInfo, set_rate: SetRate, changes: dict[str, Any], constraint: str
) -> None:
    rate_id = set_rate(INPUT, "1", when=BATCH, tier_start_tokens=9, **NIGHT)
    with tenant_scope(tenant.id):
        row = TenantRate.objects.get(pk=rate_id)
        row.pk = None
        for name, value in changes.items():
            setattr(row, name, value)
        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            row.save(force_insert=True)


@pytest.mark.parametrize("condition", [{"when": BATCH}, {"tier_start_tokens": 9}, NIGHT])
def test_no_condition_opens_a_closed_month(
    tenant: TenantInfo, set_rate: SetRate, condition: dict[str, Any]
) -> None:
    october = datetime(2026, 10, 10, tzinfo=UTC)
    rate_id = set_rate(INPUT, "1", effective_from=october)
    with tenant_scope(tenant.id):
        write_books_closed_through(date(2026, 10, 31))
    with pytest.raises(ClosedPeriodError):
        set_rate(INPUT, "1", effective_from=october, model="other", **condition)

    # The database compares what each condition covered: here a rate narrows to one.
    def narrow() -> None:
        with tenant_scope(tenant.id):
            row = TenantRate.objects.get(pk=rate_id)
            TenantRate.objects.filter(pk=rate_id).update(closed_revision=10**9)
            row.pk, row.recorded_revision = None, 10**9
            for name, value in condition.items():
                setattr(row, name, value)
            row.save()

    with pytest.raises(IntegrityError, match="books are closed"):
        narrow()


# Any own rates, against the rule of docs/pricing.md in so many words.

WINDOWS = ((0, DAY_S), (0, 3600), (3600, 7200))
Conditions = st.tuples(
    st.sampled_from([(), (("processing", "batch"),)]),
    st.sampled_from([0, 10, 20]),
    st.sampled_from(WINDOWS[1:]),
)


@given(
    st.dictionaries(Conditions, st.integers(0, 10**6), max_size=8),
    st.integers(1, 30),
    st.integers(0, 3 * 3600),
    st.booleans(),
    st.booleans(),
)
def test_the_most_particular_own_rate_prices_a_request(
    own: dict[Any, int], tokens: int, second: int, is_batch: bool, is_listed: bool
) -> None:
    rates = [
        Rate(n, "tenant", INPUT, Decimal(price), 1_000_000, when, 0, tier, *window)
        for n, ((when, tier, window), price) in enumerate(own.items())
    ]
    if is_listed:
        rates += [
            Rate(90, "catalogue", INPUT, Decimal(7), 1_000_000),
            Rate(91, "catalogue", INPUT, Decimal(3), 1_000_000, (("processing", "batch"),)),
            Rate(92, "catalogue", OUTPUT, Decimal(1), 1_000_000),
        ]
    fitting = [
        rate
        for rate in rates
        if rate.meter == INPUT
        and (is_batch or not rate.when)
        and (tokens > rate.tier_start_tokens or not rate.tier_start_tokens)
        and rate.window_start_s <= second < rate.window_end_s
    ]
    fitting.sort(key=lambda r: (bool(r.when), r.source == "tenant", r.tier_start_tokens))
    context = BATCH if is_batch else None
    charged = RateCard(rates).cost(
        MeteredUsage(tokens), MIDNIGHT + timedelta(seconds=second), context
    )
    expected = tokens * fitting[-1].price_usd / 1_000_000 if fitting else None
    assert charged == expected
