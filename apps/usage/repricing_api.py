"""Repricings over HTTP, to be read. None is started here: that is for people and the command."""

from datetime import datetime
from typing import Any

from ninja import Router, Schema

from apps.pricing.core.money import plain_decimal
from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.tenants.problems import Problem
from apps.tenants.scoping import tenant_scope
from apps.usage.repricing import (
    RepricingInfo,
    RepricingRefusedError,
    get_repricing,
    list_repricings,
)
from apps.usage.repricing_rows import MAX_LISTED

router = Router(tags=["repricing"])
MAX_ID = 2**63 - 1


class RepricingOut(Schema):
    """What was asked for, the dry run's answer (`preview`; null for an undo), how far the run got.

    `examined_charges` of `preview.charges` is the progress; of an undo, `changed_charges` of those
    of the run `undo_of`. `cost_change_usd`: what the run has changed so far.
    """

    id: int
    status: str
    starts_at: datetime
    ends_at: datetime
    provider: str | None
    model: str | None
    backend: str | None
    customer: str | None
    only_unpriced: bool
    reason: str
    actor: str
    created_at: datetime
    rate_revision: int
    undo_of: int | None
    preview: dict[str, Any] | None
    examined_charges: int
    changed_charges: int
    cost_change_usd: str
    unpriced_change: int
    started_at: datetime | None
    progressed_at: datetime | None
    finished_at: datetime | None
    error: str | None


class RepricingsOut(Schema):
    """Newest first. `next_before_id` continues; null at the end."""

    rows: list[RepricingOut]
    next_before_id: int | None


@router.get("/repricings", auth=KeyAuth("read"), response=RepricingsOut)
def get_repricings(
    request: ApiRequest, before_id: int | None = None, limit: int = MAX_LISTED
) -> dict[str, Any]:
    """Repricing runs and drafts of the tenant, newest first, at most 100 at a time."""
    if not 1 <= limit <= MAX_LISTED:
        raise Problem(422, "invalid_limit", f"limit is 1 to {MAX_LISTED}", field="limit")
    if before_id is not None and not 0 <= before_id <= MAX_ID:
        raise Problem(422, "invalid_id", "before_id is an id of a repricing", field="before_id")
    with tenant_scope(request.auth.tenant_id):
        found = list_repricings(before_id=before_id, limit=limit)
    return {
        "rows": [_repricing_out(run) for run in found],
        "next_before_id": found[-1].id if len(found) == limit else None,
    }


@router.get("/repricings/{repricing_id}", auth=KeyAuth("read"), response=RepricingOut)
def get_one_repricing(request: ApiRequest, repricing_id: int) -> dict[str, Any]:
    """One repricing with its dry run and progress."""
    with tenant_scope(request.auth.tenant_id):
        try:
            if not 0 <= repricing_id <= MAX_ID:
                raise RepricingRefusedError(f"there is no repricing {repricing_id}")
            found = get_repricing(repricing_id)
            if found.move is not None:
                raise RepricingRefusedError(f"{repricing_id} is a re-attribution")
            return _repricing_out(found)
        except RepricingRefusedError as error:
            raise Problem(404, "not_found", error.detail, field="repricing_id") from error


def _repricing_out(run: RepricingInfo) -> dict[str, Any]:
    shown = {name: getattr(run, name) for name in RepricingOut.model_fields}
    return shown | {"cost_change_usd": plain_decimal(run.cost_change_usd)}
