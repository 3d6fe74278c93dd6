"""What a renegotiated price has saved: real requests at the rates that hold, less the same requests
at the rates that were believed when the change was accepted. Reads; writes nothing.

What the provider lowers for everybody in that time counts too: the old price is what would have
been paid. A price that stands as it stood saves nothing.
"""

from collections import Counter
from datetime import datetime
from typing import Final

from apps.pricing.core.rating import MeteredUsage, RateCard
from apps.pricing.rate_books import current_rate_book, rate_book_as_of
from apps.pricing.selectors import list_backends
from apps.usage.selectors import SpendQuery, read_spend
from apps.usage.traffic_sample import SampledCharge, read_sample

UNITS_PER_USD: Final = 1e24


def current_rate_revision() -> int:
    """The revision of rates that the tenant in scope believes now."""
    return current_rate_book().revision


def price_saving_usd(
    start: datetime, end: datetime, *, provider: str, revision: int, limit: int
) -> float:
    """USD saved on a provider's requests of [start, end) since a revision, by a weighed sample of
    at most about `limit`. The tenant in scope's."""
    found = read_spend(SpendQuery(start, end, ("backend",)))
    requests = {row.labels["backend"]: row.requests for row in found.rows}
    charges = read_sample(start, end, requests=max(found.total.requests, 1), limit=limit)
    keys = {one.id: one.key for one in list_backends()}
    drawn = Counter(keys.get(one.place.backend_id) for one in charges)
    before, now = rate_book_as_of(revision), current_rate_book()
    saved = 0.0
    for charge in charges:
        place = charge.place
        if place.provider != provider:
            continue
        old, new = (
            _usd(book.resolve(place.provider, place.model).card, charge) for book in (before, now)
        )
        key = keys.get(place.backend_id)
        if old is not None and new is not None:
            saved += requests.get(key, drawn[key]) / drawn[key] * (old - new)
    return saved


def _usd(card: RateCard | None, charge: SampledCharge) -> float | None:
    if card is None:
        return None
    units = card.cost_units_of(
        MeteredUsage(*charge.tokens),
        charge.occurred_at.timestamp(),
        meters=charge.meters,
        context=charge.context,
    )
    return None if units < 0 else units / UNITS_PER_USD
