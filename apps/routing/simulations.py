"""Simulations: asked for, run in the background, kept to be compared.

A run reads in one transaction and tells its progress in others, so that a page sees it move. One
that was killed runs again: it writes nothing but its own row.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from apps.routing.core.what_if import Setting, run
from apps.routing.core.what_if_asked import WhatIfError, read_asked
from apps.routing.errors import InvalidRoutingInput
from apps.routing.replay_models import Simulation
from apps.routing.selectors import read_value_model
from apps.routing.traffic import LONGEST, Window, read_window
from apps.tenants.scoping import tenant_scope
from apps.tenants.services import record_audit

logger = logging.getLogger(__name__)
MAX_KEPT: Final = 200
MAX_WAITING: Final = 5
MAX_NAME: Final = 200
MAX_LISTED: Final = 100
MAX_ERROR: Final = 500
SAMPLE: Final = 12_000
# A run that says nothing for so long was killed.
SILENT: Final = timedelta(minutes=20)


@dataclass(frozen=True, slots=True)
class SimulationInfo:
    """`progress` is per cent; `result` as core/what_if_result.py writes it, once it is done."""

    id: int
    name: str
    asked: Mapping[str, Any]
    state: str
    progress: int
    result: Mapping[str, Any] | None
    error: str
    actor: str
    created_at: datetime
    finished_at: datetime | None


def ask_simulation(
    asked: Mapping[str, Any],
    *,
    start: datetime,
    end: datetime,
    name: str,
    actor: str,
    now: datetime,
) -> int:
    """Keep what is asked of the tenant in scope's window [start, end); returns its id, for
    `run_simulation`. Raises InvalidRoutingInput."""
    name = name.strip()
    if not 1 <= len(name) <= MAX_NAME or "\0" in name:
        raise InvalidRoutingInput(f"a name has 1 to {MAX_NAME} characters", field="name")
    if not timedelta(hours=1) <= end - start <= LONGEST:
        raise InvalidRoutingInput(
            f"a window is an hour to {LONGEST.days} days long; this is {end - start}", field="from"
        )
    if end > now:
        raise InvalidRoutingInput(
            "the window ends in the future: only what ran is replayed", field="to"
        )
    try:
        read_asked(asked)
    except WhatIfError as error:
        raise InvalidRoutingInput(str(error), field=error.field) from error
    waiting = Simulation.objects.filter(
        state__in=["queued", "running"], created_at__gt=now - SILENT
    )
    if waiting.count() >= MAX_WAITING:
        raise InvalidRoutingInput(
            f"{MAX_WAITING} simulations wait already; ask again when one is done", field="name"
        )
    kept = Simulation.objects.order_by("-id").values_list("id", flat=True)[MAX_KEPT - 1 :]
    Simulation.objects.filter(id__in=list(kept)).delete()
    row = Simulation.objects.create(
        name=name,
        asked={**asked, "from": start.isoformat(), "to": end.isoformat()},
        actor=actor,
        created_at=now,
    )
    record_audit(
        actor=actor,
        action="simulation.asked",
        subject=f"simulation:{row.pk}",
        after={"name": name, "policy": asked.get("policy")},
        now=now,
    )
    return row.pk


def run_simulation(tenant_id: int, simulation_id: int, *, now: datetime) -> None:
    """Run what was asked. Nothing happens when it is done or failed already."""
    with tenant_scope(tenant_id):
        row = Simulation.objects.filter(pk=simulation_id).first()
    if row is None or row.state in ("done", "failed"):
        return
    _note(tenant_id, simulation_id, state="running", progress=5, started_at=now)
    try:
        result = _replay(tenant_id, simulation_id, row.asked)
    except WhatIfError as error:
        _note(
            tenant_id, simulation_id, state="failed", error=str(error)[:MAX_ERROR], finished_at=now
        )
    except Exception:
        logger.exception("simulation %s of tenant %s failed", simulation_id, tenant_id)
        told = "something went wrong; the worker's log says what"
        _note(tenant_id, simulation_id, state="failed", error=told, finished_at=now)
    else:
        _note(tenant_id, simulation_id, state="done", progress=100, result=result, finished_at=now)


def _replay(tenant_id: int, simulation_id: int, asked: Mapping[str, Any]) -> dict[str, Any]:
    start, end = (datetime.fromisoformat(asked[name]) for name in ("from", "to"))
    with tenant_scope(tenant_id):
        model = read_value_model(end)
        window = read_window(start, end, model=model, limit=SAMPLE)
    _note(tenant_id, simulation_id, progress=60)
    if not len(window.traffic):
        raise WhatIfError("from", "the window holds no request that anybody prices")
    setting = Setting(window.months, model.local_requests_per_hour, model.refusal_multiplier)
    found = run(window.traffic, read_asked(asked), setting)
    return found | _about(window, model.version)


def _about(window: Window, value_model: int) -> dict[str, Any]:
    """What was replayed, beside the ledger's own sums."""
    return {
        "days": window.days,
        "ledger_requests": window.happened.requests,
        "ledger_usd": str(window.happened.cost_usd),
        "left_out_requests": window.happened.left_out,
        "value_model": value_model,
    }


def list_simulations(*, limit: int = 50, before_id: int | None = None) -> list[SimulationInfo]:
    """The tenant in scope's, newest first."""
    rows = Simulation.objects.order_by("-id")
    if before_id is not None:
        rows = rows.filter(pk__lt=before_id)
    return [_info(row) for row in rows[: min(limit, MAX_LISTED)]]


def get_simulation(simulation_id: int) -> SimulationInfo | None:
    row = Simulation.objects.filter(pk=simulation_id).first() if simulation_id < 2**63 else None
    return _info(row) if row else None


def _info(row: Simulation) -> SimulationInfo:
    return SimulationInfo(
        id=row.pk,
        name=row.name,
        asked=row.asked,
        state=row.state,
        progress=row.progress,
        result=row.result,
        error=row.error,
        actor=row.actor,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )


def _note(tenant_id: int, simulation_id: int, **columns: Any) -> None:
    with tenant_scope(tenant_id):
        Simulation.objects.filter(pk=simulation_id).update(**columns)
