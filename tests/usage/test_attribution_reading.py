"""What hides in unattributed usage, what a rule would have met, what a charge's moves say."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from apps.tenants.scoping import tenant_scope
from apps.usage.attribution import add_rule
from apps.usage.charges import ChargeQuery, explain_charge, list_charges
from apps.usage.core.attribution import MappingRule
from apps.usage.unattributed import RuleMatch, match_rule, read_unattributed
from tests.conftest import Key, MakeTenant, make_key, native_event
from tests.usage.repricing_steps import BEGIN, END, NOW, PostEvents, undo
from tests.usage.test_attribution import rule
from tests.usage.test_reattribution import move, scope

USD = Decimal("0.000225")


@pytest.fixture
def filled(key: Key, post_events: PostEvents) -> Key:
    """Four requests without a department: three of ann's, one of bob's. One with."""
    post_events(
        [
            native_event(user="ann", project="chat", tags={"team": "red"}, source="app"),
            native_event(user="ann", project="chat", tags={"team": "red"}),
            native_event(user="ann", customer="acme", tags={"team": "blue"}),
            native_event(user="bob"),
            native_event(user="bob", department="support", customer="acme"),
        ]
    )
    return key


def test_unattributed_usage_is_taken_apart(filled: Key) -> None:
    with tenant_scope(filled.identity.tenant_id):
        found = read_unattributed("department", BEGIN, END)
    assert (found.requests, found.cost_usd) == (4, 4 * USD)
    assert (found.all_requests, found.all_cost_usd) == (5, 5 * USD)
    assert found.share == Decimal("0.8")
    parts = {by: [(p.value, p.requests, p.cost_usd) for p in ps] for by, ps in found.parts.items()}
    assert parts["key"] == [(str(filled.identity.api_key_id), 4, 4 * USD)]
    assert parts["project"] == [(None, 2, 2 * USD), ("chat", 2, 2 * USD)]
    assert parts["customer"] == [(None, 3, 3 * USD), ("acme", 1, USD)]
    assert parts["user"] == [("ann", 3, 3 * USD), ("bob", 1, USD)]
    assert parts["tag"] == [("team=red", 2, 2 * USD), ("team=blue", 1, USD)]
    assert parts["source"] == [("default", 3, 3 * USD), ("app", 1, USD)]
    assert "department" not in parts


def test_every_part_is_what_its_filter_would_move(filled: Key) -> None:
    with tenant_scope(filled.identity.tenant_id):
        found = read_unattributed("department", BEGIN, END)
    for by, parts in found.parts.items():
        for part in parts:
            if part.value is None and by in ("key", "model", "source", "provider"):
                continue
            where = {"department": None, by: part.value}
            run = move(filled, scope(where, department="lab"))
            assert (run.changed_charges, run.cost_change_usd) == (part.requests, part.cost_usd)
            undo(filled, run.id)


@pytest.mark.parametrize(
    ("wanted", "match"),
    [
        (rule("project", "chat", "x"), RuleMatch(True, 2, 2 * USD)),
        (rule("project", None, None), RuleMatch(True, 2, 2 * USD)),
        (rule("customer", "acme", "x"), RuleMatch(True, 2, 2 * USD)),
        (rule("customer", "nobody", "x"), RuleMatch(True, 0, Decimal(0))),
        (rule("user", "ann", "x"), RuleMatch(True, 3, 3 * USD, 5)),
        (rule("tags.team", "red", "x"), RuleMatch(True, 2, 2 * USD, 5)),
        (rule("tags.team", None, None), RuleMatch(True, 3, 3 * USD, 5)),
        (rule("project", "chat", "x", source="app"), RuleMatch(True, 1, USD, 2)),
        (rule("source", "app", "x"), RuleMatch(True, 1, USD, 5)),
        (rule("metadata.team", "x", "y"), RuleMatch(False)),
    ],
)
def test_a_rule_is_tried_on_the_past(filled: Key, wanted: MappingRule, match: RuleMatch) -> None:
    with tenant_scope(filled.identity.tenant_id):
        assert match_rule(wanted, BEGIN, END) == match


def test_a_keys_default_would_meet_what_names_nobody(filled: Key) -> None:
    own = rule("key", str(filled.identity.api_key_id), "x")
    with tenant_scope(filled.identity.tenant_id):
        assert match_rule(own, BEGIN, END) == RuleMatch(True, 4, 4 * USD)


def test_a_charge_tells_its_moves(filled: Key, client: Client) -> None:
    first = move(filled, scope({"user": "bob", "department": None}))
    back = undo(filled, first.id)
    move(filled, scope({"user": "bob", "department": None}, department="lab", customer="zoo"))
    with tenant_scope(filled.identity.tenant_id):
        (charge,) = list_charges(ChargeQuery(start=BEGIN, end=END, department="lab"))
        explained = explain_charge(charge.id)
    assert explained is not None
    assert explained.reproduced
    assert [(m.changes, m.actor, m.undo_of) for m in explained.moves] == [
        ({"department": (None, "search")}, "ann", None),
        ({"department": ("search", None)}, "bob", first.id),
        ({"customer": (None, "zoo"), "department": (None, "lab")}, "ann", None),
    ]
    answer = client.get(f"/api/v1/charges/{charge.id}", headers=filled.headers).json()
    assert (answer["department"], answer["customer"]) == ("lab", "zoo")
    assert [m["reattribution_id"] for m in answer["moves"]][:2] == [first.id, back.id]
    assert answer["moves"][2]["changes"]["department"] == [None, "lab"]


def get(client: Client, key: Key, path: str, status: int = 200) -> Any:
    response = client.get(f"/api/v1{path}", headers=key.headers)
    assert response.status_code == status, response.content
    return response.json()


def test_rules_and_runs_are_read_over_http(filled: Key, client: Client) -> None:
    add_rule(filled.identity.tenant_id, rule("user", "ann", "lab"), actor="ann", now=NOW)
    (shown,) = get(client, filled, "/attribution/rules")["rows"]
    assert (shown["attribute"], shown["value"], shown["target"], shown["name"]) == (
        "user", "ann", "department", "lab",
    )  # fmt: skip
    run = move(filled, scope())
    back = undo(filled, run.id)
    newest = get(client, filled, "/reattributions?limit=1")
    assert [(r["id"], r["undo_of"]) for r in newest["rows"]] == [(back.id, run.id)]
    older = get(client, filled, f"/reattributions?before_id={newest['next_before_id']}")["rows"]
    assert [(r["id"], r["status"], r["where"], r["to"]) for r in older] == [
        (run.id, "undone", {"department": None}, {"department": "search"})
    ]
    assert Decimal(older[0]["moved_usd"]) == 4 * USD
    assert get(client, filled, f"/reattributions/{run.id}")["preview"]["changed"] == 4
    assert get(client, filled, "/repricings")["rows"] == []
    get(client, filled, f"/repricings/{run.id}", 404)
    get(client, filled, "/reattributions?limit=0", 422)
    get(client, filled, "/reattributions?before_id=-1", 422)
    get(client, filled, f"/reattributions/{2**63}", 404)
    found = get(client, filled, "/attribution/unattributed?target=customer")
    assert (found["requests"], found["parts"]["department"][0]["value"]) == (3, None)
    get(client, filled, "/attribution/unattributed?from=2026-01-02&to=2026-01-01", 422)


def test_another_tenant_reads_nothing(filled: Key, client: Client, make_tenant: MakeTenant) -> None:
    other = make_key(make_tenant().id)
    add_rule(filled.identity.tenant_id, rule("user", "ann", "lab"), actor="ann", now=NOW)
    run = move(filled, scope())
    assert get(client, other, "/attribution/rules")["rows"] == []
    assert get(client, other, "/reattributions")["rows"] == []
    get(client, other, f"/reattributions/{run.id}", 404)
    assert get(client, other, "/attribution/unattributed")["all_requests"] == 0
    with tenant_scope(other.identity.tenant_id):
        empty = read_unattributed("department", NOW - timedelta(days=1), NOW)
    assert (empty.requests, empty.newest_read, empty.share) == (0, 0, None)
