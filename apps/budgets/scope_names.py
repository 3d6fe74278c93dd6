"""From the names in a scope to the columns of a budget. Part of services."""

from collections.abc import Mapping
from typing import Any, Final

from apps.budgets.errors import InvalidBudgetInput
from apps.pricing.selectors import list_backends
from apps.tenants.selectors import list_api_keys, list_customers, list_departments

SCOPE_FIELDS: Final = (
    "department",
    "customer",
    "project",
    "router",
    "provider",
    "model",
    "backend",
    "kind",
)


def scope_columns(scope: Mapping[str, str]) -> dict[str, Any]:
    """The budget's columns for names by field. Raises InvalidBudgetInput for what is not known."""
    unknown = sorted(set(scope) - set(SCOPE_FIELDS))
    if unknown:
        raise InvalidBudgetInput(
            f"a scope has no {unknown[0]!r}; it has {', '.join(SCOPE_FIELDS)}", field="scope"
        )
    columns: dict[str, Any] = {}
    for field, name in scope.items():
        if not name:
            raise InvalidBudgetInput(f"the {field} is empty", field=f"scope.{field}")
        if field in ("project", "provider", "model"):
            columns[field] = name
        elif field == "kind":
            if name not in ("cloud", "local"):
                raise InvalidBudgetInput(
                    f"kind is cloud or local, not {name!r}", field="scope.kind"
                )
            columns[field] = name
        else:
            columns["api_key_id" if field == "router" else f"{field}_id"] = _find(field, name)
    return columns


def _find(field: str, name: str) -> int:
    named: dict[str, int]
    if field == "department":
        named = {d.code.lower(): d.id for d in list_departments()}
        name = name.lower()
    elif field == "customer":
        named = {c.external_id: c.id for c in list_customers()}
    elif field == "router":
        named = {k.name: k.id for k in list_api_keys() if k.revoked_at is None}
    else:
        named = {b.key: b.id for b in list_backends()}
    found = named.get(name)
    if found is None:
        raise InvalidBudgetInput(
            f"there is no {field} {name!r}; add it first, or see how usage names it",
            field=f"scope.{field}",
        )
    return found
