"""Many reservations, one round: one call to the counters, one commit of the journal, one look
whether the counters are still the same. Part of services."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec
from django.db import InterfaceError, OperationalError

from apps.budgets.counter_types import CountersLost, Held, Refused, Seen, Unready, Wanted
from apps.budgets.counters import Counters
from apps.budgets.rebuild import counters_of
from apps.budgets.spent import write_parts
from apps.tenants.patience import give_back_connection, time_limit
from apps.tenants.scoping import execute_in_scope
from apps.usage.group_commit import GroupCommit

Outcome = Held | Seen | Unready | Refused
MAX_ENTRIES: Final = 500
# PostgreSQL is waited for so long; by itself it gives up before.
JOURNAL_LIMIT_S: Final = 3.0
SERVER_LIMIT_S: Final = 2.0
QUEUE_LIMIT_S: Final = 5.0
# After it did not answer, nobody waits for it again for so long.
QUIET_S: Final = 1.0


class JournalAway(Exception):
    """PostgreSQL does not take the journal's entry: nobody may be told that anything is held."""


@dataclass(slots=True)
class Entry:
    """A reservation on its way. `is_written`: the journal has it."""

    wanted: Wanted
    admitted_at: datetime
    backend: str
    estimate_usd: Decimal
    estimate_tokens: int
    is_written: bool = False


def go_round(tenant_id: int, entry: Entry) -> Outcome:
    """Have it held and written down, together with those that come at the same time.

    Raises CountersLost: whether it is held is not known, or no longer so; and JournalAway: it is
    not held.
    """
    if time.monotonic() < _quiet.until_s:
        raise JournalAway
    try:
        ((_, outcome),) = _rounds.submit(tenant_id, [entry], patience_s=QUEUE_LIMIT_S)
    except (InterfaceError, OperationalError, TimeoutError) as error:
        raise JournalAway from error
    return outcome


class _Quiet:
    """Until when PostgreSQL is left alone (monotonic)."""

    until_s = 0.0


_quiet: Final = _Quiet()


def _go_round(tenant_id: int, entries: Sequence[Entry]) -> list[tuple[int, Outcome]]:
    # The clock of whoever leads; it only matters if the counters must be rebuilt.
    with time_limit(JOURNAL_LIMIT_S):
        counters = counters_of(tenant_id, now=entries[0].admitted_at)
    outcomes = counters.reserve([entry.wanted for entry in entries])
    for n, outcome in enumerate(outcomes):
        if isinstance(outcome, Seen) and outcome.decision_id == entries[n].wanted.decision_id:
            outcomes[n] = Held()
    held = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Held)]
    unwritten = [n for n in held if not entries[n].is_written]
    try:
        written = _write_journal(tenant_id, [entries[n] for n in unwritten])
    except Exception as error:
        if isinstance(error, InterfaceError | OperationalError):
            _quiet.until_s = time.monotonic() + QUIET_S
        _let_go(counters, [entries[n] for n in unwritten])
        raise
    for n in unwritten:
        entries[n].is_written = entries[n].wanted.decision_id in written
        if not entries[n].is_written:
            # Decided before, so long ago that the counters have forgotten; or written down when
            # nobody knew (holds.py).
            counters.let_go([_names(entries[n])])
            outcomes[n] = Seen("")
    if held and not counters.is_current():
        raise CountersLost
    return list(enumerate(outcomes))


def _let_go(counters: Counters, entries: Sequence[Entry]) -> None:
    """Nobody is told that anything is held. Where Redis is not reached either, it stays held until
    it runs out."""
    with suppress(CountersLost):
        counters.let_go([_names(entry) for entry in entries])


def _names(entry: Entry) -> tuple[str, str]:
    return entry.wanted.decision_id, entry.wanted.request_id


_INSERT = """
INSERT INTO budgets_hold (tenant_id, decision_id, request_id, state, admitted_at, expires_at,
    estimate_usd, estimate_tokens, parts, request)
SELECT %s, e.decision_id, e.request_id, 'open', e.admitted_at, e.expires_at, e.estimate_usd,
    e.estimate_tokens, e.parts, e.request
FROM jsonb_to_recordset(%s::jsonb) AS e (decision_id uuid, request_id text,
    admitted_at timestamptz, expires_at timestamptz, estimate_usd numeric, estimate_tokens bigint,
    parts jsonb, request jsonb)
ON CONFLICT (tenant_id, request_id) DO NOTHING
RETURNING decision_id::text
"""


def _write_journal(tenant_id: int, entries: Sequence[Entry]) -> set[str]:
    """One commit; the decisions whose requests were not in the journal yet."""
    if not entries:
        return set()
    rows = [
        {
            "decision_id": entry.wanted.decision_id,
            "request_id": entry.wanted.request_id,
            "admitted_at": entry.admitted_at,
            "expires_at": entry.wanted.expires_at,
            "estimate_usd": entry.estimate_usd,
            "estimate_tokens": entry.estimate_tokens,
            "parts": write_parts(entry.wanted.amounts),
            "request": {"backend": entry.backend},
        }
        for entry in entries
    ]
    with time_limit(JOURNAL_LIMIT_S):
        found = execute_in_scope(
            tenant_id,
            _INSERT,
            [tenant_id, msgspec.json.encode(rows).decode()],
            statement_limit_s=SERVER_LIMIT_S,
        )
    return {row[0] for row in found}


_rounds: GroupCommit[int, Entry, Outcome] = GroupCommit(
    _go_round,
    max_rows=MAX_ENTRIES,
    leaders=2,
    worth_rows=8,
    of_all=(CountersLost, InterfaceError, OperationalError),
    before_wait=give_back_connection,
)
