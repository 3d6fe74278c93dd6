"""Charges written again for size: as ingest would have, counted once, folded to the last digit."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from apps.tenants.scoping import tenant_scope
from apps.usage.core.events import UsageEvent
from apps.usage.ledger import fingerprint_of
from apps.usage.repeating import ensure_months, repeat_charges, take_template
from apps.usage.selectors import SpendQuery, read_spend
from apps.usage.services import reconcile_usage
from tests.conftest import Key, native_event, roll_up

NOW = datetime.now(UTC)
WEEKS = timedelta(weeks=4)
START = NOW - timedelta(days=2)


def spent(key: Key, back: timedelta) -> tuple[Any, ...]:
    with tenant_scope(key.identity.tenant_id):
        query = SpendQuery(START - back, NOW - back + timedelta(days=1), group_by=("customer",))
        total = read_spend(query).total
    return (
        total.cost_usd,
        total.requests,
        total.revenue_usd,
        total.conversions,
        total.unpriced_requests,
    )


def test_what_is_repeated_stands_earlier_and_reconciles(
    key: Key, post_events: Callable[..., dict[str, Any]]
) -> None:
    tenant_id = key.identity.tenant_id
    at = (NOW - timedelta(hours=3)).isoformat()
    post_events(
        [
            native_event(customer=f"c{n % 2}", timestamp=at, revenue="0.1", converted=n > 2)
            for n in range(6)
        ]
        + [native_event(provider="nobody", model="home-grown", timestamp=at)]
    )
    ensure_months(START - 2 * WEEKS, NOW)
    template = take_template(tenant_id, START, NOW, now=NOW)
    assert template.rows == 7
    for _ in range(2):
        written = [
            repeat_charges(tenant_id, template, first=0, rows=5, back=WEEKS, now=NOW),
            repeat_charges(tenant_id, template, first=5, rows=5, back=WEEKS, now=NOW),
        ]
        roll_up(tenant_id)
        found = reconcile_usage(tenant_id, now=NOW)
        assert (found.is_clean, found.ledger_rows, found.pending_rows) == (True, 14, 0)
        assert spent(key, WEEKS) == spent(key, timedelta(0))
    # The second time all of it was there.
    assert written == [0, 0]


def test_an_id_that_was_repeated_is_not_taken_again(
    key: Key, post_events: Callable[..., dict[str, Any]]
) -> None:
    post_events(native_event(timestamp=(NOW - timedelta(hours=3)).isoformat()))
    template = take_template(key.identity.tenant_id, START, NOW, now=NOW)
    repeat_charges(key.identity.tenant_id, template, first=0, rows=1, back=WEEKS, now=NOW)
    with tenant_scope(key.identity.tenant_id), connection.cursor() as cursor:
        cursor.execute(
            "SELECT l.source, l.event_id, i.identity FROM usage_ledger AS l"
            " JOIN usage_identity AS i ON i.tenant_id = l.tenant_id AND i.ledger_id = l.id"
            " WHERE l.event_id LIKE 'again-%'"
        )
        ((source, event_id, identity),) = cursor.fetchall()
    event = UsageEvent(
        source=source, event_id=event_id, occurred_at=NOW, provider="openai", model="x"
    )
    assert fingerprint_of(event)[0] == identity.hex


def test_too_much_and_too_far_back_are_refused(key: Key, database: None) -> None:
    template = take_template(key.identity.tenant_id, START, NOW, now=NOW)
    with pytest.raises(ValueError, match="at most"):
        repeat_charges(
            key.identity.tenant_id,
            template,
            first=0,
            rows=1,
            back=timedelta(days=500),
            now=NOW,
        )
