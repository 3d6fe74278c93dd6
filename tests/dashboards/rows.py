"""Hand-made rollup rows and lines for tests of what is pure."""

from datetime import date, datetime
from decimal import Decimal

from apps.dashboards.breakdown import Line, Sums
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
        cost_usd=Decimal(cost), requests=requests, input_tokens=tokens, unpriced_requests=unpriced
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
