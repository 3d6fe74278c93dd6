"""The counter that orders all changes of rates. A part of services."""

from typing import Final

from django.db import connection

_LOCK: Final = 0x436F7374_52617465  # "CostRate"


def lock_revisions() -> None:
    """Wait for whoever is changing rates, and let others wait until our transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def take_revision() -> int:
    """The next revision.

    The lock is held until the change commits: whoever sees revision r sees every change up to r.
    """
    lock_revisions()
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('pricing_revision')")
        return int(cursor.fetchone()[0])
