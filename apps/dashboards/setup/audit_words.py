"""What the audit trail says, in plain words. Pure.

A sentence has no subject: who did it stands beside it. What is not listed here is still told, from
its own name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from apps.tenants.audit import AuditRow

MAX_VALUE: Final = 160
NOTHING: Final = "—"

# What an action begins with, and what it is about.
KINDS: Final = {
    "member": "people",
    "api_key": "keys",
    "tenant": "the organisation",
    "department": "departments",
    "customer": "customers",
    "budget": "budgets",
    "shared_cost": "shared costs",
    "rate": "prices",
    "discount": "discounts",
    "alias": "model names",
    "catalogue": "the price list",
    "hardware": "hardware",
    "attribution_rule": "attribution rules",
    "reattribution": "moves of charges",
    "repricing": "repricings",
    "books": "closed books",
    "import": "imports",
    "value_model": "what answers are worth",
    "routing_mode": "modes of routing",
    "routing_override": "routing by hand",
    "routing_shadow": "shadow policies",
    "finding": "findings",
    "guard": "restrictions",
    "anomaly_settings": "anomaly settings",
    "planned_event": "announced events",
    "alert_channel": "alert channels",
    "exchange_rate": "exchange rates",
    "report": "reports",
}
# {it} is what it was done to; other names are of `after`, or of `before` where it says nothing.
SENTENCES: Final = {
    "member.invited": "invited {it} as {role}",
    "member.invitation_withdrawn": "withdrew the invitation of {it}",
    "member.joined": "joined as {role}",
    "member.role_changed": "made {it} {role}",
    "member.removed": "removed {it}, {role} until then",
    "member.password_changed": "changed the own password",
    "member.password_reset": "set a new password by a link sent by e-mail",
    "member.signed_out_everywhere": "ended all own sessions",
    "api_key.issued": "made the key {it}",
    "api_key.revoked": "revoked {it}",
    "tenant.created": "set up the organisation {it}",
    "tenant.changed": "changed the organisation",
    "department.added": "added the department {it}",
    "department.changed": "changed the department {it}",
    "customer.added": "added the customer {it}",
    "customer.changed": "changed the customer {it}",
    "customer.contract": "agreed what {it} pays a month: {usd_per_month} USD",
    "budget.created": "made {it}",
    "budget.changed": "changed {it}",
    "budget.amount_changed": "changed the amount of {it}",
    "budget.plan_withdrawn": "withdrew what was planned for {it}",
    "budget.topped_up": "topped up {it}",
    "budget.archived": "archived {it}",
    "budget.settings": "changed the settings of budgets",
    "shared_cost.added": "shared the cost {it}",
    "shared_cost.ended": "ended sharing {it}",
    "rate.added": "set a price of {it}",
    "rate.changed": "changed a price of {it}",
    "rate.ended": "ended a price of {it}",
    "rate.withdrawn": "withdrew a price of {it}",
    "discount.added": "agreed {it}",
    "discount.ended": "ended {it}",
    "discount.withdrawn": "withdrew {it}",
    "alias.added": "gave a model the price of another: {it}",
    "alias.ended": "ended {it}",
    "alias.withdrawn": "withdrew {it}",
    "catalogue.synced": "took over the price list {package_version}",
    "hardware.pool_added": "made the hardware pool {it}",
    "hardware.asset_added": "added the asset {it}",
    "hardware.asset_ended": "ended the asset {it}",
    "hardware.node_added": "added the machine {it}",
    "hardware.node_ended": "ended the machine {it}",
    "hardware.running_cost_added": "added the monthly cost {it}",
    "hardware.running_cost_ended": "ended the monthly cost {it}",
    "hardware.tariff_added": "set the price of electricity",
    "hardware.tariff_ended": "ended a price of electricity",
    "hardware.deployment_added": "had a backend run on own hardware",
    "hardware.deployment_ended": "ended a backend on own hardware",
    "attribution_rule.added": "added {it}",
    "attribution_rule.ended": "ended {it}",
    "reattribution.started": "began moving charges: {reason}",
    "reattribution.finished": "moved charges: {reason}",
    "reattribution.failed": "could not finish moving charges: {reason}",
    "reattribution.resumed": "went on moving charges: {reason}",
    "reattribution.undo_started": "began undoing a move of charges",
    "repricing.started": "began repricing: {reason}",
    "repricing.finished": "repriced: {reason}",
    "repricing.failed": "could not finish repricing: {reason}",
    "repricing.resumed": "went on repricing: {reason}",
    "repricing.undo_started": "began undoing a repricing",
    "repricing.refused": "asked for a repricing that was refused",
    "books.closed": "closed or opened the books",
    "import.uploaded": "uploaded {file}",
    "import.started": "began importing {file}",
    "import.resumed": "went on importing {file}",
    "import.finished": "imported {file}",
    "import.failed": "could not finish importing {file}",
    "import.discarded": "discarded {file}",
    "value_model.set": "said anew what answers are worth: {reason}",
    "routing_mode.set": "set the routing mode {mode}: {reason}",
    "routing_override.added": "decided by hand, {action} {backend}: {reason}",
    "routing_override.ended": "ended a decision by hand",
    "routing_shadow.begun": "began the shadow policy {name}: {reason}",
    "routing_shadow.ended": "ended a shadow policy",
    "finding.acknowledged": "acknowledged {it}",
    "finding.expected": "called {it} expected",
    "finding.snoozed": "snoozed {it}",
    "finding.commented": "commented on {it}",
    "guard.refuse": "stopped {it}, which ran away",
    "guard.throttle": "slowed {it}, which ran away",
    "guard.lifted": "let {it} run again",
    "anomaly_settings.changed": "changed what counts as an anomaly",
    "planned_event.added": "announced {it}",
    "planned_event.ended": "withdrew {it}",
    "alert_channel.added": "added the channel {it}",
    "alert_channel.changed": "changed the channel {it}",
    "alert_channel.switched_on": "switched on {it}",
    "alert_channel.switched_off": "switched off {it}",
    "alert_channel.secret_rotated": "gave {it} a new secret",
    "alert_channel.removed": "removed the channel {it}",
    "report.added": "scheduled a {it}, {when}",
    "report.changed": "changed a {it}, {when}",
    "report.ended": "ended a {it}, {when}",
    "exchange_rate.set": "set the exchange rate of {it}",
    "exchange_rate.imported": "imported exchange rates: {rates} days of {it}",
}
NAMING: Final = ("name", "title", "label", "external_id", "code", "backend")


@dataclass(frozen=True, slots=True)
class Change:
    """One value that an entry tells of; `before` and `after` in words, a dash for none."""

    field: str
    before: str
    after: str


class _Values(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def sentence(row: AuditRow) -> str:
    """ "changed the department Support"."""
    told = {**(row.before or {}), **(row.after or {})}
    values = _Values({name: _words(value) for name, value in told.items()})
    values["it"] = _it(row, told)
    known = SENTENCES.get(row.action)
    if known is not None:
        return known.format_map(values)
    noun, _, verb = row.action.partition(".")
    return f"{_plain(verb) or 'changed'}: {_plain(noun)} {values['it']}"


def changes(row: AuditRow) -> list[Change]:
    """What the entry says of values, those that stayed as they were left out."""
    before, after = row.before or {}, row.after or {}
    names = [*before, *(name for name in after if name not in before)]
    both = bool(before) and bool(after)
    return [
        Change(_plain(name), _words(before.get(name)), _words(after.get(name)))
        for name in names
        if not (both and before.get(name) == after.get(name))
        and not (before.get(name) in (None, "") and after.get(name) in (None, ""))
    ]


def kind_of(action: str) -> str:
    """What an action is about: "prices"."""
    noun = action.partition(".")[0]
    return KINDS.get(noun, _plain(noun))


def _it(row: AuditRow, told: Mapping[str, Any]) -> str:
    noun, _, number = row.subject.partition(":")
    if told.get("provider") and told.get("model"):
        return f"{told['provider']}/{told['model']}"
    if noun == "budget" and isinstance(told.get("scope"), Mapping):
        of = _words(told["scope"]) if told["scope"] else "everything"
        period = told.get("period")
        return f"the budget of {of}" + (
            f", by the {period}" if period not in (None, "grant") else ""
        )
    named = next((str(told[name]) for name in NAMING if told.get(name)), "")
    if named:
        return named[:MAX_VALUE]
    if number and not number.isdigit():
        return number
    return f"{_plain(noun)} {number}".strip()


def _words(value: Any) -> str:
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_words(one) for one in value)[:MAX_VALUE] or NOTHING
    if isinstance(value, Mapping):
        pairs = (f"{_plain(str(k))} {_words(v)}" for k, v in value.items())
        return ", ".join(pairs)[:MAX_VALUE] or NOTHING
    return _moment(str(value)[:MAX_VALUE])


def _moment(text: str) -> str:
    """A time without its microseconds, and with UTC in place of +00:00."""
    if len(text) < 19 or text[10:11] != "T":
        return text
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    if moment.tzinfo is None:
        return f"{moment:%Y-%m-%d %H:%M}"
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _plain(name: str) -> str:
    words = name.replace("_", " ").strip()
    return f"{words[:-4]} (USD)" if words.endswith(" usd") else words
