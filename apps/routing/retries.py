"""Retry storms as opportunities: read from the ledger, found, and replayed. Writes nothing.

Found at what each attempt was charged; replayed on another reading, each attempt priced anew from
its tokens at the rates of its moment. Of a ledger that fits one reading, both are of all attempts.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from apps.pricing.selectors import BackendInfo, list_backends
from apps.routing.core.opportunities import Opportunity
from apps.routing.core.retries import Attempt, find_storms, retry_opportunities, saved_by
from apps.routing.core.traffic import Estimate
from apps.routing.core.value_model import ValueModel
from apps.tenants.selectors import list_customers, list_departments
from apps.usage.attempts import GAP_S, PaidAttempt, read_attempts

UNITS_PER_USD: Final = 1e24
SUCCESS: Final = "success"


class Retries:
    """Attempts of [start, end), of the tenant in scope, with its names."""

    def __init__(
        self, start: datetime, end: datetime, model: ValueModel, *, requests: int, seed: int
    ) -> None:
        self.start, self.model = start, model
        self.window_s = (end - start).total_seconds()
        read = read_attempts(start, end, requests=requests, seed=seed)
        self.rows, self.weight = read.rows, read.weight
        self.backends = {one.id: one for one in list_backends()}
        self.customers = {one.id: one.external_id for one in list_customers()}
        self.departments = {one.id: one.code for one in list_departments()}

    def find(
        self, *, months: float, spent_usd: float, told: Sequence[Mapping[str, Any]] = ()
    ) -> list[Opportunity]:
        """`told`: requests that findings of loops are about, which are told there."""
        attempts = [
            self._attempt(row, row.cost_units / UNITS_PER_USD)
            for row in self.rows
            if not any(self._is_of(row, episode) for episode in told)
        ]
        storms = find_storms(attempts, gap_s=GAP_S, window_s=self.window_s / self.weight)
        return retry_opportunities(storms, weight=self.weight, months=months, spent_usd=spent_usd)

    def replay(self, change: Mapping[str, Any]) -> Estimate:
        """USD that a change of retries would have saved here."""
        attempts = [self._attempt(row, self._anew(row)) for row in self.rows]
        storms = find_storms(
            attempts, gap_s=GAP_S, window_s=self.window_s / self.weight, change=change
        )
        return saved_by(storms, self.weight)

    def _attempt(self, row: PaidAttempt, usd: float) -> Attempt:
        place = row.place
        customer = self.customers.get(place.customer_id or 0, "")
        return Attempt(
            shape=row.shape,
            seen=row.seen,
            at_s=(row.occurred_at - self.start).total_seconds(),
            usd=usd,
            is_answer=place.status == SUCCESS,
            backend=self._key(place.backend_id),
            task=self.model.task_of(place.task),
            who=row.user or customer or self.departments.get(place.department_id or 0, ""),
        )

    def _anew(self, row: PaidAttempt) -> float:
        backend: BackendInfo | None = self.backends.get(row.place.backend_id)
        if backend is None or backend.card is None:
            return row.cost_units / UNITS_PER_USD
        units = backend.card.cost_units(*row.tokens, row.occurred_at.timestamp())
        return max(units, 0) / UNITS_PER_USD

    def _is_of(self, row: PaidAttempt, episode: Mapping[str, Any]) -> bool:
        at_s = (row.occurred_at - self.start).total_seconds()
        place = row.place
        own = {
            "customer": self.customers.get(place.customer_id or 0),
            "department": self.departments.get(place.department_id or 0),
            "task": place.task,
            "backend": self._key(place.backend_id),
        }
        return episode["first_s"] <= at_s < episode["last_s"] and all(
            own[name] == value for name, value in episode.items() if name in own
        )

    def _key(self, backend_id: int) -> str:
        backend = self.backends.get(backend_id)
        return backend.key if backend else ""
