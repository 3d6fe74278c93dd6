"""What can be wrong with budgets, in typed errors."""

from collections.abc import Sequence
from dataclasses import dataclass

from apps.budgets.book import BudgetTerms
from apps.budgets.core.periods import Period


@dataclass(frozen=True, slots=True)
class CapBroken:
    """A cap that a request on a backend would break; counts as in core/amounts.py."""

    backend: str
    terms: BudgetTerms
    period: Period
    limit: int
    spent: int
    held: int
    asked: int

    @property
    def left(self) -> int:
        return self.limit - self.spent - self.held


class BudgetRefused(Exception):
    """No backend asked for fits every cap."""

    def __init__(self, broken: Sequence[CapBroken]) -> None:
        super().__init__(f"{len(broken)} caps would be broken")
        self.broken = tuple(broken)


class LeaseRefused(Exception):
    """Too little is left of these caps, or of the router's share of them, for a lease."""

    def __init__(self, caps: Sequence[CapBroken]) -> None:
        super().__init__(f"{len(caps)} caps have too little left for a lease")
        self.caps = tuple(caps)


class BudgetsUnknown(Exception):
    """The counters cannot be had, and the tenant lets nothing run meanwhile."""


class HoldNotFound(Exception):
    """No reservation of this tenant has that decision id."""

    def __init__(self, decision_id: str) -> None:
        super().__init__(f"no reservation {decision_id}")
        self.decision_id = decision_id


class InvalidBudgetInput(ValueError):
    """A budget that cannot be: which field, and why."""

    def __init__(self, detail: str, *, field: str) -> None:
        super().__init__(detail)
        self.field = field
