"""What commits hold and what the rollups hold, by what budgets ask for. Part of selectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from django.db import connection

from apps.tenants.scoping import current_tenant_id
from apps.usage.measures import FROM_LEDGER
from apps.usage.spend_sql import choose_spans, rows_sql

_TOKENS_SUM = " + ".join(
    FROM_LEDGER[column]
    for column in (
        "uncached_input_tokens",
        "cache_read_tokens",
        "cache_write_5m_tokens",
        "cache_write_1h_tokens",
        "output_tokens",
    )
)
_ALL_TOKENS = (
    "uncached_input_tokens + r.cache_read_tokens + r.cache_write_5m_tokens"
    " + r.cache_write_1h_tokens + r.output_tokens"
)
_PLACE_COLUMNS: Final = (
    "department_id", "customer_id", "project", "api_key_id", "provider", "model", "backend_id",
)  # fmt: skip
_S_PLACE = ", ".join(f"s.{column}" for column in _PLACE_COLUMNS)

# Events that name a decision come one by one: what they settle is another's to say.
_COMMITS = f"""
SELECT l.id >> 16, date_bin('15 minutes', l.occurred_at, 'epoch'), l.decision_id,
    CASE WHEN l.decision_id IS NULL THEN 0 ELSE l.id END,
    {FROM_LEDGER["cost_usd"]}, ({_TOKENS_SUM})::bigint, ({FROM_LEDGER["requests"]})::bigint,
    {_S_PLACE}
FROM usage_commit AS c CROSS JOIN LATERAL (
    SELECT * FROM usage_ledger
    WHERE tenant_id = c.tenant_id AND id BETWEEN c.id << 16 AND (c.id << 16) | 65535
        AND occurred_at BETWEEN c.first_occurred_at AND c.last_occurred_at
    OFFSET 0  -- one index range a commit, as in the fold
) AS l
JOIN usage_slice AS s ON s.tenant_id = c.tenant_id AND s.id = l.slice_id
WHERE c.tenant_id = %(tenant_id)s AND c.id = ANY(%(commits)s)
GROUP BY 1, 2, 3, 4, {_S_PLACE}
"""


@dataclass(frozen=True, slots=True)
class Place:
    """What spend is about, by the ids that slices carry."""

    department_id: int | None
    customer_id: int | None
    project: str | None
    api_key_id: int
    provider: str
    model: str
    backend_id: int


@dataclass(frozen=True, slots=True)
class Volume:
    """Sums. Adjustments make them negative where they take away."""

    cost_usd: Decimal
    tokens: int
    requests: int


@dataclass(frozen=True, slots=True)
class CommitCharge:
    """A commit's charges in one quarter hour and place; one charge alone (`charge_id`, not 0) if
    it names a decision."""

    commit_number: int
    quarter_hour: datetime
    decision_id: str | None
    charge_id: int
    volume: Volume
    place: Place


def list_pending_commits() -> list[int]:
    """The tenant in scope's commits that the rollups do not hold yet."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM usage_commit WHERE tenant_id = %s ORDER BY id", [current_tenant_id()]
        )
        return [row[0] for row in cursor.fetchall()]


def read_commit_charges(commit_numbers: Sequence[int]) -> list[CommitCharge]:
    """What these commits of the tenant in scope hold; those folded already are left out."""
    with connection.cursor() as cursor:
        cursor.execute(
            _COMMITS, {"tenant_id": current_tenant_id(), "commits": list(commit_numbers)}
        )
        return [
            CommitCharge(row[0], row[1], row[2], row[3], Volume(*row[4:7]), Place(*row[7:]))
            for row in cursor.fetchall()
        ]


def read_volume_by_place(
    start: datetime, end: datetime, zone: ZoneInfo
) -> list[tuple[Place, Volume]]:
    """What the rollups hold of [start, end), which are widened to whole quarter hours."""
    spans = choose_spans(start, end, None, zone, by_minute=False)
    if not spans:
        return []
    rows, bounds = rows_sql(spans, None, _PLACE_COLUMNS, (), filtered=())
    columns = ", ".join(f"r.{column}" for column in _PLACE_COLUMNS)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {columns}, sum(r.cost_usd), sum(r.{_ALL_TOKENS})::bigint,"
            f" sum(r.requests)::bigint FROM ({rows}) AS r GROUP BY {columns}",
            {"tenant_id": current_tenant_id(), **bounds},
        )
        return [(Place(*row[:7]), Volume(*row[7:])) for row in cursor.fetchall()]
