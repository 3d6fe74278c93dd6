"""What a budget is about, and which budgets a request or a charge counts against. Pure.

A scope names some fields; it covers whatever agrees in all of them. A department covers its
children. Finding the budgets of a request costs one look-up a *shape* (the set of fields a scope
names) and a department above it, however many budgets there are.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final, Generic, NamedTuple, TypeVar

BudgetT = TypeVar("BudgetT")


class Scope(NamedTuple):
    """The fields that must agree; None does not matter. All None is the tenant."""

    department_id: int | None = None
    customer_id: int | None = None
    project: str | None = None
    api_key_id: int | None = None
    provider: str | None = None
    model: str | None = None
    backend_id: int | None = None
    kind: str | None = None  # "cloud" or "local"

    @property
    def shape(self) -> tuple[int, ...]:
        """The places of the fields that are named."""
        return tuple(n for n, value in enumerate(self) if value is not None)

    @property
    def chosen_by_route(self) -> bool:
        """Whether the backend that is chosen decides if a request counts."""
        return any(v is not None for v in (self.provider, self.model, self.backend_id, self.kind))


class Attributes(NamedTuple):
    """What a request or a charge is about; None where it does not say."""

    department_id: int | None = None
    customer_id: int | None = None
    project: str | None = None
    api_key_id: int | None = None
    provider: str | None = None
    model: str | None = None
    backend_id: int | None = None
    kind: str | None = None


_DEPARTMENT: Final = Scope._fields.index("department_id")


class ScopeIndex(Generic[BudgetT]):
    """Budgets by scope. `parents` is the department tree: child -> parent (None at the top)."""

    def __init__(
        self, budgets: Iterable[tuple[Scope, BudgetT]], parents: Mapping[int, int | None]
    ) -> None:
        self._parents = parents
        self._shapes: dict[tuple[int, ...], dict[tuple[Any, ...], list[BudgetT]]] = {}
        for scope, budget in budgets:
            found = self._shapes.setdefault(scope.shape, defaultdict(list))
            found[tuple(scope[n] for n in scope.shape)].append(budget)

    def matching(self, attributes: Attributes) -> list[BudgetT]:
        """Every budget whose scope covers these attributes."""
        found: list[BudgetT] = []
        for shape, budgets in self._shapes.items():
            if shape[:1] == (_DEPARTMENT,):
                for department_id in self._line(attributes.department_id):
                    place = (department_id, *attributes[_DEPARTMENT + 1 :])
                    found += budgets.get(tuple(place[n] for n in shape), ())
            else:
                found += budgets.get(tuple(attributes[n] for n in shape), ())
        return found

    def may_cover(self, scope: Scope, attributes: Attributes) -> bool:
        """Whether a request may fall under a scope that is of these attributes where they say
        something, and anything where they do not."""
        line = self._line(attributes.department_id)
        if line and scope.department_id is not None and scope.department_id not in line:
            return False
        pairs = zip(scope[_DEPARTMENT + 1 :], attributes[_DEPARTMENT + 1 :], strict=True)
        return all(wanted is None or is_ is None or wanted == is_ for wanted, is_ in pairs)

    def _line(self, department_id: int | None) -> list[int]:
        """A department and all above it."""
        line: list[int] = []
        while department_id is not None and department_id not in line:
            line.append(department_id)
            department_id = self._parents.get(department_id)
        return line
