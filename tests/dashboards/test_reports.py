"""Reports by e-mail: made once, sent once, and saying what the API says."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from email.message import EmailMessage
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from pytest_django import Settings

from apps.alerts.delivery import deliver_due
from apps.alerts.letter_outbox import claim_letters
from apps.dashboards.reports.letters import make_due_reports, make_letter, make_report
from apps.dashboards.reports.schedules import add_schedule, list_reports
from apps.dashboards.reports.times import Rhythm, last_closed
from apps.tenants.exchange import set_rate
from apps.tenants.organisation import change_tenant
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, list_audit_of, list_members
from apps.usage.selectors import SpendQuery, read_spend
from tests.alerts.receivers import MailServer, mail_server
from tests.conftest import Key, native_event

Post = Callable[[Any], dict[str, Any]]
SignIn = Callable[..., Client]
WEEKLY = Rhythm("weekly", 0, 0)
SECOND = timedelta(seconds=1)


@pytest.fixture
def now() -> datetime:
    """One reading of the clock a test."""
    return datetime.now(UTC)


@pytest.fixture
def mail(settings: Settings) -> Iterator[MailServer]:
    with mail_server() as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
        settings.PUBLIC_URL = "https://costs.example"
        yield server


@pytest.fixture
def member(tenant: TenantInfo, sign_in: SignIn) -> tuple[int, str]:
    """(number, address) of somebody in the tenant."""
    sign_in("viewer")
    with tenant_scope(tenant.id):
        one = list_members()[0]
    return one.user_id, one.email


@pytest.fixture
def schedule_id(tenant: TenantInfo, member: tuple[int, str], now: datetime) -> int:
    """A weekly report that has been due since Monday."""
    with tenant_scope(tenant.id):
        return add_schedule(
            WEEKLY,
            member_ids=[member[0]],
            channel_ids=[],
            actor="test",
            now=now - timedelta(days=30),
        )


def use(post_events: Post, tenant: TenantInfo, now: datetime) -> None:
    """Two models, one a stranger's, in the last closed week, and less in the one before."""
    first = last_closed("weekly", tenant.zone, now)
    noon = datetime.combine(first, time(12), tenant.zone)
    post_events(
        [
            native_event(timestamp=(noon + timedelta(days=n)).isoformat(), customer=customer)
            for n, customer in enumerate(["acme", "acme", "=cmd()", None, "bolt", "bolt", "acme"])
        ]
        + [native_event(timestamp=(noon - timedelta(days=2)).isoformat(), customer="acme")]
    )


def mails_to(mail: MailServer, email: str) -> list[EmailMessage]:
    found = [one for one in mail.mails if isinstance(one, EmailMessage)]
    return [one for one in found if one["To"] == email]


def body(letter: EmailMessage, kind: str) -> str:
    part = letter.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def test_letter_says_what_the_api_says(
    *,
    tenant: TenantInfo,
    key: Key,
    client: Client,
    post_events: Post,
    mail: MailServer,
    member: tuple[int, str],
    schedule_id: int,
    now: datetime,
) -> None:
    use(post_events, tenant, now)
    assert make_report(tenant.id, schedule_id, now=now)
    deliver_due(now=now + SECOND)
    (letter,) = mails_to(mail, member[1])
    first = last_closed("weekly", tenant.zone, now)
    end = first + timedelta(days=7)
    with tenant_scope(tenant.id):
        start_at, end_at = (datetime.combine(d, time.min, tenant.zone) for d in (first, end))
        total = read_spend(SpendQuery(start=start_at, end=end_at)).total
    assert total.requests == 7
    (file,) = letter.iter_attachments()
    attached = file.get_payload(decode=True)
    assert isinstance(attached, bytes)
    rows = list(csv.DictReader(io.StringIO(attached.decode())))
    assert sum(Decimal(row["cost_usd"]) for row in rows) == total.cost_usd
    assert sum(int(row["requests"]) for row in rows) == 7
    assert "'=cmd()" in {row["customer"] for row in rows}
    by = "group_by=model,department,customer&format=csv"
    answer = client.get(f"/api/v1/spend?from={first}&to={end}&{by}", headers=key.headers)
    assert attached == answer.content
    assert file.get_filename() == f"spend-{first}-{end - timedelta(days=1)}.csv"
    # 7 requests of 0.000225 USD, after one: 600% more.
    assert "0.00158 USD in the week of" in str(letter["Subject"])
    assert "600% more than the week before" in str(letter["Subject"])
    text, html = body(letter, "plain"), body(letter, "html")
    for said in (text, html):
        assert "gpt-4o-mini" in said
        assert "acme" in said
        assert "through more use" in said
        assert "https://costs.example/reports" in said
    # A bar a day that cost something.
    assert len(re.findall(r'height="84" bgcolor', html)) == 7
    with tenant_scope(tenant.id):
        (report,) = list_reports()
    assert (report.first_day, report.cost_usd) == (first, total.cost_usd)
    assert [(one.name, one.state) for one in report.deliveries] == [(member[1], "sent")]


def test_a_letter_is_in_the_currency_and_the_locale_of_the_organisation(
    tenant: TenantInfo, post_events: Post, now: datetime
) -> None:
    """Each day at its own rate, the USD beside; all of it in USD while a day has no rate."""
    use(post_events, tenant, now)
    first = last_closed("weekly", tenant.zone, now)
    with tenant_scope(tenant.id):
        change_tenant(
            name="Acme", currency="EUR", country="", locale="de-DE", actor="olga", now=now
        )
        for n in range(7):
            day = first + timedelta(days=n)
            set_rate(day=day, per_usd=Decimal(1000 * (n + 1)), actor="olga", now=now)
        unrated = make_letter("weekly", first, now=now)[1]
        set_rate(day=first - timedelta(days=2), per_usd=Decimal(1000), actor="olga", now=now)
        letter = make_letter("weekly", first, now=now)[1]
    assert "Acme: 0,00158 USD in the week of" in unrated.subject
    assert unrated.attachment is not None
    assert b"cost_eur" not in unrated.attachment.content
    # 0.225 EUR on the first day, seven times that on the last; 0.225 in the week before.
    assert "Acme: 6,30 EUR in the week of" in letter.subject
    assert "2.700% more than the week before" in letter.subject.replace("\xa0", "")
    for said in (letter.text, letter.html):
        assert "0,00158 USD, each day at its own rate" in said
        assert "1,58 EUR" in said
        assert "exchange" in said
    assert letter.attachment is not None
    rows = list(csv.DictReader(io.StringIO(letter.attachment.content.decode())))
    assert sum(Decimal(row["cost_eur"]) for row in rows) == Decimal("6.3")
    assert sum(Decimal(row["cost_usd"]) for row in rows) == Decimal("0.001575")


def test_two_workers_make_and_send_it_once(
    tenant: TenantInfo, mail: MailServer, member: tuple[int, str], schedule_id: int, now: datetime
) -> None:
    both = Barrier(2)
    made: list[bool] = []

    def work() -> None:
        try:
            both.wait(timeout=30)
            made.append(make_report(tenant.id, schedule_id, now=now))
            both.wait(timeout=30)
            deliver_due(now=now + SECOND)
        finally:
            connection.close()

    workers = [Thread(target=work) for _ in range(2)]
    for one in workers:
        one.start()
    for one in workers:
        one.join(timeout=60)
    assert sorted(made) == [False, True]
    make_due_reports(now=now + SECOND)
    deliver_due(now=now + 2 * SECOND)
    (letter,) = mails_to(mail, member[1])
    assert "Nothing was used." in body(letter, "html")


def test_crash_neither_loses_nor_doubles(
    tenant: TenantInfo, mail: MailServer, member: tuple[int, str], schedule_id: int, now: datetime
) -> None:
    """Before the commit nothing stands; after it the letter is in the outbox; a worker that dies
    with it leaves it unknown."""

    class Crash(Exception):
        pass

    def make_and_crash() -> None:
        with tenant_scope(tenant.id):
            assert make_report(tenant.id, schedule_id, now=now)
            raise Crash

    with pytest.raises(Crash):
        make_and_crash()
    with tenant_scope(tenant.id):
        assert list_reports() == []
    assert make_report(tenant.id, schedule_id, now=now)
    assert len(claim_letters(tenant.id, now=now, limit=5)) == 1
    assert claim_letters(tenant.id, now=now + SECOND, limit=5) == []
    deliver_due(now=now + timedelta(minutes=2))
    make_due_reports(now=now + timedelta(minutes=2))
    deliver_due(now=now + timedelta(minutes=3))
    assert mails_to(mail, member[1]) == []
    with tenant_scope(tenant.id):
        (report,) = list_reports()
    assert [one.state for one in report.deliveries] == ["unknown"]


def test_what_was_due_before_it_was_scheduled_is_not_sent(
    tenant: TenantInfo, member: tuple[int, str], now: datetime
) -> None:
    with tenant_scope(tenant.id):
        new = add_schedule(WEEKLY, member_ids=[member[0]], channel_ids=[], actor="test", now=now)
    assert not make_report(tenant.id, new, now=now + SECOND)
    assert make_report(tenant.id, new, now=now + timedelta(days=7))


def test_admin_schedules_changes_tests_and_ends(
    tenant: TenantInfo, sign_in: SignIn, mail: MailServer, member: tuple[int, str]
) -> None:
    admin = sign_in("admin")
    form = {"frequency": "monthly", "weekday": "0", "month_day": "31", "hour": "7"}
    refused = admin.post("/reports/save", form)
    assert refused.status_code == 422
    assert "Choose 1 to 50 recipients, not 0." in refused.content.decode()
    form |= {"recipients": f"member:{member[0]}"}
    stranger = admin.post("/reports/save", form | {"recipients": "member:999999999"})
    assert "Somebody chosen has left" in stranger.content.decode()
    html = admin.post("/reports/save", form).content.decode()
    assert "on day 31 of every month at 07:00, or on its last" in html
    assert member[1] in html
    number = re.search(r"\?change=(\d+)", html)
    assert number is not None
    page = admin.get(f"/reports?change={number[1]}").content.decode()
    assert "Change the report on day 31" in page
    weekly = form | {"frequency": "weekly", "weekday": "4", "schedule_id": number[1]}
    assert "every Friday at 07:00" in admin.post("/reports/save", weekly).content.decode()
    viewer = sign_in("viewer")
    seen = viewer.get("/reports").content.decode()
    assert "every Friday at 07:00" in seen
    assert "Schedule a report" not in seen
    assert viewer.post("/reports/save", form).status_code == 403
    preview = viewer.get("/reports/preview?frequency=monthly").content.decode()
    assert "Nothing was used." in preview
    for said in ("On its way to", "On its way to|within this minute"):
        assert re.search(
            said, admin.post("/reports/test", {"frequency": "weekly"}).content.decode()
        )
    deliver_due(now=datetime.now(UTC) + SECOND)
    asked = admin.session["_auth_user_id"]
    with tenant_scope(tenant.id):
        email = next(one.email for one in list_members() if one.user_id == int(asked))
    assert "in the week of" in str(mails_to(mail, email)[0]["Subject"])
    ended = admin.post("/reports/end", {"schedule_id": number[1]}).content.decode()
    assert "not sent any more" in ended
    assert "every Friday" not in ended
    with tenant_scope(tenant.id):
        told = [row.action for row in list_audit_of(f"report_schedule:{number[1]}", limit=9)]
    assert sorted(told) == ["report.added", "report.changed", "report.ended"]
