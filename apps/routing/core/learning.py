"""Quality as outcomes show it: a Bayesian linear update of the table, kept centrally. Pure.

Success of backend b at task t and difficulty d is taken as

    table[t, b] + o s[b] + v[b] + u[t, b] + (w[b] - (1 + a) s[b]) (d - 0.5)

where s is difficulty_sensitivity, with independent normal priors of mean 0 on a, o, v, w and u:
the table is believed, more so about what all tasks share. The posterior is a ridge regression on
sums per cell, which fade with time (Bishop, Pattern Recognition and Machine Learning, 3.3). A CUSUM
per backend (Page, 1954) notices when one suddenly does worse than believed: what was learnt of it
is then let go.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from apps.routing.core.catalog import Catalog

Floats = NDArray[np.float64]

HALF_LIFE_HOURS: Final = 24 * 30
PRIOR_DEVIATIONS: Final = {"a": 0.25, "o": 0.25, "v": 0.04, "w": 0.05, "u": 0.06}
NOISE: Final = 0.12
# In standard deviations of one outcome: a drop of less than `slack` is not looked for.
CUSUM_SLACK: Final = 0.25
CUSUM_ALARM: Final = 40.0
KEPT_AFTER_ALARM: Final = 0.02
DRIFT_AFTER_ALARM: Final = 0.3
# Fewer outcomes than these make no alarm: the table was wrong then, and nothing has changed.
SEEN_BEFORE_ALARM: Final = 300
MIN_QUALITY: Final = 0.01
MAX_QUALITY: Final = 0.995


@dataclass(frozen=True, slots=True)
class Believed:
    """Tasks x backends: quality at difficulty 0.5, what is lost per unit of it, and how unsure."""

    level: Floats
    slope: Floats
    deviation: Floats


class Learning:
    """`learn` each outcome, `believe` once an hour. `regressed` says since when (seconds)."""

    def __init__(self, catalog: Catalog) -> None:
        self._table = np.array([catalog.quality[task] for task in catalog.tasks])
        self._sensitivity = np.array([b.difficulty_sensitivity for b in catalog.backends])
        self._tasks = {task: n for n, task in enumerate(catalog.tasks)}
        tasks, backends = self._table.shape
        # Per cell: outcomes, sums of residuals r, of x = d - 0.5, of x x and of x r.
        self._sums = [[[0.0] * 5 for _ in range(backends)] for _ in range(tasks)]
        self._levels: list[list[float]] = self._table.tolist()
        self._slopes: list[list[float]] = np.tile(-self._sensitivity, (tasks, 1)).tolist()
        self._cusum = [0.0] * backends
        self._seen = [0] * backends
        self._drift = np.full(backends, PRIOR_DEVIATIONS["v"])
        self._features()
        self.regressed: dict[int, float] = {}

    def learn(
        self, task: str, backend: int, difficulty: float, success: float, ts_s: float
    ) -> None:
        """One outcome, 0 to 1, of a request that was decided."""
        t = self._tasks[task]
        x = difficulty - 0.5
        residual = success - self._table_list[t][backend] + self._sensitivity_list[backend] * x
        sums = self._sums[t][backend]
        sums[0] += 1.0
        sums[1] += residual
        sums[2] += x
        sums[3] += x * x
        sums[4] += x * residual
        self._seen[backend] += 1
        expected = self._levels[t][backend] + self._slopes[t][backend] * x
        expected = min(max(expected, 0.03), 0.97)
        z = (expected - success) / math.sqrt(expected * (1.0 - expected))
        # Bounded: a single failure of what nearly never fails proves little.
        total = self._cusum[backend] + min(z, 3.0) - CUSUM_SLACK
        self._cusum[backend] = total if total > 0.0 else 0.0
        if total > CUSUM_ALARM:
            self._let_go(backend, ts_s)

    def _let_go(self, backend: int, ts_s: float) -> None:
        self._cusum[backend] = 0.0
        if self._seen[backend] >= SEEN_BEFORE_ALARM:
            self.regressed[backend] = ts_s
        self._seen[backend] = 0
        self._drift[backend] = DRIFT_AFTER_ALARM
        for row in self._sums:
            row[backend] = [KEPT_AFTER_ALARM * s for s in row[backend]]

    def believe(self, hours: float = 0.0) -> Believed:
        """The posterior; what was seen fades by the hours that have passed since the last call."""
        sums = np.array(self._sums) * 0.5 ** (hours / HALF_LIFE_HOURS)
        self._sums = sums.tolist()
        tasks, backends = self._table.shape
        n, r, x, xx, xr = sums.reshape(tasks * backends, 5).T
        at, along = self._at, self._along
        cross = at.T @ (x[:, None] * along)
        precision = at.T @ (n[:, None] * at) + cross + cross.T + along.T @ (xx[:, None] * along)
        precision /= NOISE
        precision[np.diag_indices_from(precision)] += 1.0 / self._prior() ** 2
        target = (at.T @ r + along.T @ xr) / NOISE
        covariance = np.linalg.inv(precision)
        mean = covariance @ target
        level = self._table + (at @ mean).reshape(tasks, backends)
        slope = -self._sensitivity[None, :] + (along @ mean).reshape(tasks, backends)
        variance = np.einsum("ij,jk,ik->i", at, covariance, at).reshape(tasks, backends)
        level = np.clip(level, MIN_QUALITY, MAX_QUALITY)
        self._levels, self._slopes = level.tolist(), slope.tolist()
        return Believed(level, slope, np.sqrt(variance))

    def _features(self) -> None:
        """Which unknowns a cell's level (`_at`) and slope (`_along`) hold."""
        tasks, backends = self._table.shape
        self._table_list: list[list[float]] = self._table.tolist()
        self._sensitivity_list: list[float] = self._sensitivity.tolist()
        cells, one = tasks * backends, np.tile(np.eye(backends), (tasks, 1))
        by_cell = np.tile(self._sensitivity, tasks)[:, None]
        zero, none, own = np.zeros((cells, 1)), np.zeros_like(one), np.eye(cells)
        self._at = np.hstack([zero, by_cell, one, none, own])
        self._along = np.hstack([-by_cell, zero, none, one, np.zeros_like(own)])

    def _prior(self) -> Floats:
        tasks, backends = self._table.shape
        d = PRIOR_DEVIATIONS
        return np.concatenate(
            [
                [d["a"], d["o"]],
                self._drift,
                np.full(backends, d["w"]),
                np.where(np.tile(self._drift > d["v"], tasks), 2 * d["u"], d["u"]),
            ]
        )


class Spending:
    """Billed output over estimated, by backend: what est_tokens_out misses, learnt from charges."""

    PRIOR_REQUESTS: Final = 50.0

    def __init__(self, catalog: Catalog) -> None:
        self._backends = catalog.backends
        self._estimated = [0.0] * len(catalog.backends)
        self._billed = [0.0] * len(catalog.backends)
        self._count = [0.0] * len(catalog.backends)
        self._worst = [1.0] * len(catalog.backends)

    def learn(
        self, backend: int, tokens_in: float, est_tokens_out: float, hold_usd: float, usd: float
    ) -> None:
        """One charge. More than was held at most is remembered, and held from then on."""
        told = self._backends[backend]
        self._count[backend] += 1.0
        self._estimated[backend] += est_tokens_out * told.out_multiplier * told.usd_out
        self._billed[backend] += usd - tokens_in * told.usd_in
        if hold_usd > 0.0 and usd > hold_usd:
            self._worst[backend] *= 1.1 * usd / hold_usd

    def out_multiplier(self, backend: int) -> float:
        """The catalogue's, corrected."""
        told, count = self._backends[backend], self._count[backend]
        if count == 0.0 or self._estimated[backend] <= 0.0:
            return told.out_multiplier
        prior = self.PRIOR_REQUESTS * self._estimated[backend] / count
        billed = max(0.0, self._billed[backend])
        return told.out_multiplier * (billed + prior) / (self._estimated[backend] + prior)

    def hold_factor(self, backend: int) -> float:
        return self._worst[backend]

    def fade(self, hours: float) -> None:
        kept = 0.5 ** (hours / HALF_LIFE_HOURS)
        for sums in (self._estimated, self._billed, self._count):
            sums[:] = [kept * s for s in sums]
