"""Budgets as people see and set them."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.budgets.book import Choices, forget_book
from apps.budgets.projections import refresh_projections
from apps.budgets.selectors import read_choices
from apps.budgets.services import change_amount
from apps.budgets.status import find_status, read_history, read_statuses
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, list_departments
from apps.tenants.services import create_department
from tests.budgets.asks import make_budget
from tests.conftest import MakeTenant, native_event

SignIn = Callable[..., Client]
Post = Callable[..., dict[str, Any]]
NEW = {
    "scope_field": "",
    "scope_value": "",
    "amount": "1,200.50",
    "unit": "usd",
    "period": "month",
    "on_limit": "refuse",
    "thresholds": "50, 80 100%",
    "projected_thresholds": "",
}
IN_PLACE = {"HX-Request": "true"}


def words(html: str) -> str:
    html = re.sub(r"<script.*?</script>", " ", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def text(answer: Any, status: int = 200) -> str:
    assert answer.status_code == status, answer.content[:500]
    return str(answer.content.decode())


def departments(tenant: TenantInfo) -> None:
    now = datetime.now(UTC)
    with tenant_scope(tenant.id):
        create_department(code="support", name="Support", now=now)
        create_department(code="desk", name="Help desk", now=now, parent_code="support")
        create_department(code="sales", name="Sales", now=now)


def amounts(tenant: TenantInfo) -> dict[str, Decimal]:
    with tenant_scope(tenant.id):
        return {
            "".join(s.standing.scope.values()): s.standing.amount
            for s in read_statuses(now=datetime.now(UTC))
        }


def test_without_budgets_the_page_says_what_to_do(tenant: TenantInfo, sign_in: SignIn) -> None:
    assert "Nothing is budgeted yet" in words(text(sign_in("viewer").get("/budgets")))
    assert "Add a budget" in text(sign_in("admin").get("/budgets"))


def test_a_budget_is_added_drawn_and_listed(
    tenant: TenantInfo, sign_in: SignIn, post_events: Post
) -> None:
    post_events([native_event()])
    admin = sign_in("admin")
    assert "The budget stands" in text(admin.post("/budgets/add", NEW))
    html = text(sign_in("viewer").get("/budgets"))
    assert "1 budget: is on course" in words(html)
    assert 'title="1,200.50 USD"' in html
    assert "Everything per month is on course for" in words(html)
    assert '"role": "limit"' in html
    with tenant_scope(tenant.id):
        (status,) = read_statuses(now=datetime.now(UTC))
    assert (status.terms.on_limit, list(status.terms.thresholds)) == ("refuse", [50, 80, 100])


def test_those_in_trouble_stand_first(
    tenant: TenantInfo, sign_in: SignIn, post_events: Post
) -> None:
    post_events([native_event() for _ in range(10)])
    make_budget(tenant.id, "1000", name="Plenty")
    make_budget(tenant.id, "0.001", name="Spent", on_limit="notify")
    html = text(sign_in("viewer").get("/budgets"))
    assert "Of 2 budgets 1 is used up ; 1 is on course." in words(html)
    table = html[html.index("budgets-table") :]
    assert table.index("Spent") < table.index("Plenty")
    assert "health-over" in table


def test_combined_scopes_and_grants_can_be_asked_for(tenant: TenantInfo, sign_in: SignIn) -> None:
    departments(tenant)
    both = {
        "scope_field": "department",
        "scope_value": "Support",
        "second_field": "kind",
        "second_value": "cloud",
        "period": "grant",
        "grant_start": "2026-01-01",
        "grant_end": "2026-12-31",
    }
    text(sign_in("admin").post("/budgets/add", NEW | both))
    with tenant_scope(tenant.id):
        (status,) = read_statuses(now=datetime(2026, 6, 1, tzinfo=UTC))
    assert status.standing.scope == {"department": "support", "kind": "cloud"}
    assert status.standing.period.end == datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"amount": ""}, "amount", "Give a number"),
        ({"amount": "1e5"}, "amount", "Give a number"),
        ({"amount": "-5"}, "amount", "from 0"),
        ({"scope_field": "department", "scope_value": "mars"}, "scope_value", "no department"),
        ({"scope_value": "mars"}, "scope_field", "Say what this is"),
        ({"second_field": "kind", "second_value": "x"}, "second_value", "cloud or local"),
        ({"thresholds": "half"}, "thresholds", "Give a number"),
        ({"thresholds": "2000"}, "thresholds", "not a threshold"),
        ({"period": "grant"}, "grant_start", "Give a day"),
        ({"period": "fortnight"}, "period", "Choose one"),
    ],
)
def test_what_cannot_be_is_said_at_its_field(
    tenant: TenantInfo, sign_in: SignIn, change: dict[str, str], field: str, says: str
) -> None:
    html = text(sign_in("admin").post("/budgets/add", NEW | change), 422)
    error = re.search(rf'id="new-{field}-error">([^<]*)<', html)
    assert error is not None, words(html)[-800:]
    assert says.lower() in error[1].lower()
    assert amounts(tenant) == {}


def test_a_change_is_dated_and_stands_in_the_history(
    tenant: TenantInfo, sign_in: SignIn, post_events: Post
) -> None:
    post_events([native_event()])
    budget_id = make_budget(tenant.id, "10", name="All")
    admin = sign_in("admin")
    change = {
        "amount": "25",
        "reason": "the launch",
        "on_limit": "throttle",
        "thresholds": "75",
        "projected_thresholds": "110",
        "name": "All of it",
    }
    html = text(admin.post(f"/budgets/{budget_id}/change", change, headers=IN_PLACE))
    assert 'id="budget"' in html[:60]
    assert "the launch" in html
    assert "10.00 USD → 25.00 USD" in words(html)
    with tenant_scope(tenant.id):
        status = find_status(budget_id, now=datetime.now(UTC))
        history = read_history(budget_id)
    assert (status.standing.amount, status.standing.spent) == (25, Decimal("0.000225"))
    assert (status.terms.name, status.terms.on_limit) == ("All of it", "throttle")
    assert "@example.org" in history.amounts[0].actor


def test_a_change_with_one_wrong_field_changes_nothing(tenant: TenantInfo, sign_in: SignIn) -> None:
    budget_id = make_budget(tenant.id, "10")
    change = {"amount": "25", "on_limit": "refuse", "thresholds": "0", "name": "x"}
    html = text(sign_in("admin").post(f"/budgets/{budget_id}/change", change), 422)
    assert "Nothing was changed" in html
    with tenant_scope(tenant.id):
        assert find_status(budget_id, now=datetime.now(UTC)).standing.amount == 10


def test_a_top_up_counts_through_its_last_day(tenant: TenantInfo, sign_in: SignIn) -> None:
    budget_id = make_budget(tenant.id, "10")
    today = tenant.local_date(datetime.now(UTC))
    top_up = {
        "amount": "5",
        "starts_on": today.isoformat(),
        "ends_on": today.isoformat(),
        "reason": "a fair",
    }
    html = text(sign_in("owner").post(f"/budgets/{budget_id}/top-up", top_up))
    assert "a fair" in html
    assert "stands" in words(html)
    with tenant_scope(tenant.id):
        assert find_status(budget_id, now=datetime.now(UTC)).standing.amount == 15
    missing = sign_in("owner").post(f"/budgets/{budget_id}/top-up", top_up | {"reason": ""})
    assert "Say why" in text(missing, 422)


def test_an_archived_budget_keeps_its_page_and_counts_nowhere(
    tenant: TenantInfo, make_tenant: MakeTenant, sign_in: SignIn
) -> None:
    budget_id = make_budget(tenant.id, "10", name="The old one")
    admin = sign_in("admin")
    ending = {"budget_id": budget_id, "reason": "the project is over"}
    answer = admin.post("/budgets/archive", ending)
    assert (answer.status_code, answer["Location"]) == (302, f"/budgets/{budget_id}")
    html = words(text(sign_in("viewer").get(f"/budgets/{budget_id}")))
    assert "It was archived on" in html
    assert re.search(r"by admin-\S+@example.org: the project is over\. Since then", html)
    assert "10.00 USD, a month, for everything. At its limit it refuses." in html
    assert admin.post("/budgets/archive", ending).status_code == 404
    assert admin.post(f"/budgets/{budget_id}/top-up", {"amount": "1"}).status_code == 404
    listed = text(admin.get("/budgets"))
    assert "Nothing is budgeted yet" in words(listed)
    assert f'<a href="/budgets/{budget_id}">The old one</a>' in listed
    other = make_tenant()
    assert sign_in("admin", other.id).get(f"/budgets/{budget_id}").status_code == 404


def test_viewers_see_and_change_nothing(tenant: TenantInfo, sign_in: SignIn) -> None:
    departments(tenant)
    budget_id = make_budget(tenant.id, "10", scope={"department": "support"})
    viewer = sign_in("viewer")
    for address in ("/budgets", f"/budgets/{budget_id}", "/budgets/departments"):
        html = text(viewer.get(address))
        assert '<form class="rate-form"' not in html
        assert 'name="amount' not in html
    for address in (
        "/budgets/add",
        "/budgets/archive",
        f"/budgets/{budget_id}/change",
        f"/budgets/{budget_id}/top-up",
        "/budgets/departments/set",
        "/budgets/departments/import",
    ):
        assert viewer.post(address, NEW).status_code == 403


def test_a_form_begins_with_the_amount_in_force_not_with_one_that_is_planned(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    budget_id, now = make_budget(tenant.id, "10"), datetime.now(UTC)
    with tenant_scope(tenant.id):
        change_amount(
            budget_id,
            Decimal("777"),
            actor="test",
            reason="the fair",
            now=now,
            effective_from=now + timedelta(days=40),
        )
    page = text(sign_in("admin").get(f"/budgets/{budget_id}"))
    assert 'value="10"' in page
    assert 'value="777"' not in page
    assert "the fair" in page


def tomorrow(tenant: TenantInfo, days: int = 1) -> str:
    return (tenant.local_date(datetime.now(UTC)) + timedelta(days=days)).isoformat()


def test_an_amount_is_planned_shown_and_withdrawn_on_its_page(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    budget_id = make_budget(tenant.id, "10", name="All")
    admin = sign_in("admin")
    change = {
        "amount": "25",
        "effective_on": tomorrow(tenant, 9),
        "reason": "the fair",
        "on_limit": "refuse",
        "name": "All",
    }
    html = text(admin.post(f"/budgets/{budget_id}/change", change, headers=IN_PLACE))
    assert "The amount is planned from" in html
    table = words(html[html.index("Table of planned changes") :])
    assert re.search(r"25\.00 the fair admin-\S+@example\.org", table)
    assert re.search(r"10\.00 USD → 25\.00 USD from \d+ \w+ 20\d\d", words(html))
    with tenant_scope(tenant.id):
        assert find_status(budget_id, now=datetime.now(UTC)).standing.amount == 10
        planned = read_history(budget_id).amounts[0]
    later = find_later(tenant, budget_id, days=10)
    assert later == 25
    assert "Withdraw the plan" not in text(sign_in("viewer").get(f"/budgets/{budget_id}"))
    withdrawal = {"amount_id": str(planned.id), "reason": "rain"}
    html = text(admin.post(f"/budgets/{budget_id}/withdraw", withdrawal, headers=IN_PLACE))
    assert "The plan is withdrawn" in html
    assert "Table of planned changes" not in html
    assert "plan withdrawn" in words(html)
    assert find_later(tenant, budget_id, days=10) == 10
    again = admin.post(f"/budgets/{budget_id}/withdraw", withdrawal)
    assert "Nothing was withdrawn" in text(again, 422)
    assert sign_in("viewer").post(f"/budgets/{budget_id}/withdraw", withdrawal).status_code == 403


def find_later(tenant: TenantInfo, budget_id: int, *, days: int) -> Decimal:
    with tenant_scope(tenant.id):
        then = datetime.now(UTC) + timedelta(days=days)
        return find_status(budget_id, now=then).standing.amount


def test_a_day_that_is_over_plans_nothing_and_todays_is_now(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    budget_id = make_budget(tenant.id, "10", name="All")
    admin, change = sign_in("admin"), {"amount": "25", "on_limit": "refuse", "name": "All"}
    over = admin.post(f"/budgets/{budget_id}/change", change | {"effective_on": "2020-01-01"})
    assert 'id="change-effective_on-error">That day is over' in text(over, 422)
    today = change | {"effective_on": tomorrow(tenant, 0)}
    assert "from now on" in text(admin.post(f"/budgets/{budget_id}/change", today))
    same = change | {"effective_on": tomorrow(tenant)}
    assert "nothing was planned" in text(admin.post(f"/budgets/{budget_id}/change", same))


def test_departments_amounts_are_planned_and_untouched_fields_plan_nothing(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    departments(tenant)
    ids = {}
    for code, amount in (("support", "100"), ("desk", "40")):
        ids[code] = make_budget(
            tenant.id, amount, scope={"department": code}, name=code, on_limit="notify"
        )
    with tenant_scope(tenant.id):
        numbers = {d.code: d.id for d in list_departments()}
    admin = sign_in("admin")
    form = {f"on-limit-{n}": "notify" for n in numbers.values()}
    form |= {f"amount-{numbers['support']}": "100", f"amount-{numbers['desk']}": "60"}
    form |= {"effective_on": tomorrow(tenant, 9), "reason": "next year"}
    html = text(admin.post("/budgets/departments/set", form, headers=IN_PLACE))
    assert re.search(r"1 budget set, from \d+ \w+ 20\d\d\.", html)
    assert re.search(r"60\.00 from \d+ \w+ 20\d\d", words(html))
    assert [find_later(tenant, ids[code], days=d) for code, d in (("desk", 0), ("desk", 10))] == [
        40,
        60,
    ]
    assert find_later(tenant, ids["support"], days=10) == 100
    with tenant_scope(tenant.id):
        assert len(read_history(ids["support"]).amounts) == 1
    # The same form again, with support's raised: what is planned for the desk stays planned.
    form |= {f"amount-{numbers['desk']}": "40", f"amount-{numbers['support']}": "120"}
    text(admin.post("/budgets/departments/set", form, headers=IN_PLACE))
    assert find_later(tenant, ids["desk"], days=10) == 60
    assert find_later(tenant, ids["support"], days=10) == 120
    # A new budget and what happens at the limit begin at once.
    for extra in (
        {f"amount-{numbers['sales']}": "5"},
        {f"on-limit-{numbers['desk']}": "refuse"},
    ):
        refused = text(admin.post("/budgets/departments/set", form | extra), 422)
        assert "leave the day empty" in refused
    late = admin.post("/budgets/departments/set", form | {"effective_on": "2020-01-01"})
    assert "That day is over" in text(late, 422)


def test_an_import_may_be_planned(tenant: TenantInfo, sign_in: SignIn) -> None:
    departments(tenant)
    budget_id = make_budget(
        tenant.id, "100", scope={"department": "support"}, name="s", on_limit="notify"
    )
    admin = sign_in("admin")
    lines = "department,amount_usd\nsupport,150\nsales,10\n"
    planned = {"text": lines, "apply": "1", "effective_on": tomorrow(tenant, 9)}
    html = text(admin.post("/budgets/departments/import", planned, headers=IN_PLACE))
    assert "1 budget set, from" in html
    assert "line 3" in html
    assert (find_later(tenant, budget_id, days=0), find_later(tenant, budget_id, days=10)) == (
        100,
        150,
    )


def test_what_happens_while_caps_are_not_known_is_set_on_the_page(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    admin = sign_in("admin")
    assert "cloud backends are refused, those to own hardware let through" in words(
        text(sign_in("viewer").get("/budgets"))
    )
    wanted = {
        "cloud_while_unknown": "allow",
        "local_while_unknown": "refuse",
        "hold_seconds": "120",
    }
    html = text(admin.post("/budgets/settings", wanted, headers=IN_PLACE))
    assert "cloud backends are let through, those to own hardware refused" in words(html)
    for change, field in (
        ({"hold_seconds": "3"}, "hold_seconds"),
        ({"hold_seconds": "1.5"}, "hold_seconds"),
        ({"cloud_while_unknown": "x"}, "cloud_while_unknown"),
    ):
        wrong = text(admin.post("/budgets/settings", wanted | change), 422)
        assert f'id="settings-{field}-error"' in wrong
    with tenant_scope(tenant.id):
        assert read_choices() == Choices("allow", "refuse", 120)
    assert sign_in("viewer").post("/budgets/settings", wanted).status_code == 403


def test_another_tenants_budget_is_not_there(
    tenant: TenantInfo, make_tenant: MakeTenant, sign_in: SignIn
) -> None:
    other = make_tenant()
    budget_id = make_budget(other.id, "10", name="Secret plans")
    admin = sign_in("admin")
    assert "Secret plans" not in text(admin.get("/budgets"))
    for answer in (
        admin.get(f"/budgets/{budget_id}"),
        admin.get(f"/budgets/{2**70}"),
        admin.post(f"/budgets/{budget_id}/change", NEW | {"name": "x"}),
        admin.post("/budgets/archive", {"budget_id": budget_id}),
    ):
        assert answer.status_code == 404
    assert amounts(other) == {"": 10}


def test_departments_stand_in_their_tree_with_what_they_spent(
    tenant: TenantInfo, sign_in: SignIn, post_events: Post
) -> None:
    departments(tenant)
    last_month = datetime.now(UTC).replace(day=1) - timedelta(days=2)
    post_events(
        [
            native_event(department="desk"),
            native_event(department="support"),
            native_event(department="desk", timestamp=last_month.isoformat()),
        ]
    )
    html = text(sign_in("admin").get("/budgets/departments"))
    rows = {words(r).split()[0]: r for r in re.findall(r"<tr>.*?</tr>", html, re.DOTALL)[1:]}
    assert 'class="depth-1"' in rows["Help"]
    assert 'title="0.00045 USD"' in rows["Support"]
    assert 'title="0.000225 USD"' in rows["Support"]
    assert list(rows) == ["Sales", "Support", "Help"]


def test_department_budgets_are_set_in_the_table(tenant: TenantInfo, sign_in: SignIn) -> None:
    departments(tenant)
    admin = sign_in("admin")
    html = text(admin.get("/budgets/departments"))
    number = {
        name: re.search(rf'name="amount-(\d+)"[^>]*of {name}, USD', html)[1]  # type: ignore[index]
        for name in ("Support", "Sales")
    }
    given = {
        f"amount-{number['Support']}": "2,500",
        f"on-limit-{number['Support']}": "refuse",
        f"amount-{number['Sales']}": "",
        "reason": "plan 2027",
    }
    done = text(admin.post("/budgets/departments/set", given, headers=IN_PLACE))
    assert "1 budget set, from now on." in done
    assert amounts(tenant) == {"support": 2500}
    given[f"amount-{number['Sales']}"] = "lots"
    refused = text(admin.post("/budgets/departments/set", given), 422)
    assert "Give a number" in refused
    given[f"amount-{number['Sales']}"] = "10"
    given[f"amount-{number['Support']}"] = "2600"
    assert "2 budgets set" in text(admin.post("/budgets/departments/set", given))
    assert amounts(tenant) == {"support": 2600, "sales": 10}


def test_the_export_comes_back_as_it_went_out(
    tenant: TenantInfo, sign_in: SignIn, post_events: Post
) -> None:
    departments(tenant)
    make_budget(tenant.id, "99.5", scope={"department": "support"}, on_limit="notify")
    post_events([native_event(department="=cmd|' /C calc'!A0")])
    admin = sign_in("admin")
    exported = text(admin.get("/budgets/departments?format=csv"))
    assert exported.splitlines()[0].startswith("department,name,above,last_month_usd")
    assert "'=cmd" in exported
    assert "support,Support,,0,0," in exported
    upload = SimpleUploadedFile("b.csv", exported.encode(), "text/csv")
    html = text(admin.post("/budgets/departments/import", {"file": upload}))
    assert "Dry run: 0 lines would change" in words(html)
    assert "cannot be read" not in html


def test_an_import_is_tried_first_and_names_bad_lines(tenant: TenantInfo, sign_in: SignIn) -> None:
    departments(tenant)
    make_budget(tenant.id, "50", scope={"department": "sales"}, on_limit="notify")
    lines = ["support;100;refuse", "SALES;60;", "mars;5;", "desk;x;", ";1;", "support;7;", "desk;;"]
    sheet = "\r\n".join(["department;amount_usd;on_limit", *lines, ""])
    admin = sign_in("admin")
    upload = SimpleUploadedFile("b.csv", ("\ufeff" + sheet).encode(), "text/csv")
    tried = words(
        text(admin.post("/budgets/departments/import", {"file": upload}, headers=IN_PLACE))
    )
    assert "Dry run: 2 lines would change a budget, 4 cannot be read" in tried
    for told in (
        "4 department there is no department",
        "5 amount_usd &#x27;x&#x27; is no amount",
        "6 department it names no department",
        "7 department support stands in line 2 already",
    ):
        assert told in tried
    assert amounts(tenant) == {"sales": 50}
    done = text(admin.post("/budgets/departments/import", {"text": sheet, "apply": "1"}))
    assert "2 budgets set" in done
    assert "line 4, department" in done
    assert amounts(tenant) == {"sales": 60, "support": 100}


@pytest.mark.parametrize(
    ("sheet", "told"),
    [
        ("", "the file is empty"),
        ("name,amount_usd\nx,1\n", "no column department"),
        ("department,amount_usd,colour\nx,1,red\n", "is no column"),
        ("department,amount_usd,amount_usd\nx,1,2\n", "twice"),
        ('department,amount_usd\n"x,1\n', "this is no CSV"),
        ("department,amount_usd\n" + "x,1\n" * 2001, "at most 2000 are read"),
        ("department,amount_usd\nsupport,1,2\n", "it has 3 cells"),
    ],
)
def test_a_sheet_that_is_none_says_why(
    tenant: TenantInfo, sign_in: SignIn, sheet: str, told: str
) -> None:
    departments(tenant)
    html = words(text(sign_in("admin").post("/budgets/departments/import", {"text": sheet})))
    assert told in html
    assert amounts(tenant) == {}


def test_statements_do_not_grow_with_budgets(
    tenant: TenantInfo, sign_in: SignIn, post_events: Post
) -> None:
    post_events([native_event(project=f"p{n}") for n in range(30)])
    viewer = sign_in("viewer")

    def asked() -> int:
        refresh_projections(tenant.id, now=datetime.now(UTC))
        counts = []
        # What a process remembers for a second may be asked for again in any one of them.
        for _ in range(3):
            # Budgets are read anew each time, whatever a slow machine still remembers of them.
            forget_book(tenant.id)
            with CaptureQueriesContext(connection) as queries:
                text(viewer.get("/budgets"))
            counts.append(len(queries))
        return min(counts)

    for n in range(5):
        make_budget(tenant.id, "1", scope={"project": f"p{n}"}, on_limit="notify")
    few = asked()
    for n in range(5, 30):
        make_budget(tenant.id, "1", scope={"project": f"p{n}"}, on_limit="notify")
    assert asked() <= few


def test_the_page_that_lives_gets_204_while_nothing_changes(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    make_budget(tenant.id, "1", period="day", unit="requests", on_limit="notify")
    viewer = sign_in("viewer")
    part = text(viewer.get("/budgets", headers=IN_PLACE))
    seen = re.search(r'name="seen"[^>]*value="([0-9a-f]+)"', part)
    assert seen is not None
    assert viewer.get(f"/budgets?seen={seen[1]}", headers=IN_PLACE).status_code == 204
