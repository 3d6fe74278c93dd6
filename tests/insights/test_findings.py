"""From usage to findings: found in time, rolled up, explained to the cent, told once."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from apps.alerts.selectors import list_alerts
from apps.insights.finding_selectors import FindingInfo, get_finding
from apps.insights.services import add_planned_event
from apps.insights.ticks import tick_tenant
from apps.pricing.services import add_rate
from apps.tenants.scoping import tenant_scope
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

DAYS = 30


@pytest.fixture
def bad() -> datetime:
    """The first hour of what goes wrong: everything before it is usual."""
    return this_hour() - 30 * HOUR


@pytest.fixture
def history(key: Key, bad: datetime) -> Key:
    """A usual month before `bad`, and the 30 hours since then."""
    spend(key.identity, usual_hours(bad - DAYS * 24 * HOUR, DAYS * 24 + 30))
    return key


def alerts_of(tenant_id: int) -> list[str]:
    with tenant_scope(tenant_id):
        return [row.fact.key for row in list_alerts(limit=100).rows if row.fact.kind == "anomaly"]


def only(found: list[FindingInfo]) -> FindingInfo:
    assert len(found) == 1, [(one.series, one.first_bad_at, one.excess_usd) for one in found]
    return found[0]


def test_usual_hours_are_no_findings(history: Key, bad: datetime) -> None:
    watch(history.identity.tenant_id, bad + 28 * HOUR)
    assert findings(history.identity.tenant_id, bad) == []


def test_a_runaway_is_found_while_its_first_hour_runs(history: Key, bad: datetime) -> None:
    tenant_id = history.identity.tenant_id
    watch(tenant_id, bad)
    spend(history.identity, runaway_hour(bad))
    watch(tenant_id, bad + timedelta(minutes=31))
    found = only(findings(tenant_id, bad + HOUR))
    assert found.first_bad_at == bad
    assert found.opened_at == bad + timedelta(minutes=31)
    assert alerts_of(tenant_id) == [f"finding:{found.id}"]


def test_it_is_extended_told_once_and_closed_when_it_is_over(history: Key, bad: datetime) -> None:
    tenant_id = history.identity.tenant_id
    for n in range(4):
        spend(history.identity, runaway_hour(bad + n * HOUR))
    for n in range(26):
        watch(tenant_id, bad + n * HOUR + timedelta(minutes=40))
    found = only(findings(tenant_id, bad))
    assert found.first_bad_at == bad
    assert found.last_bad_at >= bad + 3 * HOUR
    assert found.closed_at is not None
    # 40 requests an hour of 0.75 USD each.
    assert found.excess_usd == pytest.approx(Decimal(120), rel=Decimal("0.2"))
    assert alerts_of(tenant_id) == [f"finding:{found.id}"]


def test_parents_and_children_are_one_finding_with_its_causes_ranked(
    history: Key, bad: datetime
) -> None:
    tenant_id = history.identity.tenant_id
    spend(history.identity, runaway_hour(bad))
    watch(tenant_id, bad + HOUR + timedelta(minutes=15))
    found = only(findings(tenant_id, bad))
    assert {"customer", "model"} <= {dimension for dimension, _ in found.members}
    told = [(cause.dimension, cause.value) for cause in found.causes]
    assert ("customer", "acme") in told[:2]
    assert ("task", "agent") in told[:2]
    for parts in found.partitions:
        assert sum((part.excess_usd for part in parts), Decimal(0)) == found.excess_usd
        assert sum((part.actual_usd for part in parts), Decimal(0)) == found.actual_usd
    assert sum(found.effects.values(), Decimal(0)) == found.excess_usd
    with tenant_scope(tenant_id):
        detail = get_finding(found.id)
    assert detail is not None
    assert len(found.charge_ids) == 5
    assert {point.hour * 3600 for point in detail.points if point.is_bad} == {bad.timestamp()}


def test_an_announced_event_is_no_finding(history: Key, bad: datetime) -> None:
    tenant_id = history.identity.tenant_id
    with tenant_scope(tenant_id):
        add_planned_event(
            name="Load test",
            starts_at=bad - HOUR,
            ends_at=bad + 5 * HOUR,
            scope={"customer": "acme"},
            actor="ada@example.org",
            now=bad - HOUR,
        )
    spend(history.identity, runaway_hour(bad))
    watch(tenant_id, bad + 12 * HOUR)
    assert findings(tenant_id, bad) == []


def test_a_price_that_was_known_beforehand_is_no_finding(key: Key, bad: datetime) -> None:
    """Everything costs twice as much from one hour on, by a dated rate of the tenant's own."""
    tenant_id = key.identity.tenant_id
    with tenant_scope(tenant_id):
        for meter, before, after in (("input_tokens", 15, 30), ("output_tokens", 75, 150)):
            for price, begins, ends in ((before, None, bad), (after, bad, None)):
                add_rate(
                    provider="anthropic",
                    model="claude-3-opus-20240229",
                    meter=meter,
                    price_usd_per_mtok=Decimal(price),
                    effective_from=begins,
                    effective_to=ends,
                    actor="ada@example.org",
                    now=bad - 24 * HOUR,
                )
    spend(key.identity, usual_hours(bad - DAYS * 24 * HOUR, DAYS * 24 + 30))
    watch(tenant_id, bad + 28 * HOUR)
    assert findings(tenant_id, bad) == []


def test_late_usage_in_a_closed_hour_is_scored_again(history: Key, bad: datetime) -> None:
    tenant_id = history.identity.tenant_id
    watch(tenant_id, bad + 8 * HOUR)
    assert findings(tenant_id, bad) == []
    spend(history.identity, runaway_hour(bad))
    watch(tenant_id, bad + 8 * HOUR + timedelta(minutes=5))
    found = only(findings(tenant_id, bad))
    assert found.first_bad_at == bad
    assert alerts_of(tenant_id) == [f"finding:{found.id}"]


def test_an_outage_that_late_usage_fills_is_withdrawn(key: Key, bad: datetime) -> None:
    tenant_id = key.identity.tenant_id
    spend(key.identity, usual_hours(bad - DAYS * 24 * HOUR, DAYS * 24))
    spend(key.identity, usual_hours(bad + 12 * HOUR, 18))
    now = bad + 12 * HOUR + timedelta(minutes=20)
    watch(tenant_id, now)
    outage = only(findings(tenant_id, now))
    assert (outage.kind, outage.excess_usd < 0) == ("outage", True)
    spend(key.identity, usual_hours(bad, 12))
    watch(tenant_id, now + timedelta(minutes=5))
    assert only(findings(tenant_id, now)).withdrawn


def test_ticks_one_by_one_and_all_at_once_say_the_same(
    history: Key, bad: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catching up after downtime, killed in between: nothing is lost, nothing told twice."""
    tenant_id = history.identity.tenant_id
    spend(history.identity, runaway_hour(bad))
    end = bad + 10 * HOUR

    def die(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    watch(tenant_id, bad - 12 * HOUR)
    with monkeypatch.context() as patch:
        # After findings and alerts were written, before the rings were: all of it is undone.
        patch.setattr("apps.insights.ticks.store_memory", die)
        with pytest.raises(RuntimeError):
            tick_tenant(tenant_id, now=end)
    assert findings(tenant_id, end) == []
    assert alerts_of(tenant_id) == []
    watch(tenant_id, end)
    found = only(findings(tenant_id, end))
    assert alerts_of(tenant_id) == [f"finding:{found.id}"]
    assert tick_tenant(tenant_id, now=end).hours == 0
    assert only(findings(tenant_id, end)).excess_usd == found.excess_usd


def test_a_restart_scores_no_hour_twice(history: Key, bad: datetime) -> None:
    tenant_id = history.identity.tenant_id
    watch(tenant_id, bad)
    assert tick_tenant(tenant_id, now=bad + 2 * HOUR).hours == 2


def test_history_is_read_in_portions_and_what_is_old_is_told_nobody(
    history: Key, bad: datetime
) -> None:
    tenant_id = history.identity.tenant_id
    early = bad - 4 * 24 * HOUR
    spend(history.identity, runaway_hour(early))
    report = tick_tenant(tenant_id, now=bad)
    assert report.hours == 7 * 24
    watch(tenant_id, bad)
    assert only(findings(tenant_id, bad)).first_bad_at == early
    assert alerts_of(tenant_id) == []
