"""Opportunities: found anew each day on the last 30 days' traffic, and kept for people to decide.

Each is found on one sample and replayed on another; its interval holds both, and one that the
second does not confirm is not shown. What people accepted or dismissed stays as it was decided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final

from django.db import connection

from apps.pricing.core.local_time import day_start
from apps.routing.core.changes import replay_change
from apps.routing.core.opportunities import Opportunity as Found
from apps.routing.core.opportunities import find_opportunities
from apps.routing.core.traffic import Estimate
from apps.routing.core.value_model import ValueModel
from apps.routing.episodes import Episodes, confirmed_usd, loop_opportunities, read_episodes
from apps.routing.replay_models import Opportunity
from apps.routing.retries import Retries
from apps.routing.selectors import read_value_model
from apps.routing.traffic import LIMIT, Window, read_window
from apps.tenants.scoping import current_tenant_id, tenant_scope
from apps.tenants.selectors import get_tenant

LOOKBACK_DAYS: Final = 30
MAX_LISTED: Final = 100
# What was decided is not brought up again for so long.
SILENCE: Final = timedelta(days=30)
# What a saving is given for.
PROMISED: Final = timedelta(days=30)
SECOND: Final = timedelta(seconds=1)
FIND_SEED, REPLAY_SEED, DECIDING_SEED = 1, 2, 4
SIX: Final = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class OpportunityInfo:
    """As the row has it: money of 30 days; promised, once accepted, and what came of it."""

    id: int
    key: str
    kind: str
    state: str
    saving_usd: Decimal
    saving_low_usd: Decimal
    saving_high_usd: Decimal
    gain_usd: Decimal
    gain_low_usd: Decimal
    gain_high_usd: Decimal
    rate_usd: Decimal
    replayed_usd: Decimal
    quality_points: float
    quality_low_points: float
    quality_high_points: float
    requests: float
    confidence: str
    change: Mapping[str, Any]
    facts: Mapping[str, Any]
    window_start: datetime
    window_end: datetime
    found_at: datetime
    computed_at: datetime
    decided_at: datetime | None
    decided_by: str
    reason: str
    applied: Mapping[str, Any]
    realised_usd: Decimal | None
    realised_until: datetime | None

    @property
    def promised_so_far_usd(self) -> Decimal | None:
        """What was promised for the time that was measured; None while none was."""
        if self.decided_at is None or self.realised_until is None:
            return None
        measured = Decimal((self.realised_until - self.decided_at) // SECOND)
        return self.saving_usd * measured / Decimal(PROMISED // SECOND)


def recompute(tenant_id: int, *, now: datetime, limit: int = LIMIT) -> int:
    """Find a tenant's opportunities anew; returns how many are shown."""
    with tenant_scope(tenant_id):
        start, end = last_days(now)
        model = read_value_model(now)
        read = partial(read_window, start, end, model=model, limit=limit)
        window, other = read(seed=FIND_SEED), read(seed=REPLAY_SEED)
        episodes = read_episodes(start, end, now=now)
        retried = _confirmed_retries(window, episodes, model)
    found, doubted = _confirmed(_find(window, episodes, model.local_requests_per_hour), other)
    with tenant_scope(tenant_id):
        if doubted:
            found += _decided(doubted, other, read(seed=DECIDING_SEED))
        found += [*_confirmed_loops(episodes, window.months), *retried]
        return _keep(found, window, now)


def last_days(now: datetime, days: int = LOOKBACK_DAYS) -> tuple[datetime, datetime]:
    """The tenant in scope's last whole local days."""
    tenant = get_tenant()
    today = tenant.local_date(now)
    return day_start(today - timedelta(days=days), tenant.zone), day_start(today, tenant.zone)


def _find(window: Window, episodes: Episodes, places: Mapping[str, float]) -> list[Found]:
    return find_opportunities(
        window.traffic,
        months=window.months,
        local_places=places,
        episodes=episodes.requests,
        storms=episodes.storms,
    )


def _confirmed(
    found: Sequence[Found], other: Window
) -> tuple[list[tuple[Found, float]], list[Found]]:
    """Those that requests of another sample confirm, at an interval that holds both; and those of
    which the two say something else."""
    kept, doubted = [], []
    for one in found:
        saved, gained = _replayed(one, other)
        if one.kind == "renegotiate":
            kept.append((one, saved.mean))
        elif not one.saving.meets(saved):
            doubted.append(one)
        else:
            both = replace(one, saving=_hull(one.saving, saved), gain=_hull(one.gain, gained))
            if both.gain.mean > 0:
                kept.append((both, saved.mean))
    return kept, doubted


def _decided(doubted: Sequence[Found], other: Window, third: Window) -> list[tuple[Found, float]]:
    """Of two samples' intervals one pair in ten does not meet where requests are few: a third
    sample decides, at an interval that holds all three."""
    kept = []
    for one in doubted:
        readings = [_replayed(one, other), _replayed(one, third)]
        saved, gained = zip((one.saving, one.gain), *readings, strict=True)
        if any(saved[2].meets(before) for before in saved[:2]):
            whole = replace(one, saving=_hull(*saved), gain=_hull(*gained))
            if whole.gain.mean > 0:
                kept.append((whole, saved[2].mean))
    return kept


def _replayed(one: Found, window: Window) -> tuple[Estimate, Estimate]:
    """(saved, gained) a month, by the requests of a sample."""
    again = replay_change(window.traffic, one.change)
    return again.saved.times(1 / window.months), again.gained.times(1 / window.months)


def _confirmed_retries(
    window: Window, episodes: Episodes, model: ValueModel
) -> list[tuple[Found, float]]:
    """As others: at an interval that holds what another reading says."""
    first, other = (
        Retries(window.start, window.end, model, requests=window.happened.requests, seed=seed)
        for seed in (FIND_SEED, REPLAY_SEED)
    )
    spent_usd = float(window.happened.cost_usd)
    kept = []
    for one in first.find(months=window.months, spent_usd=spent_usd, told=episodes.requests):
        again = other.replay(one.change).times(1 / window.months)
        if one.saving.meets(again):
            both = _hull(one.saving, again)
            kept.append((replace(one, saving=both, gain=both), again.mean))
    return kept


def _confirmed_loops(episodes: Episodes, months: float) -> list[tuple[Found, float]]:
    kept = []
    for one in loop_opportunities(episodes, months=months):
        usd = confirmed_usd(one.change["finding_id"])
        if usd is not None and one.saving.holds(usd / months):
            kept.append((one, usd / months))
    return kept


def _hull(*estimates: Estimate) -> Estimate:
    """All samples' mean, in an interval that holds their intervals."""
    mean = sum(one.mean for one in estimates) / len(estimates)
    return Estimate(mean, min(one.low for one in estimates), max(one.high for one in estimates))


def _keep(found: Sequence[tuple[Found, float]], window: Window, now: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('opportunities', %s))",
            [current_tenant_id()],
        )
    decided = set(
        Opportunity.objects.filter(decided_at__gt=now - SILENCE)
        .exclude(state="open")
        .values_list("key", flat=True)
    )
    shown = [(one, usd) for one, usd in found if one.key not in decided]
    for one, usd in shown:
        Opportunity.objects.update_or_create(
            tenant_id=current_tenant_id(),
            key=one.key,
            state="open",
            defaults=_columns(one, usd, window, now),
            create_defaults=_columns(one, usd, window, now) | {"found_at": now},
        )
    Opportunity.objects.filter(state="open").exclude(key__in=[one.key for one, _ in shown]).update(
        state="gone", computed_at=now
    )
    return len(shown)


def _columns(one: Found, replayed_usd: float, window: Window, now: datetime) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "saving_usd": money(one.saving.mean),
        "saving_low_usd": money(one.saving.low),
        "saving_high_usd": money(one.saving.high),
        "gain_usd": money(one.gain.mean),
        "gain_low_usd": money(one.gain.low),
        "gain_high_usd": money(one.gain.high),
        "rate_usd": money(one.rate_usd),
        "replayed_usd": money(replayed_usd),
        "quality_points": one.quality_points.mean,
        "quality_low_points": one.quality_points.low,
        "quality_high_points": one.quality_points.high,
        "requests": one.requests,
        "confidence": one.confidence,
        "change": dict(one.change),
        "facts": dict(one.facts),
        "window_start": window.start,
        "window_end": window.end,
        "computed_at": now,
    }


def money(usd: float) -> Decimal:
    return Decimal(repr(usd)).quantize(SIX)


def list_opportunities(*, state: str = "open", limit: int = MAX_LISTED) -> list[OpportunityInfo]:
    """The tenant in scope's: open ones by rank, others by when they were decided."""
    rows = Opportunity.objects.filter(state=state)
    order = ("-rate_usd", "-gain_usd", "key") if state == "open" else ("-decided_at", "-id")
    return [info_of(row) for row in rows.order_by(*order)[: min(limit, MAX_LISTED)]]


def get_opportunity(opportunity_id: int) -> OpportunityInfo | None:
    row = Opportunity.objects.filter(pk=opportunity_id).first() if opportunity_id < 2**63 else None
    return info_of(row) if row else None


def read_computed_at() -> datetime | None:
    """When the tenant in scope's were last looked for and found."""
    return (
        Opportunity.objects.order_by("-computed_at").values_list("computed_at", flat=True).first()
    )


def is_due(tenant_id: int, *, now: datetime) -> bool:
    """Whether a local day has ended since a tenant's were last looked for."""
    with tenant_scope(tenant_id):
        last = read_computed_at()
        tenant = get_tenant()
        return last is None or tenant.local_date(last) < tenant.local_date(now)


def info_of(row: Opportunity) -> OpportunityInfo:
    return OpportunityInfo(**{name: getattr(row, name) for name in OpportunityInfo.__slots__})
