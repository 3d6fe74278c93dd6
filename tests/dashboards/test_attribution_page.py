"""The attribution page: what names nobody, rules, the assign flow from dry run to undo, roles."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.usage.attribution import list_rules
from apps.usage.reattribution import list_reattributions
from apps.usage.repricing import RepricingInfo, close_books, continue_repricing
from apps.usage.tasks import draft_repricing
from tests.conftest import Key, MakeTenant, native_event, roll_up
from tests.dashboards.test_pricing_page import read, words
from tests.dashboards.test_repricing_page import HX, Asked, poll
from tests.usage.test_reattribution import move, scope

Post = Callable[..., dict[str, Any]]
SignIn = Callable[..., Client]
TODAY = datetime.now(UTC).date()
ASKED = {
    "starts_at": (TODAY - timedelta(days=29)).isoformat(),
    "ends_at": TODAY.isoformat(),
    "none_department": "1",
    "w_user": "ann",
    "to_target": "department",
    "to_name": "research",
    "reason": "ann works there",
}
RULE = {"attribute": "user", "value": "ann", "target": "department", "name": "research"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What the page handed to the workers."""
    found: Asked = []
    monkeypatch.setattr(draft_repricing, "delay", lambda *given: found.append(given))
    return found


@pytest.fixture
def filled(key: Key, post_events: Post) -> Key:
    """Three requests of ann's and one of bob's without a department, one with."""
    post_events(
        [native_event(user="ann", tags={"team": "red"}) for _ in range(3)]
        + [native_event(user="bob"), native_event(user="bob", department="support")]
    )
    return key


def runs(tenant: TenantInfo) -> list[RepricingInfo]:
    with tenant_scope(tenant.id):
        return list_reattributions()


def test_the_page_says_what_names_nobody_and_what_hides_in_it(
    tenant: TenantInfo, filled: Key, sign_in: SignIn
) -> None:
    client = sign_in("admin")
    page = words(read(client, "/attribution"))
    assert "80% of the spend of the last 30 days names no department: 4 requests." in page
    assert "By user of the newest 4 requests" in page
    assert re.search(r"ann 0\.000675 75% 3 assign", page)
    assert "team=red" in page
    assert "names no customer: 5 requests." in words(read(client, "/attribution?of=customer"))
    departments = read(client, "/departments")
    assert 'href="/attribution?of=department">what hides in it</a>' in departments


def test_usage_is_assigned_and_taken_back_through_the_page(
    tenant: TenantInfo, filled: Key, sign_in: SignIn, asked: Asked
) -> None:
    client = sign_in("admin")
    part = read(client, "/attribution?of=department&w_user=ann&assign=user")
    assert 'value="ann"' in part
    waiting = client.post("/attribution/dry-run", ASKED, headers=HX).content.decode()
    assert "The dry run is being made" in waiting
    draft_repricing(*asked[0])
    draft_repricing(*asked[0])
    (run,) = runs(tenant)
    shown = words(poll(client, waiting.replace("&amp;", "&")))
    assert f"Dry run {run.id}: 3 charges" in shown
    assert "no department department research 3" in shown
    assert "department research" in shown
    started = client.post("/attribution/start", {"run_id": run.id}, headers=HX).content.decode()
    assert "running" in words(started)
    continue_repricing(tenant.id, now=datetime.now(UTC), seconds=5)
    roll_up(tenant.id)
    done = words(poll(client, started.replace("&amp;", "&")))
    assert "charges moved 3" in done
    assert "Why take it back" in done
    assert "research" in words(read(client, "/departments"))
    refused = client.post("/attribution/undo", {"run_id": run.id, "reason": " "})
    assert refused.status_code == 422
    client.post("/attribution/undo", {"run_id": run.id, "reason": "wrong team"})
    continue_repricing(tenant.id, now=datetime.now(UTC), seconds=5)
    assert [one.status for one in runs(tenant)] == ["done", "undone"]
    # Runs of one kind are not on the page of the other, nor in its way.
    assert "wrong team" not in words(read(client, f"/repricing?open={run.id}"))


@pytest.mark.parametrize(
    ("changed", "at", "sentence"),
    [
        ({"starts_at": ""}, "starts_at", "Give the first day."),
        ({"ends_at": "soon"}, "ends_at", "Give the last day."),
        ({"ends_at": "2020-01-01"}, "ends_at", "The last day is before the first."),
        ({"to_name": ""}, "to_name", "Say to whom it goes."),
        ({"reason": "\0 "}, "reason", "Say why: the reason stands in the audit trail."),
    ],
)
def test_a_form_that_cannot_be_says_why_at_its_field(
    sign_in: SignIn, asked: Asked, changed: dict[str, str], at: str, sentence: str
) -> None:
    refused = sign_in("admin").post("/attribution/dry-run", ASKED | changed)
    assert refused.status_code == 422
    page = refused.content.decode()
    assert f'<p class="error" id="move-{at}-error">{sentence}</p>' in page
    assert asked == []


def test_what_the_worker_refuses_is_shown_in_the_form(
    tenant: TenantInfo, filled: Key, sign_in: SignIn, asked: Asked
) -> None:
    client = sign_in("admin")
    wanted = ASKED | {"w_customer": "nobody"}
    waiting = client.post("/attribution/dry-run", wanted, headers=HX).content.decode()
    draft_repricing(*asked[0])
    page = poll(client, waiting.replace("&amp;", "&"))
    assert "There is no customer &#x27;nobody&#x27;." in page
    assert 'id="move-w_customer-error"' in page
    assert 'value="ann works there"' in page


def test_closed_months_move_only_when_ticked(
    tenant: TenantInfo, key: Key, post_events: Post, sign_in: SignIn, asked: Asked
) -> None:
    month_end = TODAY.replace(day=1) - timedelta(days=1)
    before = datetime.now(UTC).replace(day=1) - timedelta(days=2)
    post_events([native_event(timestamp=before.isoformat())])
    close_books(tenant.id, month_end, actor="a", reason="sent", now=datetime.now(UTC))
    client = sign_in("owner")
    wanted = {**ASKED, "starts_at": before.date().isoformat(), "w_user": ""}
    client.post("/attribution/dry-run", wanted)
    draft_repricing(*asked[0])
    (run,) = runs(tenant)
    refused = client.post("/attribution/start", {"run_id": run.id})
    assert refused.status_code == 422
    assert "The books are closed for" in words(refused.content.decode())
    client.post("/attribution/start", {"run_id": run.id, "include_closed": "on"})
    assert runs(tenant)[0].status == "running"


def test_rules_are_tried_added_and_ended(tenant: TenantInfo, filled: Key, sign_in: SignIn) -> None:
    client = sign_in("admin")
    tried = client.get("/attribution/rules/preview", RULE).content.decode()
    assert "Would match 3 requests, 0.000675 USD of the last 30 days" in words(tried)
    unkept = client.get("/attribution/rules/preview", RULE | {"attribute": "metadata.x"})
    assert "was not kept so far" in words(unkept.content.decode())
    added = client.post("/attribution/rules/add", RULE).content.decode()
    assert "The rule maps what comes in from now on" in words(added)
    assert "user = ann department research any door" in words(added)
    twice = client.post("/attribution/rules/add", RULE)
    assert (twice.status_code, "maps the same already" in words(twice.content.decode())) == (
        422, True,
    )  # fmt: skip
    wrong = client.post("/attribution/rules/add", RULE | {"attribute": "gen_ai.prompt"})
    assert 'id="rule-attribute-error"' in wrong.content.decode()
    own = {"key": str(filled.identity.api_key_id), "target": "customer", "name": "acme"}
    assert client.post("/attribution/rules/add", own).status_code == 200
    with tenant_scope(tenant.id):
        first = list_rules()[0].rule.id
    ended = client.post("/attribution/rules/end", {"rule_id": first}).content.decode()
    assert f"Rule {first} has ended." in words(ended)
    assert client.post("/attribution/rules/end", {"rule_id": first}).status_code == 422


def test_a_viewer_sees_everything_and_changes_nothing(
    tenant: TenantInfo, filled: Key, sign_in: SignIn, asked: Asked
) -> None:
    run = move(filled, scope({"user": "ann"}))
    client = sign_in("viewer")
    page = read(client, f"/attribution?open={run.id}")
    assert "From whom to whom" in words(page)
    assert "<form" not in page[page.index('id="attribution"') :]
    for address in ("dry-run", "start", "undo", "rules/add", "rules/end"):
        assert client.post(f"/attribution/{address}", ASKED).status_code == 403
    assert asked == []


def test_another_tenants_moves_and_rules_are_not_there(
    tenant: TenantInfo, filled: Key, make_tenant: MakeTenant, sign_in: SignIn
) -> None:
    run = move(filled, scope({"user": "ann"}))
    sign_in("admin").post("/attribution/rules/add", RULE)
    client = sign_in("owner", make_tenant().id)
    page = words(read(client, f"/attribution?open={run.id}"))
    assert "a test" not in page
    assert "research" not in page
    refused = client.post("/attribution/undo", {"run_id": run.id, "reason": "mine now"})
    assert f"There is no repricing {run.id}." in words(refused.content.decode())
    with tenant_scope(tenant.id):
        (info,) = list_rules()
    assert client.post("/attribution/rules/end", {"rule_id": info.rule.id}).status_code == 422


def test_a_charge_tells_where_it_was_moved(
    tenant: TenantInfo, filled: Key, sign_in: SignIn
) -> None:
    move(filled, scope({"department": "support"}, department="lab"))
    client = sign_in("viewer")
    listed = read(client, "/charges?department=lab")
    found = re.search(r'href="(/charges/\d+)', listed)
    assert found is not None
    assert "department support to lab. ann: a test" in words(read(client, found[1]))
