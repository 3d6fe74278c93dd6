"""Routing decisions in plain words, and how their estimates held. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from apps.dashboards.pricing.words import moment_words
from apps.dashboards.reading import Names
from apps.dashboards.routing.policy_words import money
from apps.dashboards.sentences import Answer, Phrase
from apps.dashboards.templatetags.figures_of_speech import count, in_usd, percent, usd
from apps.routing.selectors import DecisionInfo, EstimateQuality, Flow

NOWHERE: Final = "nowhere: refused"
# Exploring changes the choice of at most half the requests.
EXPLORED_BELOW: Final = 0.5
ALIKE: Final = Decimal("0.005")


@dataclass(frozen=True, slots=True)
class DecisionLine:
    info: DecisionInfo
    when: str
    about: str
    backend: str
    advised: str
    explored: bool
    propensity: Decimal
    shadows: list[str]


@dataclass(frozen=True, slots=True)
class BackendFlow:
    """Of a window's decisions: how many the policy would have on a backend, how many ran there, and
    how many both."""

    name: str
    advised: int
    ran: int
    both: int

    @property
    def agreed(self) -> Decimal | None:
        """The share of what was advised that ran there."""
        return Decimal(self.both) / self.advised if self.advised else None


def decision_line(info: DecisionInfo, names: Names, zone: ZoneInfo) -> DecisionLine:
    customer = f", {names.customer(info.customer)}" if info.customer else ""
    department = "" if info.department == "-" else f", {names.department(info.department)}"
    is_other = info.advised != info.backend
    return DecisionLine(
        info=info,
        when=moment_words(info.decided_at, zone),
        about=f"{info.task}, {info.tier}{customer}{department}",
        backend=info.backend or NOWHERE,
        advised=(info.advised or NOWHERE) if is_other else "",
        explored=info.propensity < EXPLORED_BELOW,
        propensity=money(info.propensity),
        shadows=[f"{name}: {row[0] or NOWHERE}" for name, row in sorted(info.shadows.items())],
    )


def by_backend(flows: Sequence[Flow]) -> list[BackendFlow]:
    """The most advised first."""
    found: dict[str, list[int]] = {}
    for flow in flows:
        found.setdefault(flow.advised or NOWHERE, [0, 0, 0])[0] += flow.decisions
        found.setdefault(flow.ran or NOWHERE, [0, 0, 0])[1] += flow.decisions
        if flow.advised == flow.ran:
            found[flow.ran or NOWHERE][2] += flow.decisions
    lines = [BackendFlow(name, *counts) for name, counts in found.items()]
    return sorted(lines, key=lambda line: (-line.advised, -line.ran, line.name))


def agreement(flows: Sequence[Flow]) -> Decimal | None:
    """The share of decisions that ran where the policy would have them."""
    whole = sum(flow.decisions for flow in flows)
    same = sum(flow.decisions for flow in flows if flow.advised == flow.ran)
    return Decimal(same) / whole if whole else None


def decisions_answer(flows: Sequence[Flow], estimates: Sequence[EstimateQuality]) -> Answer:
    """How often what ran is what the policy would have run, and how well costs were foreseen."""
    share = agreement(flows)
    if share is None:
        return (Phrase("No decision was recorded", strong=True), Phrase(" in this span."))
    whole = sum(flow.decisions for flow in flows)
    return (
        Phrase(f"{percent(share)} of {count(whole)} decisions", strong=True),
        Phrase(" ran where the policy would have them. "),
        *_error_words(estimates),
    )


def _error_words(estimates: Sequence[EstimateQuality]) -> tuple[Phrase, ...]:
    told = sum((one.estimated_usd for one in estimates), Decimal(0))
    billed = sum((one.actual_usd for one in estimates), Decimal(0))
    if not told:
        return (Phrase("None of them was charged yet."),)
    off = billed / told - 1
    if abs(off) < ALIKE:
        return (Phrase("They were billed what was estimated", strong=True), Phrase("."))
    way = "more" if off > 0 else "less"
    return (
        Phrase("They were billed "),
        Phrase(f"{percent(abs(off))} {way} than estimated", strong=True),
        Phrase(f": {in_usd(usd(billed))} for {usd(told)}."),
    )


def flows_title(lines: Sequence[BackendFlow]) -> str:
    """Where the policy would move the most traffic from and to."""
    if not lines:
        return "Nothing was decided in this span"
    wanted = max(lines, key=lambda line: line.advised - line.ran)
    spared = max(lines, key=lambda line: line.ran - line.advised)
    if wanted.advised == wanted.ran:
        return "Traffic went where the policy would have it"
    if wanted.name == NOWHERE:
        refused = count(wanted.advised - wanted.ran)
        return f"The policy would have refused {refused} that ran, the most on {spared.name}"
    return f"The policy would have more on {wanted.name}, less on {spared.name}"


def estimates_title(estimates: Sequence[EstimateQuality]) -> str:
    """The backend whose costs were foreseen worst, in USD."""
    if not estimates:
        return "No decision was charged yet"
    worst = max(estimates, key=lambda one: abs(one.actual_usd - one.estimated_usd))
    off = worst.actual_usd - worst.estimated_usd
    if abs(off) < Decimal("0.005"):
        return "Every backend was billed as estimated"
    return f"{worst.backend} was billed {in_usd(usd(abs(off)))} {'more' if off > 0 else 'less'}"


def alternative_lines(info: DecisionInfo) -> list[Mapping[str, Any]]:
    """In the order they would have been tried: backend, worst case in USD, why it was not taken."""
    return [
        {"backend": backend, "worst_usd": Decimal(worst), "reason": reason}
        for backend, worst, reason in info.alternatives
    ]


def decision_answer(line: DecisionLine) -> Answer:
    info = line.info
    if line.advised:
        return (
            Phrase("It was sent to "),
            Phrase(line.backend, strong=True),
            Phrase(f"; the policy would have sent it to {line.advised}."),
        )
    return (
        Phrase("It was sent to "),
        Phrase(line.backend, strong=True),
        Phrase(f", as policy {info.policy_version} advised."),
    )
