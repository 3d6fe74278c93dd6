"""Usage that says nobody's name: what hides in it, and what a rule would have met. A part of
selectors.

What slices know comes from rollups, exactly. Sources, users and tags are the ledger's alone: of
these the newest requests are read, within a bound.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db import OperationalError, connection, transaction

from apps.pricing.core.money import EXACT
from apps.pricing.selectors import list_backends
from apps.tenants.scoping import current_tenant_id
from apps.tenants.selectors import get_tenant, list_api_keys, list_customers, list_departments
from apps.usage.charges import json_of
from apps.usage.core.attribution import FIELDS, KEY, TAG_PREFIX, MappingRule, Target
from apps.usage.ledger import LEFT_JOIN_MOVED
from apps.usage.selectors import MEASURES
from apps.usage.spend_sql import choose_spans, spend_sql

NEWEST_READ: Final = 5_000
LONGEST_READ_MS: Final = 3_000
MAX_PARTS: Final = 12
_COLUMNS: Final[Mapping[str, str]] = {
    KEY: "api_key_id",
    "provider": "provider",
    "model": "model",
    "backend": "backend_id",
    "customer": "customer_id",
    "department": "department_id",
    "project": "project",
    "environment": "environment",
    "task": "task",
}  # fmt: skip
# What the newest requests are asked for, by ledger column.
_OF_LEDGER: Final = {"source": "l.source", "user": "l.end_user", "requested_model":
                     "l.requested_model"}  # fmt: skip

NEWEST: Final = """
SELECT l.source, l.end_user, l.tags, coalesce(l.cost_usd, 0) + coalesce((
    SELECT sum(a.cost_usd) FROM usage_ledger AS a
    WHERE a.tenant_id = l.tenant_id AND a.kind = 1 AND a.corrects_id = l.id
        AND a.occurred_at = l.occurred_at
), 0), l.requested_model
FROM usage_ledger AS l
{moved}
JOIN usage_slice AS s ON s.tenant_id = l.tenant_id
    AND s.id = coalesce(moved.slice_id, l.slice_id)
WHERE l.tenant_id = %(tenant_id)s AND l.kind = 0
    AND l.occurred_at >= %(start)s AND l.occurred_at < %(end)s {condition}
ORDER BY l.id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Part:
    """Requests that have one thing in common. `value` filters as MoveScope.where has it, None:
    they do not say; `name` is what people call it."""

    value: str | None
    name: str | None
    requests: int
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class Unattributed:
    """What names no `target`, of [start, end): in all, and by what it is made of.

    `parts` by "key", "model", ... and, of the `newest_read` newest, by "source", "user" and "tag".
    """

    target: Target
    start: datetime
    end: datetime
    requests: int
    cost_usd: Decimal
    unpriced_requests: int
    all_requests: int
    all_cost_usd: Decimal
    parts: Mapping[str, list[Part]]
    newest_read: int

    @property
    def share(self) -> Decimal | None:
        return self.cost_usd / self.all_cost_usd if self.all_cost_usd else None


def read_unattributed(target: Target, start: datetime, end: datetime) -> Unattributed:
    """What the tenant in scope's routers did not say, and finance cannot allocate."""
    missing = _COLUMNS[target]
    condition = f"s.{missing} IS NULL"
    all_cost_usd, all_requests, _ = _sum(start, end, {})
    cost_usd, requests, unpriced_requests = _sum(start, end, {missing: condition})
    parts = {}
    for by, column in _COLUMNS.items():
        if by in (target, "backend"):
            continue
        rows = _sums(start, end, column, {missing: condition})
        names = _names_of(by)
        parts[by] = _leading(
            Part(_value(by, value, names), _text(names.get(value, value)), count, part_usd)
            for value, part_usd, count, _ in rows
        )
    # A ledger of which nothing is wanted would be looked through to its end.
    newest = _read_newest(start, end, f"AND {condition}") if requests else []
    return Unattributed(
        target=target,
        start=start,
        end=end,
        requests=requests,
        cost_usd=cost_usd,
        unpriced_requests=unpriced_requests,
        all_requests=all_requests,
        all_cost_usd=all_cost_usd,
        parts=parts | _parts_of_newest(newest),
        newest_read=len(newest),
    )


@dataclass(frozen=True, slots=True)
class RuleMatch:
    """What a rule would have met, had it stood. `examined`: of that many newest requests alone;
    None: of all. Not `is_known`: its attribute was not kept so far."""

    is_known: bool
    requests: int = 0
    cost_usd: Decimal = Decimal(0)
    examined: int | None = None


def match_rule(rule: MappingRule, start: datetime, end: datetime) -> RuleMatch:
    """What the rule would have met in [start, end), as charges stand; its door is not looked at."""
    column = _COLUMNS.get(rule.attribute)
    if column is not None and rule.source is None:
        return _match_in_rollups(rule, column, start, end)
    if column is None and rule.attribute not in FIELDS and not _tag_of(rule):
        return RuleMatch(is_known=False)
    if column is not None:
        value = _column_value(rule)
        among = "= %(value)s" if rule.value is not None else "IS NOT NULL"
        rows = _read_newest(start, end, f"AND s.{column} {among}", {"value": value})
        newest = [row for row in rows if row[0] == rule.source]
    else:
        rows = _read_newest(start, end, "")
        newest = [row for row in rows if rule.source in (None, row[0]) and _meets(rule, row)]
    return RuleMatch(True, len(newest), _total(row[3] for row in newest), examined=len(rows))


_Newest = tuple[Any, ...]


def _match_in_rollups(rule: MappingRule, column: str, start: datetime, end: datetime) -> RuleMatch:
    conditions = {
        column: f"s.{column} = %(value)s" if rule.value is not None else f"s.{column} IS NOT NULL"
    }
    if rule.attribute == KEY:
        target = _COLUMNS[rule.target]
        conditions[target] = f"s.{target} IS NULL"
    cost_usd, requests, _ = _sum(start, end, conditions, {"value": _column_value(rule)})
    return RuleMatch(True, requests, cost_usd)


def _column_value(rule: MappingRule) -> Any:
    """The rule's value as slices have it; -1 where nothing has that name."""
    if rule.value is None or rule.attribute not in (KEY, "customer", "department", "backend"):
        return rule.value
    if rule.attribute == KEY:
        return int(rule.value)
    names = _names_of(rule.attribute)
    return next((k for k, name in names.items() if name == rule.value), -1)


def _sum(
    start: datetime,
    end: datetime,
    conditions: Mapping[str, str],
    values: Mapping[str, Any] | None = None,
) -> tuple[Decimal, int, int]:
    """(cost, requests, unpriced requests) in all."""
    rows = _sums(start, end, None, conditions, values)
    return rows[0][1:] if rows else (Decimal(0), 0, 0)


def _sums(
    start: datetime,
    end: datetime,
    column: str | None,
    conditions: Mapping[str, str],
    values: Mapping[str, Any] | None = None,
) -> list[tuple[Any, Decimal, int, int]]:
    """(value of the column, cost, requests, unpriced requests) by a slice's column, or in all.
    `conditions` by the columns they are about."""
    tenant = get_tenant()
    spans = choose_spans(start, end, None, tenant.zone, by_minute=False)
    if not spans:
        return []
    columns = [column] if column else []
    statement, bounds = spend_sql(
        spans, None, columns, [*conditions.values()], filtered=[*conditions]
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, {**(values or {}), "tenant_id": tenant.id, **bounds})
        rows = cursor.fetchall()
    found = []
    for _, *rest in rows:
        measures = dict(zip(MEASURES, rest[len(columns) :], strict=True))
        found.append(
            (
                rest[0] if column else None,
                measures["cost_usd"],
                measures["requests"],
                measures["unpriced_requests"],
            )
        )
    return found


def _names_of(by: str) -> Mapping[Any, str]:
    if by == KEY:
        return {key.id: key.name for key in list_api_keys()}
    if by == "customer":
        return {c.id: c.external_id for c in list_customers()}
    if by == "department":
        return {d.id: d.code for d in list_departments()}
    if by == "backend":
        return {b.id: b.key for b in list_backends()}
    return {}


def _read_newest(
    start: datetime, end: datetime, condition: str, values: Mapping[str, Any] | None = None
) -> list[_Newest]:
    """(source, user, tags, cost, requested model) of the newest requests; none when it would take
    too long."""
    parameters = {
        **(values or {}),
        "tenant_id": current_tenant_id(),
        "start": start,
        "end": end,
        "limit": NEWEST_READ,
    }
    statement = NEWEST.format(moved=LEFT_JOIN_MOVED, condition=condition)
    try:
        # A savepoint: a statement that is given up takes its limit with it.
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {LONGEST_READ_MS}")
            cursor.execute(statement, parameters)
            rows = cursor.fetchall()
            cursor.execute("SET LOCAL statement_timeout = DEFAULT")
    except OperationalError as error:
        if "statement timeout" not in str(error):
            raise
        return []
    return [(source, user, json_of(tags) or {}, *rest) for source, user, tags, *rest in rows]


def _parts_of_newest(rows: list[_Newest]) -> dict[str, list[Part]]:
    found: dict[str, dict[str | None, list[Any]]] = {
        by: defaultdict(lambda: [0, Decimal(0)]) for by in ("source", "user", "tag")
    }
    for source, user, tags, cost_usd, _ in rows:
        said = [("source", source), ("user", user)]
        for by, value in [*said, *(("tag", f"{k}={v}") for k, v in tags.items())]:
            sums = found[by][value]
            sums[0] += 1
            sums[1] = EXACT.add(sums[1], cost_usd)
    return {
        by: _leading(Part(value, value, *sums) for value, sums in values.items())
        for by, values in found.items()
    }


def _leading(parts: Any) -> list[Part]:
    return sorted(parts, key=lambda p: (-p.cost_usd, -p.requests, p.name or ""))[:MAX_PARTS]


def _tag_of(rule: MappingRule) -> str | None:
    is_tag = rule.attribute.startswith(TAG_PREFIX)
    return rule.attribute.removeprefix(TAG_PREFIX) if is_tag else None


def _meets(rule: MappingRule, row: _Newest) -> bool:
    source, user, tags, _, requested_model = row
    said = {"source": source, "user": user, "requested_model": requested_model}
    tag = _tag_of(rule)
    value = tags.get(tag) if tag is not None else said.get(rule.attribute)
    return value is not None and rule.value in (None, value)


def _total(amounts: Any) -> Decimal:
    total = Decimal(0)
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total


def _value(by: str, value: Any, names: Mapping[Any, str]) -> str | None:
    """As a filter takes it: keys by their id, customers and departments by name."""
    return _text(value if by == KEY else names.get(value, value))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
