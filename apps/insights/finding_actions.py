"""What people do with findings: answer, snooze, comment; and a tenant's choices. Services."""

import math
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

from apps.insights.core.flags import moved_factor
from apps.insights.errors import InvalidAnswerError, UnknownFindingError
from apps.insights.finding_models import (
    GUARDS,
    AnomalySettings,
    Finding,
    FindingComment,
    SeriesThreshold,
)
from apps.insights.guard import lift_restrictions
from apps.tenants.services import record_audit

MAX_COMMENT_LENGTH: Final = 2000
MAX_COMMENTS: Final = 500
MAX_SNOOZE: Final = timedelta(days=90)
MAX_ID: Final = 2**63 - 1
MAX_MIN_USD: Final = Decimal(10) ** 12
LEAST_SENSITIVITY, MOST_SENSITIVITY = 0.25, 4.0
Answer = Literal["acknowledged", "expected"]


def acknowledge_finding(finding_id: int, *, actor: str, now: datetime) -> None:
    """Somebody looks after it: it was useful, and its series' thresholds go down a little."""
    _answer(finding_id, "acknowledged", actor=actor, now=now)


def expect_finding(finding_id: int, *, actor: str, now: datetime) -> None:
    """It was to be expected: its series' thresholds go up."""
    _answer(finding_id, "expected", actor=actor, now=now)


def snooze_finding(finding_id: int, *, until: datetime, actor: str, now: datetime) -> None:
    """Neither listed as open nor told until then. At most MAX_SNOOZE ahead."""
    if until.tzinfo is None or not now < until <= now + MAX_SNOOZE:
        raise InvalidAnswerError(
            f"until lies ahead, by at most {MAX_SNOOZE.days} days, with an offset", field="until"
        )
    finding = _locked(finding_id)
    before = finding.snoozed_until
    finding.snoozed_until = until
    finding.save(update_fields=["snoozed_until"])
    record_audit(
        actor=actor,
        action="finding.snoozed",
        subject=f"finding:{finding_id}",
        before={"until": before.isoformat() if before else None},
        after={"until": until.isoformat()},
        now=now,
    )


def comment_finding(finding_id: int, *, text: str, actor: str, now: datetime) -> int:
    """Say something about it; returns the comment's id."""
    text = text.strip()
    if not 0 < len(text) <= MAX_COMMENT_LENGTH or "\0" in text:
        raise InvalidAnswerError(
            f"text has 1 to {MAX_COMMENT_LENGTH} characters, none of them NUL; got {len(text)}",
            field="text",
        )
    finding = _locked(finding_id)
    if finding.comments.count() >= MAX_COMMENTS:
        raise InvalidAnswerError(f"a finding has at most {MAX_COMMENTS} comments", field="text")
    comment = FindingComment.objects.create(finding=finding, at=now, author=actor, text=text)
    return comment.pk


def change_anomaly_settings(
    *, min_usd: Decimal, sensitivity: float, guard: str, actor: str, now: datetime
) -> None:
    """What is worth a finding, how easily, and whether runaways are stopped. Audited."""
    if not min_usd.is_finite() or not 0 <= min_usd <= MAX_MIN_USD or min_usd != round(min_usd, 2):
        raise InvalidAnswerError(
            f"min_usd is from 0 to {MAX_MIN_USD:f}, with up to 2 decimals; got {min_usd}",
            field="min_usd",
        )
    if not (math.isfinite(sensitivity) and LEAST_SENSITIVITY <= sensitivity <= MOST_SENSITIVITY):
        raise InvalidAnswerError(
            f"sensitivity is from {LEAST_SENSITIVITY} to {MOST_SENSITIVITY}; got {sensitivity}",
            field="sensitivity",
        )
    if guard not in GUARDS:
        raise InvalidAnswerError(f"guard is one of {', '.join(GUARDS)}", field="guard")
    old = AnomalySettings.objects.first() or AnomalySettings()
    AnomalySettings.objects.update_or_create(
        defaults={"min_usd": min_usd, "sensitivity": sensitivity, "guard": guard}
    )
    record_audit(
        actor=actor,
        action="anomaly_settings.changed",
        subject="anomaly_settings",
        before=_as_json(old),
        after={"min_usd": str(min_usd), "sensitivity": sensitivity, "guard": guard},
        now=now,
    )


def _answer(finding_id: int, answer: Answer, *, actor: str, now: datetime) -> None:
    finding = _locked(finding_id)
    before = finding.answer
    if before != answer:
        _move_thresholds(finding, useful=answer == "acknowledged")
    finding.answer, finding.answered_by, finding.answered_at = answer, actor, now
    finding.save(update_fields=["answer", "answered_by", "answered_at"])
    lift_restrictions(finding, actor=actor, now=now)
    record_audit(
        actor=actor,
        action=f"finding.{answer}",
        subject=f"finding:{finding_id}",
        before={"answer": before},
        after={"answer": answer},
        now=now,
    )


def _move_thresholds(finding: Finding, *, useful: bool) -> None:
    for dimension, key in finding.members:
        row = SeriesThreshold.objects.filter(dimension=dimension, key=key).first()
        factor = moved_factor(row.factor if row else 1.0, useful=useful)
        SeriesThreshold.objects.update_or_create(
            dimension=dimension, key=key, defaults={"factor": factor}
        )


def _locked(finding_id: int) -> Finding:
    found = (
        Finding.objects.select_for_update().filter(pk=finding_id).first()
        if 0 < finding_id <= MAX_ID
        else None
    )
    if found is None:
        raise UnknownFindingError(f"there is no finding {finding_id}", field="finding_id")
    return found


def _as_json(settings: AnomalySettings) -> dict[str, object]:
    return {
        "min_usd": str(settings.min_usd),
        "sensitivity": settings.sensitivity,
        "guard": settings.guard,
    }
