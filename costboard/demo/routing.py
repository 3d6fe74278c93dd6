"""What the demo's company holds its requests to be worth, and how far the policy goes."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from apps.routing.core.families import OTHER
from apps.routing.core.value_model import TIERS, default_value_model
from apps.routing.selectors import list_value_models
from apps.routing.services import begin_shadow, set_mode, set_value_model
from costboard.demo.company import BACKENDS, TASKS

# USD that a good answer to a standard customer is worth; its requests are long.
VALUE_USD: Final = {
    "chat": 0.05,
    "rag": 0.16,
    "summarise": 0.09,
    "extract": 0.05,
    "code": 0.80,
    "agent": 0.90,
}
TIER_FACTOR: Final = {"free": 0.4, "standard": 1.0, "premium": 1.8, "enterprise": 2.5}
LOCAL_REQUESTS_PER_HOUR: Final = {"local/llama-3-70b": 420.0, "local/qwen3-32b": 360.0}


def ensure_routing(actor: str, now: datetime) -> None:
    """Make the value model of the tenant in scope, once: what people changed since stays theirs."""
    if list_value_models():
        return
    set_value_model(
        _content(), actor=actor, reason="What our traffic is worth, by tier and task", now=now
    )
    set_mode("advise", actor=actor, reason="Routers follow where they can", now=now)
    begin_shadow(
        "two thirds of the money",
        budget_factor=Decimal("0.6667"),
        actor=actor,
        reason="What next year's budgets would do to quality",
        now=now,
    )


def _content() -> dict[str, Any]:
    """The company's reviews of its backends: at a task's usual difficulty, 0.5 in the middle."""
    defaults = default_value_model()
    quality: dict[str, dict[str, float]] = {}
    for backend in BACKENDS:
        name = f"{backend.provider}/{backend.model}"
        is_local = backend.provider == "local"
        quality[name] = {
            task.name: round(defaults.quality_of(name, task.name, is_local=is_local), 3)
            for task in TASKS
        }
    tasks = [task.name for task in TASKS] + [OTHER]
    return defaults.content() | {
        "tasks": tasks,
        "floors": {tier: {task: defaults.floor_of(tier, task) for task in tasks} for tier in TIERS},
        "quality": quality,
        "value_usd": {
            tier: {task: round(TIER_FACTOR[tier] * usd, 4) for task, usd in VALUE_USD.items()}
            for tier in TIERS
        },
        "local_requests_per_hour": LOCAL_REQUESTS_PER_HOUR,
    }
