"""What held in a window that is replayed: places, budgets, and the policies, modes and overrides
that stood. Part of selectors."""

from datetime import datetime

import numpy as np

from apps.pricing.core.local_time import day_start
from apps.routing.core.building import Money
from apps.routing.core.policy import from_json
from apps.routing.core.what_if import Setting
from apps.routing.core.what_if_asked import Asked
from apps.routing.core.what_if_stored import Stored
from apps.routing.facts import UNASSIGNED, read_means
from apps.routing.live_models import PolicyChange
from apps.routing.models import RoutingMode
from apps.routing.selectors import list_overrides, read_modes, read_value_model
from apps.routing.traffic import Window
from apps.tenants.selectors import get_tenant

# Of an hour's documents the last is taken: what moved within it moved little.
MAX_DOCUMENTS = 24 * 63


def read_setting(asked: Asked, window: Window, *, now: datetime) -> Setting:
    """The tenant in scope's, for one replay: only what was asked for is read."""
    model = read_value_model(window.end)
    return Setting(
        months=window.months,
        local_places=model.local_requests_per_hour,
        offset_s=offset_s(window.start),
        money=standing_money(window, now=now) if asked.budgets else None,
        stored=_read_stored(window) if asked.policy == "as_stored" else None,
    )


def offset_s(start: datetime) -> float:
    """From the local midnight before it."""
    zone = get_tenant().zone
    return (start - day_start(start.astimezone(zone).date(), zone)).total_seconds()


def standing_money(window: Window, *, now: datetime) -> Money:
    """The budgets in USD that stand now, as plans have them: a month's amounts, and a day's. What
    several departments share is parted by what each spent in the window."""
    labels = window.traffic.labels
    codes = tuple(name or UNASSIGNED for name in labels.departments)
    traffic = window.traffic
    spent = np.bincount(
        traffic.department, traffic.weight * traffic.actual_cost(), len(codes)
    ).tolist()
    total = max(sum(spent), 1e-9)
    share = {code: usd / total for code, usd in zip(codes, spent, strict=True)}
    return read_means(now, codes, share).money


def _read_stored(window: Window) -> Stored:
    start, end = window.start, window.end
    before = PolicyChange.objects.filter(at__lte=start).order_by("-version").values("id", "at")[:1]
    inside = PolicyChange.objects.filter(at__gt=start, at__lt=end).order_by("version")
    hours: dict[datetime, int] = {}
    for row in (*before, *inside.values("id", "at")):
        hours[row["at"].replace(minute=0, second=0, microsecond=0)] = row["id"]
    chosen = list(hours.values())[-MAX_DOCUMENTS:]
    documents = PolicyChange.objects.filter(id__in=chosen).order_by("version")
    return Stored(
        start=start,
        policies=[
            (row["at"], from_json(row["document"])) for row in documents.values("at", "document")
        ],
        modes=[(at, read_modes(at)) for at in _mode_moments(start, end)],
        overrides=list_overrides(start),
    )


def _mode_moments(start: datetime, end: datetime) -> list[datetime]:
    changes = RoutingMode.objects.filter(effective_from__gt=start, effective_from__lt=end)
    moments = changes.order_by("effective_from").values_list("effective_from", flat=True)
    return [start, *moments.distinct()[:100]]
