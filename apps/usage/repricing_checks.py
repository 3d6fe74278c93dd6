"""When a repricing may be drafted, started and undone; each refusal is a sentence. Part of
repricing; all but the first in the tenant's scope."""

from datetime import date

from apps.pricing.selectors import list_backends
from apps.tenants.selectors import list_customers
from apps.usage import repricing_rows as rows
from apps.usage.core.repricing import (
    RepricingRefusedError,
    RepricingScope,
    Status,
    changed_months,
    closed_among,
    find_blocking,
    noun_of,
)
from apps.usage.repricing_rows import RepricingInfo, get_repricing, read_closed_through


def check_request(scope: RepricingScope, reason: str) -> None:
    if not reason.strip():
        raise RepricingRefusedError("say why: the reason stands in the audit trail", field="reason")
    for field in ("starts_at", "ends_at"):
        if getattr(scope, field).tzinfo is None:
            raise RepricingRefusedError(f"{field} needs a time zone", field=field)
    if not scope.starts_at < scope.ends_at:
        raise RepricingRefusedError(
            f"the range would end ({scope.ends_at}) before it starts ({scope.starts_at})",
            field="ends_at",
        )


def find_names(scope: RepricingScope) -> tuple[int | None, int | None]:
    """Ids of the backend and the customer named; None where none is."""
    backend_id = customer_id = None
    if scope.backend is not None:
        backend_id = next((b.id for b in list_backends() if b.key == scope.backend), None)
        if backend_id is None:
            raise RepricingRefusedError(f"there is no backend {scope.backend!r}", field="backend")
    if scope.customer is not None:
        named = (c.id for c in list_customers() if c.external_id == scope.customer)
        customer_id = next(named, None)
        if customer_id is None:
            raise RepricingRefusedError(
                f"there is no customer {scope.customer!r}", field="customer"
            )
    return backend_id, customer_id


def refuse_while_unfinished(apart_from: int | None = None) -> None:
    for moves in (False, True):
        for other, status in rows.list_started_runs(moves=moves):
            if other.id != apart_from:
                _refuse_while_unfinished(f"{noun_of(moves=moves)} {other.id}", status)


def _refuse_while_unfinished(other: str, status: Status) -> None:
    if status == "running":
        raise RepricingRefusedError(f"{other} is running; wait until it is done")
    if status == "failed":
        raise RepricingRefusedError(f"{other} failed midway; resume it or undo it first")


def refuse_undo_out_of_order(target: RepricingInfo) -> None:
    if target.status not in ("done", "failed") or (target.status == "failed" and target.undo_of):
        instead = "; resume it instead" if target.status == "failed" else ""
        raise RepricingRefusedError(
            f"{target.noun} {target.id} is {target.status}: there is nothing to undo{instead}"
        )
    started = rows.list_started_runs(moves=target.move is not None)
    blocking = find_blocking([run for run, _ in started], target.id)
    if blocking == target.id:
        raise RepricingRefusedError(f"what {target.noun} {target.id} did has been undone already")
    if blocking is not None:
        raise RepricingRefusedError(
            f"{target.noun} {blocking} ran after {target.id} and stands on what it did;"
            f" undo {blocking} first, the newest before the older"
        )
    if target.undo_of is not None and get_repricing(target.undo_of).error is not None:
        raise RepricingRefusedError(
            f"{target.noun} {target.undo_of} had failed midway and stays undone; make a new dry run"
        )


def refuse_closed_months(run: RepricingInfo, *, include_closed: bool) -> None:
    closed = [] if include_closed else list_closed_months(run)
    if closed:
        raise RepricingRefusedError(
            f"the books are closed for {', '.join(f'{month:%Y-%m}' for month in closed)}, where"
            f" {run.noun} {run.id} changes charges; an admin may include closed months expressly",
            field="include_closed",
        )


def list_closed_months(run: RepricingInfo) -> list[date]:
    """First days of the closed months in which the run changes charges."""
    while run.undo_of is not None:
        run = get_repricing(run.undo_of)
    return closed_among(changed_months(run.preview or {"months": []}), read_closed_through())
