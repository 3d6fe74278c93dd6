"""Findings over HTTP: what stands out, why, and what people say to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from django.utils import timezone
from ninja import Router, Schema
from pydantic import AwareDatetime, ConfigDict, Field

from apps.insights.core.finding_words import BETWEEN, finding_title
from apps.insights.errors import InvalidAnswerError, UnknownFindingError
from apps.insights.finding_actions import (
    MAX_COMMENT_LENGTH,
    acknowledge_finding,
    change_anomaly_settings,
    comment_finding,
    expect_finding,
    snooze_finding,
)
from apps.insights.finding_selectors import (
    MAX_ID,
    MAX_LISTED,
    CausePart,
    FindingDetail,
    FindingInfo,
    SettingsInfo,
    get_finding,
    list_findings,
    read_settings,
)
from apps.pricing.core.money import plain_decimal
from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.tenants.problems import Problem
from apps.tenants.scoping import tenant_scope
from apps.usage.hourly import start_of_hour

router = Router(tags=["insights"])

Money = Annotated[str, Field(pattern=r"^\d{1,12}(\.\d{1,2})?$")]


class SeriesOut(Schema):
    """What is watched: `key` is a name, of a model's task "model/task"; "" for all spend."""

    dimension: str
    key: str


class CauseOut(Schema):
    """A value's part of the excess. `is_rest`: everything else, which makes them add up."""

    dimension: str
    value: str | None
    actual_usd: str
    expected_usd: str
    excess_usd: str
    is_rest: bool


class PointOut(Schema):
    """An hour of the series; `low_usd` to `high_usd` is ordinary."""

    hour: datetime
    actual_usd: float
    expected_usd: float
    low_usd: float
    high_usd: float
    is_bad: bool


class CommentOut(Schema):
    at: datetime
    author: str
    text: str


class RestrictionOut(Schema):
    """What the guard rail stopped or slowed; in force while `lifted_at` is null."""

    dimension: str
    label: str
    mode: str
    created_at: datetime
    lifted_at: datetime | None


class AnomalyOut(Schema):
    """From `first_bad_at` to before `last_bad_hour_ends_at`, money of `series`.

    `causes` are ranked, the most telling first. `effects_usd` (volume, mix, prompts, answers,
    cache, price) add up to `excess_usd`. `at_stake_usd`: what a day of it comes to.
    """

    id: int
    title: str
    kind: str
    series: SeriesOut
    members: list[SeriesOut]
    first_bad_at: datetime
    last_bad_hour_ends_at: datetime
    score: float
    actual_usd: str
    expected_usd: str
    excess_usd: str
    at_stake_usd: str
    causes: list[CauseOut]
    effects_usd: dict[str, str]
    opened_at: datetime
    closed_at: datetime | None
    withdrawn: bool
    alerted_at: datetime | None
    answer: str
    answered_by: str
    answered_at: datetime | None
    snoozed_until: datetime | None


class AnomalyDetailOut(AnomalyOut):
    """`partitions`: by dimension, each adding up to `excess_usd`."""

    partitions: list[list[CauseOut]]
    points: list[PointOut]
    charge_ids: list[int]
    comments: list[CommentOut]
    restrictions: list[RestrictionOut]


class AnomaliesOut(Schema):
    rows: list[AnomalyOut]


class AnswerIn(Schema):
    """acknowledged: somebody looks after it, it was useful. expected: it is no anomaly."""

    model_config = ConfigDict(extra="forbid")

    answer: Literal["acknowledged", "expected"]


class SnoozeIn(Schema):
    model_config = ConfigDict(extra="forbid")

    until: AwareDatetime


class CommentIn(Schema):
    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Field(min_length=1, max_length=MAX_COMMENT_LENGTH)]


class AnomalySettingsIn(Schema):
    """`min_usd`: less at stake within a day is no finding. `sensitivity` 1 is usual, 2 finds more.
    `guard`: what to do to the key or customer behind a runaway."""

    model_config = ConfigDict(extra="forbid")

    min_usd: Money
    sensitivity: float
    guard: Literal["off", "slow", "suspend"]


class AnomalySettingsOut(Schema):
    min_usd: str
    sensitivity: float
    guard: str


@router.get("/anomalies", auth=KeyAuth("read"), response=AnomaliesOut)
def get_anomalies(
    request: ApiRequest,
    state: Literal["open", "answered", "closed", "all"] = "all",
    limit: int = 50,
    before_id: int | None = None,
) -> AnomaliesOut:
    """What stood out: those that wait for an answer first, the dearest of them first.

    `before_id` (the lowest id of a page) continues.
    """
    if not 1 <= limit <= MAX_LISTED:
        raise Problem(422, "invalid_limit", f"limit is 1 to {MAX_LISTED}", field="limit")
    if before_id is not None and not 0 < before_id <= MAX_ID:
        raise Problem(422, "invalid_before_id", "before_id is a positive number", field="before_id")
    with tenant_scope(request.auth.tenant_id):
        found = list_findings(now=timezone.now(), state=state, limit=limit, before_id=before_id)
    return AnomaliesOut(rows=[_out(one) for one in found])


@router.get("/anomalies/settings", auth=KeyAuth("read"), response=AnomalySettingsOut)
def get_settings(request: ApiRequest) -> AnomalySettingsOut:
    """What is worth a finding to this tenant."""
    with tenant_scope(request.auth.tenant_id):
        return _settings_out(read_settings())


@router.put("/anomalies/settings", auth=KeyAuth("manage"), response=AnomalySettingsOut)
def put_settings(request: ApiRequest, body: AnomalySettingsIn) -> AnomalySettingsOut:
    with _changing(request):
        change_anomaly_settings(
            min_usd=Decimal(body.min_usd),
            sensitivity=body.sensitivity,
            guard=body.guard,
            actor=_actor(request),
            now=timezone.now(),
        )
        return _settings_out(read_settings())


@router.get("/anomalies/{finding_id}", auth=KeyAuth("read"), response=AnomalyDetailOut)
def get_anomaly(request: ApiRequest, finding_id: int) -> AnomalyDetailOut:
    """One of them: its hours, all causes, charges behind it, comments."""
    with _changing(request):
        return _detail_out(_known(finding_id))


@router.post("/anomalies/{finding_id}/answer", auth=KeyAuth("manage"), response=AnomalyDetailOut)
def post_answer(request: ApiRequest, finding_id: int, body: AnswerIn) -> AnomalyDetailOut:
    """Answer it: moves its series' thresholds, and lifts what the guard rail restricted."""
    with _changing(request):
        act = acknowledge_finding if body.answer == "acknowledged" else expect_finding
        act(finding_id, actor=_actor(request), now=timezone.now())
        return _detail_out(_known(finding_id))


@router.post("/anomalies/{finding_id}/snooze", auth=KeyAuth("manage"), response=AnomalyDetailOut)
def post_snooze(request: ApiRequest, finding_id: int, body: SnoozeIn) -> AnomalyDetailOut:
    """Neither listed as open nor told until then."""
    with _changing(request):
        snooze_finding(finding_id, until=body.until, actor=_actor(request), now=timezone.now())
        return _detail_out(_known(finding_id))


@router.post("/anomalies/{finding_id}/comments", auth=KeyAuth("manage"), response=AnomalyDetailOut)
def post_comment(request: ApiRequest, finding_id: int, body: CommentIn) -> AnomalyDetailOut:
    """Say something about it. Comments are never changed."""
    with _changing(request):
        comment_finding(finding_id, text=body.text, actor=_actor(request), now=timezone.now())
        return _detail_out(_known(finding_id))


@contextmanager
def _changing(request: ApiRequest) -> Iterator[None]:
    """The tenant's scope; what goes wrong in it becomes a problem."""
    try:
        with tenant_scope(request.auth.tenant_id):
            yield
    except UnknownFindingError as error:
        raise Problem(404, "not_found", str(error), field=error.field) from error
    except InvalidAnswerError as error:
        raise Problem(422, "invalid_answer", str(error), field=error.field) from error


def _known(finding_id: int) -> FindingDetail:
    found = get_finding(finding_id)
    if found is None:
        raise UnknownFindingError(f"there is no anomaly {finding_id}", field="finding_id")
    return found


def _actor(request: ApiRequest) -> str:
    return f"key {request.auth.name}"


def _out(info: FindingInfo) -> AnomalyOut:
    return AnomalyOut(**_fields(info))


def _detail_out(detail: FindingDetail) -> AnomalyDetailOut:
    info = detail.info
    return AnomalyDetailOut(
        **_fields(info),
        partitions=[[_cause_out(part) for part in parts] for parts in info.partitions],
        points=[
            PointOut(
                hour=start_of_hour(point.hour),
                actual_usd=point.actual_usd,
                expected_usd=point.expected_usd,
                low_usd=point.low_usd,
                high_usd=point.high_usd,
                is_bad=point.is_bad,
            )
            for point in detail.points
        ],
        charge_ids=info.charge_ids,
        comments=[CommentOut(at=c.at, author=c.author, text=c.text) for c in detail.comments],
        restrictions=[
            RestrictionOut(
                dimension=one.dimension,
                label=one.label,
                mode=one.mode,
                created_at=one.created_at,
                lifted_at=one.lifted_at,
            )
            for one in detail.restrictions
        ],
    )


def _fields(info: FindingInfo) -> dict[str, Any]:
    return {
        "id": info.id,
        "title": finding_title(
            info.series,
            excess_usd=info.excess_usd,
            since=f"since {info.first_bad_at:%Y-%m-%d %H:%M} UTC",
            explanation=info.explanation,
            money=lambda usd: f"{usd:,.2f} USD",
        ),
        "kind": info.kind,
        "series": _series_out(info.series),
        "members": [_series_out(one) for one in info.members],
        "first_bad_at": info.first_bad_at,
        "last_bad_hour_ends_at": info.last_bad_at + timedelta(hours=1),
        "score": round(info.score, 3),
        "actual_usd": plain_decimal(info.actual_usd),
        "expected_usd": plain_decimal(info.expected_usd),
        "excess_usd": plain_decimal(info.excess_usd),
        "at_stake_usd": plain_decimal(info.at_stake_usd),
        "causes": [_cause_out(part) for part in info.causes],
        "effects_usd": {name: plain_decimal(usd) for name, usd in info.effects.items()},
        "opened_at": info.opened_at,
        "closed_at": info.closed_at,
        "withdrawn": info.withdrawn,
        "alerted_at": info.alerted_at,
        "answer": info.answer,
        "answered_by": info.answered_by,
        "answered_at": info.answered_at,
        "snoozed_until": info.snoozed_until,
    }


def _series_out(series: tuple[str, str]) -> SeriesOut:
    return SeriesOut(dimension=series[0], key=series[1].replace(BETWEEN, "/"))


def _cause_out(part: CausePart) -> CauseOut:
    return CauseOut(
        dimension=part.dimension,
        value=part.value,
        actual_usd=plain_decimal(part.actual_usd),
        expected_usd=plain_decimal(part.expected_usd),
        excess_usd=plain_decimal(part.excess_usd),
        is_rest=part.is_rest,
    )


def _settings_out(info: SettingsInfo) -> AnomalySettingsOut:
    return AnomalySettingsOut(
        min_usd=plain_decimal(info.min_usd), sensitivity=info.sensitivity, guard=info.guard
    )
