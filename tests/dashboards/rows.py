"""Hand-made rollup rows, lines and decisions."""

import uuid
from datetime import UTC, date, datetime
from decimal import Decimal

from apps.dashboards.breakdown import Line, Sums
from apps.routing.decision_log import DecisionRecord
from apps.usage.selectors import SpendRow


def row(
    cost: str = "0",
    *,
    requests: int = 1,
    bucket: date | datetime | None = None,
    input_tokens: int = 0,
    cache_read_tokens: int = 0,
    output_tokens: int = 0,
    unpriced: int = 0,
    revenue: str = "0",
    conversions: int = 0,
    **labels: str | None,
) -> SpendRow:
    return SpendRow(
        labels=labels,
        bucket=bucket,
        cost_usd=Decimal(cost),
        requests=requests,
        input_tokens=input_tokens,
        cache_read_tokens=cache_read_tokens,
        cache_write_tokens=0,
        output_tokens=output_tokens,
        unpriced_requests=unpriced,
        revenue_usd=Decimal(revenue),
        conversions=conversions,
    )


def sums(cost: str = "0", requests: int = 1, tokens: int = 0, unpriced: int = 0) -> Sums:
    return Sums(
        cost_usd=Decimal(cost),
        requests=requests,
        input_tokens=tokens,
        unpriced_requests=unpriced,
        reported=None,
    )


def line(
    name: str,
    cost: str,
    *,
    whole: str = "100",
    before: str | None = None,
    requests: int = 1,
    whole_requests: int = 1,
    tokens: int = 0,
    key: str | None = "",
) -> Line:
    """A line called `name`; its key is its name unless another, or None, is given."""
    return Line(
        key=name if key == "" else key,
        name=name,
        now=sums(cost, requests, tokens),
        whole=sums(whole, whole_requests),
        before=None if before is None else sums(before),
    )


def decision_record(
    tenant_id: int, backend: str, advised: str | None, **more: object
) -> DecisionRecord:
    """A decision as the door writes it down; `more` replaces fields."""
    fields: dict[str, object] = {
        "tenant_id": tenant_id,
        "decision_id": str(uuid.uuid4()),
        "decided_at": datetime.now(UTC).isoformat(),
        "request_id": uuid.uuid4().hex,
        "policy_version": 3,
        "mode": "observe",
        "department": "-",
        "customer": None,
        "tier": "standard",
        "task": "chat",
        "backend": backend,
        "advised": advised,
        "because": "best",
        "propensity": 1.0,
        "input_tokens": 1000,
        "estimated_output_tokens": 200.0,
        "estimated_usd": "0.000100",
        "held_usd": "0.0005",
        "value_usd": 0.02,
        "quality": 0.89,
        "reasons": [f"{backend}: the most value for its price"],
        "alternatives": [
            ["openai/gpt-4.1-nano", "0.0002", "nano refused: loses quality worth 0.2 cents"]
        ],
        "shadows": {"half": [None, 0.0, 0.0, 0.0001, 0.01]},
    }
    return DecisionRecord(**(fields | more))  # type: ignore[arg-type]
