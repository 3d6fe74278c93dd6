"""Re-attribution: what moves, moves exactly; totals stay; through crashes, repricing and undo."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any, get_args

import pytest
from django.db import IntegrityError, connection
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.tenants.scoping import tenant_scope
from apps.usage.charges import ChargeQuery, list_charges, read_charge
from apps.usage.reattribution import (
    MoveScope,
    get_reattribution,
    list_reattributions,
    preview_reattribution,
)
from apps.usage.repricing import (
    RepricingInfo,
    RepricingRefusedError,
    close_books,
    list_repricings,
    run_repricing_portion,
    start_repricing,
)
from apps.usage.selectors import Dimension, SpendQuery, read_spend
from tests.conftest import ROOT, Key, MakeTenant, make_key, native_event, roll_up
from tests.usage.repricing_steps import (
    BEGIN,
    END,
    NOW,
    PostEvents,
    home_grown,
    is_clean,
    own_rate,
    reprice,
    rollups,
    total,
    undo,
    work,
)

DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
Sums = tuple[Any, ...]


def scope(where: dict[str, str | None] | None = None, **to: str | None) -> MoveScope:
    whom: Any = to or {"department": "search"}
    return MoveScope(BEGIN, END, where={"department": None} if where is None else where, to=whom)


def draft(key: Key, wanted: MoveScope) -> RepricingInfo:
    return preview_reattribution(
        key.identity.tenant_id, wanted, reason="a test", actor="ann", now=NOW
    )


def move(key: Key, wanted: MoveScope, limit: int = 5000, **how: Any) -> RepricingInfo:
    tenant_id = key.identity.tenant_id
    run = start_repricing(tenant_id, draft(key, wanted).id, actor="ann", now=NOW, **how)
    return work(key, run, limit)


def sums_by(key: Key, *dimensions: Dimension) -> dict[tuple[str | None, ...], Sums]:
    """By the dimensions' values: every measure of spend. Groups of nothing are not there."""
    with tenant_scope(key.identity.tenant_id):
        rows = read_spend(SpendQuery(BEGIN, END, group_by=dimensions)).rows
    return {
        tuple(row.labels[d] for d in dimensions): (
            row.cost_usd, row.requests, row.input_tokens, row.cache_read_tokens,
            row.cache_write_tokens, row.output_tokens, row.unpriced_requests,
            row.revenue_usd, row.conversions,
        )
        for row in rows
    }  # fmt: skip


def measures(key: Key) -> tuple[Any, ...]:
    """Every measure of every rollup, in all."""
    found = []
    with tenant_scope(key.identity.tenant_id), connection.cursor() as cursor:
        for name in ("minute", "quarter_hour", "day"):
            cursor.execute(
                "SELECT sum(requests), sum(uncached_input_tokens), sum(cache_read_tokens),"
                " sum(cache_write_5m_tokens), sum(cache_write_1h_tokens), sum(output_tokens),"
                " sum(reasoning_tokens), sum(cost_usd), sum(unpriced_requests), sum(revenue_usd),"
                " sum(conversions), sum(latency_ms_sum), sum(latency_count)"
                f" FROM usage_rollup_{name}"
            )
            found += cursor.fetchall()
    return tuple(found)


@pytest.fixture
def mixed(key: Key, post_events: PostEvents) -> Key:
    """Three months; with and without a department; one model has no price."""
    post_events(
        [
            native_event(
                user="ann" if n % 2 else "bob",
                department=None if n % 3 else "support",
                customer="acme" if n % 4 else None,
                project="chat",
                latency_ms=100 + n,
                revenue="0.01",
                converted=n % 2 == 0,
                tags={"team": "red" if n % 2 else "blue"},
                timestamp=(NOW - timedelta(days=31 * (n // 4), hours=n)).isoformat(),
            )
            for n in range(12)
        ]
        + [home_grown(user="ann"), home_grown(department="support")]
    )
    return key


MOVED = ("department", "department_tree")


def test_unattributed_usage_goes_to_a_department_and_totals_stay(mixed: Key) -> None:
    before, whole = sums_by(mixed, "department"), measures(mixed)
    others = {d: sums_by(mixed, d) for d in DIMENSIONS if d not in MOVED}
    run = move(mixed, scope())
    after = sums_by(mixed, "department")
    assert after == {("search",): before[None,], ("support",): before["support",]}
    assert (run.status, run.changed_charges) == ("done", before[None,][1])
    assert run.cost_change_usd == before[None,][0]
    assert measures(mixed) == whole
    assert {d: sums_by(mixed, d) for d in DIMENSIONS if d not in MOVED} == others
    assert is_clean(mixed)


@pytest.mark.parametrize(
    ("where", "moved"),
    [
        ({}, 14),
        ({"user": "ann"}, 7),
        ({"user": None}, 1),
        ({"model": "home-grown"}, 2),
        ({"provider": "openai", "customer": None}, 3),
        ({"customer": "acme", "department": "support"}, 3),
        ({"department": "SUPPORT"}, 5),
        ({"project": None}, 2),
        ({"tag": "team=red"}, 6),
        ({"source": "default"}, 14),
        ({"source": "elsewhere"}, 0),
    ],
)
def test_filters_narrow_and_the_dry_run_says_what_the_run_does(
    mixed: Key, where: dict[str, str | None], moved: int
) -> None:
    wanted = scope(where, customer="zoo", task="t")
    dry = draft(mixed, wanted).preview
    before = rollups(mixed)
    assert dry is not None
    assert dry["changed"] == moved
    assert rollups(mixed) == before
    run = move(mixed, wanted, limit=3)
    after = sums_by(mixed, "customer", "task").get(("zoo", "t"), (Decimal(0), 0))
    assert (run.changed_charges, after[1]) == (moved, moved)
    assert Decimal(dry["moved_usd"]) == after[0] == run.cost_change_usd
    assert sum(m["changed"] for m in dry["months"]) == moved
    assert sum(f["changed"] for f in dry["flows"]) == moved
    assert all(f["to"] == {"customer": "zoo", "task": "t"} for f in dry["flows"])
    assert is_clean(mixed)


def test_a_keys_usage_is_assigned(mixed: Key, client: Client) -> None:
    other = make_key(mixed.identity.tenant_id)
    client.post(
        "/api/v1/usage/events", [native_event()], content_type="application/json",
        headers=other.headers,
    )  # fmt: skip
    roll_up(mixed.identity.tenant_id)
    assert move(mixed, scope({"key": str(other.identity.api_key_id)})).changed_charges == 1


def test_what_belongs_there_already_is_left(mixed: Key) -> None:
    assert move(mixed, scope({}, department="Support")).changed_charges == 9
    assert move(mixed, scope({}, department="support")).changed_charges == 0
    assert set(sums_by(mixed, "department")) == {("support",)}


def test_usage_can_be_made_unattributed_again(mixed: Key) -> None:
    move(mixed, scope({"department": "support"}, department=None))
    assert set(sums_by(mixed, "department")) == {(None,)}


CHOICES = st.lists(
    st.tuples(
        st.sampled_from(["customer", "department", "project", "environment", "task"]),
        st.sampled_from([None, "a", "b"]),
        st.sampled_from(["customer", "department", "project", "environment", "task"]),
        st.sampled_from([None, "a", "b"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(choices=CHOICES, seed=st.integers(0, 1000))
def test_any_moves_keep_totals_and_move_exactly(
    make_tenant: MakeTenant, client: Client, choices: list[Any], seed: int
) -> None:
    """Against a model: each event with its names, moved by hand."""
    key = make_key(make_tenant(time_zone="Asia/Kathmandu").id)
    rng = random.Random(seed)
    targets: tuple[Dimension, ...] = ("customer", "department", "project", "environment", "task")
    names = [{t: rng.choice([None, "a", "b"]) for t in targets} for _ in range(8)]
    response = client.post(
        "/api/v1/usage/events",
        [
            native_event(
                **{k: v for k, v in one.items() if v},
                timestamp=(NOW - timedelta(hours=5 * n)).isoformat(),
            )
            for n, one in enumerate(names)
        ],
        content_type="application/json",
        headers=key.headers,
    )
    assert response.status_code == 200
    roll_up(key.identity.tenant_id)
    whole = measures(key)
    ever = {t: {one[t] for one in names} for t in targets}
    for where, value, target, name, undone in choices:
        wanted = scope({where: value}, **{target: name})
        if where in ("customer", "department") and value and value not in ever[where]:
            with pytest.raises(RepricingRefusedError, match="there is no"):
                draft(key, wanted)
            continue
        run = move(key, wanted, limit=3)
        if any(one[where] == value for one in names):
            ever[target].add(name)
        before = [dict(one) for one in names]
        for one in names:
            if one[where] == value:
                one[target] = name
        if undone:
            undo(key, run.id)
            names = before
        counted = Counter(tuple(one[t] for t in targets) for one in names)
        assert {g: s[1] for g, s in sums_by(key, *targets[:4], "task").items()} == counted
        assert {g: s[0] for g, s in sums_by(key, *targets).items()} == {
            g: n * Decimal("0.000225") for g, n in counted.items()
        }
        assert measures(key) == whole
        assert is_clean(key)


def test_a_moved_charge_is_repriced_where_it_now_belongs(mixed: Key) -> None:
    move(mixed, scope({"model": "home-grown"}, department="lab"))
    assert sums_by(mixed, "department")["lab",][6] == 2
    own_rate(mixed, "2")
    run = reprice(mixed)
    spend = sums_by(mixed, "department")
    assert (spend["lab",][0], spend["lab",][6]) == (2 * Decimal("0.002"), 0)
    assert run.preview is not None
    assert [(d["name"], d["changed"]) for d in run.preview["departments"]] == [("lab", 2)]
    assert is_clean(mixed)
    undo(mixed, run.id)
    assert sums_by(mixed, "department")["lab",][6] == 2
    assert is_clean(mixed)


def test_a_repriced_charge_moves_with_all_it_has_come_to(mixed: Key) -> None:
    own_rate(mixed, "2")
    reprice(mixed)
    move(mixed, scope({"model": "home-grown"}, department="lab"))
    spend = sums_by(mixed, "department")
    assert (spend["lab",][0], spend["lab",][6]) == (2 * Decimal("0.002"), 0)
    assert is_clean(mixed)


def test_moves_and_repricings_are_undone_in_any_order(mixed: Key) -> None:
    """Each kind newest first among its own; what the other did meanwhile stays right."""
    start = sums_by(mixed, "department", "model")
    moved = move(mixed, scope({"model": "home-grown"}, department="lab"))
    own_rate(mixed, "2")
    priced = reprice(mixed)
    again = move(mixed, scope({"department": "lab"}, department="attic"))
    with pytest.raises(RepricingRefusedError, match=f"undo {again.id} first"):
        undo(mixed, moved.id)
    undo(mixed, again.id)
    undo(mixed, moved.id)
    spend = sums_by(mixed, "department", "model")
    assert spend[None, "home-grown"][0] == spend["support", "home-grown"][0] == Decimal("0.002")
    redo = move(mixed, scope({"model": "home-grown"}, department="lab"))
    undo(mixed, priced.id)
    assert sums_by(mixed, "department")["lab",][6] == 2
    undo(mixed, redo.id)
    assert sums_by(mixed, "department", "model") == start
    assert is_clean(mixed)
    with tenant_scope(mixed.identity.tenant_id):
        assert [r.status for r in list_repricings()] == ["done", "undone"]


def test_readers_see_whole_sums_after_every_portion(mixed: Key) -> None:
    whole = total(mixed)
    tenant_id = mixed.identity.tenant_id
    run = start_repricing(tenant_id, draft(mixed, scope()).id, actor="ann", now=NOW)
    while run.status == "running":
        after = run_repricing_portion(tenant_id, run.id, now=NOW, limit=2)
        assert after is not None
        run = after
        assert is_clean(mixed)
        roll_up(tenant_id)
        assert total(mixed) == whole
        assert is_clean(mixed)


PORTIONS = """
import django, os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "costboard.settings")
django.setup()
from django.utils import timezone
from apps.usage.repricing import run_repricing_portion
while True:
    run = run_repricing_portion(int(sys.argv[1]), int(sys.argv[2]), now=timezone.now(), limit=1)
    print(run.changed_charges if run else "", flush=True)
    if run and run.status != "running":
        break
"""


def test_kill_9_in_the_middle_of_a_run_loses_and_doubles_nothing(
    key: Key, post_events: PostEvents
) -> None:
    post_events([native_event(user=str(n)) for n in range(60)])
    whole = measures(key)
    tenant_id = key.identity.tenant_id
    run = start_repricing(tenant_id, draft(key, scope()).id, actor="ann", now=NOW)
    arguments = [sys.executable, "-c", PORTIONS, str(tenant_id), str(run.id)]
    for kill_after in (3, 5, 9):
        with subprocess.Popen(
            arguments, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for _ in range(kill_after):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
        assert is_clean(key)
        roll_up(tenant_id)
        assert is_clean(key)
        assert measures(key) == whole
    with tenant_scope(tenant_id):
        halfway = get_reattribution(run.id)
    assert halfway.status == "running"
    assert 17 <= halfway.changed_charges < 60
    deadline = time.monotonic() + 60
    while halfway.status == "running" and time.monotonic() < deadline:
        halfway = work(key, halfway)
    assert (halfway.status, halfway.changed_charges) == ("done", 60)
    assert set(sums_by(key, "department")) == {("search",)}
    assert measures(key) == whole
    assert is_clean(key)


def test_undo_restores_every_number_and_can_be_undone(mixed: Key) -> None:
    before = sums_by(mixed, "department", "customer")
    run = move(mixed, scope(customer="zoo", department="search"))
    moved = sums_by(mixed, "department", "customer")
    back = undo(mixed, run.id)
    assert (back.changed_charges, back.cost_change_usd) == (
        run.changed_charges, run.cost_change_usd
    )  # fmt: skip
    assert sums_by(mixed, "department", "customer") == before
    undo(mixed, back.id)
    assert sums_by(mixed, "department", "customer") == moved
    assert is_clean(mixed)


def test_closed_months_move_only_when_an_admin_says_so(mixed: Key) -> None:
    tenant_id = mixed.identity.tenant_id
    month_end = NOW.date().replace(day=1) - timedelta(days=1)
    close_books(tenant_id, month_end, actor="ann", reason="reported", now=NOW)
    drafted = draft(mixed, scope())
    with pytest.raises(RepricingRefusedError, match="closed for") as refused:
        start_repricing(tenant_id, drafted.id, actor="ann", now=NOW)
    assert refused.value.field == "include_closed"
    run = start_repricing(tenant_id, drafted.id, actor="ann", now=NOW, include_closed=True)
    assert work(mixed, run).status == "done"


def test_one_correction_at_a_time_and_no_stale_draft(mixed: Key) -> None:
    tenant_id = mixed.identity.tenant_id
    first, second = draft(mixed, scope()), draft(mixed, scope())
    run = start_repricing(tenant_id, first.id, actor="ann", now=NOW)
    with pytest.raises(RepricingRefusedError, match=f"re-attribution {run.id} is running"):
        reprice(mixed)
    work(mixed, run)
    with pytest.raises(RepricingRefusedError, match="another correction ran"):
        start_repricing(tenant_id, second.id, actor="ann", now=NOW)


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (scope({"colour": "red"}), "where"),
        (scope({"model": None}), "model"),
        (scope({"key": "x"}), "key"),
        (scope({"tag": "red"}), "tag"),
        (scope({"customer": "nobody"}), "customer"),
        (scope({}, department=""), "to_department"),
        (scope({}, department="x" * 101), "to_department"),
        (MoveScope(BEGIN, END, {}, {}), "to"),
        (MoveScope(END, BEGIN, {}, {"task": "t"}), "ends_at"),
    ],
)
def test_what_cannot_be_moved_is_refused_by_its_field(
    mixed: Key, wanted: MoveScope, field: str
) -> None:
    with pytest.raises(RepricingRefusedError) as refused:
        draft(mixed, wanted)
    assert refused.value.field == field


def test_a_charge_says_where_it_belongs_and_who_moved_it(mixed: Key) -> None:
    run = move(mixed, scope({"department": "support"}, department="lab"))
    query = ChargeQuery(start=BEGIN, end=END, department="lab")
    with tenant_scope(mixed.identity.tenant_id):
        charges = list_charges(query)
        assert list_charges(ChargeQuery(start=BEGIN, end=END, department="support")) == []
        assert {c.department for c in charges} == {"lab"}
        assert len(charges) == run.changed_charges
        one = read_charge(charges[0].id)
    assert one is not None
    assert (one.department, one.cost_usd) == ("lab", charges[0].cost_usd)


def test_another_tenant_sees_and_moves_nothing(
    mixed: Key, make_tenant: MakeTenant, client: Client
) -> None:
    other = make_key(make_tenant().id)
    run = move(mixed, scope())
    assert draft(other, scope({})).preview["charges"] == 0  # type: ignore[index]
    with tenant_scope(other.identity.tenant_id):
        assert [r.id for r in list_reattributions() if r.id == run.id] == []
        with pytest.raises(RepricingRefusedError, match="there is no"):
            get_reattribution(run.id)
    with pytest.raises(RepricingRefusedError, match="there is no"):
        undo(other, run.id)


def test_database_keeps_the_halves_of_a_move_in_order(mixed: Key) -> None:
    move(mixed, scope())
    with (
        pytest.raises(IntegrityError),
        tenant_scope(mixed.identity.tenant_id),
        connection.cursor() as cursor,
    ):
        cursor.execute(
            "INSERT INTO usage_ledger (tenant_id, id, occurred_at, received_at, kind,"
            " corrects_id, repricing_id, request_change, slice_id, source, event_id,"
            " uncached_input_tokens, cache_read_tokens, cache_write_5m_tokens,"
            " cache_write_1h_tokens, output_tokens, reasoning_tokens, cost_usd, rate_revision)"
            " SELECT tenant_id, id + 60000, occurred_at, received_at, 2, corrects_id,"
            " repricing_id, 1, slice_id, 'x', 'y', -1, 0, 0, 0, 0, 0, 0, 0 FROM usage_ledger"
            " WHERE kind = 2 LIMIT 1"
        )
