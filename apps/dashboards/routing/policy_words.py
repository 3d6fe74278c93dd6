"""The routing policy in words: what a dollar is worth, how far it goes, why it moved. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from apps.dashboards.pricing.words import day_words, span_words
from apps.dashboards.sentences import Answer, Phrase, listed
from apps.dashboards.templatetags.figures_of_speech import count, in_usd, percent, usd, usd_exact
from apps.routing.core.building import NO_LIMIT_USD
from apps.routing.core.overrides import Mode, Modes, Override
from apps.routing.core.policy import Policy
from apps.routing.selectors import PolicyChangeInfo

MODE_WORDS: Final[Mapping[Mode, str]] = {
    "observe": "says what it would do, and sends the cheapest that meets the floor",
    "advise": "sends where it says, and refuses nothing for its price",
    "enforce": "sends where it says, and refuses what is not worth its price",
}
_DOES: Final[Mapping[Mode, str]] = {
    "observe": "only observes",
    "advise": "advises",
    "enforce": "is enforced",
}
STATE_WORDS: Final = {"ok": "as believed", "regressed": "does worse than believed"}
KIND_WORDS: Final = {"plan": "planned", "pace": "paced"}
# Less than this above a dollar is nobody's concern.
WORTH_TELLING: Final = 0.005
NO_DEPARTMENT: Final = "-"


@dataclass(frozen=True, slots=True)
class ScopeLine:
    """What money in a scope is worth, what is left of it, and what is kept for floors. USD; None
    where nothing limits it. `worth_usd` is the value a dollar spent there must bring."""

    name: str
    worth_usd: Decimal
    left_usd: Decimal | None
    reserve_usd: Decimal


@dataclass(frozen=True, slots=True)
class BackendLine:
    """USD per million tokens; `output_share` is billed output over estimated."""

    name: str
    is_local: bool
    state: str
    is_regressed: bool
    usd_in: Decimal
    usd_out: Decimal
    output_share: Decimal
    by_hand: str


@dataclass(frozen=True, slots=True)
class ModeLine:
    name: str
    mode: str
    is_own: bool


@dataclass(frozen=True, slots=True)
class OverrideLine:
    id: int
    what: str
    where: str
    span: str
    reason: str
    actor: str
    holds: bool


@dataclass(frozen=True, slots=True)
class HistoryLine:
    version: int
    when: str
    kind: str
    reasons: list[str]
    moved: list[str]


def money(usd_: float) -> Decimal:
    """A core's float as what the pages' filters take."""
    return Decimal(repr(usd_))


def policy_answer(policy: Policy | None, modes: Modes, names: Mapping[str, str]) -> Answer:
    """What a dollar is worth now, and how far the policy goes."""
    does = Phrase(f"The policy {_DOES[modes.tenant]}", strong=True)
    if policy is None:
        return (
            Phrase("No policy is planned yet", strong=True),
            Phrase(": the first router that fetches one, a mode or values of your own make it."),
        )
    own = len(modes.departments or {})
    others = f"; {own} of the departments {'has its' if own == 1 else 'have their'} own mode"
    end = (does, Phrase(f"{others if own else ''}."))
    month, day = policy.month_price, policy.day_price
    if month + day < WORTH_TELLING:
        return (*end, *_short_departments(policy, names))
    words = f"{usd(money(1.0 + month + day))} dollars of value"
    what = "this month’s budget" if month >= day else "today’s cap"
    return (*end, Phrase(f" A dollar of {what} is worth "), Phrase(words, strong=True), Phrase("."))


def _short_departments(policy: Policy, names: Mapping[str, str]) -> tuple[Phrase, ...]:
    short = _dearest(policy, names)
    if not short:
        return (Phrase(" No budget is short: a dollar spent need only bring a dollar of value."),)
    verb = "is" if len(short) == 1 else "are"
    return (
        Phrase(f" {_few(short)} {verb} short of money", strong=True),
        Phrase("; elsewhere a dollar spent need only bring a dollar of value."),
    )


def _dearest(policy: Policy, names: Mapping[str, str]) -> list[str]:
    """Departments whose own budget is short, the dearest first."""
    rows = [(row.price, code) for code, row in policy.departments.items()]
    return [
        "Departments without a plan of their own"
        if code == NO_DEPARTMENT
        else names.get(code, code)
        for price, code in sorted(rows, reverse=True)
        if price >= WORTH_TELLING
    ]


def _few(names: Sequence[str]) -> str:
    return listed(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more"


def scope_lines(policy: Policy, names: Mapping[str, str]) -> list[ScopeLine]:
    """The month, today, and each department, whose dollars are also the month's and the day's."""
    both = 1.0 + policy.month_price + policy.day_price
    lines = [
        ScopeLine(
            "this month",
            money(1.0 + policy.month_price),
            _left(policy.month_left_usd),
            money(policy.reserve_usd),
        ),
        ScopeLine(
            "today",
            money(1.0 + policy.day_price),
            _left(policy.day_left_usd),
            money(policy.day_reserve_usd),
        ),
    ]
    for code, row in policy.departments.items():
        name = "all others" if code == NO_DEPARTMENT else names.get(code, code)
        left, reserve = _left(row.left_usd), money(row.reserve_usd)
        lines.append(ScopeLine(name, money(both + row.price), left, reserve))
    return lines


def _left(left_usd: float) -> Decimal | None:
    return None if left_usd >= NO_LIMIT_USD / 2 else money(left_usd)


def prices_title(policy: Policy, names: Mapping[str, str]) -> str:
    """The finding over the table of prices."""
    if policy.month_price + policy.day_price >= WORTH_TELLING:
        dear = "The month’s money" if policy.month_price >= policy.day_price else "Today’s cap"
        return f"{dear} is what is short"
    short = _dearest(policy, names)
    return f"A dollar is dearest in {short[0]}" if short else "No budget is short"


def local_words(policy: Policy) -> str:
    """What a local place is worth, and how many are left in the hour."""
    if not any(backend.is_local for backend in policy.backends):
        return "There is no local backend."
    if policy.local_requests_left < 1:
        return "No local place is left this hour."
    if policy.local_requests_left >= NO_LIMIT_USD / 2:
        left = "Nobody said how many requests local backends take an hour."
    else:
        left = f"{count(int(policy.local_requests_left))} local places are left this hour."
    if policy.local_price <= 0:
        return f"{left} A local place costs a request nothing: there are enough."
    return f"{left} A local place is worth {in_usd(usd_exact(_six(policy.local_price)))}."


def _six(value: float) -> Decimal:
    return Decimal(f"{value:.6f}").normalize()


def backend_lines(
    policy: Policy, overrides: Sequence[Override], now: datetime
) -> list[BackendLine]:
    hands: dict[str, list[str]] = {}
    for one in overrides:
        if one.holds(now):
            hands.setdefault(one.backend, []).append(one.words())
    return [
        BackendLine(
            name=one.name,
            is_local=one.is_local,
            state=STATE_WORDS.get(one.state, one.state),
            is_regressed=one.state != "ok",
            usd_in=money(one.usd_in) * 1_000_000,
            usd_out=money(one.usd_out) * 1_000_000,
            output_share=money(one.out_multiplier),
            by_hand="; ".join(hands.get(one.name, [])),
        )
        for one in sorted(policy.backends, key=lambda one: (not one.is_local, one.name))
    ]


def mode_lines(modes: Modes, names: Mapping[str, str]) -> list[ModeLine]:
    """The organisation's, and every department's by its code."""
    own = modes.departments or {}
    return [
        ModeLine("the organisation", modes.tenant, is_own=True),
        *(ModeLine(name, modes.of(code), code in own) for code, name in names.items()),
    ]


def override_line(
    one: Override, names: Mapping[str, str], zone: ZoneInfo, now: datetime
) -> OverrideLine:
    done = {"pin": "only", "ban": "never", "boost": "rather"}[one.action]
    more = f", {percent(money(one.boost_share))} of the value added" if one.boost_share else ""
    where = [names.get(one.department, one.department)] if one.department else []
    where += [f"{one.task} work"] if one.task else []
    where += [f"{one.tier} customers"] if one.tier else []
    return OverrideLine(
        id=one.id,
        what=f"{done} {one.backend}{more}",
        where=", ".join(where) or "all requests",
        span=span_words(one.starts_at, one.ends_at, zone),
        reason=one.reason,
        actor=one.actor,
        holds=one.holds(now),
    )


def history_line(row: PolicyChangeInfo, names: Mapping[str, str], zone: ZoneInfo) -> HistoryLine:
    return HistoryLine(
        version=row.version,
        when=day_words(row.at, zone),
        kind=KIND_WORDS.get(row.kind, row.kind),
        reasons=row.reasons,
        moved=[moved_words(one, names) for one in row.moved],
    )


def moved_words(moved: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """ "the month: 1.10 → 1.80": what a dollar is worth there, before and after."""
    what = str(moved["what"])
    code = what.removeprefix("department ")
    if code != what:
        what = "all other departments" if code == NO_DEPARTMENT else names.get(code, code)
    before, after = (usd(money(1.0 + float(moved[key]))) for key in ("from", "to"))
    told = {"month": "this month", "day": "today"}.get(what, what)
    return f"{told}: {before} → {after}"


def history_title(rows: Sequence[PolicyChangeInfo]) -> str:
    """How far the price of the month's money moved over what is drawn."""
    if len(rows) < 2:
        return "Prices have not moved yet"
    newest, oldest = rows[0], rows[-1]
    moves = sum(1 for row in rows if row.moved)
    if not moves:
        return f"No price moved since {oldest.at:%-d %b}"
    times = "once" if moves == 1 else f"{moves} times"
    return f"Prices moved {times} in the last {_long(newest.at, oldest.at)}"


def _long(newest: datetime, oldest: datetime) -> str:
    hours = round((newest - oldest).total_seconds() / 3600)
    if hours < 48:
        return "hour" if hours <= 1 else f"{hours} hours"
    return f"{round(hours / 24)} days"
