"""Letters: e-mails that somebody asked for, with HTML and a file. A part of services.

They go through the same worker as alerts and keep the promise of e-mails in docs/decisions/0013:
posted if and only if the caller's transaction is committed, never sent twice.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import connection

from apps.alerts.channel_rows import new_message_id
from apps.alerts.core.facts import MAX_SUBJECT_LENGTH, Severity, cut, one_line
from apps.alerts.core.messages import Attachment, Message
from apps.alerts.core.retries import SendResult, next_attempt_at
from apps.alerts.models import Letter, LetterDelivery
from apps.alerts.outbox import CRASH_WORDS, LEASE
from apps.alerts.targets import recipients_of
from apps.tenants.scoping import current_tenant_id, tenant_scope

MAX_RECIPIENTS: Final = 60
MAX_FILE_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who gets one e-mail: a name for the log, and addresses with commas between."""

    name: str
    target: str


@dataclass(frozen=True, slots=True)
class LetterContent:
    """What a letter says: plain text, the same in HTML, and at most one file."""

    subject: str
    text: str
    html: str = ""
    attachment: Attachment | None = None


@dataclass(frozen=True, slots=True)
class LetterJob:
    """A letter to be sent to one recipient once, now."""

    tenant_id: int
    delivery_id: int
    attempt: int
    target: str
    message_id: str
    message: Message


@dataclass(frozen=True, slots=True)
class LetterDeliveryInfo:
    """How a letter's way to one recipient went; `state` is of models.LetterDelivery."""

    name: str
    state: str
    last_error: str
    ended_at: datetime | None


def post_letter(
    *, key: str, recipients: Sequence[Recipient], content: LetterContent, now: datetime
) -> bool:
    """Put a letter in the outbox of the tenant in scope, once: False when `key` is known.

    Runs in the caller's transaction and sends nothing itself. Raises ValueError for too many
    recipients or too large a file, InvalidChannelError for what is no address.
    """
    file = content.attachment
    if len(recipients) > MAX_RECIPIENTS:
        raise ValueError(f"{len(recipients)} recipients, at most {MAX_RECIPIENTS}")
    if file is not None and len(file.content) > MAX_FILE_BYTES:
        raise ValueError(f"a file of {len(file.content)} bytes, at most {MAX_FILE_BYTES}")
    targets = {", ".join(recipients_of(one.target)): one.name for one in recipients}
    letter, is_new = Letter.objects.get_or_create(
        key=key,
        defaults={
            "subject": cut(one_line(content.subject), MAX_SUBJECT_LENGTH),
            "text": content.text.replace("\0", ""),
            "html": content.html.replace("\0", ""),
            "file_name": file.name if file else "",
            "file": file.content if file else b"",
            "posted_at": now,
        },
    )
    if is_new:
        LetterDelivery.objects.bulk_create(
            LetterDelivery(
                tenant_id=letter.tenant_id,
                letter=letter,
                name=name[:254],
                target=target,
                message_id=new_message_id(),
                due_at=now,
            )
            for target, name in targets.items()
        )
    return is_new


def read_letter_deliveries(keys: Iterable[str]) -> dict[str, list[LetterDeliveryInfo]]:
    """By the letters' keys, of the tenant in scope."""
    found: dict[str, list[LetterDeliveryInfo]] = defaultdict(list)
    rows = LetterDelivery.objects.filter(letter__key__in=list(keys)).order_by("name", "id")
    columns = ("letter__key", "name", "state", "last_error", "ended_at")
    for key, *rest in rows.values_list(*columns):
        found[key].append(LetterDeliveryInfo(*rest))
    return found


def list_tenants_with_due_letters(now: datetime) -> list[int]:
    """Needs no scope."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenants_with_due_letters(%s)", [now])
        return [row[0] for row in cursor.fetchall()]


def claim_letters(tenant_id: int, *, now: datetime, limit: int) -> list[LetterJob]:
    """Take up to `limit` due letters for LEASE; no two workers get the same. What a worker that
    died was sending ends as unknown: nobody can know whether it went out."""
    with tenant_scope(tenant_id):
        _end_crashed(now, limit)
        rows = (
            LetterDelivery.objects.select_for_update(skip_locked=True, of=("self",))
            .select_related("letter")
            .filter(state="pending", due_at__lte=now)
            .order_by("due_at", "id")[:limit]
        )
        return [_start(row, now) for row in rows]


def record_letter(job: LetterJob, result: SendResult, *, ended_at: datetime, chance: float) -> None:
    """Write down how the attempt went; one that lost its lease still says how it ended."""
    with tenant_scope(job.tenant_id):
        row = (
            LetterDelivery.objects.select_for_update()
            .filter(pk=job.delivery_id, attempts=job.attempt, state__in=["sending", "unknown"])
            .first()
        )
        if row is None:
            return
        again_at = next_attempt_at(result, attempt=job.attempt, ended_at=ended_at, chance=chance)
        row.leased_until = None
        row.last_error = result.error[:300]
        if again_at is not None:
            row.state, row.due_at, row.ended_at = "pending", again_at, None
        else:
            row.state = "failed" if result.outcome == "retry" else result.outcome
            row.ended_at = ended_at
        row.save()


def _end_crashed(now: datetime, limit: int) -> None:
    crashed = LetterDelivery.objects.select_for_update(skip_locked=True).filter(
        state="sending", leased_until__lte=now
    )
    for row in crashed[: 10 * limit]:
        row.state, row.leased_until, row.ended_at = "unknown", None, now
        row.last_error = CRASH_WORDS
        row.save()


def _start(row: LetterDelivery, now: datetime) -> LetterJob:
    """From here on it counts as being sent, whatever becomes of this process."""
    row.state, row.leased_until = "sending", now + LEASE
    row.attempts += 1
    row.save(update_fields=["state", "leased_until", "attempts"])
    letter = row.letter
    file = Attachment(letter.file_name, bytes(letter.file)) if letter.file_name else None
    return LetterJob(
        tenant_id=current_tenant_id(),
        delivery_id=row.pk,
        attempt=row.attempts,
        target=row.target,
        message_id=row.message_id,
        message=Message(letter.subject, letter.text, {}, Severity.INFO, letter.html, file),
    )
