"""The newest past of the demo, watched as it would have been: with the clock of then.

A first run over history lists what it finds there and tells nobody what is older than two days. A
company that had Costboard all along was told in time: so is the demo's.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from apps.insights.finding_selectors import read_watched_until
from apps.insights.ticks import tick_tenant, ticking_alone
from apps.tenants.scoping import tenant_scope
from apps.usage.hourly import start_of_hour

# Both planted episodes, and two days before the first of them.
WATCHED: Final = timedelta(days=14, hours=8)
# The beat looks every two minutes, and sees more of the running hour every quarter. Half as often
# costs half of the minute that all this takes.
STEP: Final = timedelta(minutes=30)


def watch_past(
    tenant_id: int,
    *,
    until: datetime,
    begun: Callable[[], object] = lambda: None,
    gave_up: Callable[[], bool] = lambda: False,
) -> int:
    """Tick as the beat would have, from where the watch stands; returns how often.

    All before WATCHED is read at once, at the first look. `begun` is called when nobody else can
    tick any more. What is interrupted goes on from there.
    """
    with ticking_alone(tenant_id):
        begun()
        looks = 0
        for moment in _moments(tenant_id, until):
            if gave_up():
                break
            while tick_tenant(tenant_id, now=moment).hours:
                pass
            looks += 1
        return looks


def _moments(tenant_id: int, until: datetime) -> Iterator[datetime]:
    at = until - WATCHED
    with tenant_scope(tenant_id):
        watched_until = read_watched_until()
    if watched_until is not None:
        at = max(at, start_of_hour(watched_until))
    epoch = datetime.fromtimestamp(0, UTC)
    at -= (at - epoch) % STEP
    while (at := at + STEP) <= until:
        yield at
