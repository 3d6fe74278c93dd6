"""Dry runs that somebody asked for and does not wait for: a worker makes them.

The moment of asking names the request: the draft is created at it, or a refusal stands in the
audit trail at it. So there is nothing else to keep, and a task that comes twice drafts once.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import list_audit
from apps.tenants.services import record_audit
from apps.usage.core.reattribution import MoveScope, scope_as_json, scope_from_json
from apps.usage.reattribution import list_reattributions, preview_reattribution
from apps.usage.repricing import (
    RepricingInfo,
    RepricingRefusedError,
    RepricingScope,
    list_repricings,
    preview_repricing,
)

REFUSED: Final = "repricing.refused"


@dataclass(frozen=True, slots=True)
class RequestAnswer:
    """What became of a request: a draft, or the sentence that refuses it. Neither: not yet."""

    draft: RepricingInfo | None = None
    refusal: str | None = None
    field: str | None = None
    wanted: dict[str, Any] | None = None


def as_wanted(scope: RepricingScope, reason: str) -> dict[str, Any]:
    """A request as a task and the audit trail carry it."""
    return {
        "starts_at": scope.starts_at.isoformat(),
        "ends_at": scope.ends_at.isoformat(),
        "provider": scope.provider,
        "model": scope.model,
        "only_unpriced": scope.only_unpriced,
        "reason": reason,
    }


def as_wanted_move(scope: MoveScope, reason: str) -> dict[str, Any]:
    """A request for a dry run of a re-attribution, as a task and the audit trail carry it."""
    return {
        "starts_at": scope.starts_at.isoformat(),
        "ends_at": scope.ends_at.isoformat(),
        "move": scope_as_json(scope),
        "reason": reason,
    }


def answer_request(tenant_id: int, wanted: dict[str, Any], *, actor: str, now: datetime) -> None:
    """Make the dry run, or say in the audit trail why not. `now` is when it was asked for."""
    with tenant_scope(tenant_id):
        answer = read_answer(now)
    if answer.draft is not None or answer.refusal is not None:
        return
    try:
        _draft(tenant_id, wanted, actor=actor, now=now)
    except RepricingRefusedError as refused:
        with tenant_scope(tenant_id):
            record_audit(
                actor=actor,
                action=REFUSED,
                subject="repricing",
                after={"refusal": refused.detail, "field": refused.field, "wanted": wanted},
                now=now,
            )


def _draft(tenant_id: int, wanted: dict[str, Any], *, actor: str, now: datetime) -> None:
    starts_at = datetime.fromisoformat(wanted["starts_at"])
    ends_at = datetime.fromisoformat(wanted["ends_at"])
    reason = wanted["reason"]
    if "move" in wanted:
        move = scope_from_json(starts_at, ends_at, wanted["move"])
        preview_reattribution(tenant_id, move, reason=reason, actor=actor, now=now)
        return
    scope = RepricingScope(
        starts_at=starts_at,
        ends_at=ends_at,
        provider=wanted["provider"],
        model=wanted["model"],
        only_unpriced=wanted["only_unpriced"],
    )
    preview_repricing(tenant_id, scope, reason=reason, actor=actor, now=now)


def read_answer(asked_at: datetime) -> RequestAnswer:
    """What became of the request of the tenant in scope made at that moment."""
    for entry in list_audit([asked_at]):
        if entry.action == REFUSED and entry.after:
            after = entry.after
            return RequestAnswer(
                refusal=after["refusal"], field=after["field"], wanted=after["wanted"]
            )
    runs = [*list_repricings(), *list_reattributions()]
    drafts = (run for run in runs if run.created_at == asked_at and run.preview)
    return RequestAnswer(draft=next(drafts, None))
