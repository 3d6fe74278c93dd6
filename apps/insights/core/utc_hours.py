"""Hourly rows in UTC as a history of UTC days, with hours that may be absent. Pure."""

from datetime import UTC, date, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from apps.insights.core.forecast import SpendHistory, usual_share_gone
from apps.insights.core.weekly_level import Floats

Hours = NDArray[np.int64]

EPOCH: Final = date(1970, 1, 1)
# Fewer rows than this part of all hours: a row is written when something is spent, and an absent
# hour cost nothing. More: an absent hour is one that was not reported.
DENSE_SHARE: Final = 0.5
# A day of which this part of the usual spend was not reported is unknown.
MOST_UNREPORTED: Final = 0.25
DAYS_FOR_THE_USUAL: Final = 28


def hour_number(moment: datetime) -> int:
    """Hours since 1970 of the hour that an aware moment lies in."""
    return int(moment.astimezone(UTC).timestamp() // 3600)


def history_before(hours: Hours, usd: Floats, cut: int) -> SpendHistory:
    """What rows of hours before `cut` say, the day of `cut` being the running one.

    Hours are numbers as of `hour_number`; rows of one hour add up; one before `cut` there must be.
    """
    before = hours < cut
    hours, usd = hours[before], usd[before]
    first_day, today = int(hours.min()) // 24, cut // 24
    days = today - first_day
    placed = np.zeros((days + 1) * 24)
    reported = np.zeros((days + 1) * 24, dtype=bool)
    np.add.at(placed, hours - first_day * 24, usd)
    reported[hours - first_day * 24] = True
    first, last = int(hours.min()) - first_day * 24, cut - first_day * 24
    is_dense = reported[first:last].mean() >= DENSE_SHARE
    whole = placed[: days * 24].reshape(days, 24)
    usd_by_day = whole.sum(axis=1)
    if is_dense and days:
        usd_by_day[_unreported(whole, reported[: days * 24].reshape(days, 24))] = np.nan
    known = np.flatnonzero(np.isfinite(usd_by_day))[-DAYS_FOR_THE_USUAL:]
    gone = cut % 24
    return SpendHistory(
        usd_by_day=usd_by_day,
        today=EPOCH + timedelta(days=today),
        today_usd=float(placed[days * 24 :].sum()),
        today_gone=usual_share_gone(
            whole[known, :gone].sum(axis=1).tolist(), usd_by_day[known].tolist(), gone / 24
        ),
    )


def _unreported(whole: Floats, reported: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Days that lack hours worth too much of a usual day to stand for a whole one."""
    usual = whole[-DAYS_FOR_THE_USUAL:].sum(axis=0) + 1e-12
    share = (~reported * usual).sum(axis=1) / usual.sum()
    return np.asarray(share > MOST_UNREPORTED)
