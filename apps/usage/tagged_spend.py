"""Spend by the values of one tag, summed from the ledger. A part of selectors.

Rollups know no tags: a rollup by tag would have a row for every request id that somebody puts into
one (docs/decisions/0023). So this reads single requests, of few days and not too many of them;
whoever asks looks at `fits` first.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, cast

from django.db import connection

from apps.tenants.scoping import current_tenant_id
from apps.tenants.selectors import get_tenant
from apps.usage.measures import SUMS_FROM_LEDGER
from apps.usage.selectors import SpendQuery, SpendRow, read_spend
from apps.usage.slice_labels import Dimension, SliceLabels, slice_conditions
from apps.usage.spend_sql import COLUMN_OF, SOMETHING, SUMS

# No dimension of slices: only this module and the explorer know it.
TAG: Final = cast("Dimension", "tag")
MAX_DAYS: Final = timedelta(days=31, hours=1)
MAX_REQUESTS: Final = 200_000
MAX_KEY: Final = 100
# Of the newest requests, to see which tags there are.
LOOKED_AT: Final = 2_000
MAX_KEYS: Final = 50

_LOCAL_DAY: Final = "(l.occurred_at AT TIME ZONE %(time_zone)s)::date"
_BUCKETS: Final = {
    None: "NULL::date",
    "hour": "date_trunc('hour', l.occurred_at, %(time_zone)s)",
    "day": _LOCAL_DAY,
    "week": f"date_trunc('week', {_LOCAL_DAY})::date",
    "month": f"date_trunc('month', {_LOCAL_DAY})::date",
}
# A correction carries no tags: it goes where the request that it corrects goes.
_READ: Final = """
SELECT r.bucket, r.tag{outer}, {sums} FROM (
    SELECT {bucket} AS bucket, coalesce(l.tags, o.tags) ->> %(tag)s AS tag{inner}, {measures}
    FROM usage_ledger AS l
    JOIN usage_slice AS s ON s.tenant_id = l.tenant_id AND s.id = l.slice_id
    LEFT JOIN usage_ledger AS o ON l.corrects_id IS NOT NULL AND o.tenant_id = l.tenant_id
        AND o.id = l.corrects_id AND o.occurred_at = l.occurred_at
    WHERE l.tenant_id = %(tenant_id)s AND l.occurred_at >= %(start)s AND l.occurred_at < %(end)s
        {where}
    GROUP BY {groups}
) AS r GROUP BY {groups} HAVING {something}
"""
_KEYS: Final = """
SELECT key FROM (
    SELECT tags FROM usage_ledger
    WHERE tenant_id = %s AND occurred_at >= %s AND occurred_at < %s
    ORDER BY occurred_at DESC LIMIT %s
) AS newest CROSS JOIN LATERAL jsonb_object_keys(newest.tags) AS key
GROUP BY key ORDER BY count(*) DESC, key LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a question is small enough to be summed request by request."""

    requests: int
    is_short: bool

    @property
    def fits(self) -> bool:
        return self.is_short and self.requests <= MAX_REQUESTS


def measure_fit(query: SpendQuery) -> Fit:
    """From the rollups, which know how many requests it is about."""
    is_short = query.end - query.start <= MAX_DAYS
    plain = replace(query, group_by=(), interval=None)
    return Fit(read_spend(plain).total.requests if is_short else 0, is_short)


def list_tag_keys(query: SpendQuery) -> list[str]:
    """Tags that the newest requests of the stretch carry, the commonest first."""
    parameters: list[Any] = [current_tenant_id(), query.start, query.end, LOOKED_AT, MAX_KEYS]
    with connection.cursor() as cursor:
        cursor.execute(_KEYS, parameters)
        return [row[0] for row in cursor.fetchall()]


def read_tagged(query: SpendQuery, key: str) -> list[SpendRow]:
    """As `read_spend`, where "tag" in `group_by` is the value of the tag `key`; None: without it.

    Filters and other dimensions are those of slices.
    """
    labels, tenant = SliceLabels(), get_tenant()
    others = [dimension for dimension in query.group_by if dimension != TAG]
    columns = sorted({COLUMN_OF[dimension] for dimension in others})
    conditions, wanted = slice_conditions(query.filters, labels)
    sql = _READ.format(
        bucket=_BUCKETS[query.interval],
        outer="".join(f", r.{column}" for column in columns),
        inner="".join(f", s.{column}" for column in columns),
        sums=SUMS,
        something=SOMETHING,
        measures=SUMS_FROM_LEDGER,
        where="".join(f" AND {condition}" for condition in conditions),
        groups=", ".join(str(n) for n in range(1, len(columns) + 3)),
    )
    parameters: dict[str, Any] = {
        "tenant_id": tenant.id,
        "time_zone": tenant.time_zone,
        "start": query.start,
        "end": query.end,
        "tag": key,
        **wanted,
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        found = cursor.fetchall()
    rows = []
    for bucket, tag, *rest in found:
        values = dict(zip(columns, rest[: len(columns)], strict=True))
        named: dict[str, str | None] = {
            d: tag if d == TAG else labels.of(d, values[COLUMN_OF[d]]) for d in query.group_by
        }
        rows.append(SpendRow(named, bucket, *rest[len(columns) :]))
    return rows
