"""GET /api/v1/spend: sums that can be grouped, filtered, bucketed and downloaded."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from apps.tenants.scoping import tenant_scope
from apps.tenants.services import create_customer
from tests.conftest import Key, native_event

PostEvents = Callable[..., dict[str, Any]]
TODAY = datetime.now(UTC).date()


def get(client: Client, key: Key, **parameters: Any) -> Any:
    return client.get("/api/v1/spend", parameters, headers=key.headers)


@pytest.fixture
def some_usage(post_events: PostEvents) -> None:
    post_events(
        [
            native_event(customer="acme", department="support", revenue="0.05", converted=True),
            native_event(customer="acme", department="sales", model="gpt-4o-mini"),
            native_event(customer="umbra", department="Support", task="rag", revenue="1e-20"),
            native_event(provider="nobody", model="home-grown"),
        ]
    )


def test_default_is_the_month_so_far(client: Client, key: Key, some_usage: None) -> None:
    body = get(client, key).json()
    assert body["start"].startswith(f"{TODAY.replace(day=1)}T00:00:00")
    assert body["total"] == {
        "cost_usd": "0.000675",
        "requests": 4,
        "input_tokens": 4000,
        "cache_read_tokens": 2400,
        "cache_write_tokens": 0,
        "output_tokens": 800,
        "unpriced_requests": 1,
        "revenue_usd": "0.05000000000000000001",
        "conversions": 1,
        "reasoning_tokens": 256,
        "latency_ms_sum": 0,
        "latency_count": 0,
    }


def test_tags_split_and_narrow(client: Client, key: Key, post_events: PostEvents) -> None:
    tags = [{"team": "red", "run": "1"}, {"team": "red"}, {"team": "blue"}, {"run": "2"}]
    post_events([native_event(tags=one, customer="acme") for one in tags])
    post_events([native_event(model="o3")])
    dated = "gpt-4o-mini-2024-07-18"
    rows = get(client, key, group_by="tag.team,model").json()["rows"]
    assert {(r["tag.team"], r["model"]): r["requests"] for r in rows} == {
        ("red", dated): 2,
        ("blue", dated): 1,
        (None, dated): 1,
        (None, "o3"): 1,
    }
    assert get(client, key, **{"tag.team": "red"}).json()["total"]["requests"] == 2
    assert get(client, key, **{"tag.team": "red", "tag.run": ""}).json()["total"]["requests"] == 1
    either = get(client, key, **{"tag.team": ["blue", ""], "interval": "day"}).json()["rows"]
    assert [row["requests"] for row in either] == [3]
    text = get(client, key, format="csv", group_by="tag.team").content.decode()
    assert text.startswith("tag.team,cost_usd,")
    margins = client.get("/api/v1/margins", {"tag.team": "red"}, headers=key.headers).json()
    assert margins["total"]["requests"] == 2


def test_tags_are_looked_up_within_limits(
    client: Client, key: Key, post_events: PostEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    post_events(native_event(tags={"team": "red"}))
    long = {"from": str(TODAY - timedelta(days=40)), "tag.team": "red"}
    refused = get(client, key, **long)
    assert refused.status_code == 422
    assert refused.json()["code"] == "too_much_to_read"
    assert "this is about" in refused.json()["detail"]
    assert get(client, key, **{"tag.": "red"}).json()["code"] == "unknown_parameter"
    # A statement that takes too long is given up, and the limit with it.
    monkeypatch.setattr("apps.usage.tagged_sums.LONGEST_READ_MS", 1)
    monkeypatch.setattr(
        "apps.usage.tagged_sums._BUCKETS", {None: "(SELECT NULL::date FROM pg_sleep(1))"}
    )
    refused = get(client, key, **{"tag.team": "red"})
    assert (refused.status_code, refused.json()["code"]) == (422, "too_much_to_read")
    assert "this takes longer" in refused.json()["detail"]
    assert get(client, key).json()["total"]["requests"] == 1


def test_groups_carry_their_labels_dearest_first(
    client: Client, key: Key, some_usage: None
) -> None:
    rows = get(client, key, group_by="customer,department").json()["rows"]
    assert [(r["customer"], r["department"], r["cost_usd"]) for r in rows][-1] == (None, None, "0")
    assert {(r["customer"], r["department"]) for r in rows} == {
        ("acme", "support"),
        ("acme", "sales"),
        ("umbra", "support"),
        (None, None),
    }


def test_daily_interval_gives_local_dates(client: Client, key: Key, some_usage: None) -> None:
    rows = get(client, key, interval="day", group_by="model").json()["rows"]
    assert {row["bucket"] for row in rows} == {TODAY.isoformat()}
    assert {row["model"] for row in rows} == {
        "gpt-4o-mini",
        "gpt-4o-mini-2024-07-18",
        "home-grown",
    }


def test_dated_model_names_share_a_backend(client: Client, key: Key, some_usage: None) -> None:
    rows = get(client, key, group_by="backend").json()["rows"]
    assert [(row["backend"], row["requests"]) for row in rows] == [
        ("openai/gpt-4o-mini", 3),
        ("nobody/home-grown", 1),
    ]


@pytest.mark.parametrize(
    ("filters", "requests"),
    [
        ({"customer": "acme"}, 2),
        ({"customer": ["acme", "umbra"]}, 3),
        ({"customer": ""}, 1),
        ({"department": "SUPPORT"}, 2),
        ({"backend": "openai/gpt-4o-mini", "task": "rag"}, 1),
        ({"model": "no-such-model"}, 0),
        ({"kind": "cloud"}, 4),
        ({"kind": "local"}, 0),
        ({"router": "router-1"}, 4),
    ],
)
def test_any_dimension_filters(
    client: Client, key: Key, some_usage: None, filters: dict[str, Any], requests: int
) -> None:
    assert get(client, key, **filters).json()["total"]["requests"] == requests


def test_tier_folds_the_customers_in_it(client: Client, key: Key, post_events: PostEvents) -> None:
    with tenant_scope(key.identity.tenant_id):
        for name in ("p1", "p2"):
            create_customer(external_id=name, name=name, tier="premium", now=datetime.now(UTC))
    post_events([native_event(customer=c) for c in ("p1", "p2", "walk-in")])
    rows = get(client, key, group_by="tier").json()["rows"]
    assert [(row["tier"], row["requests"]) for row in rows] == [("premium", 2), ("standard", 1)]


def test_range_bounds_are_half_open(client: Client, key: Key, some_usage: None) -> None:
    tomorrow = TODAY + timedelta(days=1)
    inside = get(client, key, **{"from": str(TODAY), "to": str(tomorrow)}).json()
    outside = get(client, key, **{"from": str(tomorrow), "to": str(tomorrow + timedelta(1))}).json()
    assert (inside["total"]["requests"], outside["total"]["requests"]) == (4, 0)


def test_instants_are_taken_with_any_offset(client: Client, key: Key, some_usage: None) -> None:
    now = datetime.now(UTC)
    window = {"from": (now - timedelta(hours=2)).isoformat(), "to": now.isoformat()}
    assert get(client, key, **window).json()["total"]["requests"] == 4


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"group_by": "colour"}, "group_by"),
        ({"group_by": "model,model"}, "group_by"),
        ({"interval": "fortnight"}, "interval"),
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-11-01T00:00:00"}, "to"),
        ({"from": "2026-11-02", "to": "2026-11-01"}, "to"),
        ({"colour": "red"}, "colour"),
        ({"format": "pdf"}, "format"),
        ({"project": "a\0b"}, "project"),
    ],
)
def test_bad_question_is_a_problem_naming_the_field(
    client: Client, key: Key, parameters: dict[str, str], field: str
) -> None:
    response = get(client, key, **parameters)
    assert (response.status_code, response.json()["field"]) == (422, field)
    assert response["Content-Type"] == "application/problem+json"


def test_csv_is_the_same_rows(client: Client, key: Key, some_usage: None) -> None:
    response = get(client, key, group_by="customer", format="csv")
    assert response["Content-Type"].startswith("text/csv")
    lines = response.content.decode().splitlines()
    assert lines[0].startswith("customer,cost_usd,requests")
    assert lines[1].startswith("acme,0.00045,2")


def test_csv_never_carries_a_formula(client: Client, key: Key, post_events: PostEvents) -> None:
    post_events([native_event(customer="=HYPERLINK(1)")])
    response = get(client, key, group_by="customer", format="csv")
    assert "\n'=HYPERLINK(1)," in response.content.decode().replace("\r", "")
