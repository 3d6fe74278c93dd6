"""Charges, one by one: listed, found, explained and computed again. A part of selectors.

A charge is its row in the ledger and the adjustments that repricing added to it since; `cost_usd`
is what they come to. It belongs where it was last moved. Everything here only reads.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec
from django.db import connection, transaction

from apps.pricing.core.charge_lines import source_of_lines
from apps.pricing.core.money import EXACT
from apps.pricing.core.rates import Discount
from apps.pricing.core.rating import ChargeLine, MeteredUsage, ResolvedBackend
from apps.pricing.selectors import (
    RateInfo,
    rate_book_as_of,
    read_backend_keys,
    read_discounts,
    read_rates,
)
from apps.tenants.scoping import current_tenant_id
from apps.tenants.selectors import list_api_keys, list_customers, list_departments
from apps.usage.charge_moves import Move, read_moves
from apps.usage.core.rating import used_nothing
from apps.usage.dimensions import Dimension
from apps.usage.ledger import LEFT_JOIN_MOVED, identity_of
from apps.usage.slice_labels import slice_conditions

MAX_CHARGES: Final = 200
# A search that would read too much of the ledger is given up, not waited for.
LONGEST_SEARCH_MS: Final = 10_000

ChargeSource = Literal["tenant", "catalogue", "default", "unpriced", "unused"]
TOKENS: Final = (
    "uncached_input_tokens", "cache_read_tokens", "cache_write_5m_tokens",
    "cache_write_1h_tokens", "output_tokens", "reasoning_tokens",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What a repricing run added to a charge; `unpriced_change` -1 gave it its first price."""

    id: int
    received_at: datetime
    cost_usd: Decimal
    unpriced_change: int
    repricing_id: int
    rate_revision: int


@dataclass(frozen=True, slots=True)
class Charge:
    """An event as it was rated. `first_cost_usd` and `cost_usd` (with adjustments) None: unpriced.

    `backend` is its key; `provider` that backend's; `model` the name as reported.
    """

    id: int
    occurred_at: datetime
    received_at: datetime
    source: str
    event_id: str
    provider: str
    model: str
    requested_model: str | None
    backend_id: int
    backend: str
    customer: str | None
    department: str | None
    router: str | None
    project: str | None
    environment: str | None
    task: str | None
    status: str
    usage: MeteredUsage
    meters: Mapping[str, int] | None
    price_context: Mapping[str, str] | None
    first_cost_usd: Decimal | None
    cost_usd: Decimal | None
    rate_revision: int
    reported_cost_usd: Decimal | None
    latency_ms: int | None
    end_user: str | None
    tags: Mapping[str, str] | None
    decision_id: str | None

    @property
    def difference_usd(self) -> Decimal | None:
        """What the router reported, less ours; None where either is not known."""
        if self.reported_cost_usd is None or self.cost_usd is None:
            return None
        return EXACT.subtract(self.reported_cost_usd, self.cost_usd)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a charge is what it is, by the rates believed when it was made.

    `again_usd` is its cost computed anew; `reproduced` says that it has the same digits. `reason`
    is a sentence where there is no price to explain.
    """

    charge: Charge
    priced_as: str | None
    price_source: ChargeSource
    reason: str | None
    lines: Sequence[ChargeLine]
    rates: Sequence[RateInfo]
    discounts: Sequence[Discount]
    again_usd: Decimal | None
    reproduced: bool
    adjustments: Sequence[Adjustment]
    moves: Sequence[Move]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeQuery:
    """Which charges, of [start, end) by the time of their event. None is any; `filters` are as
    in a SpendQuery.

    `before_id` continues a list. A source and event id find one event, whatever its time.
    """

    start: datetime
    end: datetime
    customer: str | None = None
    department: str | None = None
    model: str | None = None
    backend: str | None = None
    status: str | None = None
    unpriced: bool | None = None
    filters: Mapping[Dimension, tuple[str | None, ...]] = field(default_factory=dict)
    before_id: int | None = None
    limit: int = 50


_COLUMNS: Final = f"""
    l.id, l.occurred_at, l.received_at, l.source, l.event_id, s.provider, s.model,
    l.requested_model, s.backend_id, s.customer_id, s.department_id, s.api_key_id, s.project,
    s.environment, s.task, s.status, {", ".join(f"l.{name}" for name in TOKENS)},
    l.meters, l.price_context, l.cost_usd, adjusted.cost_usd, coalesce(adjusted.change, 0),
    l.rate_revision, l.reported_cost_usd, l.latency_ms, l.end_user, l.tags, l.decision_id
"""
# An adjustment stands at its charge's own time, so its partition is the charge's.
_FROM: Final = f"""
FROM usage_ledger AS l
{LEFT_JOIN_MOVED}
JOIN usage_slice AS s ON s.tenant_id = l.tenant_id
    AND s.id = coalesce(moved.slice_id, l.slice_id)
LEFT JOIN LATERAL (
    SELECT sum(a.cost_usd) AS cost_usd, sum(a.unpriced_change) AS change
    FROM usage_ledger AS a
    WHERE a.tenant_id = l.tenant_id AND a.kind = 1 AND a.corrects_id = l.id
        AND a.occurred_at = l.occurred_at
) AS adjusted ON true
WHERE l.tenant_id = %(tenant_id)s AND l.kind = 0
"""
_UNPRICED: Final = "(l.cost_usd IS NULL)::integer + coalesce(adjusted.change, 0) > 0"


def find_charge_id(*, source: str, event_id: str) -> int | None:
    """The ledger id of the charge of an event, by what the router called it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT ledger_id FROM usage_identity WHERE tenant_id = %s AND identity = %s::uuid",
            [current_tenant_id(), identity_of(source, event_id).hex()],
        )
        row = cursor.fetchone()
    return int(row[0]) if row else None


def read_charge(charge_id: int) -> Charge | None:
    """The tenant in scope's charge of that ledger id; None when there is none."""
    found = _read(" AND l.id = %(id)s", {"id": charge_id})
    return found[0] if found else None


def list_charges(query: ChargeQuery) -> list[Charge]:
    """Charges, last recorded first, at most `query.limit` (and MAX_CHARGES).

    Raises django.db.OperationalError when the search takes longer than LONGEST_SEARCH_MS.
    """
    parameters: dict[str, Any] = {
        "start": query.start,
        "end": query.end,
        "limit": min(query.limit, MAX_CHARGES),
    }
    where = " AND l.occurred_at >= %(start)s AND l.occurred_at < %(end)s"
    for column, value in _slice_filters(query).items():
        where += f" AND s.{column} = ANY(%({column})s)"
        parameters[column] = value
    further, values = slice_conditions(query.filters)
    where += "".join(f" AND {condition}" for condition in further)
    parameters |= values
    if query.before_id is not None:
        where += " AND l.id < %(before_id)s"
        parameters["before_id"] = query.before_id
    if query.unpriced is not None:
        where += f" AND {'' if query.unpriced else 'NOT '}({_UNPRICED})"
    # A savepoint: a search that is given up takes its limit with it, and the scope goes on.
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {LONGEST_SEARCH_MS}")
        found = _read(where + " ORDER BY l.id DESC LIMIT %(limit)s", parameters)
        cursor.execute("SET LOCAL statement_timeout = DEFAULT")
    return found


def explain_charge(charge_id: int) -> Explanation | None:
    """A charge line by line, computed again by the rates of its revision; None if there is none."""
    charge = read_charge(charge_id)
    if charge is None:
        return None
    adjustments, moves = _read_adjustments(charge_id), read_moves(charge_id)
    if used_nothing(charge.status, msgspec.structs.astuple(charge.usage), charge.meters):
        return Explanation(
            charge,
            priced_as=None,
            price_source="unused",
            reason="the attempt failed before it used anything: it costs nothing, whatever rates",
            lines=(),
            rates=(),
            discounts=(),
            again_usd=Decimal(0),
            reproduced=charge.first_cost_usd == 0,
            adjustments=adjustments,
            moves=moves,
        )
    backend, again_usd = _price_again(charge)
    card = backend.card
    lines = (
        card.explain(charge.usage, charge.occurred_at, charge.price_context, charge.meters)
        if card
        else []
    )
    references = {line.rate_id for line in lines if line.rate_id}
    return Explanation(
        charge,
        priced_as=backend.key if card else None,
        price_source=(
            "unpriced"
            if again_usd is None or card is None
            else source_of_lines(lines) or card.source
        ),
        reason=_reason(charge, backend) if again_usd is None else None,
        lines=lines,
        rates=read_rates(references),
        discounts=read_discounts(references),
        again_usd=again_usd,
        reproduced=again_usd == charge.first_cost_usd,
        adjustments=adjustments,
        moves=moves,
    )


def _price_again(charge: Charge) -> tuple[ResolvedBackend, Decimal | None]:
    """What prices the charge by its revision's rates, and what it then costs.

    The name is resolved as it was on the way in. Names are not dated: where theirs means another
    model today, the model that the charge's backend stands for is taken.
    """
    book = rate_book_as_of(charge.rate_revision)
    provider, _, model = charge.backend.partition("/")
    named = book.resolve(charge.provider, charge.model, charge.requested_model)
    cost_usd = _cost(charge, named)
    if cost_usd == charge.first_cost_usd:
        return named, cost_usd
    listed = book.resolve_listed(provider, model)
    if _cost(charge, listed) == charge.first_cost_usd:
        return listed, charge.first_cost_usd
    return named, cost_usd


def _cost(charge: Charge, backend: ResolvedBackend) -> Decimal | None:
    if backend.card is None:
        return None
    return backend.card.cost(charge.usage, charge.occurred_at, charge.price_context, charge.meters)


def _reason(charge: Charge, backend: ResolvedBackend) -> str:
    if backend.card is None:
        return f"no rate was known for {charge.provider}/{charge.model} at revision" + (
            f" {charge.rate_revision}; add a rate or an alias, then reprice"
        )
    if charge.meters and backend.card.cost(charge.usage, charge.occurred_at, charge.price_context):
        return (
            "its meters have no price, or contradict its tokens: a part cannot exceed the whole"
            f" ({json.dumps(dict(charge.meters), sort_keys=True)})"
        )
    return f"{backend.key} had no rate in force at that time for everything that was used"


def _slice_filters(query: ChargeQuery) -> dict[str, list[Any]]:
    """Columns of the slice with the values that the query's names stand for."""
    filters: dict[str, list[Any]] = {}
    if query.customer is not None:
        filters["customer_id"] = [c.id for c in list_customers() if c.external_id == query.customer]
    if query.department is not None:
        code = query.department.lower()
        filters["department_id"] = [d.id for d in list_departments() if d.code.lower() == code]
    if query.backend is not None:
        filters["backend_id"] = [
            number for number, key in read_backend_keys().items() if key == query.backend
        ]
    if query.model is not None:
        filters["model"] = [query.model]
    if query.status is not None:
        filters["status"] = [query.status]
    return filters


def _read(where: str, parameters: dict[str, Any]) -> list[Charge]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_COLUMNS} {_FROM} {where}", parameters | {"tenant_id": current_tenant_id()}
        )
        rows = cursor.fetchall()
    if not rows:
        return []
    names = _Names()
    return [_charge(row, names) for row in rows]


_FIRST: Final = (
    "id", "occurred_at", "received_at", "source", "event_id", "provider", "model",
    "requested_model",
)  # fmt: skip


class _Names:
    """What the ids of slices are called; each list is read once."""

    def __init__(self) -> None:
        self.backends = read_backend_keys()
        self.customers = {c.id: c.external_id for c in list_customers()}
        self.departments = {d.id: d.code for d in list_departments()}
        self.routers = {k.id: k.name for k in list_api_keys()}


def _charge(row: tuple[Any, ...], names: _Names) -> Charge:
    backend_id, customer_id, department_id, api_key_id = row[8:12]
    meters, context, first_usd, added_usd, change, *rest = row[22:]
    revision, reported_usd, latency_ms, end_user, tags, decision_id = rest
    unpriced = (first_usd is None) + change > 0
    total_usd = EXACT.add(first_usd or Decimal(0), added_usd or Decimal(0))
    first_columns = dict(zip(_FIRST, row, strict=False))
    return Charge(
        **first_columns,
        backend_id=backend_id,
        backend=names.backends.get(backend_id, f"#{backend_id}"),
        customer=names.customers.get(customer_id),
        department=names.departments.get(department_id),
        router=names.routers.get(api_key_id),
        project=row[12],
        environment=row[13],
        task=row[14],
        status=row[15],
        usage=MeteredUsage(*row[16:22]),
        meters=json_of(meters),
        price_context=json_of(context),
        first_cost_usd=first_usd,
        cost_usd=None if unpriced else total_usd,
        rate_revision=revision,
        reported_cost_usd=reported_usd,
        latency_ms=latency_ms,
        end_user=end_user,
        tags=json_of(tags),
        decision_id=decision_id,
    )


def json_of(value: Any) -> Any:
    """A jsonb column as it is meant."""
    # Django leaves jsonb of raw statements as text.
    return json.loads(value) if isinstance(value, str) else value


def _read_adjustments(charge_id: int) -> list[Adjustment]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, received_at, cost_usd, unpriced_change, repricing_id, rate_revision"
            " FROM usage_ledger WHERE tenant_id = %s AND kind = 1 AND corrects_id = %s ORDER BY id",
            [current_tenant_id(), charge_id],
        )
        return [Adjustment(*row) for row in cursor.fetchall()]
