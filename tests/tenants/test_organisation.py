"""Departments and customers as people change them, and a tree as people write it."""

from datetime import UTC, datetime

import pytest

from apps.tenants.core.department_tree import WantedDepartment, code_of, read_tree
from apps.tenants.errors import DepartmentCycleError, InvalidTenantInputError
from apps.tenants.organisation import (
    add_customer,
    add_department,
    add_departments,
    change_customer,
    change_department,
)
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, list_audit_of, list_customers, list_departments
from apps.tenants.services import ensure_customers

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def tree_of(tenant: TenantInfo) -> dict[str, str | None]:
    """Code to the code above it."""
    with tenant_scope(tenant.id):
        found = list_departments()
    codes = {one.id: one.code for one in found}
    return {one.code: codes[one.parent_id] if one.parent_id else None for one in found}


def plant(tenant: TenantInfo, text: str) -> int:
    wanted, errors = read_tree(text)
    assert errors == []
    with tenant_scope(tenant.id):
        return add_departments(wanted, actor="olga", now=NOW)


def test_a_tree_is_what_is_indented() -> None:
    wanted, errors = read_tree("Eng\n  Search\n\n\tML = CC-1\n  Ops\nSales & Kö.\n")
    assert errors == []
    assert wanted == [
        WantedDepartment("eng", "Eng", None),
        WantedDepartment("search", "Search", "eng"),
        WantedDepartment("CC-1", "ML", "search"),
        WantedDepartment("ops", "Ops", "eng"),
        WantedDepartment("sales-kö", "Sales & Kö.", None),
    ]


def test_lines_that_make_no_sense_are_named() -> None:
    _, errors = read_tree("Eng\n= x\neng\n***\n" + "y" * 201)
    assert [(one.line, one.detail.split(";")[0]) for one in errors] == [
        (2, "a line is a name, or a name = a code"),
        (3, "eng stands in line 1 already"),
        (4, "a line is a name, or a name = a code"),
        (5, "names and codes have at most 200 characters"),
    ]
    deep = "\n".join(" " * depth + f"d{depth}" for depth in range(11))
    assert [one.line for one in read_tree(deep)[1]] == [11]
    assert read_tree("a\n" * 501)[1][0].line == 501
    assert code_of("Forschung & Lehre") == "forschung-lehre"


def test_a_second_time_adds_what_is_missing(tenant: TenantInfo) -> None:
    assert plant(tenant, "Eng\n  Search") == 2
    assert plant(tenant, "ENG\n  Search\n  Ops") == 1
    assert tree_of(tenant) == {"eng": None, "search": "eng", "ops": "eng"}
    with tenant_scope(tenant.id):
        (entry,) = list_audit_of("department:ops", limit=5)
    assert (entry.action, entry.after) == (
        "department.added",
        {"code": "ops", "name": "Ops", "parent": "eng"},
    )


def test_a_department_hangs_below_no_part_of_itself_and_not_too_deep(tenant: TenantInfo) -> None:
    plant(tenant, "\n".join(" " * depth + f"d{depth}" for depth in range(9)) + "\ne0\n e1\n  e2")
    with tenant_scope(tenant.id):
        for code, parent, why in (
            ("d0", "d3", "own ancestor"),
            ("d0", "d0", "own ancestor"),
            # Nine levels and three are twelve.
            ("e0", "d8", "10 deep"),
        ):
            with pytest.raises(DepartmentCycleError, match=why):
                change_department(code=code, parent_code=parent, actor="olga", now=NOW)
        change_department(code="e0", parent_code="d6", actor="olga", now=NOW)
        change_department(code="E1", parent_code=None, name="Edge", actor="olga", now=NOW)
        with pytest.raises(DepartmentCycleError, match="10 deep"):
            change_department(code="e1", parent_code="d8", name="Deep", actor="olga", now=NOW)
        (moved, _) = list_audit_of("department:e1", limit=5)
    assert tree_of(tenant)["e0"] == "d6"
    assert moved.before == {"name": "e1", "parent": "e0"}
    assert moved.after == {"name": "Edge", "parent": None}


def test_what_cannot_be_taken_is_refused(tenant: TenantInfo) -> None:
    plant(tenant, "Eng")
    with tenant_scope(tenant.id):
        for code, parent, field in (
            ("ENG", None, "code"),
            ("x", "none", "parent"),
            ("", None, "code"),
        ):
            with pytest.raises(InvalidTenantInputError) as refused:
                add_department(code=code, name="X", parent_code=parent, actor="olga", now=NOW)
            assert refused.value.field == field
        with pytest.raises(InvalidTenantInputError) as refused:
            add_customer(external_id="c", name="C", tier="gold", actor="olga", now=NOW)
        assert refused.value.field == "tier"
        with pytest.raises(InvalidTenantInputError):
            change_customer(external_id="nobody", name="C", actor="olga", now=NOW)


def test_a_customer_is_named_and_put_into_a_tier(tenant: TenantInfo) -> None:
    with tenant_scope(tenant.id):
        ensure_customers(["acme"], now=NOW)
        assert list_customers()[0].discovered
        change_customer(external_id="acme", name="Acme", tier="premium", actor="olga", now=NOW)
        change_customer(external_id="acme", name="Acme", tier="premium", actor="olga", now=NOW)
        (known,) = list_customers()
        (entry,) = list_audit_of("customer:acme", limit=5)
    assert (known.name, known.tier, known.discovered) == ("Acme", "premium", False)
    assert entry.before == {"name": "acme", "tier": "standard"}
