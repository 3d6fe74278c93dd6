"""Repricing: charges corrected in the open by adjustments, after a dry run, and undone by others.

A repricing is drafted with its dry run, started by an admin, worked through in portions, each one
transaction (read, price, adjust, move the cursor), and may be undone. See docs/repricing.md.
Runs that re-attribute charges are drafted in reattribution and go the same way from there.
"""

import logging
import time
from collections.abc import Callable
from datetime import date, datetime
from typing import Final

from django.db import InterfaceError, OperationalError

from apps.pricing.core.money import plain_decimal, usd_from_units
from apps.tenants.scoping import current_tenant_id, tenant_scope
from apps.tenants.services import record_audit, write_books_closed_through
from apps.usage import repricing_rows as rows
from apps.usage.core.repricing import (
    RepricingRefusedError,
    RepricingScope,
    correct,
    is_month_end,
    list_statuses,
)
from apps.usage.reattribution import take_move_back_portion, take_move_portion
from apps.usage.repricing_charges import (
    Pricer,
    Selection,
    pricer_at,
    read_portion,
    selection_of,
)
from apps.usage.repricing_checks import (
    check_request,
    find_names,
    list_closed_months,
    refuse_closed_months,
    refuse_undo_out_of_order,
    refuse_while_unfinished,
)
from apps.usage.repricing_ledger import Adjustment, write_adjustments, write_opposites
from apps.usage.repricing_preview import add_up, freeze
from apps.usage.repricing_rows import (
    RepricingInfo,
    get_repricing,
    list_repricings,
    list_tenants_with_running_repricing,
    read_closed_through,
)

__all__ = [
    "RepricingInfo",
    "RepricingRefusedError",
    "RepricingScope",
    "close_books",
    "continue_repricing",
    "get_repricing",
    "list_closed_months",
    "list_repricings",
    "list_tenants_with_running_repricing",
    "preview_repricing",
    "read_closed_through",
    "run_repricing_portion",
    "start_repricing",
    "undo_repricing",
]

logger = logging.getLogger(__name__)
ROWS_PER_PORTION: Final = 5_000
MAX_PRICERS: Final = 4
# By tenant and revision; made again when a process has it no more.
_pricers: dict[tuple[int, int], Pricer] = {}


def preview_repricing(
    tenant_id: int, scope: RepricingScope, *, reason: str, actor: str, now: datetime
) -> RepricingInfo:
    """Draft a repricing by today's rates with its dry run, and write nothing else.

    Reads every charge of the range once. Raises RepricingRefusedError with a sentence.
    """
    check_request(scope, reason)
    with tenant_scope(tenant_id):
        backend_id, customer_id = find_names(scope)
        refuse_while_unfinished()
        after_position = rows.read_last_position()
    horizon = freeze(tenant_id)
    chosen = Selection(
        starts_at=scope.starts_at,
        ends_at=scope.ends_at,
        provider=scope.provider,
        model=scope.model,
        backend_id=backend_id,
        customer_id=customer_id,
        only_unpriced=scope.only_unpriced,
        through_id=horizon.through_id,
    )
    preview = add_up(tenant_id, chosen, horizon.pricer)
    with tenant_scope(tenant_id):
        repricing_id = rows.insert_repricing(
            scope,
            backend_id=backend_id,
            customer_id=customer_id,
            reason=reason,
            actor=actor,
            rate_revision=horizon.pricer.book.revision,
            through_id=horizon.through_id,
            after_position=after_position,
            preview=preview,
            undo_of=None,
            now=now,
        )
        return get_repricing(repricing_id)


def start_repricing(
    tenant_id: int, repricing_id: int, *, actor: str, now: datetime, include_closed: bool = False
) -> RepricingInfo:
    """Let a draft run, or a failed run go on. For admins; the workers take it from here.

    Raises RepricingRefusedError when another runs, when prices moved since the dry run, or when a
    month it changes is closed and `include_closed` is not said.
    """
    with tenant_scope(tenant_id):
        rows.lock_repricings()
        run = get_repricing(repricing_id)
        if run.status not in ("draft", "failed"):
            raise RepricingRefusedError(f"{run.noun} {run.id} is {run.status}; only a draft starts")
        refuse_while_unfinished(apart_from=run.id)
        if run.status == "draft" and run.after_position != rows.read_last_position():
            raise RepricingRefusedError(
                f"another correction ran after the dry run of {run.id}; make a new dry run"
            )
        refuse_closed_months(run, include_closed=include_closed)
        rows.set_running(run.id, now=now)
        _audit("started" if run.status == "draft" else "resumed", run, actor, now=now)
        return get_repricing(run.id)


def undo_repricing(
    tenant_id: int,
    repricing_id: int,
    *,
    reason: str,
    actor: str,
    now: datetime,
    include_closed: bool = False,
) -> RepricingInfo:
    """Start the run that takes back what another did, to the last digit, and return it.

    For admins. An undo can itself be undone. Raises RepricingRefusedError when what came after has
    to be undone first, or as start_repricing does.
    """
    if not reason.strip():
        raise RepricingRefusedError("say why: the reason stands in the audit trail", field="reason")
    with tenant_scope(tenant_id):
        rows.lock_repricings()
        target = get_repricing(repricing_id)
        refuse_while_unfinished(apart_from=target.id)
        refuse_undo_out_of_order(target)
        refuse_closed_months(target, include_closed=include_closed)
        undo_id = rows.insert_repricing(
            RepricingScope(
                starts_at=target.starts_at,
                ends_at=target.ends_at,
                provider=target.provider,
                model=target.model,
                backend=target.backend,
                customer=target.customer,
                only_unpriced=target.only_unpriced,
            ),
            backend_id=target.backend_id,
            customer_id=target.customer_id,
            reason=reason,
            actor=actor,
            rate_revision=target.rate_revision,
            through_id=target.through_id,
            after_position=rows.read_last_position(),
            preview=None,
            undo_of=target.id,
            move=target.move,
            now=now,
        )
        rows.set_running(undo_id, now=now)
        undo = get_repricing(undo_id)
        _audit("undo_started", undo, actor, now=now)
        return undo


def run_repricing_portion(
    tenant_id: int, repricing_id: int, *, now: datetime, limit: int = ROWS_PER_PORTION
) -> RepricingInfo | None:
    """Take a running repricing one portion further; all of the portion is durable, or none.

    None when another process is at it. A run that is not running is left as it is.
    """
    with tenant_scope(tenant_id):
        if not rows.try_lock_repricings():
            return None
        run = get_repricing(repricing_id)
        if run.status == "running" and _taker_of(run)(run, now, limit):
            _finish(run, now=now)
        return get_repricing(repricing_id)


def continue_repricing(tenant_id: int, *, now: datetime, seconds: float) -> RepricingInfo | None:
    """Go on with the tenant's running repricing for about so long; None when there is none to
    go on with. A run that cannot go on is marked failed, with what was done so far in force."""
    stop_at = time.monotonic() + seconds
    with tenant_scope(tenant_id):
        found = rows.find_running()
    run = found
    while run is not None and run.status == "running" and time.monotonic() < stop_at:
        repricing_id = run.id
        try:
            run = run_repricing_portion(tenant_id, repricing_id, now=now)
        except (OperationalError, InterfaceError):
            # The database is away: the run goes on where it was when it is back.
            raise
        except Exception as error:
            logger.exception("run %s of tenant %s failed", repricing_id, tenant_id)
            return _fail(tenant_id, repricing_id, error, now=now)
    return run


def close_books(
    tenant_id: int, closed_through: date | None, *, actor: str, reason: str, now: datetime
) -> None:
    """Close the tenant's months up to this day, a month's last; an earlier day (or None) opens
    them again. Repricing leaves closed months alone; late events still land in them."""
    if closed_through is not None and not is_month_end(closed_through):
        raise RepricingRefusedError(
            f"books close by whole months: {closed_through} is not the last day of one",
            field="closed_through",
        )
    with tenant_scope(tenant_id):
        rows.lock_repricings()
        running = rows.find_running()
        if running is not None:
            raise RepricingRefusedError(
                f"{running.noun} {running.id} is running; the books close when it is done"
            )
        before = read_closed_through()
        write_books_closed_through(closed_through)
        record_audit(
            actor=actor,
            action="books.closed",
            subject="books",
            before={"closed_through": before.isoformat() if before else None},
            after={
                "closed_through": closed_through.isoformat() if closed_through else None,
                "reason": reason,
            },
            now=now,
        )


def _taker_of(run: RepricingInfo) -> Callable[[RepricingInfo, datetime, int], bool]:
    """What takes a run one portion further, and says whether that was the last."""
    if run.move is not None:
        return take_move_portion if run.undo_of is None else take_move_back_portion
    return _portion if run.undo_of is None else _undo_portion


def _portion(run: RepricingInfo, now: datetime, limit: int) -> bool:
    """Price the next charges anew; true when they were the last."""
    pricer = _pricer(run)
    portion = read_portion(pricer, selection_of(run), after_id=run.cursor_id, limit=limit)
    adjustments = []
    examined = 0
    for charge in portion.charges:
        examined += 1
        correction = correct(charge.before_units, charge.unpriced, charge.new_units)
        if correction is not None:
            adjustments.append(Adjustment(charge, *correction))
    write_adjustments(adjustments, repricing_id=run.id, rate_revision=run.rate_revision, now=now)
    rows.add_progress(
        run.id,
        cursor_id=portion.last_id,
        examined_charges=examined,
        changed_charges=len(adjustments),
        cost_change_usd=usd_from_units(sum(a.cost_units for a in adjustments)),
        unpriced_change=sum(a.unpriced_change for a in adjustments),
        now=now,
    )
    return portion.is_last


def _undo_portion(run: RepricingInfo, now: datetime, limit: int) -> bool:
    """Take back the next adjustments of the run undone; true when they were the last."""
    written = write_opposites(
        run.undo_of or 0,
        after_id=run.cursor_id,
        limit=limit,
        repricing_id=run.id,
        rate_revision=run.rate_revision,
        now=now,
    )
    rows.add_progress(
        run.id,
        cursor_id=written.last_id,
        examined_charges=written.rows,
        changed_charges=written.rows,
        cost_change_usd=written.cost_change_usd,
        unpriced_change=written.unpriced_change,
        now=now,
    )
    return written.rows < limit


def _pricer(run: RepricingInfo) -> Pricer:
    key = (current_tenant_id(), run.rate_revision)
    pricer = _pricers.get(key)
    if pricer is None:
        if len(_pricers) >= MAX_PRICERS:
            _pricers.clear()
        pricer = _pricers[key] = pricer_at(run.rate_revision)
    return pricer


def _finish(run: RepricingInfo, *, now: datetime) -> None:
    rows.set_finished(run.id, "done", now=now, error=None)
    started = rows.list_started_runs(moves=run.move is not None)
    status_of = list_statuses([other for other, _ in started])
    for other, status in started:
        if status_of[other.id] != status:
            rows.set_status(other.id, status_of[other.id])
    done = get_repricing(run.id)
    _audit("finished", done, done.actor, now=now)


def _fail(tenant_id: int, repricing_id: int, error: Exception, *, now: datetime) -> RepricingInfo:
    with tenant_scope(tenant_id):
        rows.lock_repricings()
        run = get_repricing(repricing_id)
        if run.status == "running":
            text = f"{type(error).__name__}: {error}"[:500]
            rows.set_finished(run.id, "failed", now=now, error=text)
            _audit("failed", get_repricing(run.id), "worker", now=now)
        return get_repricing(repricing_id)


def _audit(what: str, run: RepricingInfo, actor: str, *, now: datetime) -> None:
    kind = "repricing" if run.move is None else "reattribution"
    record_audit(
        actor=actor,
        action=f"{kind}.{what}",
        subject=f"{kind}:{run.id}",
        after={
            "reason": run.reason,
            "undo_of": run.undo_of,
            "move": run.move,
            "from": run.starts_at.isoformat(),
            "to": run.ends_at.isoformat(),
            "rate_revision": run.rate_revision,
            "changed_charges": run.changed_charges,
            "cost_change_usd": plain_decimal(run.cost_change_usd),
            "error": run.error,
        },
        now=now,
    )
