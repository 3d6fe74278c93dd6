"""Mapping rules: added, ended, listed; and remembered by each process for ingest.

A rule never changes. Another takes its place, so that what was believed when stays readable.
"""

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction

from apps.tenants.patience import time_limit
from apps.tenants.remembered import Remembered
from apps.tenants.scoping import current_tenant_id, tenant_scope
from apps.tenants.selectors import list_api_keys
from apps.tenants.services import record_audit
from apps.usage.backpressure import LEARN_SHARE
from apps.usage.core.attribution import (
    KEY,
    MAX_ATTRIBUTES,
    MAX_RULES,
    NO_RULES,
    AttributionRules,
    MappingRule,
    RuleRefusedError,
    check_rule,
)
from apps.usage.core.events import Door

__all__ = [
    "RuleInfo",
    "RuleRefusedError",
    "add_rule",
    "current_rules",
    "end_rule",
    "list_rules",
]

MOMENT: Final = timedelta(microseconds=1)
# Namespaces the advisory lock under which a tenant's rules change: revisions commit in order.
RULES_LOCK: Final = 0x0C059

_remembered: Remembered[int, AttributionRules] = Remembered()


@dataclass(frozen=True, slots=True)
class RuleInfo:
    """A rule with who made it; `ended_at` is when somebody ended it."""

    rule: MappingRule
    created_at: datetime
    created_by: str
    ended_at: datetime | None
    ended_by: str | None


def current_rules(tenant_id: int) -> AttributionRules:
    """The tenant's rules as ingest applies them; asked of the database once a second at most.

    Needs no scope. Every process maps by a change within a second of its commit.
    """

    def read(known: AttributionRules | None) -> AttributionRules:
        with time_limit(settings.INGEST_TIME_LIMIT_S * LEARN_SHARE), tenant_scope(tenant_id):
            revision = _read_revision()
            if known is not None and known.revision == revision:
                return known
            return _compile(revision)

    return _remembered.get(tenant_id, read)


def add_rule(tenant_id: int, rule: MappingRule, *, actor: str, now: datetime) -> int:
    """Map from now on what comes in; returns the rule's id (that of `rule` is not read).

    What is in the ledger stays as it is: that is for re-attribution. Raises RuleRefusedError.
    """
    check_rule(rule)
    with tenant_scope(tenant_id):
        _take_turns()
        _check_against(rule)
        values = _values(rule) | {"created_at": now, "created_by": actor}
        columns = ", ".join(values)
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO usage_attribution_rule (tenant_id, revision, {columns})"
                " VALUES (%(tenant_id)s, nextval('usage_attribution_revision'),"
                f" {', '.join(f'%({name})s' for name in values)}) RETURNING id",
                values | {"tenant_id": current_tenant_id()},
            )
            rule_id = int(cursor.fetchone()[0])
        record_audit(
            actor=actor,
            action="attribution_rule.added",
            subject=f"attribution_rule:{rule_id}",
            after=_as_json(rule),
            now=now,
        )
        _forget_when_committed()
    return rule_id


def end_rule(
    tenant_id: int, rule_id: int, *, actor: str, now: datetime, ends_at: datetime | None = None
) -> None:
    """Let a rule end: for events from that moment on (default: now). Events of before that come
    in late are still mapped by it. Raises RuleRefusedError when there is none, or it has ended."""
    with tenant_scope(tenant_id):
        _take_turns()
        found = next((i for i in list_rules() if i.rule.id == rule_id), None)
        if found is None:
            raise RuleRefusedError(f"there is no rule {rule_id}", field="rule_id")
        if found.ended_at is not None:
            raise RuleRefusedError(f"rule {rule_id} has ended already", field="rule_id")
        begins = found.rule.effective_from
        if ends_at is None:
            # A rule that is still to begin ends as it begins.
            ends_at = now if begins is None or begins < now else begins + MOMENT
        if begins is not None and ends_at <= begins:
            raise RuleRefusedError(
                f"rule {rule_id} begins at {begins.isoformat()}; end it after that",
                field="ends_at",
            )
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE usage_attribution_rule SET effective_to = %s, ended_at = %s, ended_by = %s,"
                " revision = nextval('usage_attribution_revision')"
                " WHERE tenant_id = %s AND id = %s",
                [ends_at, now, actor, current_tenant_id(), rule_id],
            )
        record_audit(
            actor=actor,
            action="attribution_rule.ended",
            subject=f"attribution_rule:{rule_id}",
            before=_as_json(found.rule),
            after={"effective_to": ends_at.isoformat()},
            now=now,
        )
        _forget_when_committed()


_RULE: Final = tuple(f.name for f in fields(MappingRule))
_MADE: Final = ("created_at", "created_by", "ended_at", "ended_by")


def list_rules(*, standing_at: datetime | None = None) -> list[RuleInfo]:
    """The tenant in scope's, in the order in which they are tried; at most MAX_RULES that stand.

    With `standing_at` without those that had ended by then.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {', '.join(_RULE + _MADE)} FROM usage_attribution_rule"
            " WHERE tenant_id = %s AND (%s::timestamptz IS NULL OR effective_to IS NULL"
            " OR effective_to > %s) ORDER BY ended_at IS NOT NULL, position, value IS NULL,"
            " source IS NULL, id LIMIT %s",
            [current_tenant_id(), standing_at, standing_at, 2 * MAX_RULES],
        )
        return [_info(row) for row in cursor.fetchall()]


def _info(row: tuple[Any, ...]) -> RuleInfo:
    values = dict(zip(_RULE + _MADE, row, strict=True))
    made = [values.pop(name) for name in _MADE]
    door = values.pop("door")
    return RuleInfo(MappingRule(**values, door=None if door is None else Door(door)), *made)


def _values(rule: MappingRule) -> dict[str, Any]:
    """A rule's columns."""
    values = {name: getattr(rule, name) for name in _RULE if name != "id"}
    return values | {"door": None if rule.door is None else int(rule.door)}


def _as_json(rule: MappingRule) -> dict[str, Any]:
    values = _values(rule) | {"door": None if rule.door is None else rule.door.name.lower()}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
        if value is not None
    }


def _check_against(rule: MappingRule) -> None:
    """What only the tenant's other rules and keys can tell."""
    standing = [info.rule for info in list_rules() if info.ended_at is None]
    if len(standing) >= MAX_RULES:
        raise RuleRefusedError(f"there are {MAX_RULES} rules, the most there may be; end some")
    attributes = {one.attribute for one in standing} | {rule.attribute}
    if len(attributes) > MAX_ATTRIBUTES:
        raise RuleRefusedError(
            f"the rules name {MAX_ATTRIBUTES} attributes, the most there may be; each is looked up"
            " in every event",
            field="attribute",
        )
    if rule.attribute == KEY and rule.value not in {str(key.id) for key in list_api_keys()}:
        raise RuleRefusedError("there is no such key", field="value")
    twins = (
        one.id
        for one in standing
        if _place(one) == _place(rule)
        and (one.effective_to is None or rule.effective_from is None
             or one.effective_to > rule.effective_from)
        and (rule.effective_to is None or one.effective_from is None
             or rule.effective_to > one.effective_from)
    )  # fmt: skip
    if (twin := next(twins, None)) is not None:
        raise RuleRefusedError(
            f"rule {twin} maps the same already; end it, or give this one another order"
        )


def _place(rule: MappingRule) -> tuple[Any, ...]:
    """Rules of one place at one time would contradict each other, or say the same twice."""
    return (rule.door, rule.source, rule.attribute, rule.value, rule.target, rule.position)


def _compile(revision: int) -> AttributionRules:
    """Ended rules too: they map what happened before their end and comes in late."""
    rules = [info.rule for info in list_rules()]
    return AttributionRules(rules, revision=revision) if rules else NO_RULES


def _read_revision() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(max(revision), 0) FROM usage_attribution_rule WHERE tenant_id = %s",
            [current_tenant_id()],
        )
        return int(cursor.fetchone()[0])


def _take_turns() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [RULES_LOCK, current_tenant_id()])


def _forget_when_committed() -> None:
    """This process sees the change at once when it commits, and not before."""
    tenant_id = current_tenant_id()
    transaction.on_commit(lambda: _remembered.forget(tenant_id))
