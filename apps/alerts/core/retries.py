"""When a failed message is tried again, and when no more. Pure; chance is an argument."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, Literal

FIRST_DELAY_S: Final = 10
FACTOR: Final = 4
MAX_DELAY_S: Final = 6 * 3600
MAX_ATTEMPTS: Final = 10
# Further ahead than this no Retry-After is heeded.
MAX_RETRY_AFTER_S: Final = 24 * 3600

# retry: it did not arrive, another try may help. failed: none will. unknown: it may have arrived.
Outcome = Literal["sent", "retry", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class SendResult:
    """How one attempt went. `error` is a sentence for the log; `retry_after_s` what was asked."""

    outcome: Outcome
    error: str = ""
    http_status: int | None = None
    retry_after_s: int | None = None
    provider_id: str = ""


def outcome_of_status(status: int) -> Outcome:
    """2xx took it. 408, 429 and 5xx may take it later. All else, redirects too, is final."""
    if 200 <= status < 300:
        return "sent"
    return "retry" if status in (408, 429) or status >= 500 else "failed"


def retry_delay_s(attempt: int, *, chance: float) -> float:
    """Seconds from the end of attempt 1, 2, ... to the next: 10, 40, 160, ... at most six hours,
    spread by a quarter either way. `chance` is from 0 to before 1."""
    delay_s: int = min(FIRST_DELAY_S * FACTOR ** (attempt - 1), MAX_DELAY_S)
    return delay_s * (0.75 + chance / 2)


def next_attempt_at(
    result: SendResult, *, attempt: int, ended_at: datetime, chance: float
) -> datetime | None:
    """When to try again; None when this was the last attempt. Never before what was asked for."""
    if result.outcome != "retry" or attempt >= MAX_ATTEMPTS:
        return None
    asked_s = min(result.retry_after_s or 0, MAX_RETRY_AFTER_S)
    return ended_at + timedelta(seconds=max(retry_delay_s(attempt, chance=chance), asked_s))


def read_retry_after(value: str | None, *, now: datetime) -> int | None:
    """Seconds from a Retry-After header, a number or an HTTP date; None for anything else."""
    if not value:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return int(value[:9])
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0, int((moment - now).total_seconds()))
