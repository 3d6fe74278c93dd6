"""GET /api/v1/charges and /rates/unresolved: every cost explained, and computed again."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.pricing.selectors import current_rate_book
from apps.pricing.services import (
    add_alias,
    add_default_rate,
    add_discount,
    add_rate,
    change_rate,
    withdraw_rate,
)
from apps.tenants.core.access import KeyIdentity
from apps.tenants.scoping import tenant_scope
from apps.usage.charges import explain_charge, find_charge_id
from apps.usage.core.events import Parsed, UsageEvent
from apps.usage.services import ingest_events
from tests.conftest import Key, MakeTenant, make_key, native_event, roll_up
from tests.usage.repricing_steps import draft

PostEvents = Callable[..., dict[str, Any]]
Get = Callable[..., Any]


@pytest.fixture
def get(client: Client, key: Key) -> Get:
    def read(path: str, **query: Any) -> Any:
        response = client.get(f"/api/v1{path}", query, headers=key.headers)
        assert response.status_code == 200, response.content
        return response.json()

    return read


def ingest(identity: KeyIdentity, **fields: Any) -> int:
    """Rate and write one event of a MeteredUsage's fields; returns its charge's ledger id."""
    now = timezone.now()
    defaults: dict[str, Any] = {
        "source": "default",
        "event_id": f"e-{now.timestamp()}-{fields.get('model', '')}",
        "occurred_at": now,
        "provider": "openai",
        "model": "gpt-4o-mini",
    }
    event = UsageEvent(**(defaults | fields))
    parsed = Parsed(events=[event], indexes=[0], rejections=[])
    assert ingest_events(identity, parsed, now=now).accepted == 1
    with tenant_scope(identity.tenant_id):
        charge_id = find_charge_id(source=event.source, event_id=event.event_id)
    assert charge_id is not None
    return charge_id


def test_a_charge_is_explained_line_by_line(post_events: PostEvents, get: Get) -> None:
    event = native_event(reported_cost="0.0003", customer="acme", department="eng", task="chat")
    post_events([event])
    (row,) = get("/charges", event_id=event["id"])["rows"]
    charge = get(f"/charges/{row['id']}")
    assert {name: charge[name] for name in row} == row
    assert [(x["meter"], x["quantity"], x["cost_usd"]) for x in charge["lines"]] == [
        ("input_tokens", 400, "0.00006"),
        ("cache_read_tokens", 600, "0.000045"),
        ("output_tokens", 200, "0.00012"),
    ]
    assert (charge["cost_usd"], charge["reported_cost_usd"], charge["difference_usd"]) == (
        "0.000225",
        "0.0003",
        "0.000075",
    )
    assert (charge["priced_as"], charge["price_source"]) == ("openai/gpt-4o-mini", "catalogue")
    assert (charge["customer"], charge["department"], charge["router"]) == (
        "acme",
        "eng",
        "router-1",
    )
    used = {rate["id"]: rate for rate in charge["rates"]}
    assert {line["rate_id"] for line in charge["lines"]} == used.keys()
    assert {rate["meter"] for rate in used.values()} == {
        "input_tokens",
        "cache_read_tokens",
        "output_tokens",
    }
    assert (charge["recomputed_cost_usd"], charge["reproduced"]) == ("0.000225", True)


def test_rates_that_changed_since_do_not_change_what_a_charge_says(
    key: Key, get: Get, post_events: PostEvents
) -> None:
    """Own rates, a discount and an alias: each is believed anew, each charge keeps its own."""
    names = {"provider": "local", "model": "llama-3-70b"}
    now = timezone.now()
    by = {"actor": "ann", "now": now}
    ids = []
    with tenant_scope(key.identity.tenant_id):
        rates = [
            add_rate(**names, meter=meter, price_usd_per_mtok=Decimal(1), effective_from=None, **by)
            for meter in ("input_tokens", "output_tokens")
        ]
    usage: dict[str, Any] = {"uncached_input_tokens": 1_000_000}
    ids.append(ingest(key.identity, **names, **usage, event_id="a"))
    with tenant_scope(key.identity.tenant_id):
        yesterday = now - timedelta(days=1)
        rates.append(
            change_rate(
                rate_id=rates[0], price_usd_per_mtok=Decimal(2), effective_from=yesterday, **by
            )
        )
        add_discount(provider="openai", percent=Decimal(10), effective_from=None, **by)
    ids += [
        ingest(key.identity, **names, **usage, event_id="b"),
        ingest(key.identity, **usage, event_id="c"),
        ingest(key.identity, **usage, model="our-alias", event_id="d"),
    ]
    with tenant_scope(key.identity.tenant_id):
        withdraw_rate(rate_id=rates[-1], **by)
        add_alias(
            provider="openai",
            model="our-alias",
            priced_provider="openai",
            priced_model="gpt-4o-mini",
            **by,
        )
    ids.append(ingest(key.identity, **usage, model="our-alias", event_id="e"))
    found = [get(f"/charges/{charge_id}") for charge_id in ids]
    assert [c["cost_usd"] for c in found] == ["1", "2", "0.135", None, "0.135"]
    assert [c["reproduced"] for c in found] == [True] * 5
    assert [c["price_source"] for c in found] == [
        "tenant",
        "tenant",
        "catalogue",
        "unpriced",
        "catalogue",
    ]
    discount = found[2]["lines"][1]
    assert (discount["kind"], discount["cost_usd"]) == ("discount", "-0.015")
    assert found[2]["discounts"][0]["percent"] == "10"
    assert "no rate was known" in found[3]["reason"]
    assert (found[4]["model"], found[4]["priced_as"]) == ("our-alias", "openai/gpt-4o-mini")


def test_the_default_rate_is_named_on_the_charge(key: Key, get: Get) -> None:
    unknown = {"provider": "acme", "model": "acme-7b", "uncached_input_tokens": 1_000_000}
    before = ingest(key.identity, **unknown, event_id="before")
    with tenant_scope(key.identity.tenant_id):
        for meter in ("input_tokens", "output_tokens"):
            add_default_rate(
                meter=meter,
                price_usd_per_mtok=Decimal(3),
                effective_from=None,
                actor="ann",
                now=timezone.now(),
            )
    after = ingest(key.identity, **unknown, event_id="after")
    first, second = get(f"/charges/{before}"), get(f"/charges/{after}")
    assert (first["cost_usd"], first["price_source"], first["reproduced"]) == (
        None,
        "unpriced",
        True,
    )
    assert (second["cost_usd"], second["price_source"], second["reproduced"]) == (
        "3",
        "default",
        True,
    )
    assert second["rates"][0]["source"] == "default"
    assert second["lines"][0]["rate_id"] == second["rates"][0]["id"]


def test_meters_and_variants_are_charged_and_explained(key: Key, get: Get) -> None:
    usage: dict[str, Any] = {"uncached_input_tokens": 1000, "output_tokens": 1000}
    searched = ingest(
        key.identity,
        provider="anthropic",
        model="claude-sonnet-4-5",
        event_id="searched",
        meters={"web_searches": 3},
        **usage,
    )
    batched = ingest(
        key.identity, event_id="batched", price_context={"processing": "batch"}, **usage
    )
    heard = ingest(
        key.identity,
        model="gpt-audio-mini",
        event_id="heard",
        meters={"input_audio_tokens": 800, "output_audio_tokens": 900},
        **usage,
    )
    found = [get(f"/charges/{charge_id}") for charge_id in (searched, batched, heard)]
    assert [c["cost_usd"] for c in found] == ["0.048", "0.000375", "0.02636"]
    assert [c["reproduced"] for c in found] == [True] * 3
    assert [(x["meter"], x["quantity"]) for x in found[2]["lines"]] == [
        ("input_tokens", 200),
        ("output_tokens", 100),
        ("input_audio_tokens", 800),
        ("output_audio_tokens", 900),
    ]
    assert found[0]["lines"][-1]["meter"] == "web_searches"


def test_parts_that_exceed_the_whole_are_unpriced_and_say_so(key: Key, get: Get) -> None:
    charge_id = ingest(
        key.identity,
        model="gpt-audio-mini",
        event_id="odd",
        uncached_input_tokens=10,
        meters={"input_audio_tokens": 11},
    )
    charge = get(f"/charges/{charge_id}")
    assert (charge["cost_usd"], charge["price_source"], charge["lines"]) == (None, "unpriced", [])
    assert "contradict" in charge["reason"]


@pytest.mark.parametrize(
    ("fields", "cost_usd"),
    [
        ({"status": "429"}, "0"),
        ({"status": "429", "model": "unknown-model"}, "0"),
        ({"status": "500", "uncached_input_tokens": 1_000_000}, "0.15"),
        ({"status": "500", "meters": {"web_searches": 1000}}, "10"),
    ],
)
def test_a_failed_attempt_costs_what_it_used(
    key: Key, get: Get, fields: dict[str, Any], cost_usd: str
) -> None:
    model = {"provider": "anthropic", "model": "claude-sonnet-4-5"} if "meters" in fields else {}
    charge = get(f"/charges/{ingest(key.identity, **(model | fields), event_id='failed')}")
    assert (charge["cost_usd"], charge["reproduced"]) == (cost_usd, True)
    assert (charge["price_source"] == "unused") == (cost_usd == "0")


def test_adjustments_stand_beside_the_charge_they_correct(key: Key, get: Get) -> None:
    charge_id = ingest(key.identity, provider="acme", model="acme-7b", event_id="adjusted")
    with tenant_scope(key.identity.tenant_id):
        _adjust(charge_id, "0.5", -1)
        _adjust(charge_id, "0.25", 0)
        assert find_charge_id(source="default", event_id="adjusted") == charge_id
    charge = get(f"/charges/{charge_id}")
    assert (charge["first_cost_usd"], charge["cost_usd"]) == (None, "0.75")
    assert [(a["cost_usd"], a["unpriced_change"]) for a in charge["adjustments"]] == [
        ("0.5", -1),
        ("0.25", 0),
    ]
    assert get("/charges", unpriced="true")["rows"] == []
    assert [c["id"] for c in get("/charges", unpriced="false")["rows"]] == [str(charge_id)]


def _adjust(charge_id: int, cost_usd: str, change: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO usage_ledger (tenant_id, id, occurred_at, received_at, kind, corrects_id,"
            " repricing_id, unpriced_change, slice_id, source, event_id, uncached_input_tokens,"
            " cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, output_tokens,"
            " reasoning_tokens, cost_usd, rate_revision)"
            " SELECT tenant_id, nextval('usage_commit_number') << 16, occurred_at, now(), 1, id, 7,"
            " %s, slice_id, source, event_id, 0, 0, 0, 0, 0, 0, %s, rate_revision"
            " FROM usage_ledger WHERE id = %s",
            [change, cost_usd, charge_id],
        )


def test_lists_are_filtered_and_paged_newest_first(post_events: PostEvents, get: Get) -> None:
    start = datetime.now(UTC) - timedelta(hours=2)
    events = [
        native_event(
            id=f"e{n}",
            timestamp=(start + timedelta(minutes=n)).isoformat(),
            customer=f"c{n % 2}",
            department="eng" if n % 3 else "ops",
            model="gpt-4o" if n == 4 else "gpt-4o-mini",
            status="success" if n else "500",
        )
        for n in range(7)
    ]
    post_events(events)
    pages, before = [], {}
    while True:
        page = get("/charges", limit=3, **before)
        pages.append([row["event_id"] for row in page["rows"]])
        if page["next_before_id"] is None:
            break
        before = {"before_id": page["next_before_id"]}
    assert pages == [["e6", "e5", "e4"], ["e3", "e2", "e1"], ["e0"]]

    def ids(**query: Any) -> list[str]:
        return [row["event_id"] for row in get("/charges", **query)["rows"]]

    assert ids(customer="c1") == ["e5", "e3", "e1"]
    assert ids(department="OPS") == ["e6", "e3", "e0"]
    assert ids(model="gpt-4o") == ids(backend="openai/gpt-4o") == ["e4"]
    assert ids(status="500") == ["e0"]
    assert ids(customer="nobody") == []
    assert ids(unpriced="true") == []
    assert ids(**{"from": (start + timedelta(minutes=5)).isoformat()}) == ["e6", "e5"]
    assert ids(to=(start + timedelta(minutes=1)).isoformat()) == ["e0"]


@pytest.mark.parametrize(
    ("path", "query", "refusal"),
    [
        ("/charges/12345", {}, (404, "id")),
        ("/charges/abc", {}, (422, "id")),
        ("/charges/99999999999999999999", {}, (422, "id")),
        ("/charges", {"from": "2026-11-02", "to": "2026-11-01"}, (422, "to")),
        ("/charges", {"from": "2020-01-01"}, (422, "to")),
        ("/charges", {"from": "yesterday"}, (422, "from")),
        ("/charges", {"limit": "201"}, (422, "limit")),
        ("/charges", {"before_id": "-1"}, (422, "before_id")),
        ("/charges", {"source": "x"}, (422, "event_id")),
        ("/charges", {"colour": "red"}, (422, "colour")),
        ("/rates/unresolved", {"limit": "0"}, (422, "limit")),
    ],
)
def test_what_cannot_be_answered_says_why(
    client: Client, key: Key, path: str, query: dict[str, str], refusal: tuple[int, str]
) -> None:
    response = client.get(f"/api/v1{path}", query, headers=key.headers)
    assert (response.status_code, response.json()["field"].split(".")[-1]) == refusal


def test_lists_are_narrowed_to_a_tag(
    client: Client, key: Key, post_events: PostEvents, get: Get
) -> None:
    post_events([native_event(tags={"team": "red"}), native_event(tags={"team": "blue"})])
    post_events(native_event())

    def listed(**tags: str) -> list[Any]:
        return [row["tags"] for row in get("/charges", **tags)["rows"]]

    assert listed(**{"tag.team": "red"}) == [{"team": "red"}]
    assert listed(**{"tag.team": ""}) == [None]
    refused = client.get("/api/v1/charges", {"tag.": "red"}, headers=key.headers)
    assert refused.json()["code"] == "unknown_parameter"


def test_a_charge_is_behind_the_wall(client: Client, key: Key, make_tenant: MakeTenant) -> None:
    charge_id = ingest(key.identity, event_id="mine", provider="acme", model="secret")
    roll_up(key.identity.tenant_id)
    other = make_key(make_tenant().id)
    for path in (f"/charges/{charge_id}", "/charges?event_id=mine", "/rates/unresolved"):
        response = client.get(f"/api/v1{path}", headers=other.headers)
        assert response.status_code == 404 or response.json()["rows"] == []
        assert b"secret" not in response.content
    with tenant_scope(other.identity.tenant_id):
        assert explain_charge(charge_id) is None


def test_names_without_a_price_are_listed_until_they_mean_something(key: Key, get: Get) -> None:
    usage = {"uncached_input_tokens": 100, "output_tokens": 10}
    for n in range(3):
        ingest(key.identity, model="gpt-4o-prod", event_id=f"a{n}", **usage)
    ingest(key.identity, provider="acme", model="gpt-4o", event_id="b", **usage)
    ingest(key.identity, event_id="priced", **usage)
    roll_up(key.identity.tenant_id)
    rows = get("/rates/unresolved")["rows"]
    assert [(r["provider"], r["model"], r["unpriced_requests"], r["tokens"]) for r in rows] == [
        ("openai", "gpt-4o-prod", 3, 330),
        ("acme", "gpt-4o", 1, 110),
    ]
    assert [r["suggestion"] for r in rows] == [None, "openai/gpt-4o"]
    with tenant_scope(key.identity.tenant_id):
        add_alias(
            provider=rows[0]["provider"],
            model=rows[0]["model"],
            priced_provider="openai",
            priced_model="gpt-4o",
            actor="ann",
            now=timezone.now(),
        )
        assert current_rate_book().resolve("openai", "gpt-4o-prod").key == "openai/gpt-4o"
    assert [r["priced_as"] for r in get("/rates/unresolved")["rows"]] == ["openai/gpt-4o", None]


def test_search_that_takes_too_long_is_given_up_with_a_sentence(
    client: Client, key: Key, post_events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    post_events([native_event()])
    monkeypatch.setattr("apps.usage.charges.LONGEST_SEARCH_MS", 50)
    monkeypatch.setattr("apps.usage.charges._UNPRICED", "pg_sleep(1) IS NOT NULL")
    response = client.get("/api/v1/charges", {"unpriced": "true"}, headers=key.headers)
    assert response.status_code == 422
    assert response["Content-Type"] == "application/problem+json"


def test_a_charge_names_the_own_rate_of_its_variant_tier_and_hours(
    key: Key, get: Get, post_events: PostEvents
) -> None:
    """Posted, rated, explained, and priced the same by a repricing's dry run."""
    mini = {"provider": "openai", "model": "gpt-4o-mini"}
    by = {"actor": "ann", "now": timezone.now()}
    # A day that has its last hour behind it, whatever the time is now.
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    night = {"window_start_s": 82_800, "window_end_s": 86_400}
    with tenant_scope(key.identity.tenant_id):
        batch_id, long_id, night_id = (
            add_rate(
                **mini,
                meter="input_tokens",
                price_usd_per_mtok=Decimal(price),
                effective_from=None,
                **only_for,
                **by,
            )
            for price, only_for in (
                ("0.06", {"when": {"processing": "batch"}}),
                ("0.4", {"tier_start_tokens": 200_000}),
                ("0.05", night),
            )
        )
    noon, late = midnight - timedelta(hours=12), midnight - timedelta(minutes=1)
    cases = [
        (noon, 200_000, {}, "0.03", None),
        (noon, 200_001, {}, "0.0800004", long_id),
        (late, 200_000, {}, "0.01", night_id),
        (midnight - timedelta(hours=1, microseconds=1), 200_000, {}, "0.03", None),
        (noon, 200_000, {"price_context": {"processing": "batch"}}, "0.012", batch_id),
    ]
    events = [
        native_event(
            timestamp=at.isoformat(), usage={"input_tokens": tokens, "output_tokens": 0}, **more
        )
        for at, tokens, more, _, _ in cases
    ]
    assert post_events(events)["accepted"] == len(cases)
    for event, (_, _, _, cost_usd, rate_id) in zip(events, cases, strict=True):
        (row,) = get("/charges", event_id=event["id"])["rows"]
        charge = get(f"/charges/{row['id']}")
        (line,) = charge["lines"]
        (rate,) = charge["rates"]
        assert (charge["cost_usd"], charge["recomputed_cost_usd"]) == (cost_usd, cost_usd)
        assert charge["reproduced"]
        assert line["rate_id"] == rate["id"]
        assert charge["price_source"] == ("catalogue" if rate_id is None else "tenant")
        assert rate_id is None or rate["id"] == f"tenant:{rate_id}"
    dry = draft(key).preview
    assert dry is not None
    assert (dry["charges"], dry["changed"], dry["before_usd"]) == (5, 0, "0.1620004")


def test_own_rates_for_some_requests_reprice_those_alone(key: Key, post_events: PostEvents) -> None:
    batch = {"price_context": {"processing": "batch"}}
    usage = {"input_tokens": 1_000_000, "output_tokens": 0}
    post_events([native_event(usage=usage), native_event(usage=usage, **batch)])
    with tenant_scope(key.identity.tenant_id):
        add_rate(
            provider="openai",
            model="gpt-4o-mini",
            meter="input_tokens",
            price_usd_per_mtok=Decimal("0.06"),
            effective_from=None,
            when={"processing": "batch"},
            actor="ann",
            now=timezone.now(),
        )
    dry = draft(key).preview
    assert dry is not None
    assert (dry["charges"], dry["changed"]) == (2, 1)
    assert (dry["before_usd"], dry["after_usd"]) == ("0.225", "0.21")


def test_explaining_again_reads_no_own_rates(key: Key) -> None:
    """The book of a charge's revision is remembered, whether it is the current one or past."""
    add = {"provider": "local", "model": "m", "price_usd_per_mtok": Decimal(1), "actor": "ann"}
    past = ingest(key.identity, uncached_input_tokens=5, event_id="past")
    with tenant_scope(key.identity.tenant_id):
        add_rate(**add, meter="input_tokens", effective_from=None, now=timezone.now())
    current = ingest(key.identity, uncached_input_tokens=5, event_id="current")
    for charge_id in (past, current):
        with tenant_scope(key.identity.tenant_id):
            explain_charge(charge_id)
            with CaptureQueriesContext(connection) as queries:
                explained = explain_charge(charge_id)
        assert explained is not None
        assert explained.reproduced
        assert [q for q in queries.captured_queries if "tenantrate" in q["sql"]] == []
