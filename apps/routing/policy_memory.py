"""The policy that holds, in this process's memory: made ready once a version. Part of selectors."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from django.db.models import Count, Max

from apps.pricing.core.rating import ResolvedBackend
from apps.routing.core.building import NO_LIMIT_USD, BackendPrice, Money, build_catalog
from apps.routing.core.live import plan_live
from apps.routing.core.overrides import Modes, Override
from apps.routing.core.policy import Policy, PolicyBackend, from_json, to_json
from apps.routing.core.rule import Room, Rule
from apps.routing.core.value_model import ValueModel
from apps.routing.facts import UNASSIGNED, moment_of, price_of_card, read_prices
from apps.routing.live_models import LivePolicy
from apps.routing.models import RoutingMode, RoutingOverride, ValueModelVersion
from apps.routing.selectors import list_overrides, read_modes, read_value_model, shadow_model
from apps.routing.throttles import read_used_up
from apps.tenants.remembered import Remembered
from apps.tenants.scoping import current_tenant_id, tenant_scope
from apps.tenants.selectors import get_tenant

MAX_EXTENDED: Final = 64


@dataclass(frozen=True, slots=True)
class Shadow:
    """A policy that decides beside the live one, and the values it decides by."""

    rule: Rule
    model: ValueModel


@dataclass(frozen=True)
class Live:
    """What the decision door needs of a tenant. Without a planned policy `version` is 0: floors
    and qualities are the value model's, and nothing has a shadow price."""

    tenant_id: int
    stamp: tuple[Any, ...]
    policy: Policy
    known: frozenset[str]
    document: bytes
    etag: str
    model: ValueModel
    modes: Modes
    overrides: Sequence[Override]
    estimated_out: Mapping[str, float]
    revenue_usd: Mapping[str, float]
    conversion: Mapping[str, float]
    refusing: frozenset[str]
    spent_up: frozenset[int]
    departments: Mapping[str, str]
    room: Room
    shadows: Mapping[str, Shadow]
    _rules: dict[Any, Rule] = field(default_factory=dict)

    @property
    def version(self) -> int:
        return int(self.stamp[0])

    def department_of(self, code: str | None) -> str:
        """The department that a request is priced as."""
        return self.departments.get((code or "").lower(), UNASSIGNED)

    def rule(self, now_s: float, wanted: Mapping[str, ResolvedBackend]) -> Rule:
        """The rule that holds; a stale one past its time. Backends among `wanted` that the policy
        does not know are as good as their family, at their rates."""
        extra = tuple(name for name in wanted if name not in self.known)
        key = (self.version > 0 and now_s > self.policy.valid_until_s, extra)
        rule = self._rules.get(key)
        if rule is None:
            if len(self._rules) >= MAX_EXTENDED:
                self._rules.clear()
            found = [(name, wanted[name]) for name in extra]
            policy = extended(self.policy, self.model, found, now_s) if extra else self.policy
            rule = self._rules[key] = Rule(policy, is_stale=key[0])
        return rule


# The key of the rule as it is, of a policy that is not stale.
_FRESH: Final = (False, ())
_live: Final[Remembered[int, Live]] = Remembered()


def live_policy(tenant_id: int, now: datetime) -> Live:
    """The tenant's, at most a second old. Opens a scope of its own when it must read."""

    def read(known: Live | None) -> Live:
        with tenant_scope(tenant_id):
            return _read(known, now)

    return _live.get(tenant_id, read, stands=True)


def forget_live(tenant_id: int) -> None:
    """Read it anew next time: after a change by this process."""
    _live.forget(tenant_id)


def _read(known: Live | None, now: datetime) -> Live:
    stamp = _stamp(now)
    if known is not None and known.stamp == stamp:
        return known
    rows = {row.shadow: row for row in LivePolicy.objects.all()}
    row = rows.pop("", None)
    model = read_value_model(now)
    if row is None:
        policy, document = _unplanned(model, now), ""
        facts: dict[str, Any] = {"spent_up": read_used_up(now)}
    else:
        policy, document, facts = from_json(row.document), row.document, row.facts
    if known is not None:
        policy = _sharing(policy, known.policy)
    previous = known._rules.get(_FRESH) if known is not None else None
    return Live(
        _rules={_FRESH: Rule(policy, previous=previous)},
        tenant_id=current_tenant_id(),
        stamp=stamp,
        policy=policy,
        known=frozenset(backend.name for backend in policy.backends),
        document=(document or to_json(policy)).encode(),
        etag=hashlib.sha256((document or to_json(policy)).encode()).hexdigest()[:32],
        model=model,
        modes=read_modes(now),
        overrides=list_overrides(now),
        estimated_out=facts.get("estimated_out", {}),
        revenue_usd=facts.get("revenue_usd", {}),
        conversion=facts.get("conversion", {}),
        refusing=frozenset(facts.get("refusing", ())),
        spent_up=frozenset(facts.get("spent_up", ())),
        departments={code.lower(): code for code in policy.departments},
        room=Room(
            policy.month_left_usd,
            policy.day_left_usd,
            {name: one.left_usd for name, one in policy.departments.items()},
            policy.local_requests_left,
        ),
        shadows={
            name: Shadow(Rule(from_json(one.document)), shadow_model(name, model))
            for name, one in rows.items()
        },
    )


def _stamp(now: datetime) -> tuple[Any, ...]:
    """What was made ready, by its newest parts: (version, ...)."""
    versions = dict(LivePolicy.objects.values_list("shadow", "version"))
    version = versions.pop("", 0)
    in_force = ValueModelVersion.objects.filter(effective_from__lte=now)
    # Without a policy prices are read from the rates: anew, now and then.
    age = 0 if version else int(now.timestamp() // 60)
    return (
        version,
        tuple(sorted(versions.items())),
        age,
        in_force.aggregate(n=Count("id"))["n"],
        RoutingMode.objects.filter(effective_from__lte=now).aggregate(n=Max("id"))["n"],
        tuple(RoutingOverride.objects.aggregate(n=Max("id"), e=Max("ended_at")).values()),
    )


def _sharing(policy: Policy, before: Policy) -> Policy:
    """With the parts that did not change as they were, so that a Rule need not be made of them
    again."""
    same = policy.quality == before.quality and policy.backends == before.backends
    return replace(policy, quality=before.quality, backends=before.backends) if same else policy


def _unplanned(model: ValueModel, now: datetime) -> Policy:
    """Floors, qualities and rates; no budget is known, and nothing is dear."""
    money = Money(NO_LIMIT_USD, NO_LIMIT_USD, {UNASSIGNED: NO_LIMIT_USD})
    catalog = build_catalog(model, read_prices(now, ()), money, [[0.0]])
    room = Room(NO_LIMIT_USD, NO_LIMIT_USD, {UNASSIGNED: NO_LIMIT_USD})
    room.local_requests = catalog.local_requests_per_hour
    at = moment_of(get_tenant(), now)
    return plan_live(catalog, (), (), (), at=at, room=room, last=None)[0]


def extended(
    policy: Policy, model: ValueModel, extra: Sequence[tuple[str, ResolvedBackend]], now_s: float
) -> Policy:
    """The policy with backends that it does not know. Those without a price are left out."""
    prices: list[BackendPrice] = []
    for name, resolved in extra:
        price = price_of_card(name, resolved.card, resolved.kind == "local", now_s)
        if price is not None:
            prices.append(price)
    quality, table = {}, {}
    for task in policy.tasks:
        levels = [model.quality_of(p.name, task, is_local=p.is_local) for p in prices]
        slopes = [-model.slope_of(p.name, is_local=p.is_local) for p in prices]
        table[task] = (*policy.table_quality[task], *levels)
        rows = [(level, slope, 0.05) for level, slope in zip(levels, slopes, strict=True)]
        quality[task] = (*policy.quality[task], *rows)
    added = [
        PolicyBackend(p.name, p.usd_in, p.usd_out, p.out_multiplier, 1.0, 1.0, p.is_local)
        for p in prices
    ]
    return replace(
        policy, backends=(*policy.backends, *added), quality=quality, table_quality=table
    )
