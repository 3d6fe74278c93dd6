"""Alert channels and what became of alerts, in words. Pure."""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Final

from apps.alerts.core.facts import KIND_WORDS, TEST_KIND
from apps.alerts.selectors import ChannelInfo, DeliveryInfo
from apps.alerts.services import ChannelSettings
from apps.dashboards.periods import short_day
from apps.dashboards.templatetags.figures_of_speech import in_usd, usd

CHANNEL_KINDS: Final = {
    "webhook": "Webhook",
    "email": "E-mail",
    "apprise": "Slack, Teams and others",
}
SEVERITY_CHOICES: Final = (
    ("info", "everything"),
    ("warning", "warnings and critical ones"),
    ("critical", "critical ones only"),
)
DIGEST_CHOICES: Final = (
    ("none", "each by itself, at once"),
    ("hourly", "in one list every full hour"),
    ("daily", "in one list a day"),
)
# How a delivery's tag reads, by its state.
STATE_WORDS: Final = {
    "pending": "waiting",
    "held": "for a list",
    "sending": "being sent",
    "sent": "sent",
    "failed": "failed",
    "unknown": "perhaps sent",
    "suppressed": "over the limit",
    "listed": "in a list",
    "dropped": "not sent",
}


def kind_words(kind: str) -> str:
    """ "budget threshold" of budget_threshold."""
    return kind.replace("_", " ")


def answer(channels: Sequence[ChannelInfo]) -> str:
    """What the channels do, in a sentence or two."""
    on = [one for one in channels if one.settings.enabled]
    if not channels:
        return "Nobody yet: alerts are written down and go to no channel."
    if not on:
        return "Nobody at the moment: every channel is switched off."
    names = _listing([one.settings.name for one in on])
    failing = [one.settings.name for one in on if one.last_error]
    sent = sum(one.sent for one in channels)
    messages = "1 message was" if sent == 1 else f"{sent} messages were"
    told = f"{names} {'is' if len(on) == 1 else 'are'} told. {messages} sent in the last 7 days"
    return f"{told}; the newest to {_listing(failing)} did not arrive." if failing else f"{told}."


def takes(settings: ChannelSettings) -> str:
    """Which alerts it takes: "budget threshold, warnings and critical ones, from 10.00 USD"."""
    parts = [_listing([kind_words(kind) for kind in settings.kinds]) or "all kinds"]
    if settings.min_severity != "info":
        parts.append(dict(SEVERITY_CHOICES)[str(settings.min_severity)])
    if settings.min_amount_usd is not None:
        parts.append(f"from {in_usd(usd(settings.min_amount_usd))}")
    return ", ".join(parts)


def when(settings: ChannelSettings) -> str:
    """When it is told, and how often at most."""
    if settings.digest == "daily":
        parts = [f"in one list at {settings.digest_hour:02d}:00"]
    elif settings.digest == "hourly":
        parts = ["in one list every hour"]
    else:
        parts = ["at once"]
    if settings.quiet_from is not None and settings.quiet_until is not None:
        parts.append(f"quiet from {settings.quiet_from:%H:%M} to {settings.quiet_until:%H:%M}")
    waits = settings.digest != "none" or settings.quiet_from is not None
    if waits and settings.critical_passes:
        parts.append("critical ones always")
    return ", ".join(parts)


def state_words(info: DeliveryInfo, zone: tzinfo) -> str:
    """What became of it: "in the list due 24 Nov, 08:00"."""
    if info.state == "held":
        return f"in the list due {moment_words(info.due_at, zone)}"
    if info.state == "pending":
        tried = f" after {_attempts(len(info.attempts))}" if info.attempts else ""
        return f"due {moment_words(info.due_at, zone)}{tried}"
    if info.state in ("listed", "suppressed"):
        return _list_words(info, zone)
    if info.state == "sent" and info.ended_at is not None:
        tried = f", {_attempts(len(info.attempts))}" if len(info.attempts) > 1 else ""
        return f"{moment_words(info.ended_at, zone)}{tried}"
    if info.state == "failed":
        return f"given up after {_attempts(len(info.attempts))}"
    return ""


def moment_words(moment: datetime, zone: tzinfo) -> str:
    """ "24 Nov, 08:00" in the tenant's time."""
    local = moment.astimezone(zone)
    return f"{short_day(local.date())}, {local:%H:%M}"


def known_kinds() -> list[tuple[str, str]]:
    return [*KIND_WORDS.items(), (TEST_KIND, "a test")]


def _list_words(info: DeliveryInfo, zone: tzinfo) -> str:
    if info.list_state == "sent" and info.ended_at is not None:
        return f"in the list sent {moment_words(info.ended_at, zone)}"
    if info.list_state in ("pending", "sending") and info.list_due_at is not None:
        return f"in the list due {moment_words(info.list_due_at, zone)}"
    return f"in a list that was {STATE_WORDS.get(info.list_state, 'not sent')}"


def _attempts(count: int) -> str:
    return "1 attempt" if count == 1 else f"{count} attempts"


def _listing(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
