"""What people do with an opportunity, and what came of it. A part of services.

Accepting moves of work puts overrides in force; a change that is made elsewhere (a router's limits,
a contract) is recorded as decided. From then on what was saved is measured against what the same
requests would have cost as they ran before.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from apps.routing.core.changes import replay_change
from apps.routing.core.opportunities import KINDS
from apps.routing.core.realised import cost_as_before
from apps.routing.errors import InvalidRoutingInput, UnknownOpportunity
from apps.routing.opportunities import OpportunityInfo, info_of, money
from apps.routing.renegotiated import current_rate_revision, price_saving_usd
from apps.routing.replay_models import Opportunity
from apps.routing.retries import Retries
from apps.routing.selectors import read_value_model
from apps.routing.services import add_override
from apps.routing.traffic import read_window
from apps.tenants.scoping import tenant_scope
from apps.tenants.services import record_audit

MAX_REASON: Final = 500
# Measured for so long; after that the months before are no measure any more.
MEASURED: Final = timedelta(days=60)
LEAST: Final = timedelta(hours=1)
SAMPLE: Final = 8_000
# Of a request's value, what a local backend is given for standing idle.
LOCAL_BOOST: Final = Decimal("0.05")
OUTSIDE: Final = frozenset(set(KINDS) - {"move", "drop", "local"})


def accept_opportunity(opportunity_id: int, *, actor: str, now: datetime) -> OpportunityInfo:
    """Make the change where Costboard can, record the decision where it cannot.

    Raises UnknownOpportunity, InvalidRoutingInput when it was decided already.
    """
    row = _open(opportunity_id)
    row.state, row.decided_at, row.decided_by = "accepted", now, actor
    row.applied = _outside(row) if row.kind in OUTSIDE else _apply(row, actor, now)
    row.save()
    _told(row, "opportunity.accepted", actor, now)
    return info_of(row)


def dismiss_opportunity(
    opportunity_id: int, *, reason: str, actor: str, now: datetime
) -> OpportunityInfo:
    """Not worth it, and why. Raises UnknownOpportunity, InvalidRoutingInput."""
    reason = reason.strip()
    if not 1 <= len(reason) <= MAX_REASON or "\0" in reason:
        raise InvalidRoutingInput(f"say why, in 1 to {MAX_REASON} characters", field="reason")
    row = _open(opportunity_id)
    row.state, row.decided_at, row.decided_by, row.reason = "dismissed", now, actor, reason
    row.save()
    _told(row, "opportunity.dismissed", actor, now)
    return info_of(row)


def _open(opportunity_id: int) -> Opportunity:
    row = Opportunity.objects.select_for_update().filter(pk=opportunity_id).first()
    if row is None:
        raise UnknownOpportunity(opportunity_id)
    if row.state != "open":
        raise InvalidRoutingInput(
            f"opportunity {opportunity_id} is {row.state}; only open ones are decided",
            field="opportunity_id",
        )
    return row


def _outside(row: Opportunity) -> dict[str, Any]:
    """Made elsewhere. A price to be agreed is measured against the rates of this moment."""
    revision = {"rate_revision": current_rate_revision()} if row.kind == "renegotiate" else {}
    return {"outside": True, **revision}


def _apply(row: Opportunity, actor: str, now: datetime) -> dict[str, Any]:
    """Overrides: work is kept off the backend that it leaves, for its task and tier; local backends
    are favoured for what may move there."""
    wanted: dict[tuple[str, str, str, str | None], None] = {}
    for move in row.change["moves"]:
        action, backend = ("boost", "to") if row.kind == "local" else ("ban", "from")
        wanted[action, move[backend], move["task"], move["tier"]] = None
    ids = [
        add_override(
            action,
            backend,
            task=task,
            tier=tier,
            boost_share=LOCAL_BOOST if action == "boost" else None,
            actor=actor,
            reason=f"Opportunity {row.pk}, accepted",
            now=now,
        )
        for action, backend, task, tier in wanted
    ]
    return {"overrides": ids}


def _told(row: Opportunity, action: str, actor: str, now: datetime) -> None:
    record_audit(
        actor=actor,
        action=action,
        subject=f"opportunity:{row.pk}",
        after={
            "key": row.key,
            "saving_usd": str(row.saving_usd),
            "reason": row.reason,
            "applied": row.applied,
        },
        now=now,
    )


def measure_accepted(tenant_id: int, *, now: datetime) -> int:
    """What accepted opportunities have saved so far; returns how many were measured."""
    with tenant_scope(tenant_id):
        rows = Opportunity.objects.filter(
            state="accepted", decided_at__gt=now - MEASURED, decided_at__lt=now - LEAST
        )
        ids = list(rows.values_list("id", "decided_at").order_by("decided_at"))
    for opportunity_id, since in ids:
        with tenant_scope(tenant_id):
            assert since is not None  # noqa: S101 - accepted rows have it
            row = Opportunity.objects.get(pk=opportunity_id)
            usd = _realised_usd(row, since, now)
            row.realised_usd = None if usd is None else money(usd)
            row.realised_until = now
            row.save(update_fields=["realised_usd", "realised_until"])
    return len(ids)


def _realised_usd(row: Opportunity, since: datetime, now: datetime) -> float | None:
    """USD saved since it was accepted; None while there is nothing to tell by. The tenant in
    scope's."""
    if row.kind == "renegotiate":
        if "rate_revision" not in row.applied:
            return None
        return price_saving_usd(
            since,
            now,
            provider=row.change["provider"],
            revision=row.applied["rate_revision"],
            limit=SAMPLE,
        )
    model = read_value_model(now)
    window = read_window(since, now, model=model, limit=SAMPLE)
    if not len(window.traffic):
        return None
    if row.kind in ("move", "drop", "local"):
        return cost_as_before(window.traffic, row.facts["mix"])
    # Waste: what it would have gone on to be, less what it still is.
    still = 0.0
    if row.kind == "retries":
        requests = window.happened.requests
        still = Retries(since, now, model, requests=requests, seed=0).replay(row.change).mean
    elif row.kind in ("cache", "cap", "batch"):
        still = replay_change(window.traffic, {**row.change, "episodes": []}).saved.mean
    return float(row.saving_usd) * window.months - still
