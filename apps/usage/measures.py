"""What is summed: the measures of a rollup row, in one list for writing and reading."""

# Column of every rollup -> how it is summed from ledger rows `l`.
FROM_LEDGER = {
    "requests": "count(*) FILTER (WHERE l.kind = 0) + sum(l.request_change)",
    "uncached_input_tokens": "sum(l.uncached_input_tokens)",
    "cache_read_tokens": "sum(l.cache_read_tokens)",
    "cache_write_5m_tokens": "sum(l.cache_write_5m_tokens)",
    "cache_write_1h_tokens": "sum(l.cache_write_1h_tokens)",
    "output_tokens": "sum(l.output_tokens)",
    "reasoning_tokens": "sum(l.reasoning_tokens)",
    "cost_usd": "coalesce(sum(l.cost_usd), 0)",
    "unpriced_requests": "count(*) FILTER (WHERE l.cost_usd IS NULL) + sum(l.unpriced_change)",
    "revenue_usd": "coalesce(sum(l.revenue_usd), 0)",
    "conversions": "count(*) FILTER (WHERE l.kind = 0 AND l.converted)"
    " + coalesce(sum(l.request_change) FILTER (WHERE l.converted), 0)",
    "latency_ms_sum": "coalesce(sum(l.latency_ms), 0)",
    "latency_count": "count(l.latency_ms) FILTER (WHERE l.kind = 0)"
    " + coalesce(sum(l.request_change) FILTER (WHERE l.latency_ms IS NOT NULL), 0)",
}
COLUMNS = ", ".join(FROM_LEDGER)
SUMS_FROM_LEDGER = ", ".join(f"{sql} AS {column}" for column, sql in FROM_LEDGER.items())
SUMS = ", ".join(f"sum({column}) AS {column}" for column in FROM_LEDGER)


def add_to(table: str) -> str:
    """The ON CONFLICT clause that adds new sums to a rollup's row."""
    additions = ", ".join(f"{c} = {table}.{c} + excluded.{c}" for c in FROM_LEDGER)
    return f"ON CONFLICT (tenant_id, bucket, slice_id) DO UPDATE SET {additions}"
