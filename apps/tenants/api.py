"""Departments and customers over HTTP. Changing them needs a key with `manage`."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from django.utils import timezone
from ninja import Router, Schema
from pydantic import ConfigDict, Field

from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.tenants.contracts import set_contract
from apps.tenants.errors import InvalidTenantInputError, TenantsError
from apps.tenants.organisation import (
    add_customer,
    add_department,
    change_customer,
    change_department,
)
from apps.tenants.problems import Problem
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import find_customer_id, get_tenant, list_customers, list_departments

router = Router(tags=["tenants"])
Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Usd = Annotated[str, Field(pattern=r"^\d{1,13}(\.\d{1,6})?$")]


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


class DepartmentIn(Schema):
    """`code` is what routers send, whatever the case; `parent` the code of the one above."""

    model_config = ConfigDict(extra="forbid")

    code: Text
    name: Text | None = None
    parent: Text | None = None


class DepartmentChangeIn(Schema):
    """What is left out stays; `parent` null hangs it at the top."""

    model_config = ConfigDict(extra="forbid")

    name: Text = ""
    parent: Text | None = None


class CustomerIn(Schema):
    """`id` is what usage events carry; `tier` is free, standard, premium or enterprise."""

    model_config = ConfigDict(extra="forbid")

    id: Text
    name: Text | None = None
    tier: Text = "standard"


class CustomerChangeIn(Schema):
    """What is left out stays. `contract_usd_per_month` holds from `contract_from` (default: today
    in the tenant's time zone) on; "0" ends the contract."""

    model_config = ConfigDict(extra="forbid")

    name: Text = ""
    tier: Text = ""
    contract_usd_per_month: Usd = ""
    contract_from: date | None = None


@router.get("/departments", auth=KeyAuth("read"), response=DepartmentsOut)
def read_departments(request: ApiRequest) -> DepartmentsOut:
    """The tenant's cost centres, by name; `parent` is the code of the one above."""
    with tenant_scope(request.auth.tenant_id):
        return DepartmentsOut(rows=_department_rows())


def _department_rows() -> list[DepartmentOut]:
    departments = list_departments()
    codes = {department.id: department.code for department in departments}
    return [
        DepartmentOut(code=d.code, name=d.name, parent=codes[d.parent_id] if d.parent_id else None)
        for d in departments
    ]


@router.get("/customers", auth=KeyAuth("read"), response=CustomersOut)
def read_customers(request: ApiRequest) -> CustomersOut:
    """Whom the tenant serves, by name; `id` is what usage events carry."""
    with tenant_scope(request.auth.tenant_id):
        return CustomersOut(rows=_customer_rows())


def _customer_rows() -> list[CustomerOut]:
    return [CustomerOut(id=c.external_id, name=c.name, tier=c.tier) for c in list_customers()]


@router.post("/departments", auth=KeyAuth("manage"), response={201: DepartmentOut})
def post_department(request: ApiRequest, body: DepartmentIn) -> tuple[int, DepartmentOut]:
    """Add a cost centre. There is no removing one: its charges name it for good."""
    with _changing(request) as audit:
        add_department(
            code=body.code, name=body.name or body.code, parent_code=body.parent, **audit
        )
        return 201, _department(body.code.strip())


@router.patch("/departments/{path:code}", auth=KeyAuth("manage"), response=DepartmentOut)
def patch_department(request: ApiRequest, code: str, body: DepartmentChangeIn) -> DepartmentOut:
    """Call it otherwise, or hang it elsewhere: spend below it moves with it, the past included."""
    given = body.dict(exclude_unset=True)
    wanted = {"parent_code" if name == "parent" else name: value for name, value in given.items()}
    with _changing(request) as audit:
        _known("department", code)
        change_department(code=code, **wanted, **audit)
        return _department(code)


@router.post("/customers", auth=KeyAuth("manage"), response={201: CustomerOut})
def post_customer(request: ApiRequest, body: CustomerIn) -> tuple[int, CustomerOut]:
    """Add somebody the tenant serves. There is no removing one: charges name it for good."""
    with _changing(request) as audit:
        add_customer(external_id=body.id, name=body.name or body.id, tier=body.tier, **audit)
        return 201, _customer(body.id.strip())


@router.patch("/customers/{path:customer_id}", auth=KeyAuth("manage"), response=CustomerOut)
def patch_customer(request: ApiRequest, customer_id: str, body: CustomerChangeIn) -> CustomerOut:
    """Call them otherwise, put them into another tier, or say what they pay a month."""
    given = body.dict(exclude_unset=True)
    usd, starts_on = given.pop("contract_usd_per_month", None), given.pop("contract_from", None)
    with _changing(request) as audit:
        _known("customer", customer_id)
        if given:
            change_customer(external_id=customer_id, **given, **audit)
        if usd is not None:
            today = get_tenant().local_date(audit["now"])
            set_contract(
                customer=customer_id,
                usd_per_month=Decimal(usd),
                starts_on=starts_on or today,
                **audit,
            )
        elif starts_on is not None:
            raise InvalidTenantInputError(
                "contract_from says when contract_usd_per_month begins: give both",
                field="contract_usd_per_month",
            )
        return _customer(customer_id)


@contextmanager
def _changing(request: ApiRequest) -> Iterator[dict[str, Any]]:
    """The tenant's scope, with who changes and when; what goes wrong in it becomes a problem."""
    try:
        with tenant_scope(request.auth.tenant_id):
            yield {"actor": f"key {request.auth.name}", "now": timezone.now()}
    except TenantsError as error:
        raise Problem(422, "invalid_request", str(error), field=error.field) from error


def _known(what: str, name: str) -> None:
    """Raises the 404 of an address that names nothing."""
    if what == "department":
        is_known = any(one.code.lower() == name.lower() for one in list_departments())
    else:
        is_known = find_customer_id(name) is not None
    if not is_known:
        raise Problem(404, "not_found", f"there is no {what} {name[:200]!r}", field="path")


def _department(code: str) -> DepartmentOut:
    return next(row for row in _department_rows() if row.code.lower() == code.lower())


def _customer(external_id: str) -> CustomerOut:
    return next(row for row in _customer_rows() if row.id == external_id)
