"""Mapping rules: whose an event is, at every door, without a change of the event itself."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, ProgrammingError, connection
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from apps.tenants.scoping import tenant_scope
from apps.usage import attribution
from apps.usage.attribution import add_rule, current_rules, end_rule, list_rules
from apps.usage.core.attribution import (
    MAX_ATTRIBUTES,
    TARGETS,
    AttributionRules,
    MappingRule,
    RuleRefusedError,
    check_rule,
)
from apps.usage.core.events import Door, UsageEvent
from apps.usage.selectors import SpendQuery, read_spend
from tests.conftest import Key, MakeTenant, make_key, native_event, roll_up
from tests.usage.adapters.bodies import json_body, protobuf_body, span
from tests.usage.adapters.test_litellm import payload

NOW = datetime.now(UTC)
USED = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 200,
}


def rule(attribute: str, value: str | None, name: str | None, **more: Any) -> MappingRule:
    return MappingRule(
        **({"id": 0, "attribute": attribute, "value": value, "name": name, "target": "department"}
           | more)
    )  # fmt: skip


def event(**fields: Any) -> UsageEvent:
    given = {"source": "s", "event_id": "1", "occurred_at": NOW, "provider": "p", "model": "m"}
    return UsageEvent(**(given | fields))


def named(
    rules: list[MappingRule], one: UsageEvent, said: dict[str, str] | None = None, key: int = 1
) -> dict[str, str]:
    numbered = [replace(r, id=n) for n, r in enumerate(rules, 1)]
    return dict(AttributionRules(numbered).names_of(one, said, api_key_id=key))


def test_a_value_of_an_attribute_is_a_department() -> None:
    rules = [rule("user", "ann", "research"), rule("user", "bob", "sales")]
    assert named(rules, event(user="bob")) == {"department": "sales"}
    assert named(rules, event(user="cy")) == {}


def test_an_attribute_is_the_department() -> None:
    rules = [rule("tags.cost_center", None, None)]
    assert named(rules, event(tags={"cost_center": "4711"})) == {"department": "4711"}
    assert named(rules, event(tags={"other": "4711"})) == {}
    assert named([rule("a.b", None, None)], event(), {"a.b": "x" * 200}) == {
        "department": "x" * 100
    }


def test_a_rule_outranks_what_the_event_says_and_a_keys_default_does_not() -> None:
    of_team = rule("department", "srch", "search")
    of_key = rule("key", "1", "platform")
    assert named([of_team, of_key], event(department="srch")) == {"department": "search"}
    assert named([of_team, of_key], event(department="other")) == {}
    assert named([of_team, of_key], event()) == {"department": "platform"}
    assert named([of_team, of_key], event(), key=2) == {}


def test_the_first_in_order_wins_then_the_narrower_then_the_older() -> None:
    anyone = rule("user", None, None)
    ann = rule("user", "ann", "research")
    of_source = rule("user", "ann", "batch", source="s")
    assert named([anyone, ann], event(user="ann")) == {"department": "research"}
    assert named([ann, of_source], event(user="ann")) == {"department": "batch"}
    assert named([ann, of_source], event(user="ann", source="t")) == {"department": "research"}
    first = [replace(anyone, position=1), ann, of_source]
    assert named(first, event(user="ann")) == {"department": "ann"}
    by_tag = rule("tags.team", "x", "tagged")
    assert named([by_tag, ann], event(user="ann", tags={"team": "x"})) == {"department": "tagged"}
    assert named([ann, by_tag], event(user="ann", tags={"team": "x"})) == {"department": "research"}


def test_rules_are_of_a_door_and_of_a_time() -> None:
    of_door = rule("user", "ann", "research", door=Door.OTLP)
    assert named([of_door], event(user="ann")) == {}
    assert named([of_door], event(user="ann", door=Door.OTLP)) == {"department": "research"}
    dated = rule("user", "ann", "old", effective_to=NOW)
    since = rule("user", "ann", "new", effective_from=NOW)
    assert named([dated, since], event(user="ann")) == {"department": "new"}
    before = event(user="ann", occurred_at=NOW - timedelta(seconds=1))
    assert named([dated, since], before) == {"department": "old"}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["user", "model", "tags.t", "key"]),
            st.sampled_from([None, "1", "2"]),
            st.sampled_from([None, "s", "t"]),
            st.sampled_from(TARGETS),
            st.integers(0, 3),
        ),
        max_size=12,
    ),
    st.sampled_from([None, "1", "2"]),
    st.sampled_from(["1", "2"]),
    st.sampled_from(["s", "t", "u"]),
)
def test_lookups_say_what_a_walk_over_the_rules_says(
    given_rules: list[tuple[str, str | None, str | None, Any, int]],
    user: str | None,
    model: str,
    source: str,
) -> None:
    rules = [
        rule(attribute, value or ("1" if attribute == "key" else None), f"n{n}" if value or
             attribute == "key" else None, source=of, target=target, position=position, id=n)
        for n, (attribute, value, of, target, position) in enumerate(given_rules)
    ]  # fmt: skip
    one = event(user=user, model=model, source=source, tags={"t": "2"}, customer="told")
    said = {"user": user, "model": model, "tags.t": "2", "key": "1"}
    expected: dict[str, str] = {}
    ordered = sorted(rules, key=lambda r: (r.position, r.value is None, r.source is None, r.id))
    for of_key in (False, True):
        for r in ordered:
            value = said[r.attribute]
            if (r.attribute == "key") is not of_key or r.target in expected or value is None:
                continue
            if of_key and getattr(one, r.target) is not None:
                continue
            if r.value in (None, value) and r.source in (None, source):
                expected[r.target] = r.name or value
    compiled = AttributionRules(rules)
    assert compiled.names_of(one, None, api_key_id=1) == expected


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (rule("", "x", "y"), "attribute"),
        (rule("a b", "x", "y"), "attribute"),
        (rule("gen_ai.prompt.0.content", "x", "y"), "attribute"),
        (rule("gen_ai.input.messages", None, None), "attribute"),
        (rule("department", None, None), "attribute"),
        (rule("cost_center", "x", "y", door=Door.NATIVE), "attribute"),
        (rule("cost_center", "x", "y", door=Door.LITELLM), "attribute"),
        (rule("user", "x", None), "name"),
        (rule("key", "1", None), "name"),
        (rule("user", None, "y"), "value"),
        (rule("user", "x" * 201, "y"), "value"),
        (rule("user", "x", "y" * 101), "name"),
        (rule("user", "x", "y", target="model"), "target"),
        (rule("user", "x", "y", position=-1), "position"),
        (rule("user", "x", "y", effective_from=NOW, effective_to=NOW), "effective_to"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_by_its_field(wrong: MappingRule, field: str) -> None:
    with pytest.raises(RuleRefusedError) as refused:
        check_rule(wrong)
    assert refused.value.field == field


def spend(key: Key, *dimensions: str) -> dict[tuple[str | None, ...], int]:
    roll_up(key.identity.tenant_id)
    query = SpendQuery(
        NOW - timedelta(days=2), NOW + timedelta(days=1), group_by=dimensions  # type: ignore[arg-type]
    )  # fmt: skip
    with tenant_scope(key.identity.tenant_id):
        return {tuple(r.labels[d] for d in dimensions): r.requests for r in read_spend(query).rows}


def add(key: Key, attribute: str, value: str | None, name: str | None, **more: Any) -> int:
    given = rule(attribute, value, name, **more)
    return add_rule(key.identity.tenant_id, given, actor="ann", now=NOW)


def post(
    client: Client, key: Key, path: str, body: Any, content_type: str = "application/json"
) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = client.post(path, data, content_type=content_type, headers=key.headers)
    assert response.status_code in (200, 204), response.content
    return json.loads(response.content or b"{}") if response.status_code == 200 else {}


def test_rules_map_what_comes_in_at_the_native_door(key: Key, client: Client) -> None:
    post(client, key, "/api/v1/usage/events", [native_event(user="ann")])
    add(key, "user", "ann", "research")
    add(key, "key", str(key.identity.api_key_id), "acme", target="customer")
    again = native_event(user="ann", customer="told")
    for _ in range(2):
        last = post(client, key, "/api/v1/usage/events", [again, native_event()])
    assert (last["accepted"], last["duplicates"], last["rejected"]) == (1, 1, [])
    assert spend(key, "department", "customer") == {
        (None, None): 1,
        ("research", "told"): 1,
        (None, "acme"): 2,
    }


def test_an_event_sent_again_after_the_rules_changed_is_a_duplicate(
    key: Key, client: Client
) -> None:
    call = payload(metadata={"user_api_key_alias": "k1"}, startTime=NOW.timestamp())
    path = "/api/v1/usage/litellm"
    assert post(client, key, path, [call])["accepted"] == 1
    add(key, "metadata.user_api_key_alias", "k1", "research")
    answer = post(client, key, path, [call])
    assert (answer["accepted"], answer["duplicates"], answer["rejected"]) == (0, 1, [])
    assert spend(key, "department") == {(None,): 1}


def test_litellm_metadata_that_a_rule_names_is_read(key: Key, client: Client) -> None:
    add(key, "metadata.requester_metadata.cost_center", None, None)
    add(key, "metadata.user_api_key_team_alias", "srch", "Search", target="project")
    add(key, "metadata.user-agent", "x/1", "curl", target="task")
    body = [
        payload(
            startTime=NOW.timestamp(),
            litellm_call_id=str(n),
            metadata={
                "user_api_key_team_alias": "srch",
                "requester_metadata": {"cost_center": 4711, "prompt": "secret"},
                "user-agent": "x/1",
            },
        )
        for n in range(2)
    ]
    assert post(client, key, "/api/v1/usage/litellm", body)["accepted"] == 2
    assert spend(key, "department", "project", "task") == {("4711", "Search", "curl"): 2}


@pytest.mark.parametrize("protobuf", [True, False])
def test_otlp_attributes_that_a_rule_names_are_read(
    key: Key, client: Client, protobuf: bool
) -> None:
    add(key, "k8s.namespace.name", "shop", "Retail")
    add(key, "acme.tenant", None, None, target="customer", door=Door.OTLP)
    started = str(int(NOW.timestamp() * 1e9))
    one = span(attributes=USED | {"acme.tenant": "zoo"}, startTimeUnixNano=started)
    make = protobuf_body if protobuf else json_body
    body = make(one, resource={"k8s.namespace.name": "shop", "service.name": "web"})
    content_type = "application/x-protobuf" if protobuf else "application/json"
    post(client, key, "/v1/traces", body, content_type)
    assert spend(key, "department", "customer") == {("Retail", "zoo"): 1}


def test_cloudevents_data_that_a_rule_names_is_read(key: Key, client: Client) -> None:
    add(key, "data.labels.squad", "red", "Crew Red")
    add(key, "source", "checkout", "shop", target="project")
    body = {
        "specversion": "1.0", "id": "1", "source": "checkout", "type": "llm",
        "time": NOW.isoformat(),
        "data": {"model": "gpt-4o-mini", "input_tokens": 10, "output_tokens": 1,
                 "labels": {"squad": "red"}},
    }  # fmt: skip
    post(client, key, "/api/v1/events", body, "application/cloudevents+json")
    assert spend(key, "department", "project") == {("Crew Red", "shop"): 1}


def test_an_ended_rule_maps_only_what_happened_before(key: Key, client: Client) -> None:
    rule_id = add(key, "user", "ann", "research")
    end_rule(key.identity.tenant_id, rule_id, actor="bob", now=NOW - timedelta(hours=1))
    late = (NOW - timedelta(hours=2)).isoformat()
    events = [native_event(user="ann"), native_event(user="ann", timestamp=late)]
    post(client, key, "/api/v1/usage/events", events)
    assert spend(key, "department") == {(None,): 1, ("research",): 1}
    with pytest.raises(RuleRefusedError, match="ended already"):
        end_rule(key.identity.tenant_id, rule_id, actor="bob", now=NOW)
    assert add(key, "user", "ann", "sales") > rule_id


def test_other_processes_see_a_change_when_they_ask_again(
    key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant_id = key.identity.tenant_id
    monkeypatch.setattr(attribution._remembered, "limit_s", 3600.0)
    assert not current_rules(tenant_id)
    with monkeypatch.context() as patch:
        # As another process has it, which nothing told of the change.
        patch.setattr(attribution._remembered, "forget", lambda tenant_id: None)
        add(key, "metadata.x", "ann", "research")
    assert not current_rules(tenant_id)
    monkeypatch.setattr(attribution._remembered, "limit_s", 0.0)
    assert current_rules(tenant_id).wanted(Door.OTLP) == {"metadata.x"}


def test_a_tenant_without_rules_asks_for_no_attribute(key: Key) -> None:
    rules = current_rules(key.identity.tenant_id)
    assert not rules
    assert all(rules.wanted(door) == frozenset() for door in Door)


def test_rules_are_walled_audited_and_kept(key: Key, make_tenant: MakeTenant) -> None:
    other = make_key(make_tenant().id)
    rule_id = add(key, "user", "ann", "research")
    with tenant_scope(other.identity.tenant_id):
        assert list_rules() == []
    assert not current_rules(other.identity.tenant_id)
    with pytest.raises(RuleRefusedError, match="there is no rule"):
        end_rule(other.identity.tenant_id, rule_id, actor="eve", now=NOW)
    with pytest.raises(RuleRefusedError, match="no such key"):
        add(other, "key", str(key.identity.api_key_id), "mine")
    with pytest.raises(RuleRefusedError, match=f"rule {rule_id} maps the same"):
        add(key, "user", "ann", "sales")
    end_rule(key.identity.tenant_id, rule_id, actor="bob", now=NOW)
    with tenant_scope(key.identity.tenant_id), connection.cursor() as cursor:
        (info,) = list_rules()
        cursor.execute(
            "SELECT action, actor FROM tenants_auditentry WHERE subject = %s ORDER BY id",
            [f"attribution_rule:{rule_id}"],
        )
        assert cursor.fetchall() == [
            ("attribution_rule.added", "ann"),
            ("attribution_rule.ended", "bob"),
        ]
    assert (info.created_by, info.ended_by, info.rule.effective_to) == ("ann", "bob", NOW)


def test_the_attributes_looked_up_are_bounded(key: Key) -> None:
    for n in range(MAX_ATTRIBUTES):
        add(key, f"tags.t{n}", "x", "y")
    with pytest.raises(RuleRefusedError, match="the most there may be"):
        add(key, "tags.one_more", "x", "y")
    add(key, "tags.t0", "z", "y")


@pytest.fixture
def ruled(key: Key) -> Key:
    add(key, "user", "ann", "research")
    return key


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("UPDATE usage_attribution_rule SET name = 'other'", ProgrammingError),
        ("DELETE FROM usage_attribution_rule", ProgrammingError),
        ("UPDATE usage_attribution_rule SET ended_at = now()", IntegrityError),
    ],
)
def test_database_keeps_a_rule_as_it_was(ruled: Key, statement: str, error: Any) -> None:
    with (
        pytest.raises(error),
        tenant_scope(ruled.identity.tenant_id),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
