"""The chapter's words, on the live planner: what budgets, the day, the tier and revenue do to where
requests go; and what keeps standing when things fail."""

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest

from apps.budgets.errors import BudgetRefused
from apps.budgets.services import BudgetTermsInput, archive_budget, create_budget
from apps.routing.core.choosing import NoneEligible
from apps.routing.core.policy import Throttle, from_json
from apps.routing.core.rule import Request, Rule
from apps.routing.decision_log import client, store_decisions
from apps.routing.errors import NotWorthItsPrice
from apps.routing.live_models import ShadowPolicy
from apps.routing.policy_memory import live_policy
from apps.routing.selectors import (
    compare_shadows,
    find_decision,
    list_policy_changes,
    read_estimate_quality,
    read_policy_status,
)
from apps.routing.services import add_override, begin_shadow, set_value_model
from apps.routing.simulations import ask_simulation, get_simulation, run_simulation
from apps.tenants.scoping import tenant_scope
from apps.tenants.services import create_customer, create_department
from tests.conftest import Key
from tests.routing.stories import HOUR, LARGE, LOCAL, MINI, Story


@pytest.fixture
def story(key: Key) -> Story:
    story = Story(key.identity)
    story.mode("advise")
    return story


def test_a_daily_cap_pushes_traffic_local(story: Story) -> None:
    story.budget("1.50", "day")
    story.plan()
    # Twelve hours in, what is left of the day is more than its chats need.
    assert story.decide().backend == MINI
    story.spend_large(61)
    for _ in range(3):
        policy = story.plan()
    assert policy.day_price > 0.9
    decision = story.decide()
    assert decision.backend == LOCAL
    assert any("today's budget price" in reason for reason in decision.reasons)


def test_a_month_over_tightens_and_one_under_relaxes(story: Story) -> None:
    budget_id = story.budget("500")
    assert story.plan().month_price == pytest.approx(0, abs=0.02)
    assert story.decide().backend == MINI
    # 192 hours x 4.8 cents are spent; nothing is left.
    story.amount(budget_id, "9.20")
    tight = story.plan()
    assert tight.month_price > 1
    assert story.decide().backend == LOCAL
    story.amount(budget_id, "500")
    assert story.plan().month_price < tight.month_price
    with tenant_scope(story.key.tenant_id):
        relaxed, tightened, _ = list_policy_changes()
    assert any("over: prices tighten" in reason for reason in tightened.reasons)
    assert any("under: prices relax" in reason for reason in relaxed.reasons)
    month = next(row for row in tightened.moved if row["what"] == "month")
    assert month["to"] > month["from"]


def test_exhaustion_throttles_the_dear_before_it_refuses_anyone(story: Story) -> None:
    budget_id = story.budget("500", kind="cloud")
    story.plan()
    dear = {"revenue_usd": 0.8, "reserve": True}
    assert story.decide("enterprise", **dear).backend == LARGE
    story.amount(budget_id, "9.40")
    for _ in range(3):
        story.plan()
    throttled = story.decide("enterprise", **dear)
    assert throttled.backend == MINI
    assert story.decide(reserve=True).backend == LOCAL
    story.amount(budget_id, "9")
    story.plan()
    assert story.decide(reserve=True).backend == LOCAL
    with pytest.raises(BudgetRefused):
        # No local backend meets an enterprise's floor; nothing is left for any other.
        story.decide("enterprise", reserve=True)


def test_revenue_and_tier_move_a_request_up_when_its_margin_pays(story: Story) -> None:
    story.plan()
    assert story.decide().backend == MINI
    up = story.decide(revenue_usd=2.0)
    assert up.backend == LARGE
    assert up.expected is not None
    assert up.expected.worth_usd > 0.5
    candidates = (LOCAL,)
    assert story.decide(candidates=candidates).backend == LOCAL
    with pytest.raises(NoneEligible):
        story.decide("enterprise", candidates=candidates)
    assert story.decide("enterprise").backend == MINI


def test_an_exhausted_days_price_does_not_come_back_overnight(story: Story) -> None:
    story.budget("1.20", "day")
    story.spend_large(50)
    assert story.plan().day_price > 1
    story.now = story.now.replace(hour=23, minute=58)
    evening = story.pace()
    assert evening.day_price > 1
    story.now += timedelta(minutes=4)
    morning = story.pace()
    assert morning.day_price < 0.5
    with tenant_scope(story.key.tenant_id):
        newest = list_policy_changes(limit=1)[0]
    assert "a new day began" in newest.reasons
    assert story.decide().backend == MINI


def test_prices_are_paced_between_plans_and_go_on_after_a_restart(story: Story) -> None:
    story.budget("10.20")
    planned = story.plan()
    story.spend_large(80)
    paced = story.pace()
    assert paced.version == planned.version + 1
    assert paced.month_price > planned.month_price > 0
    # Nothing of it stands in memory: the next worker reads it back.
    again = story.pace()
    assert again.month_price == pytest.approx(paced.month_price)
    assert again.month_left_usd < planned.month_left_usd


def test_when_a_plan_fails_the_last_prices_stand_and_the_pacer_goes_on(story: Story) -> None:
    story.budget("10.20")
    planned = story.plan()
    with tenant_scope(story.key.tenant_id):
        # Written past the service that would refuse it: what no plan can be made with.
        ShadowPolicy.objects.create(
            name="broken",
            value_model={"floors": "none"},
            reason="story",
            actor="test",
            created_at=story.now,
        )
    story.spend_large(80)
    paced = story.pace()
    with tenant_scope(story.key.tenant_id):
        status = read_policy_status()
    assert status is not None
    assert "floors" in status.failure
    assert paced.month_price > planned.month_price > 0
    assert story.decide().policy_version == paced.version


def test_past_its_time_a_policy_is_dearer_and_below_the_top_tier_the_cheapest(
    story: Story,
) -> None:
    story.budget("10.20")
    policy = story.plan()
    assert policy.month_price > 0
    live = live_policy(story.key.tenant_id, story.now)
    fresh, stale = (
        live.rule(policy.valid_until_s + late_s, {}).price_of("support") for late_s in (-1, 1)
    )
    assert stale - 1 == pytest.approx((fresh - 1) * policy.stale.price_factor)
    dear = {"revenue_usd": 5.0}
    assert [story.decide(tier, **dear).backend for tier in ("standard", "enterprise")] == [
        LARGE
    ] * 2
    # Nobody plans any more: it was told to hold for two hours.
    story.now += timedelta(seconds=policy.valid_until_s - policy.issued_s + 1)
    below = story.decide("standard", **dear)
    assert (below.backend, below.policy_version) == (LOCAL, policy.version)
    # Its value still pays for the dear one; no local backend meets its floor.
    assert story.decide("enterprise", **dear).backend == LARGE
    assert story.decide("enterprise").backend == MINI
    with pytest.raises(NoneEligible):
        story.decide("enterprise", candidates=(LOCAL,))


def test_a_new_value_model_is_planned_with_at_once_and_its_floors_are_hard(story: Story) -> None:
    story.plan()
    with tenant_scope(story.key.tenant_id):
        floors = {"standard": {"chat": 0.9}}
        set_value_model({"floors": floors}, actor="test", reason="better", now=story.now)
    story.pace()
    decision = story.decide()
    assert decision.backend == LARGE
    assert any(
        "its quality for chat is 0.89, the floor of standard is 0.90" in other.reason
        for other in decision.alternatives
    )
    with tenant_scope(story.key.tenant_id):
        assert "the value model changed" in list_policy_changes(limit=1)[0].reasons
        add_override("pin", MINI, actor="ada", reason="a try", now=story.now)
    pinned = story.decide()
    assert pinned.backend == LARGE
    assert any("below the floor, which no pin lowers" in reason for reason in pinned.reasons)


def test_people_pin_ban_and_boost(story: Story) -> None:
    story.plan()
    with tenant_scope(story.key.tenant_id):
        add_override(
            "boost", LOCAL, boost_share=Decimal("0.2"), actor="ada", reason="try it", now=story.now
        )
    assert story.decide().backend == LOCAL
    with tenant_scope(story.key.tenant_id):
        add_override("ban", LOCAL, task="chat", actor="ada", reason="it broke", now=story.now)
    banned = story.decide()
    assert banned.backend == MINI
    assert f"{LOCAL} banned by ada: it broke" in banned.reasons


def test_enforced_prices_refuse_and_advice_does_not(story: Story) -> None:
    story.budget("9.01")
    for _ in range(2):
        story.plan()
    only = {"candidates": (LARGE,)}
    assert story.decide(**only).backend == LARGE
    story.mode("enforce")
    with pytest.raises(NotWorthItsPrice) as refused:
        story.decide(**only)
    assert refused.value.price > 1
    story.mode("observe")
    observed = story.decide()
    # The cheapest that meets the floor, as it would be without a policy.
    assert (observed.backend, observed.mode) == (LOCAL, "observe")


def test_a_budget_that_throttles_leaves_the_cheapest(story: Story) -> None:
    story.budget("0.10", "day", "throttle", department="support")
    story.spend_large(1)
    story.plan()
    decision = story.decide(revenue_usd=5.0)
    assert decision.backend == LOCAL
    assert "day budget is used up; meanwhile only the cheapest runs" in decision.reasons


def test_a_pulled_policy_says_when_a_budget_begins_and_ends_to_throttle(story: Story) -> None:
    budget_id = story.budget("1", "day", "throttle", department="support")
    before = story.plan()
    assert before.throttles == ()
    etag = live_policy(story.key.tenant_id, story.now).etag
    story.spend_large(60)
    during = story.pace()
    assert during.throttles == (Throttle("day budget", departments=("support",)),)
    live = live_policy(story.key.tenant_id, story.now)
    assert live.etag != etag
    rule, room = Rule(from_json(live.document)), live.room
    dear = Request("support", "standard", "chat", 4000, 500.0, 500.0, 5.0, 0.5)
    assert Rule(before).decide(dear, room).backend == LARGE
    assert rule.decide(dear, room)[::3] == (LOCAL, "throttled")
    # Another department's, and those that the policy prices with others, are not slowed.
    assert rule.decide(dear._replace(department="-"), room).backend == LARGE
    # For gateways that take weights: support's all to the cheapest of each cell, others' as they
    # were planned.
    assert all(len(cell) <= 1 for cell in during.weights["support"].split(","))
    assert during.weights["-"] == before.weights["-"]
    story.amount(budget_id, "50")
    after = story.pace()
    assert after.throttles == ()
    with tenant_scope(story.key.tenant_id):
        told = [reason for row in list_policy_changes() for reason in row.reasons]
    assert "day budget is used up: it throttles from now on" in told


SCOPES: tuple[dict[str, str], ...] = (
    {},
    {"department": "support"},
    {"department": "sales"},
    {"customer": "acme"},
    {"customer": "acme", "department": "support"},
    {"project": "ide"},
    {"kind": "cloud"},
    {"kind": "cloud", "department": "support"},
    {"provider": "openai"},
    {"model": "gpt-4o"},
    {"backend": LOCAL},
)


def test_a_router_by_its_policy_and_a_decision_heed_the_same_throttles(story: Story) -> None:
    """Each scope's used-up budget in turn, for each tier, with and without customer and project."""
    tenant_id = story.key.tenant_id
    with tenant_scope(tenant_id):
        create_department(code="sales", name="Sales", now=story.now)
        create_customer(external_id="acme", name="Acme", tier="standard", now=story.now)
    seen: set[tuple[bool, str]] = set()
    for scope in SCOPES:
        budget_id = story.budget("0", "day", "throttle", **scope)
        story.pace()
        live = live_policy(tenant_id, story.now)
        rule = Rule(from_json(live.document))
        for tier in ("standard", "enterprise"):
            for about in ({}, {"customer": "acme"}, {"project": "ide"}):
                request = Request("support", tier, "chat", 4000, 500.0, 500.0, 5.0, 0.5, **about)
                names = rule.throttled_by(request)
                decided = story.decide(tier, revenue_usd=5.0, **about)
                told = any("meanwhile only the cheapest runs" in r for r in decided.reasons)
                assert bool(names) == told, (scope, tier, about)
                if names:
                    choice = rule.decide(request, live.room)
                    assert choice.backend == decided.backend, (scope, tier, about)
                seen.add((told, tier))
        with tenant_scope(tenant_id):
            archive_budget(budget_id, actor="test", reason="next", now=story.now)
    assert len(seen) == 4


def test_a_grant_that_is_over_throttles_no_more(story: Story) -> None:
    with tenant_scope(story.key.tenant_id):
        create_budget(
            BudgetTermsInput(
                scope={},
                period="grant",
                unit="usd",
                amount=Decimal(0),
                on_limit="throttle",
                name="a grant",
                grant_start=story.now - HOUR,
                grant_end=story.now + HOUR,
            ),
            actor="test",
            now=story.now,
        )
    assert [one.budget for one in story.plan().throttles] == ["a grant"]
    story.now += 2 * HOUR
    assert story.pace().throttles == ()
    assert story.decide(revenue_usd=5.0).backend == LARGE


def test_a_throttle_is_heeded_by_decisions_of_a_tenant_without_a_policy(key: Key) -> None:
    story = Story(key.identity)
    story.budget("0", "day", "throttle")
    decision = story.decide()
    assert decision.policy_version is None
    assert "day budget is used up; meanwhile only the cheapest runs" in decision.reasons


def test_decisions_are_kept_and_held_against_their_charges(story: Story) -> None:
    client().delete("costboard:routing:decisions")
    with tenant_scope(story.key.tenant_id):
        begin_shadow(
            "pennies", budget_factor=Decimal("0.5"), actor="test", reason="what if", now=story.now
        )
    story.budget("14")
    story.plan()
    decision = story.decide()
    assert store_decisions() == 1
    story.use(
        [
            story.event(
                story.now, decision.backend, decision_id=decision.decision_id, quality_score=1
            )
        ]
    )
    end = story.now + timedelta(hours=1)
    with tenant_scope(story.key.tenant_id):
        row = find_decision(uuid.UUID(decision.decision_id))
        estimates = read_estimate_quality(start=story.now - timedelta(hours=1), end=end)
        shadows = compare_shadows(start=story.now - timedelta(hours=1), end=end)
    assert row is not None
    assert (row.ran_on, row.quality_score) == (decision.backend, 1.0)
    assert row.actual_usd == Decimal("0.0009")
    assert row.propensity > 0.9
    assert row.policy_version == decision.policy_version
    assert estimates[0].actual_share == pytest.approx(Decimal(1), rel=Decimal("0.05"))
    assert [(s.name, s.decisions) for s in shadows] == [("pennies", 1)]
    assert shadows[0].shadow_cost_usd < shadows[0].live_cost_usd


def test_outcomes_teach_quality_and_no_floor(story: Story) -> None:
    before = story.plan()
    n = [backend.name for backend in before.backends].index(MINI)
    story.use(
        story.event(story.now - timedelta(minutes=5), MINI, quality_score=0.5) for _ in range(300)
    )
    after = story.plan()
    assert after.quality["chat"][n][0] < before.quality["chat"][n][0] - 0.1
    assert after.table_quality == before.table_quality
    assert after.floors == before.floors
    assert story.decide().backend == LOCAL


def test_budgets_of_weeks_and_of_a_departments_days_are_planned_with(story: Story) -> None:
    free = story.plan()
    assert free.month_price == pytest.approx(0, abs=0.02)
    # Its chats come to 0.17 USD a day where they are advised to run.
    weekly = story.budget("0.10", "week")
    priced = story.plan()
    assert priced.month_price > 0.5
    story.amount(weekly, "500")
    story.budget("0.01", "day", department="support")
    relaxed = story.plan()
    assert relaxed.month_price < priced.month_price
    assert relaxed.departments["support"].price > 0.5


def test_a_window_is_replayed_by_the_policies_and_overrides_that_stood(story: Story) -> None:
    tenant_id = story.key.tenant_id
    story.budget("500")
    story.plan()
    began = story.now
    with tenant_scope(tenant_id):
        add_override(
            "ban",
            MINI,
            starts_at=began + HOUR,
            ends_at=began + 2 * HOUR,
            actor="ada",
            reason="an outage",
            now=began,
        )
    story.now = began + 3 * HOUR
    for hour in range(3):
        at = began + hour * HOUR
        story.use(story.event(at + timedelta(minutes=5 + n), LARGE) for n in range(20))
    body = {"name": "as it stood", "policy": "as_stored", "budgets": True}
    with tenant_scope(tenant_id):
        number = ask_simulation(
            body, start=began - HOUR, end=story.now, name="x", actor="ada", now=story.now
        )
    run_simulation(tenant_id, number, now=story.now)
    with tenant_scope(tenant_id):
        found = get_simulation(number)
    assert found is not None
    assert found.result, found.error
    would = {row["name"]: row["would_requests"] for row in found.result["backends"]}
    ran = {row["name"]: row["happened_requests"] for row in found.result["backends"]}
    # An hour before the first policy: as it ran. Then as it advised, but for the hour of the ban.
    assert (ran[LARGE], ran[MINI]) == (60 + 3, 2)
    assert would[MINI] == pytest.approx(2 + 40, abs=2)
    assert would[LARGE] + would[LOCAL] == pytest.approx(3 + 3 + 20, abs=2)
