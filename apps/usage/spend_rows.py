"""Rows of spend as the API and a report's file write them."""

import csv
import io
from typing import Any

from apps.pricing.core.money import plain_decimal
from apps.usage.selectors import MEASURES, Spend, SpendQuery, SpendRow


def measures_out(row: SpendRow) -> dict[str, Any]:
    measures = {name: getattr(row, name) for name in MEASURES}
    money = ("cost_usd", "revenue_usd")
    return measures | {name: plain_decimal(getattr(row, name)) for name in money}


def row_out(query: SpendQuery, row: SpendRow) -> dict[str, Any]:
    labels: dict[str, Any] = dict(row.labels)
    if query.interval is not None and row.bucket is not None:
        labels["bucket"] = row.bucket.isoformat()
    return labels | measures_out(row)


def spend_csv(query: SpendQuery, spend: Spend) -> str:
    """A heading and a row a group, every digit of the money."""
    columns = [*query.group_by, *(["bucket"] if query.interval else []), *MEASURES]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows({k: _safe_cell(v) for k, v in row_out(query, r).items()} for r in spend.rows)
    return text.getvalue()


def _safe_cell(value: Any) -> Any:
    """A name that a spreadsheet would run as a formula is shown as text instead."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value
