"""Opportunities and what-if pages: what they say, what their forms do."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from django.test import Client

from apps.routing.hindsights import list_hindsights, look_back_at_due
from apps.routing.opportunities import list_opportunities, recompute
from apps.routing.simulations import list_simulations, run_simulation
from apps.tenants.scoping import tenant_scope
from tests.conftest import Key
from tests.insights.spend_history import OPUS, request_at, spend

DEAR = "anthropic/claude-3-opus-latest"


def dear_summaries(key: Key, now: datetime) -> None:
    first = now - timedelta(days=8)
    models = (OPUS, {"provider": "openai", "model": "gpt-5-mini"}, OPUS)
    spend(
        key.identity,
        [
            request_at(first + timedelta(hours=n, minutes=k), f"s{k}", task="summarise", **model)
            for n in range(120)
            for k, model in enumerate(models)
        ],
    )


def test_savings_are_shown_decided_and_looked_back_on(
    key: Key, sign_in: Callable[..., Client]
) -> None:
    now = datetime.now(UTC)
    tenant_id = key.identity.tenant_id
    dear_summaries(key, now)
    admin, viewer = sign_in("admin"), sign_in("viewer")
    assert "Nothing that replays confirm" in viewer.get("/opportunities").content.decode()
    recompute(tenant_id, now=now)
    look_back_at_due(tenant_id, now=now)
    page = viewer.get("/opportunities").content.decode()
    assert f"Move summarise work off {DEAR}" in page
    assert "decide" not in page
    assert "% of the best possible value on" in page
    with tenant_scope(tenant_id):
        (first, *_) = list_opportunities()
        days = list_hindsights()
    assert days
    assert all(day.done_usd <= day.bound_usd for day in days)
    address = f"/opportunities/{first.id}/decide"
    assert viewer.post(address, {"action": "accept"}).status_code == 403
    assert "say why" in admin.post(address, {"action": "dismiss"}).content.decode()
    page = admin.post(address, {"action": "accept"}).content.decode()
    assert "Accepted. What it saves is measured" in page
    assert admin.post("/opportunities/0/decide", {"action": "accept"}).status_code == 404


def test_a_replay_is_asked_read_and_laid_beside_another(
    key: Key, sign_in: Callable[..., Client]
) -> None:
    now = datetime.now(UTC)
    tenant_id = key.identity.tenant_id
    dear_summaries(key, now)
    admin = sign_in("admin")
    refused = admin.post("/what-if/ask", {"policy": "all_to", "days": "30"})
    assert refused.status_code == 422
    assert "needs backend" in refused.content.decode()
    for form in (
        {"policy": "all_to", "backend": "openai/gpt-5-mini"},
        {"policy": "as_happened", "price_backend": DEAR, "price_percent": "50"},
    ):
        answer = admin.post("/what-if/ask", form | {"days": "30"})
        assert answer.status_code == 302
        assert "Waiting for a worker" in admin.get(answer.url).content.decode()
    with tenant_scope(tenant_id):
        asked = list_simulations()
    for one in asked:
        run_simulation(tenant_id, one.id, now=now)
    page = admin.get(f"/what-if/{asked[0].id}?with={asked[1].id}").content.decode()
    assert "It would have saved" in page
    assert f"{DEAR} would have cost" in page
    assert "the other would have" in page
    assert asked[0].name in admin.get("/what-if").content.decode()
