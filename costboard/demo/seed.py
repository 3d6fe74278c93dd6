"""The demo's two tenants, their people, keys and rates: made once, found again later."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from django.contrib.auth import authenticate
from django.db import IntegrityError, transaction

from apps.pricing.core.meters import INPUT, OUTPUT
from apps.pricing.errors import RateOverlapError
from apps.pricing.services import add_rate
from apps.tenants.contracts import list_contracts, set_contract
from apps.tenants.core.access import SCOPES, KeyIdentity, Role
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import (
    find_key,
    get_tenant,
    list_customers,
    list_departments,
    list_members,
    list_tenant_ids,
)
from apps.tenants.services import (
    add_member,
    create_customer,
    create_department,
    create_tenant,
    create_user,
    issue_api_key,
)
from costboard.demo import company
from costboard.demo.hardware import ensure_hardware
from costboard.demo.state import DemoState, load_state, save_state

ACTOR = "demo"
# Not a secret: the demo listens on loopback alone and prints it.
DEMO_PASSWORD = "demo-costboard"  # noqa: S105
LOGINS: tuple[tuple[str, Role, str], ...] = (
    ("finance@lindwerk.example", "viewer", "Fenna (finance)"),
    ("admin@lindwerk.example", "admin", "Adrian (admin)"),
    ("owner@lindwerk.example", "owner", "Oda (owner)"),
)
DEMO_KEY, SANDBOX_KEY = "demo", "sandbox"
CONTRACTS_SINCE = timedelta(days=366)


class NoDemoDatabaseError(RuntimeError):
    """Somebody else's data is where the demo's would go."""


def seed_tenants(data_dir: Path, *, now: datetime) -> DemoState:
    """Return what the demo consists of, making what is missing. Safe to repeat and to interrupt."""
    state = load_state(data_dir)
    if state is None or not _keys_work(state):
        state = _make_tenants(now)
        save_state(data_dir, state)
    return state


def _keys_work(state: DemoState) -> bool:
    """Whether this database is the one the state was written for."""
    owners = {name: find_key(secret) for name, secret in state.api_keys.items()}
    return all(
        identity is not None
        and identity.tenant_id
        == (state.sandbox_tenant_id if name == SANDBOX_KEY else state.tenant_id)
        for name, identity in owners.items()
    )


def router_identities(state: DemoState) -> dict[str, KeyIdentity]:
    """Who each router of the company is to the ingest code."""
    found = {router: find_key(state.api_keys[router]) for router in company.ROUTERS}
    return {router: identity for router, identity in found.items() if identity is not None}


def _make_tenants(now: datetime) -> DemoState:
    slugs = {_slug_of(tenant_id): tenant_id for tenant_id in list_tenant_ids()}
    tenant_id = slugs.get(company.TENANT_SLUG) or create_tenant(
        name=company.TENANT_NAME,
        slug=company.TENANT_SLUG,
        time_zone=company.TENANT_TIME_ZONE,
        now=now,
    )
    sandbox_id = slugs.get(company.SANDBOX_SLUG) or create_tenant(
        name=company.SANDBOX_NAME,
        slug=company.SANDBOX_SLUG,
        time_zone=company.TENANT_TIME_ZONE,
        now=now,
    )
    user_ids = {email: _ensure_user(email, name, now) for email, _, name in LOGINS}
    with tenant_scope(tenant_id):
        _ensure_members(user_ids, now)
        _ensure_organisation(now)
        _ensure_rates(company.EXAMPLE_RATES + company.OTHER_LOCAL_RATES, now)
        ensure_hardware(ACTOR, now)
        keys = {router: _issue(router, ["ingest", "route"], now) for router in company.ROUTERS}
        keys[DEMO_KEY] = _issue("demo scripts", SCOPES, now)
    with tenant_scope(sandbox_id):
        _ensure_members(user_ids, now)
        _ensure_rates(company.EXAMPLE_RATES, now)
        keys[SANDBOX_KEY] = _issue("sandbox scripts", SCOPES, now)
    return DemoState(tenant_id=tenant_id, sandbox_tenant_id=sandbox_id, api_keys=keys)


def _slug_of(tenant_id: int) -> str:
    with tenant_scope(tenant_id):
        return get_tenant().slug


def _issue(name: str, scopes: Iterable[str], now: datetime) -> str:
    return issue_api_key(name=name, scopes=scopes, actor=ACTOR, now=now)


def _ensure_user(email: str, name: str, now: datetime) -> int:
    try:
        with transaction.atomic():
            return create_user(email=email, password=DEMO_PASSWORD, name=name, now=now)
    except IntegrityError as error:
        user = authenticate(username=email, password=DEMO_PASSWORD)
        if user is None:
            raise NoDemoDatabaseError(f"{email} is there with another password") from error
        return int(user.pk)


def _ensure_members(user_ids: dict[str, int], now: datetime) -> None:
    present = {member.email for member in list_members()}
    for email, role, _ in LOGINS:
        if email not in present:
            add_member(user_id=user_ids[email], role=role, now=now)


def _ensure_organisation(now: datetime) -> None:
    departments = {department.code for department in list_departments()}
    for department in company.DEPARTMENTS:
        if department.code not in departments:
            create_department(
                code=department.code, name=department.name, parent_code=department.parent, now=now
            )
    customers = {customer.external_id for customer in list_customers()}
    for customer in company.CUSTOMERS:
        if customer.external_id not in customers:
            create_customer(
                external_id=customer.external_id,
                name=customer.name,
                tier=customer.tier,
                now=now,
            )
    _ensure_contracts(now)


def _ensure_contracts(now: datetime) -> None:
    standing = {contract.customer for contract in list_contracts()}
    starts_on = (now - CONTRACTS_SINCE).date().replace(day=1)
    for customer, usd in company.CONTRACT_USD_PER_MONTH.items():
        if customer not in standing:
            set_contract(
                customer=customer,
                usd_per_month=Decimal(usd),
                starts_on=starts_on,
                actor=ACTOR,
                now=now,
            )


def _ensure_rates(rates: Iterable[company.RatePerThousand], now: datetime) -> None:
    for rate in rates:
        for meter, price_usd_per_ktok in (
            (INPUT, rate.input_usd_per_ktok),
            (OUTPUT, rate.output_usd_per_ktok),
        ):
            # One that stands already is the one a run before was interrupted after.
            with suppress(RateOverlapError):
                add_rate(
                    provider=rate.provider,
                    model=rate.model,
                    kind="local" if rate.provider == "local" else "cloud",
                    meter=meter,
                    price_usd_per_mtok=Decimal(price_usd_per_ktok) * 1000,
                    effective_from=None,
                    actor=ACTOR,
                    now=now,
                )
