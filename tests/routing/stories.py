"""A tenant with some days of traffic behind it, and a clock of its own: the middle of last month.

Three backends do its chats: local/llama-3-70b (0.045 cents a request, quality 0.85), gpt-4o-mini
(0.09, 0.89) and gpt-4o (1.5, 0.91). A standard customer's chat is worth 2 cents, an enterprise's 5.
"""

import uuid
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zlib import crc32

import msgspec

from apps.budgets.rebuild import prepare_counters, refresh_limits
from apps.budgets.services import BudgetTermsInput, change_amount, create_budget
from apps.pricing.services import add_rate
from apps.routing.core.policy import Policy
from apps.routing.core.steering import EXPLORE_SHARE
from apps.routing.decisions import Decision, DecisionRequest, decide
from apps.routing.planning import pace_policy, plan_policy
from apps.routing.policy_memory import forget_live, live_policy
from apps.routing.services import set_mode
from apps.tenants.core.access import KeyIdentity
from apps.tenants.scoping import tenant_scope
from apps.usage.adapters.native import parse_native
from apps.usage.services import ingest_events
from tests.conftest import roll_up

LOCAL, MINI, LARGE = "local/llama-3-70b", "openai/gpt-4o-mini", "openai/gpt-4o"
HOUR = timedelta(hours=1)
HISTORY_DAYS = 8
HOURLY = (LOCAL, LOCAL, LOCAL, MINI, MINI, LARGE, LARGE, LARGE)
USAGE = {"input_tokens": 4000, "output_tokens": 500}


def mid_last_month() -> datetime:
    """Noon, UTC: a fortnight of the month is over, another to come."""
    today = datetime.now(UTC).date()
    return datetime.combine(today.replace(day=1) - timedelta(days=15), time(12), UTC)


def unexplored_id() -> str:
    """Of a request that is not among the few that explore."""
    while True:
        request_id = uuid.uuid4().hex
        if crc32(request_id.encode()) / 2**32 > 2 * EXPLORE_SHARE:
            return request_id


class Story:
    """One tenant's routing, as its clock stands."""

    def __init__(self, key: KeyIdentity) -> None:
        self.key = key
        self.now = mid_last_month()
        with tenant_scope(key.tenant_id):
            for meter in ("input_tokens", "output_tokens"):
                add_rate(
                    provider="local",
                    model="llama-3-70b",
                    kind="local",
                    meter=meter,
                    price_usd_per_mtok=Decimal("0.1"),
                    effective_from=None,
                    actor="test",
                    now=self.now,
                )
        first = self.now - timedelta(days=HISTORY_DAYS)
        self.use(
            self.event(first + n * HOUR + timedelta(minutes=5 + 6 * k), backend)
            for n in range(24 * HISTORY_DAYS)
            for k, backend in enumerate(HOURLY)
        )

    def event(self, at: datetime, backend: str, **fields: Any) -> dict[str, Any]:
        provider, _, model = backend.partition("/")
        return {
            "id": uuid.uuid4().hex,
            "timestamp": at.isoformat(),
            "provider": provider,
            "model": model,
            "usage": USAGE,
            "department": "support",
            "task": "chat",
        } | fields

    def use(self, events: Any) -> None:
        rows = list(events)
        for n in range(0, len(rows), 1000):
            body = msgspec.json.Encoder().encode_lines(rows[n : n + 1000])
            outcome = ingest_events(self.key, parse_native(body), now=self.now)
            assert not outcome.rejected, outcome.rejected[0]
        roll_up(self.key.tenant_id)

    def spend_large(self, requests: int) -> None:
        """1.5 cents each, within the last minutes."""
        self.use(self.event(self.now - timedelta(seconds=60), LARGE) for _ in range(requests))

    def budget(
        self, usd: str, period: str = "month", on_limit: str = "refuse", **scope: str
    ) -> int:
        with tenant_scope(self.key.tenant_id):
            return create_budget(
                BudgetTermsInput(
                    scope=scope,
                    period=period,  # type: ignore[arg-type]
                    unit="usd",
                    amount=Decimal(usd),
                    on_limit=on_limit,  # type: ignore[arg-type]
                    name=f"{period} budget",
                ),
                actor="test",
                now=self.now,
            )

    def amount(self, budget_id: int, usd: str) -> None:
        with tenant_scope(self.key.tenant_id):
            change_amount(budget_id, Decimal(usd), actor="test", reason="story", now=self.now)
        prepare_counters(self.key.tenant_id, now=self.now)
        refresh_limits(self.key.tenant_id, now=self.now)

    def mode(self, mode: str) -> None:
        with tenant_scope(self.key.tenant_id):
            set_mode(mode, actor="test", reason="story", now=self.now)
        forget_live(self.key.tenant_id)

    def plan(self) -> Policy:
        """A plan a minute later: a policy never stands still."""
        self.now += timedelta(minutes=1)
        assert plan_policy(self.key.tenant_id, now=self.now)
        return self.policy()

    def pace(self) -> Policy:
        self.now += timedelta(seconds=3)
        pace_policy(self.key.tenant_id, now=self.now)
        return self.policy()

    def policy(self) -> Policy:
        forget_live(self.key.tenant_id)
        return live_policy(self.key.tenant_id, self.now).policy

    def decide(self, tier: str = "standard", **fields: Any) -> Decision:
        wanted: dict[str, Any] = {
            "request_id": unexplored_id(),
            "input_tokens": 4000,
            "max_output_tokens": 500,
            "department": "support",
            "task": "chat",
            "tier": tier,
        } | fields
        forget_live(self.key.tenant_id)
        return decide(self.key, DecisionRequest(**wanted), now=self.now)
