"""Reading charges for repricing: in portions, at their effective cost, priced anew by one rate
book. Part of repricing."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db import connection

from apps.pricing.core.rating import RateBook, RateCard
from apps.pricing.selectors import list_backends, rate_book_as_of
from apps.tenants.scoping import current_tenant_id
from apps.usage.core.rating import cost_units
from apps.usage.core.repricing import units_from_usd
from apps.usage.repricing_rows import RepricingInfo

MAX_CACHED: Final = 200_000

# Rows are taken by id whatever they are, so that a portion's work has a bound; the next statement
# keeps what is in scope. Whole months of the ledger, so that other partitions are not opened.
SCAN = """
SELECT max(id), count(*) FROM (
    SELECT id FROM usage_ledger
    WHERE tenant_id = %(tenant_id)s AND id > %(after_id)s AND id <= %(through_id)s
        AND occurred_at >= %(months_start)s AND occurred_at < %(months_end)s
    ORDER BY id LIMIT %(limit)s
) AS scanned
"""
CHARGES = """
SELECT id, occurred_at, slice_id, requested_model, uncached_input_tokens, cache_read_tokens,
    cache_write_5m_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens, meters,
    price_context, cost_usd
FROM usage_ledger
WHERE tenant_id = %(tenant_id)s AND id > %(after_id)s AND id <= %(last_id)s AND kind = 0
    AND occurred_at >= %(starts_at)s AND occurred_at < %(ends_at)s {narrowing}
ORDER BY id
"""
ADJUSTMENTS = """
SELECT corrects_id, sum(cost_usd), sum(unpriced_change)
FROM usage_ledger
WHERE tenant_id = %(tenant_id)s AND kind = 1
    AND corrects_id > %(after_id)s AND corrects_id <= %(last_id)s
    AND occurred_at >= %(months_start)s AND occurred_at < %(months_end)s
GROUP BY 1
"""
# The newest of each charge's moves says where it belongs.
MOVED = """
SELECT DISTINCT ON (corrects_id) corrects_id, slice_id
FROM usage_ledger
WHERE tenant_id = %(tenant_id)s AND kind = 2 AND request_change = 1
    AND corrects_id > %(after_id)s AND corrects_id <= %(last_id)s
    AND occurred_at >= %(months_start)s AND occurred_at < %(months_end)s
ORDER BY corrects_id, id DESC
"""
SLICES = """
SELECT id, provider, model, backend_id, api_key_id, customer_id, department_id, project,
    environment, task, status
FROM usage_slice WHERE tenant_id = %s AND id = ANY(%s)
"""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which charges: as RepricingScope has them, by ids, and up to a ledger id."""

    starts_at: datetime
    ends_at: datetime
    provider: str | None
    model: str | None
    backend_id: int | None
    customer_id: int | None
    only_unpriced: bool
    through_id: int


def selection_of(run: RepricingInfo) -> Selection:
    return Selection(
        starts_at=run.starts_at,
        ends_at=run.ends_at,
        provider=run.provider,
        model=run.model,
        backend_id=run.backend_id,
        customer_id=run.customer_id,
        only_unpriced=run.only_unpriced,
        through_id=run.through_id,
    )


@dataclass(frozen=True, slots=True)
class ChargeSlice:
    """What a slice says of its charges."""

    provider: str
    model: str
    backend_id: int
    api_key_id: int
    customer_id: int | None
    department_id: int | None
    project: str | None
    environment: str | None
    task: str | None
    status: str


@dataclass(frozen=True, slots=True)
class PricedCharge:
    """A charge in scope, where it belongs by now: its effective cost (0 while unpriced is 1), and
    its cost by the book.

    Costs in 1e-24 USD; new_units is -1 when the book has no price.
    """

    id: int
    occurred_at: datetime
    slice_id: int
    place: ChargeSlice
    before_units: int
    unpriced: int
    new_units: int


@dataclass(frozen=True, slots=True)
class Portion:
    """Charges in scope among the next rows of the ledger. `last_id`: where to go on from."""

    charges: Iterator[PricedCharge]
    last_id: int
    is_last: bool


class Places:
    """What the tenant's slices say of their charges; remembered, within a bound."""

    def __init__(self) -> None:
        self._places: dict[int, ChargeSlice] = {}

    def read(self, slice_ids: set[int]) -> Mapping[int, ChargeSlice]:
        """At least these; the tenant in scope's."""
        if len(self._places) > MAX_CACHED:
            self._places.clear()
        missing = slice_ids - self._places.keys()
        if missing:
            with connection.cursor() as cursor:
                cursor.execute(SLICES, [current_tenant_id(), list(missing)])
                self._places.update({row[0]: ChargeSlice(*row[1:]) for row in cursor.fetchall()})
        return self._places


class Pricer:
    """One rate book over one tenant's slices. Cards are remembered, within a bound."""

    def __init__(self, book: RateBook) -> None:
        self.book = book
        self._places = Places()
        self._cards: dict[tuple[int, str | None], RateCard | None] = {}
        self._backends: dict[int, tuple[str, str, str]] = {}

    def read_places(self, slice_ids: set[int]) -> Mapping[int, ChargeSlice]:
        if len(self._cards) > MAX_CACHED:
            self._cards.clear()
        return self._places.read(slice_ids)

    def card_of(self, slice_id: int, requested_model: str | None) -> RateCard | None:
        key = (slice_id, requested_model)
        try:
            return self._cards[key]
        except KeyError:
            place = self._places.read({slice_id})[slice_id]
            card = self._cards[key] = self._resolve(place, requested_model)
            return card

    def _resolve(self, place: ChargeSlice, requested_model: str | None) -> RateCard | None:
        named = self.book.resolve(place.provider, place.model, requested_model)
        if named.card is not None and named.source != "default":
            return named.card
        # The slice has the provider as ingest understood it: a gateway's own way of writing the
        # model may no longer be readable beside it. The backend's canonical name is.
        key, provider, model = self._backend(place.backend_id)
        if key == f"{provider}/{model}":
            listed = self.book.resolve_listed(provider, model)
            if listed.card is not None and listed.source != "default":
                return listed.card
        return named.card

    def _backend(self, backend_id: int) -> tuple[str, str, str]:
        if backend_id not in self._backends:
            self._backends = {b.id: (b.key, b.provider, b.model) for b in list_backends()}
        return self._backends[backend_id]


def pricer_at(revision: int) -> Pricer:
    """By what was believed at that revision; the tenant in scope's."""
    return Pricer(rate_book_as_of(revision))


@dataclass(frozen=True, slots=True)
class LedgerRows:
    """Charges among the next rows of the ledger, as CHARGES has them, and what corrected them.

    `adjusted`: by charge, the units added and the change in unpriced requests; `moved`: the slice
    a charge has been moved to. `last_id`: where to go on from.
    """

    rows: list[tuple[Any, ...]]
    adjusted: Mapping[int, tuple[int, int]]
    moved: Mapping[int, int]
    last_id: int
    is_last: bool

    def effective(self, row: tuple[Any, ...]) -> tuple[int, int, int]:
        """(slice_id, cost in 1e-24 USD, unpriced 0 or 1) of a charge by now."""
        charge_id, cost_usd = row[0], row[12]
        added_units, unpriced_change = self.adjusted.get(charge_id, (0, 0))
        units = added_units + (0 if cost_usd is None else units_from_usd(cost_usd))
        return self.moved.get(charge_id, row[2]), units, (cost_usd is None) + unpriced_change


def read_ledger_rows(
    starts_at: datetime,
    ends_at: datetime,
    *,
    through_id: int,
    after_id: int,
    limit: int,
    narrowing: str = "",
    values: Mapping[str, Any] | None = None,
) -> LedgerRows:
    """The next `limit` rows of the ledger after an id; of these, the charges of the range.

    `narrowing`: more conditions on the rows, with their `values`.
    """
    parameters: dict[str, Any] = {
        **(values or {}),
        "tenant_id": current_tenant_id(),
        "after_id": after_id,
        "through_id": through_id,
        "limit": limit,
        "starts_at": starts_at,
        "ends_at": ends_at,
        **whole_months(starts_at, ends_at),
    }
    with connection.cursor() as cursor:
        cursor.execute(SCAN, parameters)
        last_id, scanned = cursor.fetchone()
        if not scanned:
            return LedgerRows([], {}, {}, after_id, is_last=True)
        parameters["last_id"] = last_id
        cursor.execute(CHARGES.format(narrowing=narrowing), parameters)
        rows = cursor.fetchall()
        cursor.execute(ADJUSTMENTS, parameters)
        adjusted = {row[0]: (units_from_usd(row[1]), int(row[2])) for row in cursor.fetchall()}
        cursor.execute(MOVED, parameters)
        moved = dict(cursor.fetchall())
    return LedgerRows(rows, adjusted, moved, last_id, is_last=scanned < limit)


def read_portion(pricer: Pricer, chosen: Selection, *, after_id: int, limit: int) -> Portion:
    """The next `limit` ledger rows after an id; of these, the charges chosen."""
    found = read_ledger_rows(
        chosen.starts_at,
        chosen.ends_at,
        through_id=chosen.through_id,
        after_id=after_id,
        limit=limit,
    )
    pricer.read_places({row[2] for row in found.rows} | set(found.moved.values()))
    return Portion(_price(pricer, chosen, found), found.last_id, is_last=found.is_last)


def _price(pricer: Pricer, chosen: Selection, found: LedgerRows) -> Iterator[PricedCharge]:
    places = pricer.read_places(set())
    for row in found.rows:
        slice_id, before_units, unpriced = found.effective(row)
        place = places[slice_id]
        if not _is_in_scope(chosen, place) or (chosen.only_unpriced and not unpriced):
            continue
        yield PricedCharge(
            id=row[0],
            occurred_at=row[1],
            slice_id=slice_id,
            place=place,
            before_units=before_units,
            unpriced=unpriced,
            new_units=_cost_units(pricer, place, slice_id, row),
        )


def _is_in_scope(chosen: Selection, place: ChargeSlice) -> bool:
    return (
        (chosen.provider is None or place.provider == chosen.provider)
        and (chosen.model is None or place.model == chosen.model)
        and (chosen.backend_id is None or place.backend_id == chosen.backend_id)
        and (chosen.customer_id is None or place.customer_id == chosen.customer_id)
    )


def _cost_units(pricer: Pricer, place: ChargeSlice, slice_id: int, row: tuple[Any, ...]) -> int:
    """As ingest rates an event: the same rates give the same digits."""
    _, occurred_at, _, requested_model = row[:4]
    meters, context = (json.loads(text) if text else {} for text in row[10:12])
    return cost_units(
        pricer.card_of(slice_id, requested_model),
        status=place.status,
        tokens=row[4:10],
        meters=meters,
        context=context,
        at_s=occurred_at.timestamp(),
    )


def whole_months(starts_at: datetime, ends_at: datetime) -> dict[str, datetime]:
    """The months of the ledger that hold [starts_at, ends_at), as parameters of a statement."""
    last = _month_start(ends_at)
    return {
        "months_start": _month_start(starts_at),
        "months_end": _month_start(last + timedelta(days=32)),
    }


def _month_start(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
