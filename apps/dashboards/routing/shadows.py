"""Shadow policies on the policy page: what runs beside the live one, and how it compares."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from apps.dashboards.page import PageRequest
from apps.dashboards.pricing.words import moment_words
from apps.dashboards.routing.policy_words import money
from apps.dashboards.templatetags.figures_of_speech import percent, usd
from apps.routing.selectors import (
    ShadowInfo,
    compare_shadows,
    list_shadows,
    list_value_models,
)

COMPARED: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class ShadowLine:
    """`cost_usd` and `worth_usd` more than the live policy's; None before anything was decided."""

    id: int
    name: str
    since: str
    other: str
    reason: str
    actor: str
    decisions: int
    agreed: Decimal | None = None
    cost_usd: Decimal | None = None
    worth_usd: Decimal | None = None


def shadows_context(request: PageRequest) -> dict[str, Any]:
    """What the page shows of them."""
    start = request.now - COMPARED
    found = {one.name: one for one in compare_shadows(start=start, end=request.now)}
    lines = []
    for info in list_shadows():
        line = _line(info, moment_words(info.created_at, request.tenant.zone))
        if one := found.get(info.name):
            line |= {
                "decisions": one.decisions,
                "agreed": money(one.agreed / one.decisions),
                "cost_usd": money(one.shadow_cost_usd - one.live_cost_usd),
                "worth_usd": money(one.shadow_worth_usd - one.live_worth_usd),
            }
        lines.append(ShadowLine(**line))
    return {
        "shadows": lines,
        "shadows_title": title(lines),
        "value_versions": [
            {"version": info.model.version, "reason": info.reason} for info in list_value_models()
        ],
    }


def _line(info: ShadowInfo, since: str) -> dict[str, Any]:
    parts = []
    if info.budget_factor != 1:
        parts.append(f"{percent(info.budget_factor)} of each budget")
    if info.value_model is not None:
        parts.append("values of its own")
    return {
        "id": info.id,
        "name": info.name,
        "since": since,
        "other": ", ".join(parts) or "nothing yet: budgets and values as they are",
        "reason": info.reason,
        "actor": info.actor,
        "decisions": 0,
    }


def title(lines: list[ShadowLine]) -> str:
    """The finding: which shadow would have brought most beside the live policy."""
    if not lines:
        return "No policy decides beside the live one"
    told = [line for line in lines if line.worth_usd is not None]
    if not told:
        return "Nothing was decided beside the live policy yet"
    best = max(told, key=lambda line: line.worth_usd or Decimal(0))
    worth = best.worth_usd or Decimal(0)
    how = "more" if worth > 0 else "less"
    if round(worth, 2) == 0:
        return f"“{best.name}” would have brought the same value"
    return f"“{best.name}” would have brought {usd(abs(worth))} USD of value {how}"
