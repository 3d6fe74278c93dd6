"""What a decision set aside, and the words for it. Part of decisions."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from apps.budgets.holds import Reservation


@dataclass(frozen=True, slots=True)
class Granted:
    """What was set aside; without a reservation nothing was, and no cap was asked."""

    backend: str
    decision_id: str
    estimate_usd: Decimal
    reservation: Reservation | None

    @property
    def is_repeat(self) -> bool:
        return self.reservation is not None and self.reservation.is_repeat

    @property
    def held_usd(self) -> Decimal:
        is_held = self.reservation is not None and self.reservation.is_held
        return self.estimate_usd if is_held else Decimal(0)

    @property
    def expires_at(self) -> datetime | None:
        held = self.reservation
        return held.expires_at if held and held.is_held else None

    def words(self) -> list[str]:
        held = self.reservation
        if held is None:
            return ["nothing was reserved, so no cap was asked"]
        if held.is_repeat:
            return ["the same request id was decided before; this is its answer again"]
        if not held.is_held:
            return ["what is left of the budgets is not known just now: nothing is reserved"]
        return [f"reserved in {len(held.budgets)} budgets"]
