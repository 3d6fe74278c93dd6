"""The demo's past, watched with the clock of then: told when it happened, once, by nobody else."""

import threading
from datetime import timedelta

from django.db import connection

from apps.alerts.selectors import list_alerts
from apps.insights.ticks import NOTHING, tick_tenant
from apps.tenants.scoping import tenant_scope
from costboard.demo.telling import ensure_channel
from costboard.demo.watching import watch_past
from tests.conftest import Key
from tests.insights.spend_history import (
    HOUR,
    findings,
    runaway_hour,
    spend,
    this_hour,
    usual_hours,
    watch,
)


def test_a_runaway_of_days_ago_was_told_within_its_first_hours_once(key: Key) -> None:
    tenant_id, now = key.identity.tenant_id, this_hour()
    # Longer ago than a first run would tell of.
    bad = now - 60 * HOUR
    spend(key.identity, usual_hours(bad - 24 * 24 * HOUR, 24 * 24 + 60))
    spend(key.identity, [event for n in range(3) for event in runaway_hour(bad + n * HOUR)])
    with tenant_scope(tenant_id):
        ensure_channel("test", now)
        ensure_channel("test", now)
    watch(tenant_id, bad - 2 * HOUR)
    elsewhere = []

    def tick_elsewhere() -> None:
        try:
            elsewhere.append(tick_tenant(tenant_id, now=now))
        finally:
            connection.close()

    def begun() -> None:
        worker = threading.Thread(target=tick_elsewhere)
        worker.start()
        worker.join()

    # Stopped in the middle, and started again.
    gave_up = iter([False] * 30 + [True])
    watch_past(tenant_id, until=now, begun=begun, gave_up=lambda: next(gave_up))
    watch_past(tenant_id, until=now)
    watch(tenant_id, now)

    assert elsewhere == [NOTHING]
    (found,) = findings(tenant_id, now)
    assert found.first_bad_at == bad
    assert found.alerted_at is not None
    assert timedelta(0) < found.alerted_at - bad <= 2 * HOUR
    with tenant_scope(tenant_id):
        (alert,) = [row for row in list_alerts(limit=50).rows if row.fact.kind == "anomaly"]
    assert alert.fact.raised_at == found.alerted_at
    assert [one.channel for one in alert.deliveries] == ["Finance by mail"]
