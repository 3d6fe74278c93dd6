"""Interning of dimension combinations: what an event is about, as one id. Part of services."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

from django.db import connection

from apps.pricing.core.rating import RateBook, RateCard, ResolvedBackend
from apps.pricing.services import ensure_backends
from apps.tenants.scoping import current_tenant_id
from apps.tenants.services import ensure_customers, ensure_departments
from apps.usage.core.attribution import Target
from apps.usage.core.events import UsageEvent
from apps.usage.facets import COLUMNS, FACETS, facet_column, facet_digest

# An event's dimensions as reported, with the key that reported them. A plain tuple: it is built
# and hashed for each event.
Dimensions = tuple[
    int,  # api_key_id
    str,  # provider
    str,  # model
    str | None,  # requested_model
    str | None,  # backend
    str | None,  # customer
    str | None,  # department
    str | None,  # project
    str | None,  # environment
    str | None,  # task
    str,  # status
]
MAX_CACHED_SLICES = 200_000


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """Where an event's row belongs, and the card that prices it (None: unpriced)."""

    id: int
    card: RateCard | None


_FIELDS: Final = attrgetter(
    "provider",
    "model",
    "requested_model",
    "backend",
    "customer",
    "department",
    "project",
    "environment",
    "task",
    "status",
)


def dimensions_of(event: UsageEvent, api_key_id: int) -> Dimensions:
    return (api_key_id, *_FIELDS(event))


# Where `dimensions_of` puts what attribution may name.
_PLACE_OF: Mapping[Target, int] = {
    "customer": 5, "department": 6, "project": 7, "environment": 8, "task": 9,
}  # fmt: skip


def with_names(dims: Dimensions, names: Mapping[Target, str]) -> Dimensions:
    if not names:
        return dims
    changed: list[Any] = list(dims)
    for target, name in names.items():
        changed[_PLACE_OF[target]] = name
    return tuple(changed)


class SliceCache:
    """This process's slices. Ids never change; cards do, with the rate book's revision."""

    def __init__(self) -> None:
        self._by_tenant: dict[int, tuple[int, dict[Dimensions, Slice]]] = {}

    def of(self, tenant_id: int, revision: int) -> dict[Dimensions, Slice]:
        known = self._by_tenant.get(tenant_id)
        if known is None or known[0] != revision or len(known[1]) > MAX_CACHED_SLICES:
            known = (revision, {})
            self._by_tenant[tenant_id] = known
        return known[1]


def intern_slices(
    missing: set[Dimensions], book: RateBook, *, now: datetime
) -> dict[Dimensions, Slice]:
    """Slices of dimensions not seen by this process; new ones are written.

    Runs in a transaction of its own, before the events': a slice id that is cached must exist.
    """
    backends = {dims: _backend_of(dims, book) for dims in missing}
    backend_ids = ensure_backends(backends.values(), now=now)
    customer_ids = ensure_customers({d[5] for d in missing if d[5] is not None}, now=now)
    department_ids = ensure_departments({d[6] for d in missing if d[6] is not None}, now=now)
    rows = {
        dims: (
            backend_ids[backends[dims].key],
            backends[dims].provider,
            dims[2],
            dims[0],
            customer_ids[dims[5]] if dims[5] is not None else None,
            department_ids[dims[6]] if dims[6] is not None else None,
            dims[7],
            dims[8],
            dims[9],
            dims[10],
        )
        for dims in missing
    }
    ids = write_slices(set(rows.values()))
    return {dims: Slice(ids[row], backends[dims].card) for dims, row in rows.items()}


def _backend_of(dims: Dimensions, book: RateBook) -> ResolvedBackend:
    resolved = book.resolve(dims[1], dims[2], dims[3])
    if dims[4] is None or dims[4] == resolved.key:
        return resolved
    # The router names its deployment; the price is still that of the model.
    return ResolvedBackend(
        key=dims[4],
        provider=resolved.provider,
        model=resolved.model,
        kind=resolved.kind,
        card=resolved.card,
        source=resolved.source,
    )


SliceRow = tuple[
    int, str, str, int, int | None, int | None, str | None, str | None, str | None, str
]


_TYPES: Final = {"backend_id": "bigint", "api_key_id": "bigint", "customer_id": "bigint",
                 "department_id": "bigint"}  # fmt: skip
_UNNESTED: Final = ", ".join(f"%({c})s::{_TYPES.get(c, 'text')}[]" for c in COLUMNS)
_DIGESTS: Final = ", ".join(f"{facet_digest(facet, 'one')} AS {facet}_digest" for facet in FACETS)
_GIVEN: Final = f"""WITH given AS MATERIALIZED (
    SELECT one.*, {_DIGESTS} FROM unnest(%(digest)s::uuid[], {_UNNESTED})
        AS one (digest, {", ".join(COLUMNS)})
)"""
_COARSE: Final = [
    f"""{_GIVEN} INSERT INTO usage_coarse_slice (tenant_id, facet, digest, {", ".join(columns)})
    SELECT DISTINCT %(tenant_id)s::bigint, '{facet}', {facet}_digest, {", ".join(columns)}
    FROM given ORDER BY 3 ON CONFLICT DO NOTHING"""
    for facet, columns in FACETS.items()
]
# One look at the index for each: joined, PostgreSQL may choose to compare all with all.
_COARSE_IDS: Final = ", ".join(
    f"(SELECT id FROM usage_coarse_slice AS c WHERE c.tenant_id = %(tenant_id)s"
    f" AND c.facet = '{facet}' AND c.digest = given.{facet}_digest)"
    for facet in FACETS
)
_FINE: Final = f"""{_GIVEN} INSERT INTO usage_slice (tenant_id, digest, {", ".join(COLUMNS)},
    {", ".join(map(facet_column, FACETS))})
SELECT %(tenant_id)s, digest, {", ".join(COLUMNS)}, {_COARSE_IDS}
FROM given ORDER BY digest ON CONFLICT DO NOTHING"""


def write_slices(rows: set[SliceRow]) -> dict[SliceRow, int]:
    """Intern combinations, and the coarse slices that they belong to."""
    tenant_id = current_tenant_id()
    by_digest = {_digest(row): row for row in rows}
    with connection.cursor() as cursor:
        known = _known(cursor, tenant_id, list(by_digest))
        missing = {digest: row for digest, row in by_digest.items() if digest not in known}
        if missing:
            arrays = dict(zip(COLUMNS, map(list, zip(*missing.values(), strict=True)), strict=True))
            parameters: dict[str, Any] = {"tenant_id": tenant_id, "digest": list(missing), **arrays}
            for statement in (*_COARSE, _FINE):
                cursor.execute(statement, parameters)
            known |= _known(cursor, tenant_id, list(missing))
    return {row: known[digest] for digest, row in by_digest.items()}


def _known(cursor: Any, tenant_id: int, digests: list[str]) -> dict[str, int]:
    cursor.execute(
        "SELECT digest, id FROM usage_slice WHERE tenant_id = %s AND digest = ANY(%s::uuid[])",
        [tenant_id, digests],
    )
    return {digest.hex: slice_id for digest, slice_id in cursor.fetchall()}


def _digest(row: SliceRow) -> str:
    # repr() of a tuple of ints, strings and None is unambiguous and the same in every process.
    return hashlib.blake2b(repr(row).encode(), digest_size=16).hexdigest()
