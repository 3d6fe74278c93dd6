"""Each event counts once, however many segments were sealed between its reports."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection, connections

from apps.tenants.scoping import tenant_scope
from apps.usage.adapters.native import parse_native
from apps.usage.charges import find_charge_id
from apps.usage.identities import keep_segments, known_segments, seal_full_segment
from apps.usage.services import IngestOutcome, ingest_events, reconcile_usage, write_group
from tests.conftest import Key, MakeTenant, make_key, native_event, roll_up

NOW = datetime.now(UTC)


def seal(*, with_filter: bool = True) -> int:
    """Seal the open segment, full or not."""
    sealed = seal_full_segment(now=NOW, capacity_bytes=0, share_of_all=0)
    assert sealed is not None
    if with_filter:
        keep_segments(now=NOW)
    return sealed


def ingest(key: Key, events: list[dict[str, Any]]) -> IngestOutcome:
    return ingest_events(
        key.identity, parse_native(json.dumps(events).encode()), now=datetime.now(UTC)
    )


def assert_counted(key: Key, count: int) -> None:
    roll_up(key.identity.tenant_id)
    found = reconcile_usage(key.identity.tenant_id, now=datetime.now(UTC))
    assert (found.ledger_rows, found.identities, found.is_clean) == (count, count, True)


@pytest.mark.parametrize("with_filter", [True, False])
@pytest.mark.parametrize("count", [3, 450])
def test_sealed_events_are_not_counted_again(key: Key, count: int, with_filter: bool) -> None:
    events = [native_event() for _ in range(3 * count)]
    old, middle, fresh = events[:count], events[count : 2 * count], events[2 * count :]
    assert ingest(key, old).accepted == count
    seal(with_filter=with_filter)
    assert ingest(key, middle).accepted == count
    changed = {**old[1], "usage": {"input_tokens": 1, "output_tokens": 1}}
    # All kinds in one body, in no order, and one of them twice.
    body = [fresh[0], old[0], middle[0], changed, *fresh[1:], *old[2:], fresh[0]]
    outcome = ingest(key, body)
    assert outcome.accepted == count
    assert outcome.duplicates == count + 1
    assert [(one.index, one.code, one.id) for one in outcome.rejected] == [
        (3, "conflict", old[1]["id"])
    ]
    assert ingest(key, old).duplicates == count
    assert_counted(key, 3 * count)


def test_event_of_any_time_is_found_by_what_the_router_called_it(key: Key) -> None:
    event = native_event(timestamp=(NOW - timedelta(days=200)).isoformat())
    ingest(key, [event])
    seal()
    with tenant_scope(key.identity.tenant_id):
        assert find_charge_id(source="default", event_id=event["id"]) is not None
    # As a router without a clock of its own would repeat it, in another month.
    again = {**event, "timestamp": (NOW - timedelta(days=2)).isoformat()}
    assert [one.code for one in ingest(key, [again]).rejected] == ["conflict"]
    assert_counted(key, 1)


def test_segment_sealed_elsewhere_is_noticed(key: Key) -> None:
    event = native_event()
    ingest(key, [event])
    known = known_segments()
    with psycopg.connect(settings.DATABASE_OWNER_URL) as other:
        other.execute("SELECT seal_usage_identities(0, 0, now())")
    assert known_segments() is known
    outcome = ingest(key, [event, native_event()])
    assert (outcome.accepted, outcome.duplicates) == (1, 1)
    assert known_segments().open > known.open
    assert_counted(key, 2)


def test_tenants_with_the_same_ids_are_strangers(key: Key, make_tenant: MakeTenant) -> None:
    events = [native_event() for _ in range(30)]
    ingest(key, events)
    seal()
    other = make_key(make_tenant().id)
    assert ingest(other, events).accepted == 30
    assert_counted(other, 30)


def test_writers_and_sealing_at_once_count_each_event_once(key: Key) -> None:
    events = [native_event() for _ in range(900)]
    over = threading.Event()
    turns = []

    def write(first: int) -> int:
        # Every event comes from three writers, in bodies of several sizes.
        try:
            mine = events[first:] + events[:first]
            sizes = (1, 7, 3, 250, 1, 2) * 50
            accepted, at = 0, 0
            for size in sizes:
                if at >= len(mine):
                    break
                accepted += ingest(key, mine[at : at + size]).accepted
                at += size
            return accepted
        finally:
            connections.close_all()

    def keep_sealing() -> None:
        try:
            while not over.wait(0.1):
                sealed = seal_full_segment(now=NOW, capacity_bytes=0, share_of_all=0)
                turns.append(sealed)
                if len(turns) % 3 == 0:
                    keep_segments(now=NOW)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(7) as pool:
        sealing = pool.submit(keep_sealing)
        try:
            accepted = list(pool.map(write, [0, 0, 300, 300, 600, 600]))
        finally:
            over.set()
        sealing.result()
    # Too busy at times: that is no turn, and nobody waits for it.
    assert any(turn is not None for turn in turns)
    assert sum(accepted) == len(events)
    assert_counted(key, len(events))


def test_sealed_segment_takes_nothing_more(key: Key) -> None:
    ingest(key, [native_event()])
    sealed = seal()
    statement = (
        "INSERT INTO usage_identity"
        " (tenant_id, identity, content_hash, ledger_id, occurred_at, segment)"
        " VALUES (%s, gen_random_uuid(), 0, 0, now(), %s)"
    )
    with (
        pytest.raises(psycopg.errors.RaiseException, match="sealed"),
        psycopg.connect(settings.DATABASE_OWNER_URL) as owner,
    ):
        owner.execute(statement, [key.identity.tenant_id, sealed])
    with pytest.raises(Exception, match="permission denied"), connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM usage_identity_{sealed}")


def test_segment_is_sealed_when_it_is_full(key: Key) -> None:
    ingest(key, [native_event() for _ in range(300)])
    opened = known_segments().open
    assert seal_full_segment(now=NOW, capacity_bytes=10 << 20, share_of_all=0) is None
    # All of them are one share at the most: no segment is as large as that.
    assert seal_full_segment(now=NOW, capacity_bytes=0, share_of_all=1.1) is None
    assert seal_full_segment(now=NOW, capacity_bytes=8192, share_of_all=0) == opened


def test_segment_stays_open_while_a_commit_is_on_its_way(key: Key) -> None:
    parsed = parse_native(json.dumps([native_event()]).encode())
    turn = "SELECT seal_usage_identities(0, 0, now())"
    with psycopg.connect(settings.DATABASE_OWNER_URL, autocommit=True) as other:
        with tenant_scope(key.identity.tenant_id):
            ingest_events(key.identity, parsed, now=NOW, commit=lambda *of: write_group(*of).seen)
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute(turn)
        other.execute(turn)
    assert ingest_events(key.identity, parsed, now=NOW).duplicates == 1
    assert_counted(key, 1)
