"""Departments in their tree: each with all below it, its days, and its budget. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal

from apps.tenants.selectors import DepartmentInfo


def in_tree(departments: Iterable[DepartmentInfo]) -> list[tuple[DepartmentInfo, int]]:
    """Departments below their parents, in the order given, with how deep they stand."""
    listed = list(departments)
    children: dict[int | None, list[DepartmentInfo]] = {}
    known = {one.id for one in listed}
    for one in listed:
        parent = one.parent_id if one.parent_id in known else None
        children.setdefault(parent, []).append(one)
    rows: list[tuple[DepartmentInfo, int]] = []

    def walk(parent: int | None, depth: int) -> None:
        for one in children.get(parent, []):
            rows.append((one, depth))
            walk(one.id, depth + 1)

    walk(None, 0)
    return rows


def families(departments: Sequence[DepartmentInfo]) -> dict[int, list[str]]:
    """By id: the codes, in small letters, of a department and of all below it."""
    parents = {one.id: one.parent_id for one in departments}
    found: dict[int, list[str]] = {one.id: [] for one in departments}
    for one in departments:
        above: int | None = one.id
        seen: set[int] = set()
        while above in found and above not in seen:
            seen.add(above)
            found[above].append(one.code.lower())
            above = parents.get(above)
    return found


def roots(departments: Sequence[DepartmentInfo]) -> dict[str, str]:
    """Code in small letters -> the code of the department at the top of its tree."""
    by_id = {one.id: one for one in departments}
    found = {}
    for one in departments:
        top, steps = one, 0
        while top.parent_id in by_id and steps < len(by_id):
            top, steps = by_id[top.parent_id], steps + 1
        found[one.code.lower()] = top.code
    return found


def days_of(
    family: Iterable[str], by_day: Mapping[str, Mapping[date, Decimal]]
) -> dict[date, Decimal]:
    """Spend by day of a department with all below it."""
    found: dict[date, Decimal] = {}
    for code in family:
        for day, usd in by_day.get(code, {}).items():
            found[day] = found.get(day, Decimal(0)) + usd
    return found
