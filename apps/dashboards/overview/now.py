"""What the overview says of this moment: traffic by backend, anomalies, budgets at risk."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from apps.budgets.status import BudgetStatus, read_statuses
from apps.dashboards.breakdown import Sums, sum_by, total
from apps.dashboards.budgets.budgets_page import BudgetRow, budget_rows
from apps.dashboards.insights.anomaly_words import FindingLine, finding_line
from apps.dashboards.reading import read_rows
from apps.dashboards.routing.savings_words import Line as OpportunityLine
from apps.dashboards.routing.savings_words import opportunity_line
from apps.insights.finding_selectors import list_findings, read_names
from apps.routing.opportunities import list_opportunities
from apps.usage.selectors import SpendQuery

LIVE_MINUTES: Final = 15
BACKENDS_LISTED: Final = 6
TOLD: Final = 3
IN_TROUBLE: Final = ("over", "at_risk", "watch")


@dataclass(frozen=True, slots=True)
class LiveBackend:
    """A backend over the last minutes, per minute; `is_local` draws it hatched."""

    name: str
    now: Sums
    is_local: bool = False

    @property
    def requests_per_minute(self) -> Decimal:
        return Decimal(self.now.requests) / LIVE_MINUTES

    @property
    def cost_per_minute(self) -> Decimal | None:
        known = self.now.known
        return None if known is None else known / LIVE_MINUTES


@dataclass(frozen=True, slots=True)
class Live:
    backends: list[LiveBackend]
    whole: LiveBackend

    @property
    def title(self) -> str:
        if not self.backends:
            return f"No requests in the last {LIVE_MINUTES} minutes"
        return f"{self.backends[0].name} is busiest now"


@dataclass(frozen=True, slots=True)
class Attention:
    """What waits for somebody: anomalies without an answer, budgets that may not hold, savings
    that nobody decided on."""

    findings: list[FindingLine]
    opportunities: list[OpportunityLine]
    budgets: list[BudgetRow]
    # The whole tenant's monthly budget in USD; None without one.
    month_usd: Decimal | None
    month_share: Decimal | None


def read_live(now: datetime) -> Live:
    """Requests and cost a minute by backend; one with a running minute in it."""
    query = SpendQuery(
        start=now - timedelta(minutes=LIVE_MINUTES),
        end=now,
        group_by=("backend", "kind"),
        by_minute=True,
    )
    sums = sum_by(read_rows(query), lambda r: (r.labels["backend"] or "", r.labels["kind"]))
    ranked = sorted(sums, key=lambda key: (-sums[key].requests, key[0]))
    listed = [LiveBackend(key[0], sums[key], key[1] == "local") for key in ranked[:BACKENDS_LISTED]]
    if len(ranked) > len(listed):
        left = ranked[len(listed) :]
        listed.append(LiveBackend(f"{len(left)} more", total(sums[key] for key in left)))
    return Live(listed, LiveBackend("all", total(sums.values())))


def read_attention(zone: ZoneInfo, now: datetime) -> Attention:
    statuses = read_statuses(now=now)
    troubled = [one for one in statuses if one.health in IN_TROUBLE][:TOLD]
    whole = next((one for one in statuses if _is_whole_month(one)), None)
    waiting = list_findings(now=now, state="open")[:TOLD]
    names = read_names() if waiting else {}
    return Attention(
        findings=[finding_line(info, zone, now, names) for info in waiting],
        opportunities=[opportunity_line(info) for info in list_opportunities(limit=TOLD)],
        budgets=budget_rows(troubled) if troubled else [],
        month_usd=whole.standing.amount if whole else None,
        month_share=whole.spent_share if whole else None,
    )


def _is_whole_month(status: BudgetStatus) -> bool:
    terms = status.terms
    return not status.standing.scope and terms.calendar.kind == "month" and terms.unit == "usd"
