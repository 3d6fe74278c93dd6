"""The catalogue that a policy is planned from, out of a value model, prices, budgets and a
forecast. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from apps.routing.core.catalog import Backend, Catalog
from apps.routing.core.value_model import TIERS, ValueModel

# Where no budget is set: more than is ever spent, and small enough to reckon with.
NO_LIMIT_USD: Final = 1e9


@dataclass(frozen=True, slots=True)
class BackendPrice:
    """What a backend's tokens cost, USD each: of input as it is really billed (caches and all)."""

    name: str
    usd_in: float
    usd_out: float
    is_local: bool
    out_multiplier: float = 1.0


@dataclass(frozen=True, slots=True)
class Money:
    """What may be spent, USD; NO_LIMIT_USD where nobody set a budget. Departments by code, every
    one that is planned for."""

    month_usd: float
    day_usd: float
    department_usd: Mapping[str, float]


def build_catalog(
    model: ValueModel,
    prices: Sequence[BackendPrice],
    money: Money,
    forecast: Sequence[Sequence[float]],
) -> Catalog:
    """Local backends first. `forecast`: hours from the month's start x departments, in the order
    of `money.department_usd`."""
    ordered = sorted(prices, key=lambda price: (not price.is_local, price.name))
    return Catalog(
        backends=tuple(
            Backend(
                name=price.name,
                usd_in=price.usd_in,
                usd_out=price.usd_out,
                out_multiplier=price.out_multiplier,
                difficulty_sensitivity=model.slope_of(price.name, is_local=price.is_local),
                is_local=price.is_local,
            )
            for price in ordered
        ),
        tasks=model.tasks,
        tiers=TIERS,
        departments=tuple(money.department_usd),
        quality={
            task: tuple(model.quality_of(p.name, task, is_local=p.is_local) for p in ordered)
            for task in model.tasks
        },
        floors={(tier, task): model.floor_of(tier, task) for tier in TIERS for task in model.tasks},
        fail_multiplier=model.fail_multiplier,
        reject_multiplier=model.refusal_multiplier,
        month_usd=money.month_usd,
        day_usd=money.day_usd,
        department_usd=money.department_usd,
        local_requests_per_hour=model.local_places([p.name for p in ordered if p.is_local]),
        forecast=tuple(tuple(row) for row in forecast),
    )
