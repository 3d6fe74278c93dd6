"""Simulations: asked for, run in the background, kept to be compared.

A run reads in one transaction and tells its progress in others, so that a page sees it move. One
worker at a time has it; a run that was killed is found by the beat and runs again: it writes
nothing but its own row.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection
from django.db.models import F, Q, QuerySet

from apps.routing.core.what_if import run
from apps.routing.core.what_if_asked import WhatIfError, read_asked
from apps.routing.errors import InvalidRoutingInput
from apps.routing.replay_models import Simulation
from apps.routing.selectors import read_value_model
from apps.routing.traffic import LONGEST, Window, read_window
from apps.routing.what_if_facts import read_setting
from apps.tenants.scoping import tenant_scope
from apps.tenants.services import record_audit

logger = logging.getLogger(__name__)
MAX_KEPT: Final = 200
MAX_WAITING: Final = 5
MAX_NAME: Final = 200
MAX_LISTED: Final = 100
MAX_ERROR: Final = 500
SAMPLE: Final = 12_000
# A run that says nothing for so long was killed, and a task that nobody took by then was lost.
SILENT: Final = timedelta(minutes=10)
TAKEN_UP: Final = timedelta(minutes=1)
MAX_STARTS: Final = 3


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
    waiting = Simulation.objects.filter(state__in=["queued", "running"])
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
    """Run what was asked. Nothing happens when it is done, failed or being run already."""
    asked = _claimed(tenant_id, simulation_id, now)
    if asked is None:
        return
    try:
        result = _replay(tenant_id, simulation_id, asked, now)
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


def continue_simulations(tenant_id: int, *, now: datetime) -> int:
    """Run a tenant's replays whose worker died, or whose task was lost; returns how many. One that
    was begun MAX_STARTS times in vain is given up."""
    with tenant_scope(tenant_id):
        left = list(_left_behind(now).order_by("id").values_list("id", "starts")[:MAX_WAITING])
    for simulation_id, starts in left:
        if starts >= MAX_STARTS:
            told = f"it was begun {starts} times and never ended; a shorter window may do"
            _note(tenant_id, simulation_id, state="failed", error=told, finished_at=now)
        else:
            run_simulation(tenant_id, simulation_id, now=now)
    return len(left)


def list_tenants_with_waiting_simulation() -> list[int]:
    """Tenants with a replay that is queued or runs. Needs no scope."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenants_with_waiting_simulation()")
        return [row[0] for row in cursor.fetchall()]


def _left_behind(now: datetime) -> QuerySet[Simulation]:
    """Asked for a while ago and not begun, or begun and silent."""
    return Simulation.objects.filter(
        Q(state="queued", created_at__lt=now - TAKEN_UP)
        | Q(state="running", started_at__lt=now - SILENT)
    )


def _claimed(tenant_id: int, simulation_id: int, now: datetime) -> Mapping[str, Any] | None:
    """What was asked, for the one worker that gets to run it: the others' updates find nothing."""
    is_free = Q(state="queued") | Q(state="running", started_at__lt=now - SILENT)
    with tenant_scope(tenant_id):
        claimed = Simulation.objects.filter(is_free, pk=simulation_id).update(
            state="running", progress=5, started_at=now, starts=F("starts") + 1
        )
        row = Simulation.objects.filter(pk=simulation_id).first() if claimed else None
    return row.asked if row else None


def _replay(
    tenant_id: int, simulation_id: int, asked: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    start, end = (datetime.fromisoformat(asked[name]) for name in ("from", "to"))
    wanted = read_asked(asked)
    with tenant_scope(tenant_id):
        model = read_value_model(end)
        window = read_window(start, end, model=model, limit=SAMPLE)
        if not len(window.traffic):
            raise WhatIfError("from", "the window holds no request that anybody prices")
        setting = read_setting(wanted, window, now=now)
    _note(tenant_id, simulation_id, progress=60)
    return run(window.traffic, wanted, setting) | _about(window, model.version)


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
