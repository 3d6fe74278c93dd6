"""What the rule chooses, worked out by hand; and what holds whatever the numbers."""

from dataclasses import replace
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.routing.core.explain import explain
from apps.routing.core.policy import PolicyDepartment, Throttle
from apps.routing.core.rule import Choice, Request, Rule
from tests.routing.policies import CHEAP, DEAR, LOCAL, make_policy, make_request, make_room

REQUESTS = st.builds(
    Request,
    department=st.just("sales"),
    tier=st.sampled_from(["free", "premium"]),
    task=st.sampled_from(["chat", "reason"]),
    tokens_in=st.integers(1, 100_000),
    est_tokens_out=st.floats(1, 10_000),
    max_tokens_out=st.floats(10_000, 20_000),
    value_usd=st.floats(0.0001, 5.0),
    difficulty=st.floats(0, 1),
)
PRICES = st.floats(0, 20)


def test_the_greatest_value_less_cost_wins() -> None:
    # local 0.060, cheap 0.080 - 0.003 = 0.077, dear 0.095 - 0.020 = 0.075.
    choice = Rule(make_policy()).decide(make_request(), make_room())
    assert choice.backend == CHEAP
    assert choice.because == "best"
    assert isclose(choice.cost_usd, 0.003)
    # All the input and 2,000 tokens of output.
    assert isclose(choice.hold_usd, 0.005)


def test_a_full_purse_buys_no_upgrade_that_costs_more_than_it_gains() -> None:
    rule = Rule(make_policy())
    # The dear one gains 0.15 x value and costs 0.017 more: pays from 0.1134 USD on.
    assert rule.decide(make_request(value_usd=0.113), make_room()).backend == CHEAP
    assert rule.decide(make_request(value_usd=0.114), make_room()).backend == DEAR


def test_a_scarce_budget_asks_more_of_an_upgrade() -> None:
    rule = Rule(make_policy(month_price=1.0))
    assert rule.decide(make_request(value_usd=0.2), make_room()).backend == CHEAP
    assert rule.decide(make_request(value_usd=0.3), make_room()).backend == DEAR


@given(REQUESTS, PRICES, PRICES)
def test_a_higher_price_never_makes_a_dearer_choice(
    request: Request, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    room = make_room(month_usd=1e9, day_usd=1e9, department_usd={"sales": 1e9})
    cheap = Rule(make_policy(month_price=high)).decide(request, room)
    dear = Rule(make_policy(month_price=low)).decide(request, room)
    assert cheap.cost_usd <= dear.cost_usd + 1e-12


@given(REQUESTS, PRICES, st.floats(0, 0.1), st.floats(0, 3), st.floats(0, 0.5))
def test_floors_hold_whatever_is_believed_or_left(
    request: Request, price: float, local_price: float, left: float, reserve: float
) -> None:
    believed = dict.fromkeys(
        ("chat", "reason"), ((0.99, 0.0, 0.5), (0.05, 0.0, 0.5), (0.05, 0.0, 0.5))
    )
    policy = make_policy(
        month_price=price,
        local_price=local_price,
        quality=believed,
        reserve_usd=reserve,
        explore_optimism=3.0,
    )
    room = make_room(day_usd=left)
    for is_stale in (False, True):
        for explore in (False, True):
            rule = Rule(policy, is_stale=is_stale)
            choice = rule.decide(request, room, explore)
            names = [backend.name for backend in policy.backends]
            if choice.backend is not None:
                place = names.index(choice.backend)
                assert policy.is_eligible(request.tier, request.task, place)
                assert choice.hold_usd <= left


@given(REQUESTS, st.floats(0, 3))
def test_no_choice_is_worth_less_than_another_that_was_open(request: Request, price: float) -> None:
    policy = make_policy(month_price=price)
    rule = Rule(policy)
    room = make_room(month_usd=1e9, day_usd=1e9, department_usd={"sales": 1e9})
    choice = rule.decide(request, room)
    _, others = explain(rule, request, room, choice)
    refused = policy.refusal_worth[request.tier] * request.value_usd
    if choice.backend is None:
        assert all(other.net_usd <= refused + 1e-9 for other in others if other.cost_usd)
        return
    fail = policy.fail_multiplier[request.tier]
    place = [backend.name for backend in policy.backends].index(choice.backend)
    level, slope, _ = policy.quality[request.task][place]
    quality = min(level + slope * (request.difficulty - 0.5), 0.995)
    net = request.value_usd * (quality * (1 + fail) - fail) - (1 + price) * choice.cost_usd
    eligible = [other for other in others if "the floor of" not in other.reason]
    assert all(net >= other.net_usd - 1e-9 for other in eligible)


def test_an_upgrade_leaves_the_reserve_of_all_remaining_demand() -> None:
    policy = make_policy(reserve_usd=99.98)
    dear = make_request(value_usd=1.0)
    # It holds 3.5 cents, and 2 are free: the cheapest that meets the floor is local.
    choice = Rule(policy).decide(dear, make_room())
    assert (choice.backend, choice.because) == (LOCAL, "reserve")
    choice = Rule(policy).decide(dear, make_room(local_requests=0.0))
    assert (choice.backend, choice.because) == (CHEAP, "reserve")
    assert Rule(policy).decide(dear, make_room(month_usd=100.02)).backend == DEAR


def test_below_the_top_tier_the_top_tiers_reserve_is_left() -> None:
    full = make_room(local_requests=0.0)
    policy = make_policy(reserve_usd=100.0, top_reserve_usd=99.999)
    choice = Rule(policy).decide(make_request(), full)
    assert (choice.backend, choice.because) == (None, "short")
    choice = Rule(policy).decide(make_request(tier="premium"), full)
    assert (choice.backend, choice.because) == (CHEAP, "reserve")


def test_a_departments_own_reserve_counts_like_the_months() -> None:
    policy = make_policy(departments={"sales": PolicyDepartment(0.0, 50.0, 49.99, 0.0)})
    choice = Rule(policy).decide(make_request(value_usd=1.0), make_room())
    assert (choice.backend, choice.because) == (LOCAL, "reserve")


def test_what_is_hopeless_is_refused_and_the_top_tier_last() -> None:
    # A failure costs the top tier its value. The cheap one brings 0.8 x 0.10 to the free tier and
    # 0.6 x 0.10 to the other, for 13.8 cents; a refusal costs 5 cents, and of the top tier 15.
    rule = Rule(make_policy(month_price=45.0, local_price=1.0))
    assert rule.decide(make_request(), make_room()) == Choice(None, 0.0, 0.0, "refused")
    assert rule.decide(make_request(tier="premium"), make_room()).backend == CHEAP
    dearer = Rule(make_policy(month_price=90.0, local_price=1.0))
    assert dearer.decide(make_request(tier="premium"), make_room()).backend is None


def test_local_is_chosen_when_its_place_is_worth_it_and_there_is_one() -> None:
    modest = make_request(value_usd=0.01)
    assert Rule(make_policy()).decide(modest, make_room()).backend == LOCAL
    assert Rule(make_policy(local_price=0.01)).decide(modest, make_room()).backend == CHEAP
    assert Rule(make_policy()).decide(modest, make_room(local_requests=0.0)).backend == CHEAP


def test_a_stale_policy_prices_higher_and_gives_lower_tiers_the_cheapest() -> None:
    policy = make_policy(month_price=1.0)
    request = make_request(value_usd=1.0)
    assert Rule(policy).decide(request, make_room()).backend == DEAR
    assert Rule(policy, is_stale=True).price_of("sales") == 2.5
    stale = Rule(policy, is_stale=True)
    assert stale.decide(request, make_room()).backend == LOCAL
    assert stale.decide(request, make_room(local_requests=0.0)).backend == CHEAP
    top = make_request(tier="premium", value_usd=1.0)
    assert stale.decide(top, make_room()).backend == DEAR


def test_between_plans_only_prices_are_made_anew() -> None:
    policy = make_policy()
    before = Rule(policy)
    after = Rule(replace(policy, month_price=9.0), previous=before)
    assert after.options_of("free", "chat") is before.options_of("free", "chat")
    assert after.price_of("sales") == 10.0
    other = replace(policy, quality=dict.fromkeys(policy.tasks, ((0.5, 0.0, 0.0),) * 3))
    assert Rule(other, previous=before).options_of("free", "chat")[0].worth == 0.5


@pytest.mark.parametrize("changed", [{"department": "x"}, {"tier": "x"}, {"task": "x"}])
def test_what_the_policy_does_not_know_is_no_choice(changed: dict[str, str]) -> None:
    with pytest.raises(KeyError):
        Rule(make_policy()).decide(make_request(**changed), make_room())


def test_reasons_have_their_numbers() -> None:
    rule = Rule(make_policy(month_price=0.8))
    request = make_request(tier="premium", value_usd=0.06)
    choice = rule.decide(request, make_room())
    reasons, others = explain(rule, request, make_room(), choice)
    assert reasons == [
        f"{CHEAP}: the most value for its price (quality 0.80, 0.300 cents at today's budget price"
        " 1.80)"
    ]
    assert [other.reason for other in others] == [
        f"{DEAR} refused: quality gain worth 1.8 cents costs 1.7 cents more at today's budget price"
        " 1.80",
        f"{LOCAL} refused: its quality for chat is 0.60, the floor of premium is 0.70",
    ]


@pytest.mark.parametrize(
    ("throttle", "request_is", "backend"),
    [
        (Throttle("all"), {}, LOCAL),
        (Throttle("all"), {"tier": "premium"}, CHEAP),
        (Throttle("sales", departments=("Sales", "desk")), {}, LOCAL),
        (Throttle("support", departments=("support",)), {}, DEAR),
        (Throttle("tiny", departments=("tiny",)), {"code": "Tiny"}, LOCAL),
        (Throttle("acme", customer="acme"), {}, DEAR),
        (Throttle("acme", customer="acme"), {"customer": "acme"}, LOCAL),
        (Throttle("both", customer="acme", project="ide"), {"customer": "acme"}, DEAR),
        (Throttle("key", router="gateway"), {"router": "gateway"}, LOCAL),
        # About backends: only where the request may run on no other.
        (Throttle("cloud", backends=(1, 2)), {}, DEAR),
        (Throttle("cloud", backends=(1, 2)), {"tier": "premium"}, CHEAP),
        (Throttle("dear", backends=(2,)), {"tier": "premium"}, DEAR),
    ],
)
def test_a_used_up_budget_that_throttles_leaves_what_it_covers_the_cheapest(
    throttle: Throttle, request_is: dict[str, str], backend: str
) -> None:
    request = make_request(value_usd=5.0, **request_is)
    policy = make_policy()
    assert Rule(policy).decide(request, make_room()).backend == DEAR
    rule = Rule(replace(policy, throttles=(throttle,)))
    choice = rule.decide(request, make_room())
    assert choice.backend == backend
    assert rule.throttled_by(request) == ([] if backend == DEAR else [throttle.budget])
    if backend != DEAR:
        assert choice.because == "throttled"
        reasons, _ = explain(rule, request, make_room(), choice)
        assert "the cheapest that meets the floor" in reasons[0]


@given(request=REQUESTS, month_price=PRICES)
def test_who_is_throttled_runs_on_the_cheapest_whatever_is_left(
    request: Request, month_price: float
) -> None:
    rule = Rule(make_policy(month_price=month_price, throttles=(Throttle("all"),)))
    cheapest = rule.by_cost(request)[0][1]
    for room in (make_room(), make_room(month_usd=0.0, day_usd=0.0)):
        assert rule.decide(request, room).backend == cheapest.backend
    if cheapest.is_local:
        full = rule.decide(request, make_room(local_requests=0.0))
        assert full.backend == rule.by_cost(request)[1][1].backend
