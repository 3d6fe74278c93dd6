"""Between plans: prices follow what is really spent. Pure.

price <- price x exp(gain x clip(spend / target - 1, -1, 2)), once a batch of requests is together:
single requests are heavy-tailed. The target is what the plan meant such requests to spend.
"""

from math import exp
from typing import Final

GAIN: Final = 0.05
MOST_OFF: Final = 2.0
MIN_BATCH: Final = 50
MAX_PRICE: Final = 1000.0


def price_factor(count: int, spent_usd: float, target_usd: float) -> float | None:
    """What to multiply the price by after `count` requests; None until a batch is together.

    Where nothing was meant to be spent, anything is as much too much as can be told.
    """
    if count < MIN_BATCH or target_usd + spent_usd <= 0.0:
        return None
    off = spent_usd / target_usd - 1.0 if target_usd > 0.0 else MOST_OFF
    return exp(GAIN * min(max(off, -1.0), MOST_OFF))


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
        factor = price_factor(self._count, self._spent, self._target)
        if factor is None:
            return 1.0
        self._count, self._spent, self._target = 0, 0.0, 0.0
        return factor
