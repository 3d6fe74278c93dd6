"""The demo's budgets, sized by what its company spends: some hold, some do not."""

from datetime import datetime
from decimal import Decimal
from typing import Final

from apps.budgets.errors import InvalidBudgetInput
from apps.budgets.services import BudgetTermsInput, create_budget
from apps.budgets.sharing import SharingInput, add_sharing
from apps.budgets.status import read_statuses

FIFTY_EIGHTY_ALL: Final = (Decimal(50), Decimal(80), Decimal(100))
ALL: Final = (Decimal(100),)


def _department(code: str, name: str, usd: str, **more: str) -> BudgetTermsInput:
    return BudgetTermsInput(
        scope={"department": code},
        period="month",
        unit="usd",
        amount=Decimal(usd),
        name=f"{name} per month",
        thresholds=FIFTY_EIGHTY_ALL,
        projected_thresholds=ALL,
        **more,  # type: ignore[arg-type]
    )


BUDGETS: Final = (
    BudgetTermsInput(
        scope={},
        period="month",
        unit="usd",
        amount=Decimal(11000),
        name="All of Lindwerk per month",
        thresholds=FIFTY_EIGHTY_ALL,
        projected_thresholds=ALL,
    ),
    _department("support", "Support", "2600"),
    _department("search", "Search", "1700", on_limit="throttle"),
    _department("engineering", "Engineering", "2000"),
    _department("marketing", "Marketing", "500"),
    _department("research", "Research", "1000", on_limit="refuse"),
    BudgetTermsInput(
        scope={"customer": "granite-telecom"},
        period="month",
        unit="usd",
        amount=Decimal(700),
        name="Granite Telecom per month",
        thresholds=FIFTY_EIGHTY_ALL,
    ),
    BudgetTermsInput(
        scope={"kind": "cloud"},
        period="quarter",
        unit="usd",
        amount=Decimal(30000),
        rollover=True,
        name="Cloud per quarter",
        thresholds=FIFTY_EIGHTY_ALL,
    ),
    BudgetTermsInput(
        scope={"project": "ide-assistant"},
        period="day",
        unit="requests",
        amount=Decimal(1500),
        name="IDE assistant per day",
        on_limit="throttle",
        thresholds=ALL,
    ),
)


def ensure_budgets(actor: str, now: datetime) -> None:
    """Make the budgets of the tenant in scope, once: what people changed since stays theirs."""
    if read_statuses(now=now):
        return
    for wanted in BUDGETS:
        try:
            create_budget(wanted, actor=actor, now=now)
        except InvalidBudgetInput as error:
            # A customer or department that this season's traffic has not named.
            if not error.field.startswith("scope."):
                raise
    add_sharing(
        SharingInput(
            name="Platform", kind="department", source="department", rule="usage", value="platform"
        ),
        actor=actor,
        now=now,
    )
