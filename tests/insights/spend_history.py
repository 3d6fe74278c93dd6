"""Hours of usage for tests of findings: through ingest and fold, with some noise of its own."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec

from apps.insights.finding_selectors import FindingInfo, list_findings
from apps.insights.ticks import tick_tenant
from apps.tenants.core.access import KeyIdentity
from apps.tenants.scoping import tenant_scope
from apps.usage.adapters.native import parse_native
from apps.usage.services import ingest_events
from tests.conftest import roll_up

HOUR = timedelta(hours=1)
CUSTOMERS = {"acme": 3, "bolt": 2, "core": 2}
OPUS = {"provider": "anthropic", "model": "claude-3-opus-20240229"}
MINI = {"provider": "openai", "model": "gpt-4o-mini-2024-07-18"}


def this_hour() -> datetime:
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def request_at(moment: datetime, name: str, **fields: Any) -> dict[str, Any]:
    """About 0.3 USD of opus."""
    return {
        "id": f"{name}-{moment.timestamp():.0f}",
        "timestamp": moment.isoformat(),
        "usage": {"input_tokens": 10_000, "output_tokens": 2_000},
        "department": "support",
        "task": "chat",
        **OPUS,
        **fields,
    }


def usual_hours(first: datetime, hours: int) -> list[dict[str, Any]]:
    """Some requests of three customers each hour, more of them by day; some 70 USD a day."""
    events = []
    for n in range(hours):
        at = first + n * HOUR
        chance = Random(f"{at.timestamp()}")
        by_day = 1 if 7 <= at.hour < 19 else 0
        for customer, usual in CUSTOMERS.items():
            for k in range(usual + by_day + chance.randrange(2)):
                output = round(2_000 * chance.uniform(0.7, 1.3))
                events.append(
                    request_at(
                        at + timedelta(minutes=3 + 4 * k),
                        f"{customer}-{k}",
                        customer=customer,
                        usage={"input_tokens": 10_000, "output_tokens": output},
                    )
                )
    return events


def runaway_hour(at: datetime, requests: int = 40) -> list[dict[str, Any]]:
    """A loop of acme's on top of the usual, its answers four times as long."""
    return [
        request_at(
            at + timedelta(seconds=20 * k),
            f"loop-{k}",
            customer="acme",
            task="agent",
            usage={"input_tokens": 10_000, "output_tokens": 8_000},
        )
        for k in range(requests)
    ]


def spend(identity: KeyIdentity, events: list[dict[str, Any]]) -> None:
    """Ingest and roll up."""
    for first in range(0, len(events), 5_000):
        body = msgspec.json.Encoder().encode_lines(events[first : first + 5_000])
        outcome = ingest_events(identity, parse_native(body), now=datetime.now(UTC))
        assert not outcome.rejected
    roll_up(identity.tenant_id)


def watch(tenant_id: int, now: datetime) -> None:
    """Tick until nothing is left to be scored at that moment."""
    while tick_tenant(tenant_id, now=now).hours:
        pass


def findings(tenant_id: int, now: datetime) -> list[FindingInfo]:
    with tenant_scope(tenant_id):
        return list_findings(now=now)
