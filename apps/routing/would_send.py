"""Where the policy would send a window's requests: rollups by its weights. Part of selectors."""

from datetime import datetime

from apps.routing.core.would_send import Ran, WouldSend, would_send
from apps.routing.selectors import read_policy, read_value_model
from apps.usage.selectors import SpendQuery, SpendRow, read_spend


def read_would_send(start: datetime, end: datetime, *, by_minute: bool) -> WouldSend | None:
    """None until a policy is planned, and where nothing ran. The tenant in scope's; its cost does
    not grow with the number of requests."""
    policy = read_policy()
    if policy is None:
        return None
    model = read_value_model(end)
    rows = read_spend(
        SpendQuery(start, end, ("backend", "department", "tier", "task"), by_minute=by_minute)
    ).rows

    def ran(row: SpendRow) -> Ran:
        labels = row.labels
        return Ran(
            labels["backend"] or "",
            labels["department"] or "",
            model.tier_of(labels["tier"]),
            model.task_of(labels["task"]),
            row.requests,
            float(row.cost_usd),
            row.input_tokens,
            row.output_tokens,
        )

    found = would_send(policy, [ran(row) for row in rows if row.tokens and row.labels["backend"]])
    return found if found.requests else None
