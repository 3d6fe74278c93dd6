"""Whom the demo's company tells: without a mail server, mails are files in the data folder."""

from datetime import datetime
from typing import Final

from apps.alerts.selectors import list_channels
from apps.alerts.services import ChannelSettings, add_channel

RECIPIENT: Final = "finance@lindwerk.example"


def ensure_channel(actor: str, now: datetime) -> None:
    """Add the channel of the tenant in scope, where there is none."""
    if not list_channels(now=now):
        settings = ChannelSettings(name="Finance by mail", max_per_hour=60)
        add_channel(settings, kind="email", target=RECIPIENT, actor=actor, now=now)
