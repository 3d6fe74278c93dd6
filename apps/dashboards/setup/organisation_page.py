"""The organisation: what it is called and reports in; its departments; its customers."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse

from apps.dashboards.corrections.run_requests import posted_text
from apps.dashboards.page import PageRequest, changing, page
from apps.dashboards.page_state import Chip
from apps.dashboards.setup.setup_pages import CURRENCIES
from apps.dashboards.typed_numbers import NotANumber, typed_decimal
from apps.insights.public_holidays import list_countries, list_regions
from apps.tenants.contracts import list_contracts, set_contract
from apps.tenants.errors import InvalidTenantInputError, TenantsError
from apps.tenants.locales import offered_names
from apps.tenants.organisation import (
    TIERS,
    add_customer,
    add_department,
    change_customer,
    change_department,
    change_tenant,
)
from apps.tenants.selectors import (
    CustomerInfo,
    DepartmentInfo,
    list_customers,
    list_departments,
)

MAX_TEXT: Final = 200
SHOWN: Final = 200
TABS: Final = (
    ("organisation", "Organisation"),
    ("organisation-departments", "Departments"),
    ("organisation-customers", "Customers"),
    ("exchange-rates", "Exchange rates"),
)


@dataclass(frozen=True, slots=True)
class DepartmentLine:
    """`depth` from 0 at the top; `parents` are those it may hang below."""

    info: DepartmentInfo
    depth: int
    parent_code: str
    parents: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CustomerLine:
    """`contract` is what they pay a month today; None where nothing is agreed."""

    info: CustomerInfo
    contract_usd: Decimal | None


@page
def organisation(request: PageRequest) -> HttpResponse:
    return _show_organisation(request)


@changing
def change_organisation(request: PageRequest) -> HttpResponse:
    names = ("name", "currency", "country", "locale")
    given = {name: posted_text(request, name, MAX_TEXT) for name in names}
    given["currency"] = given["currency"].upper()
    region = posted_text(request, "region", MAX_TEXT)
    # One of another country is left over from the choice before.
    if region in dict(list_regions(given["country"])):
        given["country"] += f"-{region}"
    try:
        change_tenant(**given, actor=request.user.get_username(), now=request.now)
    except InvalidTenantInputError as error:
        errors = {error.field or "name": _sentence(error)}
        return _show_organisation(request, status=422, given=given, errors=errors)
    return _show_organisation(request, given=given, said="Kept.")


def _show_organisation(request: PageRequest, *, status: int = 200, **more: Any) -> HttpResponse:
    tenant = request.tenant
    context: dict[str, Any] = {
        "given": {
            "name": tenant.name,
            "currency": tenant.currency,
            "country": tenant.country,
            "locale": tenant.locale,
        },
        "locales": offered_names(),
        "errors": {},
        "currencies": CURRENCIES,
        "countries": list_countries(),
    } | more
    country, _, region = context["given"]["country"].partition("-")
    place = {"country": country, "region": region, "regions": list_regions(country)}
    return _render(request, "organisation", context | place, status)


@page
def departments(request: PageRequest) -> HttpResponse:
    return _show_departments(request)


@changing
def save_department(request: PageRequest) -> HttpResponse:
    """Adds one, or changes the one that `of` names."""
    of, code, name, parent = (
        posted_text(request, field, MAX_TEXT) for field in ("of", "code", "name", "parent")
    )
    who: dict[str, Any] = {"actor": request.user.get_username(), "now": request.now}

    def save() -> str:
        if of:
            change_department(code=of, name=name, parent_code=parent or None, **who)
            return f"{name} is kept."
        add_department(code=code, name=name or code, parent_code=parent or None, **who)
        return f"{name or code} is added."

    given = {"code": code, "name": name, "parent": parent}
    return _act(request, save, _show_departments, {"open": of, "given": given})


def _show_departments(request: PageRequest, *, status: int = 200, **more: Any) -> HttpResponse:
    every = list_departments()
    lines = _department_lines(every)
    found = sum(line.info.discovered for line in lines)
    answer = f"{len(lines)} departments" if len(lines) != 1 else "1 department"
    if found:
        answer += f"; {found} were named by usage before anybody named them here"
    choices = [(line.info.code, f"{'  ' * line.depth}{line.info.name}") for line in lines]
    context = {"answer": f"{answer}.", "lines": lines, "choices": choices, "given": {}}
    return _render(request, "organisation_departments", context | more, status)


def _department_lines(every: list[DepartmentInfo]) -> list[DepartmentLine]:
    """The tree from the top, those of one parent by name."""
    below: dict[int | None, list[DepartmentInfo]] = {}
    for one in every:
        below.setdefault(one.parent_id, []).append(one)
    codes = {one.id: one.code for one in every}
    ordered: list[tuple[DepartmentInfo, int]] = []
    inside: dict[int, set[int]] = {}

    def walk(parent_id: int | None, depth: int) -> set[int]:
        members: set[int] = set()
        for one in below.get(parent_id, ()):
            ordered.append((one, depth))
            inside[one.id] = walk(one.id, depth + 1) | {one.id}
            members |= inside[one.id]
        return members

    walk(None, 0)
    return [
        DepartmentLine(
            info=one,
            depth=depth,
            parent_code=codes[one.parent_id] if one.parent_id else "",
            parents=tuple((o.code, o.name) for o, _ in ordered if o.id not in inside[one.id]),
        )
        for one, depth in ordered
    ]


@page
def customers(request: PageRequest) -> HttpResponse:
    return _show_customers(request)


@changing
def save_customer(request: PageRequest) -> HttpResponse:
    """Adds one, or changes the one that `of` names; a contract where one is typed."""
    of, external_id, name, tier, usd, since = (
        posted_text(request, field, MAX_TEXT)
        for field in ("of", "id", "name", "tier", "contract", "since")
    )
    who: dict[str, Any] = {"actor": request.user.get_username(), "now": request.now}

    def save() -> str:
        # Read first: what cannot be taken leaves nothing half done.
        amount, starts_on = _read_contract(usd, since, request)
        if of:
            change_customer(external_id=of, name=name, tier=tier, **who)
        else:
            add_customer(external_id=external_id, name=name, tier=tier, **who)
        if amount is not None:
            set_contract(
                customer=of or external_id, usd_per_month=amount, starts_on=starts_on, **who
            )
        return f"{name or of or external_id} is kept."

    given = {"id": external_id, "name": name, "tier": tier, "contract": usd, "since": since}
    return _act(request, save, _show_customers, {"open": of, "given": given})


def _read_contract(usd: str, since: str, request: PageRequest) -> tuple[Decimal | None, date]:
    today = request.tenant.local_date(request.now)
    try:
        starts_on = date.fromisoformat(since) if since else today
    except ValueError as error:
        raise InvalidTenantInputError("this is not a day such as 2026-11-01", field="since") from (
            error
        )
    try:
        return (typed_decimal(usd) if usd else None), starts_on
    except NotANumber as error:
        raise InvalidTenantInputError(str(error), field="contract") from error


def _show_customers(request: PageRequest, *, status: int = 200, **more: Any) -> HttpResponse:
    search = request.GET.get("q", "").replace("\0", "").strip()[:MAX_TEXT]
    today = request.tenant.local_date(request.now)
    every = list_customers()
    wanted = [one for one in every if search.lower() in f"{one.name}\n{one.external_id}".lower()]
    held = {one.customer: one.usd_per_month for one in list_contracts() if one.holds_on(today)}
    lines = [CustomerLine(one, held.get(one.external_id)) for one in wanted[:SHOWN]]
    many = f"{len(every)} customers" if len(every) != 1 else "1 customer"
    paying = sum(one.external_id in held for one in every)
    context = {
        "answer": f"{many}; {paying or 'none'} with a contract.",
        "lines": lines,
        "search": search,
        "more": max(0, len(wanted) - SHOWN),
        "tiers": TIERS,
        "given": {"tier": "standard"},
    }
    return _render(request, "organisation_customers", context | more, status)


def _act(
    request: PageRequest,
    save: Callable[[], str],
    show: Callable[..., HttpResponse],
    typed: dict[str, Any],
) -> HttpResponse:
    try:
        said = save()
    except TenantsError as error:
        errors = {error.field or "name": _sentence(error)}
        return show(request, status=422, errors=errors, refusal=_sentence(error), **typed)
    return show(request, said=said)


def _render(request: PageRequest, name: str, context: dict[str, Any], status: int) -> HttpResponse:
    context |= {"tenant": request.tenant, "tabs": organisation_tabs(request)}
    return render(request, f"dashboards/{name}.html", context, status=status)


def organisation_tabs(request: PageRequest) -> list[Chip]:
    """The pages about the organisation; an action's address is below its page's."""
    here = max(
        (reverse(view) for view, _ in TABS if request.path.startswith(reverse(view))), key=len
    )
    return [Chip(label, reverse(view), reverse(view) == here) for view, label in TABS]


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
