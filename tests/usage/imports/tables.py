"""Files of past usage for tests, and importing them as the command does."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from django.core.management import call_command
from django.db import connection

from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.usage.imports import ImportInfo, list_imports

Rows = Sequence[Mapping[str, Any]]
DAY = timedelta(days=1)
# Noon of a day that retention keeps for long.
BEGIN = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - 60 * DAY


def a_row(number: int, **changes: Any) -> dict[str, Any]:
    """A row of the columns of native events; it costs 0.000225 USD."""
    return {
        "id": f"call-{number}",
        "timestamp": (BEGIN + timedelta(seconds=number)).isoformat(),
        "provider": "openai",
        "model": "gpt-4o-mini",
        "input_tokens": 1000,
        "cache_read_tokens": 600,
        "output_tokens": 200,
        "customer": f"customer-{number % 3}",
    } | changes


def as_csv(rows: Rows, *, delimiter: str = ",") -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_ndjson(rows: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def as_parquet(rows: Rows, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), out, **options)
    return out.getvalue()


WRITERS: dict[str, Callable[[Rows], bytes]] = {
    "csv": as_csv,
    "ndjson": as_ndjson,
    "parquet": as_parquet,
}


def run_import(
    tenant: TenantInfo, folder: Path, data: bytes, *arguments: str, name: str = "usage.dat"
) -> tuple[ImportInfo, str]:
    """What `manage.py import_usage` made of a file, and what it said."""
    path = folder / name
    path.write_bytes(data)
    out = io.StringIO()
    call_command("import_usage", str(path), "--tenant", tenant.slug, *arguments, stdout=out)
    with tenant_scope(tenant.id):
        return list_imports()[0], out.getvalue()


def charges_of(tenant: TenantInfo, *, with_ids: bool = True) -> list[tuple[Any, ...]]:
    """The ledger of a tenant, without what differs by when and how it came."""
    names = (
        "source, event_id, occurred_at, kind, uncached_input_tokens, cache_read_tokens,"
        " cache_write_5m_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens, cost_usd,"
        " requested_model, end_user, tags::text, meters::text, price_context::text, latency_ms,"
        " time_to_first_token_ms, decision_id, policy_version, revenue_usd, converted,"
        " quality_score, reported_cost_usd, energy_wh"
    )
    places = (
        "s.provider, s.model, s.project, s.environment, s.task, s.status, c.external_id, d.code"
    )
    with tenant_scope(tenant.id), connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {', '.join('l.' + name.strip() for name in names.split(','))}, {places}"
            " FROM usage_ledger AS l"
            " JOIN usage_slice AS s ON s.tenant_id = l.tenant_id AND s.id = l.slice_id"
            " LEFT JOIN tenants_customer AS c ON c.id = s.customer_id"
            " LEFT JOIN tenants_department AS d ON d.id = s.department_id"
            " WHERE l.tenant_id = %s ORDER BY l.source, l.event_id",
            [tenant.id],
        )
        found = cursor.fetchall()
    return found if with_ids else sorted((row[:1] + row[2:] for row in found), key=repr)


def cost_of(tenant: TenantInfo) -> Decimal:
    return sum((row[10] or Decimal(0) for row in charges_of(tenant)), Decimal(0))
