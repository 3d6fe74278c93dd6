"""manage.py import_usage: bring in the usage of a file. See docs/integrations/import.md."""

import argparse
import getpass
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apps.pricing.core.money import plain_decimal
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import get_tenant, list_tenant_ids
from apps.usage.core.import_mapping import ColumnMapping
from apps.usage.core.import_preview import ImportPreview
from apps.usage.core.import_values import TIMESTAMP_FORMATS
from apps.usage.import_files import fingerprint
from apps.usage.import_readers import FORMATS
from apps.usage.import_rejects import rejects_as_csv
from apps.usage.import_rows import MAX_REJECTS
from apps.usage.imports import (
    ImportInfo,
    ImportRefusedError,
    begin_file_import,
    find_stopped,
    list_rejects,
    look_at,
    run_file_import,
    start_import,
)

SHOWN_REJECTS: Final = 10
SHOWN_NAMES: Final = 10
EXAMPLES: Final = """
examples:
  manage.py import_usage spend-logs.csv --tenant acme --dry-run
  manage.py import_usage spend-logs.csv.gz --tenant acme
  manage.py import_usage calls.parquet --tenant acme --column called_at=timestamp \\
      --column llm=model --constant provider=openai --zone Europe/Berlin
  manage.py import_usage events.ndjson --tenant acme        (native events need no mapping)
  manage.py import_usage spend-logs.csv.gz --tenant acme --resume

The first line of a CSV names its columns; what they mean is guessed from that, and shown. --column
adds to the guess, or changes it; --column NAME= leaves a column out. --map FILE takes its place:
{"columns": {"heading": "field"}, "constants": {"field": "value"}}. Rows that cannot be taken are
listed in FILE.rejects.csv. The same file twice counts once.
"""


class Command(BaseCommand):
    help = (
        "Import usage of the past from a CSV, NDJSON or Parquet file (CSV and NDJSON also as gzip)."
    )

    def create_parser(self, *args: Any, **kwargs: Any) -> Any:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        return super().create_parser(*args, epilog=EXAMPLES, **kwargs)

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--tenant", required=True, help="the tenant's short name (slug)")
        parser.add_argument("--format", choices=FORMATS, help="default: told from the file")
        parser.add_argument("--map", type=Path, help="a mapping as JSON; see below")
        for name, what in (("column", "a column's field"), ("constant", "what is in every row")):
            parser.add_argument(
                f"--{name}", action="append", default=[], metavar="NAME=VALUE", help=what
            )
        parser.add_argument("--timestamp-format", choices=TIMESTAMP_FORMATS)
        parser.add_argument("--zone", help="IANA zone of times without one, such as Europe/Berlin")
        parser.add_argument("--actor", default="", help="who; default: command line and login name")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--dry-run", action="store_true", help="judge every row, write none")
        what.add_argument("--resume", action="store_true", help="go on with a run that stopped")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        tenant_id = _tenant_id(options["tenant"])
        path: Path = options["file"]
        try:
            with path.open("rb") as raw:
                self._import(tenant_id, path, raw, options)
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}") from error
        except ImportRefusedError as refused:
            raise CommandError(refused.detail) from refused

    def _import(self, tenant_id: int, path: Path, raw: BinaryIO, options: dict[str, Any]) -> None:
        actor = options["actor"] or f"command line ({getpass.getuser()})"
        if options["resume"]:
            info = _stopped(tenant_id, raw, actor, options)
        else:
            look = look_at(raw, form=options["format"])
            mapping = _mapping(look.guess.mapping, options)
            self._show_mapping(mapping, look.guess.export)
            info = begin_file_import(
                tenant_id,
                path.name,
                raw,
                form=look.format,
                mapping=mapping,
                actor=actor,
                now=timezone.now(),
                dry_run=options["dry_run"],
            )
        done = run_file_import(
            tenant_id, info, raw, clock=timezone.now, on_progress=self._show_progress
        )
        self._show_result(done)
        self._write_rejects(tenant_id, path, done)

    def _show_mapping(self, mapping: ColumnMapping, export: str) -> None:
        if mapping.native:
            self.stdout.write("native events: taken as they stand")
            return
        if export:
            self.stdout.write(f"these are the columns of {export}")
        for heading, name in mapping.columns.items():
            self.stdout.write(f"  {heading} -> {name}")
        for name, value in mapping.constants.items():
            self.stdout.write(f"  {name} = {value} in every row")

    def _show_progress(self, info: ImportInfo) -> None:
        share = 100 * info.done_bytes // info.size_bytes
        self.stdout.write(f"import {info.id}: {info.position_row:,} rows, {min(share, 100)}%")

    def _show_result(self, info: ImportInfo) -> None:
        would = "would be " if info.state == "checked" else ""
        self.stdout.write(
            f"import {info.id} {info.state}: {info.accepted:,} rows {would}accepted,"
            f" {info.duplicates:,} duplicates, {info.rejected:,} rejected;"
            f" {plain_decimal(info.cost_usd)} USD, {info.unpriced:,} without a price"
        )
        if info.first_occurred_at and info.last_occurred_at:
            self.stdout.write(
                f"  from {info.first_occurred_at.isoformat()}"
                f" to {info.last_occurred_at.isoformat()}"
            )
        if info.state == "checked" and info.preview is not None:
            self._show_preview(info.preview)

    def _show_preview(self, preview: ImportPreview) -> None:
        for what, sums in (("month", preview.months), ("model", preview.models)):
            for name, found in sorted(sums.items())[:SHOWN_NAMES]:
                self.stdout.write(f"  {what} {name}: {found.rows:,} rows, {found.cost_usd} USD")
        for name, count in list(preview.unpriced_models.items())[:SHOWN_NAMES]:
            self.stdout.write(f"  no price for {name}: {count:,} rows")
        for name, count in list(preview.unknown_customers.items())[:SHOWN_NAMES]:
            self.stdout.write(f"  new customer {name}: {count:,} rows")

    def _write_rejects(self, tenant_id: int, path: Path, info: ImportInfo) -> None:
        """Beside the file, and the first to the screen."""
        if not info.rejected:
            return
        beside = path.with_name(path.name + ".rejects.csv")
        with beside.open("w", newline="", encoding="utf-8") as out:
            out.writelines(rejects_as_csv(tenant_id, info.id))
        with tenant_scope(tenant_id):
            first = list_rejects(info.id, limit=SHOWN_REJECTS)
        for reject in first:
            self.stdout.write(f"  row {reject.row_number}: {reject.detail}")
        listed = min(info.rejected, MAX_REJECTS)
        self.stdout.write(f"  {listed:,} of {info.rejected:,} rejected rows stand in {beside}")


def _tenant_id(slug: str) -> int:
    for tenant_id in list_tenant_ids():
        with tenant_scope(tenant_id):
            if get_tenant().slug == slug:
                return tenant_id
    raise CommandError(f"there is no tenant {slug!r}")


def _stopped(tenant_id: int, raw: BinaryIO, actor: str, options: dict[str, Any]) -> ImportInfo:
    """The run to go on with: its own mapping stands."""
    given = ("map", "column", "constant", "timestamp_format", "zone", "format")
    if any(options[name] for name in given):
        raise CommandError("--resume goes on as the run began; leave the mapping out")
    sha256, _ = fingerprint(iter(lambda: raw.read(1024 * 1024), b""))
    with tenant_scope(tenant_id):
        info = find_stopped(sha256)
    if info is None:
        raise CommandError("no run of this file stopped midway; leave --resume out")
    if info.state == "failed":
        return start_import(tenant_id, info.id, actor=actor, now=timezone.now())
    return info


def _mapping(guess: ColumnMapping, options: dict[str, Any]) -> ColumnMapping:
    if options["map"] is not None:
        try:
            guess = msgspec.json.decode(options["map"].read_bytes(), type=ColumnMapping)
        except msgspec.DecodeError as error:
            raise CommandError(f"{options['map']} is no mapping: {error}") from error
    columns, constants = _pairs(options, "column"), _pairs(options, "constant")
    if guess.native and (columns or constants):
        guess = ColumnMapping()
    # What is said replaces what was guessed for that column and for that field.
    said = {*columns.values(), *constants}
    kept = {h: f for h, f in guess.columns.items() if h not in columns and f not in said}
    defaults = {f: v for f, v in guess.constants.items() if f not in said}
    return ColumnMapping(
        columns=kept | {heading: name for heading, name in columns.items() if name},
        constants=defaults | constants,
        timestamp_format=options["timestamp_format"] or guess.timestamp_format,
        zone=options["zone"] or guess.zone,
        native=guess.native,
    )


def _pairs(options: dict[str, Any], name: str) -> dict[str, str]:
    pairs = {}
    for text in options[name]:
        # A heading may hold "="; a field does not.
        left, equals, right = text.rpartition("=") if name == "column" else text.partition("=")
        if not equals or not left:
            raise CommandError(f"--{name} is NAME=VALUE, not {text!r}")
        pairs[left] = right
    return pairs
