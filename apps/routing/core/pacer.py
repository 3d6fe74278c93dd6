"""Between plans: prices follow what is really spent. Pure.

price <- price x exp(gain x clip(spend / target - 1, -1, 2)), once a batch of requests is together:
single requests are heavy-tailed. The target is what the plan meant such requests to spend.
"""

from collections.abc import Sequence
from math import exp
from typing import Final

GAIN: Final = 0.05
MIN_BATCH: Final = 50
MAX_PRICE: Final = 1000.0


class Pacer:
    """One scope's: `spend` tells of each request, `factor` what to multiply the price by."""

    __slots__ = ("_count", "_spent", "_target")

    def __init__(self) -> None:
        self._count, self._spent, self._target = 0, 0.0, 0.0

    def spend(self, usd: float, target_usd: float) -> None:
        self._count += 1
        self._spent += usd
        self._target += target_usd

    def factor(self) -> float:
        """1 until a batch is together; then it begins anew."""
        if self._count < MIN_BATCH or self._target <= 0.0:
            return 1.0
        off = self._spent / self._target - 1.0
        self._count, self._spent, self._target = 0, 0.0, 0.0
        return exp(GAIN * min(max(off, -1.0), 2.0))


def moved(prices: Sequence[float], factors: Sequence[float]) -> list[float]:
    return [min(p * f, MAX_PRICE) for p, f in zip(prices, factors, strict=True)]
