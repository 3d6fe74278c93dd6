"""Where the next request goes: the live policy's rule, within what people decided by hand and what
every cap allows. Part of services; nothing of HTTP is here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from apps.budgets.book import BudgetBook
from apps.budgets.core.scopes import Attributes
from apps.budgets.holds import Ask, new_decision_id, reserve
from apps.budgets.selectors import budget_book
from apps.insights.guard import Restricted, heed_restrictions
from apps.pricing.core.money import usd_from_units
from apps.pricing.core.rating import ResolvedBackend
from apps.pricing.selectors import rate_book_of
from apps.routing.core.choosing import Expected, Plan, choose, expected
from apps.routing.core.explain import Alternative, explain
from apps.routing.core.overrides import Mode, hand_of
from apps.routing.core.rule import Request
from apps.routing.core.value_model import ValueModel
from apps.routing.customer_memory import customer_of
from apps.routing.decision_log import DecisionRecord, log_decision
from apps.routing.errors import NoCandidate, NotWorthItsPrice
from apps.routing.granted import Granted
from apps.routing.policy_memory import Live, Shadow, live_policy
from apps.tenants.core.access import KeyIdentity
from apps.tenants.selectors import CustomerInfo

MAX_REASONS: Final = 10
# The chapter's: what an answer is taken to be long, of a task that nobody has seen.
USUAL_OUTPUT: Final = 500.0
MIDDLING: Final = 0.5


@dataclass(frozen=True, slots=True)
class DecisionRequest:
    """What a router wants to run. `max_output_tokens` bounds the worst case. `tier` unless told is
    the customer's; `difficulty` is 0 (easy) to 1; amounts unless told are what such requests
    were."""

    request_id: str
    input_tokens: int
    max_output_tokens: int
    department: str | None = None
    customer: str | None = None
    project: str | None = None
    tier: str | None = None
    task: str | None = None
    candidates: tuple[str, ...] = ()
    min_quality: float = 0.0
    difficulty: float = MIDDLING
    output_tokens: float | None = None
    revenue_usd: float | None = None
    reserve: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backend the request could run on, at what it would cost at worst; what the policy expects
    of it, and why it was not chosen. `expected` None: below the floor, or barred."""

    backend: str
    kind: str
    estimate_usd: Decimal
    expected: Expected | None
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, and why. `advised` is the policy's own choice; `policy_version` None while
    no policy is planned."""

    decision_id: str
    backend: str
    estimate_usd: Decimal
    held_usd: Decimal
    expires_at: datetime | None
    mode: Mode
    advised: str | None
    expected: Expected | None
    policy_version: int | None
    reasons: Sequence[str]
    alternatives: Sequence[Candidate]


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request with its candidates. `asks` by the name that the policy calls a backend."""

    request: Request
    asks: Mapping[str, Ask]
    named: Mapping[str, ResolvedBackend]
    unpriced: Sequence[str]

    def left_out(self) -> list[str]:
        return [f"{name} left out: nobody prices it" for name in self.unpriced[:MAX_REASONS]]


def decide(key: KeyIdentity, wanted: DecisionRequest, *, now: datetime) -> Decision:
    """Choose a backend; with `reserve`, set its worst case aside in every budget that covers it.

    Raises NoCandidate when none is known or priced, NoneEligible when none meets the floor or the
    quality asked for, NotWorthItsPrice where an enforced policy refuses it, BudgetRefused when none
    fits its caps, BudgetsUnknown, Suspended for a key or customer that a finding stopped. One that
    it slowed runs on the cheapest candidate or not at all.
    """
    customer = customer_of(key.tenant_id, wanted.customer)
    customer_id = customer.id if customer else None
    api_key_id = key.api_key_id
    restricted = heed_restrictions(key.tenant_id, api_key_id=api_key_id, customer_id=customer_id)
    live = live_policy(key.tenant_id, now)
    budgets = budget_book(key.tenant_id)
    request = _request(key, wanted, live, customer)
    about = Attributes(
        department_id=budgets.departments.get((wanted.department or "").lower()),
        customer_id=customer_id,
        project=wanted.project,
        api_key_id=key.api_key_id,
    )
    asked = _asked(wanted, request, about, budgets, now=now)
    mode = live.modes.of(wanted.department)
    rule = live.rule(now.timestamp(), asked.named)
    may_run = {option.backend for option in rule.options_of(request.tier, request.task)}
    used_up = _used_up(live, budgets, [ask for name, ask in asked.asks.items() if name in may_run])
    plan = choose(
        rule,
        request,
        live.room,
        candidates=list(asked.asks),
        worst_usd={name: float(ask.estimate_usd) for name, ask in asked.asks.items()},
        hand=hand_of(live.overrides, wanted.department or "", request.tier, request.task, now),
        mode=mode,
        min_quality=wanted.min_quality,
        draw=wanted.request_id,
        cheapest_only=restricted is not None or bool(used_up),
    )
    told, others = explain(plan.rule, request, live.room, plan.advised)
    is_refused = plan.advised.backend is None and mode == "enforce" and not used_up
    if is_refused and request.department in live.refusing:
        raise NotWorthItsPrice(request.department, told[0], plan.rule.price_of(request.department))
    notes = [*plan.notes, *_slowed(restricted), *used_up]
    granted = _grant(key, wanted, asked, plan, now=now)
    decision = Decision(
        decision_id=granted.decision_id,
        backend=granted.backend,
        estimate_usd=granted.estimate_usd,
        held_usd=granted.held_usd,
        expires_at=granted.expires_at,
        mode=mode,
        advised=plan.advised.backend,
        expected=_expected(plan, request, granted.backend),
        policy_version=live.version or None,
        reasons=[*granted.words(), *_said(mode, plan, told), *notes, *asked.left_out()],
        # Who is slowed has none.
        alternatives=[] if restricted else _alternatives(granted.backend, asked, plan, others),
    )
    if not granted.is_repeat:
        log_decision(_record(wanted, live, asked, plan, decision, now=now))
    return decision


def _asked(
    wanted: DecisionRequest,
    request: Request,
    about: Attributes,
    budgets: BudgetBook,
    *,
    now: datetime,
) -> _Asked:
    """What the request would cost at worst on each candidate. Raises NoCandidate."""
    book = rate_book_of(budgets.tenant_id)
    asks: dict[str, Ask] = {}
    named: dict[str, ResolvedBackend] = {}
    unpriced: list[str] = []
    for name in wanted.candidates or budgets.backends_by_key:
        backend = budgets.backends_by_key.get(name)
        resolved = (
            book.resolve(backend.provider, backend.model)
            if backend
            else book.resolve_anywhere(name)
        )
        units = _worst_case_units(resolved, wanted, now)
        if resolved is None or units < 0:
            unpriced.append(name)
            continue
        place = about._replace(
            provider=resolved.provider,
            model=resolved.model,
            backend_id=backend.id if backend else None,
            kind=backend.kind if backend else resolved.kind,
        )
        named[name] = resolved
        tokens = wanted.input_tokens + wanted.max_output_tokens
        asks[name] = Ask(name, place, usd_from_units(units), tokens)
    if not asks:
        raise NoCandidate(wanted.candidates, unpriced)
    return _Asked(request, asks, named, unpriced)


def _request(
    key: KeyIdentity, wanted: DecisionRequest, live: Live, customer: CustomerInfo | None
) -> Request:
    model = live.model
    task = model.task_of(wanted.task)
    usual = live.estimated_out.get(task, USUAL_OUTPUT)
    told = wanted.output_tokens if wanted.output_tokens is not None else usual
    request = Request(
        department=live.department_of(wanted.department),
        tier=model.tier_of(wanted.tier or (customer.tier if customer else None)),
        task=task,
        tokens_in=wanted.input_tokens,
        est_tokens_out=min(told, wanted.max_output_tokens),
        max_tokens_out=wanted.max_output_tokens,
        value_usd=0.0,
        difficulty=wanted.difficulty,
        customer=wanted.customer or "",
        project=wanted.project or "",
        router=key.name,
        code=wanted.department or "",
    )
    return request._replace(value_usd=_value_usd(model, request, wanted, live))


def _value_usd(model: ValueModel, request: Request, wanted: DecisionRequest, live: Live) -> float:
    """By tier and task, lifted by what the request earns: as told, or as its customer's do."""
    revenue = wanted.revenue_usd
    if revenue is None:
        revenue = live.revenue_usd.get(wanted.customer or "", 0.0)
    chance = live.conversion.get(request.task, 0.0)
    return model.request_value_usd(
        request.tier, request.task, revenue_usd=revenue, conversion_chance=chance
    )


def _worst_case_units(
    resolved: ResolvedBackend | None, wanted: DecisionRequest, now: datetime
) -> int:
    """In 1e-24 USD: all input uncached, and all the output that is allowed. -1: no price known."""
    if resolved is None or resolved.card is None:
        return -1
    return resolved.card.cost_units(
        wanted.input_tokens, 0, 0, 0, wanted.max_output_tokens, 0, now.timestamp()
    )


def _used_up(live: Live, budgets: BudgetBook, asks: Sequence[Ask]) -> list[str]:
    """Budgets that throttle, cover the request whatever it may run on, and have nothing left."""
    if not live.spent_up or not asks:
        return []
    covering = [
        {terms.id: terms.name for terms in budgets.matching(ask.attributes)} for ask in asks
    ]
    shared = live.spent_up.intersection(*covering)
    names = [covering[0][number] for number in sorted(shared)]
    return [f"{name} is used up; meanwhile only the cheapest runs" for name in names]


def _grant(
    key: KeyIdentity, wanted: DecisionRequest, asked: _Asked, plan: Plan, *, now: datetime
) -> Granted:
    """The first of the order that every cap lets run; without `reserve` no cap is asked."""
    if not wanted.reserve:
        first = plan.order[0]
        return Granted(first, str(new_decision_id(now)), asked.asks[first].estimate_usd, None)
    held = reserve(
        key.tenant_id,
        request_id=wanted.request_id,
        asks=[asked.asks[name] for name in plan.order],
        now=now,
    )
    return Granted(held.backend, held.decision_id, held.estimate_usd, held)


def _alternatives(
    chosen: str, asked: _Asked, plan: Plan, others: Sequence[Alternative]
) -> list[Candidate]:
    """Every other candidate: those that may run in the order they would be tried, then the rest."""
    why = {other.backend: other.reason for other in others}
    rest = sorted(
        (name for name in asked.asks if name not in plan.order),
        key=lambda name: (asked.asks[name].estimate_usd, name),
    )
    return [
        Candidate(
            backend=name,
            kind=asked.asks[name].attributes.kind or "cloud",
            estimate_usd=asked.asks[name].estimate_usd,
            expected=_expected(plan, asked.request, name),
            reason=why.get(name, ""),
        )
        for name in (*plan.order, *rest)
        if name != chosen
    ]


def _expected(plan: Plan, request: Request, backend: str) -> Expected | None:
    try:
        return expected(plan.rule, request, backend)
    except KeyError:
        return None


def _record(
    wanted: DecisionRequest,
    live: Live,
    asked: _Asked,
    plan: Plan,
    decision: Decision,
    *,
    now: datetime,
) -> DecisionRecord:
    request, seen = asked.request, decision.expected
    return DecisionRecord(
        tenant_id=live.tenant_id,
        decision_id=decision.decision_id,
        decided_at=now.isoformat(),
        request_id=wanted.request_id,
        policy_version=live.version,
        mode=decision.mode,
        department=request.department,
        customer=wanted.customer,
        tier=request.tier,
        task=request.task,
        backend=decision.backend,
        advised=decision.advised,
        because=plan.advised.because,
        propensity=plan.propensity,
        input_tokens=request.tokens_in,
        estimated_output_tokens=request.est_tokens_out,
        estimated_usd=f"{seen.cost_usd if seen else 0.0:.12f}",
        held_usd=f"{decision.held_usd:f}",
        value_usd=request.value_usd,
        quality=seen.quality if seen else None,
        reasons=list(decision.reasons)[: 2 * MAX_REASONS],
        alternatives=[
            [one.backend, f"{one.estimate_usd:f}", one.reason]
            for one in decision.alternatives[:MAX_REASONS]
        ],
        shadows={
            name: _of_shadow(shadow, wanted, live, asked, plan)
            for name, shadow in live.shadows.items()
        },
    )


def _of_shadow(
    shadow: Shadow, wanted: DecisionRequest, live: Live, asked: _Asked, plan: Plan
) -> list[object]:
    """[where the shadow would send it, what that is expected to cost and bring, and the same of the
    live policy's choice]: decided by the shadow's values, told by the live policy's."""
    rule, request = shadow.rule, asked.request
    own = request._replace(
        department=request.department if request.department in rule.policy.departments else "-",
        value_usd=_value_usd(shadow.model, request, wanted, live),
    )
    if own.department not in rule.policy.departments or own.task not in rule.policy.tasks:
        return [None, 0.0, 0.0, 0.0, 0.0]
    narrow = rule.narrowed(own.tier, own.task, frozenset(asked.asks), {})
    backend = narrow.decide(own, live.room).backend
    told: list[object] = [backend]
    for name in (backend, plan.advised.backend):
        seen = _expected(plan, request, name) if name else None
        told += [seen.cost_usd if seen else 0.0, seen.worth_usd if seen else 0.0]
    return told


def _said(mode: Mode, plan: Plan, told: Sequence[str]) -> list[str]:
    """The policy's sentence; where the mode only observes, as advice."""
    if mode != "observe":
        return list(told)
    if plan.advised.backend == plan.order[0]:
        return list(told)
    return [f"the policy only observes here; it would say: {told[0]}"]


def _slowed(restricted: Restricted | None) -> list[str]:
    return [f"{restricted.reason}; meanwhile only the cheapest runs"] if restricted else []
