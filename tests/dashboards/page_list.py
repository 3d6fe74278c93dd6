"""Every page of the URL list, and where a tenant that has something to show has each of them.

Shared by the tests that look at every page and by the bench that times them (bench/pages.py).
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from django.test import Client
from django.urls import URLPattern

from apps.alerts.selectors import list_channels
from apps.budgets.status import read_statuses
from apps.dashboards.reports.schedules import list_schedules
from apps.dashboards.urls import urlpatterns
from apps.insights.finding_selectors import list_findings
from apps.routing.opportunities import last_days
from apps.routing.selectors import list_decisions
from apps.routing.simulations import ask_simulation, run_simulation
from apps.tenants.password_reset import make_reset_code
from apps.tenants.people import invite
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import list_customers
from apps.usage.imports import list_imports

# Answers to a GET that are no pages: a file, parts of a page, and what only moves on.
NO_PAGES: Final = {
    "explorer-export",
    "explorer-values",
    "first-arrival",
    "import-rejects",
    "logout",
    "preview-rule",
    "pricing-backend",
    "switch-tenant",
}
SIGNED_OUT: Final = {"login", "invitation", "forgot-password", "reset-password"}
# Actions whose address has a number: POST alone, so no pages.
_ACTIONS_WITH_NUMBERS: Final = (
    "decide-opportunity",
    "answer-anomaly",
    "change-budget",
    "top-up-budget",
    "withdraw-amount",
)


def page_addresses(
    tenant_id: int, client: Client, email: str, *, models: Sequence[str]
) -> Iterator[tuple[str, list[str]]]:
    """By name: where each page is. Every address that the URL list has and a GET may ask for.

    `client` is signed in as `email`. The tenant has charges, budgets, open findings, a channel, a
    report, an import and a decision of these days, and used `models`; a replay is made.
    """
    known = _detail_addresses(tenant_id, client, email) | {
        "model": [f"/models/one?model={model}" for model in models]
    }
    for pattern in _patterns():
        name = str(pattern.name)
        if name in NO_PAGES:
            continue
        if name in known:
            yield name, known[name]
            continue
        route = f"/{pattern.pattern}"
        assert "<" not in route, f"say in {__name__} where a page of {name} ({route}) is"
        if client.get(route).status_code != 405:
            yield name, [route]


def _patterns() -> Iterator[URLPattern]:
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        yield pattern


def _detail_addresses(tenant_id: int, client: Client, email: str) -> dict[str, list[str]]:
    with tenant_scope(tenant_id):
        now = datetime.now(UTC)
        budgets = [status.terms.id for status in read_statuses(now=now)]
        findings = [finding.id for finding in list_findings(now=now, state="open")]
        channel = list_channels(now=now)[0].id
        customers = list_customers()
        opened = list_imports()[0].id
        start, end = last_days(now, 7)
        replay = ask_simulation(
            {"policy": "cheapest"}, start=start, end=end, name="cheapest", actor=email, now=now
        )
    run_simulation(tenant_id, replay, now=now)
    with tenant_scope(tenant_id):
        decided = list_decisions(start=now - timedelta(days=1), end=now + timedelta(days=1))
        report = list_schedules(now=now)[0].id
        reset_code = make_reset_code(email) or ("", "")
        token = invite(email="new@example.org", role="viewer", actor=email, now=now)
    charges = client.get("/charges").content.decode()
    charge = charges.split('href="/charges/')[1].split('"')[0].split("?")[0]
    assert findings
    return {
        "charge": [f"/charges/{charge}"],
        "budget": [f"/budgets/{budgets[0]}"],
        "anomaly": [f"/anomalies/{findings[0]}"],
        "channel": [f"/alerts/channels/{channel}"],
        "new-channel": ["/alerts/new/email", "/alerts/new/webhook"],
        "customer": [f"/customers/{one.id}" for one in customers[:2]],
        "statement": [f"/budgets/statements/customer/{customers[0].id}?month={now:%Y-%m}"],
        "import": ["/import", f"/import?open={opened}"],
        "what-if-one": [f"/what-if/{replay}"],
        "reset-password": [f"/reset/{reset_code[1]}"],
        "invitation": [f"/invitations/{token}"],
        "decision": [f"/routing/decisions/{decided[0].decision_id}"],
        "explorer": ["/explorer", "/explorer?group_by=model,customer&period=30d"],
        "models": ["/models", "/models?period=7d&customer=c-free"],
        "reports": ["/reports", f"/reports?change={report}"],
        "report-preview": [f"/reports/preview?frequency={f}" for f in ("weekly", "monthly")],
    } | {name: [] for name in _ACTIONS_WITH_NUMBERS}
