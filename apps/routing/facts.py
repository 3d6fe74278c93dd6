"""What a policy is planned from: prices, money, demand and recent requests, as the other apps have
them. Part of selectors; it writes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import numpy as np

from apps.budgets.core.periods import Calendar, Period
from apps.budgets.selectors import BudgetStanding, read_standings
from apps.insights.forecasts import next_month, read_forecast
from apps.pricing.core.rating import RateCard
from apps.pricing.selectors import BackendInfo, list_backends
from apps.routing.core.building import NO_LIMIT_USD, BackendPrice, Money, build_catalog
from apps.routing.core.catalog import Catalog
from apps.routing.core.live import Moment
from apps.routing.core.rule import Room
from apps.routing.core.value_model import MAX_BACKENDS, ValueModel
from apps.routing.throttles import is_used_up
from apps.tenants.selectors import TenantInfo, get_tenant, list_departments
from apps.usage.selectors import SpendQuery, SpendRow, read_spend
from apps.usage.traffic_sample import SampledCharge, read_sample

# Requests without a department, and of departments too small to be planned for by themselves.
UNASSIGNED: Final = "-"
MAX_DEPARTMENTS: Final = 20
LOOKED_BACK: Final = timedelta(days=14)
SAMPLE: Final = 8000
UNITS_PER_USD: Final = 1e24
SIZE: Final = 10_000
# A department that nothing is forecast for still sends a request now and then.
LEAST_PER_HOUR: Final = 0.05
SHORT: Final = ("day", "week")
# A day's requests by the hour are believed as if so many had been spread evenly.
EVEN_REQUESTS: Final = 50.0


@dataclass(frozen=True, slots=True)
class Means:
    """What may be spent, and what is left of it now. `refusing`: departments in which a budget
    that refuses stands. `used_up`: budgets that throttle, of whose period nothing is left."""

    money: Money
    room: Room
    refusing: frozenset[str]
    used_up: tuple[BudgetStanding, ...]

    @property
    def spent_up(self) -> list[int]:
        """Their ids."""
        return sorted(standing.terms.id for standing in self.used_up)


def moment_of(tenant: TenantInfo, now: datetime) -> Moment:
    """Now, on the tenant's clock: a day is 86,400 s whatever clocks do."""
    local = now.astimezone(tenant.zone).replace(tzinfo=None)
    first = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return Moment(f"{first:%Y-%m}", (local - first).total_seconds(), now.timestamp())


def read_catalog(now: datetime, model: ValueModel) -> Catalog:
    """The tenant in scope's catalogue as of now: what a plan made now would be planned from."""
    sample = read_recent(now)
    codes = busiest_departments(now)
    demand = read_demand(now, codes)
    means = read_means(now, codes, shares_of(demand, codes))
    return build_catalog(model, read_prices(now, sample), means.money, demand.tolist())


def read_recent(now: datetime) -> list[SampledCharge]:
    """A bounded sample of the last days' charges, by time."""
    start = now - LOOKED_BACK
    requests = read_spend(SpendQuery(start, now)).total.requests
    return read_sample(start, now, requests=requests, limit=SAMPLE) if requests else []


def read_prices(now: datetime, sample: Iterable[SampledCharge]) -> list[BackendPrice]:
    """USD per token of every priced backend. Input costs what it did in the sample, caches and
    all; where nothing was seen, the uncached rate."""
    by_backend: dict[int, list[int]] = {}
    for charge in sample:
        sums = by_backend.setdefault(charge.place.backend_id, [0, 0, 0, 0])
        for n in range(4):
            sums[n] += charge.tokens[n]
    prices = (
        _price(backend, by_backend.get(backend.id), now.timestamp()) for backend in list_backends()
    )
    return [price for price in prices if price is not None][:MAX_BACKENDS]


def _price(backend: BackendInfo, seen: Sequence[int] | None, at_s: float) -> BackendPrice | None:
    return price_of_card(backend.key, backend.card, backend.kind == "local", at_s, seen)


def price_of_card(
    name: str, card: RateCard | None, is_local: bool, at_s: float, seen: Sequence[int] | None = None
) -> BackendPrice | None:
    """None without a price. `seen`: input tokens by bucket (uncached, read, written 5 m and 1 h).
    Rates that step up with the size of a request are taken at ten thousand tokens."""
    if card is None:
        return None
    read = written_5m = written_1h = 0
    if seen and sum(seen):
        read, written_5m, written_1h = (round(SIZE * tokens / sum(seen)) for tokens in seen[1:])
    fresh = max(0, SIZE - read - written_5m - written_1h)
    in_units = card.cost_units(fresh, read, written_5m, written_1h, 0, 0, at_s)
    out_units = card.cost_units(0, 0, 0, 0, SIZE, 0, at_s)
    if in_units < 0 or out_units < 0:
        return None
    scale = SIZE * UNITS_PER_USD
    return BackendPrice(name, in_units / scale, out_units / scale, is_local=is_local)


def busiest_departments(now: datetime) -> tuple[str, ...]:
    """The departments that are planned for, by their requests of the last days; UNASSIGNED last,
    for all others."""
    rows = read_spend(SpendQuery(now - LOOKED_BACK, now, ("department",))).rows
    rows.sort(key=lambda row: -row.requests)
    codes = [code for row in rows if (code := row.labels["department"]) is not None]
    budgeted = {code for s in read_standings(now=now) if (code := s.scope.get("department"))}
    codes += sorted(budgeted - set(codes))
    return (*codes[:MAX_DEPARTMENTS], UNASSIGNED)


def read_demand(now: datetime, codes: Sequence[str]) -> np.ndarray:
    """Requests of each hour of the running local month x departments: the forecast of spend
    (apps.insights, the one that budgets use), in requests at what one costs there of late, spread
    over the day as the last days were."""
    tenant = get_tenant()
    first = tenant.local_date(now).replace(day=1)
    days = (next_month(first) - first).days
    table = np.full((24 * days, len(codes)), LEAST_PER_HOUR)
    query = SpendQuery(now - LOOKED_BACK, now, ("department",), interval="hour")
    rows = read_spend(query).rows
    named = set(codes)
    for n, code in enumerate(codes):
        mine = [row for row in rows if _column(row, named) == code]
        requests = sum(row.requests for row in mine)
        if not requests:
            continue
        profile = _profile(mine, tenant)
        daily = _daily_requests(code, mine, requests, now=now, first=first, days=days)
        table[:, n] += np.concatenate(
            [
                daily[d] * profile[int((first + timedelta(days=d)).weekday() >= 5)]
                for d in range(days)
            ]
        )
    return table


def _column(row: SpendRow, named: set[str]) -> str:
    code = row.labels["department"]
    return code if code in named else UNASSIGNED


def _profile(rows: Sequence[SpendRow], tenant: TenantInfo) -> np.ndarray:
    """[weekday, weekend] x 24: the share of a day's requests that an hour has."""
    counts = np.zeros((2, 24))
    for row in rows:
        if isinstance(row.bucket, datetime):
            local = row.bucket.astimezone(tenant.zone)
            counts[int(local.weekday() >= 5), local.hour] += row.requests
    counts += EVEN_REQUESTS / 24
    shares: np.ndarray = counts / counts.sum(axis=1, keepdims=True)
    return shares


def _daily_requests(
    code: str, rows: Sequence[SpendRow], requests: int, *, now: datetime, first: date, days: int
) -> list[float]:
    usd = float(sum(row.cost_usd for row in rows))
    even = requests / (LOOKED_BACK / timedelta(days=1))
    if code == UNASSIGNED or usd <= 0:
        return [even] * days
    forecast = read_forecast(
        {"department": (code,)}, now=now, start=first, end=first + timedelta(days=days)
    )
    told = [float(day.usd.p50_usd) * requests / usd for day in forecast.days]
    # Where the forecast has nothing to go by, what came of late is the best guess.
    return told if sum(told) > 0 else [even] * days


def shares_of(demand: np.ndarray, codes: Sequence[str]) -> dict[str, float]:
    """The part of all requests that each department is forecast to send."""
    share = demand.sum(axis=0) / max(float(demand.sum()), 1e-9)
    return dict(zip(codes, share.tolist(), strict=True))


def read_means(now: datetime, codes: Sequence[str], share: Mapping[str, float]) -> Means:
    """Every budget in USD of the tenant, its departments and its cloud spend: what refuses and what
    only tells are kept alike; what is refused at the end is another question."""
    tenant = get_tenant()
    month = Calendar("month", tenant.zone).at(now)
    families = _families(codes)
    total, left = {"": NO_LIMIT_USD}, {"": NO_LIMIT_USD}
    day_total = day_left = NO_LIMIT_USD
    refusing: set[str] = set()
    standings = read_standings(now=now)
    for standing in standings:
        members = _members(standing, families, codes)
        if members is None or not standing.period.contains(now):
            continue
        if standing.terms.is_cap:
            refusing |= members
        if standing.terms.calendar.kind == "day" and not standing.scope.get("department"):
            day_total = min(day_total, float(standing.amount))
            day_left = min(day_left, max(0.0, float(standing.left)))
            continue
        amount, rest = _of_month(standing, now, month)
        if not standing.scope.get("department"):
            total[""], left[""] = min(total[""], amount), min(left[""], rest)
            continue
        # A budget of several departments is shared by what they are expected to ask for.
        sum_of = sum(share.get(code, 0.0) for code in members)
        for code in members:
            part = share.get(code, 0.0) / sum_of if sum_of > 0 else 1 / len(members)
            total[code] = min(total.get(code, NO_LIMIT_USD), amount * part)
            left[code] = min(left.get(code, NO_LIMIT_USD), rest * part)
    return Means(
        money=Money(total[""], day_total, {code: total.get(code, NO_LIMIT_USD) for code in codes}),
        room=Room(left[""], day_left, {code: left.get(code, NO_LIMIT_USD) for code in codes}),
        refusing=frozenset(refusing),
        used_up=tuple(standing for standing in standings if is_used_up(standing, now)),
    )


def _families(codes: Sequence[str]) -> dict[str, frozenset[str]]:
    """By department: those planned for that stand in its tree, itself included."""
    rows = list_departments()
    parents = {row.id: row.parent_id for row in rows}
    ids = {row.code: row.id for row in rows}
    families: dict[str, set[str]] = {row.code: set() for row in rows}
    names = {row.id: row.code for row in rows}
    for code in codes:
        above: int | None = ids.get(code)
        for _ in range(len(rows)):
            if above is None:
                break
            families[names[above]].add(code)
            above = parents[above]
    return {code: frozenset(members) for code, members in families.items()}


def _members(
    standing: BudgetStanding, families: Mapping[str, frozenset[str]], codes: Sequence[str]
) -> frozenset[str] | None:
    """The departments planned for that a budget covers; None where it is about something else."""
    others = set(standing.scope) - {"department", "kind"}
    if standing.terms.unit != "usd" or others or standing.scope.get("kind") == "local":
        return None
    department = standing.scope.get("department")
    if department is None:
        return frozenset(codes)
    return families.get(department) or None


def _of_month(standing: BudgetStanding, now: datetime, month: Period | None) -> tuple[float, float]:
    """(amount, left) in USD: of a longer period its part until the month ends, of days and weeks
    what they come to in it, the running one with what is left of it."""
    amount, left = float(standing.amount), max(0.0, float(standing.left))
    period = standing.period
    if month is None:
        return amount, left
    if standing.terms.calendar.kind in SHORT:
        each = period.end - period.start
        to_come = max(timedelta(0), month.end - period.end) / each
        return amount * ((month.end - month.start) / each), left + amount * to_come
    if period.end <= month.end:
        return amount, left
    part = (month.end - now) / (period.end - now)
    return left * part, left * part


def read_local_places(now: datetime, capacity: float) -> float:
    """What is left of the running hour's local places."""
    zone = get_tenant().zone
    # The tenant's own hour: zones are off by quarters of one.
    start = now - timedelta(minutes=now.astimezone(zone).minute, seconds=now.second)
    used = read_spend(SpendQuery(start, now, filters={"kind": ("local",)}, by_minute=True))
    return max(0.0, capacity - used.total.requests)


def read_counted(now: datetime, codes: Sequence[str]) -> dict[str, tuple[int, float]]:
    """Requests and cloud USD of the local day so far, by department that is planned for."""
    tenant = get_tenant()
    day = Calendar("day", tenant.zone).at(now)
    counted: dict[str, tuple[int, float]] = dict.fromkeys(codes, (0, 0.0))
    if day is None:
        return counted
    named = set(codes)
    for row in read_spend(SpendQuery(day.start, day.end, ("department", "kind"))).rows:
        code = _column(row, named)
        requests, usd = counted.get(code, (0, 0.0))
        cloud = 0.0 if row.labels["kind"] == "local" else float(row.cost_usd)
        counted[code] = (requests + row.requests, usd + cloud)
    return counted
