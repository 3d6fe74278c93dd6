"""`manage.py reprice`: correct charges of the past after a dry run, or undo a correction."""

import getpass
from datetime import UTC, date, datetime, time
from time import sleep
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apps.pricing.core.money import plain_decimal
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, get_tenant, list_tenant_ids
from apps.usage.repricing import (
    RepricingInfo,
    RepricingRefusedError,
    RepricingScope,
    get_repricing,
    preview_repricing,
    run_repricing_portion,
    start_repricing,
    undo_repricing,
)

BUSY_S = 0.05


class Command(BaseCommand):
    help = (
        "Price charges of [--from, --to) anew by today's rates: a dry run, then the run."
        " --undo ID takes a run back; --resume ID goes on with one that stopped."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--tenant", type=int, required=True, help="the tenant's id")
        parser.add_argument("--from", dest="start", help="first day, in the tenant's time zone")
        parser.add_argument("--to", dest="end", help="day after the last")
        for name in ("provider", "model", "backend", "customer"):
            parser.add_argument(f"--{name}", help=f"only this {name}'s charges")
        parser.add_argument("--only-unpriced", action="store_true")
        parser.add_argument("--reason", help="why; kept with the run and in the audit trail")
        parser.add_argument("--actor", default="", help="who; default: command line and login name")
        parser.add_argument("--include-closed", action="store_true", help="closed months also")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--dry-run", action="store_true", help="draft it and show what it does")
        what.add_argument("--undo", type=int, metavar="ID")
        what.add_argument("--resume", type=int, metavar="ID", help="run a draft, or go on")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        tenant_id = options["tenant"]
        if tenant_id not in list_tenant_ids():
            raise CommandError(f"there is no tenant {tenant_id}")
        actor = options["actor"] or f"command line ({getpass.getuser()})"
        try:
            self._reprice(tenant_id, actor, options)
        except RepricingRefusedError as error:
            raise CommandError(error.detail) from error

    def _reprice(self, tenant_id: int, actor: str, options: dict[str, Any]) -> None:
        may = {"actor": actor, "include_closed": options["include_closed"]}
        now = timezone.now()
        if options["undo"]:
            reason = options["reason"] or f"undo of repricing {options['undo']}"
            run = undo_repricing(tenant_id, options["undo"], reason=reason, now=now, **may)
            self._work(tenant_id, run)
            return
        if options["resume"]:
            self._work(tenant_id, _resume(tenant_id, options["resume"], now=now, **may))
            return
        with tenant_scope(tenant_id):
            scope = _scope(get_tenant(), options)
        draft = preview_repricing(
            tenant_id, scope, reason=options["reason"] or "", actor=actor, now=now
        )
        self._show(draft)
        if not options["dry_run"]:
            run = start_repricing(tenant_id, draft.id, now=timezone.now(), **may)
            self._work(tenant_id, run)

    def _show(self, draft: RepricingInfo) -> None:
        preview: dict[str, Any] = draft.preview or {}
        self.stdout.write(
            f"repricing {draft.id}: {preview['changed']} of {preview['charges']} charges change,"
            f" {preview['before_usd']} -> {preview['after_usd']} USD"
            f" ({preview['difference_usd']}), unpriced {preview['unpriced_before']}"
            f" -> {preview['unpriced_after']}"
        )
        for month in preview["months"]:
            self.stdout.write(
                f"  {month['month']}: {month['changed']} charges,"
                f" {month['before_usd']} -> {month['after_usd']} USD"
            )
        for what in ("customers", "departments"):
            for row in preview[what]:
                name = row["name"] or "not attributed"
                self.stdout.write(f"  {what[:-1]} {name}: {row['difference_usd']} USD")

    def _work(self, tenant_id: int, run: RepricingInfo) -> None:
        """Portion by portion. If this dies, the workers go on within seconds."""
        while run.status == "running":
            after = run_repricing_portion(tenant_id, run.id, now=timezone.now())
            if after is None:
                # A worker is at this portion; what it leaves is seen by the next try.
                sleep(BUSY_S)
            run = after or run
        self.stdout.write(
            f"repricing {run.id} {run.status}: {run.changed_charges} charges changed,"
            f" {plain_decimal(run.cost_change_usd)} USD"
        )


def _resume(tenant_id: int, repricing_id: int, **how: Any) -> RepricingInfo:
    with tenant_scope(tenant_id):
        run = get_repricing(repricing_id)
    return run if run.status == "running" else start_repricing(tenant_id, repricing_id, **how)


def _scope(tenant: TenantInfo, options: dict[str, Any]) -> RepricingScope:
    return RepricingScope(
        starts_at=_midnight(tenant, "from", options["start"]),
        ends_at=_midnight(tenant, "to", options["end"]),
        provider=options["provider"],
        model=options["model"],
        backend=options["backend"],
        customer=options["customer"],
        only_unpriced=options["only_unpriced"],
    )


def _midnight(tenant: TenantInfo, name: str, given: str | None) -> datetime:
    try:
        day = date.fromisoformat(given or "")
    except ValueError as error:
        raise CommandError(f"--{name} is a date such as 2026-11-01, not {given!r}") from error
    return datetime.combine(day, time.min, tenant.zone).astimezone(UTC)
