"""Making reports: each due one once, and tests. The alerts' outbox sends what is posted."""

import logging
from datetime import date, datetime
from typing import Final

from django.conf import settings
from django.template.loader import render_to_string

from apps.alerts.core.messages import Attachment
from apps.alerts.letter_outbox import MAX_FILE_BYTES, LetterContent, Recipient, post_letter
from apps.dashboards.conventions import written_as
from apps.dashboards.money import in_own_currency, shown
from apps.dashboards.reports.content import ReportContent, read_report
from apps.dashboards.reports.schedules import (
    claim_due_schedule,
    letter_key,
    list_schedules,
    list_tenants_with_report_schedules,
    record_report,
)
from apps.dashboards.reports.times import Frequency, last_closed
from apps.tenants.locales import HOUSE, conventions_of
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import get_tenant

logger = logging.getLogger(__name__)
FILE_PATH: Final = (
    "/api/v1/spend?from={first}&to={end}&group_by=model,department,customer&format=csv"
)


def make_due_reports(*, now: datetime) -> int:
    """Make and post what is due for all tenants; return how many. One that fails is logged, and
    tried again the next time; it keeps no other waiting."""
    made = 0
    for tenant_id in list_tenants_with_report_schedules():
        with tenant_scope(tenant_id):
            ids = [one.id for one in list_schedules(now=now)]
        for schedule_id in ids:
            try:
                made += make_report(tenant_id, schedule_id, now=now)
            except Exception:
                logger.exception("tenant %s: report %s was not made", tenant_id, schedule_id)
    return made


def make_report(tenant_id: int, schedule_id: int, *, now: datetime) -> bool:
    """Make the report of a schedule if it is due and was not made: one transaction, in which the
    report is recorded and its letter posted. False where there is nothing to do."""
    with tenant_scope(tenant_id):
        due = claim_due_schedule(schedule_id, now=now)
        if due is None:
            return False
        schedule, first_day = due
        content, letter = make_letter(schedule.rhythm.frequency, first_day, now=now)
        record_report(schedule_id, first_day, cost_usd=content.whole.cost_usd, now=now)
        post_letter(
            key=letter_key(schedule_id, first_day),
            recipients=schedule.recipients,
            content=letter,
            now=now,
        )
        return True


def post_test(frequency: Frequency, *, user_id: int, email: str, now: datetime) -> bool:
    """Post the report of the last closed week or month to one person of the tenant in scope; False
    where one was posted within the minute."""
    first_day = last_closed(frequency, get_tenant().zone, now)
    return post_letter(
        key=f"report-test:{frequency}:{user_id}:{now:%Y-%m-%dT%H:%M}",
        recipients=[Recipient(email, email)],
        content=make_letter(frequency, first_day, now=now)[1],
        now=now,
    )


def make_letter(
    frequency: Frequency, first_day: date, *, now: datetime
) -> tuple[ReportContent, LetterContent]:
    """What the tenant in scope is told of a closed week or month, in its own conventions and
    currency: a letter goes to several people."""
    tenant = get_tenant()
    with written_as(conventions_of(tenant.locale) or HOUSE):

        def write() -> tuple[ReportContent, LetterContent]:
            content = read_report(tenant, frequency, first_day, now=now)
            return content, _written(content)

        return in_own_currency(write, tenant, now)


def _written(content: ReportContent) -> LetterContent:
    """As plain text and as HTML, with the file where it is not too large for an e-mail."""
    file = content.file.encode()
    fits = len(file) <= MAX_FILE_BYTES
    days = content.period.days
    attachment = None
    if fits:
        attachment = Attachment(f"spend-{days[0].isoformat()}-{days[-1].isoformat()}.csv", file)
    context = {
        "report": content,
        "base_url": settings.PUBLIC_URL,
        "currency": shown().currency,
        "file_name": attachment.name if attachment else "",
        "file_path": FILE_PATH.format(
            first=days[0].isoformat(), end=content.period_end_day.isoformat()
        ),
    }
    return LetterContent(
        subject=content.subject,
        text=render_to_string("dashboards/report_letter.txt", context),
        html=render_to_string("dashboards/report_letter.html", context),
        attachment=attachment,
    )
