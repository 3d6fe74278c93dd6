"""Reads genai-prices into rows for our tables. The only module that imports that package.

A model's conditional prices ("the last active one wins") are flattened: the time line is cut at
every start date, each stretch at every daily window, and each piece carries the whole set of
prices that genai-prices would choose there.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from apps.pricing.core.catalogue_diff import ListedPrice
from apps.pricing.core.meters import BUCKETS, DIMENSIONS, UNITS_PER_PRICE
from apps.pricing.core.money import units_per_item
from apps.pricing.core.rates import DAY_S, When
from apps.pricing.errors import CatalogueFormatError

# Part of the content hash: raise it when this module reads the same package differently.
READER_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class ListedModel:
    provider: str
    model: str
    name: str
    rule: dict[str, Any]
    context_window_tokens: int | None
    deprecated: bool


@dataclass(frozen=True, slots=True)
class ListedProvider:
    id: str
    name: str
    name_rule: dict[str, Any] | None
    model_name_rule: dict[str, Any] | None
    fallbacks: list[str]


@dataclass(frozen=True, slots=True)
class Listing:
    """The whole package. The order of providers and models is the order of matching."""

    providers: list[ListedProvider] = field(default_factory=list)
    models: list[ListedModel] = field(default_factory=list)
    prices: list[ListedPrice] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch of time and a window of the day in which one set of prices holds."""

    effective_from: datetime | None
    effective_to: datetime | None
    window_start_s: int
    window_end_s: int

    @property
    def moment(self) -> datetime:
        """Some moment inside: what holds there holds throughout."""
        day = self.effective_from or datetime(1970, 1, 1, tzinfo=UTC)
        return day.replace(
            hour=self.window_start_s // 3600,
            minute=self.window_start_s % 3600 // 60,
            second=self.window_start_s % 60,
        )


def package_version() -> str:
    return version("genai-prices")


def content_hash() -> str:
    """SHA-256 of the package's data files, without importing them (0.2 s saved)."""
    import genai_prices

    folder = Path(genai_prices.__file__).parent
    digest = hashlib.sha256(f"reader {READER_VERSION}".encode())
    for name in ("data.py", "data_units.py"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def read_listing() -> Listing:
    """Everything in the package. Raises CatalogueFormatError for what we could not price right."""
    from genai_prices.data import providers
    from genai_prices.data_units import unit_data

    units = {unit["price_key"]: (meter, unit["per"]) for meter, unit in unit_data.items()}
    listing = Listing()
    for provider in providers:
        listing.providers.append(
            ListedProvider(
                id=provider.id,
                name=provider.name,
                name_rule=_rule(provider.provider_match),
                model_name_rule=_rule(provider.model_match),
                fallbacks=list(provider.fallback_model_providers or ()),
            )
        )
        for model in provider.models:
            listing.models.append(
                ListedModel(
                    provider=provider.id,
                    model=model.id,
                    name=model.name or model.id,
                    rule=_rule(model.match) or {},
                    context_window_tokens=model.context_window,
                    deprecated=bool(model.deprecated),
                )
            )
            listing.prices.extend(_joined(_model_prices(provider.id, model, units)))
    return listing


def _rule(clause: Any) -> dict[str, Any] | None:
    """A clause as JSON: the dataclass's one field is the rule's name."""
    if clause is None:
        return None
    ((name, operand),) = vars(clause).items()
    if isinstance(operand, list):
        return {name.removesuffix("_"): [_rule(part) for part in operand]}
    return {name: operand}


def _model_prices(
    provider: str, model: Any, units: Mapping[str, tuple[str, int]]
) -> Iterator[ListedPrice]:
    standard = _conditions(model.prices)
    for piece in _pieces(constraint for constraint, _ in standard):
        # Listed without any price: free, and said so by rates of zero.
        free = {"input_mtok": Decimal(0), "output_mtok": Decimal(0)}
        for key, price in (_last_active(standard, piece.moment) or free).items():
            base = _listed(provider, model.id, units[key], piece, when=(), rank=0)
            yield from _price_rows(base, price)
    for when, variants in _variants_by_context(model).items():
        for piece in _pieces(variant.constraint for _, variant in variants):
            for key, (rank, price) in _first_active(variants, piece.moment).items():
                base = _listed(provider, model.id, units[key], piece, when=when, rank=rank)
                yield from _price_rows(base, price)


def _variants_by_context(model: Any) -> dict[When, list[tuple[int, Any]]]:
    """Variants, with their rank in the model's list, by the context that chooses them."""
    variants: dict[When, list[tuple[int, Any]]] = {}
    for rank, variant in enumerate(model.price_variants or ()):
        variants.setdefault(tuple(sorted(variant.when.items())), []).append((rank, variant))
    return variants


def _first_active(variants: list[tuple[int, Any]], moment: datetime) -> dict[str, tuple[int, Any]]:
    """For each price, the first active variant that has it, with that variant's rank."""
    chosen: dict[str, tuple[int, Any]] = {}
    for rank, variant in variants:
        if variant.constraint is None or variant.constraint.active(moment):
            for key, price in _set_prices(variant.prices).items():
                chosen.setdefault(key, (rank, price))
    return chosen


def _joined(rows: Iterable[ListedPrice]) -> list[ListedPrice]:
    """Rows that only go on with the same price, as one: a date that changed another meter."""
    joined: dict[ListedPrice, ListedPrice] = {}
    for row in rows:
        # Pieces come in order of time, so what this row continues has been seen.
        before = joined.pop(
            replace(row, effective_from=None, effective_to=row.effective_from), None
        )
        whole = replace(row, effective_from=before.effective_from) if before else row
        joined[replace(whole, effective_from=None)] = whole
    return list(joined.values())


def _conditions(prices: Any) -> list[tuple[Any, dict[str, Any]]]:
    if isinstance(prices, list):
        return [(c.constraint, _set_prices(c.prices)) for c in prices]
    return [(None, _set_prices(prices))]


def _set_prices(prices: Any) -> dict[str, Any]:
    return {key: price for key, price in vars(prices).items() if price is not None}


def _last_active(conditions: list[tuple[Any, dict[str, Any]]], moment: datetime) -> dict[str, Any]:
    active = [prices for limit, prices in conditions if limit is None or limit.active(moment)]
    return active[-1] if active else conditions[0][1]


def _pieces(constraints: Iterable[Any]) -> list[_Piece]:
    """Time cut at every start date, each day at every window's edge (seconds of the UTC day)."""
    days: set[date] = set()
    seconds = {0, DAY_S}
    for constraint in constraints:
        if constraint is None:
            continue
        if hasattr(constraint, "start_date"):
            days.add(constraint.start_date)
        elif hasattr(constraint, "start_time"):
            seconds |= {_utc_second(constraint.start_time), _utc_second(constraint.end_time)}
        else:
            raise CatalogueFormatError(f"unknown price constraint {constraint!r}")
    starts = [datetime(d.year, d.month, d.day, tzinfo=UTC) for d in sorted(days)]
    edges = sorted(seconds)
    return [
        _Piece(begin, end, first, last)
        for begin, end in zip([None, *starts], [*starts, None], strict=True)
        for first, last in pairwise(edges)
    ]


def _utc_second(at: time) -> int:
    offset = at.utcoffset()
    second = at.hour * 3600 + at.minute * 60 + at.second
    return int(second - (offset.total_seconds() if offset else 0)) % DAY_S


def _price_rows(base: ListedPrice, price: Any) -> Iterator[ListedPrice]:
    """`base` once for each tier of a price."""
    tiers = [(0, price)]
    if not isinstance(price, Decimal):
        tiers = [(0, price.base), *((tier.start, tier.price) for tier in price.tiers)]
    if len({start for start, _ in tiers}) < len(tiers):
        raise CatalogueFormatError(f"two tiers of {base} start together")
    for start, amount in tiers:
        try:
            units_per_item(amount, base.unit_quantity)
        except ValueError as error:
            raise CatalogueFormatError(f"{base.provider}/{base.model}: {error}") from error
        yield replace(base, tier_start_tokens=start, price_usd=amount)


def _listed(
    provider: str, model: str, unit: tuple[str, int], piece: _Piece, *, when: When, rank: int
) -> ListedPrice:
    meter, unit_quantity = unit
    if meter not in DIMENSIONS:
        raise CatalogueFormatError(f"{provider}/{model} prices {meter}, which is not known here")
    if meter in BUCKETS and unit_quantity != UNITS_PER_PRICE:
        raise CatalogueFormatError(f"{meter} is priced per {unit_quantity}, not per million")
    return ListedPrice(
        provider=provider,
        model=model,
        meter=meter,
        price_usd=Decimal(0),
        unit_quantity=unit_quantity,
        when=when,
        variant_rank=rank,
        tier_start_tokens=0,
        window_start_s=piece.window_start_s,
        window_end_s=piece.window_end_s,
        effective_from=piece.effective_from,
        effective_to=piece.effective_to,
    )
