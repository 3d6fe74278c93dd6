"""Rows of spend as the API and a report's file write them."""

import csv
import io
from typing import Any

from apps.pricing.core.money import plain_decimal
from apps.tenants.core.exchange import USD
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


def spend_csv(query: SpendQuery, spend: Spend, currency: str = USD) -> str:
    """A heading and a row a group, every digit of the money. Of rows that were read in another
    currency with a column more: `cost_eur`."""
    columns = [*query.group_by, *(["bucket"] if query.interval else []), *MEASURES]
    own = f"cost_{currency.lower()}"
    columns += [own] if currency != USD else []
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    for row in spend.rows:
        cells = row_out(query, row)
        cells |= {own: plain_decimal(row.cost)} if currency != USD else {}
        writer.writerow({name: _safe_cell(cell) for name, cell in cells.items()})
    return text.getvalue()


def _safe_cell(value: Any) -> Any:
    """A name that a spreadsheet would run as a formula is shown as text instead."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value
