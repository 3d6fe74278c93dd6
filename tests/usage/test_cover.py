"""Few buckets add up to any stretch of time, to the quarter hour, in any zone; so does spend."""

import json
import random
from dataclasses import fields
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from apps.pricing.core.money import EXACT
from apps.tenants.scoping import tenant_scope
from apps.usage.adapters.native import parse_native
from apps.usage.core.cover import QUARTER_HOUR, ceil_to, cover, floor_to
from apps.usage.facets import COLUMNS, FACETS, KEPT, choose_rollup
from apps.usage.selectors import MEASURES, Dimension, Interval, SpendQuery, SpendRow, read_spend
from apps.usage.services import ingest_events
from tests.conftest import MakeTenant, make_key, native_event, roll_up

NOW = datetime.now(UTC)
# Offsets of quarters of an hour, half-hour steps, clocks that skip midnight.
ZONES = ("Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut", "UTC")


def midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time.min, zone).astimezone(UTC)


@st.composite
def stretches(draw: Any) -> tuple[datetime, datetime, ZoneInfo]:
    zone = ZoneInfo(draw(st.sampled_from(ZONES)))
    start = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=draw(st.integers(0, 500_000)))
    end = start + timedelta(minutes=draw(st.integers(0, 4_000) | st.integers(0, 400_000)))
    edges = [
        midnight(one.astimezone(zone).date(), zone) if draw(st.booleans()) else one
        for one in (start, end)
    ]
    return edges[0], edges[1], zone


@given(stretches(), st.booleans())
def test_spans_add_up_to_the_stretch_and_to_nothing_else(
    asked: tuple[datetime, datetime, ZoneInfo], with_months: bool
) -> None:
    start, end, zone = asked
    steps: dict[datetime, int] = {}
    spans = cover(start, end, zone, with_months=with_months)
    for span in spans:
        bounds = [
            mark if isinstance(mark, datetime) else midnight(mark, zone)
            for mark in (span.start, span.end)
        ]
        assert bounds[0] < bounds[1]
        assert span.grain != "month" or (with_months and span.start.day == span.end.day == 1)
        for mark, step in zip(bounds, (span.sign, -span.sign), strict=True):
            steps[mark] = steps.get(mark, 0) + step
    first, last = floor_to(start, QUARTER_HOUR), ceil_to(end, QUARTER_HOUR)
    assert {m: s for m, s in steps.items() if s} == ({first: 1, last: -1} if first < last else {})
    # Never more than half of what it is a part of, whatever its length.
    buckets = sum((s.end - s.start) / QUARTER_HOUR for s in spans if s.grain == "quarter_hour")
    assert buckets <= 2 * (100 / 2 + 5)


def test_the_smallest_rollup_answers_that_tells_the_dimensions_apart() -> None:
    assert choose_rollup("day", ()).table == "usage_rollup_day_department"
    assert choose_rollup("day", ("model", "backend_id")).table == "usage_rollup_day_backend"
    assert choose_rollup("month", ("model",)).table == "usage_rollup_month_work"
    assert choose_rollup("day", ("customer_id", "task")).table == "usage_rollup_day"
    assert choose_rollup("minute", ()).slices == "usage_slice"
    for grain, facets in KEPT.items():
        for facet in facets:
            assert choose_rollup(grain, FACETS[facet]).slices == "usage_coarse_slice"
        assert choose_rollup(grain, COLUMNS).table == f"usage_rollup_{grain}"


def test_rows_are_made_by_place() -> None:
    assert [one.name for one in fields(SpendRow)] == [
        "labels",
        "bucket",
        *MEASURES,
        "reported",
        "reported_revenue",
    ]


GROUPS: list[tuple[Dimension, ...]] = [
    (),
    ("backend",),
    ("customer",),
    ("department", "model"),
    ("customer", "model"),
    ("customer", "task"),
]
FILTERS: list[dict[Dimension, tuple[str | None, ...]]] = [
    {},
    {"customer": ("acme", None)},
    {"department": ("sales",)},
    {"task": ("rag",), "model": ("gpt-4o",)},
]
INTERVALS: list[Interval | None] = [None, None, "day", "week", "month", "hour"]
COLUMN = {
    "backend": "b.key",
    "customer": "c.external_id",
    "department": "d.code",
    "model": "s.model",
    "task": "s.task",
}
LEDGER = """
SELECT l.occurred_at, l.cost_usd, l.output_tokens, b.key, c.external_id, d.code, s.model, s.task
FROM usage_ledger AS l JOIN usage_slice AS s ON s.tenant_id = l.tenant_id AND s.id = l.slice_id
LEFT JOIN pricing_backend AS b ON b.id = s.backend_id
LEFT JOIN tenants_customer AS c ON c.id = s.customer_id
LEFT JOIN tenants_department AS d ON d.id = s.department_id
WHERE l.tenant_id = %s
"""


def some_events(chance: random.Random, days: int) -> list[dict[str, Any]]:
    made = []
    for _ in range(250):
        about = {
            "model": chance.choice(["gpt-4o", "o3"]),
            "customer": chance.choice(["acme", "umbra", None]),
            "department": chance.choice(["sales", "support", None]),
            "task": chance.choice(["rag", "chat", None]),
        }
        at = NOW - timedelta(minutes=chance.randrange(days * 1440))
        usage = {"input_tokens": chance.randrange(1, 9000), "output_tokens": chance.randrange(900)}
        named = {name: value for name, value in about.items() if value is not None}
        made.append(native_event(timestamp=at.isoformat(), usage=usage, **named))
    return made


def test_any_question_over_months_is_the_ledgers_sum(make_tenant: MakeTenant) -> None:
    chance, days = random.Random(8), 110
    for zone in (ZoneInfo("Asia/Kathmandu"), ZoneInfo("America/New_York")):
        tenant_id = make_tenant(time_zone=zone.key).id
        key = make_key(tenant_id)
        body = json.dumps(some_events(chance, days)).encode()
        assert ingest_events(key.identity, parse_native(body), now=NOW).accepted == 250
        roll_up(tenant_id)
        with tenant_scope(tenant_id):
            with connection.cursor() as cursor:
                cursor.execute(LEDGER, [tenant_id])
                rows = [
                    (row[0], row[1], row[2], dict(zip(COLUMN, row[3:], strict=True)))
                    for row in cursor.fetchall()
                ]
            for _ in range(60):
                start = NOW - timedelta(minutes=chance.randrange(days * 1440))
                end = start + timedelta(minutes=chance.randrange(days * 1440))
                if chance.random() < 0.5:
                    start = midnight(start.astimezone(zone).date(), zone)
                query = SpendQuery(
                    start,
                    end,
                    chance.choice(GROUPS),
                    chance.choice(INTERVALS),
                    chance.choice(FILTERS),
                )
                found = {
                    (row.bucket, *(row.labels[name] for name in query.group_by)): (
                        row.requests,
                        row.output_tokens,
                        row.cost_usd,
                    )
                    for row in read_spend(query).rows
                }
                assert found == by_hand(rows, query, zone), query


def by_hand(
    rows: list[tuple[datetime, Decimal, int, dict[str, str | None]]],
    query: SpendQuery,
    zone: ZoneInfo,
) -> dict[Any, Any]:
    start, end = floor_to(query.start, QUARTER_HOUR), ceil_to(query.end, QUARTER_HOUR)
    sums: dict[Any, tuple[int, int, Decimal]] = {}
    for at, usd, tokens, about in rows:
        if not start <= at < end:
            continue
        if any(about[name] not in wanted for name, wanted in query.filters.items()):
            continue
        group = (bucket_of(at, query.interval, zone), *(about[name] for name in query.group_by))
        count, out, cost = sums.get(group, (0, 0, Decimal(0)))
        sums[group] = (count + 1, out + tokens, EXACT.add(cost, usd))
    return sums


def bucket_of(at: datetime, interval: Interval | None, zone: ZoneInfo) -> date | datetime | None:
    local = at.astimezone(zone)
    if interval is None:
        return None
    if interval == "hour":
        minutes = timedelta(minutes=local.minute, seconds=local.second, microseconds=at.microsecond)
        return at - minutes
    if interval == "day":
        return local.date()
    if interval == "week":
        return local.date() - timedelta(days=local.weekday())
    return local.date().replace(day=1)
