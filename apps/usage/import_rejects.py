"""The rows an import did not take, as a CSV that spreadsheets open safely. Part of imports."""

import csv
import io
from collections.abc import Iterator

from apps.tenants.scoping import tenant_scope
from apps.usage.import_rows import Reject, list_rejects

HEADINGS = ("row", "field", "code", "reason", "value")


def rejects_as_csv(tenant_id: int, import_id: int) -> Iterator[str]:
    """In pieces, rows in order."""
    yield _csv([HEADINGS])
    last = 0
    while True:
        with tenant_scope(tenant_id):
            found = list_rejects(import_id, after_row=last)
        if not found:
            return
        last = found[-1].row_number
        yield _csv([_cells(reject) for reject in found])


def _cells(reject: Reject) -> tuple[object, ...]:
    texts = (reject.field, reject.code, reject.detail, reject.value)
    return (reject.row_number, *(_safe(text or "") for text in texts))


def _safe(text: str) -> str:
    """A text that a spreadsheet would run as a formula is shown as text instead."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _csv(rows: list[tuple[object, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
