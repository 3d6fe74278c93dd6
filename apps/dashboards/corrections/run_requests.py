"""What pages about runs of corrections share: which run, which dry run is awaited; start, undo."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.http import Http404, HttpResponse

from apps.dashboards.page import PageRequest
from apps.dashboards.sentences import in_a_sentence
from apps.usage.repricing import RepricingRefusedError, start_repricing, undo_repricing

MAX_REASON_LENGTH: Final = 500
POLL_SECONDS: Final = 2
# The widest dry run takes five minutes.
PATIENCE: Final = timedelta(minutes=15)
NO_REASON: Final = "Say why: the reason stands in the audit trail."
NO_WORKER: Final = "No worker can be reached to make the dry run. Try again in a moment."
NO_ANSWER: Final = "No worker has answered. Ask for the dry run again."
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def start_posted_run(request: PageRequest, answer: Callable[..., HttpResponse]) -> HttpResponse:
    """Lets a draft run, or a failed run go on.

    `answer(request, opened=..., status=..., **context)` makes the page with that run in full.
    """
    run_id = posted_number(request, "run_id")
    try:
        start_repricing(
            request.tenant.id,
            run_id,
            actor=request.user.get_username(),
            now=request.now,
            include_closed="include_closed" in request.POST,
        )
    except RepricingRefusedError as refused:
        return answer(request, status=422, opened=run_id, **_refusal(run_id, "start", refused))
    return answer(request, opened=run_id)


def undo_posted_run(request: PageRequest, answer: Callable[..., HttpResponse]) -> HttpResponse:
    """Takes a run back; the page then shows the run that does."""
    run_id = posted_number(request, "run_id")
    reason = posted_text(request, "reason", MAX_REASON_LENGTH)
    try:
        undo = undo_repricing(
            request.tenant.id,
            run_id,
            reason=reason,
            actor=request.user.get_username(),
            now=request.now,
            include_closed="include_closed" in request.POST,
        )
    except RepricingRefusedError as refused:
        more = _refusal(run_id, "undo", refused) | {"reason": reason}
        return answer(request, status=422, opened=run_id, **more)
    return answer(request, opened=undo.id)


def _refusal(run_id: int, what: str, refused: RepricingRefusedError) -> dict[str, Any]:
    """For the run's own card: the sentence at the button or at the field."""
    return {
        "run_error": in_a_sentence(refused.detail),
        "run_error_at": what,
        "run_error_field": refused.field or "",
        "run_error_of": run_id,
    }


def read_asked(request: PageRequest) -> datetime | None:
    """The moment at which the dry run was asked for that the page waits for."""
    number = read_number(request, "asked")
    if number is None or number > (request.now - EPOCH) // timedelta(microseconds=1):
        return None
    return EPOCH + timedelta(microseconds=number)


def asked_query(asked: datetime) -> str:
    """As `read_asked` reads it."""
    return f"asked={(asked - EPOCH) // timedelta(microseconds=1)}"


def posted_number(request: PageRequest, name: str) -> int:
    """An id; raises Http404 for what is none."""
    number = as_number(request.POST.get(name, ""))
    if number is None:
        raise Http404
    return number


def as_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def read_number(request: PageRequest, name: str) -> int | None:
    return as_number(request.GET.get(name, ""))


def posted_text(request: PageRequest, name: str, most: int) -> str:
    return request.POST.get(name, "").replace("\0", "").strip()[:most]
