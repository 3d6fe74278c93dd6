"""Thresholds: told once when they are reached, whatever brings spend there, and none missed."""

import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.alerts.models import Alert
from apps.budgets.activity import _Change
from apps.budgets.models import Crossing
from apps.budgets.projections import refresh_projections
from apps.budgets.services import add_top_up, change_amount, change_budget
from apps.budgets.tasks import project_budgets, tell_thresholds
from apps.budgets.thresholds import check_thresholds
from apps.pricing.services import change_rate
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.tenants.services import create_department
from tests.budgets.asks import make_budget
from tests.conftest import Key, native_event, roll_up
from tests.usage.repricing_steps import own_rate, undo
from tests.usage.repricing_steps import reprice as reprice_all
from tests.usage.test_reattribution import move, scope

Post = Callable[..., dict[str, Any]]
TEN = {"input_tokens": 1_000_000, "output_tokens": 0}


@pytest.fixture
def rate(key: Key) -> int:
    """A million tokens of home-grown cost 10 USD; the rate's id."""
    return own_rate(key, "10")


@pytest.fixture
def spend(post_events: Post, rate: int) -> Callable[..., None]:
    """Spend so many times 10 USD, in one event each."""

    def post(times: int = 1, **fields: Any) -> None:
        fields = {"provider": "nobody", "model": "home-grown", "usage": TEN} | fields
        post_events([native_event(**fields) for _ in range(times)])

    return post


def look(tenant: TenantInfo, now: datetime | None = None) -> int:
    return check_thresholds(tenant.id, now=now or datetime.now(UTC))


def told(tenant: TenantInfo) -> list[tuple[str, str]]:
    """(basis, threshold) of each alert, in order."""
    with tenant_scope(tenant.id):
        alerts = Alert.objects.order_by("id")
        assert Crossing.objects.count() == alerts.count()
        return [(a.details["basis"], a.details["threshold_percent"]) for a in alerts]


def budget(tenant: TenantInfo, amount: str = "100", **fields: Any) -> int:
    wanted = {"on_limit": "notify", "thresholds": [Decimal(50), Decimal(80), Decimal(100)]}
    return make_budget(tenant.id, amount, **(wanted | fields))


def reprice(key: Key, rate_id: int, price: str) -> int:
    """Give home-grown another price since ever and reprice everything; the new rate's id."""
    with tenant_scope(key.identity.tenant_id):
        rate_id = change_rate(
            rate_id=rate_id,
            price_usd_per_mtok=Decimal(price),
            effective_from=datetime(2020, 1, 1, tzinfo=UTC),
            actor="test",
            now=datetime.now(UTC),
        )
    reprice_all(key)
    roll_up(key.identity.tenant_id)
    return rate_id


def test_each_threshold_is_told_once(tenant: TenantInfo, spend: Any) -> None:
    budget(tenant)
    spend(4)
    assert look(tenant) == 0
    spend()
    assert (look(tenant), look(tenant)) == (1, 0)
    spend(3)
    assert (look(tenant), look(tenant)) == (1, 0)
    spend(2)
    assert (look(tenant), look(tenant)) == (1, 0)
    spend(5)
    assert look(tenant) == 0
    assert told(tenant) == [("actual", "50"), ("actual", "80"), ("actual", "100")]


def test_a_jump_tells_every_threshold_it_passes(tenant: TenantInfo, spend: Any) -> None:
    budget(tenant)
    spend(9)
    assert look(tenant) == 2
    assert told(tenant) == [("actual", "50"), ("actual", "80")]


def test_the_alert_says_how_much_until_when_and_who(tenant: TenantInfo, spend: Any) -> None:
    budget_id = budget(tenant, name="Everything we have", thresholds=[Decimal(80)])
    spend(9, customer="acme", department="support")
    look(tenant)
    with tenant_scope(tenant.id):
        alert = Alert.objects.get()
    assert alert.subject == "Everything we have: 80% of 100.00 USD is spent"
    assert (alert.path, alert.kind) == (f"/budgets/{budget_id}", "budget_threshold")
    assert alert.amount_usd == 90
    assert "90.00 USD of 100.00 USD the month of 1" in alert.body
    assert "runs out" in alert.body
    most = "department support (100%), customer acme (100%), model home-grown (100%)"
    assert f"Most is spent by {most}." in alert.body


def test_falling_by_repricing_and_rising_again_tells_nothing_new(
    tenant: TenantInfo, key: Key, spend: Any, rate: int
) -> None:
    budget(tenant)
    spend(6)
    assert look(tenant) == 1
    lower = reprice(key, rate, "1")
    assert look(tenant) == 0
    reprice(key, lower, "10")
    assert look(tenant) == 0
    spend(2)
    assert look(tenant) == 1
    assert told(tenant) == [("actual", "50"), ("actual", "80")]


def test_what_a_repricing_brings_over_is_told(
    tenant: TenantInfo, key: Key, spend: Any, rate: int
) -> None:
    budget(tenant)
    spend(2)
    assert look(tenant) == 0
    reprice(key, rate, "30")
    assert look(tenant) == 1
    assert told(tenant) == [("actual", "50")]


def test_a_rise_that_was_taken_back_before_anybody_looked_is_told(
    tenant: TenantInfo, key: Key, spend: Any, rate: int
) -> None:
    budget(tenant)
    spend(8)
    reprice(key, rate, "1")
    assert look(tenant) == 2
    assert told(tenant) == [("actual", "50"), ("actual", "80")]
    assert look(tenant) == 0


def test_a_late_event_is_told_for_its_own_period(tenant: TenantInfo, spend: Any) -> None:
    budget(tenant, period="day")
    old = (datetime.now(UTC) - timedelta(days=9)).isoformat()
    spend(5, timestamp=old)
    assert look(tenant) == 1
    with tenant_scope(tenant.id):
        assert "That period is over" in Alert.objects.get().body
    spend(3, timestamp=old)
    spend(5)
    assert look(tenant) == 2
    assert sorted(told(tenant)) == [("actual", "50"), ("actual", "50"), ("actual", "80")]


def test_the_next_period_arms_again(tenant: TenantInfo, spend: Any) -> None:
    budget(tenant, period="day")
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    spend(5, timestamp=yesterday)
    assert look(tenant) == 1
    spend(5)
    assert look(tenant) == 1
    assert told(tenant) == [("actual", "50"), ("actual", "50")]


def test_another_amount_arms_again_and_the_old_one_does_not(tenant: TenantInfo, spend: Any) -> None:
    budget_id = budget(tenant)
    spend(8)
    assert look(tenant) == 2
    for amount, news in (("120", 1), ("100", 0), ("160", 1), ("120", 0)):
        with tenant_scope(tenant.id):
            change_amount(budget_id, Decimal(amount), actor="t", reason="r", now=datetime.now(UTC))
        assert look(tenant) == news, amount


def test_a_top_up_arms_again(tenant: TenantInfo, spend: Any) -> None:
    budget_id = budget(tenant)
    spend(8)
    look(tenant)
    now = datetime.now(UTC)
    with tenant_scope(tenant.id):
        add_top_up(
            budget_id,
            Decimal(50),
            starts_at=now,
            ends_at=now + timedelta(days=1),
            actor="t",
            reason="a fair",
            now=now,
        )
    assert look(tenant) == 1
    spend(4)
    assert look(tenant) == 1


def test_a_new_threshold_is_told_if_it_is_passed_already(tenant: TenantInfo, spend: Any) -> None:
    budget_id = budget(tenant, thresholds=[])
    spend(6)
    assert look(tenant) == 0
    with tenant_scope(tenant.id):
        change_budget(budget_id, actor="t", now=datetime.now(UTC), thresholds=[Decimal(60)])
    assert look(tenant) == 1


def test_a_projected_end_over_the_amount_is_told(tenant: TenantInfo, spend: Any) -> None:
    budget(tenant, thresholds=[], projected_thresholds=[Decimal(100)], amount="95", period="year")
    for days in range(1, 15):
        spend(timestamp=(datetime.now(UTC) - timedelta(days=days)).isoformat())
    spend()
    refresh_projections(tenant.id, now=datetime.now(UTC))
    assert look(tenant) == 1
    assert told(tenant) == [("projected", "100")]


def test_two_who_look_at_once_tell_it_once(tenant: TenantInfo, spend: Any) -> None:
    budget(tenant)
    spend(8)
    found: list[int] = []
    start = threading.Barrier(4)

    def one() -> None:
        start.wait()
        try:
            found.append(look(tenant))
        finally:
            connection.close()

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(found) == 2
    assert told(tenant) == [("actual", "50"), ("actual", "80")]


def test_a_crossing_and_its_alert_are_kept_together_or_not_at_all(
    tenant: TenantInfo, spend: Any
) -> None:
    budget(tenant)
    spend(8)

    def look_and_fail() -> None:
        with tenant_scope(tenant.id):
            assert look(tenant) == 2
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        look_and_fail()
    assert told(tenant) == []
    assert look(tenant) == 2


def test_another_tenants_spend_crosses_nothing(
    tenant: TenantInfo, spend: Any, make_tenant: Any
) -> None:
    other = make_tenant()
    budget(other)
    spend(9)
    assert look(other) == 0
    assert told(other) == []


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.lists(st.integers(-50, 50), min_size=1, max_size=5), min_size=1, max_size=6),
)
def test_the_highest_stand_is_known_however_commits_are_folded(batches: list[list[int]]) -> None:
    """`fallen` is how far the sum stands below its highest, whatever the batches."""
    standing = highest = Decimal(0)
    fallen = Decimal(0)
    for batch in batches:
        change = _Change()
        for amount in batch:
            change = change.then(Decimal(amount))
            standing += amount
            highest = max(highest, standing)
        # As the statement adds a batch to the row.
        fallen = max(fallen - change.total, change.fallen)
    assert standing + fallen == highest


def test_the_workers_tasks_project_and_tell(tenant: TenantInfo, spend: Any) -> None:
    budget(tenant, thresholds=[Decimal(50)], projected_thresholds=[Decimal(60)])
    spend(6)
    project_budgets()
    tell_thresholds()
    assert sorted(told(tenant)) == [("actual", "50"), ("projected", "60")]


def test_what_is_taken_back_and_comes_again_tells_nothing_new(
    tenant: TenantInfo, key: Key, spend: Any, rate: int
) -> None:
    """Moved out of a department and back, repriced and undone: told on the way up alone."""
    with tenant_scope(tenant.id):
        for code in ("ops", "eng"):
            create_department(code=code, name=code, now=datetime.now(UTC))
    budget(tenant, scope={"department": "ops"})
    budget(tenant, scope={"department": "eng"})
    spend(6, department="ops")
    assert look(tenant) == 1
    move(key, scope({"department": "ops"}, department="eng"))
    assert look(tenant) == 1
    move(key, scope({"department": "eng"}, department="ops"))
    assert look(tenant) == 0
    with tenant_scope(tenant.id):
        change_rate(
            rate_id=rate,
            price_usd_per_mtok=Decimal("14"),
            effective_from=datetime(2020, 1, 1, tzinfo=UTC),
            actor="test",
            now=datetime.now(UTC),
        )
    run = reprice_all(key)
    assert look(tenant) == 1
    undo(key, run.id)
    assert look(tenant) == 0
    reprice_all(key)
    assert look(tenant) == 0
    told_of = [("actual", "50"), ("actual", "50"), ("actual", "80")]
    assert sorted(told(tenant)) == told_of


def test_a_move_that_was_taken_back_before_anybody_looked_is_told(
    tenant: TenantInfo, key: Key, spend: Any
) -> None:
    with tenant_scope(tenant.id):
        for code in ("ops", "eng"):
            create_department(code=code, name=code, now=datetime.now(UTC))
    budget(tenant, scope={"department": "eng"}, thresholds=[Decimal(50)])
    spend(6, department="ops")
    undo(key, move(key, scope({"department": "ops"}, department="eng")).id)
    assert look(tenant) == 1
    assert look(tenant) == 0


LATE_DAYS = 9


class Stands:
    """What a day's budget of 100 USD for the department ops should have told: by hand."""

    def __init__(self) -> None:
        self.price = 10
        self.events = {(day, code): 0 for day in (0, LATE_DAYS) for code in ("ops", "eng")}
        self.peak = {0: 0, LATE_DAYS: 0}
        self.told: set[tuple[int, int]] = set()

    def note(self) -> None:
        for day, peak in self.peak.items():
            self.peak[day] = max(peak, self.spent(day))

    def spent(self, day: int) -> int:
        return self.events[day, "ops"] * self.price

    def look(self) -> int:
        """How many are news: reached since the last look, if only for a moment."""
        reached = {(d, t) for d, peak in self.peak.items() for t in (50, 80, 100) if peak >= t}
        news = len(reached - self.told)
        self.told |= reached
        self.peak = {day: self.spent(day) for day in self.peak}
        return news

    def move(self, source: str, target: str) -> None:
        for day in self.peak:
            self.events[day, target] += self.events[day, source]
            self.events[day, source] = 0


@pytest.mark.parametrize("seed", [1, 2])
def test_up_and_down_by_usage_late_usage_repricing_and_moves_each_is_told_once_and_none_missed(
    tenant: TenantInfo, key: Key, spend: Any, rate: int, seed: int
) -> None:
    """Whatever comes in whatever order: events of today and of nine days ago, prices that rise and
    fall, charges taken back out of the department and given again; looked at now and then."""
    with tenant_scope(tenant.id):
        for code in ("ops", "eng"):
            create_department(code=code, name=code, now=datetime.now(UTC))
    budget(tenant, scope={"department": "ops"}, period="day")
    chance, stands = random.Random(seed), Stands()
    for _ in range(14):
        act = chance.choice(("today", "late", "reprice", "move", "look", "look"))
        if act in ("today", "late"):
            day, times = (0 if act == "today" else LATE_DAYS), chance.randint(1, 4)
            at = datetime.now(UTC) - timedelta(days=day)
            spend(times, department="ops", timestamp=at.isoformat())
            stands.events[day, "ops"] += times
        elif act == "reprice":
            stands.price = chance.choice([n for n in (2, 5, 10, 20, 30) if n != stands.price])
            rate = reprice(key, rate, str(stands.price))
        elif act == "move":
            source, target = chance.choice((("ops", "eng"), ("eng", "ops")))
            if any(stands.events[day, source] for day in stands.peak):
                move(key, scope({"department": source}, department=target))
                stands.move(source, target)
        else:
            assert look(tenant) == stands.look()
        stands.note()
    assert look(tenant) == stands.look()
    today = datetime.now(UTC).date()
    with tenant_scope(tenant.id):
        crossed = {
            ((today - c.period_start.date()).days, int(c.threshold)) for c in Crossing.objects.all()
        }
    assert crossed == stands.told
    assert len(told(tenant)) == len(stands.told)
