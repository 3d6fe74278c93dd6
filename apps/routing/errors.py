"""Why no backend could be chosen, or none may be."""

from collections.abc import Sequence

from apps.insights.guard import Restricted


class NoCandidate(Exception):
    """No backend to choose from: none is known, or none of those named has a price."""

    def __init__(self, candidates: Sequence[str], unpriced: Sequence[str]) -> None:
        super().__init__(f"none of {len(candidates)} candidates can be chosen")
        self.candidates = tuple(candidates)
        self.unpriced = tuple(unpriced)


class Suspended(Exception):
    """A finding stopped the key or the customer until someone answers it."""

    def __init__(self, restricted: Restricted) -> None:
        super().__init__(restricted.reason)
        self.restricted = restricted
