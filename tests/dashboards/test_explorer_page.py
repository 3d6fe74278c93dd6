"""The explorer: its address, its groups, its charges, its files, its saved views."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pyarrow.parquet as pq
import pytest
from django.db import connection
from django.http import QueryDict
from django.test import Client
from django.utils.html import escape

from apps.dashboards.explorer.state import MAX_DAYS, read_explorer_state
from apps.tenants.exchange import set_rate
from apps.tenants.organisation import change_tenant
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.usage.dimensions import tag_dimension
from apps.usage.selectors import SpendQuery, read_spend
from tests.conftest import native_event

NOW = datetime.now(UTC)


@pytest.fixture
def seen(post_events: Callable[..., Any], sign_in: Callable[..., Client]) -> Client:
    """A viewer of some usage: three models, two customers, one of them =odd."""
    usage = {"input_tokens": 10, "output_tokens": 5}
    post_events(
        [native_event(model=m, customer="=odd") for m in ("gpt-4o", "gpt-4o-mini", "o3")]
        + [
            native_event(model="gpt-4o", customer="umbra", usage=usage, latency_ms=n)
            for n in (1, 4)
        ]
        + [native_event(model="home-grown", provider="nobody")]
    )
    return sign_in()


def state_of(query: str) -> Any:
    return read_explorer_state(QueryDict(query))


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?measure=latency_ms&group_by=customer%2Cmodel&interval=week&period=90d&top=100",
        "?first=2026-03-01&last=2026-03-31&model=a%26b&model=c&department=",
    ],
)
def test_an_address_reads_back_as_itself(query: str) -> None:
    assert state_of(query.removeprefix("?")).query() == query


def test_what_an_address_gets_wrong_falls_back() -> None:
    wrong = "measure=joy&group_by=colour&interval=blink&period=ever&top=7&first=x&model=a%00b"
    assert state_of(wrong) == state_of("")
    long = state_of("first=1999-01-01&last=2026-01-01")
    assert long.first is None
    far = state_of("first=2001-01-01&last=2026-01-01")
    assert (far.last - far.first).days == MAX_DAYS - 1


def test_a_value_pressed_narrows_and_splits_further() -> None:
    state = state_of("group_by=customer").drilled("customer", "umbra")
    assert (state.group_by, state.filters) == (("model",), (("customer", "umbra"),))
    assert state.drilled("model", "o3").group_by == ("task",)
    assert state_of("group_by=model,task").drilled("model", "o3").group_by == ("task",)


def test_groups_add_up_and_lead_on(seen: Client) -> None:
    page = seen.get("/explorer?group_by=customer,model").content.decode()
    assert "no customer" in page
    assert "where=customer%3Aumbra&amp;where=model%3Agpt-4o" in page
    assert "6</td>" in page.split('id="explorer-all"')[1]


def test_controls_get_the_part_and_its_address(seen: Client) -> None:
    headers = {"HX-Request": "true"}
    answer = seen.get(
        "/explorer?measure=requests&group_by=model&and=&interval=day", headers=headers
    )
    assert answer.headers["HX-Push-Url"] == "/explorer?measure=requests"
    assert answer.content.lstrip().startswith(b'<div class="explorer"')


def test_every_measure_dimension_and_interval_is_shown(seen: Client) -> None:
    from apps.dashboards.explorer.measures import MEASURES
    from apps.dashboards.explorer.state import DIMENSIONS, INTERVALS

    for measure in MEASURES:
        assert seen.get(f"/explorer?measure={measure}&interval=none").status_code == 200
    for dimension in DIMENSIONS:
        answer = seen.get(f"/explorer?group_by={dimension}&interval=none")
        assert answer.status_code == 200
        assert len(seen.get(f"/explorer/values?narrow={dimension}").content) > 30
    for interval in INTERVALS:
        assert seen.get(f"/explorer?measure=latency_ms&interval={interval}").status_code == 200


def test_beyond_the_top_is_summed(seen: Client, post_events: Callable[..., Any]) -> None:
    post_events([native_event(project=f"p{n:02}") for n in range(20)])
    lines = read_csv(seen.get("/explorer/export.csv?group_by=project&measure=requests"))
    assert [line["row"] for line in lines] == ["group"] * 10 + ["rest", "all"]
    assert sum(int(line["requests"]) for line in lines[:-1]) == int(lines[-1]["requests"]) == 26


def read_csv(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.content.decode())))


def test_files_carry_every_digit_of_what_is_shown(seen: Client) -> None:
    lines = read_csv(seen.get("/explorer/export.csv?group_by=customer"))
    assert [line["customer"] for line in lines] == ["'=odd", "umbra", "", ""]
    assert sum(Decimal(line["cost_usd"] or 0) for line in lines[:-1]) == Decimal(
        lines[-1]["cost_usd"]
    )
    body = seen.get("/explorer/export.parquet?group_by=customer").content
    table = pq.read_table(io.BytesIO(body)).to_pylist()
    assert [row["cost_usd"] or 0 for row in table] == [
        Decimal(line["cost_usd"] or 0) for line in lines
    ]
    assert table[0]["customer"] == "=odd"
    assert seen.get("/explorer/export.xlsx").content[:2] == b"PK"
    days = read_csv(seen.get("/explorer/export.csv?of=time"))
    assert sum(Decimal(day["all"]) for day in days) == Decimal(lines[-1]["cost_usd"])
    assert seen.get("/explorer/export.pdf").status_code == 404


def test_charges_behind_a_group_are_those_that_it_counts(seen: Client) -> None:
    day = NOW.date()
    span = f"first={day - timedelta(days=1)}&last={day + timedelta(days=1)}"
    page = seen.get(f"/charges?{span}&where=customer:umbra&where=model:gpt-4o").content.decode()
    assert page.count('<th scope="row">') == 2
    page = seen.get(f"/charges?{span}&where=customer:&where=nonsense:x").content.decode()
    assert page.count('<th scope="row">') == 1


def test_views_are_kept_shared_renamed_and_taken_away(
    seen: Client, sign_in: Callable[..., Client]
) -> None:
    other, admin = sign_in("viewer"), sign_in("admin")

    def post(client: Client, **fields: str) -> Any:
        return client.post("/explorer/views", fields, headers={"HX-Request": "true"})

    here = "?measure=requests&group_by=customer"
    assert b"you find it below" in post(seen, name=" My  view ", here=here).content
    assert b"My view" not in other.get("/explorer").content
    post(seen, name="my view", here=here, shared="1")
    page = other.get("/explorer").content.decode()
    assert f'href="/explorer{here.replace("&", "&amp;")}"' in page
    assert "shared by" in page
    view_id = view_ids(admin)[0]
    assert post(other, action="delete", view_id=view_id, here="").status_code == 422
    assert post(seen, name="", here="").status_code == 422
    assert (
        b"new name" in post(admin, action="rename", view_id=view_id, name="Ours", here="").content
    )
    assert b"Ours" in seen.get("/explorer").content
    assert b"The view is gone" in post(seen, action="delete", view_id=view_id, here="").content
    assert view_ids(seen) == []


def view_ids(client: Client) -> list[str]:
    page = client.get("/explorer").content.decode()
    return [part.split('"')[0] for part in page.split('name="view_id" value="')[1:]]


def test_the_figure_says_what_the_table_says(seen: Client) -> None:
    page = seen.get("/explorer?interval=none&group_by=customer&measure=requests").content.decode()
    figure = json.loads(page.split('id="explorer-json" type="application/json">')[1].split("<")[0])
    assert figure["data"][-1]["x"] == [3.0, 2.0, 1.0]


def test_spend_is_shown_in_the_tenants_own_currency_with_the_usd_beside(
    tenant: TenantInfo, seen: Client
) -> None:
    now = datetime.now(UTC)
    with tenant_scope(tenant.id):
        change_tenant(name="Acme", currency="EUR", country="", actor="olga", now=now)
    unrated = seen.get("/explorer?period=7d").content.decode()
    assert "Shown in USD: 1 day from" in unrated
    assert "spend, USD" in unrated
    usd = csv_of(seen, "period=7d&group_by=customer")
    with tenant_scope(tenant.id):
        # A midnight may pass in mid-test: a rate holds for seven days.
        set_rate(day=tenant.local_date(now), per_usd=Decimal("0.5"), actor="olga", now=now)
    shown = seen.get("/explorer?period=7d").content.decode()
    assert "spend, EUR" in shown
    assert "Money is EUR" in shown
    assert 'value="cost_reported" selected>Spend in EUR<' in shown
    own = csv_of(seen, "period=7d&group_by=customer")
    assert [row["cost_usd"] for row in own] == [row["cost_usd"] for row in usd]
    priced = [row for row in own if row["cost_usd"]]
    assert len(priced) > 2
    for row in priced:
        assert Decimal(row["cost_eur"]) == Decimal(row["cost_usd"]) / 2
    assert "spend, USD" in seen.get("/explorer?period=7d&measure=cost_usd").content.decode()
    long = seen.get("/explorer?first=2025-01-01&last=2026-12-31").content.decode()
    assert "More than 400 days are shown in USD." in long


def csv_of(client: Client, query: str) -> list[dict[str, str]]:
    text = client.get(f"/explorer/export.csv?{query}").content.decode()
    return list(csv.DictReader(io.StringIO(text)))


def test_it_is_split_by_a_tag_within_bounds(
    tenant: TenantInfo, post_events: Callable[..., Any], sign_in: Callable[..., Client]
) -> None:
    viewer = sign_in()
    assert "<optgroup" not in viewer.get("/explorer?period=7d").content.decode()
    tags = [{"team": "red", "run": "1"}, {"team": "red"}, {"team": "=blue"}, {"run": "2"}]
    post_events([native_event(), *(native_event(tags=one, customer="acme") for one in tags)])
    page = viewer.get("/explorer?period=7d&group_by=tag.team").content.decode()
    # The commonest first, to choose from.
    option = '<option value="tag.team" selected>team</option><option value="tag.run">run</option>'
    assert option in page
    assert ">tag team</button>" in page
    assert "no tag team" in page
    sums = {r["tag.team"]: r["requests"] for r in csv_of(viewer, "period=7d&group_by=tag.team")}
    assert sums == {"red": "2", "'=blue": "1", "": "5"}
    rows = csv_of(viewer, "period=7d&group_by=tag.run,customer")
    groups = {(r["tag.run"], r["customer"]): r["cost_usd"] for r in rows if r["row"] == "group"}
    assert groups == {
        ("1", "acme"): "0.000225",
        ("2", "acme"): "0.000225",
        ("", "acme"): "0.00045",
        ("", ""): "0.000225",
    }
    # As addresses said it before.
    assert rows == csv_of(viewer, "period=7d&group_by=tag,customer&tag=run")
    whole = csv_of(viewer, "period=7d&group_by=customer")[-1]
    assert [rows[-1][name] for name in ("cost_usd", "requests")] == [
        whole[name] for name in ("cost_usd", "requests")
    ]
    for cut in ("hour", "day", "week", "month", "none"):
        assert viewer.get(f"/explorer?group_by=tag.team&interval={cut}").status_code == 200


def test_it_is_narrowed_to_what_carries_a_tag(
    tenant: TenantInfo, post_events: Callable[..., Any], sign_in: Callable[..., Client]
) -> None:
    viewer = sign_in()
    tags = ["red & blue", "green", ""]
    post_events([native_event(tags={"team: a": one}) for one in tags])
    post_events([native_event(customer="acme")])
    red = urlencode({"tag.team: a": "red & blue"})
    page = viewer.get(f"/explorer?period=7d&{red}").content.decode()
    assert 'aria-label="Tag team: a: red &amp; blue, remove"' in page
    assert page.count(escape(red)) > 3
    assert csv_of(viewer, f"period=7d&{red}")[-1]["requests"] == "1"
    either = urlencode([("tag.team: a", "green"), ("tag.team: a", "")])
    assert csv_of(viewer, f"period=7d&{either}")[-1]["requests"] == "3"
    assert csv_of(viewer, f"period=7d&{either}&customer=acme")[-1]["requests"] == "1"
    offered = viewer.get("/explorer/values?period=7d&narrow=tag.team%3A+a").content.decode()
    assert '<option value="red &amp; blue">red &amp; blue</option>' in offered
    # What the form sends becomes a filter as any other.
    sent = viewer.get("/explorer?period=7d&narrow=tag.team%3A+a&to=green").content.decode()
    assert "Tag team: a: green, remove" in sent


def test_more_than_can_be_looked_up_is_refused_in_words(
    tenant: TenantInfo,
    post_events: Callable[..., Any],
    sign_in: Callable[..., Client],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    viewer = sign_in()
    post_events([native_event(tags={"team": "red"})])
    long = viewer.get("/explorer?period=90d&tag.team=red")
    assert long.status_code == 200
    page = long.content.decode()
    assert "31 days and 1,000,000 requests at most" in page
    assert "Choose fewer days" in page
    assert "Tag team: red, remove" in page
    assert "/explorer?period=7d&amp;tag.team=red" in page
    file = viewer.get("/explorer/export.csv?period=90d&group_by=tag.team")
    assert file.status_code == 422
    assert b"this is about 9" in file.content
    values = viewer.get("/explorer/values?period=90d&narrow=tag.team").content
    assert b"too many requests" in values
    monkeypatch.setattr("apps.usage.tagged_sums.MAX_REQUESTS", 0)
    assert "this is about 1 requests" in viewer.get("/explorer?tag.team=red").content.decode()


def test_a_repriced_charge_stays_with_its_tag(
    tenant: TenantInfo, post_events: Callable[..., Any]
) -> None:
    """What corrects a request carries no tags of its own."""
    post_events([native_event(tags={"team": "red"}), native_event()])
    now = datetime.now(UTC)
    query = SpendQuery(start=now - timedelta(days=1), end=now + timedelta(hours=1))
    with tenant_scope(tenant.id), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO usage_ledger (tenant_id, id, kind, corrects_id, repricing_id, slice_id,"
            " occurred_at, received_at, source, event_id, uncached_input_tokens,"
            " cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, output_tokens,"
            " reasoning_tokens, cost_usd, rate_revision)"
            " SELECT tenant_id, id + 100, 1, id, 1, slice_id, occurred_at, received_at, source,"
            " event_id, 0, 0, 0, 0, 0, 0, 1, rate_revision"
            " FROM usage_ledger WHERE tenant_id = %s AND tags IS NOT NULL",
            [tenant.id],
        )
        rows = read_spend(replace(query, group_by=(tag_dimension("team"),))).rows
    assert {row.labels["tag.team"]: (row.cost_usd, row.requests) for row in rows} == {
        "red": (Decimal("1.000225"), 1),
        None: (Decimal("0.000225"), 1),
    }
