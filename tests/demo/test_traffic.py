"""The demo's traffic: what it must be for the pages to have something true to say."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from statistics import mean

import pytest
from genai_prices import Usage as PricedUsage
from genai_prices import calc_price

from costboard.demo import company
from costboard.demo.traffic import (
    LIVE_EVENTS_PER_SECOND,
    Traffic,
    TrafficSpec,
    hour_of,
    start_of,
)
from costboard.demo.wire import Event, to_json_lines

REFERENCE = datetime(2026, 11, 23, 12, 6, tzinfo=UTC)
FULL = TrafficSpec(REFERENCE)


def events_of(traffic: Traffic, start: datetime, end: datetime) -> list[Event]:
    return [
        event
        for _, by_router in traffic.between(start, end)
        for rows in by_router.values()
        for event in rows
    ]


@pytest.fixture(scope="module")
def traffic() -> Traffic:
    return Traffic(FULL)


@pytest.fixture(scope="module")
def all_events(traffic: Traffic) -> list[Event]:
    return events_of(traffic, FULL.start, REFERENCE)


def test_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    hour = FULL.end_hour - 30
    rows = Traffic(FULL).hour(hour)[company.GATEWAY]
    again = Traffic(FULL).hour(hour)[company.GATEWAY]
    other = Traffic(TrafficSpec(REFERENCE, seed=6)).hour(hour)[company.GATEWAY]
    assert to_json_lines(rows) == to_json_lines(again)
    assert to_json_lines(rows) != to_json_lines(other)


def test_ninety_days_hold_about_the_events_asked_for(all_events: list[Event]) -> None:
    assert 500_000 <= len(all_events) <= 525_000
    assert len({event.id for event in all_events}) == len(all_events)


def test_history_starts_and_ends_where_it_should(all_events: list[Event]) -> None:
    times = [event.timestamp for event in all_events]
    assert min(times) >= "2026-08-25T12:00:00.000Z"
    assert "2026-11-23T12:0" < max(times) < "2026-11-23T12:06:00.000Z"


def test_each_router_sends_in_order_of_time(traffic: Traffic) -> None:
    for rows in traffic.hour(FULL.end_hour - 50).values():
        assert [row.timestamp for row in rows] == sorted(row.timestamp for row in rows)


def test_two_windows_that_meet_hold_what_one_holds(traffic: Traffic) -> None:
    start, middle, end = (REFERENCE - timedelta(hours=hours) for hours in (9, 5.3, 2))
    parts = events_of(traffic, start, middle) + events_of(traffic, middle, end)
    assert sorted(e.id for e in parts) == sorted(e.id for e in events_of(traffic, start, end))


def test_a_short_history_is_as_dense_as_asked() -> None:
    spec = TrafficSpec(REFERENCE, days=2, events=2_000)
    assert 1_700 <= len(events_of(Traffic(spec), spec.start, REFERENCE)) <= 2_400


def test_all_names_in_events_are_the_companys(all_events: list[Event]) -> None:
    departments = {d.code for d in company.DEPARTMENTS}
    customers = {c.external_id for c in company.CUSTOMERS}
    models = {b.model for b in company.BACKENDS}
    assert {e.department for e in all_events} == departments
    assert {e.customer for e in all_events} - {None} == customers
    assert {e.model for e in all_events} == models | {company.UNPRICED_MODEL}
    assert len(customers) == 44
    assert len(models) == 10
    assert {b.provider for b in company.BACKENDS} == {
        "openai",
        "anthropic",
        "google",
        "mistral",
        "local",
    }


@pytest.mark.parametrize(
    "backend",
    [b for b in company.BACKENDS if b.provider != "local"],
    ids=lambda backend: str(backend.model),
)
def test_the_price_catalogue_knows_every_cloud_model(backend: company.Backend) -> None:
    for moment in (REFERENCE, REFERENCE - timedelta(days=90)):
        price = calc_price(
            PricedUsage(input_tokens=1000, output_tokens=100),
            backend.model,
            provider_id=backend.provider,
            genai_request_timestamp=moment,
        )
        assert price.total_price > 0


def test_cache_and_reasoning_are_parts_of_their_totals(all_events: list[Event]) -> None:
    for event in all_events:
        usage = event.usage
        assert usage.cache_read_tokens + usage.cache_write_tokens <= usage.input_tokens
        assert usage.cache_write_1h_tokens <= usage.cache_write_tokens
        assert usage.reasoning_tokens <= usage.output_tokens
        assert usage.input_tokens >= 0


def test_local_hardware_answers_two_fifths_of_requests(all_events: list[Event]) -> None:
    local = sum(event.provider == "local" for event in all_events) / len(all_events)
    assert 0.35 <= local <= 0.50


def test_weekends_nights_and_holidays_are_quieter(all_events: list[Event]) -> None:
    by_day = Counter(e.timestamp[:10] for e in all_events if e.department == "sales")
    assert by_day["2026-10-17"] < 0.4 * by_day["2026-10-15"]  # a Saturday, a Thursday
    by_hour = Counter(e.timestamp[11:13] for e in all_events if e.department == "engineering")
    assert by_hour["01"] < 0.2 * by_hour["09"]
    nightly = Counter(e.timestamp[11:13] for e in all_events if e.department == "finance-ops")
    assert nightly["01"] > 3 * nightly["12"]
    unity_day = Traffic(FULL).weights(hour_of(datetime(2025, 10, 3, 9, tzinfo=UTC)))
    day_before = Traffic(FULL).weights(hour_of(datetime(2025, 10, 2, 9, tzinfo=UTC)))
    assert sum(unity_day) < 0.75 * sum(day_before)


def test_traffic_grows(all_events: list[Event]) -> None:
    chats = Counter(e.timestamp[:10] for e in all_events if e.task == "chat")
    early = mean(chats[f"2026-09-{day:02d}"] for day in range(1, 15))
    late = mean(chats[f"2026-11-{day:02d}"] for day in range(8, 22))
    assert 1.15 < late / early < 1.45


def test_the_launch_shifts_the_level_of_its_customers(
    traffic: Traffic, all_events: list[Event]
) -> None:
    launched = [e.timestamp for e in all_events if e.project == "atlas-assistant"]
    assert start_of(traffic.episodes.launch).strftime("%Y-%m-%dT%H") <= min(launched)
    assert len(launched) > 5_000
    assert {e.customer for e in all_events if e.project == "atlas-assistant"} <= {
        None,
        *company.LAUNCH_CUSTOMERS,
    }


def test_the_runaway_loop_talks_nine_times_as_much(
    traffic: Traffic, all_events: list[Event]
) -> None:
    hours = {start_of(h).strftime("%Y-%m-%dT%H") for h in traffic.episodes.runaway}
    agent = [
        e
        for e in all_events
        if e.department == "support" and e.task == "agent" and e.model == company.GPT
    ]
    loop = [e for e in agent if e.timestamp[:13] in hours]
    usual = [e for e in agent if e.timestamp[:13] not in hours]
    assert len(hours) == 6
    assert mean(e.customer == company.RUNAWAY_CUSTOMER for e in loop) > 0.95
    ratio = mean(e.usage.output_tokens for e in loop) / mean(e.usage.output_tokens for e in usual)
    assert 6 < ratio < 10
    assert len(loop) / 6 > 20 * len(usual) / (90 * 24)


def test_the_cache_miss_storm_reads_nothing_at_flat_volume(
    traffic: Traffic, all_events: list[Event]
) -> None:
    storm = {start_of(h).strftime("%Y-%m-%dT%H") for h in traffic.episodes.storm}
    week_before = {start_of(h - 168).strftime("%Y-%m-%dT%H") for h in traffic.episodes.storm}
    rag = [e for e in all_events if e.task == "rag" and e.model == company.SONNET]
    during = [e for e in rag if e.timestamp[:13] in storm]
    before = [e for e in rag if e.timestamp[:13] in week_before]
    assert len(storm) == 30
    assert 0.8 < len(during) / len(before) < 1.3
    assert sum(e.usage.cache_read_tokens for e in during) == 0
    assert sum(e.usage.cache_read_tokens for e in before) > 0.3 * sum(
        e.usage.input_tokens for e in before
    )


def test_failures_use_nothing_and_are_retried(all_events: list[Event]) -> None:
    failed = [e for e in all_events if e.status is not None]
    assert 0.004 < len(failed) / len(all_events) < 0.03
    assert "429" in {e.status for e in failed}
    assert not any(e.usage.input_tokens or e.usage.output_tokens for e in failed)
    retried = {e.tags["retry_of"] for e in all_events if e.tags}
    assert len(retried & {e.id for e in failed}) > 0.98 * len(failed)


def test_some_events_have_no_price_no_customer_or_a_value(all_events: list[Event]) -> None:
    counts = Counter(e.model for e in all_events)
    assert 5 < counts[company.UNPRICED_MODEL] < 100
    served = [e for e in all_events if e.project == "helpdesk"]
    assert 0.01 < mean(e.customer is None for e in served) < 0.06
    assert any(e.converted for e in all_events)
    assert any(e.revenue for e in all_events)
    assert all(0 <= e.quality_score <= 1 for e in all_events if e.quality_score is not None)


def test_the_live_hour_has_a_few_small_requests_a_second(traffic: Traffic) -> None:
    rows = [e for rows in traffic.live_hour(FULL.end_hour + 3).values() for e in rows]
    assert 0.9 < len(rows) / (LIVE_EVENTS_PER_SECOND * 3600) < 1.1
    history = [e for rows in traffic.hour(FULL.end_hour - 24).values() for e in rows]
    assert not {e.id for e in rows} & {e.id for e in history}
    assert mean(e.usage.input_tokens for e in rows) < 0.1 * mean(
        e.usage.input_tokens for e in history
    )
