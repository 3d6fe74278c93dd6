"""A year made of weeks: as many events as were wanted, every fold of them exact."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from apps.tenants.scoping import tenant_scope
from apps.usage.selectors import SpendQuery, read_spend
from apps.usage.services import reconcile_usage
from costboard.demo.large import STRETCHES, load_large
from tests.conftest import Key, native_event, roll_up

NOW = datetime.now(UTC)
REPEATED = 2


def test_a_year_is_filled_evenly_and_reconciles(
    key: Key, post_events: Callable[..., dict[str, Any]]
) -> None:
    tenant_id = key.identity.tenant_id
    at = (NOW - timedelta(hours=3)).isoformat()
    post_events([native_event(timestamp=at) for _ in range(REPEATED)])
    roll_up(tenant_id)
    # Each stretch of the year twice over, and one event of a third time.
    wanted = REPEATED * (1 + 2 * len(STRETCHES)) + 1
    assert load_large(tenant_id, wanted_events=wanted, now=NOW) == wanted - REPEATED
    found = reconcile_usage(tenant_id, now=NOW)
    assert (found.is_clean, found.ledger_rows, found.pending_rows) == (True, wanted, 0)
    end = NOW - STRETCHES[1] + timedelta(hours=1)
    with tenant_scope(tenant_id):
        spent = read_spend(SpendQuery(end - timedelta(days=2), end)).total
    assert spent.requests == 2 * REPEATED
    assert load_large(tenant_id, wanted_events=wanted, now=NOW) == 0
