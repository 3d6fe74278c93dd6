"""Announced events: taken, ended, audited, walled, and refused in words."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from apps.insights.errors import InvalidPlannedEventError, UnknownPlannedEventError
from apps.insights.selectors import list_planned_events
from apps.insights.services import add_planned_event, end_planned_event
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, list_audit
from tests.conftest import MakeTenant

NOW = datetime(2026, 11, 11, 12, tzinfo=UTC)
START, END = NOW - timedelta(days=60), NOW + timedelta(days=60)


def announce(**fields: Any) -> int:
    return add_planned_event(
        **{
            "name": "Launch",
            "starts_at": NOW + timedelta(days=1),
            "ends_at": NOW + timedelta(days=3),
            "scope": {"customer": "acme"},
            "expected_multiplier": Decimal("1.5"),
            "actor": "ada@example.org",
            "now": NOW,
        }
        | fields
    )


def test_an_announcement_is_listed_and_audited(tenant: TenantInfo) -> None:
    with tenant_scope(tenant.id):
        event_id = announce()
        (event,) = list_planned_events(start=START, end=END)
        (entry,) = list_audit([NOW])
    assert (event.id, event.name, event.scope) == (event_id, "Launch", {"customer": "acme"})
    assert event.expected_multiplier == Decimal("1.5")
    assert (entry.actor, entry.action) == ("ada@example.org", "planned_event.added")
    assert entry.after is not None
    assert entry.after["expected_multiplier"] == "1.5"


def test_only_what_meets_the_time_asked_about_is_listed(tenant: TenantInfo) -> None:
    with tenant_scope(tenant.id):
        announce()
        assert not list_planned_events(start=NOW + timedelta(days=3), end=END)
        assert not list_planned_events(start=START, end=NOW + timedelta(days=1))
        assert list_planned_events(start=NOW + timedelta(days=2), end=END)


def test_ending_withdraws_what_has_not_begun_and_cuts_what_runs(tenant: TenantInfo) -> None:
    with tenant_scope(tenant.id):
        to_come = announce()
        running = announce(starts_at=NOW - timedelta(days=2), name="Migration")
        end_planned_event(to_come, actor="ada@example.org", now=NOW)
        end_planned_event(running, actor="ada@example.org", now=NOW)
        (event,) = list_planned_events(start=START, end=END)
        assert (event.id, event.ends_at) == (running, NOW)
        with pytest.raises(UnknownPlannedEventError, match="not ended already"):
            end_planned_event(running, actor="ada@example.org", now=NOW)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"ends_at": NOW}, "ends_at"),
        ({"ends_at": NOW + timedelta(days=500)}, "ends_at"),
        ({"starts_at": NOW.replace(tzinfo=None)}, "starts_at"),
        ({"scope": {"planet": "mars"}}, "scope"),
        ({"scope": {"model": ""}}, "scope"),
        ({"expected_multiplier": Decimal(-1)}, "expected_multiplier"),
        ({"expected_multiplier": Decimal("1.00000001")}, "expected_multiplier"),
        ({"expected_multiplier": Decimal("NaN")}, "expected_multiplier"),
        ({"expected_extra_usd": Decimal(5)}, "expected_extra_usd"),
    ],
)
def test_what_cannot_be_announced_names_its_field(
    tenant: TenantInfo, fields: dict[str, Any], field: str
) -> None:
    with tenant_scope(tenant.id):
        with pytest.raises(InvalidPlannedEventError) as refused:
            announce(**fields)
        assert not list_planned_events(start=START, end=END)
    assert refused.value.field == field


def test_another_tenant_neither_sees_nor_ends_it(
    tenant: TenantInfo, make_tenant: MakeTenant
) -> None:
    with tenant_scope(tenant.id):
        event_id = announce()
    with tenant_scope(make_tenant().id):
        assert not list_planned_events(start=START, end=END)
        with pytest.raises(UnknownPlannedEventError):
            end_planned_event(event_id, actor="eve@example.org", now=NOW)
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM insights_plannedevent")
            assert cursor.fetchone() == (0,)
