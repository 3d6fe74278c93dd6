"""A client that spends under leases while it may, and reserves each request by itself else."""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.budgets.caps_load import Gate, Granted, Request, TurnedAway

ASKED_USD = "0.05"


@dataclass
class LocalLease:
    """A lease, and what each request took of it: its worst case, then what it cost."""

    lease_id: str
    usd: Decimal
    debits: dict[str, Decimal] = field(default_factory=dict)

    @property
    def used(self) -> Decimal:
        return sum(self.debits.values(), Decimal(0))


class Leasing:
    """`post` asks the leases' API: (path below /api/v1/budgets/leases, body) -> (status, body)."""

    def __init__(
        self, gate: Gate, post: Callable[[str, dict[str, Any]], tuple[int, dict[str, Any]]]
    ) -> None:
        self.gate = gate
        self.post = post
        self.leases: dict[str, LocalLease] = {}
        self.current: dict[str, LocalLease] = {}
        self.last = ""
        self.leased = 0

    def reserve(self, request: Request) -> Granted | TurnedAway:
        lease = self._lease_for(request)
        if lease is None:
            return self.gate.reserve(request)
        lease.debits[request.request_id] = request.worst_usd
        self.last = request.request_id
        self.leased += 1
        return Granted(lease.lease_id, request.worst_usd)

    def charge(self, request: Request, decision_id: str, output_tokens: int) -> None:
        self.gate.charge(request, decision_id, output_tokens)
        if lease := self.leases.get(decision_id):
            lease.debits[request.request_id] = request.cost_usd(output_tokens)

    def say(self, decision_id: str, cost_usd: Decimal) -> None:
        if lease := self.leases.get(decision_id):
            lease.debits[self.last] = cost_usd
        else:
            self.gate.say(decision_id, cost_usd)

    def release(self, decision_id: str) -> None:
        if lease := self.leases.get(decision_id):
            lease.debits[self.last] = Decimal(0)
        else:
            self.gate.release(decision_id)

    def close(self) -> None:
        """Return every lease, with what was used of it in the end."""
        for lease in self.leases.values():
            self._return(lease)

    def _lease_for(self, request: Request) -> LocalLease | None:
        """The department's lease, if the request fits it; another when it is used up."""
        lease = self.current.get(request.department)
        if lease and lease.usd - lease.used >= request.worst_usd:
            return lease
        if lease:
            self._return(lease)
        body = {
            "request_id": request.request_id,
            "amount_usd": ASKED_USD,
            "department": request.department,
            "backend": "openai/gpt-4o-mini",
            "seconds": 600,
        }
        status, answer = self.post("", body)
        if status == 402:
            self.current.pop(request.department, None)
            return None
        assert status == 201, answer
        assert answer["except_for"] == [], answer
        lease = LocalLease(answer["lease_id"], Decimal(answer["amount_usd"]))
        self.leases[lease.lease_id] = self.current[request.department] = lease
        return lease if lease.usd >= request.worst_usd else None

    def _return(self, lease: LocalLease) -> None:
        status, answer = self.post(f"/{lease.lease_id}/return", {"used_usd": f"{lease.used:f}"})
        assert status == 200, answer
