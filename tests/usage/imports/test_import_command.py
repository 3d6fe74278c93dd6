"""manage.py import_usage: each format to the same charges, counted once, killed and resumed."""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections

from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, list_api_keys, list_customers
from apps.usage import import_portions, imports
from apps.usage.imports import ImportInfo, list_imports, list_rejects
from apps.usage.ledger import fingerprint_of
from tests.conftest import ROOT, Key, MakeTenant, native_event, roll_up
from tests.usage.imports.tables import (
    BEGIN,
    DAY,
    WRITERS,
    a_row,
    as_csv,
    as_ndjson,
    as_parquet,
    charges_of,
    cost_of,
    run_import,
)

Post = Callable[..., dict[str, Any]]


def counts(info: ImportInfo) -> tuple[str, int, int, int]:
    return info.state, info.accepted, info.duplicates, info.rejected


@pytest.mark.parametrize("form", WRITERS)
def test_a_file_of_each_format_is_charged_once_however_often_it_comes(
    tenant: TenantInfo, tmp_path: Path, form: str
) -> None:
    data = WRITERS[form]([a_row(n) for n in range(30)])
    info, said = run_import(tenant, tmp_path, data)
    assert counts(info) == ("done", 30, 0, 0)
    assert (info.format, info.cost_usd) == (form, Decimal("0.00675"))
    assert "30 rows accepted, 0 duplicates, 0 rejected; 0.00675 USD" in said
    again, _ = run_import(tenant, tmp_path, data)
    assert counts(again) == ("done", 0, 30, 0)
    assert (cost_of(tenant), len(charges_of(tenant))) == (Decimal("0.00675"), 30)
    roll_up(tenant.id)


def test_native_events_are_taken_as_they_stand_and_meet_those_posted(
    tenant: TenantInfo, key: Key, post_events: Post, tmp_path: Path
) -> None:
    events = [native_event(tags={"team": "a"}, customer="acme") for _ in range(4)]
    post_events(events[:1])
    info, said = run_import(tenant, tmp_path, as_ndjson(events), name="events.ndjson")
    assert counts(info) == ("done", 3, 1, 0)
    assert "native events" in said
    assert post_events(events) == {"accepted": 0, "duplicates": 4, "rejected": []}
    changed = [events[0] | {"customer": "other"}]
    info, _ = run_import(tenant, tmp_path, as_ndjson(changed))
    assert counts(info) == ("done", 0, 0, 1)


def test_rows_without_an_id_count_as_often_as_they_stand_in_the_file(
    tenant: TenantInfo, tmp_path: Path
) -> None:
    """Two equal rows are two calls; the file again, or its rows in another order, are the same."""
    one, other = ({k: v for k, v in a_row(n).items() if k != "id"} for n in (1, 2))
    info, _ = run_import(tenant, tmp_path, as_csv([one, one, other]))
    assert counts(info) == ("done", 3, 0, 0)
    turned = [dict(reversed(row.items())) for row in (other, one, one)]
    info, _ = run_import(tenant, tmp_path, as_csv(turned))
    assert counts(info) == ("done", 0, 3, 0)
    info, _ = run_import(tenant, tmp_path, as_csv([one, one, one, other]))
    assert counts(info) == ("done", 1, 3, 0)


def test_a_bad_row_costs_no_good_one_and_is_listed_without_its_contents(
    tenant: TenantInfo, tmp_path: Path
) -> None:
    rows = [
        a_row(1),
        a_row(2, input_tokens="1.000,5"),
        a_row(3, timestamp="yesterday"),
        a_row(4, timestamp=(BEGIN - 400 * DAY).isoformat()),
        a_row(5, model="a secret prompt " * 30),
        a_row(6, cache_read_tokens=5000),
        a_row(7, timestamp="2026-10-01 10:00:00"),
        a_row(8),
        a_row(8, customer="another"),
    ]
    data = as_csv(rows) + b"\n,,,,,,,\n1,2\n"
    info, said = run_import(tenant, tmp_path, data)
    assert counts(info) == ("done", 2, 0, 8)
    with tenant_scope(tenant.id):
        found = {r.row_number: (r.code, r.field, r.value) for r in list_rejects(info.id)}
    assert found == {
        2: ("comma_in_number", "input_tokens", "1.000,5"),
        3: ("invalid_timestamp", "timestamp", None),
        4: ("timestamp_too_old", "timestamp", None),
        5: ("too_long", "model", None),
        6: ("cache_exceeds_input", "input_tokens", None),
        7: ("timestamp_without_zone", "timestamp", "2026-10-01 10:00:00"),
        9: ("conflict", "id", None),
        10: ("wrong_columns", None, None),
    }
    listed = (tmp_path / "usage.dat.rejects.csv").read_bytes().decode()
    assert listed.startswith("row,field,code,reason,value\r\n2,input_tokens,comma_in_number,")
    assert "secret" not in listed + said


def test_a_dry_run_says_what_the_run_then_does_and_writes_nothing(
    tenant: TenantInfo, key: Key, post_events: Post, tmp_path: Path
) -> None:
    known = a_row(0)
    post_events(
        [
            native_event(
                id="call-0",
                timestamp=known["timestamp"],
                model="gpt-4o-mini",
                customer="customer-0",
                usage={"input_tokens": 1000, "cache_read_tokens": 600, "output_tokens": 200},
            )
        ]
    )
    rows = [a_row(n) for n in range(5)] + [
        a_row(3),
        a_row(4, output_tokens=1),
        a_row(5, model="home-grown-7b", provider="nobody", customer="newcomer"),
        a_row(6, timestamp=(BEGIN - 40 * DAY).isoformat()),
        a_row(7, input_tokens="x1"),
    ]
    tried, said = run_import(tenant, tmp_path, as_csv(rows), "--dry-run")
    assert counts(tried) == ("checked", 6, 2, 2)
    assert len(charges_of(tenant)) == 1
    with tenant_scope(tenant.id):
        assert [customer.external_id for customer in list_customers()] == ["customer-0"]
    preview = tried.preview
    assert preview is not None
    assert set(preview.months) == {f"{t:%Y-%m}" for t in (BEGIN, BEGIN - 40 * DAY)}
    assert preview.unpriced_models == {"nobody/home-grown-7b": 1}
    assert preview.unknown_customers == {"customer-1": 2, "customer-2": 1, "newcomer": 1}
    assert preview.reasons == {"conflict|id": 1, "not_a_number|input_tokens": 1}
    assert "new customer newcomer: 1 rows" in said
    done, _ = run_import(tenant, tmp_path, as_csv(rows))
    assert counts(done) == ("done", 6, 2, 2)
    facts = ("cost_usd", "unpriced", "first_occurred_at", "last_occurred_at")
    assert [getattr(done, f) for f in facts] == [getattr(tried, f) for f in facts]
    assert tried.cost_usd == Decimal("0.001125")


def test_the_fingerprint_of_a_dry_run_is_what_the_ledger_writes(
    tenant: TenantInfo, key: Key, post_events: Post
) -> None:
    from apps.usage.adapters.native import parse_native

    event = native_event(tags={"b": "1", "a": "2"}, latency_ms=1.5, revenue="0.5")
    post_events(event)
    (parsed,) = parse_native(json.dumps(event).encode()).events
    with tenant_scope(tenant.id), connection.cursor() as cursor:
        cursor.execute("SELECT identity, content_hash FROM usage_identity")
        assert [(i.hex, c) for i, c in cursor.fetchall()] == [fingerprint_of(parsed)]


def test_columns_are_mapped_by_options_and_by_a_file(tenant: TenantInfo, tmp_path: Path) -> None:
    rows = [{"when": "1780000000", "llm": "gpt-4o-mini", "in": 10, "out=": 5, "team": "Café"}]
    given = ["when=timestamp", "llm=model", "in=usage.input_tokens", "out==usage.output_tokens"]
    options = [part for pair in given for part in ("--column", pair)]
    info, said = run_import(
        tenant, tmp_path, as_csv(rows), *options, "--constant", "environment=prod", "--dry-run"
    )
    assert counts(info)[1:] == (1, 0, 0)
    assert "team -> department" in said
    with pytest.raises(CommandError, match="the file has no column 'wenn'; it has when, llm"):
        run_import(tenant, tmp_path, as_csv(rows), *options, "--column", "wenn=user")
    with pytest.raises(CommandError, match="'custmer' is no field of a usage event"):
        run_import(tenant, tmp_path, as_csv(rows), *options, "--column", "team=custmer")
    with pytest.raises(CommandError, match="say which column holds the time"):
        run_import(tenant, tmp_path, as_csv(rows))
    mapping = {"columns": {"when": "timestamp", "in": "usage.input_tokens",
               "out=": "usage.output_tokens"}, "constants": {"model": "gpt-4o"}}  # fmt: skip
    (tmp_path / "map.json").write_text(json.dumps(mapping))
    info, _ = run_import(tenant, tmp_path, as_csv(rows), "--map", str(tmp_path / "map.json"))
    assert [(row[2].timestamp(), row[26]) for row in charges_of(tenant)] == [(1780000000, "gpt-4o")]


def test_times_of_a_stated_zone_are_told_from_those_of_none(
    tenant: TenantInfo, tmp_path: Path
) -> None:
    summer = f"{BEGIN:%Y}-07-01 00:30:00"
    info, _ = run_import(tenant, tmp_path, as_csv([a_row(1, timestamp=summer)]))
    assert counts(info) == ("done", 0, 0, 1)
    info, _ = run_import(
        tenant, tmp_path, as_csv([a_row(1, timestamp=summer)]), "--zone", "Europe/Berlin"
    )
    assert counts(info) == ("done", 1, 0, 0)
    assert f"{charges_of(tenant)[0][2]:%m-%d %H:%M %Z}" == "06-30 22:30 UTC"


def test_imported_charges_say_that_a_file_reported_them(tenant: TenantInfo, tmp_path: Path) -> None:
    for _ in range(2):
        run_import(tenant, tmp_path, as_csv([a_row(1)]))
    with tenant_scope(tenant.id):
        (key,) = list_api_keys()
    assert key.name == "file import"
    assert key.revoked_at is not None


def test_an_import_stays_within_its_tenant(
    tenant: TenantInfo, make_tenant: MakeTenant, tmp_path: Path
) -> None:
    info, _ = run_import(tenant, tmp_path, as_csv([a_row(1), a_row(2, model="")]))
    other = make_tenant()
    with tenant_scope(other.id):
        assert list_imports() == []
        assert list_rejects(info.id) == []
    tables = ("usage_import", "usage_import_chunk", "usage_import_reject", "usage_import_seen")
    for table in tables:
        with tenant_scope(other.id), connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {table}")
            assert cursor.fetchone() == (0,)
    info, _ = run_import(other, tmp_path, as_csv([a_row(1)]))
    assert counts(info) == ("done", 1, 0, 0)


def interrupted(tenant: TenantInfo, path: Path) -> ImportInfo:
    """The import of a process that was killed -9 once it had something written."""
    command = [sys.executable, "manage.py", "import_usage", str(path), "--tenant", tenant.slug]
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with tenant_scope(tenant.id):
                known = list_imports()
            if known and known[0].position_row:
                break
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with tenant_scope(tenant.id):
        return list_imports()[0]


@pytest.mark.parametrize("with_ids", [True, False])
@pytest.mark.parametrize("form", ["csv.gz", "parquet"])
def test_killed_midway_and_resumed_it_is_as_if_it_had_run_once(
    make_tenant: MakeTenant, tmp_path: Path, form: str, with_ids: bool
) -> None:
    rows = [a_row(n % 29_000) | {"output_tokens": 200 if n % 50 else -1} for n in range(30_000)]
    if not with_ids:
        rows = [{k: v for k, v in row.items() if k != "id"} for row in rows]
    data = (
        as_parquet(rows, row_group_size=7000) if form == "parquet" else gzip.compress(as_csv(rows))
    )
    clean, killed = make_tenant(), make_tenant()
    once, _ = run_import(clean, tmp_path, data, name="clean.dat")
    path = tmp_path / "killed.dat"
    path.write_bytes(data)
    stopped = interrupted(killed, path)
    assert stopped.state == "running"
    assert 0 < stopped.position_row < 30_000
    call_command("import_usage", str(path), "--tenant", killed.slug, "--resume")
    with tenant_scope(killed.id):
        (done,) = list_imports()
    facts = ("state", "accepted", "duplicates", "rejected", "unpriced", "cost_usd",
             "first_occurred_at", "last_occurred_at", "position_row")  # fmt: skip
    assert [getattr(done, f) for f in facts] == [getattr(once, f) for f in facts]
    assert done.accepted == (28_420 if with_ids else 29_400)
    assert charges_of(killed) == charges_of(clean)
    with tenant_scope(killed.id):
        assert len(list_rejects(done.id)) == 600


def test_only_a_run_that_stopped_is_resumed_and_one_runs_at_a_time(
    tenant: TenantInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = as_csv([a_row(n) for n in range(10)])
    with pytest.raises(CommandError, match="no run of this file stopped midway"):
        run_import(tenant, tmp_path, data, "--resume")
    with pytest.raises(CommandError, match="goes on as the run began"):
        run_import(tenant, tmp_path, data, "--resume", "--zone", "UTC")
    with pytest.raises(CommandError, match="there is no tenant 'nobody'"):
        call_command("import_usage", str(tmp_path / "usage.dat"), "--tenant", "nobody")
    monkeypatch.setattr(imports, "LOCK_PATIENCE_S", 0.5)
    other = connections.create_connection("default")
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", [0x0C05A, tenant.id])
        with pytest.raises(CommandError, match="another import of this tenant is running"):
            run_import(tenant, tmp_path, data)
        cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [0x0C05A, tenant.id])
    other.close()
    info, _ = run_import(tenant, tmp_path, data, "--resume")
    assert counts(info) == ("done", 10, 0, 0)


def test_months_before_the_ledgers_partitions_are_made(tenant: TenantInfo, tmp_path: Path) -> None:
    old = [a_row(n, timestamp=(BEGIN - timedelta(days=30 * n)).isoformat()) for n in range(12)]
    info, _ = run_import(tenant, tmp_path, as_csv(old))
    assert counts(info) == ("done", 11 + (60 + 330 < 400), 0, 0)


def test_the_helps_examples_name_options_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call_command("import_usage", "--help")
    text = capsys.readouterr().out
    used = set(re.findall(r"--[a-z-]+", text.partition("examples:")[2]))
    assert used <= set(re.findall(r"--[a-z-]+", text.partition("examples:")[0]))
    assert import_portions.ROWS_PER_PORTION == 5_000
