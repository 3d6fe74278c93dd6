"""Replays over the API: a tenant's own traffic, another way; and what people do with savings."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from apps.budgets.services import BudgetTermsInput, create_budget
from apps.pricing.agreements import add_discount
from apps.routing.opportunities import recompute
from apps.routing.opportunity_actions import measure_accepted
from apps.routing.replay_models import Simulation
from apps.routing.selectors import list_overrides
from apps.routing.simulations import (
    continue_simulations,
    list_tenants_with_waiting_simulation,
    run_simulation,
)
from apps.tenants.scoping import tenant_scope
from tests.conftest import Key, MakeTenant, make_key
from tests.insights.spend_history import OPUS, request_at, spend

HOUR = timedelta(hours=1)
NOW = datetime.now(UTC)
CHEAP = {"provider": "openai", "model": "gpt-5-mini"}


@pytest.fixture
def api(make_tenant: MakeTenant, client: Client) -> "Api":
    return Api(make_key(make_tenant().id, "ingest", "read", "route", "manage"), client)


class Api:
    """A tenant whose summaries run on the dearest model, and a few on a good cheap one."""

    def __init__(self, key: Key, client: Client) -> None:
        self.key, self.client = key, client
        self.tenant_id = key.identity.tenant_id
        first = NOW - timedelta(days=10)
        spend(key.identity, [e for n in range(200) for e in self.events(first + n * HOUR)])

    @staticmethod
    def events(at: datetime, dear: dict[str, str] = OPUS) -> list[dict[str, Any]]:
        kinds = ((dear, "dear"), (CHEAP, "cheap"), (dear, "dear2"))
        return [
            request_at(at + timedelta(minutes=n), name, task="summarise", **model)
            for n, (model, name) in enumerate(kinds)
        ]

    def get(self, path: str) -> Any:
        return self.client.get(f"/api/v1/routing/{path}", headers=self.key.headers)

    def post(self, path: str, body: Any = None) -> Any:
        return self.client.post(
            f"/api/v1/routing/{path}",
            body or {},
            content_type="application/json",
            headers=self.key.headers,
        )

    def replayed(self, **asked: Any) -> dict[str, Any]:
        window = {"from": (NOW - timedelta(days=11)).isoformat(), "to": NOW.isoformat()}
        answer = self.post("simulations", {"name": "try", **window, **asked})
        assert answer.status_code == 202, answer.content
        run_simulation(self.tenant_id, answer.json()["id"], now=NOW)
        done = self.get(f"simulations/{answer.json()['id']}").json()
        assert done["state"] == "done", done
        return dict(done["result"])


def test_a_window_replayed_as_it_happened_is_what_the_ledger_holds(api: Api) -> None:
    result = api.replayed(policy="as_happened")
    assert result["happened"] == result["would"]
    assert result["saved_usd"] == [0, 0, 0]
    assert result["happened"]["cost_usd"] == pytest.approx(float(result["ledger_usd"]))
    assert result["happened"]["requests"] == result["ledger_requests"] == 600


def test_other_prices_backends_and_budgets_change_what_they_say(api: Api) -> None:
    dear = "anthropic/claude-3-opus-latest"
    halved = api.replayed(prices={dear: 0.5})
    assert halved["saved_usd"][0] == pytest.approx(halved["happened"]["cost_usd"] / 2, rel=0.02)
    moved = api.replayed(policy="all_to", backend="openai/gpt-5-mini")
    low, high = moved["saved_usd"][1:]
    assert 0 < low <= moved["saved_usd"][0] <= high < moved["happened"]["cost_usd"]
    assert moved["would"]["refused"] == 0
    (row,) = moved["departments"]
    assert (row["name"], row["happened_usd"]) == (
        "support",
        pytest.approx(moved["happened"]["cost_usd"]),
    )
    new = {"name": "lab/new", "like": dear, "usd_in_per_mtok": 0.01, "usd_out_per_mtok": 0.01}
    assert api.replayed(policy="cheapest", new_backend=new)["would"]["cost_usd"] < 0.2
    poor = api.replayed(month_usd=1)
    assert poor["would"]["cost_usd"] <= 1
    assert poor["would"]["refused"] > 0
    live = api.replayed(policy="live", month_usd=100)
    assert live["would"]["cost_usd"] <= 100 * live["days"] / 30 * 1.001
    assert live["gained_usd"][0] > 0


def test_caps_of_days_and_departments_hold_in_a_replay(api: Api) -> None:
    """200 hours of 0.60 USD of opus: some 14 USD a day."""
    capped = api.replayed(day_usd=5)
    assert 30 < capped["would"]["cost_usd"] <= 5 * 10
    assert capped["would"]["refused"] > 0
    poor = api.replayed(policy="live", department_usd={"support": 30})
    assert poor["would"]["cost_usd"] <= 30 * poor["days"] / 30 * 1.001
    with tenant_scope(api.tenant_id):
        create_budget(
            BudgetTermsInput(
                scope={"department": "support"},
                period="day",
                unit="usd",
                amount=Decimal(2),
                on_limit="refuse",
                name="a day",
            ),
            actor="test",
            now=NOW,
        )
    held = api.replayed(budgets=True)
    assert held["would"]["cost_usd"] <= 2 * 31 * held["days"] / 30
    assert held["would"]["cost_usd"] < capped["would"]["cost_usd"]
    body = {"name": "x", "from": (NOW - timedelta(days=5)).isoformat(), "to": NOW.isoformat()}
    unknown = api.post("simulations", body | {"department_usd": {"nobody": 1}}).json()
    run_simulation(api.tenant_id, unknown["id"], now=NOW)
    assert "nobody" in api.get(f"simulations/{unknown['id']}").json()["error"]


def test_what_a_dead_worker_left_behind_is_run_once_and_given_up_at_last(api: Api) -> None:
    window = {"name": "try", "from": (NOW - timedelta(days=2)).isoformat(), "to": NOW.isoformat()}
    queued, killed, mad = (api.post("simulations", window).json()["id"] for _ in range(3))
    with tenant_scope(api.tenant_id):
        now = datetime.now(UTC)
        rows = Simulation.objects
        rows.filter(pk=killed).update(state="running", started_at=now, starts=1)
        rows.filter(pk=mad).update(state="running", started_at=now, starts=3)
    assert api.tenant_id in list_tenants_with_waiting_simulation()
    # Both may still be at it, and the first may yet be taken by who was told.
    assert continue_simulations(api.tenant_id, now=now) == 0
    run_simulation(api.tenant_id, killed, now=now)
    assert api.get(f"simulations/{killed}").json()["state"] == "running"
    assert continue_simulations(api.tenant_id, now=now + timedelta(minutes=2)) == 1
    assert api.get(f"simulations/{queued}").json()["state"] == "done"
    assert continue_simulations(api.tenant_id, now=now + timedelta(minutes=11)) == 2
    assert api.get(f"simulations/{killed}").json()["state"] == "done"
    assert "begun 3 times" in api.get(f"simulations/{mad}").json()["error"]
    assert api.tenant_id not in list_tenants_with_waiting_simulation()


def test_what_cannot_be_asked_is_refused_by_field(api: Api) -> None:
    window = {"name": "try", "from": (NOW - HOUR).isoformat(), "to": (NOW + HOUR).isoformat()}
    for body, field in (
        (window, "to"),
        (window | {"to": NOW.isoformat(), "policy": "all_to"}, "backend"),
        (window | {"to": NOW.isoformat(), "policy": "thresholds"}, "month_usd"),
        (window | {"to": (NOW - 2 * HOUR).isoformat()}, "from"),
    ):
        answer = api.post("simulations", body)
        assert (answer.status_code, answer.json()["field"]) == (422, field), answer.content
    assert api.get("simulations").json()["rows"] == []


def test_an_accepted_saving_is_applied_and_measured_against_what_it_was(api: Api) -> None:
    recompute(api.tenant_id, now=NOW)
    found = api.get("opportunities").json()["rows"]
    (move,) = [one for one in found if one["kind"] in ("move", "drop")]
    assert move["facts"]["dearest"] == "anthropic/claude-3-opus-latest"
    assert (
        float(move["saving_low_usd"])
        <= float(move["replayed_usd"])
        <= float(move["saving_high_usd"])
    )
    accepted = api.post(f"opportunities/{move['id']}/accept").json()
    assert accepted["state"] == "accepted"
    with tenant_scope(api.tenant_id):
        bans = list_overrides(NOW)
    assert {(one.action, one.backend, one.task) for one in bans} == {
        ("ban", "anthropic/claude-3-opus-latest", "summarise")
    }
    assert api.post(f"opportunities/{move['id']}/accept").status_code == 422
    # From then on the same work runs elsewhere.
    later = datetime.now(UTC) + timedelta(minutes=1)
    spend(api.key.identity, api.events(later, dear=CHEAP))
    measure_accepted(api.tenant_id, now=later + 2 * HOUR)
    measured = api.get(f"opportunities/{move['id']}").json()
    assert 0.55 < float(measured["realised_usd"]) < 0.65
    recompute(api.tenant_id, now=NOW)
    assert move["key"] not in {one["key"] for one in api.get("opportunities").json()["rows"]}


def test_a_renegotiated_price_is_measured_on_real_volume_at_the_old_one(api: Api) -> None:
    recompute(api.tenant_id, now=NOW)
    found = api.get("opportunities").json()["rows"]
    (one,) = [row for row in found if row["key"] == "renegotiate:anthropic"]
    api.post(f"opportunities/{one['id']}/accept")
    later = datetime.now(UTC) + timedelta(minutes=1)
    spend(api.key.identity, api.events(later))
    measure_accepted(api.tenant_id, now=later + 2 * HOUR)
    path = f"opportunities/{one['id']}"
    # Nothing was agreed yet: the price stands as it stood.
    assert float(api.get(path).json()["realised_usd"]) == 0
    with tenant_scope(api.tenant_id):
        add_discount(
            provider="anthropic", percent=Decimal(10), effective_from=None, actor="a", now=later
        )
    spend(api.key.identity, api.events(later + timedelta(minutes=5)))
    measure_accepted(api.tenant_id, now=later + 2 * HOUR)
    # Four requests of 0.30 USD, two of them charged before anybody entered it.
    assert float(api.get(path).json()["realised_usd"]) == pytest.approx(0.12)


def test_a_dismissed_one_needs_a_reason_and_another_tenant_sees_nothing(
    api: Api, make_tenant: MakeTenant, client: Client
) -> None:
    recompute(api.tenant_id, now=NOW)
    (move, *_) = api.get("opportunities").json()["rows"]
    other = make_key(make_tenant().id, "read", "manage")
    for path in (f"opportunities/{move['id']}", "opportunities/0"):
        answer = client.get(f"/api/v1/routing/{path}", headers=other.headers)
        assert answer.status_code == 404
    assert api.post(f"opportunities/{move['id']}/dismiss").status_code == 422
    answer = api.post(f"opportunities/{move['id']}/dismiss", {"reason": "a contract"})
    assert (answer.json()["state"], answer.json()["reason"]) == ("dismissed", "a contract")
