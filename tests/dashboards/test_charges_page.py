"""The list of charges and a charge explained, as members get them, and their sentences."""

import html
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.dashboards.charges import page as charges_page
from apps.dashboards.charges.words import (
    Listed,
    charge_answer,
    charge_question,
    charges_answer,
    recomputed_words,
)
from apps.dashboards.sentences import plain
from apps.pricing.core.rating import ChargeLine, MeteredUsage
from apps.pricing.services import add_discount
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.usage import charges
from apps.usage.charges import Adjustment, Charge, Explanation, find_charge_id
from tests.conftest import Key, MakeTenant, native_event
from tests.usage.repricing_steps import home_grown, own_rate, reprice

Post = Callable[..., dict[str, Any]]
SignIn = Callable[..., Client]


def words(page: str) -> str:
    text = re.sub(r"<script.*?</script>", " ", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)))


def read(client: Client, address: str) -> str:
    response = client.get(address, follow=True)
    assert response.status_code == 200
    return words(response.content.decode())


def rows(client: Client, query: str = "") -> int:
    page = client.get(f"/charges?{query}").content.decode()
    return len(re.findall(r'href="/charges/\d+"', page))


@pytest.fixture
def usage(post_events: Post) -> None:
    post_events(
        [
            native_event(id="first", customer="acme", department="support"),
            native_event(model="gpt-4o", status="error", customer="globex"),
            native_event(id="odd", provider="nobody", model="unheard-of-1"),
        ]
    )


def test_charges_are_listed_with_what_they_cost(usage: None, sign_in: SignIn) -> None:
    read_ = read(sign_in("viewer"), "/charges")
    assert "What was each request charged?" in read_
    assert "0.000225 gpt-4o-mini-2024-07-18 acme support 1,000 200" in read_
    assert "unpriced unheard-of-1" in read_
    assert "gpt-4o error globex" in read_
    assert "1 without a price" in read_


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 3),
        ("model=gpt-4o", 1),
        ("customer=acme", 1),
        ("department=support", 1),
        ("status=error", 1),
        ("price=unpriced", 1),
        ("price=priced", 2),
        ("price=nonsense&span=nonsense&before=x", 3),
        ("customer=acme&status=error", 0),
        ("span=day", 3),
        ("model=%00gpt-4o", 1),
    ],
)
def test_the_list_is_narrowed(usage: None, sign_in: SignIn, query: str, count: int) -> None:
    assert rows(sign_in("viewer"), query) == count


def test_a_list_that_matches_nothing_says_so(usage: None, sign_in: SignIn) -> None:
    read_ = read(sign_in("viewer"), "/charges?customer=nobody")
    assert "No charge is like that in this span. Show the newest charges" in read_


def test_without_usage_the_page_says_how_to_send_some(tenant: TenantInfo, sign_in: SignIn) -> None:
    assert "Nothing has been spent yet" in read(sign_in("viewer"), "/charges")


def test_earlier_charges_follow_and_none_is_shown_twice(
    post_events: Post, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charges_page, "PAGE_SIZE", 2)
    post_events([native_event(customer="acme") for _ in range(5)])
    client = sign_in("viewer")
    seen: list[str] = []
    address = "/charges?customer=acme"
    for part in range(3):
        headers = {"HX-Request": "true"} if part else {}
        page = client.get(address, headers=headers).content.decode()
        assert ("<html" in page) == (part == 0)
        seen += re.findall(r'href="/charges/(\d+)"', page)
        following = re.search(r'hx-get="(/charges\?customer=acme[^"]*before=\d+)"', page)
        address = html.unescape(following[1]) if following else ""
    assert address == ""
    assert len(seen) == len(set(seen)) == 5
    assert seen == sorted(seen, key=int, reverse=True)


def test_a_charge_is_found_by_its_own_id_and_by_its_events(usage: None, sign_in: SignIn) -> None:
    client = sign_in("viewer")
    by_event = client.get("/charges?id=first")
    assert by_event.status_code == 302
    number = by_event.headers["Location"].rsplit("/", 1)[1]
    assert client.get(f"/charges?id={number}").headers["Location"] == f"/charges/{number}"
    assert "No charge has the id “<b>”" in read(client, "/charges?id=<b>")


def test_the_list_is_narrowed_to_a_tag(post_events: Post, sign_in: SignIn) -> None:
    post_events(
        [
            native_event(id="red", tags={"team": "red", "a:b": "1"}),
            native_event(id="blue", tags={"team": "blue"}),
            native_event(id="none"),
        ]
    )
    viewer = sign_in()

    def listed(query: str) -> int:
        return viewer.get(f"/charges?{query}").content.decode().count('<th scope="row">')

    assert [listed(q) for q in ("tag.team=red", "tag.team=", "tag.a%3Ab=1&tag.team=red")] == [1] * 3
    assert listed("tag.team=red&tag.team=blue") == 2
    untagged = viewer.get("/charges?tag.team=&where=department:").content.decode()
    assert "Tag team: no tag team, remove" in untagged
    assert "Department: no department, remove" in untagged
    # The form's own field, and the chip that it becomes.
    sent = viewer.get("/charges?tagged=team%3Dred").content.decode()
    assert "Tag team: red, remove" in sent
    assert '<input type="hidden" name="tag.team" value="red">' in sent
    assert listed("tagged=team%3Dred") == 1
    found = viewer.get("/charges?id=red", follow=True).content.decode()
    assert '<a class="link" href="/charges?tag.a%3Ab=1">1</a>' in found


def test_a_charge_is_explained_line_by_line(post_events: Post, sign_in: SignIn) -> None:
    post_events(native_event(id="one", reported_cost="0.0003"))
    read_ = read(sign_in("viewer"), "/charges?id=one")
    assert "Why did this request cost 0.000225 USD?" in read_
    assert "input 400 0.15 0.00006 " in read_
    assert "cache read 600 0.075 0.000045 " in read_
    assert "output 200 0.60 0.00012 " in read_
    assert "recomputed: same digits" in read_
    assert "reported, USD 0.0003 ours, USD 0.000225 difference, USD 0.000075" in read_
    assert "priced as openai/gpt-4o-mini catalogue" in read_
    assert "by genai-prices" in read_


def test_a_discount_is_a_line_of_its_own(
    tenant: TenantInfo, post_events: Post, sign_in: SignIn
) -> None:
    with tenant_scope(tenant.id):
        add_discount(
            provider="openai",
            percent=Decimal(20),
            effective_from=datetime(2026, 1, 1, tzinfo=UTC),
            actor="test",
            now=datetime.now(UTC),
        )
    post_events(native_event(id="one"))
    read_ = read(sign_in("viewer"), "/charges?id=one")
    assert "Why did this request cost 0.00018 USD?" in read_
    assert "discount on output, 20% 200 −0.12 −0.000024 from 1 Jan 2026" in read_


def test_what_has_no_price_says_why_and_what_to_do(usage: None, sign_in: SignIn) -> None:
    read_ = read(sign_in("admin"), "/charges?id=odd")
    assert "Why has this request no price?" in read_
    assert "No rate was known for nobody/unheard-of-1" in read_
    assert "Add a rate" in read_
    assert "See the prices" in read(sign_in("viewer"), "/charges?id=odd")


def test_repricing_shows_beside_the_first_charge(
    key: Key, post_events: Post, sign_in: SignIn
) -> None:
    post_events(home_grown(id="one"))
    own_rate(key, "2")
    reprice(key)
    read_ = read(sign_in("viewer"), "/charges?id=one")
    assert "Why did this request cost 0.002 USD?" in read_
    assert "Repriced once since: it is now 0.002 USD." in read_
    assert re.search(r"Repriced .*, run \d+: 0\.002 USD", read_)


def test_a_charge_of_another_tenant_is_not_there(
    tenant: TenantInfo, usage: None, make_tenant: MakeTenant, sign_in: SignIn
) -> None:
    with tenant_scope(tenant.id):
        charge_id = find_charge_id(source="default", event_id="first")
    here, there = sign_in("viewer"), sign_in("owner", tenant_id=make_tenant().id)
    assert here.get(f"/charges/{charge_id}").status_code == 200
    assert there.get(f"/charges/{charge_id}").status_code == 404
    for number in ("0", "9" * 30):
        assert here.get(f"/charges/{number}").status_code == 404
    assert Client().get(f"/charges/{charge_id}").status_code == 302


def test_a_search_that_reads_too_much_says_so(
    usage: None, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_long(*args: Any) -> list[Charge]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(1)")
        return []

    monkeypatch.setattr(charges, "LONGEST_SEARCH_MS", 5)
    monkeypatch.setattr(charges, "_read", too_long)
    assert "reads too much of the ledger" in read(sign_in("viewer"), "/charges")


def test_names_are_never_markup(post_events: Post, sign_in: SignIn) -> None:
    bad = "<script>alert(1)</script>"
    post_events(native_event(id=bad, customer=bad, model=bad, tags={bad: bad}))
    client = sign_in("viewer")
    (number,) = re.findall(r'href="/charges/(\d+)"', client.get("/charges").content.decode())
    for address in ("/charges", f"/charges/{number}", "/charges?model=<b>x"):
        page = client.get(address).content.decode()
        assert "<script>alert" not in page
        assert 'value="<b>x' not in page


def test_statements_do_not_grow_with_charges(post_events: Post, sign_in: SignIn) -> None:
    client = sign_in("viewer")
    counts = []
    for size in (1, 20):
        post_events([native_event(customer=f"c-{n}") for n in range(size)])
        client.get("/charges")
        with CaptureQueriesContext(connection) as captured:
            client.get("/charges")
        counts.append(len(captured))
    assert counts[0] == counts[1]


# The sentences

MOMENT = datetime(2026, 11, 1, 12, tzinfo=UTC)


def charge(cost: str | None = "0.3", **fields: Any) -> Charge:
    usd = None if cost is None else Decimal(cost)
    names = (n for n in Charge.__slots__ if n not in fields)
    empty: dict[str, Any] = dict.fromkeys(names)
    given: dict[str, Any] = {
        "id": 1,
        "occurred_at": MOMENT,
        "received_at": MOMENT,
        "model": "opus",
        "status": "success",
        "usage": MeteredUsage(),
        "first_cost_usd": usd,
        "cost_usd": usd,
        "rate_revision": 7,
    }
    return Charge(**(empty | given | fields))


def line(meter: str, quantity: int, price: str) -> ChargeLine:
    unit = Decimal(price)
    return ChargeLine(meter, quantity, unit, quantity * unit / 1_000_000, "catalogue:1", meter)


def explained(one: Charge, *lines: ChargeLine, **fields: Any) -> Explanation:
    whole = Explanation(
        charge=one,
        priced_as="anthropic/opus",
        price_source="catalogue",
        reason=None,
        lines=lines,
        rates=(),
        discounts=(),
        again_usd=one.first_cost_usd,
        reproduced=True,
        adjustments=(),
        moves=(),
    )
    return replace(whole, **fields)


def test_the_lists_answer_sums_and_names_the_dearest() -> None:
    many = [charge("0.1"), charge("0.5", customer="acme"), charge("0.2"), charge(None)]
    assert plain(charges_answer(Listed(many, has_more=True, narrowed=False))) == (
        "The 4 newest charges come to 0.80 USD; 1 without a price."
        " The dearest cost 0.50 USD, on opus for acme."
    )
    one = Listed([charge("0.1")], has_more=False, narrowed=True)
    assert plain(charges_answer(one)) == "The matching charge comes to 0.10 USD."
    assert charges_answer(Listed([], has_more=False, narrowed=False)) == ()


@pytest.mark.parametrize(
    ("cost", "question"),
    [
        (None, "Why has this request no price?"),
        ("0", "Why did this request cost nothing?"),
        ("0.000225", "Why did this request cost 0.000225 USD?"),
    ],
)
def test_the_title_asks_about_this_charge(cost: str | None, question: str) -> None:
    assert charge_question(charge(cost)) == question


def test_the_answer_is_the_arithmetic_in_words() -> None:
    one = charge("0.3", reported_cost_usd=Decimal("0.27"))
    told = charge_answer(
        explained(one, line("input_tokens", 10_000, "15"), line("output_tokens", 2_000, "75"))
    )
    assert plain(told) == (
        "10,000 input tokens at 15.00 and 2,000 output tokens at 75.00 USD per million come to"
        " 0.30 USD, by the catalogue’s prices. The router reported 0.03 USD less (−10%)."
    )


def test_a_long_charge_is_told_short_and_a_fee_is_no_token() -> None:
    fee = line("requests", 1, "12000")
    assert plain(charge_answer(explained(charge("0.012"), fee))).startswith(
        "1 request at 12,000.00 USD per million comes to 0.012 USD"
    )
    many = [line("input_tokens", 1, "1")] * 6
    assert plain(charge_answer(explained(charge("0.3"), *many))).startswith(
        "6 things that were counted, each times its price, come to 0.30 USD"
    )


def test_what_came_later_and_what_did_not_come_out_again_is_said() -> None:
    adjustment = Adjustment(2, MOMENT, Decimal("0.1"), 0, 5, 9)
    one = charge("0.4", first_cost_usd=Decimal("0.3"))
    told = explained(one, line("input_tokens", 1, "1"), adjustments=[adjustment])
    assert plain(charge_answer(told)).endswith(" Repriced once since: it is now 0.40 USD.")
    assert recomputed_words(told) == "recomputed: same digits"
    other = replace(told, again_usd=Decimal("0.31"), reproduced=False)
    assert recomputed_words(other).startswith("recomputed: 0.31 USD, other digits")
