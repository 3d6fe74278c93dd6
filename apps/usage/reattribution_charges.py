"""Charges to re-attribute: chosen in portions, where they belong by now. Part of reattribution."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import msgspec

from apps.tenants.selectors import list_customers, list_departments
from apps.tenants.services import ensure_customers, ensure_departments
from apps.usage.core.attribution import Target
from apps.usage.core.reattribution import MoveScope, Whose
from apps.usage.core.repricing import RepricingRefusedError
from apps.usage.repricing_charges import ChargeSlice, LedgerRows, Places, read_ledger_rows
from apps.usage.slices import SliceRow, write_slices

# Filters that a slice does not know: columns of the ledger.
NARROWING: Final = {
    "source": "AND source = %(source)s",
    "user": "AND end_user IS NOT DISTINCT FROM %(user)s",
    "tag": "AND tags @> %(tag)s::jsonb",
}
_COLUMN: Final[Mapping[Target, str]] = {"customer": "customer_id", "department": "department_id"}


@dataclass(frozen=True, slots=True)
class MovingCharge:
    """A charge that moves between slices, with all it has come to (units of 1e-24 USD)."""

    id: int
    occurred_at: datetime
    from_slice_id: int
    to_slice_id: int
    cost_units: int
    unpriced: int


@dataclass(frozen=True, slots=True)
class _Names:
    """The tenant in scope's customers and departments, both ways; departments without case."""

    customers: Mapping[int, str]
    departments: Mapping[int, str]

    def id_of(self, target: Target, name: str) -> int | None:
        """None for a name that is new."""
        if target == "customer":
            return next((k for k, v in self.customers.items() if v == name), None)
        folded = name.lower()
        return next((k for k, v in self.departments.items() if v.lower() == folded), None)

    def name_of(self, target: Target, place: ChargeSlice) -> str | None:
        value = getattr(place, _COLUMN.get(target, target))
        if value is None or target not in _COLUMN:
            return value if value is None else str(value)
        names = self.customers if target == "customer" else self.departments
        return names.get(value, f"#{value}")


class Mover:
    """Which slices a move takes charges from, and where to; of the tenant in scope."""

    def __init__(self, scope: MoveScope) -> None:
        self.scope = scope
        self.targets: tuple[Target, ...] = tuple(scope.to)
        self._names = _Names(
            {c.id: c.external_id for c in list_customers()},
            {d.id: d.code for d in list_departments()},
        )
        self._wanted = self._columns_wanted()
        self._places = Places()

    @property
    def new_names(self) -> list[str]:
        """Customers and departments that the move would add."""
        return [
            f"{target} {name}"
            for target, name in self.scope.to.items()
            if target in _COLUMN and name is not None and self._names.id_of(target, name) is None
        ]

    def read(self, *, through_id: int, after_id: int, limit: int) -> LedgerRows:
        """The next rows of the ledger; of these, what `where` says beyond slices."""
        where = self.scope.where
        values: dict[str, Any] = {name: where[name] for name in NARROWING if name in where}
        if values.get("tag"):
            name, _, value = values["tag"].partition("=")
            values["tag"] = msgspec.json.encode({name: value}).decode()
        found = read_ledger_rows(
            self.scope.starts_at,
            self.scope.ends_at,
            through_id=through_id,
            after_id=after_id,
            limit=limit,
            narrowing=" ".join(NARROWING[name] for name in values),
            values=values,
        )
        self._places.read({row[2] for row in found.rows} | set(found.moved.values()))
        return found

    def is_chosen(self, slice_id: int) -> bool:
        place = self._places.read(set())[slice_id]
        return all(getattr(place, column) == value for column, value in self._wanted.items())

    def whose(self, slice_id: int) -> tuple[Whose, Whose]:
        """(before, after) by names; equal when there is nothing to move."""
        place = self._places.read(set())[slice_id]
        before = tuple(self._names.name_of(target, place) for target in self.targets)
        return before, tuple(
            old if self._is_same(target, old, new) else new
            for (target, new), old in zip(self.scope.to.items(), before, strict=True)
        )

    def intern_targets(self, slice_ids: set[int], *, now: datetime) -> dict[int, int]:
        """By slice, the slice its charges go to; new ones are written, new names added."""
        if not slice_ids:
            return {}
        places = self._places.read(slice_ids)
        changes: dict[str, Any] = {}
        for target, name in self.scope.to.items():
            if name is None or target not in _COLUMN:
                changes[_COLUMN.get(target, target)] = name
            elif target == "customer":
                changes["customer_id"] = ensure_customers({name}, now=now)[name]
            else:
                changes["department_id"] = ensure_departments({name}, now=now)[name]
        rows = {slice_id: _row(replace(places[slice_id], **changes)) for slice_id in slice_ids}
        ids = write_slices(set(rows.values()))
        return {slice_id: ids[row] for slice_id, row in rows.items()}

    def _columns_wanted(self) -> dict[str, Any]:
        wanted: dict[str, Any] = {}
        for name, value in self.scope.where.items():
            if name in NARROWING:
                continue
            if name == "key":
                wanted["api_key_id"] = int(value or 0)
            elif name in ("customer", "department") and value is not None:
                found = self._names.id_of(name, value)  # type: ignore[arg-type]
                if found is None:
                    raise RepricingRefusedError(f"there is no {name} {value!r}", field=name)
                wanted[_COLUMN[name]] = found  # type: ignore[index]
            else:
                wanted[_COLUMN.get(name, name)] = value  # type: ignore[call-overload]
        return wanted

    @staticmethod
    def _is_same(target: Target, old: str | None, new: str | None) -> bool:
        if target == "department" and old is not None and new is not None:
            return old.lower() == new.lower()
        return old == new


def list_moving(mover: Mover, found: LedgerRows, *, now: datetime) -> list[MovingCharge]:
    """The charges of a portion that move, with where to; writes the slices they go to."""
    chosen = list(_chosen(mover, found))
    targets = mover.intern_targets({slice_id for _, slice_id, _, _ in chosen}, now=now)
    return [
        MovingCharge(row[0], row[1], slice_id, targets[slice_id], units, unpriced)
        for row, slice_id, units, unpriced in chosen
        if targets[slice_id] != slice_id
    ]


def _chosen(mover: Mover, found: LedgerRows) -> Iterator[tuple[tuple[Any, ...], int, int, int]]:
    """(row, slice_id, cost units, unpriced) of each charge that `where` means."""
    is_chosen: dict[int, bool] = {}
    for row in found.rows:
        slice_id, units, unpriced = found.effective(row)
        chosen = is_chosen.get(slice_id)
        if chosen is None:
            chosen = is_chosen[slice_id] = mover.is_chosen(slice_id)
        if chosen:
            yield row, slice_id, units, unpriced


def walk_chosen(
    mover: Mover, found: LedgerRows
) -> Iterator[tuple[tuple[Any, ...], tuple[Whose, Whose], int, int]]:
    """(row, (before, after), cost units, unpriced) of each charge that `where` means."""
    whose: dict[int, tuple[Whose, Whose]] = {}
    for row, slice_id, units, unpriced in _chosen(mover, found):
        if slice_id not in whose:
            whose[slice_id] = mover.whose(slice_id)
        yield row, whose[slice_id], units, unpriced


def _row(place: ChargeSlice) -> SliceRow:
    return (
        place.backend_id,
        place.provider,
        place.model,
        place.api_key_id,
        place.customer_id,
        place.department_id,
        place.project,
        place.environment,
        place.task,
        place.status,
    )
