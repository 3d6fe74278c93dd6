"""What every page's frame needs: the rail, the person, the organisations to choose from."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from apps.dashboards.conventions import conventions
from apps.dashboards.money import shown
from apps.tenants.core.access import role_allows_changes

# Only pages that exist: a name in a rail is a promise.
GROUPS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "See",
        (
            ("overview", "Overview"),
            ("explorer", "Explorer"),
            ("customers", "Customers"),
            ("departments", "Departments"),
            ("models", "Models"),
            ("charges", "Charges"),
            ("forecasts", "Forecasts"),
            ("reports", "Reports"),
        ),
    ),
    (
        "Act",
        (
            ("routing", "Routing"),
            ("opportunities", "Opportunities"),
            ("what-if", "What-if"),
            ("budgets", "Budgets"),
            ("anomalies", "Anomalies"),
        ),
    ),
    (
        "Set up",
        (
            ("pricing", "Pricing"),
            ("repricing", "Repricing"),
            ("attribution", "Attribution"),
            ("hardware", "Hardware"),
            ("hardware-comparison", "Local against cloud"),
            ("keys", "Keys"),
            ("organisation", "Organisation"),
            ("people", "People"),
            ("alerts", "Alerts"),
            ("import", "Import"),
            ("audit-log", "Audit log"),
        ),
    ),
)
# Addresses below a page of the rail.
PART_OF = {
    "explorer-views": "explorer",
    "why": "overview",
    "save-report": "reports",
    "end-report": "reports",
    "test-report": "reports",
    "charge": "charges",
    "routing-policy": "routing",
    "set-routing-mode": "routing",
    "add-override": "routing",
    "end-override": "routing",
    "decisions": "routing",
    "decision": "routing",
    "values": "routing",
    "save-values": "routing",
    "what-if-one": "what-if",
    "ask-what-if": "what-if",
    "look-again": "opportunities",
    "decide-opportunity": "opportunities",
    "customer": "customers",
    "model": "models",
    "budget": "budgets",
    "add-budget": "budgets",
    "change-budget": "budgets",
    "top-up-budget": "budgets",
    "department-budgets": "budgets",
    "set-department-budgets": "budgets",
    "import-department-budgets": "budgets",
    "statements": "budgets",
    "statement": "budgets",
    "close-month": "budgets",
    "add-sharing": "budgets",
    "end-sharing": "budgets",
    "anomaly": "anomalies",
    "answer-anomaly": "anomalies",
    "anomaly-settings": "anomalies",
    "announce-event": "forecasts",
    "end-event": "forecasts",
    "set-rate": "pricing",
    "agreements": "pricing",
    "add-discount": "pricing",
    "set-default-rate": "pricing",
    "end-agreement": "pricing",
    "end-rate": "pricing",
    "catalogue": "pricing",
    "apply-catalogue": "pricing",
    "ask-dry-run": "repricing",
    "start-repricing": "repricing",
    "undo-repricing": "repricing",
    "set-books": "repricing",
    "alert-log": "alerts",
    "new-channel": "alerts",
    "channel": "alerts",
    "test-channel": "alerts",
    "switch-channel": "alerts",
    "rotate-channel": "alerts",
    "remove-channel": "alerts",
    "exchange-rates": "organisation",
    "enter-exchange-rate": "organisation",
    "import-exchange-rates": "organisation",
    "save-organisation": "organisation",
    "organisation-departments": "organisation",
    "save-department": "organisation",
    "setup-departments": "organisation",
    "organisation-customers": "organisation",
    "save-customer": "organisation",
    "invite-person": "people",
    "change-member": "people",
    "remove-person": "people",
    "withdraw-invitation": "people",
    "leave": "people",
    "upload-usage": "import",
    "try-import": "import",
    "run-import": "import",
    "discard-import": "import",
    "add-rule": "attribution",
    "end-rule": "attribution",
    "ask-move": "attribution",
    "start-move": "attribution",
    "undo-move": "attribution",
}


@dataclass(frozen=True, slots=True)
class RailLink:
    name: str
    label: str
    href: str
    is_here: bool


@dataclass(frozen=True, slots=True)
class RailGroup:
    title: str
    links: tuple[RailLink, ...]


def navigation(request: HttpRequest) -> dict[str, Any]:
    """Works on error pages too, where a middleware may not have run."""
    membership = getattr(request, "membership", None)
    match = request.resolver_match
    here = match.url_name if match else None
    here = PART_OF.get(here or "", here)
    return {
        "rail": [
            RailGroup(
                title,
                tuple(RailLink(name, label, reverse(name), name == here) for name, label in links),
            )
            for title, links in GROUPS
        ],
        "membership": membership,
        "other_memberships": [
            other for other in getattr(request, "memberships", []) if other != membership
        ],
        "as_read": conventions(),
        "currency": shown().currency,
        "can_change": bool(membership and role_allows_changes(membership.role)),
    }
