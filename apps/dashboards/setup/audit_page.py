"""The audit log: who did what, when, in plain words; narrowed, and as CSV."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse

from apps.budgets.core.department_csv import write_csv
from apps.dashboards.corrections.run_requests import as_number
from apps.dashboards.page import PageRequest, page
from apps.dashboards.periods import dated, local_midnight
from apps.dashboards.setup import audit_words as words
from apps.tenants.audit import AuditFilter, AuditRow, read_audit, walk_audit
from apps.tenants.selectors import list_members

ROWS: Final = 50
MAX_EXPORTED: Final = 100_000
MAX_TEXT: Final = 200
FIELDS: Final = ("who", "about", "from", "to")
HEADINGS: Final = ("time", "who", "what", "action", "subject", "before", "after")


@dataclass(frozen=True, slots=True)
class AuditLine:
    row: AuditRow
    when: str
    what: str
    about: str
    changes: list[words.Change]


@page
def audit_log(request: PageRequest) -> HttpResponse:
    """Newest first, fifty to a page; all that is asked for as CSV."""
    given = {name: request.GET.get(name, "").replace("\0", "")[:MAX_TEXT] for name in FIELDS}
    wanted, errors = _read(given, request)
    if request.GET.get("format") == "csv" and not errors:
        return _as_csv(request, wanted)  # type: ignore[return-value]
    before_id = as_number(request.GET.get("before", ""))
    rows = [] if errors else read_audit(wanted, limit=ROWS + 1, before_id=before_id)
    shown = rows[:ROWS]
    query = urlencode({name: text for name, text in given.items() if text})
    context = {
        "tenant": request.tenant,
        "given": given,
        "errors": errors,
        "people": [member.email for member in list_members()],
        "kinds": sorted(words.KINDS.items(), key=lambda pair: pair[1]),
        "lines": [_line(row, request) for row in shown],
        "answer": "" if before_id is not None else _answer(shown, request),
        "narrowed": bool(query),
        "continued": before_id is not None,
        "earlier": f"{query}&before={shown[-1].id}" if len(rows) > ROWS else "",
        "csv_address": f"{reverse('audit-log')}?{query}&format=csv",
    }
    return render(request, "dashboards/audit_log.html", context)


def _read(given: Mapping[str, str], request: PageRequest) -> tuple[AuditFilter, dict[str, str]]:
    """What is asked for: days are the tenant's, the last one included."""
    wanted = AuditFilter(actor=given["who"].strip(), kind=given["about"])
    errors: dict[str, str] = {}
    zone = request.tenant.zone
    for name in ("from", "to"):
        if not given[name]:
            continue
        try:
            day = date.fromisoformat(given[name])
            if name == "from":
                wanted = replace(wanted, starts_at=local_midnight(day, zone))
            else:
                wanted = replace(wanted, ends_at=local_midnight(day + timedelta(days=1), zone))
        except (ValueError, OverflowError):
            errors[name] = "This is not a day such as 2026-11-01."
    return wanted, errors


def _answer(shown: list[AuditRow], request: PageRequest) -> str:
    if not shown:
        return ""
    newest = _line(shown[0], request)
    return f"The newest: {newest.row.actor} {newest.what}, {newest.when}."


def _line(row: AuditRow, request: PageRequest) -> AuditLine:
    local = row.at.astimezone(request.tenant.zone)
    return AuditLine(
        row=row,
        when=f"{dated(local)}, {local:%H:%M}",
        what=words.sentence(row),
        about=words.kind_of(row.action),
        changes=words.changes(row),
    )


def _as_csv(request: PageRequest, wanted: AuditFilter) -> StreamingHttpResponse:
    # Read while it is sent, after this request's scope has ended: it enters its own.
    pieces = _pieces(request.tenant.id, wanted)
    response = StreamingHttpResponse(pieces, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = 'attachment; filename="audit.csv"'
    return response


def _pieces(tenant_id: int, wanted: AuditFilter) -> Iterator[str]:
    yield write_csv(HEADINGS, [])
    for rows in walk_audit(tenant_id, wanted, most=MAX_EXPORTED):
        text = write_csv(HEADINGS, [_cells(row) for row in rows])
        yield text.partition("\r\n")[2]


def _cells(row: AuditRow) -> tuple[str, ...]:
    moment = row.at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return (
        moment,
        row.actor,
        words.sentence(row),
        row.action,
        row.subject,
        _json(row.before),
        _json(row.after),
    )


def _json(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)
