"""The document and its JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.routing.core.policy import FORMAT, PolicyDepartment, from_json, to_json
from apps.routing.core.rule import Rule
from apps.routing.core.weights import with_weights
from tests.routing.policies import make_policy, make_request, make_room

AMOUNTS = st.floats(0, 1e6)


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
    assert once.month_price == pytest.approx(a, rel=1e-5)
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
    assert policy.weights == {"sales": "1723,0,1,2"}
    assert from_json(to_json(policy)).weights == policy.weights
