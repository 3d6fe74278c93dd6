"""The one statement that turns commits into rollups. Part of services.

Each rollup's new sums are made of the next finer one's: of the many by slice few are read twice.
"""

from dataclasses import dataclass
from typing import Final

from apps.usage.core.cover import Grain
from apps.usage.facets import FACETS, KEPT, facet_column, rollup_table
from apps.usage.measures import COLUMNS, SUMS, SUMS_FROM_LEDGER, add_to

# Of a finer bucket; a quarter hour lies in one local day whole, whatever the zone.
QUARTER: Final = "date_bin('15 minutes', bucket, 'epoch')"
LOCAL_DAY: Final = "(bucket AT TIME ZONE %(time_zone)s)::date"
MONTH: Final = "date_trunc('month', bucket)::date"


@dataclass(frozen=True, slots=True)
class Step:
    """Sums of `source` by bucket and by slice (`facet` None) or coarse slice, which are added to
    the rollup of this grain, if there is one. `carried`: facets of which coarser sums are made."""

    name: str
    source: str
    bucket: str
    grain: Grain | None
    facet: str | None = None
    carried: tuple[str, ...] = ()
    where: str = ""


_BY_SLICE: Final = (
    Step("minutes", "fresh", "bucket", "minute", where="WHERE bucket >= %(minutes_since)s"),
    Step("quarters", "fresh", QUARTER, "quarter_hour"),
    Step("days", "quarters", LOCAL_DAY, "day"),
    Step("months", "days", MONTH, "month"),
)
# Which quarter hours' sums those of a facet are made of; the first two come from slices.
_MADE_OF: Final = {
    "work": ("placed", ("department", "backend")),
    "customer_backend": ("placed", ("customer",)),
    "department": ("quarters_work", ()),
    "backend": ("quarters_work", ()),
    "customer": ("quarters_customer_backend", ()),
}
_BY_FACET: Final = (
    *(
        Step(
            f"quarters_{facet}",
            source,
            "bucket",
            "quarter_hour" if facet in KEPT["quarter_hour"] else None,
            facet,
            carried,
        )
        for facet, (source, carried) in _MADE_OF.items()
    ),
    *(Step(f"days_{facet}", f"quarters_{facet}", LOCAL_DAY, "day", facet) for facet in KEPT["day"]),
    *(Step(f"months_{facet}", f"days_{facet}", MONTH, "month", facet) for facet in KEPT["month"]),
)


def _step(step: Step) -> str:
    by = facet_column(step.facet) if step.facet else "slice_id"
    carried = "".join(f", min({c}) AS {c}" for c in map(facet_column, step.carried))
    sums = f"""{step.name} AS MATERIALIZED (
    SELECT {step.bucket} AS bucket, {by}{carried}, {SUMS} FROM {step.source} {step.where}
    GROUP BY 1, 2
)"""
    if step.grain is None:
        return sums
    table = rollup_table(step.grain, step.facet)
    return f"""{sums}, into_{step.name} AS (
    INSERT INTO {table} (tenant_id, bucket, slice_id, {COLUMNS})
    SELECT %(tenant_id)s, bucket, {by}, {COLUMNS} FROM {step.name} ORDER BY 2, 3 {add_to(table)}
)"""


FOLD: Final = f"""
WITH claimed AS (
    DELETE FROM usage_commit WHERE tenant_id = %(tenant_id)s AND id = ANY(%(commits)s)
    RETURNING tenant_id, id, rows, first_occurred_at, last_occurred_at
), fresh AS MATERIALIZED (
    SELECT date_trunc('minute', l.occurred_at) AS bucket, l.slice_id, count(*) AS rows,
        {SUMS_FROM_LEDGER}
    FROM claimed AS c CROSS JOIN LATERAL (
        SELECT * FROM usage_ledger
        WHERE tenant_id = %(tenant_id)s AND id BETWEEN c.id << 16 AND (c.id << 16) | 65535
            AND occurred_at BETWEEN c.first_occurred_at AND c.last_occurred_at
        -- Keeps it one index range a commit: free to choose, PostgreSQL guesses a range to be a
        -- part of the table, and from some ten commits on reads all of the ledger instead.
        OFFSET 0
    ) AS l
    GROUP BY 1, 2
), {", ".join(map(_step, _BY_SLICE))}, placed AS MATERIALIZED (
    SELECT q.*, {", ".join(f"s.{facet_column(facet)}" for facet in FACETS)}
    FROM quarters AS q JOIN usage_slice AS s ON s.tenant_id = %(tenant_id)s AND s.id = q.slice_id
), {", ".join(map(_step, _BY_FACET))}
SELECT coalesce((SELECT sum(rows) FROM claimed), 0), coalesce(sum(rows), 0) FROM fresh
"""
