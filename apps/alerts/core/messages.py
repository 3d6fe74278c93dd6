"""What is sent: the JSON of a webhook, and subject and text for people. Pure.

The content of a message follows from rows that never change, so that every attempt says the same.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from apps.alerts.core.facts import TEST_KIND, AlertFact, Severity, cut
from apps.tenants.core.money_words import MoneyWords

# As many as a list names; it says how many more there are.
MAX_LISTED: Final = 20
SEVERITY_WORDS: Final = {
    Severity.INFO: "",
    Severity.WARNING: "Warning: ",
    Severity.CRITICAL: "Critical: ",
}
ListForm = Literal["digest", "overflow"]


@dataclass(frozen=True, slots=True)
class Sender:
    """Who speaks, and how amounts are told. `base_url` is this installation's, without a slash at
    its end; may be empty."""

    tenant: str
    base_url: str
    money: MoneyWords = field(default_factory=MoneyWords)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file beside an e-mail: text in UTF-8."""

    name: str
    content: bytes
    mime_type: str = "text/csv"


@dataclass(frozen=True, slots=True)
class Message:
    """`severity` is the loudest in it. `html` and `attachment` are an e-mail's alone."""

    subject: str
    text: str
    payload: dict[str, Any]
    severity: Severity
    html: str = ""
    attachment: Attachment | None = None

    def body(self) -> bytes:
        """The webhook's body: the same bytes at every attempt."""
        return json.dumps(self.payload, ensure_ascii=False, separators=(",", ":")).encode()


def alert_message(fact: AlertFact, sender: Sender) -> Message:
    """One alert."""
    lines = [fact.body, ""] if fact.body else []
    if fact.amount_usd is not None:
        lines.append(f"At stake: {sender.money.amount(fact.amount_usd, fact.raised_at)}")
    lines += [sender.base_url + fact.path, "", _signed(sender)]
    data = _as_json(fact, sender) | {"details": dict(fact.details)}
    payload = {"type": f"alert.{fact.kind}", "timestamp": _time(fact.raised_at), "data": data}
    loud = "" if fact.kind == TEST_KIND else SEVERITY_WORDS[fact.severity]
    return Message(loud + fact.subject, "\n".join(lines), payload, fact.severity)


def list_message(
    form: ListForm,
    ranked: Sequence[AlertFact],
    *,
    count: int,
    made_at: datetime,
    sender: Sender,
) -> Message:
    """Several alerts in one message: `ranked` are the first MAX_LISTED of `count`, by money."""
    named = ranked[:MAX_LISTED]
    many = f"{count} alert" if count == 1 else f"{count} alerts"
    subject = f"{many} in Costboard" if form == "digest" else f"{count} more in Costboard"
    lines = [
        "Most money first." if form == "digest" else "These were over this channel's limit.",
        "",
    ]
    for fact in named:
        amount = ""
        if fact.amount_usd is not None:
            amount = f"{sender.money.amount(fact.amount_usd, fact.raised_at)}: "
        lines += [f"- {amount}{SEVERITY_WORDS[fact.severity]}{cut(fact.subject, 160)}"]
        lines += [f"  {sender.base_url}{fact.path}"]
    if count > len(named):
        lines += [f"- and {count - len(named)} more"]
    lines += ["", f"All of them: {sender.base_url}/alerts/log", "", _signed(sender)]
    data = {
        "tenant": sender.tenant,
        "count": count,
        "url": f"{sender.base_url}/alerts/log",
        "alerts": [_as_json(fact, sender) for fact in named],
    }
    payload = {"type": f"alerts.{form}", "timestamp": _time(made_at), "data": data}
    loudest = max((fact.severity for fact in named), key=lambda s: s.rank, default=Severity.INFO)
    return Message(subject, "\n".join(lines), payload, loudest)


def _as_json(fact: AlertFact, sender: Sender) -> dict[str, Any]:
    return {
        "tenant": sender.tenant,
        "key": fact.key,
        "kind": fact.kind,
        "severity": str(fact.severity),
        "subject": fact.subject,
        "body": fact.body,
        "url": sender.base_url + fact.path,
        "amount_usd": None if fact.amount_usd is None else f"{fact.amount_usd.normalize():f}",
        "raised_at": _time(fact.raised_at),
    }


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _signed(sender: Sender) -> str:
    return f"Costboard for {sender.tenant}"
