"""Leases: a router spends without asking, and no cap is overspent by it."""

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.budgets.counter_client import client as valkey
from apps.budgets.errors import BudgetRefused, LeaseRefused
from apps.budgets.expiry import lapse_leases, sweep
from apps.budgets.lease_journal import Lease, list_leases
from apps.budgets.leases import LeaseAsk, grant_lease, renew_lease, return_lease
from apps.budgets.models import Hold
from apps.budgets.rebuild import forget_counters
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.tenants.services import create_department
from tests.budgets.asks import balance, hold, make_budget, standing
from tests.budgets.test_rebuild import lose_counters
from tests.conftest import Key, make_key, native_event, roll_up

Post = Callable[..., dict[str, Any]]
EVENT_COST = Decimal("0.000225")
NANO = Decimal("1e-9")


def take(key: Key, usd: str, *, now: datetime | None = None, **fields: Any) -> Lease:
    wanted: dict[str, Any] = {"request_id": uuid.uuid4().hex, "seconds": 60} | fields
    tokens, requests = wanted.pop("tokens", None), wanted.pop("requests", None)
    ask = LeaseAsk(usd=Decimal(usd), tokens=tokens, requests=requests, **wanted)
    return grant_lease(key.identity, ask, now=now or datetime.now(UTC))


def give_back(key: Key, lease: Lease, used: str, **fields: Any) -> Lease:
    counts: dict[str, Any] = {"used_tokens": None, "used_requests": None} | fields
    return return_lease(
        key.identity, lease.lease_id, used_usd=Decimal(used), now=datetime.now(UTC), **counts
    )


def leased_now(tenant: TenantInfo) -> list[Lease]:
    with tenant_scope(tenant.id):
        return list_leases(now=datetime.now(UTC))


def test_a_lease_is_a_share_of_what_is_left_and_no_more_whatever_is_asked(
    tenant: TenantInfo, key: Key
) -> None:
    budget_id = make_budget(tenant.id, "100")
    hold(tenant.id, "20")
    lease = take(key, "1000")
    assert lease.usd == 4  # 5% of the 80 that are left; one router
    assert standing(tenant.id, budget_id) == (0, Decimal(24))
    with pytest.raises(LeaseRefused):
        take(key, "1")  # it has its share
    second = make_key(tenant.id, "route")
    assert take(second, "0.5").usd == Decimal("0.5")
    assert take(second, "1000").usd == Decimal("1.3875")  # 5% of 75.5 for two, less


def test_under_a_seventh_of_a_cap_nothing_is_leased(tenant: TenantInfo, key: Key) -> None:
    make_budget(tenant.id, "100")
    hold(tenant.id, "84.9")
    assert take(key, "0.1").usd == Decimal("0.1")
    hold(tenant.id, "0.1")
    with pytest.raises(LeaseRefused) as refused:
        take(make_key(tenant.id, "route"), "0.1")
    (cap,) = refused.value.caps
    assert (cap.limit, cap.held, cap.left) == (100 * 10**9, 85 * 10**9 + 10**8, 149 * 10**8)
    assert hold(tenant.id, "14.9").is_held


def test_all_scopes_or_none(tenant: TenantInfo, key: Key) -> None:
    with tenant_scope(tenant.id):
        create_department(code="ops", name="Ops", now=datetime.now(UTC))
    wide = make_budget(tenant.id, "100")
    narrow = make_budget(tenant.id, "10", scope={"department": "ops"})
    told = make_budget(tenant.id, "1", on_limit="notify")
    lease = take(key, "50", department="ops")
    assert (lease.usd, lease.budgets) == (Decimal("0.5"), (wide, told, narrow))
    hold(tenant.id, "9", department_id=None)
    with tenant_scope(tenant.id):
        ops = Hold.objects.get(decision_id=lease.lease_id)
    assert {budget_id for budget_id, _, _ in ops.parts} == {wide, narrow, told}
    give_back(key, lease, "0")
    assert standing(tenant.id, narrow) == (0, 0)


def test_caps_that_its_requests_may_fall_under_are_named(tenant: TenantInfo, key: Key) -> None:
    with tenant_scope(tenant.id):
        for code in ("ops", "eng"):
            create_department(code=code, name=code, now=datetime.now(UTC))
    make_budget(tenant.id, "10", scope={"department": "eng"})
    make_budget(tenant.id, "10", scope={"department": "ops", "model": "gpt-4o"})
    make_budget(tenant.id, "10", scope={"model": "gpt-4o"}, on_limit="notify")
    assert list(take(key, "1", department="ops").except_for) == [
        {"department": "ops", "model": "gpt-4o"}
    ]
    mini = take(key, "1", department="ops", backend="openai/gpt-4o-mini")
    assert mini.except_for == ()
    assert len(take(key, "1").except_for) == 2


def test_usage_moves_it_from_held_to_spent(tenant: TenantInfo, key: Key, post_events: Post) -> None:
    budget_id = make_budget(tenant.id, "1")
    lease = take(key, "0.01")
    before = balance(tenant.id, budget_id).left
    events = [native_event(decision_id=lease.lease_id) for _ in range(3)]
    post_events(events)
    post_events(events[:1])
    claimed = (3 * EVENT_COST, Decimal("0.01") - 3 * EVENT_COST)
    assert standing(tenant.id, budget_id) == claimed
    assert balance(tenant.id, budget_id).left == before
    roll_up(tenant.id)
    lose_counters(tenant.id)
    forget_counters(tenant.id)
    assert standing(tenant.id, budget_id) == claimed
    assert [one.unclaimed_usd for one in leased_now(tenant)] == [claimed[1]]


def test_a_lease_comes_back_with_what_the_queue_claims_of_it(
    tenant: TenantInfo, key: Key, post_events: Post
) -> None:
    budget_id = make_budget(tenant.id, "1")
    lease = take(key, "0.01")
    post_without_fold(key, [native_event(decision_id=lease.lease_id)])
    lose_counters(tenant.id)
    forget_counters(tenant.id)
    claimed = (EVENT_COST, Decimal("0.01") - EVENT_COST)
    assert standing(tenant.id, budget_id) == claimed
    roll_up(tenant.id)
    assert standing(tenant.id, budget_id) == claimed
    # Lost before the commit that the next life hears of only by its fold.
    lose_counters(tenant.id)
    post_without_fold(key, [native_event(decision_id=lease.lease_id)])
    roll_up(tenant.id)
    assert standing(tenant.id, budget_id) == (2 * EVENT_COST, Decimal("0.01") - 2 * EVENT_COST)


def test_returned_it_counts_what_was_used_until_usage_tells(
    tenant: TenantInfo, key: Key, post_events: Post
) -> None:
    budget_id = make_budget(tenant.id, "1")
    lease = take(key, "0.01")
    post_events([native_event(decision_id=lease.lease_id)])
    for _ in range(2):
        assert give_back(key, lease, str(2 * EVENT_COST)).state == "returned"
        assert standing(tenant.id, budget_id) == (2 * EVENT_COST, 0)
    lose_counters(tenant.id)
    forget_counters(tenant.id)
    assert standing(tenant.id, budget_id) == (2 * EVENT_COST, 0)
    for n in (2, 3):  # the third the router did not tell of: it counts all the same
        post_events([native_event(decision_id=lease.lease_id)])
        assert standing(tenant.id, budget_id) == (n * EVENT_COST, 0)


def test_a_later_word_may_say_less(tenant: TenantInfo, key: Key, post_events: Post) -> None:
    budget_id = make_budget(tenant.id, "1")
    lease = take(key, "0.01")
    give_back(key, lease, "0.005")  # one request runs still, at its worst
    post_events([native_event(decision_id=lease.lease_id)])
    assert standing(tenant.id, budget_id) == (Decimal("0.005"), 0)
    for used in (str(EVENT_COST), "0.009"):
        give_back(key, lease, used)
        assert standing(tenant.id, budget_id) == (EVENT_COST, 0)
    lose_counters(tenant.id)
    forget_counters(tenant.id)
    assert standing(tenant.id, budget_id) == (EVENT_COST, 0)


def test_run_out_it_counts_until_it_is_claimed_and_lapses_after_a_day(
    tenant: TenantInfo, key: Key, post_events: Post
) -> None:
    budget_id = make_budget(tenant.id, "1")
    now = datetime.now(UTC)
    lease = take(key, "0.01")
    # Requests that it admitted at its last instant have as long as any reservation.
    assert sweep(tenant.id, now=lease.admits_until + timedelta(seconds=1)) == 0
    assert sweep(tenant.id, now=lease.held_until + timedelta(seconds=1)) == 1
    assert standing(tenant.id, budget_id) == (Decimal("0.01"), 0)
    post_events([native_event(decision_id=lease.lease_id)])
    assert standing(tenant.id, budget_id) == (Decimal("0.01"), 0)
    lose_counters(tenant.id)
    forget_counters(tenant.id)
    assert standing(tenant.id, budget_id) == (Decimal("0.01"), 0)
    assert [one.state for one in leased_now(tenant)] == ["expired"]
    assert lapse_leases(tenant.id, now=now + timedelta(hours=23)) == 0
    assert lapse_leases(tenant.id, now=now + timedelta(hours=25)) == 1
    assert standing(tenant.id, budget_id) == (EVENT_COST, 0)
    post_events([native_event(decision_id=lease.lease_id)])
    assert standing(tenant.id, budget_id) == (2 * EVENT_COST, 0)
    assert leased_now(tenant) == []


def test_renewed_it_runs_on_though_the_counters_missed_it(tenant: TenantInfo, key: Key) -> None:
    budget_id = make_budget(tenant.id, "1", period="year")
    lease = take(key, "0.01")
    later = renew_lease(
        key.identity,
        lease.lease_id,
        seconds=3600,
        now=lease.admits_until - timedelta(seconds=1),
    )
    assert later.held_until > lease.held_until
    name = next(iter(valkey().scan_iter(match=f"costboard:{{b{tenant.id}}}:*:expiry")))
    valkey().zadd(name, {lease.lease_id: 1})
    sweep(tenant.id, now=lease.held_until + timedelta(seconds=1))
    assert standing(tenant.id, budget_id) == (0, Decimal("0.01"))
    sweep(tenant.id, now=later.held_until + timedelta(seconds=1))
    assert standing(tenant.id, budget_id) == (Decimal("0.01"), 0)
    # The router comes back after all, and says what it used.
    give_back(key, lease, "0.001")
    assert standing(tenant.id, budget_id) == (Decimal("0.001"), 0)


def test_it_admits_nothing_in_the_next_period(tenant: TenantInfo, key: Key) -> None:
    make_budget(tenant.id, "1", period="day")
    now = datetime.now(UTC)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    lease = take(key, "0.01", now=now, seconds=100_000)
    assert lease.admits_until == midnight
    renewed = renew_lease(key.identity, lease.lease_id, seconds=100_000, now=now)
    assert renewed.admits_until == midnight


def test_tokens_and_requests_are_leased_where_caps_count_them(
    tenant: TenantInfo, key: Key, post_events: Post
) -> None:
    tokens = make_budget(tenant.id, "100000", unit="tokens", period="day")
    requests = make_budget(tenant.id, "60", unit="requests", period="week")
    lease = take(key, "0.01", tokens=4000)
    assert (lease.usd, lease.tokens, lease.requests) == (Decimal("0.01"), 4000, 3)
    post_events([native_event(decision_id=lease.lease_id)])
    assert (balance(tenant.id, tokens).spent.number, balance(tenant.id, tokens).held) == (
        1200,
        2800,
    )
    assert (balance(tenant.id, requests).spent.number, balance(tenant.id, requests).held) == (1, 2)
    give_back(key, lease, "0.01", used_tokens=1200, used_requests=1)
    assert balance(tenant.id, tokens).left == 100000 - 1200
    assert balance(tenant.id, requests).left == 59


def test_over_http(tenant: TenantInfo, key: Key, client: Client) -> None:
    make_budget(tenant.id, "100")
    other = make_key(tenant.id, "route")

    def call(path: str, body: dict[str, Any], by: Key = key) -> Any:
        return client.post(
            f"/api/v1/budgets/leases{path}",
            json.dumps(body),
            content_type="application/json",
            headers=by.headers,
        )

    wanted = {"request_id": "l-1", "amount_usd": "2.5"}
    made = call("", wanted)
    assert made.status_code == 201, made.content
    lease = made.json()
    assert (lease["amount_usd"], lease["state"], lease["tokens"]) == ("2.5", "open", None)
    assert call("", wanted).json() == lease | {"is_repeat": True}
    refused = call("", wanted | {"request_id": "l-2"})
    assert (refused.status_code, refused.json()["code"]) == (402, "lease_refused")
    assert "reserve each request by itself" in refused.json()["detail"]
    unknown = call("", wanted | {"request_id": "l-3", "department": "nowhere"})
    assert (unknown.status_code, unknown.json()["field"]) == (422, "department")
    assert call(f"/{lease['lease_id']}/renew", {"seconds": 120}).status_code == 200
    assert call(f"/{lease['lease_id']}/return", {"used_usd": "0"}, other).status_code == 404
    assert call(f"/{lease['lease_id']}/return", {"used_usd": "0.5"}).json()["state"] == "returned"
    over = call(f"/{lease['lease_id']}/renew", {})
    assert (over.status_code, over.json()["code"]) == (409, "lease_over")
    rows = client.get("/api/v1/budgets/leases", headers=key.headers).json()["rows"]
    assert [(row["state"], row["unclaimed_usd"]) for row in rows] == [("returned", "0.5")]
    # A lease is no reservation: its door does not end it.
    released = client.post(
        f"/api/v1/budgets/reservations/{lease['lease_id']}/release", headers=key.headers
    )
    assert released.status_code == 404


def post_without_fold(key: Key, events: list[dict[str, Any]]) -> None:
    answer = Client().post(
        "/api/v1/usage/events",
        json.dumps(events),
        content_type="application/json",
        headers=key.headers,
    )
    assert answer.status_code == 200, answer.content


class LeasingRouter:
    """A router that keeps to its leases, with books of its own; and what else may happen. Steps
    are methods: which of its leases, and how much, of 100."""

    def __init__(self, tenant_id: int, budget_id: int) -> None:
        self.tenant_id = tenant_id
        self.budget_id = budget_id
        self.key = make_key(tenant_id)
        self.leases: list[Lease] = []
        self.left: dict[str, Decimal] = {}
        self.charged = Decimal(0)

    def cap_left(self) -> Decimal:
        return balance(self.tenant_id, self.budget_id).left * NANO

    def lease(self, _: Lease | None, share: int) -> None:
        try:
            made = take(self.key, str(Decimal(share) / 10_000))
        except LeaseRefused:
            return
        self.leases.append(made)
        self.left[made.lease_id] = made.usd

    def use(self, lease: Lease | None, _: int) -> None:
        if lease is None or self.left[lease.lease_id] < EVENT_COST:
            return
        before = self.cap_left()
        self.left[lease.lease_id] -= EVENT_COST
        self.charge(lease.lease_id)
        assert self.cap_left() >= before

    def reserve(self, _: Lease | None, share: int) -> None:
        amount = Decimal(share) / 5_000
        fits = amount <= self.cap_left()
        try:
            decision_id = hold(self.tenant_id, str(amount)).decision_id
        except BudgetRefused:
            assert not fits
            return
        assert fits
        if amount >= EVENT_COST and share % 2:
            self.charge(decision_id)

    def charge(self, decision_id: str) -> None:
        self.charged += EVENT_COST
        post_without_fold(self.key, [native_event(decision_id=decision_id)])

    def fold(self, _: Lease | None, __: int) -> None:
        roll_up(self.tenant_id)

    def lose(self, _: Lease | None, __: int) -> None:
        lose_counters(self.tenant_id)
        forget_counters(self.tenant_id)

    def say(self, lease: Lease | None, _: int) -> None:
        if lease is not None:
            give_back(self.key, lease, str(lease.usd - self.left[lease.lease_id]))
            # What is given back is not used any more.
            self.leases.remove(lease)

    def run_out(self, _: Lease | None, __: int) -> None:
        sweep(self.tenant_id, now=datetime.now(UTC) + timedelta(hours=2))

    def lapse(self, _: Lease | None, __: int) -> None:
        lapse_leases(self.tenant_id, now=datetime.now(UTC) + timedelta(days=2))
        # Its router knows that they are over.
        self.leases.clear()


STEPS = ["lease", "use", "use", "use", "reserve", "fold", "lose", "say", "run_out", "lapse"]


@settings(
    deadline=None,
    max_examples=20,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(st.sampled_from(STEPS), st.integers(0, 5), st.integers(1, 100)),
        min_size=4,
        max_size=14,
    )
)
def test_whatever_happens_nothing_is_overspent_and_all_is_accounted_for(
    make_tenant: Callable[..., TenantInfo], steps: list[tuple[str, int, int]]
) -> None:
    """What is left of the cap is never below nothing, does not fall by what is used of a lease, and
    in the end spent is what was charged, and what stands in place of charges to come."""
    tenant = make_tenant()
    budget_id = make_budget(tenant.id, "0.02")
    router = LeasingRouter(tenant.id, budget_id)
    for what, which, share in [*steps, ("say", 0, 1), ("run_out", 0, 1), ("fold", 0, 1)]:
        lease = router.leases[which % len(router.leases)] if router.leases else None
        getattr(router, what)(lease, share)
        assert router.cap_left() >= 0
    with tenant_scope(tenant.id):
        rows = Hold.objects.exclude(counted_parts=None).values_list("counted_parts", flat=True)
        in_place = sum((count * NANO for parts in rows for _, _, count in parts or ()), Decimal(0))
    expected = (router.charged + in_place, 0)
    assert standing(tenant.id, budget_id) == expected
    router.lose(None, 1)
    assert standing(tenant.id, budget_id) == expected
