"""The pricing page as members get it, and the sentences on it."""

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.dashboards.pricing.words import (
    BackendPrice,
    condition_words,
    pricing_answer,
    span_words,
    unpriced_title,
)
from apps.dashboards.sentences import plain
from apps.pricing.selectors import list_rates
from apps.pricing.services import add_rate
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.conftest import MakeTenant, native_event

Post = Callable[..., dict[str, Any]]
SignIn = Callable[..., Client]
BERLIN = ZoneInfo("Europe/Berlin")
OWN = {
    "provider": "vllm",
    "model": "llama-3.3-70b",
    "meter": "output_tokens",
    "price": "0.42",
    "effective_from": "2026-01-01",
    "kind": "local",
}


def words(page: str) -> str:
    text = re.sub(r"<script.*?</script>", " ", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)))


def read(client: Client, address: str = "/pricing") -> str:
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def own_rates(tenant: TenantInfo) -> list[tuple[str, Decimal]]:
    with tenant_scope(tenant.id):
        return [(r.meter, r.price_usd) for r in list_rates(source="tenant")]


def test_a_backend_is_listed_with_its_prices_and_whose_they_are(
    tenant: TenantInfo, post_events: Post, sign_in: SignIn
) -> None:
    post_events([native_event(), native_event()])
    page = read(sign_in("viewer"))
    row = re.search(r"<tbody>.*?gpt-4o-mini.*?</tbody>", page, re.DOTALL)
    assert row is not None
    cells = [words(cell).strip() for cell in re.findall(r"<td.*?</td>", row[0], re.DOTALL)]
    assert cells[0] == "0.15"
    assert cells[1] == "0.075"
    assert cells[3:] == ["0.60", "catalogue always", "2"]
    assert "The one backend has a price" in words(page)


def test_a_tenant_without_backends_is_told_how_to_get_one(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    assert "A backend appears here with its first request" in words(read(sign_in("viewer")))


def test_models_without_a_price_stand_on_top(
    tenant: TenantInfo, post_events: Post, sign_in: SignIn
) -> None:
    post_events([native_event(provider="nobody", model="unheard-of-1") for _ in range(3)])
    page = read(sign_in("admin"))
    assert "1 model has no price: 3 requests this month; add a rate" in words(page)
    assert "provider=nobody&amp;model=unheard-of-1" in page
    assert page.index("unresolved-title") < page.index("backends-title")
    for meter in ("input_tokens", "output_tokens"):
        given = {"provider": "nobody", "model": "unheard-of-1", "meter": meter, "price": "1"}
        sign_in("admin").post("/pricing/rates", given)
    priced = words(read(sign_in("admin")))
    assert "3 requests this month have a rate by now: reprice to charge them" in priced
    assert "add a rate" not in priced
    prefilled = read(sign_in("admin"), "/pricing?provider=nobody&model=unheard-of-1")
    assert 'value="unheard-of-1"' in prefilled
    assert re.search(r'id="rate-form" open', prefilled)


@pytest.mark.parametrize("role", ["admin", "owner"])
def test_an_admin_sets_a_rate_and_sees_it_in_the_history(
    tenant: TenantInfo, sign_in: SignIn, role: str
) -> None:
    client = sign_in(role)
    answer = client.post("/pricing/rates", OWN).content.decode()
    assert "llama-3.3-70b: output costs 0.42 USD per million from 1 Jan 2026." in words(answer)
    assert own_rates(tenant) == [("output_tokens", Decimal("0.42"))]
    history = words(read(client, "/pricing?open=local/llama-3.3-70b"))
    history = history if "past and to come" in history else words(answer)
    assert "1 Jan 2026 further notice" in history
    assert f"by {role}-" in history
    assert "hatched" in answer


def test_the_form_then_offers_the_meter_that_is_still_missing(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    answer = sign_in("admin").post("/pricing/rates", OWN).content.decode()
    assert '<option value="input_tokens" selected>' in answer


def test_another_price_from_a_later_day_changes_the_rate(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    client = sign_in("admin")
    client.post("/pricing/rates", OWN)
    answer = client.post("/pricing/rates", OWN | {"price": "0.5", "effective_from": "2026-03-01"})
    assert "costs 0.50 USD per million from 1 Mar 2026, after 0.42" in words(
        answer.content.decode()
    )
    with tenant_scope(tenant.id):
        spans = [
            (r.price_usd, span_words(r.effective_from, r.effective_to, tenant.zone))
            for r in list_rates(source="tenant")
        ]
    assert spans == [
        (Decimal("0.42"), "from 1 Jan 2026 until 1 Mar 2026"),
        (Decimal("0.50"), "from 1 Mar 2026"),
    ]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("provider", "", "Name the provider"),
        ("model", "x" * 300, "At most 200 characters"),
        ("meter", "breaths", "Choose what is counted"),
        ("price", "", "Give the price in USD per million"),
        ("price", "0,15", "Write the price with a point"),
        ("price", "cheap", "A price is a number"),
        ("price", "NaN", "A price is a number"),
        ("price", "-1", "the price is 0 or more, not -1"),
        ("price", "1e-30", "the price has at most 18 decimals"),
        ("effective_from", "1 May", "A day is written 2026-11-01"),
        ("kind", "sky", "Choose cloud or local"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_nothing_is_recorded(
    tenant: TenantInfo, sign_in: SignIn, field: str, value: str, said: str
) -> None:
    response = sign_in("admin").post("/pricing/rates", OWN | {field: value})
    assert response.status_code == 422
    page = response.content.decode()
    error = re.search(rf'id="rate-{field}-error">(.*?)</p>', page)
    assert error is not None
    assert said in html.unescape(error[1])
    assert field == "kind" or 'aria-invalid="true"' in page
    assert own_rates(tenant) == []


BATCH = OWN | {"variant": "processing:batch", "price": "0.2"}


def test_a_rate_for_some_requests_stands_beside_the_one_for_all(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    client = sign_in("admin")
    client.post("/pricing/rates", OWN)
    said = words(client.post("/pricing/rates", BATCH).content.decode())
    assert "llama-3.3-70b: output (batch) costs 0.20 USD per million from 1 Jan 2026." in said
    assert "own rate for batch" in said
    given = {"tier_start_tokens": "200_000", "window_start": "22:00", "window_end": "00:00"}
    answer = client.post("/pricing/rates", BATCH | given).content.decode()
    assert "(batch, over 200,000 input tokens, 22:00 to 24:00 UTC)" in words(answer)
    # What was said of the requests stands for the next meter's price, and in the open.
    assert re.search(r'only-for" open', answer)
    assert 'value="processing:batch" selected' in answer
    later = BATCH | {"price": "0.1", "effective_from": "2026-03-01"}
    changed = words(client.post("/pricing/rates", later).content.decode())
    assert "output (batch) costs 0.10 USD per million from 1 Mar 2026, after 0.20." in changed
    with tenant_scope(tenant.id):
        rates = [
            (r.price_usd, r.when, r.tier_start_tokens, r.window_start_s, r.window_end_s)
            for r in list_rates(source="tenant")
        ]
    batch = {"processing": "batch"}
    assert rates == [
        (Decimal("0.42"), {}, 0, 0, 86_400),
        (Decimal("0.2"), batch, 200_000, 79_200, 86_400),
        (Decimal("0.2"), batch, 0, 0, 86_400),
        (Decimal("0.1"), batch, 0, 0, 86_400),
    ]


def test_a_backend_with_own_rates_for_some_requests_keeps_whose_price_it_has(
    tenant: TenantInfo, post_events: Post, sign_in: SignIn
) -> None:
    post_events(native_event())
    client = sign_in("admin")
    mini = {"provider": "openai", "model": "gpt-4o-mini", "kind": "cloud", "effective_from": ""}
    client.post("/pricing/rates", BATCH | mini)
    page = words(read(client))
    assert "The one backend has a price , by the catalogue." in page
    assert "catalogue always own rate for batch" in page
    assert "gpt-4o-mini" in read(client, "/pricing?source=tenant")
    history = words(read(client, "/pricing/backend?open=openai/gpt-4o-mini"))
    assert "output batch own rate 0.20 always further notice" in history


def test_the_form_says_that_its_hours_are_utc_and_hides_what_is_rare(
    tenant: TenantInfo, make_tenant: MakeTenant, sign_in: SignIn
) -> None:
    nepal = make_tenant(time_zone="Asia/Kathmandu")
    page = read(sign_in("admin", tenant_id=nepal.id))
    assert "Asia/Kathmandu is UTC+05:45 today" in words(page)
    assert not re.search(r'only-for" open', page)


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        ({"variant": "processing:dream"}, "variant", "Choose which requests"),
        ({"tier_start_tokens": "many"}, "tier_start_tokens", "is written 200000"),
        ({"tier_start_tokens": "99999999999"}, "tier_start_tokens", "from 0 to 10000000000"),
        ({"window_start": "22:00"}, "window_end", "Give both times"),
        ({"window_end": "22:00"}, "window_start", "Give both times"),
        ({"window_start": "late", "window_end": "22:00"}, "window_start", "is written 22:00"),
        ({"window_start": "22:00", "window_end": "06:00"}, "window_end", "record two rates"),
        ({"window_start": "06:00", "window_end": "06:00"}, "window_end", "is empty"),
    ],
)
def test_what_is_wrong_with_a_condition_is_said_at_its_field(
    tenant: TenantInfo, sign_in: SignIn, given: dict[str, str], field: str, said: str
) -> None:
    response = sign_in("admin").post("/pricing/rates", OWN | given)
    assert response.status_code == 422
    page = response.content.decode()
    error = re.search(rf'id="rate-{field}-error">(.*?)</p>', page)
    assert error is not None
    assert said in html.unescape(error[1])
    assert re.search(r'only-for" open', page)
    assert own_rates(tenant) == []


def test_hours_within_those_of_a_standing_rate_are_refused(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    client = sign_in("admin")
    client.post("/pricing/rates", OWN)
    night = {"window_start": "22:00", "window_end": "24:00"}
    page = words(client.post("/pricing/rates", OWN | night).content.decode())
    assert "change that rate instead, or end it and give each part of the day a rate" in page
    assert len(own_rates(tenant)) == 1


def test_a_rate_before_the_one_that_stands_is_refused_at_its_day(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    client = sign_in("admin")
    client.post("/pricing/rates", OWN)
    refused = client.post("/pricing/rates", OWN | {"effective_from": ""})
    assert refused.status_code == 422
    assert "already costs 0.42" in refused.content.decode()
    assert "rate-effective_from-error" in refused.content.decode()
    assert len(own_rates(tenant)) == 1


def test_a_backend_cannot_change_its_kind_with_its_price(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    client = sign_in("admin")
    client.post("/pricing/rates", OWN)
    later = OWN | {"effective_from": "2026-03-01"}
    for given in (later | {"kind": "cloud"}, later | {"kind": "cloud", "meter": "input_tokens"}):
        refused = client.post("/pricing/rates", given)
        assert refused.status_code == 422
        assert "rate-kind-error" in refused.content.decode()


def test_a_rate_ends_on_a_day(tenant: TenantInfo, sign_in: SignIn) -> None:
    client = sign_in("admin")
    client.post("/pricing/rates", OWN)
    with tenant_scope(tenant.id):
        (rate,) = list_rates(source="tenant")
    key = f"{rate.provider}/{rate.model}"
    form = {"rate_id": rate.number, "open": key}
    for day, said in (("2025-01-01", "before it starts"), ("soon", "Give the day")):
        refused = client.post("/pricing/rates/end", form | {"ends_on": day})
        assert refused.status_code == 422
        error = re.search(
            rf'id="ends-{rate.number}-error">(.*?)</p>', refused.content.decode(), re.DOTALL
        )
        assert error is not None
        assert said in error[1]
    ended = client.post("/pricing/rates/end", form | {"ends_on": "2026-02-01"})
    assert "The rate ends on 1 Feb 2026." in words(ended.content.decode())
    with tenant_scope(tenant.id):
        (rate,) = list_rates(source="tenant")
    assert rate.effective_to == datetime(2026, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize("rate_id", ["", "x", "9" * 30, "123456789"])
def test_a_rate_that_is_not_there_cannot_end(
    tenant: TenantInfo, sign_in: SignIn, rate_id: str
) -> None:
    given = {"rate_id": rate_id, "open": "", "ends_on": "2026-02-01"}
    assert sign_in("admin").post("/pricing/rates/end", given).status_code == 422


def test_a_viewer_sees_prices_and_no_form(
    tenant: TenantInfo, post_events: Post, sign_in: SignIn
) -> None:
    post_events([native_event(), native_event(provider="nobody", model="unheard-of-1")])
    client = sign_in("viewer")
    page = read(client, "/pricing?open=openai/gpt-4o-mini")
    assert "rate-form" not in page
    assert "add a rate" not in page
    assert "genai-prices" in page
    assert client.post("/pricing/rates", OWN).status_code == 403
    assert client.post("/pricing/rates/end", {"rate_id": "1"}).status_code == 403
    assert own_rates(tenant) == []


def test_rates_of_another_tenant_are_neither_shown_nor_changed(
    tenant: TenantInfo, make_tenant: MakeTenant, sign_in: SignIn
) -> None:
    sign_in("admin").post("/pricing/rates", OWN)
    with tenant_scope(tenant.id):
        (rate,) = list_rates(source="tenant")
    other = make_tenant(name="Other")
    there = sign_in("admin", tenant_id=other.id)
    assert "llama-3.3-70b" not in read(there)
    refused = there.post("/pricing/rates/end", {"rate_id": rate.number, "ends_on": "2026-02-01"})
    assert refused.status_code == 422
    key = f"{rate.provider}/{rate.model}"
    assert there.get(f"/pricing/backend?open={key}").status_code == 404
    assert len(own_rates(tenant)) == 1


def test_the_list_is_searched_and_narrowed(
    tenant: TenantInfo, post_events: Post, sign_in: SignIn
) -> None:
    post_events([native_event(), native_event(provider="nobody", model="unheard-of-1")])
    client = sign_in("viewer")

    def listed(query: str) -> list[str]:
        part = client.get(f"/pricing?{query}", headers={"HX-Request": "true"}).content.decode()
        assert "<html" not in part
        return [name for name in ("gpt-4o-mini", "unheard-of-1") if f"</span>{name}" in part]

    assert listed("q=GPT") == ["gpt-4o-mini"]
    assert listed("source=unpriced") == ["unheard-of-1"]
    assert listed("kind=cloud&source=nonsense") == ["gpt-4o-mini", "unheard-of-1"]
    assert "No backend is like that" in read(client, "/pricing?q=nothing-like-it")


def test_one_backend_opens_and_closes_in_place(
    tenant: TenantInfo, post_events: Post, sign_in: SignIn
) -> None:
    post_events(native_event())
    client = sign_in("viewer")
    opened = read(client, "/pricing/backend?open=openai/gpt-4o-mini")
    assert 'aria-expanded="true"' in opened
    assert "by genai-prices" in words(opened)
    closed = read(client, "/pricing/backend?open=openai/gpt-4o-mini&closed")
    assert 'aria-expanded="false"' in closed
    assert client.get("/pricing/backend?open=no/such").status_code == 404


def test_names_are_never_markup(tenant: TenantInfo, sign_in: SignIn) -> None:
    name = "<script>alert(1)</script>"
    sign_in("admin").post("/pricing/rates", OWN | {"model": name})
    client = sign_in("admin")
    for address in ("/pricing", "/pricing?provider=<b>x&model=<b>y&q=<b>z"):
        page = read(client, address)
        assert "<script>alert" not in page
        assert "<b>" not in page.replace('<p class="who"><b>', "")


def test_statements_do_not_grow_with_backends(
    tenant: TenantInfo, post_events: Post, sign_in: SignIn
) -> None:
    client = sign_in("admin")
    counts = []
    for size in (1, 12):
        post_events([native_event(provider="nobody", model=f"m-{n}") for n in range(size)])
        read(client)
        with CaptureQueriesContext(connection) as captured:
            read(client)
        counts.append(len(captured))
    assert counts[0] == counts[1]


def test_statements_of_a_history_do_not_grow_with_its_rates(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    client = sign_in("admin")
    now = datetime.now(UTC)
    counts = []
    for year in range(2020, 2024):
        with tenant_scope(tenant.id):
            add_rate(
                provider="acme",
                model="one",
                meter="input_tokens",
                price_usd_per_mtok=Decimal(year),
                effective_from=datetime(year, 1, 1, tzinfo=UTC),
                effective_to=datetime(year, 6, 1, tzinfo=UTC),
                actor="test",
                now=now + timedelta(microseconds=year),
            )
        with CaptureQueriesContext(connection) as captured:
            read(client, "/pricing/backend?open=acme/one")
        counts.append(len(captured))
    assert counts[1] == counts[-1]


# The sentences


def price(
    name: str, source: str | None = "catalogue", output: str | None = None, since: str | None = None
) -> BackendPrice:
    begins = datetime.fromisoformat(since) if since else None
    return BackendPrice(name, source, Decimal(output) if output else None, begins)


def test_the_answer_says_whose_prices_the_extremes_and_the_newest() -> None:
    backends = [
        price("mini", output="0.6"),
        price("opus", output="75", since="2026-10-31T23:00:00+00:00"),
        price("llama", "tenant", "0.42"),
        price("odd", None),
    ]
    assert plain(pricing_answer(backends, BERLIN)) == (
        "3 of 4 backends have a price: 2 by the catalogue and 1 by your own rates."
        " A million output tokens cost from 0.42 USD on llama to 75.00 on opus."
        " The newest price is opus’s, since 1 Nov 2026."
    )


@pytest.mark.parametrize(
    ("backends", "expected"),
    [
        ([price("a"), price("b")], "All 2 backends have a price, by the catalogue."),
        ([price("a", "default")], "The one backend has a price, by your default rate."),
        ([price("a", None), price("b", None)], "No backend has a price yet."),
        ([price("a", output="2"), price("b", output="2")], "All 2 backends have a price, by the"),
    ],
)
def test_the_answer_says_no_more_than_there_is(backends: list[BackendPrice], expected: str) -> None:
    answer = plain(pricing_answer(backends, BERLIN))
    assert answer.startswith(expected)
    assert "million" not in answer


def test_unpriced_models_in_one_sentence() -> None:
    assert unpriced_title(1, 1) == "1 model has no price: 1 request this month"
    assert unpriced_title(0, 2) == (
        "2 requests this month have a rate by now: reprice to charge them"
    )
    assert unpriced_title(3, 1204) == "3 models have no price: 1,204 requests this month"


def test_what_a_rate_is_for_in_words() -> None:
    assert condition_words({}, 0, 0, 86_400) == ""
    assert condition_words({"service_tier": "flex"}, 200_000, 59_400, 1_800 + 59_400) == (
        "flex, over 200,000 input tokens, 16:30 to 17:00 UTC"
    )


def test_when_a_rate_is_in_force_in_words() -> None:
    begins = datetime(2026, 10, 31, 23, tzinfo=UTC)
    assert span_words(begins, None, BERLIN) == "from 1 Nov 2026"
    assert span_words(None, begins, ZoneInfo("UTC")) == "until 31 Oct 2026, 23:00"
    assert span_words(None, None, BERLIN) == "always"


def test_unresolved_name_is_mapped_to_a_priced_model(
    tenant: TenantInfo, post_events: Post, sign_in: SignIn
) -> None:
    post_events([native_event(provider="openai", model="our-gpt")])
    given = {"provider": "openai", "model": "our-gpt", "meaning": "openai/gpt-4o-mini"}
    assert sign_in("viewer").post("/pricing/map", given).status_code == 403
    admin = sign_in("admin")
    page = words(admin.post("/pricing/map", given).content.decode())
    assert "openai/our-gpt is priced as openai/gpt-4o-mini from now on" in page
    post_events([native_event(provider="openai", model="our-gpt")])
    with tenant_scope(tenant.id), connection.cursor() as cursor:
        cursor.execute("SELECT cost_usd::text FROM usage_ledger ORDER BY id")
        assert [row[0] for row in cursor.fetchall()] == [None, "0.000225000000000000000000"]


@pytest.mark.parametrize("meaning", ["", "gpt-4o-mini", "openai/no-such-model", "a/b\0c"])
def test_mapping_to_what_has_no_price_is_refused_at_the_field(
    tenant: TenantInfo, post_events: Post, sign_in: SignIn, meaning: str
) -> None:
    post_events([native_event(provider="openai", model="our-gpt")])
    given = {"provider": "openai", "model": "our-gpt", "meaning": meaning}
    response = sign_in("owner").post("/pricing/map", given)
    assert response.status_code == 422
    assert 'aria-invalid="true"' in response.content.decode()
