"""Charges whose events named a decision, as their commits are folded. Part of selectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db import connection

from apps.tenants.scoping import current_tenant_id

_DECIDED: Final = """
SELECT l.id, l.decision_id, l.occurred_at, s.backend_id, l.cost_usd, l.output_tokens,
    l.quality_score, l.converted
FROM usage_commit AS c CROSS JOIN LATERAL (
    SELECT * FROM usage_ledger
    WHERE tenant_id = c.tenant_id AND id BETWEEN c.id << 16 AND (c.id << 16) | 65535
        AND occurred_at BETWEEN c.first_occurred_at AND c.last_occurred_at
        AND kind = 0 AND decision_id IS NOT NULL
    OFFSET 0  -- one index range a commit, as in the fold
) AS l
JOIN usage_slice AS s ON s.tenant_id = c.tenant_id AND s.id = l.slice_id
WHERE c.tenant_id = %s AND c.id = ANY(%s)
ORDER BY l.id
"""


@dataclass(frozen=True, slots=True)
class DecidedCharge:
    """`cost_usd` None: nobody prices it yet."""

    charge_id: int
    decision_id: str
    occurred_at: datetime
    backend_id: int
    cost_usd: Decimal | None
    output_tokens: int
    quality_score: float | None
    converted: bool | None


def read_decided_charges(commit_numbers: Sequence[int]) -> list[DecidedCharge]:
    """Of these commits of the tenant in scope, by id; those folded already are left out."""
    with connection.cursor() as cursor:
        cursor.execute(_DECIDED, [current_tenant_id(), list(commit_numbers)])
        return [DecidedCharge(*row) for row in cursor.fetchall()]
