"""Hard caps of the month, the day and the departments, and the places of the local hour. Pure.

Integers, billionths of a dollar, every amount rounded up: so spent + held <= cap is exact, and the
sum of what was spent never exceeds a cap. Production asks budgets' counters instead; these are the
same arithmetic for simulations.
"""

import math
from collections.abc import Mapping
from typing import Final

from apps.routing.core.rule import Room

NANO: Final = 1_000_000_000
HOUR_S: Final = 3600
DAY_S: Final = 86_400


def nano_up(usd: float) -> int:
    """Billionths, rounded up, but for the noise of a float's last digits."""
    return math.ceil(usd * NANO - 1e-6)


class Caps:
    """What is left of each scope. `room` is kept in step for the rule to read."""

    def __init__(
        self,
        month_usd: float,
        day_usd: float,
        department_usd: Mapping[str, float],
        local_requests_per_hour: float,
    ) -> None:
        # A limit is rounded down: a billionth too few is spent rather than one too many.
        self._day_limit = math.floor(day_usd * NANO + 1e-6)
        self._month_left = math.floor(month_usd * NANO + 1e-6)
        self._department_left = {
            name: math.floor(usd * NANO + 1e-6) for name, usd in department_usd.items()
        }
        self._day_left: dict[int, int] = {}
        self._places = local_requests_per_hour
        self._day = self._hour = -1
        departments = {name: left / NANO for name, left in self._department_left.items()}
        self._department_usd = departments
        self.room = Room(self._month_left / NANO, day_usd, departments, self._places)

    def turn_to(self, ts_s: float) -> None:
        """A new hour has new local places, a new day a new cap. Time does not run backwards."""
        hour = int(ts_s // HOUR_S)
        if hour != self._hour:
            self._hour = hour
            self.room.local_requests = math.floor(self._places + 1e-9)
        day = int(ts_s // DAY_S)
        if day != self._day:
            self._day = day
            self._day_left.setdefault(day, self._day_limit)
            self._show(None)

    @property
    def day(self) -> int:
        return self._day

    def hold(self, department: str, usd: float) -> int | None:
        """Set aside in every scope, or in none: None. Gives what was set aside."""
        amount = nano_up(usd)
        left = min(self._month_left, self._day_left[self._day], self._department_left[department])
        if amount > left:
            return None
        self._move(department, self._day, amount)
        return amount

    def settle(self, department: str, day: int, held: int, usd: float) -> None:
        """End a hold at what it cost, on the day of its admission."""
        self._move(department, day, nano_up(usd) - held)

    def take_local_place(self) -> bool:
        if self.room.local_requests < 1:
            return False
        self.room.local_requests -= 1
        return True

    def _move(self, department: str, day: int, amount: int) -> None:
        self._month_left -= amount
        self._day_left[day] -= amount
        self._department_left[department] -= amount
        self._show(department)

    def _show(self, department: str | None) -> None:
        room = self.room
        room.month_usd = self._month_left / NANO
        room.day_usd = self._day_left[self._day] / NANO
        if department is not None:
            self._department_usd[department] = self._department_left[department] / NANO
