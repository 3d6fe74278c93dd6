"""What taking a newer catalogue would change, in terms of prices that people know. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal

from apps.pricing.core.rates import When

SAMPLES: Final = 20


@dataclass(frozen=True, slots=True)
class ListedPrice:
    """One price as the catalogue lists it; equal rows are the same rate."""

    provider: str
    model: str
    meter: str
    price_usd: Decimal
    unit_quantity: int
    when: When
    variant_rank: int
    tier_start_tokens: int
    window_start_s: int
    window_end_s: int
    effective_from: datetime | None
    effective_to: datetime | None

    @property
    def line(self) -> tuple[object, ...]:
        """What is priced, whatever the price: another price of the same line is a change."""
        return (
            self.provider,
            self.model,
            self.meter,
            self.when,
            self.tier_start_tokens,
            self.window_start_s,
            self.effective_from,
        )


@dataclass(frozen=True, slots=True)
class PriceChange:
    """A price before and after; None where there was or will be none."""

    kind: Literal["added", "changed", "closed"]
    before: ListedPrice | None
    after: ListedPrice | None

    @property
    def price(self) -> ListedPrice:
        """Either of the two, for what both have in common."""
        found = self.after or self.before
        assert found is not None  # noqa: S101 - one of them is there, by construction
        return found


@dataclass(frozen=True, slots=True)
class ModelChange:
    """How many prices of one model would be added, changed and closed."""

    provider: str
    model: str
    added: int
    changed: int
    closed: int


@dataclass(frozen=True, slots=True)
class CatalogueDiff:
    """`samples`: a few of the changes, changed prices first."""

    added: int
    changed: int
    closed: int
    models: list[ModelChange]
    models_added: list[str]
    models_removed: list[str]
    samples: list[PriceChange]


def compare_prices(
    standing: Iterable[ListedPrice],
    wanted: Iterable[ListedPrice],
    *,
    standing_models: set[str],
    wanted_models: set[str],
) -> CatalogueDiff:
    """Prices that stand against those that would; models as "provider/model"."""
    standing, wanted = set(standing), set(wanted)
    gone = {price.line: price for price in standing - wanted}
    changes = [
        PriceChange("changed" if price.line in gone else "added", gone.pop(price.line, None), price)
        for price in wanted - standing
    ]
    changes += [PriceChange("closed", price, None) for price in gone.values()]
    changes.sort(key=_order)
    counts = Counter((c.price.provider, c.price.model, c.kind) for c in changes)
    names = sorted({(c.price.provider, c.price.model) for c in changes})
    kinds = Counter(c.kind for c in changes)
    return CatalogueDiff(
        added=kinds["added"],
        changed=kinds["changed"],
        closed=kinds["closed"],
        models=[
            ModelChange(*name, *(counts[*name, kind] for kind in ("added", "changed", "closed")))
            for name in names
        ],
        models_added=sorted(wanted_models - standing_models),
        models_removed=sorted(standing_models - wanted_models),
        samples=changes[:SAMPLES],
    )


def _order(change: PriceChange) -> tuple[object, ...]:
    price = change.price
    return (change.kind != "changed", change.kind, price.provider, price.model, repr(price))
