"""The log: what was raised, and what became of telling each channel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.http import HttpResponse
from django.shortcuts import render

from apps.alerts.selectors import AlertInfo, AttemptInfo, DeliveryInfo, list_alerts, list_channels
from apps.dashboards.alerts import words
from apps.dashboards.page import PageRequest, page

ROWS: Final = 50


@dataclass(frozen=True, slots=True)
class AttemptLine:
    info: AttemptInfo
    when: str


@dataclass(frozen=True, slots=True)
class DeliveryLine:
    """`tag` is the state in a word, `words` the rest of it."""

    info: DeliveryInfo
    tag: str
    words: str
    attempts: list[AttemptLine]


@dataclass(frozen=True, slots=True)
class AlertLine:
    info: AlertInfo
    when: str
    kind: str
    deliveries: list[DeliveryLine]


@page
def alert_log(request: PageRequest) -> HttpResponse:
    """Newest first, fifty to a page; of one channel or one kind where asked."""
    channels = [(one.id, one.settings.name) for one in list_channels(now=request.now)]
    channel_id = _number(request.GET.get("channel", ""))
    kind = request.GET.get("kind", "").replace("\0", "")[:40]
    before_id = _number(request.GET.get("before", ""))
    found = list_alerts(limit=ROWS, before_id=before_id, channel_id=channel_id, kind=kind)
    context = {
        "tenant": request.tenant,
        "lines": [_line(row, request) for row in found.rows],
        "next_before_id": found.next_before_id,
        "continued": before_id is not None,
        "channels": channels,
        "kinds": words.known_kinds(),
        "channel_id": channel_id,
        "kind": kind,
        "narrowed": channel_id is not None or bool(kind),
        "answer": _answer(found.rows) if before_id is None else "",
    }
    return render(request, "dashboards/alert_log.html", context)


def _answer(shown: Sequence[AlertInfo]) -> str:
    if not shown:
        return "Nothing was raised yet."
    states = [delivery.state for row in shown for delivery in row.deliveries]
    failed = sum(state in ("failed", "unknown") for state in states)
    untold = sum(not row.deliveries for row in shown)
    parts = [f"Of the newest {len(shown)}" if len(shown) > 1 else "Of the one alert"]
    parts.append(f"{untold} went to nobody" if untold else "each went to somebody")
    if failed:
        many = "1 message" if failed == 1 else f"{failed} messages"
        parts.append(f"{many} did not surely arrive")
    else:
        parts.append("none was lost")
    return f"{parts[0]}, {parts[1]} and {parts[2]}."


def _line(row: AlertInfo, request: PageRequest) -> AlertLine:
    return AlertLine(
        info=row,
        when=words.moment_words(row.fact.raised_at, request.tenant.zone),
        kind=words.kind_words(row.fact.kind),
        deliveries=[_delivery_line(delivery, request) for delivery in row.deliveries],
    )


def _delivery_line(info: DeliveryInfo, request: PageRequest) -> DeliveryLine:
    zone = request.tenant.zone
    return DeliveryLine(
        info=info,
        tag=words.STATE_WORDS.get(info.state, info.state),
        words=words.state_words(info, zone),
        attempts=[AttemptLine(a, words.moment_words(a.started_at, zone)) for a in info.attempts],
    )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
