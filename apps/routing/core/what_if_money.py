"""What a replay may spend: the window's pot, each local day's cap, and departments' own pots. Pure.

USD of cloud spend. A department without a budget has no limit but the whole's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from apps.routing.core.building import NO_LIMIT_USD, Money

DAY_S: Final = 86_400


def money_of(
    standing: Money | None,
    *,
    month_usd: float | None,
    day_usd: float | None,
    department_usd: Mapping[str, float] | None,
) -> Money:
    """Amounts of a month and a day: the budgets that stand, if they are to hold, under what was
    asked for instead."""
    found = standing or Money(NO_LIMIT_USD, NO_LIMIT_USD, {})
    return replace(
        found,
        month_usd=found.month_usd if month_usd is None else month_usd,
        day_usd=found.day_usd if day_usd is None else day_usd,
        department_usd={**found.department_usd, **(department_usd or {})},
    )


@dataclass(slots=True)
class Purse:
    """What is left while a window is replayed."""

    whole_usd: float
    left_usd: float
    day_usd: float
    day_left_usd: float
    departments_left_usd: list[float]
    day: int = -1

    @classmethod
    def of(cls, money: Money, departments: Sequence[str], months: float) -> "Purse":
        """`months` of 30 days: the pots of a window are so many months' amounts."""
        whole = _times(money.month_usd, months)
        pots = [
            _times(money.department_usd.get(name or "-", NO_LIMIT_USD), months)
            for name in departments
        ]
        return cls(whole, whole, money.day_usd, money.day_usd, pots)

    def turn_to(self, ts_s: float) -> None:
        """`ts_s` from a local midnight; time does not run backwards."""
        day = int(ts_s // DAY_S)
        if day != self.day:
            self.day, self.day_left_usd = day, self.day_usd

    def fits(self, department: int, usd: float) -> bool:
        left = min(self.left_usd, self.day_left_usd, self.departments_left_usd[department])
        return usd <= left

    def take(self, department: int, usd: float) -> None:
        self.left_usd -= usd
        self.day_left_usd -= usd
        self.departments_left_usd[department] -= usd

    @property
    def used_share(self) -> float:
        """Of the window's pot."""
        return 1.0 - self.left_usd / self.whole_usd if self.whole_usd > 0 else 1.0


def _times(usd: float, months: float) -> float:
    return usd if usd >= NO_LIMIT_USD else usd * months
