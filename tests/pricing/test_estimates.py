"""POST /api/v1/estimates, GET /backends and /rates, as routers and finance call them."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from apps.pricing.core.meters import INPUT, OUTPUT
from tests.conftest import Key, MakeTenant, make_key
from tests.pricing.conftest import SetRate

Post = Callable[..., Any]
CHAPTER_RATES = {
    ("openai", "gpt-4-turbo", "cloud"): ("10", "30"),
    ("anthropic", "claude-3-opus", "cloud"): ("15", "75"),
    ("local", "llama-3-70b", "local"): ("0.1", "0.1"),
}


@pytest.fixture
def ask(client: Client, key: Key) -> Post:
    """POST an estimate: ask(model="gpt-4o", input_tokens=1, output_tokens=1)."""

    def post(**body: Any) -> Any:
        return client.post(
            "/api/v1/estimates", body, content_type="application/json", headers=key.headers
        )

    return post


@pytest.fixture
def chapter_rates(set_rate: SetRate) -> None:
    for (provider, model, kind), prices in CHAPTER_RATES.items():
        for meter, price in zip((INPUT, OUTPUT), prices, strict=True):
            set_rate(meter, price, provider=provider, model=model, kind=kind)


def test_the_chapters_estimate(ask: Post, chapter_rates: None) -> None:
    answer = ask(model="gpt-4-turbo", input_text="x" * 4000, max_output_tokens=800).json()
    assert answer["input_tokens"] == 1000
    assert answer["input_tokens_method"] == "characters // 4"
    assert answer["output_tokens"] == 500
    assert answer["output_tokens_method"] == "min(max_output_tokens, 500)"
    assert answer["cost_usd"] == "0.025"
    assert (answer["provider"], answer["model"], answer["source"]) == (
        "openai",
        "gpt-4-turbo",
        "tenant",
    )
    lines = [
        (x["meter"], x["quantity"], x["unit_price_usd_per_mtok"], x["cost_usd"])
        for x in answer["lines"]
    ]
    assert lines == [
        ("input_tokens", 1000, "10", "0.01"),
        ("output_tokens", 500, "30", "0.015"),
    ]


def test_real_counts_are_priced_as_given(ask: Post, chapter_rates: None) -> None:
    answer = ask(model="gpt-4-turbo", input_tokens=1234, output_tokens=800).json()
    assert (answer["input_tokens"], answer["output_tokens"]) == (1234, 800)
    assert (answer["input_tokens_method"], answer["output_tokens_method"]) == ("given", "given")
    assert answer["cost_usd"] == "0.03634"


def test_several_models_come_cheapest_first(ask: Post, chapter_rates: None) -> None:
    models = ["claude-3-opus", "gpt-4-turbo", "llama-3-70b"]
    answer = ask(models=models, input_text="x" * 4000, max_output_tokens=800).json()
    assert [(e["backend"], e["cost_usd"], e["kind"]) for e in answer["estimates"]] == [
        ("local/llama-3-70b", "0.00015", "local"),
        ("openai/gpt-4-turbo", "0.025", "cloud"),
        ("anthropic/claude-3-opus", "0.0525", "cloud"),
    ]


def test_cache_parts_are_priced_apart(ask: Post) -> None:
    answer = ask(
        provider="anthropic",
        model="claude-sonnet-4-5-20250929",
        input_tokens=1100,
        cache_read_tokens=600,
        cache_write_tokens=100,
        cache_write_1h_tokens=30,
        output_tokens=200,
        timestamp="2026-11-01T12:00:00Z",
    ).json()
    assert answer["cost_usd"] == "0.0048225"
    assert [(x["meter"], x["quantity"]) for x in answer["lines"]] == [
        ("input_tokens", 400),
        ("cache_read_tokens", 600),
        ("cache_write_5m_tokens", 70),
        ("cache_write_1h_tokens", 30),
        ("output_tokens", 200),
    ]


def test_prices_are_those_of_the_moment_asked_about(ask: Post) -> None:
    at = {"model": "deepseek/deepseek-chat", "input_tokens": 1_000_000, "output_tokens": 0}
    morning = ask(**at, timestamp="2026-11-01T02:00:00+02:00").json()
    noon = ask(**at, timestamp="2026-11-01T12:00:00Z").json()
    assert (morning["cost_usd"], noon["cost_usd"]) == ("0.135", "0.27")


GOOD = {"model": "gpt-4o", "input_tokens": 10, "output_tokens": 1}


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"model": "no-such-model"}, "unknown_model", "model"),
        ({"provider": "nobody"}, "unknown_model", "model"),
        ({"model": None, "models": ["gpt-4o", "no-such"]}, "unknown_model", "models.1"),
        ({"model": None}, "exactly_one", "model"),
        ({"models": ["gpt-4o"]}, "exactly_one", "model"),
        ({"input_text": "both"}, "exactly_one", "input_tokens"),
        ({"input_tokens": None}, "exactly_one", "input_tokens"),
        ({"output_tokens": None}, "exactly_one", "output_tokens"),
        ({"max_output_tokens": 5}, "exactly_one", "output_tokens"),
        ({"cache_read_tokens": 11}, "cache_exceeds_input", "cache_read_tokens"),
        ({"cache_read_tokens": 9, "cache_write_tokens": 2}, "cache_exceeds_input", "input_tokens"),
        (
            {"cache_write_tokens": 1, "cache_write_1h_tokens": 2},
            "cache_write_1h_exceeds_cache_write",
            "cache_write_1h_tokens",
        ),
        ({"timestamp": "2026-11-01T12:00:00"}, "time_zone_missing", "timestamp"),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, "time_out_of_range", "timestamp"),
        ({"input_tokens": -1}, "invalid_request", "input_tokens"),
        ({"input_tokens": 10**12}, "invalid_request", "input_tokens"),
        ({"input_tokens": "10"}, "invalid_request", "input_tokens"),
        ({"input_tokens": True}, "invalid_request", "input_tokens"),
        ({"output_tokens": 1.5}, "invalid_request", "output_tokens"),
        ({"model": "\0"}, "invalid_request", "model"),
        ({"model": "m" * 201}, "invalid_request", "model"),
        ({"model": None, "models": []}, "invalid_request", "models"),
        ({"model": None, "models": ["gpt-4o"] * 101}, "invalid_request", "models"),
        ({"tokens": 5}, "invalid_request", "tokens"),
    ],
)
def test_a_question_that_cannot_be_answered_says_why(
    ask: Post, changes: dict[str, Any], code: str, field: str
) -> None:
    body = {name: value for name, value in (GOOD | changes).items() if value is not None}
    response = ask(**body)
    problem = response.json()
    assert response.status_code == 422
    assert response.headers["Content-Type"] == "application/problem+json"
    assert (problem["code"], problem["field"].removeprefix("body.")) == (code, field)
    assert problem["detail"]


def test_an_unknown_model_says_what_to_do(ask: Post) -> None:
    detail = ask(**GOOD | {"model": "no-such-model"}).json()["detail"]
    assert "no-such-model" in detail
    assert "GET /api/v1/rates" in detail


def test_an_own_model_that_cannot_price_output_says_so(ask: Post, set_rate: SetRate) -> None:
    set_rate(INPUT, "0.1")
    response = ask(model="llama-3-70b", input_tokens=1, output_tokens=1)
    assert (response.status_code, response.json()["code"]) == (422, "not_priced_then")


def test_estimates_are_for_readers_and_routers(client: Client, key: Key) -> None:
    for scope, status in (("read", 200), ("route", 200), ("ingest", 403)):
        headers = make_key(key.identity.tenant_id, scope).headers
        response = client.post(
            "/api/v1/estimates", GOOD, content_type="application/json", headers=headers
        )
        assert response.status_code == status


def test_another_tenants_rates_are_not_used(
    client: Client, make_tenant: MakeTenant, chapter_rates: None
) -> None:
    headers = make_key(make_tenant().id).headers
    body = {"model": "llama-3-70b", "input_tokens": 1, "output_tokens": 1}
    response = client.post(
        "/api/v1/estimates", body, content_type="application/json", headers=headers
    )
    assert response.json()["code"] == "unknown_model"
    for path in ("/api/v1/backends", "/api/v1/rates"):
        assert client.get(path, headers=headers).json()["rows"] == []


def test_backends_show_what_they_cost_now(
    client: Client, key: Key, chapter_rates: None, set_rate: SetRate
) -> None:
    rows = client.get("/api/v1/backends", headers=key.headers).json()["rows"]
    assert [(r["key"], r["kind"], r["source"]) for r in rows] == [
        ("anthropic/claude-3-opus", "cloud", "tenant"),
        ("local/llama-3-70b", "local", "tenant"),
        ("openai/gpt-4-turbo", "cloud", "tenant"),
    ]
    opus, llama, _ = (r["prices_usd_per_mtok"] for r in rows)
    assert (llama["input_tokens"], llama["output_tokens"]) == ("0.1", "0.1")
    # The tenant's for the meters it names, the catalogue's for the others.
    assert (opus["output_tokens"], opus["cache_read_tokens"]) == ("75", "1.5")


def test_backends_are_listed_page_by_page(client: Client, key: Key, chapter_rates: None) -> None:
    seen, after_key = [], ""
    while after_key is not None:
        page = client.get(
            "/api/v1/backends", {"limit": 2, "after_key": after_key}, headers=key.headers
        ).json()
        seen += [row["key"] for row in page["rows"]]
        after_key = page["next_after_key"]
    assert seen == ["anthropic/claude-3-opus", "local/llama-3-70b", "openai/gpt-4-turbo"]


def test_rates_are_listed_page_by_page(client: Client, key: Key, chapter_rates: None) -> None:
    seen, after_id = [], 0
    while after_id is not None:
        page = client.get(
            "/api/v1/rates", {"limit": 4, "after_id": after_id}, headers=key.headers
        ).json()
        seen += page["rows"]
        after_id = page["next_after_id"]
    assert [(r["provider"], r["meter"], r["price_usd_per_mtok"]) for r in seen] == [
        ("openai", "input_tokens", "10"),
        ("openai", "output_tokens", "30"),
        ("anthropic", "input_tokens", "15"),
        ("anthropic", "output_tokens", "75"),
        ("local", "input_tokens", "0.1"),
        ("local", "output_tokens", "0.1"),
    ]


def test_the_catalogues_rates_can_be_looked_up(client: Client, key: Key) -> None:
    answer = client.get(
        "/api/v1/rates",
        {"source": "catalogue", "provider": "azure.ai.openai", "model": "phi-4"},
        headers=key.headers,
    ).json()
    assert answer["catalogue_version"] == "0.2.3"
    assert {r["provider"] for r in answer["rows"]} == {"azure"}
    assert {r["meter"] for r in answer["rows"]} == {"input_tokens", "output_tokens"}


@pytest.mark.parametrize(
    "query", [{"limit": 1001}, {"after_id": -1}, {"source": "x"}, {"model": "\0"}]
)
def test_a_bad_query_of_rates_is_refused(client: Client, key: Key, query: dict[str, Any]) -> None:
    response = client.get("/api/v1/rates", query, headers=key.headers)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


def test_an_estimate_is_of_the_variant_the_tier_and_the_hour(ask: Post, set_rate: SetRate) -> None:
    mini = {"provider": "openai", "model": "gpt-4o-mini"}
    set_rate(INPUT, "0.06", when={"processing": "batch"}, **mini)
    set_rate(INPUT, "0.4", tier_start_tokens=200_000, **mini)
    set_rate(INPUT, "0.05", window_start_s=79_200, window_end_s=86_400, **mini)

    def estimate(tokens: int, hour: int, **more: Any) -> tuple[str, str]:
        at = f"2026-11-01T{hour}:00:00Z"
        asked = {"input_tokens": tokens, "output_tokens": 0, "timestamp": at}
        answer = ask(model="openai/gpt-4o-mini", **asked, **more).json()
        return answer["cost_usd"], answer["source"]

    batch = {"price_context": {"processing": "Batch"}}
    assert estimate(200_000, 21) == ("0.03", "catalogue")
    assert estimate(200_000, 22) == ("0.01", "tenant")
    assert estimate(200_001, 21) == ("0.0800004", "tenant")
    assert estimate(200_000, 21, **batch) == ("0.012", "tenant")
    assert estimate(10, 21, price_context={"service_tier": "standard"}) == (
        "0.0000015",
        "catalogue",
    )


@pytest.mark.parametrize(
    ("context", "code", "field"),
    [
        ({"tier": "flex"}, "unknown_price_context", "price_context"),
        ({"speed": "fa\nst"}, "control_character", "price_context.speed"),
    ],
)
def test_an_unknown_variant_is_refused(
    ask: Post, context: dict[str, str], code: str, field: str
) -> None:
    answer = ask(model="gpt-4o", input_tokens=1, output_tokens=1, price_context=context)
    assert answer.status_code == 422
    assert (answer.json()["code"], answer.json()["field"]) == (code, field)
