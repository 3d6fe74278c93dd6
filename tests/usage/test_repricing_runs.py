"""Runs of repricing: whole at every moment, through crashes and crowds; undone to the digit."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError, ProgrammingError, connection
from django.test import Client

from apps.tenants.scoping import tenant_scope
from apps.usage import repricing
from apps.usage.repricing import (
    RepricingInfo,
    RepricingRefusedError,
    close_books,
    continue_repricing,
    get_repricing,
    list_repricings,
    run_repricing_portion,
    start_repricing,
)
from apps.usage.repricing_rows import REPRICE_LOCK, list_tenants_with_running_repricing
from apps.usage.services import fold_pending
from apps.usage.tasks import continue_repricings
from tests.conftest import ROOT, Key, MakeTenant, make_key, native_event, roll_up
from tests.usage.repricing_steps import (
    NOW,
    PostEvents,
    draft,
    home_grown,
    is_clean,
    own_rate,
    post_unpriced,
    reprice,
    rollups,
    total,
    undo,
    work,
)


@pytest.fixture
def unpriced(key: Key, post_events: PostEvents) -> Key:
    post_unpriced(post_events)
    return key


def test_readers_see_whole_sums_after_every_portion(unpriced: Key) -> None:
    own_rate(unpriced, "2")
    tenant_id = unpriced.identity.tenant_id
    run = start_repricing(tenant_id, draft(unpriced).id, actor="ann", now=NOW)
    seen = []
    while run.status == "running":
        after = run_repricing_portion(tenant_id, run.id, now=NOW, limit=2)
        assert after is not None
        run = after
        # Pending adjustments stand apart; the rest is equal bucket by bucket, before and after.
        assert is_clean(unpriced)
        fold_pending(tenant_id, now=NOW)
        assert is_clean(unpriced)
        spend = total(unpriced)
        assert spend.cost_usd == (6 - spend.unpriced_requests) * Decimal("0.002")
        seen.append(spend.unpriced_requests)
    assert seen == [4, 2, 0, 0]


class Crash(Exception):
    pass


def test_crash_within_a_portion_leaves_nothing_of_it_and_a_new_process_goes_on(
    unpriced: Key,
) -> None:
    own_rate(unpriced, "2")
    tenant_id = unpriced.identity.tenant_id
    run = start_repricing(tenant_id, draft(unpriced).id, actor="ann", now=NOW)
    run_repricing_portion(tenant_id, run.id, now=NOW, limit=2)

    def portion_and_crash() -> None:
        with tenant_scope(tenant_id):
            after = run_repricing_portion(tenant_id, run.id, now=NOW, limit=2)
            assert after is not None
            assert after.changed_charges == 4
            raise Crash

    with pytest.raises(Crash):
        portion_and_crash()
    with tenant_scope(tenant_id):
        assert get_repricing(run.id).changed_charges == 2
    subprocess.run(
        [sys.executable, "manage.py", "reprice", f"--tenant={tenant_id}", f"--resume={run.id}"],
        cwd=ROOT,
        env=os.environ,
        check=True,
        timeout=60,
    )
    roll_up(tenant_id)
    assert total(unpriced).cost_usd == 6 * Decimal("0.002")
    assert is_clean(unpriced)


def test_workers_go_on_with_what_runs(unpriced: Key) -> None:
    own_rate(unpriced, "2")
    tenant_id = unpriced.identity.tenant_id
    start_repricing(tenant_id, draft(unpriced).id, actor="ann", now=NOW)
    assert tenant_id in list_tenants_with_running_repricing()
    done = continue_repricing(tenant_id, now=NOW, seconds=10)
    assert done is not None
    assert done.status == "done"
    assert tenant_id not in list_tenants_with_running_repricing()
    assert continue_repricing(tenant_id, now=NOW, seconds=10) is None


def test_beat_task_goes_on_with_every_tenants_run(unpriced: Key) -> None:
    own_rate(unpriced, "2")
    tenant_id = unpriced.identity.tenant_id
    run = start_repricing(tenant_id, draft(unpriced).id, actor="ann", now=NOW)
    name = "apps.usage.tasks.continue_repricings"
    assert name in {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    continue_repricings()
    with tenant_scope(tenant_id):
        assert get_repricing(run.id).status == "done"


def test_run_that_cannot_go_on_fails_and_is_resumed_or_undone(
    unpriced: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_rate(unpriced, "2")
    tenant_id = unpriced.identity.tenant_id
    run = start_repricing(tenant_id, draft(unpriced).id, actor="ann", now=NOW)
    run_repricing_portion(tenant_id, run.id, now=NOW, limit=2)
    with monkeypatch.context() as patch:
        patch.setattr(repricing, "read_portion", lambda *a, **k: 1 / 0)
        failed = continue_repricing(tenant_id, now=NOW, seconds=10)
    assert failed is not None
    assert (failed.status, failed.changed_charges) == ("failed", 2)
    assert "ZeroDivisionError" in (failed.error or "")
    with pytest.raises(RepricingRefusedError, match="failed midway"):
        draft(unpriced)
    resumed = work(unpriced, start_repricing(tenant_id, run.id, actor="ann", now=NOW))
    assert (resumed.status, resumed.changed_charges) == ("done", 6)


def test_half_a_run_is_undone_for_good(unpriced: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rollups(unpriced)
    own_rate(unpriced, "2")
    tenant_id = unpriced.identity.tenant_id
    run = start_repricing(tenant_id, draft(unpriced).id, actor="ann", now=NOW)
    run_repricing_portion(tenant_id, run.id, now=NOW, limit=2)
    with monkeypatch.context() as patch:
        patch.setattr(repricing, "read_portion", lambda *a, **k: 1 / 0)
        continue_repricing(tenant_id, now=NOW, seconds=10)
    undone = undo(unpriced, run.id)
    assert undone.changed_charges == 2
    assert rollups(unpriced) == before
    with pytest.raises(RepricingRefusedError, match="failed midway"):
        undo(unpriced, undone.id)
    assert reprice(unpriced).changed_charges == 6


def test_another_process_at_the_run_keeps_this_one_out(
    unpriced: Key, django_db_blocker: Any
) -> None:
    own_rate(unpriced, "2")
    tenant_id = unpriced.identity.tenant_id
    run = start_repricing(tenant_id, draft(unpriced).id, actor="ann", now=NOW)

    def elsewhere() -> RepricingInfo | None:
        with django_db_blocker.unblock():
            try:
                return run_repricing_portion(tenant_id, run.id, now=NOW)
            finally:
                connection.close()

    with ThreadPoolExecutor(1) as pool, tenant_scope(tenant_id), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [REPRICE_LOCK, tenant_id])
        assert pool.submit(elsewhere).result() is None


def test_many_workers_at_once_adjust_each_charge_once(
    unpriced: Key, django_db_blocker: Any
) -> None:
    own_rate(unpriced, "2")
    tenant_id = unpriced.identity.tenant_id
    run = start_repricing(tenant_id, draft(unpriced).id, actor="ann", now=NOW)

    def take(number: int) -> None:
        with django_db_blocker.unblock():
            try:
                if number % 3:
                    run_repricing_portion(tenant_id, run.id, now=NOW, limit=1)
                else:
                    fold_pending(tenant_id, now=NOW)
            finally:
                connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(take, range(24)))
    with tenant_scope(tenant_id):
        assert work(unpriced, get_repricing(run.id)).changed_charges == 6
    assert total(unpriced).cost_usd == 6 * Decimal("0.002")
    assert is_clean(unpriced)


def test_one_run_at_a_time_and_no_stale_draft(unpriced: Key) -> None:
    own_rate(unpriced, "2")
    tenant_id = unpriced.identity.tenant_id
    first, second = draft(unpriced), draft(unpriced)
    run = start_repricing(tenant_id, first.id, actor="ann", now=NOW)
    for attempt in (
        lambda: start_repricing(tenant_id, second.id, actor="ann", now=NOW),
        lambda: draft(unpriced),
    ):
        with pytest.raises(RepricingRefusedError, match=f"repricing {run.id} is running"):
            attempt()
    work(unpriced, run)
    with pytest.raises(RepricingRefusedError, match="new dry run"):
        start_repricing(tenant_id, second.id, actor="ann", now=NOW)
    with pytest.raises(RepricingRefusedError, match="only a draft starts"):
        start_repricing(tenant_id, run.id, actor="ann", now=NOW)


def test_undo_restores_every_number_and_can_be_undone(unpriced: Key) -> None:
    own_rate(unpriced, "0.123456789012345678")
    before = rollups(unpriced)
    run = reprice(unpriced)
    repriced = rollups(unpriced)
    assert repriced != before
    first_undo = undo(unpriced, run.id)
    assert rollups(unpriced) == before
    assert first_undo.cost_change_usd == -run.cost_change_usd
    assert is_clean(unpriced)
    redo = undo(unpriced, first_undo.id)
    assert rollups(unpriced) == repriced
    undo(unpriced, run.id)
    assert rollups(unpriced) == before
    assert is_clean(unpriced)
    with tenant_scope(unpriced.identity.tenant_id):
        statuses = [get_repricing(r.id).status for r in (run, first_undo, redo)]
    assert statuses == ["undone", "done", "undone"]


def test_runs_are_undone_newest_first(unpriced: Key) -> None:
    states = [rollups(unpriced)]
    own_rate(unpriced, "2")
    first = reprice(unpriced)
    states.append(rollups(unpriced))
    own_rate(unpriced, "7", "cache_read_tokens")
    second = reprice(unpriced)
    with pytest.raises(RepricingRefusedError, match=f"undo {second.id} first"):
        undo(unpriced, first.id)
    undo(unpriced, second.id)
    assert rollups(unpriced) == states[1]
    with pytest.raises(RepricingRefusedError, match="nothing to undo"):
        undo(unpriced, second.id)
    undo(unpriced, first.id)
    assert rollups(unpriced) == states[0]
    assert is_clean(unpriced)


def last_day_before_this_month() -> date:
    return NOW.date().replace(day=1) - timedelta(days=1)


def test_closed_months_are_left_alone_unless_an_admin_says_so(unpriced: Key) -> None:
    tenant_id = unpriced.identity.tenant_id
    closed_through = last_day_before_this_month()
    own_rate(unpriced, "2")
    close_books(tenant_id, closed_through, actor="ann", reason="reported", now=NOW)
    drafted = draft(unpriced)
    with pytest.raises(RepricingRefusedError, match=f"closed for .*{closed_through:%Y-%m}"):
        start_repricing(tenant_id, drafted.id, actor="ann", now=NOW)
    run = work(
        unpriced,
        start_repricing(tenant_id, drafted.id, actor="ann", now=NOW, include_closed=True),
    )
    with pytest.raises(RepricingRefusedError, match="closed for"):
        undo(unpriced, run.id)
    assert undo(unpriced, run.id, include_closed=True).changed_charges == 6
    close_books(tenant_id, None, actor="ann", reason="an auditor asked", now=NOW)
    assert reprice(unpriced).changed_charges == 6


def test_open_months_are_repriced_beside_closed_ones(key: Key, post_events: PostEvents) -> None:
    post_events([home_grown(), native_event(timestamp=(NOW - timedelta(days=62)).isoformat())])
    own_rate(key, "2")
    close_books(
        key.identity.tenant_id, last_day_before_this_month(), actor="a", reason="r", now=NOW
    )
    assert reprice(key).changed_charges == 1


def test_books_close_by_whole_months_and_not_under_a_run(unpriced: Key) -> None:
    tenant_id = unpriced.identity.tenant_id
    with pytest.raises(RepricingRefusedError, match="whole months"):
        close_books(tenant_id, date(2026, 9, 15), actor="ann", reason="r", now=NOW)
    own_rate(unpriced, "2")
    start_repricing(tenant_id, draft(unpriced).id, actor="ann", now=NOW)
    with pytest.raises(RepricingRefusedError, match="is running"):
        close_books(tenant_id, date(2026, 9, 30), actor="ann", reason="r", now=NOW)


def test_another_tenant_sees_and_moves_nothing(
    unpriced: Key, make_tenant: MakeTenant, client: Client
) -> None:
    other = make_key(make_tenant().id)
    own_rate(unpriced, "2")
    run = reprice(unpriced)
    with tenant_scope(other.identity.tenant_id):
        assert list_repricings() == []
    with pytest.raises(RepricingRefusedError, match="there is no repricing"):
        undo(other, run.id)
    for path in ("/api/v1/repricings", f"/api/v1/repricings/{run.id}"):
        assert "a test" not in client.get(path, headers=other.headers).content.decode()
        assert "a test" in client.get(path, headers=unpriced.headers).content.decode()
    assert client.get(f"/api/v1/repricings/{run.id}", headers=other.headers).status_code == 404


def test_progress_is_read_over_http(unpriced: Key, client: Client) -> None:
    own_rate(unpriced, "2")
    ids = [reprice(unpriced).id]
    ids.append(undo(unpriced, ids[0]).id)
    newest = client.get("/api/v1/repricings?limit=1", headers=unpriced.headers).json()
    assert [row["id"] for row in newest["rows"]] == [ids[1]]
    older = client.get(
        f"/api/v1/repricings?before_id={newest['next_before_id']}", headers=unpriced.headers
    ).json()["rows"]
    assert [(row["id"], row["status"], row["cost_change_usd"]) for row in older] == [
        (ids[0], "undone", "0.012")
    ]
    assert older[0]["preview"]["changed"] == older[0]["changed_charges"] == 6


def test_no_key_starts_a_run(client: Client, key: Key) -> None:
    for path in ("/api/v1/repricings", "/api/v1/repricings/1"):
        assert client.post(path, {}, headers=key.headers).status_code == 405


def test_runs_stand_in_the_audit_trail(unpriced: Key) -> None:
    own_rate(unpriced, "2")
    undo(unpriced, reprice(unpriced).id)
    with tenant_scope(unpriced.identity.tenant_id), connection.cursor() as cursor:
        cursor.execute(
            "SELECT action, actor FROM tenants_auditentry WHERE action LIKE 'repricing.%%'"
            " ORDER BY id",
            [],
        )
        assert cursor.fetchall() == [
            ("repricing.started", "ann"),
            ("repricing.finished", "ann"),
            ("repricing.undo_started", "bob"),
            ("repricing.finished", "bob"),
        ]


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("UPDATE usage_repricing SET reason = 'other'", ProgrammingError),
        ("DELETE FROM usage_repricing", ProgrammingError),
        ("UPDATE usage_repricing SET status = 'paused'", IntegrityError),
        ("UPDATE usage_repricing SET status = 'draft', position = NULL", IntegrityError),
        ("UPDATE usage_repricing SET status = 'running', finished_at = NULL", IntegrityError),
        ("UPDATE usage_repricing SET cursor_id = 0", IntegrityError),
        ("UPDATE usage_repricing SET position = position + 1", IntegrityError),
    ],
)
def test_database_keeps_a_run_as_it_was(unpriced: Key, statement: str, error: Any) -> None:
    own_rate(unpriced, "2")
    reprice(unpriced)
    with (
        pytest.raises(error),
        tenant_scope(unpriced.identity.tenant_id),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
