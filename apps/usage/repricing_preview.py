"""The dry run: what a repricing would do, without doing it. Part of repricing."""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection

from apps.pricing.selectors import current_rate_book
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import get_tenant, list_customers, list_departments
from apps.usage.core.repricing import (
    PreviewSums,
    RepricingRefusedError,
    correct,
    preview_as_json,
)
from apps.usage.ledger import ROW_BITS
from apps.usage.repricing_charges import Pricer, Selection, read_portion

ROWS_PER_PORTION: Final = 20_000
# Two to five minutes on one core; a wider range is previewed and run in parts.
MAX_ROWS_PREVIEWED: Final = 20_000_000
SETTLE_LIMIT_S: Final = 10.0

# Sessions of this role in a transaction that began before the moment. (Idle ones have none.)
OLDER_TRANSACTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user
    AND xact_start < %s AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True, slots=True)
class Horizon:
    """What a dry run is about: charges up to a ledger id, all of them visible, at one book."""

    through_id: int
    pricer: Pricer


def freeze(tenant_id: int) -> Horizon:
    """Today's rates, and every charge up to now.

    A commit's number is taken before it is visible, so those in flight are waited for: the dry run
    and the run then see the same charges, and none slips past the run's cursor.
    """
    with tenant_scope(tenant_id), connection.cursor() as cursor:
        pricer = Pricer(current_rate_book())
        cursor.execute("SELECT last_value, clock_timestamp() FROM usage_commit_number")
        commit_number, frozen_at = cursor.fetchone()
    _wait_for_older_transactions(frozen_at)
    return Horizon((commit_number << ROW_BITS) | ((1 << ROW_BITS) - 1), pricer)


def add_up(tenant_id: int, chosen: Selection, pricer: Pricer) -> dict[str, Any]:
    """What repricing these charges would change, in portions, each in a transaction of its own."""
    with tenant_scope(tenant_id):
        sums = PreviewSums(get_tenant().zone)
    after_id, is_last, portions = 0, False, 0
    while not is_last:
        portions += 1
        if portions * ROWS_PER_PORTION > MAX_ROWS_PREVIEWED:
            raise RepricingRefusedError(
                f"the range has more than {MAX_ROWS_PREVIEWED:,} ledger rows;"
                " reprice it in parts, a month at a time",
                field="ends_at",
            )
        with tenant_scope(tenant_id):
            portion = read_portion(pricer, chosen, after_id=after_id, limit=ROWS_PER_PORTION)
            after_id, is_last = portion.last_id, portion.is_last
            for charge in portion.charges:
                sums.add(
                    charge.occurred_at.timestamp(),
                    charge.before_units,
                    charge.unpriced,
                    correct(charge.before_units, charge.unpriced, charge.new_units),
                    customer_id=charge.place.customer_id,
                    department_id=charge.place.department_id,
                )
    with tenant_scope(tenant_id):
        return preview_as_json(
            sums,
            {customer.id: customer.external_id for customer in list_customers()},
            {department.id: department.code for department in list_departments()},
        )


def _wait_for_older_transactions(moment: datetime) -> None:
    deadline = time.monotonic() + SETTLE_LIMIT_S
    while True:
        with connection.cursor() as cursor:
            cursor.execute(OLDER_TRANSACTIONS, [moment])
            (in_flight,) = cursor.fetchone()
        if not in_flight:
            return
        if time.monotonic() > deadline:
            raise RepricingRefusedError(
                f"{in_flight} transactions that began before {moment:%H:%M:%S} are still open and"
                " may be writing usage; try again in a moment"
            )
        time.sleep(0.02)
