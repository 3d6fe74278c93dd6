"""Re-attribution: charges moved in the open to whom they belong, after a dry run, and back again.

A re-attribution is a run like a repricing's and goes its way: drafted here with its dry run, then
started, worked through in portions and undone by repricing's doors. What it writes are pairs of
ledger rows that sum to nothing, so that every total stays and every dimension moves.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from apps.pricing.core.money import usd_from_units
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import get_tenant
from apps.usage import repricing_rows as rows
from apps.usage.core.reattribution import (
    MovePreview,
    MoveScope,
    check_move,
    scope_as_json,
    scope_from_json,
)
from apps.usage.core.repricing import QUARTER_HOUR_S, RepricingRefusedError, RepricingScope
from apps.usage.reattribution_charges import Mover, MovingCharge, list_moving, walk_chosen
from apps.usage.reattribution_ledger import read_moved_by_run, write_moves
from apps.usage.repricing_checks import check_request, refuse_while_unfinished
from apps.usage.repricing_preview import MAX_ROWS_PREVIEWED, ROWS_PER_PORTION, Horizon, freeze
from apps.usage.repricing_rows import RepricingInfo, get_repricing

__all__ = [
    "MoveScope",
    "get_reattribution",
    "list_reattributions",
    "preview_reattribution",
    "read_scope",
    "take_move_back_portion",
    "take_move_portion",
]

TOKEN_COLUMNS: Final = slice(4, 9)


def preview_reattribution(
    tenant_id: int, scope: MoveScope, *, reason: str, actor: str, now: datetime
) -> RepricingInfo:
    """Draft a re-attribution with its dry run, and write nothing else.

    Start it by repricing.start_repricing, undo it by undo_repricing. Reads every charge of the
    range once. Raises RepricingRefusedError with a sentence.
    """
    check_move(scope)
    span = RepricingScope(starts_at=scope.starts_at, ends_at=scope.ends_at)
    check_request(span, reason)
    with tenant_scope(tenant_id):
        refuse_while_unfinished()
        after_position = rows.read_last_position()
        mover = Mover(scope)
    horizon = freeze(tenant_id)
    preview = _add_up(tenant_id, mover, horizon)
    with tenant_scope(tenant_id):
        run_id = rows.insert_repricing(
            span,
            backend_id=None,
            customer_id=None,
            reason=reason,
            actor=actor,
            rate_revision=horizon.pricer.book.revision,
            through_id=horizon.through_id,
            after_position=after_position,
            preview=preview,
            undo_of=None,
            move=scope_as_json(scope),
            now=now,
        )
        return get_repricing(run_id)


def get_reattribution(run_id: int) -> RepricingInfo:
    """One of the tenant in scope's. Raises RepricingRefusedError when there is none."""
    run = get_repricing(run_id)
    if run.move is None:
        raise RepricingRefusedError(f"there is no re-attribution {run_id}", field="run_id")
    return run


def list_reattributions(
    *, before_id: int | None = None, limit: int = rows.MAX_LISTED
) -> list[RepricingInfo]:
    """The tenant in scope's, newest first. Continue before the last id."""
    return rows.list_repricings(before_id=before_id, limit=limit, moves=True)


def read_scope(run: RepricingInfo) -> MoveScope:
    """What a re-attribution was asked for."""
    return scope_from_json(run.starts_at, run.ends_at, run.move or {})


def take_move_portion(run: RepricingInfo, now: datetime, limit: int) -> bool:
    """Move the next charges of a running re-attribution; true when they were the last."""
    mover = Mover(read_scope(run))
    found = mover.read(through_id=run.through_id, after_id=run.cursor_id, limit=limit)
    moving = list_moving(mover, found, now=now)
    write_moves(moving, repricing_id=run.id, rate_revision=run.rate_revision, now=now)
    _add_progress(run, found.last_id, len(found.rows), moving, now=now)
    return found.is_last


def take_move_back_portion(run: RepricingInfo, now: datetime, limit: int) -> bool:
    """Move the next charges of the run undone back to where they came from; true at the end."""
    moving, last_id = read_moved_by_run(run.undo_of or 0, after_id=run.cursor_id, limit=limit)
    write_moves(moving, repricing_id=run.id, rate_revision=run.rate_revision, now=now)
    _add_progress(run, last_id, len(moving), moving, now=now)
    return len(moving) < limit


def _add_up(tenant_id: int, mover: Mover, horizon: Horizon) -> dict[str, Any]:
    """What the move would do, in portions, each in a transaction of its own."""
    with tenant_scope(tenant_id):
        months = _Months(get_tenant().zone)
    preview = MovePreview(mover.targets)
    after_id, is_last, portions = 0, False, 0
    while not is_last:
        portions += 1
        if portions * ROWS_PER_PORTION > MAX_ROWS_PREVIEWED:
            raise RepricingRefusedError(
                f"the range has more than {MAX_ROWS_PREVIEWED:,} ledger rows;"
                " move them in parts, a month at a time",
                field="ends_at",
            )
        with tenant_scope(tenant_id):
            found = mover.read(
                through_id=horizon.through_id, after_id=after_id, limit=ROWS_PER_PORTION
            )
            after_id, is_last = found.last_id, found.is_last
            preview.charges += len(found.rows)
            for row, (before, after), units, unpriced in walk_chosen(mover, found):
                if before != after:
                    tokens = sum(row[TOKEN_COLUMNS])
                    preview.add(
                        months.of(row[1]), before, after,
                        units=units, unpriced=unpriced, tokens=tokens,
                    )  # fmt: skip
    return preview.as_json(mover.new_names)


def _add_progress(
    run: RepricingInfo, last_id: int, examined: int, moving: list[MovingCharge], *, now: datetime
) -> None:
    rows.add_progress(
        run.id,
        cursor_id=last_id,
        examined_charges=examined,
        changed_charges=len(moving),
        cost_change_usd=usd_from_units(sum(charge.cost_units for charge in moving)),
        unpriced_change=0,
        now=now,
    )


@dataclass(slots=True)
class _Months:
    """The tenant's month of a moment; each day is worked out once."""

    zone: ZoneInfo
    _by_quarter_hour: dict[int, date] = field(default_factory=dict)

    def of(self, moment: datetime) -> date:
        # Every zone's offset is a whole number of quarter hours.
        quarter_hour = int(moment.timestamp() // QUARTER_HOUR_S)
        month = self._by_quarter_hour.get(quarter_hour)
        if month is None:
            month = moment.astimezone(self.zone).date().replace(day=1)
            self._by_quarter_hour[quarter_hour] = month
        return month
