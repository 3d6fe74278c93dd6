"""Policies and requests small enough to reason about by hand."""

from dataclasses import replace
from typing import Any

from apps.routing.core.policy import Policy, PolicyBackend, PolicyDepartment
from apps.routing.core.rule import Request, Room

LOCAL, CHEAP, DEAR = "local/small", "cloud/cheap", "cloud/dear"


def make_policy(**changed: Any) -> Policy:
    """Quality 0.6, 0.8, 0.95 at no difficulty's slope; 1,000 tokens in and out cost 0, 0.3 and 2.0
    cents."""
    qualities = (0.6, 0.8, 0.95)
    policy = Policy(
        version=3,
        issued_s=0.0,
        valid_until_s=7200.0,
        backends=(
            PolicyBackend(LOCAL, 0.0, 0.0, 1.0, 1.0, 1.0, True),
            PolicyBackend(CHEAP, 1e-6, 2e-6, 1.0, 1.0, 1.0, False),
            PolicyBackend(DEAR, 5e-6, 15e-6, 1.0, 1.0, 1.0, False),
        ),
        tiers=("free", "premium"),
        tasks=("chat", "reason"),
        top_tier="premium",
        departments={"sales": PolicyDepartment(0.0, 50.0, 0.0, 0.0)},
        quality={
            "chat": tuple((q, -0.2, 0.02) for q in qualities),
            "reason": tuple((q, -0.4, 0.02) for q in qualities),
        },
        table_quality={"chat": qualities, "reason": qualities},
        floors={"free": (0.5, 0.5), "premium": (0.7, 0.9)},
        fail_multiplier={"free": 0.0, "premium": 1.0},
        refusal_worth={"free": -0.5, "premium": -1.5},
        month_price=0.0,
        day_price=0.0,
        local_price=0.0,
        month_left_usd=100.0,
        day_left_usd=10.0,
        local_requests_left=10.0,
    )
    return replace(policy, **changed)


def make_request(**changed: Any) -> Request:
    request = Request("sales", "free", "chat", 1000, 1000.0, 2000.0, 0.10, 0.5)
    return request._replace(**changed)


def make_room(**changed: Any) -> Room:
    return replace(Room(100.0, 10.0, {"sales": 50.0}, 10.0), **changed)
