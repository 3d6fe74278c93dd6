"""The import page: upload, columns, dry run, run, rejects; refusals, roles, walls."""

import gzip
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client

from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.usage import imports
from apps.usage.imports import ImportInfo, forget_stale_uploads, list_imports
from apps.usage.repricing import close_books
from apps.usage.tasks import continue_imports
from tests.conftest import MakeTenant
from tests.dashboards.test_pricing_page import read, words
from tests.usage.imports.tables import BEGIN, a_row, as_csv, as_ndjson, as_parquet, charges_of

SignIn = Callable[..., Client]
HX = {"HX-Request": "true"}
ROWS = [a_row(n) for n in range(6)]


def upload(client: Client, data: bytes, name: str = "usage.csv") -> Any:
    return client.post("/import/upload", {"file": SimpleUploadedFile(name, data)})


def newest(tenant: TenantInfo) -> ImportInfo:
    with tenant_scope(tenant.id):
        return list_imports()[0]


def fields_of(page: str) -> dict[str, str]:
    """What the form of the columns would post as it stands."""
    form = page[page.index('class="columns-form"') :]
    chosen = {}
    for name, options in re.findall(r'<select[^>]* name="([^"]+)"(.*?)</select>', form, re.DOTALL):
        picked = re.search(r'<option value="([^"]*)" selected', options)
        chosen[name] = picked[1] if picked else ""
    inputs = re.findall(r'<input[^>]* name="((?:fixed-|zone)[^"]*)"[^>]* value="([^"]*)"', form)
    return chosen | dict(inputs)


def chunks_of(tenant: TenantInfo) -> int:
    with tenant_scope(tenant.id), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM usage_import_chunk")
        return int(cursor.fetchone()[0])


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("usage.csv", as_csv(ROWS)),
        ("usage.csv.gz", gzip.compress(as_csv(ROWS))),
        ("usage.ndjson", as_ndjson(ROWS)),
        ("usage.parquet", as_parquet(ROWS)),
    ],
)
def test_a_file_goes_from_upload_to_charges(
    tenant: TenantInfo, sign_in: SignIn, name: str, data: bytes
) -> None:
    client = sign_in("admin")
    answer = upload(client, data, name)
    assert answer.status_code == 302
    page = read(client, answer.url)
    form = fields_of(page)
    assert form["column-0"] == "id"
    info = newest(tenant)
    post = {"import_id": str(info.id)}
    tried = client.post("/import/dry-run", post | form, headers=HX).content.decode()
    assert "every 2s" in tried
    assert "is being tried" in words(tried)
    continue_imports()
    checked = client.get(f"/import?open={info.id}", headers=HX).content.decode()
    assert "would add 6 charges, 0.00135 USD" in words(checked)
    assert "every 2s" not in checked
    assert charges_of(tenant) == []
    running = client.post("/import/start", post, headers=HX).content.decode()
    assert "is being imported" in words(running)
    continue_imports()
    done = words(read(client, f"/import?open={info.id}"))
    assert "added 6 charges, 0.00135 USD" in done
    assert len(charges_of(tenant)) == 6
    assert newest(tenant).state == "done"
    assert chunks_of(tenant) == 0


def test_a_dry_run_shows_what_is_unknown_closed_and_refused(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    month_end = BEGIN.date().replace(day=1) - timedelta(days=1)
    close_books(tenant.id, month_end, actor="test", reason="reported", now=datetime.now(UTC))
    old = datetime(month_end.year, month_end.month, 5, tzinfo=UTC)
    rows = [
        a_row(1, timestamp=old.isoformat()),
        a_row(2, model="home-grown-7b", provider="nobody", customer="=newcomer()"),
        a_row(3, output_tokens="1,5"),
    ]
    client = sign_in("admin")
    page = read(client, upload(client, as_csv(rows)).url)
    info = newest(tenant)
    client.post("/import/dry-run", {"import_id": info.id} | fields_of(page))
    continue_imports()
    said = words(read(client, f"/import?open={info.id}"))
    assert f"adds to closed months {month_end:%Y-%m}" in said
    assert "nobody/home-grown-7b 1 unpriced" in said
    assert "=newcomer() 1" in said
    assert "Comma in number in output_tokens 1" in said
    response = client.get(f"/import/{info.id}/rejects.csv")
    listed = b"".join(response.streaming_content).decode()
    assert listed.splitlines()[1].startswith("3,output_tokens,comma_in_number,")
    assert listed.splitlines()[1].endswith('"1,5"')
    assert response.headers["Content-Disposition"].startswith("attachment")


def test_columns_that_cannot_be_are_refused_with_a_sentence_and_the_form_kept(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    client = sign_in("admin")
    page = read(client, upload(client, as_csv([{"when": 1780000000, "in": 1, "out": 2}])).url)
    info = newest(tenant)
    post = {"import_id": info.id} | fields_of(page) | {"fixed-model": "gpt-4o", "zone": "Mars"}
    post |= {"column-1": "usage.input_tokens", "column-2": "usage.output_tokens"}
    refused = client.post("/import/dry-run", post, headers=HX)
    assert refused.status_code == 422
    assert "Say which column holds the time of the call." in refused.content.decode()
    refused = client.post("/import/dry-run", post | {"column-0": "timestamp"}, headers=HX)
    assert "is not an IANA time zone such as Europe/Berlin" in refused.content.decode()
    assert fields_of(refused.content.decode())["column-0"] == "timestamp"
    assert newest(tenant).state == "uploaded"
    good = post | {"column-0": "timestamp", "zone": ""}
    assert client.post("/import/dry-run", good, headers=HX).status_code == 200
    continue_imports()
    assert newest(tenant).accepted == 1


def test_a_prompt_in_a_column_is_not_shown(tenant: TenantInfo, sign_in: SignIn) -> None:
    secret = "please keep this to yourself, it is a prompt and a long one"
    client = sign_in("admin")
    page = read(client, upload(client, as_csv([a_row(1, request_body=secret)])).url)
    assert "keep this" not in page
    assert f"(text of {len(secret)} characters)" in page


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "Choose a file|The submitted file is empty|The file is empty"),
        (b"a,b\nCaf\xe9,1\n", "not UTF-8: byte 0xE9"),
        ("a,b\n1,2\n".encode("utf-16"), "not UTF-8 text"),
        (b"a,b,a\n1,2,3\n", "The heading .{0,8}a.{0,8} stands twice"),
        (b"[{}]", "write one object a line"),
        (b"PK\x03\x04rest", "a workbook or a zip"),
        (b"PAR1rest", "no Parquet file"),
        (gzip.compress(as_csv(ROWS))[:-20], "gzip is cut off or broken"),
        (b"1,2,3\n4,5,6\n", "The first line must be headings"),
    ],
)
def test_a_file_that_is_no_table_is_refused_and_not_kept(
    tenant: TenantInfo, sign_in: SignIn, data: bytes, sentence: str
) -> None:
    refused = upload(sign_in("admin"), data)
    assert refused.status_code == 422
    assert re.search(sentence, refused.content.decode())
    with tenant_scope(tenant.id):
        assert list_imports() == []
    assert chunks_of(tenant) == 0


def test_too_large_and_too_many_uploads_are_refused(
    tenant: TenantInfo, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = sign_in("admin")
    huge = client.post("/import/upload", b"", content_type="text/csv", CONTENT_LENGTH=str(2**28))
    assert huge.status_code == 413
    assert "larger than 200 MiB" in huge.content.decode()
    monkeypatch.setattr(imports, "MAX_UPLOAD_BYTES", 100)
    assert "larger than" in upload(client, as_csv(ROWS)).content.decode()
    monkeypatch.undo()
    for _ in range(imports.MAX_KEPT_UPLOADS):
        assert upload(client, as_csv(ROWS)).status_code == 302
    assert "run or discard one first" in upload(client, as_csv(ROWS)).content.decode()
    client.post("/import/discard", {"import_id": newest(tenant).id})
    assert chunks_of(tenant) == imports.MAX_KEPT_UPLOADS - 1
    assert upload(client, as_csv(ROWS)).status_code == 302


def test_an_upload_without_a_token_or_a_role_is_refused(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    admin, viewer = sign_in("admin"), sign_in("viewer")
    admin.handler.enforce_csrf_checks = True
    assert upload(admin, as_csv(ROWS)).status_code == 403
    admin.handler.enforce_csrf_checks = False
    assert upload(admin, as_csv(ROWS)).status_code == 302
    info = newest(tenant)
    assert upload(viewer, as_csv(ROWS)).status_code == 403
    for action in ("dry-run", "start", "discard"):
        assert viewer.post(f"/import/{action}", {"import_id": info.id}).status_code == 403
        assert admin.get(f"/import/{action}").status_code == 405
    page = read(viewer, f"/import?open={info.id}")
    assert "an admin or the owner makes them" in page
    assert "<form class" not in page
    assert upload(Client(), as_csv(ROWS)).status_code == 302
    with tenant_scope(tenant.id):
        assert len(list_imports()) == 1


def test_imports_of_another_organisation_are_not_there(
    tenant: TenantInfo, make_tenant: MakeTenant, sign_in: SignIn
) -> None:
    upload(sign_in("admin"), as_csv(ROWS))
    info = newest(tenant)
    stranger = sign_in("admin", make_tenant().id)
    assert info.file_name not in read(stranger, f"/import?open={info.id}")
    assert stranger.get(f"/import/{info.id}/rejects.csv").status_code == 404
    for action in ("dry-run", "start", "discard"):
        assert stranger.post(f"/import/{action}", {"import_id": info.id}).status_code == 404


def test_a_run_needs_its_dry_run(tenant: TenantInfo, sign_in: SignIn) -> None:
    client = sign_in("admin")
    upload(client, as_csv(ROWS))
    refused = client.post("/import/start", {"import_id": newest(tenant).id})
    assert "Make the dry run first." in refused.content.decode()
    assert newest(tenant).state == "uploaded"


def test_an_upload_that_breaks_midway_stops_with_what_it_had_and_goes_on(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    """A piece is lost, then found again: the run ends as if nothing had been."""
    client = sign_in("admin")
    rows = [a_row(n, user=f"{n:0>180}") for n in range(10_100)]
    page = read(client, upload(client, as_csv(rows)).url)
    info = newest(tenant)
    client.post("/import/dry-run", {"import_id": info.id} | fields_of(page))
    continue_imports()
    while newest(tenant).state == "checking":
        continue_imports()
    client.post("/import/start", {"import_id": info.id})
    take = "UPDATE usage_import_chunk SET number = number + %s WHERE number %% 1000 = 2"
    with tenant_scope(tenant.id), connection.cursor() as cursor:
        cursor.execute(take, [1000])
    while newest(tenant).state == "running":
        continue_imports()
    stopped = newest(tenant)
    assert (stopped.state, stopped.accepted) == ("failed", 5_000)
    assert "It stopped after row 5,000" in words(read(client, f"/import?open={info.id}"))
    with tenant_scope(tenant.id), connection.cursor() as cursor:
        cursor.execute(take, [-1000])
    client.post("/import/start", {"import_id": info.id})
    while newest(tenant).state == "running":
        continue_imports()
    done = newest(tenant)
    assert (done.state, done.accepted, done.duplicates) == ("done", 10_100, 0)


def test_an_upload_that_nobody_goes_on_with_is_let_go(tenant: TenantInfo, sign_in: SignIn) -> None:
    upload(sign_in("admin"), as_csv(ROWS))
    now = datetime.now(UTC)
    assert forget_stale_uploads(tenant.id, now=now + timedelta(days=6)) == 0
    assert forget_stale_uploads(tenant.id, now=now + timedelta(days=8)) == 1
    assert (newest(tenant).state, chunks_of(tenant)) == ("discarded", 0)


def test_the_help_of_the_list_is_plain_where_nothing_was_imported(sign_in: SignIn) -> None:
    assert "No file was imported yet." in read(sign_in("viewer"), "/import")


def test_a_stored_file_reads_as_the_file_it_was(tenant: TenantInfo, database: None) -> None:
    from apps.usage import import_rows
    from apps.usage.core.import_mapping import ColumnMapping
    from apps.usage.import_files import open_stored, write_chunks

    data = bytes(range(256)) * 10_000
    with tenant_scope(tenant.id):
        number = import_rows.insert_import(
            file_name="f", file_sha256="0" * 64, size_bytes=len(data), form="csv", is_upload=True,
            actor="test", mapping=ColumnMapping(), now=datetime.now(UTC),
        )  # fmt: skip
        write_chunks(number, [data[:7], data[7:]])
    file = open_stored(tenant.id, number, len(data))
    assert file.read() == data
    file.seek(1_048_570)
    assert file.read(20) == data[1_048_570:1_048_590]
    file.seek(-3, io.SEEK_END)
    assert file.read() == data[-3:]
