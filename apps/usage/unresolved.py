"""Names that nothing prices, from the daily rollups. A part of selectors."""

from dataclasses import dataclass
from datetime import date
from typing import Final

from django.db import connection

from apps.pricing.core.rating import RateBook
from apps.pricing.selectors import current_rate_book
from apps.tenants.scoping import current_tenant_id
from apps.usage.facets import choose_rollup

MAX_UNRESOLVED: Final = 500
_ROLLUP: Final = choose_rollup("day", ("provider", "model"))
NAMES = f"""
SELECT s.provider, s.model, sum(r.unpriced_requests),
    sum(r.uncached_input_tokens + r.cache_read_tokens + r.cache_write_5m_tokens
        + r.cache_write_1h_tokens + r.output_tokens)
FROM {_ROLLUP.table} AS r
JOIN {_ROLLUP.slices} AS s ON s.tenant_id = r.tenant_id AND s.id = r.slice_id
WHERE r.tenant_id = %s AND r.bucket BETWEEN %s AND %s AND r.unpriced_requests > 0
GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A reported name whose usage has no price. `tokens` of the days that have such requests.

    `priced_as`: what would price it now (reprice to rate what is past). `suggestion`: the model of
    the catalogue by that name, for an alias.
    """

    provider: str
    model: str
    unpriced_requests: int
    tokens: int
    priced_as: str | None
    suggestion: str | None


def list_unresolved(*, first_day: date, last_day: date, limit: int = 100) -> list[Unresolved]:
    """Names with unpriced usage in these of the tenant's local days, most requests first.

    Usage that was repriced since no longer counts.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            NAMES, [current_tenant_id(), first_day, last_day, min(limit, MAX_UNRESOLVED)]
        )
        rows = cursor.fetchall()
    book = current_rate_book()
    return [_unresolved(book, *row) for row in rows]


def _unresolved(
    book: RateBook, provider: str, model: str, requests: int, tokens: int
) -> Unresolved:
    resolved = book.resolve(provider, model)
    suggested = book.resolve_anywhere(model) if resolved.card is None else None
    return Unresolved(
        provider=provider,
        model=model,
        unpriced_requests=int(requests),
        tokens=int(tokens),
        priced_as=resolved.key if resolved.card else None,
        suggestion=suggested.key if suggested else None,
    )
