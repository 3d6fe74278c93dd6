"""One e-mail to one person that asked for nothing but this: an invitation, a link to a password.

Not an alert: it is tried once, at once, and kept nowhere. No transaction may be open
while it is sent.
"""

import secrets
from typing import Final

from apps.alerts.core.facts import MAX_BODY_LENGTH, MAX_SUBJECT_LENGTH, Severity, cut, one_line
from apps.alerts.core.messages import Message
from apps.alerts.core.retries import SendResult
from apps.alerts.mail import send_mail

NO_PAYLOAD: Final[dict[str, object]] = {}


def send_letter(*, to: str, subject: str, body: str) -> SendResult:
    """Plain text, to one address; the result says "sent" or why not."""
    message = Message(
        cut(one_line(subject), MAX_SUBJECT_LENGTH),
        cut(body, MAX_BODY_LENGTH),
        dict(NO_PAYLOAD),
        Severity.INFO,
    )
    return send_mail([to], message, message_id=f"letter_{secrets.token_hex(12)}")
