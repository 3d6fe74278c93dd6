"""A month of traffic that is made up, from a seed: what `simulate_routing` reads, and what is true.

30 days, about 200,000 requests, five departments, three tiers, six task classes, one local backend
and five of the cloud at list prices; seasons of the day and the week, two burst days that nobody
announced, a launch that was announced, and 12% more than was forecast throughout.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.routing.core.catalog import Catalog, read_catalog
from apps.routing.core.rule import Request
from apps.routing.trace_files import COLUMNS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DAYS: Final = 30
REQUESTS: Final = 200_000
ABOVE_FORECAST: Final = 1.12
LAUNCH_DAY: Final = 17
BURST_DAYS: Final = (8, 22)
REGRESSION_DAY: Final = 12
REGRESSING: Final = 2
DEPARTMENTS: Final = ("support", "sales", "engineering", "product", "legal")
SHARES: Final = np.array([0.36, 0.2, 0.22, 0.14, 0.08])
BUDGETS_USD: Final = (175.0, 115.0, 165.0, 110.0, 60.0)
TIERS: Final = ("free", "standard", "premium")
TIER_SHARES: Final = np.array(
    [[0.6, 0.32, 0.08], [0.35, 0.5, 0.15], [0.3, 0.5, 0.2], [0.55, 0.35, 0.1], [0.1, 0.5, 0.4]]
)
TIER_VALUE: Final = np.array([0.5, 1.0, 2.6])
FAIL: Final = {"free": 0.3, "standard": 0.6, "premium": 1.2}
TASKS: Final = ("chat", "summarise", "extract", "translate", "code", "reason")
TASK_SHARES: Final = np.array(
    [
        [0.55, 0.15, 0.12, 0.1, 0.02, 0.06],
        [0.35, 0.25, 0.15, 0.15, 0.02, 0.08],
        [0.1, 0.1, 0.1, 0.02, 0.53, 0.15],
        [0.4, 0.2, 0.15, 0.1, 0.05, 0.1],
        [0.1, 0.35, 0.25, 0.1, 0.0, 0.2],
    ]
)
TASK_VALUE_USD: Final = np.array([0.045, 0.060, 0.036, 0.045, 0.120, 0.170])
TOKENS_IN: Final = np.array([1400, 6500, 3600, 1600, 4400, 2800])
TOKENS_OUT: Final = np.array([400, 480, 220, 700, 950, 1300])
# Name, USD per million in and out, out_multiplier, difficulty_sensitivity, quality by task.
BACKENDS: Final = (
    ("local/qwen3-32b", 0.0, 0.0, 1.0, 0.50, (0.80, 0.78, 0.80, 0.77, 0.66, 0.56)),
    ("google/gemini-2.5-flash-lite", 0.10, 0.40, 1.0, 0.42, (0.83, 0.82, 0.84, 0.84, 0.70, 0.62)),
    ("openai/gpt-5-mini", 0.25, 2.00, 1.6, 0.34, (0.87, 0.86, 0.89, 0.87, 0.81, 0.78)),
    ("anthropic/claude-haiku-4-5", 1.00, 5.00, 1.1, 0.30, (0.90, 0.90, 0.90, 0.89, 0.86, 0.80)),
    ("openai/gpt-5", 1.25, 10.00, 1.8, 0.20, (0.92, 0.92, 0.93, 0.92, 0.91, 0.91)),
    ("anthropic/claude-sonnet-4-5", 3.00, 15.00, 1.15, 0.17, (0.95, 0.95, 0.94, 0.94, 0.94, 0.92)),
)
FLOORS: Final = {"free": 0.5, "standard": 0.7, "premium": 0.82}
FLOORS_REASON: Final = {"free": 0.5, "standard": 0.6, "premium": 0.78}


@dataclass(frozen=True, slots=True)
class Trace:
    """`cost`, `quality` and `success` are requests x backends. `quality` is the chance of success
    that nobody sees; `success` what came of it, 0 or 1; `seen` whether anybody says so."""

    catalog: Catalog
    catalog_json: dict[str, Any]
    ts_s: Floats
    requests: list[Request]
    cost: Floats
    quality: Floats
    success: Floats
    seen: NDArray[np.bool_]


def make_trace(
    seed: int,
    *,
    requests: int = REQUESTS,
    regression: bool = False,
    wrong_prior: bool = False,
    seen_share: float = 1.0,
) -> Trace:
    """The same trace for the same arguments. `regression`: backend `REGRESSING` loses 0.35 of its
    quality on day 12; `wrong_prior`: the catalogue's table is off by 0.1 (standard deviation)."""
    chance = np.random.default_rng(seed)
    forecast, expected = _volumes(requests, chance)
    counts = chance.poisson(expected * chance.gamma(40.0, 1 / 40.0, expected.shape))
    hour = np.repeat(np.arange(len(counts)), counts.sum(axis=1))
    ts_s = (hour + chance.random(len(hour))) * 3600.0
    department = np.concatenate([np.repeat(np.arange(len(DEPARTMENTS)), row) for row in counts])
    order = np.argsort(ts_s, kind="stable")
    ts_s, department = ts_s[order], department[order]
    tier = _draw(TIER_SHARES[department], chance)
    task = _draw(TASK_SHARES[department], chance)
    catalog_json = _catalog_json(forecast, requests, chance, wrong_prior=wrong_prior)
    listed, difficulty = _requests(department, tier, task, chance)
    cost = _costs(listed, chance)
    quality = _qualities(task, difficulty, ts_s, regression=regression)
    return Trace(
        catalog=read_catalog(catalog_json),
        catalog_json=catalog_json,
        ts_s=ts_s,
        requests=listed,
        cost=cost,
        quality=quality,
        success=(chance.random(quality.shape) < quality).astype(np.float64),
        seen=chance.random(len(ts_s)) < seen_share,
    )


def _volumes(requests: int, chance: np.random.Generator) -> tuple[Floats, Floats]:
    """Hours x departments: what was forecast, and what is to be expected."""
    hours = np.arange(DAYS * 24)
    day, clock = hours // 24, hours % 24
    daily = 0.35 + np.exp(-((clock - 11.0) ** 2) / 12) + 0.8 * np.exp(-((clock - 16.0) ** 2) / 14)
    weekly = np.where(day % 7 >= 5, 0.45, 1.0)
    level = (daily * weekly)[:, None] * SHARES[None, :]
    level[:, 2] *= np.where(day % 7 >= 5, 0.5, 1.0)
    level[:, 3] *= np.where(day >= LAUNCH_DAY, 2.5, 1.0)
    burst = np.ones_like(level)
    burst[day == BURST_DAYS[0]] = 1.7
    burst[day == BURST_DAYS[1], 0] = 2.6
    wander = np.exp(chance.normal(0, 0.08, (DAYS, len(SHARES))))[day]
    expected = level * burst * wander
    scale = requests / expected.sum()
    return level * scale / ABOVE_FORECAST, expected * scale


def _draw(shares: Floats, chance: np.random.Generator) -> Ints:
    picked = (chance.random((len(shares), 1)) > shares.cumsum(axis=1)).sum(axis=1)
    drawn: Ints = np.minimum(picked, shares.shape[1] - 1)
    return drawn


def _requests(
    department: Ints, tier: Ints, task: Ints, chance: np.random.Generator
) -> tuple[list[Request], Floats]:
    count = len(task)
    tokens_in = np.maximum(20, TOKENS_IN[task] * np.exp(chance.normal(-0.2, 0.7, count))).astype(
        int
    )
    estimate = np.maximum(10, TOKENS_OUT[task] * np.exp(chance.normal(-0.15, 0.6, count)))
    most = 2.0 ** np.ceil(np.log2(estimate * 1.8))
    value = TASK_VALUE_USD[task] * TIER_VALUE[tier] * np.exp(chance.normal(-0.32, 0.8, count))
    difficulty = chance.beta(2.2, 2.2, count)
    seen = np.clip(difficulty + chance.normal(0, 0.15, count), 0, 1)
    rows = zip(
        department.tolist(),
        tier.tolist(),
        task.tolist(),
        tokens_in.tolist(),
        np.round(estimate).tolist(),
        most.tolist(),
        np.round(value, 6).tolist(),
        np.round(seen, 4).tolist(),
        strict=True,
    )
    return [
        Request(DEPARTMENTS[d], TIERS[t], TASKS[k], *rest) for d, t, k, *rest in rows
    ], difficulty


def _costs(listed: list[Request], chance: np.random.Generator) -> Floats:
    tokens_in = np.array([request.tokens_in for request in listed], dtype=float)
    estimate = np.array([request.est_tokens_out for request in listed])
    most = np.array([request.max_tokens_out for request in listed])
    shared = chance.normal(0, 0.35, len(listed))
    columns = []
    for _, usd_in, usd_out, multiplier, _, _ in BACKENDS:
        own = chance.normal(0, 0.2, len(listed))
        actual = np.minimum(np.round(estimate * np.exp(shared + own - 0.08)), most)
        columns.append((tokens_in * usd_in + actual * multiplier * usd_out) / 1e6)
    return np.round(np.stack(columns, axis=1), 9)


def _qualities(task: Ints, difficulty: Floats, ts_s: Floats, *, regression: bool) -> Floats:
    columns = []
    for n, (_, _, _, _, sensitivity, table) in enumerate(BACKENDS):
        quality = np.array(table)[task] - sensitivity * (difficulty - 0.5)
        if regression and n == REGRESSING:
            quality = quality - np.where(ts_s >= REGRESSION_DAY * 86_400, 0.35, 0.0)
        columns.append(np.clip(quality, 0.02, 0.99))
    return np.stack(columns, axis=1)


def _catalog_json(
    forecast: Floats, requests: int, chance: np.random.Generator, *, wrong_prior: bool
) -> dict[str, Any]:
    scale = requests / REQUESTS
    off = chance.normal(0, 0.1, (len(BACKENDS), len(TASKS))) * wrong_prior
    return {
        "backends": [
            {
                "name": name,
                "usd_in": usd_in / 1e6,
                "usd_out": usd_out / 1e6,
                "out_multiplier": multiplier,
                "difficulty_sensitivity": sensitivity,
            }
            for name, usd_in, usd_out, multiplier, sensitivity, _ in BACKENDS
        ],
        "quality_table": {
            task: {
                row[0]: round(float(np.clip(row[5][k] + off[n, k], 0.05, 0.98)), 4)
                for n, row in enumerate(BACKENDS)
            }
            for k, task in enumerate(TASKS)
        },
        "floors": FLOORS,
        "floors_reason": FLOORS_REASON,
        "fail_multiplier": FAIL,
        "reject_multiplier": 0.5,
        "month_budget": 520.0 * scale,
        "daily_cap": 25.0 * scale,
        "department_budgets": {
            name: usd * scale for name, usd in zip(DEPARTMENTS, BUDGETS_USD, strict=True)
        },
        "local_requests_per_hour": round(requests / (DAYS * 24) / 3, 1),
        "forecast_requests_per_hour": np.round(forecast, 3).tolist(),
    }


def write_trace(trace: Trace, folder: Path) -> None:
    """catalog.json, trace.csv and outcomes.csv, as docs/routing.md has them. An outcome that nobody
    reports is an empty cell."""
    names = [backend.name for backend in trace.catalog.backends]
    (folder / "catalog.json").write_text(json.dumps(trace.catalog_json))
    with (folder / "trace.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for n, (ts_s, request) in enumerate(zip(trace.ts_s.tolist(), trace.requests, strict=True)):
            rows.writerow((f"r{n}", round(ts_s, 3), *request))
    with (folder / "outcomes.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(
            ["request_id", *(f"cost_{x}" for x in names), *(f"success_{x}" for x in names)]
        )
        for n, (cost, success, seen) in enumerate(
            zip(trace.cost.tolist(), trace.success.tolist(), trace.seen.tolist(), strict=True)
        ):
            told = [int(x) for x in success] if seen else [""] * len(names)
            rows.writerow([f"r{n}", *(f"{usd:.9f}" for usd in cost), *told])
