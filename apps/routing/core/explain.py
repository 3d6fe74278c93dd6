"""A decision in plain words, with its numbers: what each backend would bring and cost. Pure.

Not for the hot path: it scores every backend anew, by the rule's own numbers.
"""

from dataclasses import dataclass

from apps.routing.core.rule import Choice, Request, Room, Rule


@dataclass(frozen=True, slots=True)
class Alternative:
    """A backend beside the one that was chosen, best first. USD; `quality` is the chance of success
    believed; `net_usd` value less priced cost; `reason` why it is not the choice."""

    backend: str
    quality: float
    cost_usd: float
    net_usd: float
    reason: str


def explain(
    rule: Rule, request: Request, room: Room, choice: Choice
) -> tuple[list[str], list[Alternative]]:
    """Why this choice, in sentences; and every other backend, those barred by the floor last."""
    policy = rule.policy
    price = rule.price_of(request.department)
    fail = policy.fail_multiplier[request.tier]
    task = policy.tasks.index(request.task)
    floor = policy.floors[request.tier][task]
    scored: dict[str, tuple[float, float, float]] = {}
    for option in rule.options_of(request.tier, request.task):
        worth = min(option.worth + option.slope * request.difficulty, option.ceiling)
        cost = request.tokens_in * option.usd_in + request.est_tokens_out * option.usd_out
        priced = cost + rule.local_price if option.is_local else price * cost
        net = request.value_usd * worth - priced
        scored[option.backend] = ((worth + fail) / (1.0 + fail), cost, net)
    reasons = [_why(request, choice, price, scored)]
    others = []
    chosen = scored.get(choice.backend or "")
    for option in rule.options_of(request.tier, request.task):
        if option.backend == choice.backend:
            continue
        quality, cost, net = scored[option.backend]
        if option.is_local and room.local_requests < 1:
            reason = f"{option.backend} refused: its places of this hour are taken"
        elif chosen is None:
            reason = f"{option.backend} refused: {_short(request, choice)}"
        else:
            reason = _compared(request, option.backend, (quality, cost), chosen, price, fail=fail)
        others.append(Alternative(option.backend, quality, cost, net, reason))
    others.sort(key=lambda other: -other.net_usd)
    for n, backend in enumerate(policy.backends):
        if backend.name not in scored and not policy.is_eligible(request.tier, request.task, n):
            has = policy.table_quality[request.task][n]
            reason = (
                f"{backend.name} refused: its quality for {request.task} is {has:.2f}, the floor of"
                f" {request.tier} is {floor:.2f}"
            )
            others.append(Alternative(backend.name, has, 0.0, 0.0, reason))
    return reasons, others


def _why(
    request: Request,
    choice: Choice,
    price: float,
    scored: dict[str, tuple[float, float, float]],
) -> str:
    if choice.backend is None:
        return f"refused: {_short(request, choice)}"
    quality, cost, _ = scored[choice.backend]
    told = f"quality {quality:.2f}, {_cents(cost)} at today's budget price {price:.2f}"
    if choice.because == "reserve":
        return (
            f"{choice.backend}: the cheapest that meets the floor ({told}); what is left is kept"
            " for the floors of the requests to come"
        )
    if choice.because == "throttled":
        return f"{choice.backend}: the cheapest that meets the floor ({told})"
    return f"{choice.backend}: the most value for its price ({told})"


def _short(request: Request, choice: Choice) -> str:
    if choice.because == "short":
        return "not even the cheapest that meets the floor fits what is left"
    return f"worth {_cents(request.value_usd)}, it brings less than it costs at this price"


def _compared(
    request: Request,
    name: str,
    other: tuple[float, float],
    chosen: tuple[float, float, float],
    price: float,
    *,
    fail: float,
) -> str:
    gain = request.value_usd * (1.0 + fail) * (other[0] - chosen[0])
    more = other[1] - chosen[1]
    if more > 0 and gain > 0:
        return (
            f"{name} refused: quality gain worth {_cents(gain)} costs {_cents(more)} more at"
            f" today's budget price {price:.2f}"
        )
    if gain <= 0 <= more:
        return f"{name} refused: no better, and {_cents(more)} dearer"
    if gain <= 0:
        return f"{name} refused: saves {_cents(-more)} and loses quality worth {_cents(-gain)}"
    return f"{name} refused: its places are worth more to other requests"


def _cents(usd: float) -> str:
    cents = 100.0 * usd
    return f"{cents:.1f} cents" if abs(cents) >= 1 else f"{cents:.3f} cents"
