"""Every page of spend says, in the tenant's own currency, what the ledger comes to day by day."""

import random
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.dashboards.periods import PERIOD_LABELS, Period, end_of_day, read_period
from apps.pricing.core.money import EXACT
from apps.tenants.exchange import set_rate
from apps.tenants.organisation import change_tenant
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.tenants.services import create_customer, create_department
from tests.conftest import make_key, native_event, roll_up

VALUES: dict[str, list[str]] = {
    "model": ["gpt-4o", "o3", "home-grown"],
    "customer": ["acme", "umbra"],
    "department": ["sales", "support"],
}
COLUMNS = {"model": "s.model", "customer": "c.external_id", "department": "d.code"}
# Page, its table, and which column of its last row holds the whole.
TABLES = ("models", "customers", "departments")
# What is told has twenty digits.
TOLERANCE = Decimal("1e-15")
DAYS_BACK = 130


@pytest.fixture
def acme(make_tenant: Callable[..., TenantInfo]) -> TenantInfo:
    """In Kathmandu, reports in EUR: events of months, rates on three days of four."""
    tenant = make_tenant(time_zone="Asia/Kathmandu")
    chance, now = random.Random(29), datetime.now(UTC)
    with tenant_scope(tenant.id):
        for code in VALUES["department"]:
            create_department(code=code, name=code.title(), now=now)
        for name in VALUES["customer"]:
            create_customer(external_id=name, name=name.title(), tier="premium", now=now)
        change_tenant(name="Acme", currency="EUR", country="", actor="olga", now=now)
        today = tenant.local_date(now)
        for back in range(DAYS_BACK + 8):
            if back % 4:
                rate = Decimal(chance.randrange(5 * 10**11, 2 * 10**12)).scaleb(-12)
                set_rate(day=today - timedelta(days=back), per_usd=rate, actor="olga", now=now)
    events = []
    for _ in range(150):
        about = {name: chance.choice([*values, None]) for name, values in VALUES.items()}
        about["model"] = about["model"] or "o3"
        at = now - timedelta(minutes=chance.randrange(DAYS_BACK * 24 * 60))
        usage = {"input_tokens": 1000 + chance.randrange(9000), "output_tokens": 900}
        revenue = {"revenue": "0.07"} if chance.random() < 0.3 else {}
        named = {name: value for name, value in about.items() if value is not None}
        events.append(native_event(timestamp=at.isoformat(), usage=usage, **named, **revenue))
    api = Client(headers=make_key(tenant.id).headers)
    answer = api.post("/api/v1/usage/events", events, content_type="application/json")
    assert answer.json()["accepted"] == len(events), answer.content
    roll_up(tenant.id)
    return tenant


def by_ledger(tenant: TenantInfo, period: Period, where: dict[str, str]) -> dict[date, Decimal]:
    """EUR of each local day: the ledger's cost times the rate that holds on it."""
    conditions = "".join(f" AND {COLUMNS[name]} = %s" for name in where)
    end = end_of_day(period.end, tenant.zone)
    with tenant_scope(tenant.id), connection.cursor() as cursor:
        cursor.execute(
            "SELECT day, coalesce(sum(cost_usd), 0)"
            " * (SELECT per_usd FROM tenants_exchangerate AS x"
            " WHERE x.tenant_id = %s AND x.day <= found.day ORDER BY x.day DESC LIMIT 1)"
            " FROM (SELECT (l.occurred_at AT TIME ZONE %s)::date AS day, l.cost_usd"
            " FROM usage_ledger AS l"
            " JOIN usage_slice AS s ON s.tenant_id = l.tenant_id AND s.id = l.slice_id"
            " LEFT JOIN tenants_customer AS c ON c.id = s.customer_id"
            " LEFT JOIN tenants_department AS d ON d.id = s.department_id"
            " WHERE l.tenant_id = %s AND l.occurred_at >= %s AND l.occurred_at < %s"
            f"{conditions}) AS found GROUP BY day",
            [tenant.id, tenant.time_zone, tenant.id, period.start, end, *where.values()],
        )
        return dict(cursor.fetchall())


class Tables(HTMLParser):
    """The exact values of a page's tables, cell by cell after a row's heading; None for a cell
    without. Tables go by their id, or the id before them; a second one there by that and a 2."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: dict[str, list[list[Decimal | None]]] = {}
        self._near = self._at = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._near = given.get("id") or self._near
        if tag == "table":
            self._at = self._near + ("2" if self._near in self.rows else "")
            self.rows[self._at] = []
        elif self._at and tag == "tr":
            self.rows[self._at].append([])
        elif self._at and tag == "td":
            self.rows[self._at][-1].append(None)
        elif self._at and tag == "data" and self.rows[self._at][-1][-1:] == [None]:
            self.rows[self._at][-1][-1] = Decimal(given["value"] or "")

    def handle_endtag(self, tag: str) -> None:
        self._at = "" if tag == "table" else self._at

    def column(self, name: str, place: int) -> list[Decimal]:
        """What is known of it."""
        return [row[place] or Decimal(0) for row in self.rows[name] if row]


def exact(values: Any) -> Decimal:
    whole = Decimal(0)
    for value in values:
        whole = EXACT.add(whole, value)
    return whole


def close(one: Decimal, other: Decimal) -> bool:
    return abs(EXACT.subtract(one, other)) < TOLERANCE


questions = st.fixed_dictionaries(
    {
        "page": st.sampled_from(TABLES),
        "period": st.sampled_from(sorted(PERIOD_LABELS)),
        "where": st.fixed_dictionaries(
            {}, optional={name: st.sampled_from(values) for name, values in VALUES.items()}
        ),
    }
)


def test_pages_say_what_the_ledger_comes_to(
    acme: TenantInfo, sign_in: Callable[..., Client]
) -> None:
    viewer = sign_in("viewer", acme.id)

    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(questions)
    def agree(asked: dict[str, Any]) -> None:
        period = read_period(asked["period"], acme.zone, datetime.now(UTC))
        days = by_ledger(acme, period, asked["where"])
        query = urlencode({"period": asked["period"], **asked["where"]})
        html = viewer.get(f"/{asked['page']}?{query}").content.decode()
        tables, name = Tables(html), f"{asked['page']}-table"
        if not days:
            assert name not in tables.rows
            return
        whole = exact(days.values())
        *lines, last = tables.column(name, _cost_place(html, asked["page"]))
        assert close(last, whole)
        # Departments here have no parts: every line is of its own.
        assert close(exact(lines), whole)
        figure = "days-numbers" if asked["page"] == "models" else "customer-numbers"
        shown = tables.column(figure, 0)
        assert close(exact(shown), whole)
        if asked["page"] == "models":
            told = sorted(value for value in days.values() if value)
            assert all(close(*pair) for pair in zip(sorted(filter(None, shown)), told, strict=True))

    agree()


def _cost_place(html: str, page: str) -> int:
    """Which cell of a row is the cost in EUR: of customers tier, margin and revenue are before."""
    if page != "customers":
        return 0
    table = re.search(r'<table id="customers-table">.*?</thead>', html, re.DOTALL)
    assert table is not None
    return 4 if "margin, EUR" in table[0] else 1


def test_the_overview_says_what_the_ledger_comes_to(
    acme: TenantInfo, sign_in: Callable[..., Client]
) -> None:
    viewer = sign_in("viewer", acme.id)
    for slug in PERIOD_LABELS:
        period = read_period(slug, acme.zone, datetime.now(UTC))
        whole = exact(by_ledger(acme, period, {}).values())
        tables = Tables(viewer.get(f"/?period={slug}").content.decode())
        assert close(tables.column("models-table", 0)[-1], whole)
        for name in ("days-numbers", "customer-numbers", "departments-table"):
            assert close(exact(tables.column(name, 0)), whole), name


def test_why_adds_up_with_what_a_usd_was_worth(
    acme: TenantInfo, sign_in: Callable[..., Client]
) -> None:
    """Lines and columns; and the change is that of the amounts."""
    viewer = sign_in("viewer", acme.id)
    for slug, by in (("30d", "model"), ("90d", "customer"), ("7d", "department")):
        period = read_period(slug, acme.zone, datetime.now(UTC))
        whole = exact(by_ledger(acme, period, {}).values())
        html = viewer.get(f"/why?period={slug}&by={by}").content.decode()
        assert ">exchange<" in html
        table = re.search(r'<table id="why-table">.*?</table>', html, re.DOTALL)
        assert table is not None
        rows = [
            [Decimal(value) for value in re.findall(r'(?:data-value|<data value)="([^"]+)"', row)]
            for row in re.findall(r"<tr>.*?</tr>", table[0], re.DOTALL)
        ]
        lines, last = [row for row in rows if row][:-1], rows[-1]
        assert close(last[1], whole)
        assert close(last[-1], EXACT.subtract(last[1], last[0]))
        for n in range(len(last)):
            assert close(exact(line[n] for line in lines), last[n])
        for row in (*lines, last):
            assert close(exact(row[2:-1]), row[-1])


def test_one_day_without_a_rate_makes_a_page_usd(
    acme: TenantInfo, sign_in: Callable[..., Client]
) -> None:
    """And it names the day: nothing is left out, nothing is mixed."""
    viewer, gone = sign_in("viewer", acme.id), datetime.now(UTC) - timedelta(days=60)
    with tenant_scope(acme.id), connection.cursor() as cursor:
        cursor.execute("DELETE FROM tenants_exchangerate WHERE day < %s", [gone.date()])
    html = viewer.get("/models?period=90d").content.decode()
    assert "no <a" in html
    assert "exchange rate</a> of EUR" in html
    assert re.search(r'<table id="models-table">.*?</thead>', html, re.DOTALL)
    assert ">EUR<" not in html
    assert ">EUR<" in viewer.get("/models?period=7d").content.decode()
