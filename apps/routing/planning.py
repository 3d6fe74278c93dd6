"""The planner and the pacer of each tenant: policies made, moved, written down. Part of services.

A plan is made from the ledger, the forecast and the budgets as they are, and from the prices that
stand; a pace from what the last plan left. Nothing is remembered between them but in the database:
whichever worker comes next goes on. When a plan fails the last prices stand and the pacer goes on.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection

from apps.budgets.book import read_book
from apps.insights.forecasts import read_forecast
from apps.insights.guard import remembered_restrictions
from apps.pricing.selectors import current_rate_book, read_backend_keys
from apps.routing.core.building import NO_LIMIT_USD, Money, build_catalog
from apps.routing.core.catalog import Catalog
from apps.routing.core.live import Standing, pace_live, plan_live
from apps.routing.core.policy import Policy, Throttle, from_json, to_json
from apps.routing.core.recent import Charge, digest
from apps.routing.core.rule import Room
from apps.routing.core.value_model import ValueModel
from apps.routing.core.value_model import read_value_model as value_model_from
from apps.routing.core.weights import with_throttles
from apps.routing.facts import (
    UNASSIGNED,
    Means,
    busiest_departments,
    moment_of,
    read_counted,
    read_demand,
    read_local_places,
    read_means,
    read_prices,
    read_recent,
    shares_of,
)
from apps.routing.live_models import LivePolicy, PolicyChange, ShadowPolicy
from apps.routing.models import RoutingMode, RoutingOverride
from apps.routing.selectors import read_value_model
from apps.routing.throttles import throttles_of
from apps.tenants.scoping import current_tenant_id, tenant_scope
from apps.tenants.selectors import get_tenant, list_customers, list_departments
from apps.usage.traffic_sample import SampledCharge

logger = logging.getLogger(__name__)
PLAN_EVERY: Final = timedelta(hours=1)
RETRY_AFTER: Final = timedelta(minutes=5)
PLAN_LOCK: Final = 0x0B1A5
# A price that moved so far from what the history last said is told again.
TOLD_SHARE, TOLD_LEAST = 0.10, 0.05
MOST_TURNED: Final = 20
HISTORY_KEPT: Final = timedelta(days=180)
UNITS_PER_USD: Final = 1e24
CHANGED: Final = {
    "value_model": "the value model changed",
    "budgets": "a budget changed",
    "rates": "rates changed",
    "by_hand": "a mode or override changed",
    "guard": "a guard rail stopped or freed somebody",
    "shadows": "a shadow policy began or ended",
}


def plan_policy(tenant_id: int, *, now: datetime, reasons: Sequence[str] = ()) -> bool:
    """Plan anew, the shadows too; False when another worker is at it, or when it failed."""
    with tenant_scope(tenant_id):
        if not _alone():
            return False
        row = LivePolicy.objects.filter(shadow="").first()
        inputs = _inputs(tenant_id, now)
        try:
            with tenant_scope(tenant_id):
                _plan(row, inputs, now=now, reasons=list(reasons))
        except Exception as error:
            logger.exception("tenant %s: no plan; the last prices stand", tenant_id)
            LivePolicy.objects.filter(shadow="").update(
                inputs=inputs, planned_at=now, failure=f"{type(error).__name__}: {error}"[:1000]
            )
            return False
    return True


def pace_policy(tenant_id: int, *, now: datetime) -> None:
    """Move the prices with what was spent; plan first where it is time to, or something changed."""
    with tenant_scope(tenant_id):
        row = LivePolicy.objects.filter(shadow="").first()
        reasons = _due(row, tenant_id, now)
    if reasons:
        plan_policy(tenant_id, now=now, reasons=reasons)
    with tenant_scope(tenant_id):
        if not _alone():
            return
        for row in LivePolicy.objects.order_by("shadow"):
            if row.issued_at < now:
                _pace(row, now)


def _due(row: LivePolicy | None, tenant_id: int, now: datetime) -> list[str]:
    """Why to plan now; empty when there is no reason to."""
    if row is None:
        return ["the first plan"]
    at, planned = (moment_of(get_tenant(), moment) for moment in (now, row.planned_at))
    if row.failure:
        return ["the last plan failed"] if now - row.planned_at >= RETRY_AFTER else []
    inputs = _inputs(tenant_id, now)
    reasons = [told for key, told in CHANGED.items() if inputs[key] != row.inputs.get(key)]
    if (at.month, at.day) != (planned.month, planned.day):
        reasons.append("a new day began")
    elif at.ts_s // 3600 != planned.ts_s // 3600 or now - row.planned_at >= PLAN_EVERY:
        reasons.append("an hour passed")
    return reasons


def _inputs(tenant_id: int, now: datetime) -> dict[str, Any]:
    """What a plan is made from, that people or other parts change."""
    restrictions = remembered_restrictions(tenant_id)
    overrides = RoutingOverride.objects.filter(ended_at=None).order_by("id")
    held = [
        o.pk for o in overrides if o.starts_at <= now and (o.ends_at is None or now < o.ends_at)
    ]
    modes = RoutingMode.objects.filter(effective_from__lte=now).count()
    shadows = ShadowPolicy.objects.filter(ended_at=None).order_by("id").values_list("id", flat=True)
    return {
        "value_model": read_value_model(now).version,
        "budgets": hashlib.sha1(
            repr(read_book().fingerprint).encode(), usedforsecurity=False
        ).hexdigest(),
        "rates": current_rate_book().revision,
        "by_hand": [modes, *held],
        "guard": sorted([*restrictions.by_router, *(-n for n in restrictions.by_customer)]),
        "shadows": list(shadows),
    }


def _plan(
    row: LivePolicy | None, inputs: dict[str, Any], *, now: datetime, reasons: list[str]
) -> None:
    model = read_value_model(now)
    sample = read_recent(now)
    codes = busiest_departments(now)
    demand = read_demand(now, codes)
    share = shares_of(demand, codes)
    means = read_means(now, codes, share)
    prices = read_prices(now, sample)
    at = moment_of(get_tenant(), now)
    counted = read_counted(now, codes)

    def make(value_model: ValueModel, factor: float, last: LivePolicy | None) -> _Made:
        money = _scaled(means.money, factor)
        catalog = build_catalog(value_model, prices, money, demand.tolist())
        recent = digest(_charges(sample, value_model, codes), value_model, _names(catalog))
        policy, standing, failures = plan_live(
            catalog,
            recent.requests,
            recent.judged,
            recent.billed,
            at=at,
            room=_room(means, factor, read_local_places(now, catalog.local_requests_per_hour)),
            last=Standing.from_json(last.standing) if last else None,
            counted=counted,
        )
        planned = dict(policy.weights)
        policy = with_throttles(policy, throttles_of(means.used_up, policy.backends), planned)
        facts = {
            "weights": planned,
            "codes": list(codes),
            "share": share,
            "estimated_out": dict(recent.estimated_out),
            "revenue_usd": dict(recent.revenue_usd),
            "conversion": dict(recent.conversion),
            "capacity": catalog.local_requests_per_hour,
            "refusing": sorted(means.refusing),
            "spent_up": means.spent_up,
            "budget_factor": factor,
        }
        return _Made(policy, standing, facts, "; ".join(failures))

    _store(row, make(model, 1.0, row), shadow="", inputs=inputs, now=now, reasons=reasons)
    rows = {r.shadow: r for r in LivePolicy.objects.exclude(shadow="")}
    shadows = {s.name: s for s in ShadowPolicy.objects.filter(ended_at=None)}
    LivePolicy.objects.exclude(shadow="").exclude(shadow__in=shadows).delete()
    for name, shadow in shadows.items():
        told, last = shadow.value_model, rows.get(name)
        other = model if told is None else value_model_from(told, version=model.version)
        made = make(other, float(shadow.budget_factor), last)
        _store(last, made, shadow=name, inputs=inputs, now=now, reasons=reasons)


def _names(catalog: Catalog) -> frozenset[str]:
    return frozenset(backend.name for backend in catalog.backends)


def _scaled(money: Money, factor: float) -> Money:
    def times(usd: float) -> float:
        return usd if usd >= NO_LIMIT_USD else usd * factor

    return Money(
        times(money.month_usd),
        times(money.day_usd),
        {code: times(usd) for code, usd in money.department_usd.items()},
    )


def _room(means: Means, factor: float, local_places: float) -> Room:
    """What is left; of a shadow, whose budgets are `factor` times as large, as much more or less of
    what is allowed."""
    money, real, room = _scaled(means.money, factor), means.money, means.room
    return Room(
        max(0.0, room.month_usd + money.month_usd - real.month_usd),
        max(0.0, room.day_usd + money.day_usd - real.day_usd),
        {
            code: max(0.0, left + money.department_usd[code] - real.department_usd[code])
            for code, left in room.department_usd.items()
        },
        local_places,
    )


def _charges(
    sample: Sequence[SampledCharge], model: ValueModel, codes: Sequence[str]
) -> list[Charge]:
    tenant = get_tenant()
    keys = read_backend_keys()
    customers = {c.id: c for c in list_customers()}
    departments = {d.id: d.code for d in list_departments() if d.code in codes}
    charges = []
    for one in sample:
        customer = customers.get(one.place.customer_id or 0)
        if not any(one.tokens):
            continue
        charges.append(
            Charge(
                ts_s=moment_of(tenant, one.occurred_at).epoch_s,
                department=departments.get(one.place.department_id or 0, UNASSIGNED),
                customer=customer.external_id if customer else "",
                tier=model.tier_of(customer.tier if customer else None),
                task=model.task_of(one.place.task),
                backend=keys.get(one.place.backend_id, ""),
                tokens_in=one.input_tokens,
                tokens_out=one.tokens[4],
                cost_usd=one.cost_units / UNITS_PER_USD if one.cost_units >= 0 else None,
                revenue_usd=one.revenue_usd,
                quality=one.quality_score,
                converted=one.converted,
            )
        )
    return charges


def _pace(row: LivePolicy, now: datetime) -> None:
    facts: dict[str, Any] = row.facts
    codes = facts["codes"]
    at = moment_of(get_tenant(), now)
    means = read_means(now, codes, facts["share"])
    room = _room(means, facts["budget_factor"], read_local_places(now, facts["capacity"]))
    before = from_json(row.document)
    policy, standing = pace_live(
        before,
        Standing.from_json(row.standing),
        at=at,
        room=room,
        counted=read_counted(now, codes),
    )
    throttles = throttles_of(means.used_up, policy.backends)
    policy = with_throttles(policy, throttles, facts.get("weights", policy.weights))
    turned = _turned(before.throttles, policy.throttles)
    facts |= {"refusing": sorted(means.refusing), "spent_up": means.spent_up}
    moved = _moved(facts.get("told", {}), policy)
    if (moved or turned) and not row.shadow:
        facts["told"] = _prices(policy)
        paced = ["what was spent, against what the plan meant to be"] if moved else []
        _tell(policy, "pace", [*turned, *paced], moved, now)
    row.version, row.document = policy.version, to_json(policy)
    row.standing, row.facts, row.issued_at = standing.as_json(), facts, now
    row.save(update_fields=["version", "document", "standing", "facts", "issued_at"])


@dataclass(frozen=True, slots=True)
class _Made:
    """What a plan came to."""

    policy: Policy
    standing: Standing
    facts: dict[str, Any]
    failure: str


def _store(
    row: LivePolicy | None,
    made: _Made,
    *,
    shadow: str,
    inputs: dict[str, Any],
    now: datetime,
    reasons: list[str],
) -> None:
    policy = replace(made.policy, version=(row.version if row else 0) + 1)
    before = row.facts.get("told", {}) if row else {}
    LivePolicy.objects.update_or_create(
        tenant_id=current_tenant_id(),
        shadow=shadow,
        defaults={
            "version": policy.version,
            "document": to_json(policy),
            "standing": made.standing.as_json(),
            "facts": made.facts | {"told": _prices(policy)},
            "inputs": inputs,
            "planned_at": now,
            "issued_at": now,
            "failure": made.failure,
        },
    )
    if not shadow:
        said = [*(reasons or ["somebody asked for it"]), *_outlook(policy, now)]
        _tell(policy, "plan", said, _moved(before, policy, least=0.0), now)
        PolicyChange.objects.filter(at__lt=now - HISTORY_KEPT).delete()


def _outlook(policy: Policy, now: datetime) -> list[str]:
    """Why prices are what they are: where the month is heading, against what is left of it."""
    if policy.month_left_usd >= NO_LIMIT_USD / 2:
        return []
    forecast = read_forecast({}, now=now)
    coming = float(forecast.total.p50_usd - forecast.spent_usd)
    left = policy.month_left_usd
    how = "over: prices tighten" if coming > left else "under: prices relax"
    return [
        f"as things went, the rest of the month would take {coming:,.2f} USD; {left:,.2f} are left,"
        f" so it is projected {how}"
    ]


def _prices(policy: Policy) -> dict[str, float]:
    return {
        "month": policy.month_price,
        "day": policy.day_price,
        **{f"department {name}": row.price for name, row in policy.departments.items()},
    }


def _moved(
    before: Mapping[str, float], policy: Policy, *, least: float = TOLD_LEAST
) -> list[dict[str, Any]]:
    moved = []
    for what, price in _prices(policy).items():
        old = before.get(what, 0.0)
        if abs(price - old) > max(least, TOLD_SHARE * abs(old), 0.005):
            moved.append({"what": what, "from": round(old, 4), "to": round(price, 4)})
    return moved


def _turned(before: Sequence[Throttle], after: Sequence[Throttle]) -> list[str]:
    """Budgets that began to throttle, and that ended."""
    had, has = {one.budget for one in before}, {one.budget for one in after}
    began = [f"{name} is used up: it throttles from now on" for name in sorted(has - had)]
    return [*began, *(f"{name} throttles no more" for name in sorted(had - has))][:MOST_TURNED]


def _tell(
    policy: Policy, kind: str, reasons: list[str], moved: list[dict[str, Any]], now: datetime
) -> None:
    PolicyChange.objects.create(
        version=policy.version,
        at=now,
        kind=kind,
        reasons=reasons,
        moved=moved,
        document=to_json(policy),
    )


def _alone() -> bool:
    """Whether nobody else plans or paces this tenant until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_try_advisory_xact_lock(%s, %s)",
            [PLAN_LOCK, current_tenant_id() % 2**31],
        )
        return bool(cursor.fetchone()[0])
