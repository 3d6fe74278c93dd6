"""What outcomes teach, and how a backend that grows worse is noticed."""

import random

import numpy as np
import pytest

from apps.routing.core.learning import Learning, Spending
from bench.routing_trace import BACKENDS, TASKS, make_trace


def teach(
    learning: Learning,
    chance: random.Random,
    count: int,
    *,
    ts_s: float = 0.0,
    worse: int | None = None,
) -> None:
    """Outcomes of the trace's true table, at every difficulty, on every backend."""
    for _ in range(count):
        backend, task = chance.randrange(len(BACKENDS)), chance.randrange(len(TASKS))
        difficulty = chance.random()
        quality = BACKENDS[backend][5][task] - BACKENDS[backend][4] * (difficulty - 0.5)
        quality -= 0.35 if backend == worse else 0.0
        success = float(chance.random() < quality)
        learning.learn(TASKS[task], backend, difficulty, success, ts_s)


def test_without_outcomes_the_table_is_believed() -> None:
    catalog = make_trace(1, requests=2000).catalog
    believed = Learning(catalog).believe()
    assert believed.level == pytest.approx(np.array([catalog.quality[t] for t in catalog.tasks]))
    assert -believed.slope[0] == pytest.approx([b.difficulty_sensitivity for b in catalog.backends])


def test_a_wrong_table_is_unlearnt() -> None:
    catalog = make_trace(1, requests=2000, wrong_prior=True).catalog
    true = np.array([[row[5][k] for row in BACKENDS] for k in range(len(TASKS))])
    learning = Learning(catalog)
    before = np.abs(learning.believe().level - true).mean()
    teach(learning, random.Random(1), 20_000)
    believed = learning.believe()
    after = np.abs(believed.level - true).mean()
    assert before > 0.06
    assert after < 0.02
    assert (believed.deviation < 0.05).all()


def test_a_backend_that_regresses_is_noticed_and_learnt_anew() -> None:
    learning = Learning(make_trace(1, requests=2000).catalog)
    chance = random.Random(2)
    for hour in range(20):
        teach(learning, chance, 600, ts_s=hour * 3600.0)
        learning.believe(1.0)
    assert learning.regressed == {}
    good = learning.believe().level[:, 2].mean()
    for _ in range(5):
        teach(learning, chance, 600, ts_s=72_000.0, worse=2)
        learning.believe(1.0)
    assert learning.regressed == {2: 72_000.0}
    # What was seen before is let go at the alarm, some sixty outcomes after the fall.
    assert learning.believe().level[:, 2].mean() == pytest.approx(good - 0.35, abs=0.08)


def test_output_that_estimates_miss_is_priced_in() -> None:
    catalog = make_trace(1, requests=2000).catalog
    spending = Spending(catalog)
    backend = catalog.backends[2]
    assert spending.out_multiplier(2) == backend.out_multiplier
    for _ in range(5000):
        usd = 1000 * backend.usd_in + 500 * backend.out_multiplier * backend.usd_out * 1.3
        spending.learn(2, 1000, 500.0, 1.0, usd)
    assert spending.out_multiplier(2) == pytest.approx(1.3 * backend.out_multiplier, rel=0.01)


def test_a_charge_above_its_hold_makes_the_next_holds_larger() -> None:
    spending = Spending(make_trace(1, requests=2000).catalog)
    spending.learn(1, 10, 10.0, 0.01, 0.02)
    assert spending.hold_factor(1) >= 2.0
    assert spending.hold_factor(2) == 1.0
