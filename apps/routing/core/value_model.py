"""What a request is worth, how well each backend does it, and the least that is accepted. Pure.

Amounts are USD per request; quality and floors are 0 to 1. A backend that nobody has judged has its
family's quality (families.py); a task that the model does not know counts as "other".
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from apps.routing.core.families import OTHER, TASKS, family_of

TIERS: Final = ("free", "standard", "premium", "enterprise")
MAX_TASKS: Final = 40
MAX_BACKENDS: Final = 100
MAX_NAME: Final = 200
MAX_VALUE_USD: Final = 1e6
MAX_MULTIPLIER: Final = 100.0
MAX_LOCAL_REQUESTS: Final = 1e9
Table = Mapping[str, Mapping[str, float]]


class ValueModelError(ValueError):
    """A field holds what it cannot: `field` names it, the text what it held and what is due."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field = field


@dataclass(frozen=True, slots=True)
class ValueModel:
    """One version. `quality[backend key][task]` and `slope[backend key]` are what people set; what
    they did not set is the family's. `floors` and `value_usd` are by tier, then task.

    A request is worth value_usd[tier][task] + revenue_share x its revenue + conversion_usd x the
    chance of a conversion. A failure costs fail_multiplier[tier] x that, a refusal
    refusal_multiplier x that. `local_requests_per_hour` by backend key; one that is not named has
    no limit of its own.
    """

    version: int
    tasks: tuple[str, ...]
    floors: Table
    value_usd: Table
    fail_multiplier: Mapping[str, float]
    refusal_multiplier: float
    revenue_share: float
    conversion_usd: float
    quality: Table = field(default_factory=dict)
    slope: Mapping[str, float] = field(default_factory=dict)
    local_requests_per_hour: Mapping[str, float] = field(default_factory=dict)
    default_tier: str = "standard"

    def task_of(self, task: str | None) -> str:
        """The class that a request's task counts as."""
        return task if task in self.tasks else OTHER

    def tier_of(self, tier: str | None) -> str:
        return tier if tier in TIERS else self.default_tier

    def quality_of(self, backend: str, task: str, *, is_local: bool) -> float:
        """Of a backend (by its key, "openai/gpt-5-mini") at a request of middling difficulty."""
        told = self.quality.get(backend, {}).get(task)
        return family_of(backend, is_local=is_local).of(task) if told is None else told

    def slope_of(self, backend: str, *, is_local: bool) -> float:
        """Quality lost from the easiest request to the hardest."""
        told = self.slope.get(backend)
        return family_of(backend, is_local=is_local).slope if told is None else told

    def floor_of(self, tier: str, task: str) -> float:
        """The least table quality that a tier accepts for a task. Hard."""
        return self.floors[tier][task]

    def request_value_usd(
        self, tier: str, task: str, *, revenue_usd: float = 0.0, conversion_chance: float = 0.0
    ) -> float:
        """What one good answer is worth."""
        return (
            self.value_usd[tier][task]
            + self.revenue_share * revenue_usd
            + self.conversion_usd * conversion_chance
        )

    def local_places(self, backends: Sequence[str]) -> float:
        """Requests an hour that these local backends take together."""
        return sum(self.local_requests_per_hour.get(b, MAX_LOCAL_REQUESTS) for b in backends)

    def content(self) -> dict[str, Any]:
        """As JSON, without the version's number; `read_value_model` reads it again."""
        return {
            "tasks": list(self.tasks),
            "floors": {tier: dict(row) for tier, row in self.floors.items()},
            "value_usd": {tier: dict(row) for tier, row in self.value_usd.items()},
            "fail_multiplier": dict(self.fail_multiplier),
            "refusal_multiplier": self.refusal_multiplier,
            "revenue_share": self.revenue_share,
            "conversion_usd": self.conversion_usd,
            "quality": {name: dict(row) for name, row in self.quality.items()},
            "slope": dict(self.slope),
            "local_requests_per_hour": dict(self.local_requests_per_hour),
            "default_tier": self.default_tier,
        }


_FLOORS: Final = {
    "free": (0.70, 0.78, 0.80, 0.70, 0.60, 0.45, 0.40, 0.36, 0.64),
    "standard": (0.80, 0.86, 0.88, 0.80, 0.74, 0.64, 0.58, 0.52, 0.75),
    "premium": (0.84, 0.88, 0.90, 0.84, 0.80, 0.78, 0.76, 0.72, 0.80),
    "enterprise": (0.88, 0.90, 0.92, 0.88, 0.86, 0.80, 0.78, 0.76, 0.86),
}
_VALUES: Final = (0.02, 0.01, 0.004, 0.03, 0.06, 0.30, 0.20, 0.40, 0.03)
_TIER_FACTOR: Final = {"free": 0.4, "standard": 1.0, "premium": 1.8, "enterprise": 2.5}


def default_value_model() -> ValueModel:
    """What holds until a tenant says otherwise: version 0."""
    return ValueModel(
        version=0,
        tasks=TASKS,
        floors={tier: dict(zip(TASKS, row, strict=True)) for tier, row in _FLOORS.items()},
        value_usd={
            tier: {task: round(f * usd, 6) for task, usd in zip(TASKS, _VALUES, strict=True)}
            for tier, f in _TIER_FACTOR.items()
        },
        fail_multiplier={"free": 0.2, "standard": 0.5, "premium": 1.0, "enterprise": 1.5},
        refusal_multiplier=0.3,
        revenue_share=0.5,
        conversion_usd=0.0,
    )


def read_value_model(content: Mapping[str, Any], *, version: int) -> ValueModel:
    """From `content()`'s shape; a key that is missing has its default. Raises ValueModelError."""
    defaults = default_value_model()
    known = set(defaults.content())
    for key in content:
        if key not in known:
            raise ValueModelError(
                str(key)[:60], f"no such field; there are {', '.join(sorted(known))}"
            )
    tasks = _tasks(content.get("tasks", list(defaults.tasks)))
    tier = content.get("default_tier", defaults.default_tier)
    if tier not in TIERS:
        raise ValueModelError("default_tier", f"{tier!r} is none of {', '.join(TIERS)}")
    return ValueModel(
        version=version,
        tasks=tasks,
        floors=_by_tier(content, "floors", tasks, defaults.floors, most=1.0),
        value_usd=_by_tier(content, "value_usd", tasks, defaults.value_usd, most=MAX_VALUE_USD),
        fail_multiplier={
            **defaults.fail_multiplier,
            **_numbers(content, "fail_multiplier", most=MAX_MULTIPLIER, names=TIERS),
        },
        refusal_multiplier=_number(
            content.get("refusal_multiplier", defaults.refusal_multiplier),
            "refusal_multiplier",
            most=MAX_MULTIPLIER,
        ),
        revenue_share=_number(
            content.get("revenue_share", defaults.revenue_share), "revenue_share", most=1.0
        ),
        conversion_usd=_number(
            content.get("conversion_usd", defaults.conversion_usd),
            "conversion_usd",
            most=MAX_VALUE_USD,
        ),
        quality={
            _name(backend, "quality"): _numbers(
                _object(content, "quality"), backend, most=1.0, names=tasks, where="quality."
            )
            for backend in _few(_object(content, "quality"), "quality")
        },
        slope=_numbers(content, "slope", most=1.0),
        local_requests_per_hour=_numbers(
            content, "local_requests_per_hour", most=MAX_LOCAL_REQUESTS
        ),
        default_tier=tier,
    )


def changes(before: ValueModel, after: ValueModel) -> list[tuple[str, Any, Any]]:
    """What differs: (path, from, to), in the order of the paths; None where nothing stood."""
    old, new = _flat(before.content()), _flat(after.content())
    paths = sorted(old.keys() | new.keys())
    return [(p, old.get(p), new.get(p)) for p in paths if old.get(p) != new.get(p)]


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= _flat(inner, f"{path} {key}" if path else key)
    return found


def _tasks(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_TASKS:
        raise ValueModelError("tasks", f"1 to {MAX_TASKS} names in a list are due")
    names = [_name(task, "tasks") for task in value]
    if len(set(names)) != len(names):
        raise ValueModelError("tasks", "a name stands twice")
    return tuple(names) if OTHER in names else (*names, OTHER)


def _by_tier(
    content: Mapping[str, Any], key: str, tasks: Sequence[str], defaults: Table, *, most: float
) -> dict[str, dict[str, float]]:
    """Tier x task, complete: what is not told is the default of the task, else of "other"."""
    rows = _object(content, key)
    for tier in rows:
        if tier not in TIERS:
            raise ValueModelError(
                f"{key}.{str(tier)[:60]}", f"no tier; there are {', '.join(TIERS)}"
            )
    table = {}
    for tier in TIERS:
        told = _numbers(rows, tier, most=most, names=tasks, where=f"{key}.")
        usual = defaults[tier]
        table[tier] = {task: told.get(task, usual.get(task, usual[OTHER])) for task in tasks}
    return table


def _object(content: Mapping[str, Any], key: str, where: str = "") -> Mapping[str, Any]:
    value = content.get(key, {})
    if not isinstance(value, Mapping):
        raise ValueModelError(f"{where}{key}", "an object is due")
    return value


def _few(rows: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    if len(rows) > MAX_BACKENDS:
        raise ValueModelError(where, f"{len(rows)} backends; {MAX_BACKENDS} at most")
    return rows


def _numbers(
    content: Mapping[str, Any],
    key: str,
    *,
    most: float,
    names: Sequence[str] | None = None,
    where: str = "",
) -> dict[str, float]:
    rows = _few(_object(content, key, where), f"{where}{key}")
    for name in rows:
        _name(name, f"{where}{key}")
        if names is not None and name not in names:
            raise ValueModelError(
                f"{where}{key}.{name[:60]}", f"not known here; there are {', '.join(names)}"
            )
    return {name: _number(v, f"{where}{key}.{name}", most=most) for name, v in rows.items()}


def _name(value: Any, where: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME or "\0" in value:
        raise ValueModelError(where, f"a name has 1 to {MAX_NAME} characters, none of them NUL")
    return value


def _number(value: Any, where: str, *, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueModelError(where, "a number is due")
    if not math.isfinite(value) or not 0 <= value <= most:
        raise ValueModelError(where, f"{value} is not from 0 to {most:g}")
    return float(value)
