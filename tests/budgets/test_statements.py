"""Charge-back over HTTP: statements add up to the last digit, closed ones stay, changes follow."""

import csv
import io
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import ProgrammingError, connection
from django.test import Client

from apps.budgets.services import add_top_up
from apps.pricing.core.sharing import exact_sum
from apps.pricing.services import change_rate
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, get_tenant
from apps.tenants.services import create_department
from tests.budgets.asks import make_budget
from tests.budgets.test_budgets_api import Caller
from tests.conftest import Key, MakeTenant, make_key, native_event
from tests.usage.repricing_steps import own_rate
from tests.usage.repricing_steps import reprice as reprice_all

Post = Callable[..., dict[str, Any]]
NOW = datetime.now(UTC)
THIS = f"{NOW:%Y-%m}"
LAST_DAY = NOW.replace(day=1) - timedelta(days=1)
LAST = f"{LAST_DAY:%Y-%m}"
BEFORE_DAY = LAST_DAY.replace(day=1) - timedelta(days=1)
BEFORE = f"{BEFORE_DAY:%Y-%m}"


@pytest.fixture
def call(client: Client, tenant: TenantInfo) -> Caller:
    with tenant_scope(tenant.id):
        create_department(code="support", name="Support", now=NOW)
        create_department(code="desk", name="Help desk", now=NOW, parent_code="support")
    return Caller(client, tenant.id)


def event(day: datetime = NOW, **fields: Any) -> dict[str, Any]:
    """0.000225 USD on that day."""
    return native_event(timestamp=day.isoformat(), **fields)


def home_grown(day: datetime, tokens: int, **fields: Any) -> dict[str, Any]:
    usage = {"input_tokens": tokens, "output_tokens": 0}
    return event(day, provider="nobody", model="home-grown", usage=usage, **fields)


def read(call: Caller, month: str, payer: str = "department") -> dict[str, Any]:
    found: dict[str, Any] = call("GET", f"/statements?month={month}&payer={payer}")
    assert exact_sum(Decimal(r["total_usd"]) for r in found["rows"]) == Decimal(found["total_usd"])
    return found


def by_code(month: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["code"]: row for row in month["rows"]}


def spend(call: Caller) -> Decimal:
    """All that the tenant ever spent."""
    whole = call("GET", f"/spend?from={NOW.year - 1}-01-01&to={NOW.year + 1}-12-31")
    return Decimal(whole["total"]["cost_usd"])


def close(call: Caller, month: str) -> list[str]:
    made = call("POST", "/statements/closings", {"month": month, "reason": "month end"}, status=201)
    return list(made["months"])


def test_the_open_month_shows_spend_by_model_for_each_payer(
    call: Caller, post_events: Post
) -> None:
    post_events([event(department="support", customer="acme"), event(department="desk"), event()])
    month = read(call, THIS)
    rows = by_code(month)
    assert (month["is_closed"], month["total_usd"]) == (False, "0.000675")
    assert {code: row["total_usd"] for code, row in rows.items()} == {
        "support": "0.000225",
        "desk": "0.000225",
        "": "0.000225",
    }
    assert rows["support"]["charged_below_usd"] == "0.000225"
    (line,) = rows["desk"]["spend"]
    assert (line["requests"], line["of_month"]) == (1, None)
    assert line["model"].startswith("gpt-4o-mini")
    customers = by_code(read(call, THIS, "customer"))
    assert {code: row["total_usd"] for code, row in customers.items()} == {
        "acme": "0.000225",
        "": "0.00045",
    }


def test_the_balance_is_the_budget_less_what_was_charged(call: Caller, post_events: Post) -> None:
    budget_id = make_budget(call.tenant_id, "10", scope={"department": "support"})
    with tenant_scope(call.tenant_id):
        add_top_up(
            budget_id,
            Decimal(5),
            starts_at=NOW,
            ends_at=NOW + timedelta(days=60),
            actor="t",
            reason="r",
            now=NOW,
        )
    post_events([event(department="support"), event(department="desk")])
    row = by_code(read(call, THIS))["support"]
    assert (row["opening_budget_usd"], row["budget_change_usd"]) == ("10", "5")
    assert row["closing_balance_usd"] == "14.99955"


def test_shared_costs_are_split_and_the_split_is_shown(call: Caller, post_events: Post) -> None:
    post_events([event(department="support"), event(department="desk"), event(), event()])
    rule = {"name": "Overhead", "source": "unattributed", "rule": "even"}
    made = call("POST", "/shared-costs", rule, status=201)
    rows = by_code(read(call, THIS))
    assert "" not in rows
    (line,) = rows["desk"]["shared"]
    assert (line["name"], line["rule"], line["weight"], line["whole_weight"]) == (
        "Overhead",
        "even",
        "1",
        "2",
    )
    assert (line["pool_usd"], line["cost_usd"]) == ("0.00045", "0.000225")
    assert rows["desk"]["total_usd"] == "0.00045"
    call("DELETE", f"/shared-costs/{made['id']}", status=204)
    assert by_code(read(call, THIS))[""]["total_usd"] == "0.00045"


def test_a_closed_month_stays_and_changes_are_adjustments_in_the_open_one(
    call: Caller, key: Key, post_events: Post
) -> None:
    rate_id = own_rate(key, "10")
    post_events([home_grown(LAST_DAY, 1_000_000, department="support"), event(LAST_DAY)])
    assert close(call, LAST) == [LAST]
    closed = read(call, LAST)
    assert closed["is_closed"]
    assert by_code(closed)["support"]["total_usd"] == "10"
    # Late usage, then a correction of the price: both in the closed month.
    post_events([home_grown(LAST_DAY, 100_000, department="desk"), event(department="desk")])
    with tenant_scope(call.tenant_id):
        assert get_tenant().books_closed_through == LAST_DAY.date()
    assert read(call, LAST) == closed
    opened = by_code(read(call, THIS))
    (late,) = opened["desk"]["adjustments"]
    assert (late["of_month"], late["cost_usd"], late["requests"]) == (LAST, "1", 1)
    assert opened["desk"]["own_usd"] == "0.000225"
    _open_books_and_reprice(call, key, rate_id, "12")
    assert read(call, LAST) == closed
    opened = by_code(read(call, THIS))
    assert opened["support"]["adjustment_usd"] == "2"
    assert opened["desk"]["adjustment_usd"] == "1.2"
    everything = [Decimal(read(call, month)["total_usd"]) for month in (LAST, THIS)]
    assert exact_sum(everything) == spend(call)


def _open_books_and_reprice(call: Caller, key: Key, rate_id: int, price: str) -> None:
    from apps.usage.repricing import close_books

    close_books(call.tenant_id, None, actor="t", reason="a wrong price", now=NOW)
    with tenant_scope(call.tenant_id):
        change_rate(
            rate_id=rate_id,
            price_usd_per_mtok=Decimal(price),
            effective_from=datetime(2020, 1, 1, tzinfo=UTC),
            actor="test",
            now=datetime.now(UTC),
        )
    reprice_all(key)


def test_adjustments_are_reported_once_when_the_open_month_closes_too(
    call: Caller, post_events: Post
) -> None:
    post_events([event(BEFORE_DAY, department="support")])
    assert close(call, BEFORE) == [BEFORE]
    post_events([event(BEFORE_DAY, department="support"), event(LAST_DAY)])
    assert close(call, LAST) == [LAST]
    support = by_code(read(call, LAST))["support"]
    assert (support["own_usd"], support["adjustment_usd"]) == ("0", "0.000225")
    post_events([event(), event(LAST_DAY, department="desk")])
    opened = by_code(read(call, THIS))
    assert "support" not in opened
    assert opened["desk"]["adjustment_usd"] == "0.000225"
    totals = [Decimal(read(call, month)["total_usd"]) for month in (BEFORE, LAST, THIS)]
    assert exact_sum(totals) == spend(call)
    for payer in ("department", "customer"):
        assert exact_sum(
            Decimal(read(call, month, payer)["total_usd"]) for month in (BEFORE, LAST, THIS)
        ) == spend(call)


def test_closing_closes_the_open_months_before_it(call: Caller, post_events: Post) -> None:
    early = (BEFORE_DAY.replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    post_events([event(BEFORE_DAY), event(LAST_DAY)])
    close(call, early)
    assert close(call, LAST) == [BEFORE, LAST]
    listed = call("GET", "/statements/closings")["rows"]
    assert [row["month"] for row in listed] == [LAST, BEFORE, early]
    assert {row["actor"] for row in listed} == {"key router-1"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"month": THIS, "reason": "x"}, "month"),
        ({"month": "2031-01", "reason": "x"}, "month"),
        ({"month": LAST, "reason": " "}, "reason"),
        ({"month": "2026-13", "reason": "x"}, "month"),
        ({"month": LAST}, "reason"),
    ],
)
def test_what_cannot_be_closed_says_why(call: Caller, body: dict[str, str], field: str) -> None:
    problem = call("POST", "/statements/closings", body, status=422)
    assert problem["field"].rpartition(".")[2] == field
    assert call("GET", "/statements/closings")["rows"] == []


def test_a_closed_month_is_not_closed_again(call: Caller) -> None:
    close(call, LAST)
    body = {"month": LAST, "reason": "again"}
    assert "closed already" in call("POST", "/statements/closings", body, status=422)["detail"]


def test_a_closed_statement_cannot_be_changed_by_the_application(
    call: Caller, post_events: Post
) -> None:
    post_events([event(LAST_DAY)])
    close(call, LAST)
    for statement in (
        "UPDATE budgets_statement SET total_usd = 0",
        "DELETE FROM budgets_statement",
        "UPDATE budgets_reportedspend SET cost_usd = 0",
        "DELETE FROM budgets_monthclosing",
    ):
        with pytest.raises(ProgrammingError), tenant_scope(call.tenant_id):
            connection.cursor().execute(statement)


def test_csv_and_workbook_hold_every_line_to_the_last_digit(
    call: Caller, post_events: Post
) -> None:
    post_events([event(department="=1+1"), event(department="desk"), event()])
    call(
        "POST",
        "/shared-costs",
        {"name": "Rest", "source": "unattributed", "rule": "usage"},
        status=201,
    )
    headers = call.key.headers
    address = f"/api/v1/statements?month={THIS}&format="
    text = call.client.get(address + "csv", headers=headers).content.decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert exact_sum(Decimal(row["usd"]) for row in rows) == spend(call)
    assert {row["code"] for row in rows} == {"'=1+1", "desk"}
    assert "by usage: 0.000225 of 0.00045 USD" in text
    book = call.client.get(address + "xlsx", headers=headers)
    with zipfile.ZipFile(io.BytesIO(book.content)) as parts:
        names = parts.namelist()
        strings = parts.read("xl/sharedStrings.xml").decode()
        sheets = b"".join(parts.read(n) for n in names if n.startswith("xl/worksheets"))
    assert "0.0003375" in strings
    assert b"<f>" not in sheets


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"rule": "fixed"}, "weights"),
        ({"rule": "fixed", "weights": {"mars": "1"}}, "weights"),
        ({"rule": "fixed", "weights": {"desk": "0"}}, "weights"),
        ({"weights": {"desk": "1"}}, "weights"),
        ({"source": "department"}, "value"),
        ({"source": "department", "value": "mars"}, "value"),
        ({"source": "project"}, "value"),
        ({"rule": "by mood"}, "rule"),
        ({"name": ""}, "name"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(call: Caller, change: dict[str, Any], field: str) -> None:
    rule = {"name": "Overhead", "source": "unattributed", "rule": "even"} | change
    problem = call("POST", "/shared-costs", rule, status=422)
    assert problem["field"].rpartition(".")[2] == field


def test_walls_and_scopes(call: Caller, post_events: Post, make_tenant: MakeTenant) -> None:
    post_events([event(LAST_DAY, department="support")])
    rule = {"name": "Overhead", "source": "unattributed", "rule": "even"}
    made = call("POST", "/shared-costs", rule, status=201)
    close(call, LAST)
    stranger = make_key(make_tenant().id, "read", "manage")
    assert call("GET", f"/statements?month={LAST}", by=stranger)["rows"] == []
    assert call("GET", "/statements/closings", by=stranger)["rows"] == []
    assert call("GET", "/shared-costs", by=stranger)["rows"] == []
    call("DELETE", f"/shared-costs/{made['id']}", status=404, by=stranger)
    reader = make_key(call.tenant_id, "read")
    body = {"month": LAST, "reason": "x"}
    call("POST", "/statements/closings", body, status=403, by=reader)
    call("POST", "/shared-costs", rule, status=403, by=reader)
    call("DELETE", f"/shared-costs/{made['id']}", status=403, by=reader)
