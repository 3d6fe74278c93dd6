"""The only reader of findings, for pages, the API and whoever stands above."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db.models import Q

from apps.insights.core.flags import SeriesKey
from apps.insights.finding_models import (
    AnomalySettings,
    DetectorState,
    Finding,
    NearMiss,
    Restriction,
)
from apps.tenants.selectors import list_customers, list_departments

MAX_LISTED: Final = 200
MAX_ID: Final = 2**63 - 1
STATES: Final = ("open", "answered", "closed", "all")


@dataclass(frozen=True, slots=True)
class CausePart:
    """One value's part of an excess; `value` None is not attributed, or (`is_rest`) all others."""

    dimension: str
    value: str | None
    actual_usd: Decimal
    expected_usd: Decimal
    excess_usd: Decimal
    surprise: float
    is_rest: bool


@dataclass(frozen=True, slots=True)
class ChartPoint:
    """An hour since 1970 UTC of the series that a finding is named after."""

    hour: int
    actual_usd: float
    expected_usd: float
    low_usd: float
    high_usd: float
    is_bad: bool


@dataclass(frozen=True, slots=True)
class Comment:
    at: datetime
    author: str
    text: str


@dataclass(frozen=True, slots=True)
class RestrictionInfo:
    """What the guard rail stopped or slowed; in force while `lifted_at` is None."""

    dimension: str
    label: str
    mode: str
    created_at: datetime
    lifted_at: datetime | None
    lifted_by: str


@dataclass(frozen=True, slots=True)
class FindingInfo:
    """Something that stood out. `last_bad_at` starts its last bad hour; money is that of `series`.

    `at_stake_usd`: what a day of it comes to, or what it came to. `partitions`: by dimension, the
    most telling first, each adding up to `excess_usd`; so do `effects`.
    """

    id: int
    kind: str
    series: SeriesKey
    members: Sequence[SeriesKey]
    first_bad_at: datetime
    last_bad_at: datetime
    score: float
    actual_usd: Decimal
    expected_usd: Decimal
    excess_usd: Decimal
    at_stake_usd: Decimal
    explanation: Mapping[str, Any]
    opened_at: datetime
    closed_at: datetime | None
    withdrawn: bool
    alerted_at: datetime | None
    answer: str
    answered_by: str
    answered_at: datetime | None
    snoozed_until: datetime | None

    @property
    def hours(self) -> int:
        return round((self.last_bad_at - self.first_bad_at) / timedelta(hours=1)) + 1

    @property
    def usd_per_hour(self) -> Decimal:
        return self.excess_usd / self.hours

    def is_waiting(self, now: datetime) -> bool:
        """Nobody answered yet, and it is not snoozed."""
        asleep = self.snoozed_until is not None and self.snoozed_until > now
        return not self.answer and not asleep and not self.withdrawn

    @property
    def partitions(self) -> list[list[CausePart]]:
        return [[_part(one) for one in parts] for parts in self.explanation.get("partitions", [])]

    @property
    def causes(self) -> list[CausePart]:
        """All parts but the rest, the most telling first."""
        parts = [part for parts in self.partitions for part in parts if not part.is_rest]
        return sorted(parts, key=lambda part: -part.surprise)

    @property
    def effects(self) -> dict[str, Decimal]:
        return {name: Decimal(usd) for name, usd in self.explanation.get("effects", {}).items()}

    @property
    def charge_ids(self) -> list[int]:
        return list(self.explanation.get("charge_ids", []))


@dataclass(frozen=True, slots=True)
class FindingDetail:
    info: FindingInfo
    points: Sequence[ChartPoint]
    comments: Sequence[Comment]
    restrictions: Sequence[RestrictionInfo]


@dataclass(frozen=True, slots=True)
class SettingsInfo:
    """`min_usd`: less at stake within a day is no finding. `guard`: off, slow or suspend."""

    min_usd: Decimal
    sensitivity: float
    guard: str


@dataclass(frozen=True, slots=True)
class FindingRecord:
    """What became of findings since a time."""

    found: int
    alerted: int
    useful: int
    expected: int
    unanswered: int
    withdrawn: int


def list_findings(
    *, now: datetime, state: str = "all", limit: int = 50, before_id: int | None = None
) -> list[FindingInfo]:
    """The tenant in scope's. Those that wait for an answer come first, the dearest of them first;
    then the others, newest first. `state`: open (waiting), answered, closed or all."""
    rows = Finding.objects.filter(_of_state(state, now))
    if before_id is not None:
        rows = rows.filter(pk__lt=before_id)
    found = [_info(row) for row in rows.defer("points").order_by("-pk")[: min(limit, MAX_LISTED)]]
    return sorted(found, key=lambda one: _rank(one, now))


def _rank(one: FindingInfo, now: datetime) -> tuple[bool, Decimal, float]:
    waits = one.is_waiting(now)
    return (not waits, -abs(one.excess_usd) if waits else Decimal(0), -one.last_bad_at.timestamp())


def count_waiting(*, now: datetime) -> tuple[int, Decimal]:
    """(how many findings of the last two weeks wait for an answer, their USD beyond expected)."""
    rows = Finding.objects.filter(
        _of_state("open", now), last_bad_at__gte=now - timedelta(days=14)
    ).values_list("excess_usd", flat=True)
    values = list(rows[:MAX_LISTED])
    return len(values), sum((usd for usd in values if usd > 0), Decimal(0))


def get_finding(finding_id: int) -> FindingDetail | None:
    """With its hours, comments and restrictions; None when there is none."""
    if not 0 < finding_id <= MAX_ID:
        return None
    row = Finding.objects.filter(pk=finding_id).first()
    if row is None:
        return None
    return FindingDetail(
        info=_info(row),
        points=[ChartPoint(int(point[0]), *point[1:]) for point in row.points],
        comments=[
            Comment(*one) for one in row.comments.order_by("pk").values_list("at", "author", "text")
        ],
        restrictions=[
            RestrictionInfo(*one)
            for one in Restriction.objects.filter(finding=row)
            .order_by("pk")
            .values_list("dimension", "label", "mode", "created_at", "lifted_at", "lifted_by")
        ],
    )


def read_names() -> dict[tuple[str, str], str]:
    """(dimension, value) -> what people call it: customers and departments have names."""
    customers = {("customer", one.external_id): one.name for one in list_customers()}
    return customers | {("department", one.code): one.name for one in list_departments()}


def read_settings() -> SettingsInfo:
    row = AnomalySettings.objects.first() or AnomalySettings()
    return SettingsInfo(Decimal(row.min_usd), row.sensitivity, row.guard)


def read_watched_until() -> int | None:
    """The next hour (since 1970 UTC) to be scored; None while nothing was watched."""
    return DetectorState.objects.values_list("hour", flat=True).first()


def read_record(*, since: datetime) -> FindingRecord:
    """How the detector did: what it found since then, and what people said."""
    rows: Iterable[tuple[str, bool, datetime | None]] = Finding.objects.filter(
        last_bad_at__gte=since
    ).values_list("answer", "withdrawn", "alerted_at")
    found = list(rows)
    return FindingRecord(
        found=len(found),
        alerted=sum(alerted_at is not None for _, _, alerted_at in found),
        useful=sum(answer == "acknowledged" for answer, _, _ in found),
        expected=sum(answer == "expected" for answer, _, _ in found),
        unanswered=sum(not answer and not withdrawn for answer, withdrawn, _ in found),
        withdrawn=sum(withdrawn for _, withdrawn, _ in found),
    )


@dataclass(frozen=True, slots=True)
class PastFinding:
    """What was found and not withdrawn, or nearly (`was_found` False): what a lower or a higher
    sensitivity would have told of it. Of those that were nearly found, what twice the sensitivity
    of then would have found is kept."""

    score: float
    at_stake_usd: Decimal
    answer: str
    was_told: bool
    was_found: bool = True


def read_past_findings(*, since: datetime) -> list[PastFinding]:
    found = Finding.objects.filter(last_bad_at__gte=since, withdrawn=False).values_list(
        "score", "at_stake_usd", "answer", "alerted_at"
    )
    near = NearMiss.objects.filter(last_bad_at__gte=since).values_list("score", "at_stake_usd")
    return [
        *(PastFinding(score, usd, answer, at is not None) for score, usd, answer, at in found),
        *(PastFinding(score, usd, "", was_told=False, was_found=False) for score, usd in near),
    ]


def _of_state(state: str, now: datetime) -> Q:
    asleep = Q(snoozed_until__isnull=False, snoozed_until__gt=now)
    if state == "open":
        return Q(answer="", withdrawn=False) & ~asleep
    if state == "answered":
        return ~Q(answer="")
    return Q(closed_at__isnull=False) if state == "closed" else Q()


def _info(row: Finding) -> FindingInfo:
    names = FindingInfo.__slots__
    values = {name: getattr(row, name) for name in names if name not in ("series", "members")}
    return FindingInfo(
        series=(row.dimension, row.key),
        members=[(dimension, key) for dimension, key in row.members],
        **values,
    )


def _part(one: Mapping[str, Any]) -> CausePart:
    return CausePart(
        dimension=one["dimension"],
        value=one["value"],
        actual_usd=Decimal(one["actual_usd"]),
        expected_usd=Decimal(one["expected_usd"]),
        excess_usd=Decimal(one["excess_usd"]),
        surprise=one["surprise"],
        is_rest=one["is_rest"],
    )
