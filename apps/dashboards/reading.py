"""Reading spend for pages: few statements, and whole days."""

from collections.abc import Callable, Mapping
from zoneinfo import ZoneInfo

from apps.dashboards.colours import model_key
from apps.dashboards.money import UnratedDaysError, shown
from apps.dashboards.periods import Period, end_of_day
from apps.tenants.selectors import list_customers, list_departments
from apps.usage.selectors import Dimension, Spend, SpendQuery, SpendRow, read_spend

Filters = Mapping[Dimension, tuple[str | None, ...]]
Read = Callable[[SpendQuery], list[SpendRow]]


def read_in_usd(query: SpendQuery) -> list[SpendRow]:
    return read_spend(query).rows


def read_rows(query: SpendQuery) -> list[SpendRow]:
    """With their cost and revenue in the currency that the page is told in."""
    return read_all(query).rows


def read_all(query: SpendQuery) -> Spend:
    """The rows and their total."""
    rates = shown().rates
    found = read_spend(query, rates=rates)
    rows = found.rows
    if rates is not None and any(r.reported is None or r.reported_revenue is None for r in rows):
        raise UnratedDaysError
    return found


# Reads end with the day: nothing has happened between now and then, and whole days need no
# quarter hours.


def read_period_by_day(
    period: Period, zone: ZoneInfo, group_by: tuple[Dimension, ...], filters: Filters
) -> list[SpendRow]:
    query = SpendQuery(
        start=period.start,
        end=end_of_day(period.end, zone),
        group_by=group_by,
        interval="day",
        filters=filters,
    )
    return read_rows(query)


def read_period(
    period: Period,
    zone: ZoneInfo,
    group_by: tuple[Dimension, ...],
    filters: Filters,
    *,
    read: Read = read_rows,
) -> list[SpendRow]:
    query = SpendQuery(
        start=period.start, end=end_of_day(period.end, zone), group_by=group_by, filters=filters
    )
    return read(query)


def read_before(
    period: Period, group_by: tuple[Dimension, ...], filters: Filters, *, read: Read = read_rows
) -> list[SpendRow]:
    """The stretch a period is measured against: its whole days, and the part of its last one."""
    query = SpendQuery(
        start=period.before_start, end=period.before_end, group_by=group_by, filters=filters
    )
    return read(query)


def row_model(row: SpendRow) -> str:
    """The key of the series a row of (model, kind) belongs to."""
    return model_key(row.labels["model"], row.labels["kind"])


class Names:
    """What customers and departments are called; usage knows them by what routers send."""

    def __init__(self) -> None:
        self.customers = {c.external_id: c for c in list_customers()}
        departments = list_departments()
        self._departments = {d.code.lower(): d for d in departments}
        self._department_by_id = {d.id: d for d in departments}

    def customer(self, external_id: str | None) -> str:
        if external_id is None:
            return "no customer"
        known = self.customers.get(external_id)
        return known.name if known else external_id

    def tier(self, external_id: str | None) -> str:
        known = self.customers.get(external_id) if external_id is not None else None
        return known.tier if known else ""

    def department(self, code: str | None) -> str:
        if code is None:
            return "no department"
        known = self._departments.get(code.lower())
        return known.name if known else code

    def parent_department(self, code: str | None) -> str:
        """The name of the department above; empty at the top."""
        known = self._departments.get(code.lower()) if code is not None else None
        if known is None or known.parent_id is None:
            return ""
        parent = self._department_by_id.get(known.parent_id)
        return parent.name if parent else ""
