"""The explorer, the API and the ledger say the same of any question, in any zone's own days."""

import csv
import io
import random
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.pricing.core.money import EXACT
from apps.tenants.scoping import tenant_scope
from tests.conftest import make_key, native_event, roll_up

# Dimension -> where the ledger's own tables have it.
COLUMNS = {
    "model": "s.model",
    "provider": "s.provider",
    "backend": "b.key",
    "kind": "b.kind",
    "customer": "c.external_id",
    "tier": "c.tier",
    "department": "d.code",
    "project": "s.project",
    "task": "s.task",
    "router": "k.name",
    "status": "s.status",
    "tag.team": "nullif(l.tags ->> 'team', '')",
    "tag.run": "nullif(l.tags ->> 'run', '')",
}
SUMS = {
    "cost_usd": "coalesce(sum(l.cost_usd), 0)",
    "requests": "count(*) FILTER (WHERE l.kind = 0) + sum(l.request_change)",
    "output_tokens": "sum(l.output_tokens)",
    "cache_read_tokens": "sum(l.cache_read_tokens)",
}
JOINS = """FROM usage_ledger AS l
    JOIN usage_slice AS s ON s.tenant_id = l.tenant_id AND s.id = l.slice_id
    LEFT JOIN pricing_backend AS b ON b.id = s.backend_id
    LEFT JOIN tenants_customer AS c ON c.id = s.customer_id
    LEFT JOIN tenants_department AS d ON d.id = s.department_id
    LEFT JOIN tenants_apikey AS k ON k.id = s.api_key_id"""
VALUES: dict[str, list[str | None]] = {
    "model": ["gpt-4o", "o3", "home-grown"],
    "customer": ["acme", "umbra", None],
    "department": ["sales", None],
    "task": ["rag", None],
    "status": ["success", "error"],
    "tag.team": ["red", "blue", None],
}
ZONES = ("Asia/Kathmandu", "America/New_York")
NOW = datetime.now(UTC)


def last_change_of_clocks(zone: ZoneInfo) -> date:
    """The newest day, of those that usage is taken of, that had 23 or 25 hours."""
    day = NOW.astimezone(zone).date() - timedelta(days=5)
    for _ in range(370):
        start = datetime.combine(day, time.min, zone).astimezone(UTC)
        end = datetime.combine(day + timedelta(days=1), time.min, zone).astimezone(UTC)
        if end - start != timedelta(days=1):
            return day
        day -= timedelta(days=1)
    return day


CHANGE = last_change_of_clocks(ZoneInfo("America/New_York"))
FIRST, LAST = CHANGE - timedelta(days=3), CHANGE + timedelta(days=3)


def some_events() -> list[dict[str, Any]]:
    chance = random.Random(11)
    midnight = datetime.combine(FIRST - timedelta(days=1), time.min, UTC)
    events = []
    for _ in range(150):
        about = {name: chance.choice(values) for name, values in VALUES.items()}
        at = midnight + timedelta(minutes=chance.randrange(9 * 24 * 60))
        usage = {
            "input_tokens": 1000 + chance.randrange(5000),
            "cache_read_tokens": chance.randrange(1000),
            "output_tokens": chance.randrange(900),
        }
        team = about.pop("tag.team")
        named: dict[str, Any] = {n: value for n, value in about.items() if value is not None}
        # An empty tag is none.
        named["tags"] = {"team": team or "", "run": str(chance.randrange(9))}
        events.append(native_event(timestamp=at.isoformat(), usage=usage, **named))
    return events


Pages = dict[str, tuple[Client, Client, dict[str, str], int]]


@pytest.fixture
def pages(make_tenant: Callable[..., Any], sign_in: Callable[..., Client]) -> Pages:
    """The same events of a tenant in each zone: (viewer, API client, key, tenant)."""
    events, made = some_events(), {}
    for zone in ZONES:
        tenant = make_tenant(time_zone=zone)
        key = make_key(tenant.id)
        api = Client(headers=key.headers)
        answer = api.post("/api/v1/usage/events", events, content_type="application/json")
        assert answer.json()["accepted"] == len(events), answer.content
        roll_up(tenant.id)
        made[zone] = (sign_in("viewer", tenant.id), api, key.headers, tenant.id)
    return made


def by_ledger(
    tenant_id: int, asked: dict[str, Any], groups: list[str]
) -> dict[tuple[Any, ...], Decimal]:
    conditions, parameters = [], [tenant_id, asked["zone"], *asked["days"]]
    for dimension in dict.fromkeys(name for name, _ in asked["where"]):
        wanted = [value for name, value in asked["where"] if name == dimension]
        conditions.append(f" AND ({COLUMNS[dimension]} = ANY(%s::text[])")
        conditions.append(f" OR {COLUMNS[dimension]} IS NULL)" if None in wanted else ")")
        parameters.append([value for value in wanted if value is not None])
    columns = "".join(f"{COLUMNS[name]}, " for name in groups)
    with tenant_scope(tenant_id), connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {columns}{SUMS[asked['measure']]} {JOINS} WHERE l.tenant_id = %s"
            f" AND (l.occurred_at AT TIME ZONE %s)::date BETWEEN %s AND %s{''.join(conditions)}"
            + (f" GROUP BY {', '.join(COLUMNS[name] for name in groups)}" if groups else ""),
            parameters,
        )
        return {tuple(row[:-1]): Decimal(row[-1] or 0) for row in cursor.fetchall()}


questions = st.fixed_dictionaries(
    {
        "zone": st.sampled_from(ZONES),
        "measure": st.sampled_from(sorted(SUMS)),
        "groups": st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=2, unique=True),
        "where": st.lists(
            st.sampled_from([(name, one) for name, values in VALUES.items() for one in values]),
            max_size=3,
            unique=True,
        ),
        "days": st.tuples(st.dates(FIRST, LAST), st.dates(FIRST, LAST)).map(sorted),
        "interval": st.sampled_from(["none", "hour", "day", "week", "month"]),
    }
)


def test_page_file_api_and_ledger_agree(pages: Pages) -> None:
    @settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(questions)
    def agree(asked: dict[str, Any]) -> None:
        viewer, api, _, tenant_id = pages[asked["zone"]]
        measure, groups, days = asked["measure"], asked["groups"], asked["days"]
        narrowed = [(name, value or "") for name, value in asked["where"]]
        whole = by_ledger(tenant_id, asked, [])[()]
        found = by_ledger(tenant_id, asked, groups)

        end = days[1] + timedelta(days=1)
        span = [("from", str(days[0])), ("to", str(end)), ("group_by", ",".join(groups))]
        told = api.get(f"/api/v1/spend?{urlencode([*span, *narrowed])}").json()
        assert Decimal(told["total"][measure]) == whole
        assert {tuple(r[g] for g in groups): Decimal(r[measure]) for r in told["rows"]} == found

        shown = [("first", str(days[0])), ("last", str(days[1])), ("top", "250")]
        shown += [("measure", measure), ("interval", asked["interval"]), span[2], *narrowed]
        page = viewer.get(f"/explorer?{urlencode(shown)}").content.decode()
        assert whole_on(page) == (whole if found else None)
        rows = read_csv(viewer.get(f"/explorer/export.csv?{urlencode(shown)}"))
        groups_shown = {
            tuple(row[g] or None for g in groups): Decimal(row[measure] or 0)
            for row in rows
            if row["row"] == "group" and int(row.get("requests") or 0)
        }
        assert groups_shown == found
        if asked["interval"] != "none" and found:
            buckets = read_csv(viewer.get(f"/explorer/export.csv?{urlencode(shown)}&of=time"))
            assert exact(row["all"] for row in buckets) == whole

    agree()


def test_zones_have_their_own_days_and_the_same_whole(pages: Pages) -> None:
    wide = f"first={FIRST - timedelta(days=3)}&last={LAST + timedelta(days=3)}&of=time"
    days = {
        zone: {
            row["day"]: Decimal(row["all"] or 0)
            for row in read_csv(pages[zone][0].get(f"/explorer/export.csv?{wide}"))
        }
        for zone in ZONES
    }
    here, there = (days[zone] for zone in ZONES)
    assert here != there
    assert exact(here.values()) == exact(there.values()) > 0


def whole_on(page: str) -> Decimal | None:
    if 'id="explorer-all"' not in page:
        return None
    cell = re.search(r'<data value="([^"]+)"', page.split('id="explorer-all"')[1])
    assert cell is not None
    return Decimal(cell[1])


def read_csv(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.content.decode())))


def exact(values: Any) -> Decimal:
    result = Decimal(0)
    for value in values:
        result = EXACT.add(result, Decimal(value or 0))
    return result
