"""Why no backend could be chosen, and what is wrong with what people want of routing."""

from collections.abc import Sequence


class NoCandidate(Exception):
    """No backend to choose from: none is known, or none of those named has a price."""

    def __init__(self, candidates: Sequence[str], unpriced: Sequence[str]) -> None:
        super().__init__(f"none of {len(candidates)} candidates can be chosen")
        self.candidates = tuple(candidates)
        self.unpriced = tuple(unpriced)


class NotWorthItsPrice(Exception):
    """An enforced policy refuses a request: the budgets' prices are above what it would bring."""

    def __init__(self, department: str, reason: str, price: float) -> None:
        super().__init__(reason)
        self.department, self.reason, self.price = department, reason, price


class InvalidRoutingInput(ValueError):
    """A value model, mode or override holds what it cannot: `field` names it."""

    def __init__(self, detail: str, *, field: str) -> None:
        super().__init__(detail)
        self.field = field


class UnknownOpportunity(LookupError):
    """The tenant has no opportunity of that id."""

    def __init__(self, opportunity_id: int) -> None:
        super().__init__(f"there is no opportunity {opportunity_id}")
        self.opportunity_id = opportunity_id
