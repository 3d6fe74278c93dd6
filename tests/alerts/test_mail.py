"""E-mails to a real mail server: what arrives, what is tried again, and what never is."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from email.message import EmailMessage
from pathlib import Path
from typing import cast

import pytest
from pytest_django import Settings

from apps.alerts.delivery import deliver_due
from apps.alerts.models import Delivery
from apps.alerts.services import ChannelSettings, Severity, add_channel
from apps.tenants.exchange import set_rate
from apps.tenants.organisation import change_tenant
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.alerts.conftest import NOW
from tests.alerts.receivers import MailServer, mail_server

Tell = Callable[..., bool]
States = Callable[[], dict[str, str]]
SOON, MUCH_LATER = NOW + timedelta(seconds=1), NOW + timedelta(days=900)


@pytest.fixture
def mail(settings: Settings, tenant: TenantInfo) -> Iterator[MailServer]:
    """A mail server, and a channel through it to two people."""
    with mail_server() as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
        settings.DEFAULT_FROM_EMAIL = "costboard@lindwerk.example"
        settings.PUBLIC_URL = "https://costs.example"
        with tenant_scope(tenant.id):
            add_channel(
                ChannelSettings(name="finance"),
                kind="email",
                target="anna@lindwerk.example, ben@lindwerk.example",
                actor="test",
                now=NOW,
            )
        yield server


def test_mail_says_what_happened_and_leads_there(
    mail: MailServer, tell: Tell, states: States
) -> None:
    tell(severity=Severity.CRITICAL, subject="Ausgaben verdreifacht – Größe\r\nBcc: x@y.example")
    deliver_due(now=SOON)
    (received,) = mail.mails
    assert received["To"] == "anna@lindwerk.example, ben@lindwerk.example"
    assert received["From"] == "costboard@lindwerk.example"
    assert received["Subject"].strip() == "Critical: Ausgaben verdreifacht – Größe Bcc: x@y.example"
    assert received["Bcc"] is None
    assert received["Auto-Submitted"] == "auto-generated"
    text = cast("EmailMessage", received).get_content()
    assert "Three times the usual." in text
    assert "At stake: 12.40 USD" in text
    assert "https://costs.example/anomalies/1" in text
    assert states() == {"finding:1": "sent"}


@pytest.mark.parametrize(
    ("verb", "line"),
    [
        ("MAIL", "451 later"),
        ("MAIL", "550 never"),
        ("RCPT", "450 busy"),
        ("RCPT", "550 no such person"),
        ("DATA", "452 full"),
        ("DATA", "554 spam"),
    ],
)
def test_servers_no_is_final_or_not_by_its_code(
    mail: MailServer, tell: Tell, states: States, verb: str, line: str
) -> None:
    state = "pending" if line.startswith("4") else "failed"
    mail.refuse_at[verb] = line
    tell()
    deliver_due(now=SOON)
    assert states() == {"finding:1": state}
    assert mail.mails == []
    mail.refuse_at.clear()
    deliver_due(now=MUCH_LATER)
    assert len(mail.mails) == (state == "pending")


def test_mail_that_the_server_may_have_taken_is_not_sent_again(
    mail: MailServer, tell: Tell, states: States
) -> None:
    mail.hang_up_after_data = True
    tell()
    deliver_due(now=SOON)
    assert states() == {"finding:1": "unknown"}
    mail.hang_up_after_data = False
    deliver_due(now=MUCH_LATER)
    assert len(mail.mails) == 1


def test_server_that_is_down_gets_it_when_it_is_up(
    mail: MailServer, tell: Tell, states: States, settings: Settings
) -> None:
    port, settings.EMAIL_PORT = settings.EMAIL_PORT, 1
    tell()
    deliver_due(now=SOON)
    assert states() == {"finding:1": "pending"}
    settings.EMAIL_PORT = port
    deliver_due(now=MUCH_LATER)
    assert states() == {"finding:1": "sent"}
    assert len(mail.mails) == 1


@pytest.mark.parametrize(
    ("locale", "rated", "told"),
    [
        ("de-DE", True, "At stake: 11,17 EUR (12,40 USD)"),
        ("de-DE", False, "At stake: 12,40 USD"),
        ("", True, "At stake: 11.17 EUR (12.40 USD)"),
    ],
)
def test_amounts_are_in_the_currency_and_the_locale_of_the_organisation(
    *, mail: MailServer, tell: Tell, tenant: TenantInfo, locale: str, rated: bool, told: str
) -> None:
    """At the rate of the day on which it was raised; what machines read stays as it is, in USD."""
    with tenant_scope(tenant.id):
        change_tenant(name="Acme", currency="EUR", country="", locale=locale, actor="olga", now=NOW)
        if rated:
            day = tenant.local_date(NOW)
            set_rate(day=day, per_usd=Decimal("0.901"), actor="olga", now=NOW)
            set_rate(day=day + timedelta(days=1), per_usd=Decimal(7), actor="olga", now=NOW)
    tell()
    deliver_due(now=NOW + timedelta(days=1))
    (received,) = mail.mails
    assert told in cast("EmailMessage", received).get_content()


def test_without_a_mail_server_mails_are_written_to_files(
    mail: MailServer, tell: Tell, tenant: TenantInfo, settings: Settings, tmp_path: Path
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = tmp_path / "mail"
    tell()
    deliver_due(now=SOON)
    (file,) = (tmp_path / "mail").iterdir()
    assert "At stake: 12.40 USD" in file.read_text()
    with tenant_scope(tenant.id):
        assert Delivery.objects.get().state == "sent"
