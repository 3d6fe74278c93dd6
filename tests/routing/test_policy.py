"""The document and its JSON."""

import json
import random
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.routing.core.building import BackendPrice, Money, build_catalog
from apps.routing.core.live import Billed, Judged, Moment, plan_live
from apps.routing.core.policy import (
    FORMAT,
    Policy,
    PolicyDepartment,
    Throttle,
    from_json,
    to_json,
)
from apps.routing.core.rule import Request, Room, Rule
from apps.routing.core.value_model import TIERS, read_value_model
from apps.routing.core.weights import with_throttles, with_weights
from tests.routing.policies import make_policy, make_request, make_room

AMOUNTS = st.floats(0, 1e6)
TASKS: Final = ("chat", "extract", "summarise", "rag", "code", "reason", "other")
BACKENDS: Final = (
    "anthropic/claude-haiku-4-5",
    "anthropic/claude-opus-4-5",
    "anthropic/claude-sonnet-4-5",
    "google/gemini-2.5-flash",
    "google/gemini-2.5-pro",
    "local/llama-3.3-70b",
    "local/qwen3-32b",
    "mistral/mistral-large-latest",
    "openai/gpt-5",
    "openai/gpt-5-mini",
)
DEPARTMENTS: Final = (
    "support",
    "sales",
    "marketing",
    "engineering",
    "research",
    "finance",
    "operations",
    "legal",
    "people",
    "product",
)


@given(AMOUNTS, AMOUNTS, AMOUNTS, st.floats(0, 1))
def test_json_holds_what_decisions_need(a: float, b: float, c: float, q: float) -> None:
    policy = make_policy(
        month_price=a,
        reserve_usd=b,
        departments={"sales": PolicyDepartment(c, a, b, c)},
        quality={"chat": ((q, -q, q),) * 3, "reason": ((q, -q, q),) * 3},
    )
    once = from_json(to_json(policy))
    # Numbers were cut once; after that nothing changes any more.
    assert from_json(to_json(once)) == once
    assert once.month_price == pytest.approx(a, rel=5e-5)
    assert once.quality["chat"][2] == pytest.approx((q, -q, q), abs=5e-4)
    assert (once.backends, once.floors, once.stale) == (
        policy.backends,
        policy.floors,
        policy.stale,
    )


def test_a_rule_from_json_decides_the_same() -> None:
    policy = make_policy(month_price=0.7, local_price=0.001)
    ours, theirs = Rule(policy), Rule(from_json(to_json(policy)))
    for cents in range(1, 60):
        request = make_request(value_usd=cents / 100, tier="premium" if cents % 2 else "free")
        assert ours.decide(request, make_room()) == theirs.decide(request, make_room())


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"format":"x"}', "nonsense", json.dumps({"format": FORMAT})]
)
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no costboard-routing|Expecting"):
        from_json(text)


def test_weights_are_tenths_of_what_the_rule_does() -> None:
    # Pays for the dear one from 0.1134 USD on: three of ten do.
    recent = [make_request(value_usd=0.2)] * 3 + [make_request(value_usd=0.1)] * 7
    policy = with_weights(make_policy(), recent)
    # free chat, free reason (nobody asked: the cheapest), premium chat, premium reason.
    assert policy.weights == {"sales": "172,0,1,2"}
    assert from_json(to_json(policy)).weights == policy.weights


def test_ten_departments_ten_backends_and_seven_tasks_are_at_most_5_kb() -> None:
    policy = busy_policy()
    assert min(policy.month_price, policy.day_price) > 0
    text = to_json(policy)
    assert len(text) <= 5000
    # What was left out is no loss: a router decides the same.
    ours, theirs = Rule(policy), Rule(from_json(text))
    chance = random.Random(8)
    asked = [any_request(chance) for _ in range(2000)]
    room = Room(300.0, 15.0, dict.fromkeys(DEPARTMENTS, 30.0), 20.0)
    same = sum(ours.decide(r, room).backend == theirs.decide(r, room).backend for r in asked)
    assert same >= 1990


def test_times_are_told_to_the_second() -> None:
    policy = replace(make_policy(), issued_s=1795463533.123, valid_until_s=1795470733.123)
    told = from_json(to_json(policy))
    assert (told.issued_s, told.valid_until_s) == (1795463533, 1795470733)


def test_what_is_as_usual_everywhere_is_not_told() -> None:
    policy = make_policy(month_price=0.0)
    told = json.loads(to_json(policy))
    assert "month_price" not in told
    assert told["backends"]["columns"] == ["name", "usd_in", "usd_out", "is_local"]
    # The slopes differ by task; where they do not they stand once, with the backend.
    assert told["quality"]["chat"][0] == [0.6, -0.2, 0.02]
    alike = replace(policy, quality=dict.fromkeys(policy.tasks, policy.quality["chat"]))
    told = json.loads(to_json(alike))
    assert told["backends"]["columns"][-1] == "slope"
    assert told["quality"]["chat"][0] == [0.6, 0.02]
    assert from_json(to_json(alike)) == alike


def test_fields_that_a_reader_does_not_know_are_nothing_to_it() -> None:
    told = json.loads(to_json(make_policy())) | {"news": 1}
    assert from_json(json.dumps(told)) == make_policy()


def busy_policy() -> Policy:
    """Planned live on a tight budget, with outcomes and charges learnt from: no round numbers."""
    chance = random.Random(7)
    model = read_value_model({"tasks": list(TASKS)}, version=1)
    prices = [
        BackendPrice(
            name, chance.uniform(1e-7, 5e-6), chance.uniform(1e-6, 3e-5), name.startswith("local/")
        )
        for name in BACKENDS
    ]
    purse = {name: chance.uniform(3, 6) for name in DEPARTMENTS}
    catalog = build_catalog(model, prices, Money(90.1234567, 4.98765, purse), [[3.0] * 10] * 720)
    recent = [any_request(chance) for _ in range(1500)]
    judged = [
        Judged(chance.choice(TASKS), chance.choice(BACKENDS), chance.random() ** 0.2, float(n))
        for n in range(3000)
    ]
    billed = [Billed(r, chance.choice(BACKENDS), chance.uniform(0.001, 0.02)) for r in recent]
    at = Moment("2026-11", 15 * 86_400 + 43_210.5, 1795463533.123456)
    room = Room(31.2345678, 0.8654321, purse, 37.0)
    return plan_live(catalog, recent, judged, billed, at=at, room=room, last=None)[0]


def any_request(chance: random.Random) -> Request:
    return Request(
        chance.choice(DEPARTMENTS),
        chance.choice(TIERS),
        chance.choice(TASKS),
        chance.randint(100, 9000),
        chance.uniform(50, 900),
        2000.0,
        chance.lognormvariate(-3.5, 1),
        0.5,
    )


def test_what_throttles_survives_json_and_is_left_out_where_nothing_does() -> None:
    throttles = (
        Throttle("Support a day", departments=("support", "desk")),
        Throttle("Acme, cloud", customer="acme", backends=(0, 2)),
        Throttle("All", router="gateway", project="ide"),
    )
    policy = make_policy(throttles=throttles, throttles_left_out=2)
    told = json.loads(to_json(policy))
    assert told["throttles"]["columns"] == [
        "budget",
        "departments",
        "customer",
        "project",
        "router",
        "backends",
    ]
    assert told["throttles"]["rows"][0] == ["Support a day", ["support", "desk"], 0, 0, 0, 0]
    assert from_json(to_json(policy)) == policy
    assert "throttles" not in json.loads(to_json(make_policy()))


def test_of_very_many_throttles_the_broadest_are_told_in_32_kb() -> None:
    broad = Throttle("everything")
    narrow = [Throttle(f"budget of {n:04}", customer=f"customer-{n:04}") for n in range(5000)]
    policy = with_throttles(make_policy(), [*narrow, broad], {})
    assert policy.throttles[0] == broad
    assert 0 < policy.throttles_left_out == 5001 - len(policy.throttles)
    assert len(to_json(replace(busy_policy(), throttles=policy.throttles))) < 40_000


def test_a_department_that_is_throttled_has_its_weights_on_the_cheapest_and_back() -> None:
    planned = {"sales": "172,0,1,2", "-": "172,0,1,2"}
    policy = make_policy()
    about = Throttle("sales", departments=("sales",))
    throttled = with_throttles(policy, [about], planned)
    assert throttled.weights == {"sales": "0,0,1,2", "-": "172,0,1,2"}
    # What is about a customer, or some backends of several, says nothing of a whole department.
    some = [Throttle("acme", customer="acme"), Throttle("cloud", backends=(1, 2))]
    cloud = with_throttles(throttled, some, planned)
    assert cloud.weights == {"sales": "172,0,1,2", "-": "172,0,1,2"}
    assert with_throttles(throttled, [], planned).weights == planned
