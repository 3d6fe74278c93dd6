"""What pages about runs of corrections read of a request: which run, which dry run is awaited."""

from datetime import UTC, datetime, timedelta
from typing import Final

from django.http import Http404

from apps.dashboards.page import PageRequest

MAX_REASON_LENGTH: Final = 500
POLL_SECONDS: Final = 2
# The widest dry run takes five minutes.
PATIENCE: Final = timedelta(minutes=15)
NO_REASON: Final = "Say why: the reason stands in the audit trail."
NO_WORKER: Final = "No worker can be reached to make the dry run. Try again in a moment."
NO_ANSWER: Final = "No worker has answered. Ask for the dry run again."
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def read_asked(request: PageRequest) -> datetime | None:
    """The moment at which the dry run was asked for that the page waits for."""
    number = read_number(request, "asked")
    if number is None or number > (request.now - EPOCH) // timedelta(microseconds=1):
        return None
    return EPOCH + timedelta(microseconds=number)


def asked_query(asked: datetime) -> str:
    """As `read_asked` reads it."""
    return f"asked={(asked - EPOCH) // timedelta(microseconds=1)}"


def posted_run_id(request: PageRequest, name: str) -> int:
    """Raises Http404 for what is no id."""
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
