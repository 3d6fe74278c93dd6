"""Setting own rates over HTTP: adds to the router of api.py, whose addresses these are too."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from django.utils import timezone
from ninja import Schema
from pydantic import ConfigDict, Field

from apps.pricing.api import NO_NUL, Name, RateOut, rate_out, router
from apps.pricing.core.rates import DAY_S, Kind
from apps.pricing.core.variants import MAX_CONTEXT_LENGTH
from apps.pricing.errors import PricingError
from apps.pricing.selectors import read_rates
from apps.pricing.services import add_rate
from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.tenants.problems import Problem
from apps.tenants.scoping import tenant_scope

ContextValue = Annotated[str, Field(max_length=MAX_CONTEXT_LENGTH, pattern=NO_NUL)]
Second = Annotated[int, Field(strict=True, ge=0, le=DAY_S)]


class RateIn(Schema):
    """A price of the tenant's own: per 1,000,000 of the meter's items, from `effective_from`
    (always, unless given) to `effective_to` (for good). Only for requests whose context holds
    `when`, with more input than `tier_start_tokens`, within the window of the UTC day."""

    model_config = ConfigDict(extra="forbid")

    provider: Name
    model: Name
    meter: Name
    price_usd_per_mtok: Annotated[str, Field(pattern=r"^\d{1,20}(\.\d{1,18})?$")]
    kind: Kind = "cloud"
    effective_from: datetime | None = None
    effective_to: datetime | None = None
    when: Annotated[dict[str, ContextValue], Field(max_length=8)] = {}
    tier_start_tokens: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = 0
    window_start_s: Second = 0
    window_end_s: Second = DAY_S


@router.post("/rates", auth=KeyAuth("manage"), response={201: RateOut})
def post_rate(request: ApiRequest, body: RateIn) -> tuple[int, RateOut]:
    """Give the tenant a rate. What another rate prices already is refused: change that one."""
    with tenant_scope(request.auth.tenant_id):
        try:
            rate_id = add_rate(
                provider=body.provider,
                model=body.model,
                meter=body.meter,
                price_usd_per_mtok=Decimal(body.price_usd_per_mtok),
                effective_from=body.effective_from,
                effective_to=body.effective_to,
                kind=body.kind,
                when=body.when,
                tier_start_tokens=body.tier_start_tokens,
                window_start_s=body.window_start_s,
                window_end_s=body.window_end_s,
                actor=f"key {request.auth.name}",
                now=timezone.now(),
            )
        except PricingError as error:
            raise Problem(422, "invalid_rate", str(error), field=error.field) from error
        (made,) = read_rates([f"tenant:{rate_id}"])
    return 201, rate_out(made)


__all__ = ["router"]
