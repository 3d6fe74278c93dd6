"""Sending what is due: claim, send at once in threads, record. Threads touch no database."""

import logging
import random
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from datetime import UTC, datetime, timedelta
from typing import Final

from apps.alerts.core.retries import SendResult
from apps.alerts.core.signatures import headers
from apps.alerts.letter_outbox import (
    LetterJob,
    claim_letters,
    list_tenants_with_due_letters,
    record_letter,
)
from apps.alerts.mail import send_mail
from apps.alerts.outbox import Job, claim_due, list_tenants_with_due_alerts, record_result
from apps.alerts.targets import operator_policy, recipients_of
from apps.alerts.webhook import post_webhook

logger = logging.getLogger(__name__)
# All that is claimed is sent at once: nothing waits for a slow receiver while its lease runs.
MAX_AT_ONCE: Final = 8
ROUNDS_SECONDS: Final = 10.0


def deliver_due(*, now: datetime) -> int:
    """Send what is due for all tenants, in rounds until nothing is or ROUNDS_SECONDS are over;
    return how many attempts were made."""
    started = time.monotonic()
    made = 0
    while True:
        elapsed = time.monotonic() - started
        jobs = _claim_fairly(now + timedelta(seconds=elapsed))
        _send_all(jobs)
        made += len(jobs)
        if not jobs or elapsed > ROUNDS_SECONDS:
            return made


def attempt(job: Job | LetterJob, *, moment: datetime) -> SendResult:
    """Send one message, once. Raises nothing: what it does not know of is written down."""
    try:
        return _send(job, moment)
    except Exception as error:  # what a sender did not foresee must not keep the others waiting
        logger.exception("sending delivery %s failed unexpectedly", job.delivery_id)
        repeats = isinstance(job, Job) and job.kind == "webhook"
        outcome = "retry" if repeats else "unknown"
        return SendResult(outcome, f"an error of ours: {type(error).__name__}")  # type: ignore[arg-type]


def _claim_fairly(now: datetime) -> list[Job | LetterJob]:
    """At most MAX_AT_ONCE, a few of each tenant, in any order: a tenant with a thousand messages
    or a slow receiver does not keep the others waiting."""
    with_letters = set(list_tenants_with_due_letters(now))
    tenant_ids = list(with_letters.union(list_tenants_with_due_alerts(now)))
    random.shuffle(tenant_ids)
    each = max(1, MAX_AT_ONCE // max(1, len(tenant_ids)))
    jobs: list[Job | LetterJob] = []
    for tenant_id in tenant_ids:
        room = min(each, MAX_AT_ONCE - len(jobs))
        if room <= 0:
            break
        alerts = claim_due(tenant_id, now=now, limit=room)
        jobs += alerts
        # An alert is news, a letter is not: it waits while there are alerts.
        if tenant_id in with_letters and len(alerts) < room:
            jobs += claim_letters(tenant_id, now=now, limit=room - len(alerts))
    return jobs


def _send_all(jobs: list[Job | LetterJob]) -> None:
    if not jobs:
        return
    with ThreadPoolExecutor(len(jobs), thread_name_prefix="alerts") as pool:
        for job, result in _as_they_end(pool, jobs):
            ended_at = datetime.now(UTC)
            chance = random.random()  # noqa: S311
            if isinstance(job, LetterJob):
                record_letter(job, result, ended_at=ended_at, chance=chance)
            else:
                record_result(job, result, ended_at=ended_at, chance=chance)


def _as_they_end(
    pool: ThreadPoolExecutor, jobs: list[Job | LetterJob]
) -> Iterator[tuple[Job | LetterJob, SendResult]]:
    moment = datetime.now(UTC)
    running: dict[Future[SendResult], Job | LetterJob] = {
        pool.submit(attempt, job, moment=moment): job for job in jobs
    }
    for future in as_completed(running):
        yield running[future], future.result()


def _send(job: Job | LetterJob, moment: datetime) -> SendResult:
    if isinstance(job, LetterJob) or job.kind == "email":
        recipients = recipients_of(job.target)
        return send_mail(recipients, job.message, message_id=job.message_id)
    if job.kind == "webhook":
        body = job.message.body()
        signed = headers(job.secrets, message_id=job.message_id, moment=moment, body=body)
        return post_webhook(
            job.target,
            body=body,
            headers={"Content-Type": "application/json"} | signed,
            policy=operator_policy(),
        )
    # Imported late: apprise takes half a second and many megabytes, and most have no such channel.
    from apps.alerts.apprise_service import send_to_service

    return send_to_service(job.target, job.message, policy=operator_policy())
