"""What the floors of all remaining demand will take: money that an upgrade may not touch. Pure."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from apps.routing.core.planner import TODAY, Outlook

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Holds are worst cases, well above what requests cost: that is margin enough.
SAFETY: Final = 1.0


@dataclass(frozen=True, slots=True)
class Reserves:
    """USD: for the month, the rest of today, and by department; `top_*` for the top tier alone."""

    month_usd: float
    day_usd: float
    department_usd: Floats
    top_month_usd: float
    top_day_usd: float
    top_department_usd: Floats


def reserves(
    *,
    cheapest_usd: Floats,
    may_run_local: NDArray[np.bool_],
    department: Ints,
    share: Floats,
    is_top: NDArray[np.bool_],
    outlook: Outlook,
) -> Reserves:
    """From a sample of recent requests, as in the planner: `cheapest_usd` is the cheapest cloud
    backend that meets the floor. Local places are shared evenly by those that may run there."""
    departments = outlook.requests.shape[1]
    weight = outlook.requests[:, department] * share
    local = weight[:, may_run_local].sum(axis=1)
    free = np.minimum(1.0, outlook.places / np.maximum(local, 1e-9))
    paid = np.where(may_run_local[None, :], 1.0 - free[:, None], 1.0)
    usd = SAFETY * weight * paid * cheapest_usd[None, :]
    # The top tier gets no share of the local places here: it is to be safe whatever the others do.
    top = SAFETY * weight * np.where(is_top, cheapest_usd, 0.0)[None, :]
    today = outlook.kind == TODAY

    def by_department(amounts: Floats) -> Floats:
        return np.bincount(department, amounts.sum(axis=0), departments).astype(np.float64)

    return Reserves(
        month_usd=float(usd.sum()),
        day_usd=float(usd[today].sum()),
        department_usd=by_department(usd),
        top_month_usd=float(top.sum()),
        top_day_usd=float(top[today].sum()),
        top_department_usd=by_department(top),
    )
