"""The control loop over one month: learn, plan each hour, pace between, and publish a policy. Pure.

Times are seconds from the month's start. Whoever drives it (production's tasks, a simulation) says
what arrived and what it cost; what comes out is a Policy, and a Rule to apply it.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from apps.routing.core.catalog import Catalog
from apps.routing.core.learning import Learning, Spending
from apps.routing.core.pacer import MAX_PRICE, Pacer
from apps.routing.core.planner import (
    Outlook,
    Prices,
    Purse,
    Sample,
    damped,
    smooth_prices,
    stretches,
)
from apps.routing.core.policy import (
    Policy,
    PolicyBackend,
    PolicyDepartment,
    Quality,
    local_state_of,
)
from apps.routing.core.reserve import Reserves, reserves
from apps.routing.core.rule import Request, Room, Rule
from apps.routing.core.sampling import Mix, refusal_worth, take_sample
from apps.routing.core.volume import Volumes

Floats = NDArray[np.float64]

HOUR_S: Final = 3600
SAMPLE: Final = 1500
# Money kept for floors is at most this share of what is left: a reserve is an estimate, and what is
# beyond its means is for the prices to settle, not for a gate that lets nothing through.
KEPT_AT_MOST: Final = 0.9
DAMPING: Final = 0.5
# Of what is left, at the period's start; it shrinks with the root of the time that is left.
MARGIN: Final = 0.03
# Days of traffic that the sample is spread over, once there is so much.
SAMPLE_DAYS: Final = 3
FIRST_PLANS: Final = (30, 60, 120, 240, 480)
VALID_S: Final = 2 * HOUR_S
EXPLORE_SHARE: Final = 0.02
EXPLORE_OPTIMISM: Final = 1.5
# A day that would take this share of its cap, were the month spent evenly per request, is planned
# under its cap.
HEAVY_SHARE: Final = 0.95
FIRST_PRICE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Prices and reserves, the sample they were found on, and what a request of a department is
    meant to spend today."""

    prices: Prices
    reserves: Reserves
    sample: Sample
    spend_per_request: list[float]
    here: Floats
    today: float
    rest: float
    ts_s: float


class Steering:
    """`arrive` before a request is decided, `charge` and `learn` after; `tick` when time passes."""

    def __init__(
        self, catalog: Catalog, *, plan_every_s: int = HOUR_S, pace_every_s: int = 300
    ) -> None:
        self.catalog = catalog
        self.learning = Learning(catalog)
        self.spending = Spending(catalog)
        self.volumes = Volumes(catalog.forecast)
        self.failures: list[str] = []
        self._mix = Mix(catalog)
        self._every = plan_every_s, pace_every_s
        self._department = {name: n for n, name in enumerate(catalog.departments)}
        self._backend = {backend.name: n for n, backend in enumerate(catalog.backends)}
        each = max(30, SAMPLE // len(catalog.departments))
        self._recent: list[deque[Request]] = [deque(maxlen=each) for _ in catalog.departments]
        daily = self.volumes.forecast.mean(axis=0) * 24
        self._stride = [max(1, round(SAMPLE_DAYS * float(n) / each)) for n in daily]
        self._arrived = [0] * len(catalog.departments)
        self._all = 0
        self._early = deque(FIRST_PLANS)
        self._planned_s = self._believed_s = 0.0
        self.plan: Plan | None = None
        self._believed = self.learning.believe()
        self._pacers = [Pacer() for _ in range(1 + len(catalog.departments))]
        none = np.zeros(len(catalog.departments))
        self._prices = Prices(FIRST_PRICE, 0.0, 0.0, none, np.zeros(6))
        self._version = 0
        self._resumed_s: float | None = None
        self._publish_beliefs()

    def resume(
        self, ts_s: float, recent: Sequence[Request], prices: Prices | None, planned_s: float | None
    ) -> None:
        """Begin in the middle of a month: with requests that somebody kept, and the prices of the
        last plan (None: nothing is dear yet). The forecast is taken as told: whoever made it knew
        what came."""
        hour = int(ts_s // HOUR_S)
        self.volumes.counted[:hour] = self.volumes.forecast[:hour]
        for request in recent:
            self._mix.count(request)
            self._recent[self._department[request.department]].append(request)
        self._all += len(recent)
        self._early.clear()
        self._believed_s = ts_s
        self._resumed_s = planned_s if prices is not None else None
        none = np.zeros(len(self.catalog.departments))
        self._prices = prices or Prices(0.0, 0.0, 0.0, none, np.zeros(6))

    @property
    def prices(self) -> Prices:
        return self._prices

    def arrive(self, ts_s: float, request: Request) -> None:
        n = self._department[request.department]
        self.volumes.count(int(ts_s // HOUR_S), n)
        self._mix.count(request)
        self._all += 1
        self._arrived[n] += 1
        recent = self._recent[n]
        if len(recent) < (recent.maxlen or 0) or self._arrived[n] % self._stride[n] == 0:
            recent.append(request)

    def charge(self, request: Request, backend: str, hold_usd: float, cost_usd: float) -> None:
        """What a request that ran has cost."""
        b = self._backend[backend]
        self.spending.learn(b, request.tokens_in, request.est_tokens_out, hold_usd, cost_usd)
        if self.plan is not None:
            spent = 0.0 if self.catalog.backends[b].is_local else cost_usd
            n = self._department[request.department]
            target = self.plan.spend_per_request[n]
            self._pacers[0].spend(spent, target)
            self._pacers[1 + n].spend(spent, target)

    def learn(self, request: Request, backend: str, success: float, ts_s: float) -> None:
        """How well it went, 0 to 1, where anybody says so."""
        self.learning.learn(request.task, self._backend[backend], request.difficulty, success, ts_s)

    def tick(self, ts_s: float, room: Room, before: Rule | None = None) -> Rule:
        """Plan if it is time to, pace otherwise; then the rule that holds from now on."""
        is_new = self.plan is None or ts_s - self._planned_s >= self._every[0]
        if self._is_early() or is_new:
            self._replan(ts_s, room)
        else:
            self._pace()
        policy = self.policy(ts_s, room)
        return Rule(policy, previous=before)

    def _is_early(self) -> bool:
        """A first plan on few requests is soon made again on more."""
        if not self._early or self._all < self._early[0]:
            return False
        while self._early and self._all >= self._early[0]:
            self._early.popleft()
        return True

    def _pace(self) -> None:
        factors = [pacer.factor() for pacer in self._pacers]
        p = self._prices
        self._prices = replace(
            p,
            month=min(MAX_PRICE, p.month * factors[0]),
            day=min(MAX_PRICE, p.day * factors[0]),
            department=np.minimum(p.department * np.array(factors[1:]), MAX_PRICE),
        )

    def _replan(self, ts_s: float, room: Room) -> None:
        """New prices; when there are none to be found the last stand, and the pacer goes on."""
        self._believed = self.learning.believe((ts_s - self._believed_s) / HOUR_S)
        self.spending.fade((ts_s - self._believed_s) / HOUR_S)
        self._mix.fade((ts_s - self._believed_s) / HOUR_S)
        self._believed_s = self._planned_s = ts_s
        self._publish_beliefs()
        rows = [request for recent in self._recent for request in recent]
        if not rows:
            return
        try:
            self.plan = self._plan_on(rows, ts_s, room)
        except (ValueError, np.linalg.LinAlgError) as error:
            self.failures = [*self.failures[-9:], f"{ts_s:.0f}: {error}"]
            return
        self._prices = self.plan.prices

    def _plan_on(self, rows: list[Request], ts_s: float, room: Room) -> Plan:
        hour = int(ts_s // HOUR_S)
        sample, facts = take_sample(
            rows, self.catalog, self._believed, self._multipliers(), self._mix
        )
        remaining = self.volumes.remaining(ts_s)
        heavy = self._heavy_days(remaining, hour, room)
        outlook = stretches(
            remaining,
            hour=hour,
            places_now=max(0.0, room.local_requests),
            places=self.catalog.local_requests_per_hour,
            heavy_days=heavy,
        )
        left = np.array([room.department_usd[name] for name in self.catalog.departments])
        # A shortage at the end costs more than the same sum left over: plan on a little less.
        part = len(remaining) / len(self.volumes.forecast)
        planned = 1.0 - MARGIN * part**0.5
        purse = Purse(
            np.maximum(0.0, room.month_usd) * planned,
            max(0.0, room.day_usd) * (1.0 - MARGIN * ((24 - hour % 24) / 24) ** 0.5),
            self.catalog.day_usd * len(heavy),
            np.maximum(left, 0.0) * planned,
        )
        planned_s = self.plan.ts_s if self.plan else self._resumed_s
        last = None if planned_s is None else self._prices
        is_new_day = planned_s is None or hour // 24 != int(planned_s // HOUR_S) // 24
        if last is not None and is_new_day:
            last = replace(last, day=0.0)
        found = smooth_prices(sample, outlook, purse, last)
        if last is not None and not is_new_day and self._all > FIRST_PLANS[-1]:
            found = damped(last, found, DAMPING)
        # Demand that is better refused at these prices needs nothing kept; the top tier's always.
        per_usd = found.month + found.day + found.department[sample.department]
        scores = sample.value - per_usd[:, None] * sample.spend
        is_worth_it = facts.is_top | (scores[:, 1:-1].max(axis=1, initial=-np.inf) >= scores[:, -1])
        kept = reserves(
            cheapest_usd=np.where(is_worth_it, facts.cheapest_usd, 0.0),
            may_run_local=facts.may_run_local,
            department=sample.department,
            share=sample.share,
            is_top=facts.is_top,
            outlook=outlook,
        )
        means = self._meant_spend(sample, outlook, found)
        return Plan(
            prices=found,
            reserves=kept,
            sample=sample,
            spend_per_request=means,
            here=remaining[0][sample.department] * sample.share,
            today=float(outlook.requests[:2].sum()),
            rest=float(remaining.sum()),
            ts_s=ts_s,
        )

    def _multipliers(self) -> list[float]:
        return [self.spending.out_multiplier(n) for n in range(len(self.catalog.backends))]

    def _meant_spend(self, sample: Sample, outlook: Outlook, prices: Prices) -> list[float]:
        """USD a request of each department spends at these prices, in what is left of today."""
        per_usd = prices.month + prices.day + prices.department[sample.department]
        scores = sample.value - per_usd[:, None] * sample.spend
        weight = outlook.requests[:2].sum(axis=1)
        spent = np.zeros(len(sample.value))
        for stretch in range(2):
            tried = scores.copy()
            tried[:, 0] -= prices.local[stretch]
            choice = tried.argmax(axis=1)
            share = weight[stretch] / max(weight.sum(), 1e-9)
            spent += share * sample.spend[np.arange(len(choice)), choice]
        departments = outlook.requests.shape[1]
        means: list[float] = np.bincount(
            sample.department, sample.share * spent, departments
        ).tolist()
        return means

    def _heavy_days(self, remaining: Floats, hour: int, room: Room) -> list[int]:
        """The days after today whose share of the money left would come near the day's cap."""
        total = remaining.sum(axis=1)
        day = (hour + np.arange(len(total))) // 24
        per_day = np.bincount(day - day[0], total)
        usd = per_day * room.month_usd / max(total.sum(), 1e-9)
        return [
            int(day[0]) + n
            for n in range(1, len(usd))
            if usd[n] > HEAVY_SHARE * self.catalog.day_usd
        ]

    def _local_price(self, ts_s: float, places: float) -> float:
        """What a local place is worth until the hour is over: the gain of the last request that
        still gets one, were they given to those that gain most."""
        plan = self.plan
        if plan is None or places <= 0:
            return 0.0
        sample, p = plan.sample, self._prices
        per_usd = p.month + p.day + p.department[sample.department]
        scores = sample.value - per_usd[:, None] * sample.spend
        gain = scores[:, 0] - scores[:, 1:].max(axis=1)
        order = np.argsort(-gain)
        hour_end = (plan.ts_s // HOUR_S + 1) * HOUR_S
        share = min(1.0, max(0.0, (hour_end - ts_s) / max(hour_end - plan.ts_s, 1.0)))
        asked = np.cumsum(plan.here[order]) * share
        last = int(np.searchsorted(asked, places))
        if last >= len(order):
            return 0.0
        return max(0.0, float(gain[order[last]]))

    def policy(self, ts_s: float, room: Room) -> Policy:
        """The document as of now, without weights (`weights.py` adds them)."""
        c, prices = self.catalog, self._prices
        self._version += 1
        kept, day_share, share = self._kept(ts_s)
        return Policy(
            version=self._version,
            issued_s=ts_s,
            valid_until_s=ts_s + VALID_S,
            backends=self._rows,
            tiers=c.tiers,
            tasks=c.tasks,
            top_tier=c.top_tier,
            departments={
                name: PolicyDepartment(
                    price=float(prices.department[n]),
                    left_usd=room.department_usd[name],
                    reserve_usd=_kept(kept.department_usd[n] * share, room.department_usd[name]),
                    top_reserve_usd=_kept(
                        kept.top_department_usd[n] * share, room.department_usd[name]
                    ),
                )
                for n, name in enumerate(c.departments)
            },
            quality=self._quality,
            table_quality=c.quality,
            floors=self._floors,
            fail_multiplier=c.fail_multiplier,
            refusal_worth=refusal_worth(c),
            month_price=prices.month,
            day_price=prices.day,
            local_price=self._local_price(ts_s, room.local_requests),
            month_left_usd=room.month_usd,
            day_left_usd=room.day_usd,
            local_requests_left=room.local_requests,
            local_state=local_state_of(room.local_requests),
            reserve_usd=_kept(kept.month_usd * share, room.month_usd),
            top_reserve_usd=_kept(kept.top_month_usd * share, room.month_usd),
            day_reserve_usd=_kept(kept.day_usd * day_share, room.day_usd),
            top_day_reserve_usd=kept.top_day_usd * day_share,
            explore_share=EXPLORE_SHARE,
            explore_optimism=EXPLORE_OPTIMISM,
        )

    def _kept(self, ts_s: float) -> tuple[Reserves, float, float]:
        """The last plan's reserves, and what share of them today's and all remaining demand still
        needs: demand that has come is no longer to be kept for."""
        plan = self.plan
        none = np.zeros(len(self.catalog.departments))
        if plan is None:
            return Reserves(0.0, 0.0, none, 0.0, 0.0, none), 0.0, 0.0
        hour_end = (plan.ts_s // HOUR_S + 1) * HOUR_S
        gone = min(1.0, (ts_s - plan.ts_s) / max(hour_end - plan.ts_s, 1.0))
        come = gone * float(plan.here.sum())
        return (
            plan.reserves,
            max(0.0, 1 - come / max(plan.today, 1e-9)),
            max(0.0, 1 - come / max(plan.rest, 1e-9)),
        )

    def _publish_beliefs(self) -> None:
        """Quality and prices as the rule reads them: made once a plan, shared by its policies."""
        c, believed = self.catalog, self._believed
        table = np.stack([believed.level, believed.slope, believed.deviation], axis=2).tolist()
        self._quality: dict[str, tuple[Quality, ...]] = {
            task: tuple((row[0], row[1], row[2]) for row in table[n])
            for n, task in enumerate(c.tasks)
        }
        self._floors = {tier: tuple(c.floors[tier, task] for task in c.tasks) for tier in c.tiers}
        self._rows = tuple(
            PolicyBackend(
                name=b.name,
                usd_in=b.usd_in,
                usd_out=b.usd_out,
                out_multiplier=self.spending.out_multiplier(n),
                hold_multiplier=max(1.0, b.out_multiplier),
                hold_factor=self.spending.hold_factor(n),
                is_local=b.is_local,
                state="regressed" if n in self.learning.regressed else "ok",
            )
            for n, b in enumerate(c.backends)
        )


def _kept(usd: float, left_usd: float) -> float:
    return max(0.0, min(float(usd), KEPT_AT_MOST * left_usd))
