"""What usage cost beside what it earned, for scripts: the figures of the customers page."""

from decimal import Decimal
from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from ninja import Router, Schema

from apps.pricing.core.money import plain_decimal
from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.tenants.problems import Problem
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import get_tenant
from apps.usage.api import read_spend_query
from apps.usage.core.margins import Earnings
from apps.usage.margins import read_margins

router = Router(tags=["usage"])
# A share is a quotient and has no last digit: a dozen decimals of it.
SHARE_STEP = Decimal("1e-12")
NOT_HERE = ("interval", "reporting", "format")


class MarginRowOut(Schema):
    """Money in USD. `revenue_usd` is what events carried and what contracts accrued, which are
    spread over a customer's requests; `margin_share` is of revenue, null where there is none."""

    cost_usd: str
    revenue_usd: str
    event_revenue_usd: str
    contract_usd: str
    margin_usd: str
    margin_share: str | None
    requests: int
    conversions: int
    unpriced_requests: int


class MarginsOut(Schema):
    """`rows` also carry the dimensions grouped by; the deepest loss is first."""

    start: str
    end: str
    currency: str
    total: MarginRowOut
    rows: list[dict[str, Any]]


@router.get("/margins", auth=KeyAuth("read"), response=MarginsOut)
def get_margins(request: ApiRequest, group_by: str = "customer") -> HttpResponse | dict[str, Any]:
    """Cost to serve against revenue from `from` to before `to` (as in GET /spend; default: the
    month so far; contracts accrue up to now). `group_by` and filters are those of GET /spend.

    A contract of which nothing was used stands where its customer does, its other labels null.
    """
    for name in NOT_HERE:
        if name in request.GET:
            raise Problem(422, "unknown_parameter", f"{name} is for GET /spend", field=name)
    now = timezone.now()
    with tenant_scope(request.auth.tenant_id):
        tenant = get_tenant()
        query = read_spend_query(request, group_by, None, tenant, now)
        found = read_margins(query, until=max(query.start, min(query.end, now)))
    rows = sorted(
        found.rows.items(), key=lambda one: (one[1].margin, [label or "" for label in one[0]])
    )
    return {
        "start": query.start.astimezone(tenant.zone).isoformat(),
        "end": query.end.astimezone(tenant.zone).isoformat(),
        "currency": "USD",
        "total": _row(found.whole),
        "rows": [dict(zip(query.group_by, labels, strict=True)) | _row(e) for labels, e in rows],
    }


def _row(one: Earnings) -> dict[str, Any]:
    share = one.margin_share
    return {
        "cost_usd": plain_decimal(one.cost),
        "revenue_usd": plain_decimal(one.revenue),
        "event_revenue_usd": plain_decimal(one.event_revenue),
        "contract_usd": plain_decimal(one.contract),
        "margin_usd": plain_decimal(one.margin),
        "margin_share": None if share is None else plain_decimal(share.quantize(SHARE_STEP)),
        "requests": one.requests,
        "conversions": one.conversions,
        "unpriced_requests": one.unpriced_requests,
    }
