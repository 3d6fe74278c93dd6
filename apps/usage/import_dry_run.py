"""A dry run of an import: rows judged as the run would, and no event written. Part of imports."""

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from django.db import connection

from apps.pricing.core.money import usd_from_units
from apps.pricing.core.rating import RateBook, RateCard
from apps.pricing.selectors import current_rate_book
from apps.tenants.scoping import current_tenant_id, tenant_scope
from apps.tenants.selectors import get_tenant, list_customers
from apps.usage import import_rows as rows
from apps.usage.core.events import UsageEvent
from apps.usage.core.import_preview import ImportPreview
from apps.usage.core.rating import UNPRICED, cost_units
from apps.usage.import_portions import Portion, PortionReader, conflict, lock, record
from apps.usage.import_rows import ImportInfo, PortionSums, Reject
from apps.usage.ledger import fingerprint_of, is_same_report

Known = dict[str, int]


class DryRun:
    """What portions of one import would do, by the rates and the names of now."""

    def __init__(self, tenant_id: int, info: ImportInfo, reader: PortionReader) -> None:
        self._tenant_id = tenant_id
        self._info = info
        self._reader = reader
        self._cards: dict[tuple[str, str, str | None], RateCard | None] = {}
        with tenant_scope(tenant_id):
            self._book: RateBook = current_rate_book()
            self._zone: ZoneInfo = get_tenant().zone
            self._customers = {customer.external_id for customer in list_customers()}

    def judge(self, portion: Portion, *, now: datetime) -> None:
        """Add a portion to the preview. Raises ImportMovedError as write_portion does."""
        events = portion.parsed.events
        prints = [fingerprint_of(event) for event in events]
        with tenant_scope(self._tenant_id):
            held = lock(self._info, "checking", portion)
            known = self._known([identity for identity, _ in prints])
            new, rejects, fresh = self._sort_out(portion, prints, known)
            preview = held.preview or ImportPreview()
            sums = self._add_up(preview, [events[row] for row in new], portion, rejects)
            rows.add_seen(held.id, {identity: (1, content) for identity, content in fresh.items()})
            record(held, portion, sums, rejects, now, preview=preview)

    def _sort_out(
        self, portion: Portion, prints: Sequence[tuple[str, int]], known: Known
    ) -> tuple[list[int], list[Reject], Known]:
        """(rows that would be new, rows refused, the identities that are new)."""
        new, rejects, fresh = [], list(portion.rejects), Known()
        for row, (identity, content) in enumerate(prints):
            stands = known.get(identity, fresh.get(identity))
            if stands is None:
                new.append(row)
                fresh[identity] = content
            elif not is_same_report(stands, content):
                rejects.append(self._reader.reject_of(portion, conflict(portion.parsed, row)))
        return new, rejects, fresh

    def _known(self, identities: Sequence[str]) -> Known:
        """Contents by identity, of the ledger and of the rows before."""
        met = rows.read_seen(self._info.id, identities)
        known = {identity: content for identity, (_, content) in met.items() if content is not None}
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT identity, content_hash FROM usage_identity"
                " WHERE tenant_id = %s AND identity = ANY(%s::uuid[])",
                [current_tenant_id(), list(identities)],
            )
            return known | {identity.hex: content for identity, content in cursor.fetchall()}

    def _add_up(
        self,
        preview: ImportPreview,
        events: Sequence[UsageEvent],
        portion: Portion,
        rejects: Sequence[Reject],
    ) -> PortionSums:
        unpriced = 0
        before = int(preview.total.cost_units)
        for event in events:
            units = self._cost_units(event)
            unpriced += units == UNPRICED
            is_known = event.customer is None or event.customer in self._customers
            preview.add_row(
                event.occurred_at,
                provider=event.provider,
                model=event.model,
                cost_units=units,
                unknown_customer=None if is_known else event.customer,
                zone=self._zone,
            )
        for reject in rejects:
            preview.add_rejection(reject.code, reject.field)
        times = [event.occurred_at for event in events]
        return PortionSums(
            accepted=len(events),
            duplicates=portion.rows - len(events) - len(rejects),
            rejected=len(rejects),
            unpriced=unpriced,
            cost_usd=usd_from_units(int(preview.total.cost_units) - before),
            first_occurred_at=min(times, default=None),
            last_occurred_at=max(times, default=None),
        )

    def _cost_units(self, event: UsageEvent) -> int:
        name = (event.provider, event.model, event.requested_model)
        if name not in self._cards:
            if len(self._cards) > rows.MAX_REJECTS:
                self._cards.clear()
            self._cards[name] = self._book.resolve(*name).card
        return cost_units(
            self._cards[name],
            status=event.status,
            tokens=(
                event.uncached_input_tokens,
                event.cache_read_tokens,
                event.cache_write_5m_tokens,
                event.cache_write_1h_tokens,
                event.output_tokens,
                event.reasoning_tokens,
            ),
            meters=event.meters,
            context=event.price_context,
            at_s=event.occurred_at.timestamp(),
        )
