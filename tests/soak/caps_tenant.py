"""A tenant with nested caps, for the caps soak. Imported once Django is set up."""

import uuid
from datetime import UTC, datetime
from decimal import Decimal

from django.db import connection

from apps.budgets.book import budget_book
from apps.budgets.counter_types import CounterId
from apps.budgets.counters import find_counters
from apps.budgets.models import Hold
from apps.budgets.services import set_choices
from apps.budgets.spent import amount_value
from apps.tenants.scoping import tenant_scope
from apps.tenants.services import create_department, create_tenant, issue_api_key
from tests.budgets.asks import make_budget
from tests.processes import wait_until

_CHARGED = "SELECT sum(cost_usd) FROM usage_ledger WHERE tenant_id = %s AND event_id = %s"
_COUNTED = """
SELECT coalesce((counted_parts -> 0 ->> 2)::numeric, 0) FROM budgets_hold
WHERE tenant_id = %s AND request_id = %s
"""


class CapsTenant:
    """Three caps, one in another, all near exhaustion by the run's end."""

    def __init__(self, usd: Decimal, *, hold_seconds: int) -> None:
        now = datetime.now(UTC)
        self.id = create_tenant(
            name="Caps", time_zone="UTC", slug=f"caps-{uuid.uuid4().hex[:8]}", now=now
        )
        with tenant_scope(self.id):
            for code, parent in (("eng", None), ("ml", "eng"), ("ops", None)):
                create_department(code=code, name=code, parent_code=parent, now=now)
            set_choices(
                cloud_while_unknown="refuse",
                local_while_unknown="allow",
                hold_seconds=hold_seconds,
                actor="soak",
                now=now,
            )
        self.headers = self.new_router()
        whole = usd.quantize(Decimal("0.01"))
        department = {"department": "eng"}, {"department": "ml"}
        self.caps = {
            "all": make_budget(self.id, f"{whole}", period="year"),
            "eng": make_budget(
                self.id, f"{whole * 6 / 10:.4f}", scope=department[0], period="year"
            ),
            "ml": make_budget(
                self.id, f"{whole * 25 / 100:.4f}", scope=department[1], period="year"
            ),
        }

    def new_router(self) -> dict[str, str]:
        """The headers of a router of its own."""
        with tenant_scope(self.id):
            secret = issue_api_key(
                name=f"soak {uuid.uuid4().hex[:8]}",
                scopes=("ingest", "route", "read"),
                actor="soak",
                now=datetime.now(UTC),
            )
        return {"Authorization": f"Bearer {secret}"}

    def left(self) -> list[int]:
        """Of each cap, in billionths of a dollar; those that are being filled have no say."""
        return [balance.left for balance in self._balances().values() if balance.is_ready]

    def standings(self) -> dict[str, tuple[Decimal, int]]:
        """(spent, held) of each cap; empty while the counters are away."""
        balances = self._balances()
        by_budget = {counter.budget_id: balance for counter, balance in balances.items()}
        return {
            name: (amount_value(by_budget[budget_id].spent, "usd"), by_budget[budget_id].held)
            for name, budget_id in self.caps.items()
            if budget_id in by_budget and by_budget[budget_id].is_ready
        }

    def charged(self) -> Decimal:
        """What the ledger holds, in USD."""
        with tenant_scope(self.id), connection.cursor() as cursor:
            cursor.execute(
                "SELECT coalesce(sum(cost_usd), 0) FROM usage_ledger WHERE tenant_id = %s",
                [self.id],
            )
            return Decimal(cursor.fetchone()[0])

    def spent_on(self, request_id: str) -> tuple[Decimal, bool]:
        """Of a request whose answer got lost: (USD, whether charged) by the ledger or, once its
        hold has ended, by the journal."""
        wait_until(lambda: not self._is_open(request_id), limit_s=240, what="its hold has ended")
        with tenant_scope(self.id), connection.cursor() as cursor:
            cursor.execute(_CHARGED, [self.id, request_id])
            charged = cursor.fetchone()[0]
            if charged is not None:
                return Decimal(charged), True
            cursor.execute(_COUNTED, [self.id, request_id])
            found = cursor.fetchone()
        return Decimal(found[0] if found else 0).scaleb(-9), False

    def _is_open(self, request_id: str) -> bool:
        with tenant_scope(self.id):
            return Hold.objects.filter(request_id=request_id, state="open").exists()

    def _balances(self):  # type: ignore[no-untyped-def]
        counters = find_counters(self.id)
        if counters is None:
            return {}
        now = datetime.now(UTC)
        ids = []
        for terms in budget_book(self.id).budgets.values():
            period = terms.calendar.at(now)
            assert period is not None
            ids.append(CounterId.of(terms.id, period))
        return counters.balances(ids)
