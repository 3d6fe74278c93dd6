"""The customers that requests name, in this process's memory. Part of decisions."""

import time
from typing import Final

from apps.tenants.remembered import AWAY
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import CustomerInfo, find_customer

MAX_CUSTOMERS: Final = 100_000
# A customer's tier may change; its id does not.
CUSTOMER_KNOWN_S: Final = 60.0

# Customers change seldom; who is not known yet is asked for again.
_customers: dict[tuple[int, str], tuple[float, CustomerInfo]] = {}


def customer_of(tenant_id: int, external_id: str | None) -> CustomerInfo | None:
    """Of a tenant, by the id that its routers use; who stood a minute ago stands while the database
    is away."""
    if not external_id:
        return None
    clock = time.monotonic()
    checked_at, known = _customers.get((tenant_id, external_id), (0.0, None))
    if known is not None and clock - checked_at < CUSTOMER_KNOWN_S:
        return known
    try:
        with tenant_scope(tenant_id):
            found = find_customer(external_id)
    except AWAY:
        if known is None:
            raise
        return known
    if found is not None:
        if len(_customers) >= MAX_CUSTOMERS:
            _customers.clear()
        _customers[tenant_id, external_id] = (clock, found)
    return found
