"""What stayed below its threshold: what a higher sensitivity would have found.

Part of the services; ticks.py calls it. Grouped as findings are, and told nobody.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Final

from apps.insights.core.flags import APART_HOURS, Flag, SeriesKey, group_flags, name_giver
from apps.insights.explaining import CellBook
from apps.insights.finding_models import Finding, NearMiss
from apps.insights.findings import (
    MAX_MEMBERS,
    USD,
    Looking,
    Standing,
    is_like,
    is_of,
    is_worth,
    recent_findings,
)
from apps.usage.hourly import start_of_hour

# Kept down to what twice the sensitivity would find, for as long as the page looks back.
KEPT_TIMES: Final = 2.0
KEPT: Final = timedelta(days=90)
MAX_KEPT: Final = 2_000


def note_near_misses(
    look: Looking, flags: Sequence[Flag], factors: Mapping[SeriesKey, float]
) -> None:
    """Take what nearly stood out in one closed hour. `factors`: series' own thresholds."""
    if not flags:
        return
    start = min(flag.first_hour for flag in flags)
    standing: list[Standing] = [*recent_findings(start, look.hour), *_recent(start, look.hour)]
    book: CellBook | None = None

    def shared_usd(one: SeriesKey, other: SeriesKey) -> float:
        nonlocal book
        if book is None:
            book = CellBook(start, look.hour + 1)
        return book.shared_usd(one, other)

    homeless: list[Flag] = []
    for flag in sorted(flags, key=lambda one: -abs(one.excess_usd)):
        home = next((one for one in standing if is_of(one, flag)), None) or next(
            (one for one in standing if is_like(one, flag, (one.dimension, one.key), shared_usd)),
            None,
        )
        if home is None:
            homeless.append(flag)
        elif isinstance(home, NearMiss):
            _extend(home, flag, factors)
    for group in group_flags(homeless, shared_usd):
        lead = name_giver(group)
        if is_worth(look, lead.at_stake_usd, abs(lead.excess_usd)):
            _open(look, group, factors)


def forget_near_misses(look: Looking) -> None:
    """Drop those that became findings, those of long ago, and the oldest of too many."""
    found = [
        (finding.first_bad_at, finding.last_bad_at, [tuple(one) for one in finding.members])
        for finding in Finding.objects.filter(closed_at=None)
    ]
    for first, last, members in found:
        apart = timedelta(hours=APART_HOURS)
        rows = NearMiss.objects.filter(first_bad_at__lte=last, last_bad_at__gte=first - apart)
        gone = [row.pk for row in rows if (row.dimension, row.key) in members]
        NearMiss.objects.filter(pk__in=gone).delete()
    NearMiss.objects.filter(last_bad_at__lt=start_of_hour(look.hour) - KEPT).delete()
    beyond = NearMiss.objects.order_by("-last_bad_at", "-pk").values_list("pk")[MAX_KEPT:]
    NearMiss.objects.filter(pk__in=list(beyond)).delete()


def _recent(first: int, hour: int) -> list[NearMiss]:
    rows = NearMiss.objects.filter(
        last_bad_at__gte=start_of_hour(first - APART_HOURS), first_bad_at__lte=start_of_hour(hour)
    )
    return list(rows.order_by("first_bad_at", "pk"))


def _open(look: Looking, group: Sequence[Flag], factors: Mapping[SeriesKey, float]) -> None:
    lead = name_giver(group)
    NearMiss.objects.create(
        tenant_id=look.tenant.id,
        dimension=lead.series[0],
        key=lead.series[1],
        members=[list(flag.series) for flag in group][:MAX_MEMBERS],
        first_bad_at=start_of_hour(lead.first_hour),
        last_bad_at=start_of_hour(lead.last_hour),
        score=max(_own_score(flag, factors) for flag in group),
        excess_usd=_usd(lead.excess_usd),
        at_stake_usd=_usd(lead.at_stake_usd),
    )


def _extend(row: NearMiss, flag: Flag, factors: Mapping[SeriesKey, float]) -> None:
    if list(flag.series) not in row.members:
        row.members = [*row.members, list(flag.series)][:MAX_MEMBERS]
    row.last_bad_at = max(row.last_bad_at, start_of_hour(flag.last_hour))
    row.score = max(row.score, _own_score(flag, factors))
    if abs(flag.excess_usd) > abs(row.excess_usd):
        row.excess_usd = _usd(flag.excess_usd)
    row.at_stake_usd = max(row.at_stake_usd, _usd(flag.at_stake_usd))
    row.save()


def _own_score(flag: Flag, factors: Mapping[SeriesKey, float]) -> float:
    return flag.score / factors.get(flag.series, 1.0)


def _usd(value: float) -> Decimal:
    return Decimal(repr(float(value))).quantize(USD)
