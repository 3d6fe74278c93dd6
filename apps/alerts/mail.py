"""Sending an e-mail through Django's mail settings.

At most once: until the server has been asked to take it, a failure means that nothing went out and
another attempt is right. When the connection breaks after that, nobody knows, and it is not sent
again.
"""

import smtplib
from contextlib import suppress
from typing import Final

from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection

from apps.alerts.core.messages import Message
from apps.alerts.core.retries import SendResult

DOMAIN_OF_IDS: Final = "costboard.alerts"


def send_mail(recipients: list[str], message: Message, *, message_id: str) -> SendResult:
    """One attempt, to all recipients together."""
    connection = get_connection()
    try:
        connection.open()
    except (OSError, smtplib.SMTPException) as error:
        return _refused(error, "no connection to the mail server")
    header = f"<{message_id}@{DOMAIN_OF_IDS}>"
    mail = EmailMultiAlternatives(
        subject=message.subject,
        body=message.text,
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=recipients,
        headers={"Message-ID": header, "Auto-Submitted": "auto-generated"},
        connection=connection,
    )
    if message.html:
        mail.attach_alternative(message.html, "text/html")
    if message.attachment is not None:
        file = message.attachment
        mail.attach(file.name, file.content, file.mime_type)
    try:
        taken = mail.send()
    except smtplib.SMTPServerDisconnected:
        return SendResult("unknown", "the mail server hung up while it was taking the message")
    except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused) as error:
        return _refused(error, "the mail server refused it")
    except OSError as error:
        return SendResult("unknown", f"the mail server stopped answering: {_name(error)}")
    finally:
        _close(connection)
    if not taken:
        return SendResult("failed", "there was nobody to send it to")
    return SendResult("sent", provider_id=header)


def _close(connection: object) -> None:
    """The server has answered by now; how it says goodbye changes nothing."""
    with suppress(OSError, smtplib.SMTPException):
        connection.close()  # type: ignore[attr-defined]


def _refused(error: Exception, what: str) -> SendResult:
    """A server's 4xx may change, its 5xx will not; what came before any answer may."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
        final = all(code >= 500 for code in codes)
        return SendResult("failed" if final else "retry", f"{what}: {min(codes, default=0)}")
    if isinstance(error, smtplib.SMTPResponseException):
        outcome = "failed" if error.smtp_code >= 500 else "retry"
        return SendResult(outcome, f"{what}: {error.smtp_code}")  # type: ignore[arg-type]
    return SendResult("retry", f"{what}: {_name(error)}")


def _name(error: Exception) -> str:
    return "it took too long" if isinstance(error, TimeoutError) else type(error).__name__
