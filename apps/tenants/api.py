"""Departments and customers over HTTP."""

from ninja import Router, Schema

from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import list_customers, list_departments

router = Router(tags=["tenants"])


class DepartmentOut(Schema):
    code: str
    name: str
    parent: str | None


class DepartmentsOut(Schema):
    rows: list[DepartmentOut]


class CustomerOut(Schema):
    id: str
    name: str
    tier: str


class CustomersOut(Schema):
    rows: list[CustomerOut]


@router.get("/departments", auth=KeyAuth("read"), response=DepartmentsOut)
def read_departments(request: ApiRequest) -> DepartmentsOut:
    """The tenant's cost centres, by name; `parent` is the code of the one above."""
    with tenant_scope(request.auth.tenant_id):
        departments = list_departments()
    code_by_id = {department.id: department.code for department in departments}
    rows = [
        DepartmentOut(
            code=d.code, name=d.name, parent=code_by_id[d.parent_id] if d.parent_id else None
        )
        for d in departments
    ]
    return DepartmentsOut(rows=rows)


@router.get("/customers", auth=KeyAuth("read"), response=CustomersOut)
def read_customers(request: ApiRequest) -> CustomersOut:
    """Whom the tenant serves, by name; `id` is what usage events carry."""
    with tenant_scope(request.auth.tenant_id):
        customers = list_customers()
    return CustomersOut(
        rows=[CustomerOut(id=c.external_id, name=c.name, tier=c.tier) for c in customers]
    )
