"""When a failed message is tried again, and when it is given up."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.alerts.core.retries import (
    MAX_ATTEMPTS,
    MAX_DELAY_S,
    MAX_RETRY_AFTER_S,
    SendResult,
    next_attempt_at,
    outcome_of_status,
    read_retry_after,
    retry_delay_s,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
chances = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, MAX_ATTEMPTS), chances)
def test_delay_grows_to_a_bound_and_is_spread(attempt: int, chance: float) -> None:
    middle = min(10 * 4 ** (attempt - 1), MAX_DELAY_S)
    assert 0.75 * middle <= retry_delay_s(attempt, chance=chance) <= 1.25 * middle


def test_attempts_are_over_after_about_a_day() -> None:
    total_s = sum(retry_delay_s(attempt, chance=0.5) for attempt in range(1, MAX_ATTEMPTS))
    assert timedelta(hours=20) < timedelta(seconds=total_s) < timedelta(hours=30)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *((code, "sent") for code in (200, 201, 202, 204, 299)),
        *((code, "retry") for code in (408, 429, 500, 502, 503, 504, 599)),
        *((code, "failed") for code in (301, 302, 307, 400, 401, 403, 404, 410, 413, 422, 451)),
    ],
)
def test_what_a_status_means(status: int, outcome: str) -> None:
    assert outcome_of_status(status) == outcome


@given(st.integers(0, 10**9), st.integers(1, MAX_ATTEMPTS - 1), chances)
def test_retry_after_is_heeded_to_a_bound(asked_s: int, attempt: int, chance: float) -> None:
    result = SendResult("retry", retry_after_s=asked_s)
    again = next_attempt_at(result, attempt=attempt, ended_at=NOW, chance=chance)
    assert again is not None
    assert again - NOW >= timedelta(seconds=min(asked_s, MAX_RETRY_AFTER_S))
    assert again - NOW <= timedelta(seconds=MAX_RETRY_AFTER_S)


@pytest.mark.parametrize("outcome", ["sent", "failed", "unknown"])
def test_what_is_over_is_not_tried_again(outcome: str) -> None:
    result = SendResult(outcome)  # type: ignore[arg-type]
    assert next_attempt_at(result, attempt=1, ended_at=NOW, chance=0) is None


def test_last_attempt_is_the_last() -> None:
    result = SendResult("retry")
    assert next_attempt_at(result, attempt=MAX_ATTEMPTS - 1, ended_at=NOW, chance=0) is not None
    assert next_attempt_at(result, attempt=MAX_ATTEMPTS, ended_at=NOW, chance=0) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("Mon, 23 Nov 2026 12:01:00 GMT", 60),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0),
        ("99999999999999999999", 999999999),
        ("soon", None),
        ("-1", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: int | None) -> None:
    assert read_retry_after(value, now=NOW) == seconds
