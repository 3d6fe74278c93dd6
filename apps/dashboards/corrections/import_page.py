"""The import page: a file of past usage, what its columns mean, a dry run, the run."""

from collections.abc import Callable
from typing import Any, Final

from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from apps.dashboards.corrections.import_reading import (
    FIELD_GROUPS,
    FIXED_FIELDS,
    read_report,
)
from apps.dashboards.page import PageRequest, changing, page
from apps.dashboards.sentences import in_a_sentence
from apps.usage.core.import_mapping import ColumnMapping
from apps.usage.core.import_values import TIMESTAMP_FORMATS
from apps.usage.import_rejects import rejects_as_csv
from apps.usage.imports import (
    MAX_UPLOAD_BYTES,
    ImportInfo,
    ImportRefusedError,
    choose_mapping,
    discard_import,
    get_import,
    receive_upload,
    sample_upload,
    start_dry_run,
    start_import,
)

POLL_SECONDS: Final = 2
# What a form holds beside its file.
FORM_BYTES: Final = 64 * 1024
MAX_TEXT: Final = 200
FORMAT_WORDS: Final = {
    "auto": "told from the values",
    "rfc3339": "RFC 3339, such as 2026-10-01T10:00:00Z",
    "epoch_s": "seconds since 1970",
    "epoch_ms": "milliseconds since 1970",
    "epoch_us": "microseconds since 1970",
}


@page
def imports(request: PageRequest) -> HttpResponse:
    """The page; for its own poll the part below its title."""
    return _answer(request)


def _within_limit(view: Callable[..., HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Refuses by its stated length a body that is too large, before any of it is read.

    Checking the CSRF token reads the whole form, so that is done by the view, after this.
    """

    def bounded(request: HttpRequest) -> HttpResponse:
        length = request.headers.get("Content-Length", "")
        if length.isdigit() and int(length) > MAX_UPLOAD_BYTES + FORM_BYTES:
            return render(request, "413.html", {"limit_mib": MAX_UPLOAD_BYTES >> 20}, status=413)
        return view(request)

    return bounded


@csrf_protect
def _receive(request: PageRequest) -> HttpResponse:
    file = request.FILES.get("file")
    if not isinstance(file, UploadedFile):
        return _answer(request, status=422, upload_error="Choose a file.")
    try:
        info = receive_upload(
            request.tenant.id,
            file.name or "",
            lambda: _from_the_top(file),
            actor=request.user.get_username(),
            now=request.now,
        )
    except ImportRefusedError as refused:
        return _answer(request, status=422, upload_error=in_a_sentence(refused.detail))
    return redirect(f"{reverse('import')}?open={info.id}")


def _from_the_top(file: "UploadedFile[bytes]") -> Any:
    file.seek(0)
    return file.chunks(1024 * 1024)


upload: Callable[[HttpRequest], HttpResponse] = csrf_exempt(_within_limit(changing(_receive)))


@changing
def try_import(request: PageRequest) -> HttpResponse:
    """Takes what the columns mean and starts the dry run."""
    info = _import_of(request)
    mapping = info.mapping
    try:
        if not mapping.native:
            mapping = _read_mapping(request, info)
        choose_mapping(request.tenant.id, info.id, mapping)
        start_dry_run(request.tenant.id, info.id, now=request.now)
    except ImportRefusedError as refused:
        return _refused(request, info, refused, chosen=mapping)
    return _answer(request, opened=info.id)


@changing
def run_import(request: PageRequest) -> HttpResponse:
    """Starts an import that was tried, or lets one go on that stopped."""
    info = _import_of(request)
    try:
        if info.state == "uploaded":
            raise ImportRefusedError("make the dry run first")
        start_import(request.tenant.id, info.id, actor=request.user.get_username(), now=request.now)
    except ImportRefusedError as refused:
        return _refused(request, info, refused)
    return _answer(request, opened=info.id)


@changing
def discard(request: PageRequest) -> HttpResponse:
    info = _import_of(request)
    try:
        discard_import(
            request.tenant.id, info.id, actor=request.user.get_username(), now=request.now
        )
    except ImportRefusedError as refused:
        return _refused(request, info, refused)
    return _answer(request, said=f"{info.file_name} was discarded.")


def rejects(request: HttpRequest, import_id: int) -> HttpResponse:
    """The rows an import did not take, as CSV."""
    return page(lambda inside: _rejects(inside, import_id))(request)


def _rejects(request: PageRequest, import_id: int) -> HttpResponse:
    try:
        info = get_import(min(import_id, 2**63 - 1))
    except ImportRefusedError as error:
        raise Http404 from error
    # Read while it is sent, after this request's scope has ended: it enters its own.
    response = StreamingHttpResponse(
        rejects_as_csv(request.tenant.id, info.id), content_type="text/csv; charset=utf-8"
    )
    response.headers["Content-Disposition"] = f'attachment; filename="import-{info.id}-rejects.csv"'
    return response  # type: ignore[return-value]


def _read_mapping(request: PageRequest, info: ImportInfo) -> ColumnMapping:
    headings = sample_upload(request.tenant.id, info).headings
    columns = {}
    for number, heading in enumerate(headings):
        name = _text(request, f"column-{number}", MAX_TEXT + len("tags."))
        if name:
            columns[heading] = name
    constants = {n: text for n in FIXED_FIELDS if (text := _text(request, f"fixed-{n}"))}
    form = request.POST.get("timestamp_format", "auto")
    return ColumnMapping(
        columns=columns,
        constants=constants,
        timestamp_format=form if form in TIMESTAMP_FORMATS else "auto",
        zone=_text(request, "zone") or None,
    )


def _refused(
    request: PageRequest,
    info: ImportInfo,
    refused: ImportRefusedError,
    chosen: ColumnMapping | None = None,
) -> HttpResponse:
    return _answer(
        request,
        status=422,
        opened=info.id,
        chosen=chosen,
        run_error=in_a_sentence(refused.detail),
        run_error_field=refused.field or "",
    )


def _answer(
    request: PageRequest,
    *,
    opened: int | None = None,
    chosen: ColumnMapping | None = None,
    status: int = 200,
    **more: Any,
) -> HttpResponse:
    if opened is None and "said" not in more:
        opened = _as_number(request.GET.get("open", ""))
    report = read_report(request.tenant, opened, request.now, chosen)
    shown = report.opened
    mapping = chosen or (shown.info.mapping if shown else ColumnMapping())
    context = more | {
        "report": report,
        "mapping": mapping,
        "fixed": [(name, mapping.constants.get(name, "")) for name in FIXED_FIELDS],
        "is_live": bool(shown and shown.is_live),
        "poll_seconds": POLL_SECONDS,
        "field_groups": FIELD_GROUPS,
        "formats": FORMAT_WORDS.items(),
        "limit_mib": MAX_UPLOAD_BYTES >> 20,
        "tenant": request.tenant,
    }
    is_part = request.htmx and not request.htmx.boosted
    name = "import_body" if is_part else "import"
    return render(request, f"dashboards/{name}.html", context, status=status)


def _import_of(request: PageRequest) -> ImportInfo:
    number = _as_number(request.POST.get("import_id", ""))
    try:
        return get_import(number or 0)
    except ImportRefusedError as error:
        raise Http404 from error


def _as_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _text(request: PageRequest, name: str, most: int = MAX_TEXT) -> str:
    return request.POST.get(name, "").replace("\0", "").strip()[:most]
