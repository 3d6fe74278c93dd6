"""Loading the invented past through the real ingest code, and rolling it up."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from django.db import InterfaceError, OperationalError, connections

from apps.tenants.core.access import KeyIdentity
from apps.usage.adapters.native import parse_native
from apps.usage.services import fold_pending, ingest_events
from costboard.demo.progress import Progress
from costboard.demo.seed import router_identities
from costboard.demo.state import DemoState, History, read_live_mark, save_state
from costboard.demo.traffic import ByRouter, Traffic
from costboard.demo.wire import Event, to_json_lines

PORTION = timedelta(hours=24)
MAX_ROWS_PER_BODY = 5_000
MAX_REVIVALS = 5
ROWS_WORTH_ANALYSING = 50_000


class LoadError(RuntimeError):
    """Ingest refused events of the demo: one of the two is wrong."""


def load_history(
    data_dir: Path, state: DemoState, *, until: datetime, revive: Callable[[], object]
) -> int:
    """Bring the ledger up to `until`; returns the events ingested.

    Goes on where an earlier load, or the live stream of an earlier run, ended. Progress is
    written down after each portion: what a kill interrupts is loaded again under the same ids.
    """
    history = state.history
    if history is None:
        return 0
    start = start_of_load(data_dir, history, until)
    if start >= until:
        return 0
    traffic = Traffic(history.spec)
    identities = router_identities(state)
    progress = Progress("history", expected_events(traffic, start, until))
    for portion_end in portion_ends(start, until):
        load = partial(_load_portion, traffic, identities, start, portion_end)
        progress.advance(_through_database_restarts(load, revive))
        start = history.loaded_until = portion_end
        save_state(data_dir, state)
        if portion_end < until:
            _through_database_restarts(partial(_fold_everything, state.tenant_id), revive)
    progress.finish()
    if progress.done >= ROWS_WORTH_ANALYSING:
        _analyse()
    return progress.done


def _through_database_restarts(work: Callable[[], int], revive: Callable[[], object]) -> int:
    """Do what may be done twice, also when the database is killed in the middle of it."""
    for _ in range(MAX_REVIVALS):
        try:
            return work()
        except (InterfaceError, OperationalError):
            connections.close_all()
            revive()
    return work()


def _analyse() -> None:
    """Give the planner its statistics now; autovacuum would, in a minute or two."""
    with connections["owner"].cursor() as cursor:
        cursor.execute("ANALYZE")


def start_of_load(data_dir: Path, history: History, until: datetime) -> datetime:
    """Where history ends now; never further back than it is long."""
    loaded_until = history.loaded_until or history.spec.start
    covered = max(loaded_until, read_live_mark(data_dir) or loaded_until)
    return max(covered, until - timedelta(days=history.days, hours=1))


def portion_ends(start: datetime, until: datetime) -> Iterator[datetime]:
    while start < until:
        start = min(start + PORTION, until)
        yield start


def expected_events(traffic: Traffic, start: datetime, until: datetime) -> int:
    spec = traffic.spec
    return round(spec.events * ((until - start) / timedelta(days=spec.days)))


def _load_portion(
    traffic: Traffic, identities: dict[str, KeyIdentity], start: datetime, end: datetime
) -> int:
    """Ingest what happened in [start, end); returns how many events that was."""
    gathered: ByRouter = {router: [] for router in identities}
    for _, by_router in traffic.between(start, end):
        for router, events in by_router.items():
            gathered[router] += events
    for router, events in gathered.items():
        for first in range(0, len(events), MAX_ROWS_PER_BODY):
            _ingest(identities[router], events[first : first + MAX_ROWS_PER_BODY])
    return sum(len(events) for events in gathered.values())


def _ingest(identity: KeyIdentity, events: list[Event]) -> None:
    parsed = parse_native(to_json_lines(events))
    outcome = ingest_events(identity, parsed, now=datetime.now(UTC))
    if outcome.rejected:
        first = outcome.rejected[0]
        raise LoadError(f"event {first.id} was refused: {first.code}, {first.detail}")


def _fold_everything(tenant_id: int) -> int:
    total = 0
    while folded := fold_pending(tenant_id, now=datetime.now(UTC)):
        total += folded
    return total
