"""Steps that the tests of repricing share."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection

from apps.pricing.services import add_rate
from apps.tenants.scoping import tenant_scope
from apps.usage.repricing import (
    RepricingInfo,
    RepricingScope,
    preview_repricing,
    run_repricing_portion,
    start_repricing,
    undo_repricing,
)
from apps.usage.selectors import SpendQuery, SpendRow, read_spend
from apps.usage.services import reconcile_usage
from tests.conftest import Key, native_event, roll_up

PostEvents = Callable[..., dict[str, Any]]
NOW = datetime.now(UTC)
BEGIN, END = NOW - timedelta(days=300), NOW + timedelta(days=1)
LONG = {"input_tokens": 300_000, "output_tokens": 9}
EVERYTHING = RepricingScope(starts_at=BEGIN, ends_at=END)


def own_rate(key: Key, price: str, meter: str = "input_tokens") -> int:
    """A price of home-grown per million tokens, since ever; the first also makes output free."""
    with tenant_scope(key.identity.tenant_id):
        rates = {meter: price} | ({"output_tokens": "0"} if meter == "input_tokens" else {})
        ids = [
            add_rate(
                provider="nobody",
                model="home-grown",
                meter=name,
                price_usd_per_mtok=Decimal(amount),
                effective_from=None,
                actor="test",
                now=NOW,
            )
            for name, amount in rates.items()
        ]
    return ids[0]


def home_grown(**fields: Any) -> dict[str, Any]:
    """1000 input tokens in all, 200 output, of a model that nobody prices at first."""
    return native_event(provider="nobody", model="home-grown", **fields)


def draft(key: Key, scope: RepricingScope = EVERYTHING) -> RepricingInfo:
    return preview_repricing(
        key.identity.tenant_id, scope, reason="a test", actor="ann", now=datetime.now(UTC)
    )


def work(key: Key, run: RepricingInfo, limit: int = 5000) -> RepricingInfo:
    while run.status == "running":
        after = run_repricing_portion(key.identity.tenant_id, run.id, now=NOW, limit=limit)
        assert after is not None
        run = after
    roll_up(key.identity.tenant_id)
    return run


def reprice(key: Key, scope: RepricingScope = EVERYTHING, **how: Any) -> RepricingInfo:
    run = start_repricing(key.identity.tenant_id, draft(key, scope).id, actor="ann", now=NOW, **how)
    return work(key, run)


def undo(key: Key, run_id: int, **how: Any) -> RepricingInfo:
    run = undo_repricing(
        key.identity.tenant_id, run_id, reason="a mistake", actor="bob", now=NOW, **how
    )
    return work(key, run)


def total(key: Key, **query: Any) -> SpendRow:
    with tenant_scope(key.identity.tenant_id):
        return read_spend(SpendQuery(BEGIN, END, **query)).total


def rollups(key: Key) -> list[tuple[Any, ...]]:
    """Every number of every rollup."""
    found = []
    with tenant_scope(key.identity.tenant_id), connection.cursor() as cursor:
        for name in ("minute", "quarter_hour", "day"):
            cursor.execute(f"SELECT * FROM usage_rollup_{name} ORDER BY bucket, slice_id")
            found += cursor.fetchall()
    return found


def is_clean(key: Key) -> bool:
    return reconcile_usage(key.identity.tenant_id, now=NOW).is_clean


def months(key: Key) -> dict[str, Decimal]:
    with tenant_scope(key.identity.tenant_id):
        found = read_spend(SpendQuery(BEGIN, END, interval="month")).rows
    return {f"{row.bucket:%Y-%m}": row.cost_usd for row in found if row.bucket}


def post_unpriced(post_events: PostEvents) -> None:
    """Six unpriced charges of two customers, over three months."""
    post_events(
        [
            home_grown(
                customer="acme" if n % 2 else "umbra",
                department="support",
                timestamp=(NOW - timedelta(days=31 * (n // 2), hours=n)).isoformat(),
            )
            for n in range(6)
        ]
    )
