"""How flagged hours are judged against labelled events, as acceptance does it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from numpy.typing import NDArray

from bench.spend_series import SpendSeries

MERGED_WITHIN_HOURS = 6
LONGEST_ALERT_HOURS = 48
GRACE_HOURS = 2  # an event shorter than this may still be told until then
HOURS_A_MONTH = 730.5


@dataclass(slots=True)
class Verdict:
    """Events told, alerts right and wrong, and how many months of series were watched."""

    delays: dict[str, list[int]] = field(default_factory=dict)  # of events told, hours, by kind
    events: dict[str, int] = field(default_factory=dict)
    right: int = 0
    wrong: int = 0
    months: float = 0

    @property
    def recall(self) -> float:
        return sum(map(len, self.delays.values())) / max(sum(self.events.values()), 1)

    @property
    def precision(self) -> float:
        return self.right / max(self.right + self.wrong, 1)

    @property
    def false_alarms(self) -> float:
        """A series-month."""
        return self.wrong / self.months

    def recall_of(self, kind: str) -> float:
        return len(self.delays[kind]) / max(self.events[kind], 1)

    def delay_of(self, kind: str) -> float:
        """Median, in hours, of those that were told."""
        return median(self.delays[kind]) if self.delays[kind] else float("nan")


def alerts_of(flagged: Sequence[int]) -> list[list[int]]:
    """Flagged hours at most 6 h apart are one alert, cut after 48 h."""
    alerts: list[list[int]] = []
    for hour in flagged:
        if (
            alerts
            and hour - alerts[-1][-1] <= MERGED_WITHIN_HOURS
            and hour - alerts[-1][0] < LONGEST_ALERT_HOURS
        ):
            alerts[-1].append(hour)
        else:
            alerts.append([hour])
    return alerts


def judge(series: Sequence[SpendSeries], flags: NDArray[np.bool_]) -> Verdict:
    """`flags` is (hours, series). A right alert has a flagged hour within an event."""
    verdict = Verdict()
    for column, one in enumerate(series):
        flagged = np.flatnonzero(flags[:, column])
        verdict.months += float((~np.isnan(one.spend)).sum()) / HOURS_A_MONTH
        inside = np.zeros(len(flags), dtype=bool)
        for event in one.events:
            end = max(event.end, event.start + GRACE_HOURS + 1)
            inside[event.start : end] = True
            hits = flagged[(flagged >= event.start) & (flagged < end)]
            verdict.events[event.kind] = verdict.events.get(event.kind, 0) + 1
            delays = verdict.delays.setdefault(event.kind, [])
            if len(hits):
                delays.append(int(hits[0]) - event.start)
        for alert in alerts_of(flagged.tolist()):
            if inside[alert].any():
                verdict.right += 1
            else:
                verdict.wrong += 1
    return verdict
