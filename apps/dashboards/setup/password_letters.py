"""The letter with the link to a new password; to a person, so past the outbox of a tenant."""

from typing import Final

from django.template.loader import render_to_string
from django.urls import reverse

from apps.alerts.letters import send_letter
from apps.tenants.password_reset import make_reset_code

SUBJECT: Final = "A new password for Costboard"


class LinkNotSentError(Exception):
    """The mail server may take it later."""


def send_link(email: str, base_url: str) -> bool:
    """False where there is nobody to send it to, or the server refused for good."""
    made = make_reset_code(email)
    if made is None:
        return False
    address, code = made
    link = base_url + reverse("reset-password", args=[code])
    body = render_to_string("dashboards/password_letter.txt", {"link": link, "email": address})
    result = send_letter(to=address, subject=SUBJECT, body=body)
    if result.outcome == "retry":
        raise LinkNotSentError(result.error)
    return result.outcome == "sent"
