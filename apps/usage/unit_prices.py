"""Unit prices of models by meter, what caches saved, and how prices changed. Part of selectors."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from django.db import connection

from apps.pricing.selectors import BackendInfo, list_backends
from apps.tenants.scoping import current_tenant_id
from apps.usage.core.cache_savings import (
    METERS,
    NOTHING_LISTED,
    Listed,
    TokenSums,
    add_listed,
    listed_day,
)
from apps.usage.dimensions import Dimension
from apps.usage.facets import choose_rollup
from apps.usage.slice_labels import slice_conditions
from apps.usage.spend_sql import COLUMN_OF

# (model, cloud or local)
ModelKind = tuple[str, str]
MOST_DAYS_BACK: Final = 400

_DAYS: Final = """
SELECT s.model, s.backend_id, r.bucket, sum(r.uncached_input_tokens)::bigint,
    sum(r.cache_read_tokens)::bigint, sum(r.cache_write_5m_tokens)::bigint,
    sum(r.cache_write_1h_tokens)::bigint, sum(r.output_tokens)::bigint
FROM {table} AS r JOIN {slices} AS s ON s.tenant_id = r.tenant_id AND s.id = r.slice_id
WHERE r.tenant_id = %(tenant_id)s AND r.bucket >= %(first)s AND r.bucket < %(end)s{conditions}
GROUP BY 1, 2, 3
"""


def read_listed(
    first: date, end: date, zone: ZoneInfo, filters: Mapping[Dimension, tuple[str | None, ...]]
) -> dict[ModelKind, Listed]:
    """By model: tokens of the local days [first, end) at the standard prices of their noons.

    Surcharges for long prompts, priority tiers and the like are not in a standard price: what was
    really paid is in `read_spend`.
    """
    conditions, parameters = slice_conditions(filters)
    rollup = choose_rollup("day", {"model", "backend_id", *(COLUMN_OF[name] for name in filters)})
    statement = _DAYS.format(
        table=rollup.table,
        slices=rollup.slices,
        conditions="".join(f" AND {one}" for one in conditions),
    )
    parameters |= {"tenant_id": current_tenant_id(), "first": first, "end": end}
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        rows = cursor.fetchall()
    backends = {one.id: one for one in list_backends()}
    prices = _DayPrices(zone)
    found: dict[ModelKind, Listed] = {}
    for model, backend_id, day, *tokens in rows:
        backend = backends.get(backend_id)
        key = (model, backend.kind if backend else "cloud")
        sums = TokenSums(dict(zip(METERS, tokens, strict=True)))
        listed = listed_day(sums, prices.of(backend, day))
        found[key] = add_listed(found.get(key, NOTHING_LISTED), listed)
    return found


@dataclass(frozen=True, slots=True)
class PriceChange:
    """From `since` on (None: as far back as was looked) a backend's meters cost this, USD per
    1,000,000; newest first."""

    backend: str
    since: date | None
    prices: Mapping[str, Decimal]


def read_price_history(
    backend_ids: set[int], *, today: date, days: int, zone: ZoneInfo
) -> list[PriceChange]:
    """How the standard prices of some backends changed over the last days, by backend."""
    prices = _DayPrices(zone)
    found: list[PriceChange] = []
    for backend in list_backends():
        if backend.id not in backend_ids or backend.card is None:
            continue
        changes: list[PriceChange] = []
        for n in range(min(days, MOST_DAYS_BACK), -1, -1):
            day = today - timedelta(days=n)
            of_day = {m: p for m, p in prices.of(backend, day).items() if m in METERS}
            if not changes or of_day != changes[-1].prices:
                changes.append(PriceChange(backend.key, day if changes else None, of_day))
        found += reversed(changes)
    return found


class _DayPrices:
    """Standard prices of backends at a local day's noon."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._found: dict[tuple[int, date], Mapping[str, Decimal]] = {}

    def of(self, backend: BackendInfo | None, day: date) -> Mapping[str, Decimal]:
        if backend is None or backend.card is None:
            return {}
        key = (backend.id, day)
        if key not in self._found:
            noon = datetime.combine(day, time(12), self._zone)
            self._found[key] = backend.card.unit_prices(noon)
        return self._found[key]
