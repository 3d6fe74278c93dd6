"""Counting attempts to sign in. A part of services; needs no scope."""

from datetime import datetime
from typing import Final

from django.db import connection

from apps.tenants.core.sign_in_limits import limits_of

# How many counts of the past one attempt clears away: the table holds those of one window.
SWEPT: Final = 20
# The attempt is counted before the password is looked at: however many come at once, no more than
# the limit get that far.
COUNT: Final = """
    INSERT INTO tenants_signincount AS known (subject, attempts, ends_at) VALUES (%s, 1, %s)
    ON CONFLICT (subject) DO UPDATE SET
        attempts = CASE WHEN known.ends_at <= %s THEN 1 ELSE known.attempts + 1 END,
        ends_at = CASE WHEN known.ends_at <= %s THEN excluded.ends_at ELSE known.ends_at END
    RETURNING attempts, ends_at
"""
SWEEP: Final = """
    DELETE FROM tenants_signincount WHERE subject IN (
        SELECT subject FROM tenants_signincount WHERE ends_at <= %s
        ORDER BY ends_at LIMIT %s FOR UPDATE SKIP LOCKED
    )
"""


def begin_sign_in(email: str, address: str, *, now: datetime) -> datetime | None:
    """Count an attempt. None when it may go on; otherwise when one may try again.

    What one limit refuses counts towards none after it: failing from one address never uses up
    what the account may do from others.
    """
    with connection.cursor() as cursor:
        cursor.execute(SWEEP, [now, SWEPT])
        for subject, limit in limits_of(email, address):
            cursor.execute(COUNT, [subject, now + limit.window, now, now])
            attempts, ends_at = cursor.fetchone()
            if attempts > limit.attempts:
                return ends_at  # type: ignore[no-any-return]
    return None


def forgive_sign_in(email: str, address: str) -> None:
    """It succeeded: what the account failed from here is forgotten, and it counts nowhere else."""
    by_address, both, by_account = (subject for subject, _ in limits_of(email, address))
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM tenants_signincount WHERE subject = %s", [both])
        for subject in (by_address, by_account):
            cursor.execute(
                "UPDATE tenants_signincount SET attempts = attempts - 1"
                " WHERE subject = %s AND attempts > 0",
                [subject],
            )
