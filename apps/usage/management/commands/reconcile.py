"""`manage.py reconcile`: prove that the rollups hold exactly what the ledger holds."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apps.tenants.selectors import list_tenant_ids
from apps.usage.services import Reconciliation, fold_pending, reconcile_usage

DRIFTS_SHOWN = 20


class Command(BaseCommand):
    help = "Compare ledger and rollups bucket by bucket; exit 1 on drift that is not repaired."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--repair", action="store_true", help="rewrite buckets that differ")
        parser.add_argument("--tenant", type=int, help="one tenant's id; default: every tenant")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        now = timezone.now()
        tenant_ids = [options["tenant"]] if options["tenant"] else list_tenant_ids()
        dirty = 0
        for tenant_id in tenant_ids:
            while fold_pending(tenant_id, now=now):
                pass
            result = reconcile_usage(tenant_id, now=now, repair=options["repair"])
            self._report(result)
            dirty += not result.is_clean
        if dirty and not options["repair"]:
            raise CommandError(f"{dirty} of {len(tenant_ids)} tenants drift; see above (--repair)")

    def _report(self, result: Reconciliation) -> None:
        state = "zero drift" if result.is_clean else f"DRIFT in {len(result.drifts)} buckets"
        self.stdout.write(
            f"tenant {result.tenant_id}: {result.ledger_rows} events,"
            f" {result.ledger_cost_usd:f} USD, {result.pending_rows} pending: {state}"
        )
        if result.ledger_rows != result.identities:
            self.stdout.write(f"  {result.identities} identities for {result.ledger_rows} events")
        for drift in result.drifts[:DRIFTS_SHOWN]:
            self.stdout.write(
                f"  {drift.table} {drift.bucket} slice {drift.slice_id}:"
                f" ledger {drift.ledger_requests} requests {drift.ledger_cost_usd:f} USD,"
                f" rollup {drift.rollup_requests} requests {drift.rollup_cost_usd:f} USD"
            )
