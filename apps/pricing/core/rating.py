"""Rating: from what a router reported to the rate card that prices it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from apps.pricing.core.catalogue import Catalogue, Found
from apps.pricing.core.providers import LOCAL, PREFIXING_GATEWAYS, normalise_provider
from apps.pricing.core.rate_card import ChargeLine, MeteredUsage, RateCard
from apps.pricing.core.rates import Kind, Rate, Source

__all__ = ["ChargeLine", "MeteredUsage", "OwnModel", "RateBook", "RateCard", "ResolvedBackend"]

MAX_REMEMBERED: Final = 20_000


@dataclass(frozen=True, slots=True)
class ResolvedBackend:
    """What a reported provider and model mean. Without a card it is not priced.

    `model` is the canonical id where it resolved, else as reported.
    """

    key: str
    provider: str
    model: str
    kind: Kind
    card: RateCard | None
    source: Source | None


@dataclass(frozen=True, slots=True)
class OwnModel:
    """A model for which the tenant set rates of its own."""

    provider: str
    model: str
    kind: Kind
    rates: tuple[Rate, ...]


class RateBook:
    """Everything that prices one tenant's events: its own rates over the shared catalogue."""

    def __init__(self, *, catalogue: Catalogue, own: Sequence[OwnModel], own_revision: int) -> None:
        self.catalogue = catalogue
        self.own_revision = own_revision
        # One counter numbers both, so the larger names what this book is made of.
        self.revision = max(catalogue.revision, own_revision)
        self._own = {(m.provider, m.model.lower()): m for m in own}
        self._own_by_canonical = self._index_by_canonical(own)
        self._own_cards: dict[tuple[str, str, Found | None], RateCard] = {}
        self._resolved: dict[tuple[str, str, str | None], ResolvedBackend] = {}

    def resolve(
        self, provider: str, model: str, requested_model: str | None = None
    ) -> ResolvedBackend:
        """The model that answered if priced, else the one asked for if priced, else unpriced.

        Never raises. Remembered, within a bound.
        """
        key = (provider, model, requested_model)
        resolved = self._resolved.get(key)
        if resolved is None:
            if len(self._resolved) >= MAX_REMEMBERED:
                self._resolved.clear()
            resolved = self._resolved[key] = self._resolve(provider, model, requested_model)
        return resolved

    def resolve_anywhere(self, model: str) -> ResolvedBackend | None:
        """A model named without a provider; None when nobody prices it.

        In order: the tenant's own models (by provider's name), "provider/model" as backend keys
        are written, the catalogue's provider that claims such names, the first that lists it.
        """
        name = model.strip().lower()
        for own_provider, own_model in sorted(self._own):
            if own_model == name:
                return self.resolve(own_provider, model)
        prefix, slash, rest = model.partition("/")
        if slash and (resolved := self.resolve(prefix, rest)).card is not None:
            return resolved
        found = self.catalogue.find_anywhere(name)
        return None if found is None else self.resolve(found.provider, model)

    def canonical_provider(self, name: str) -> str:
        """The id under which this provider's rates stand."""
        name = normalise_provider(name)
        return self.catalogue.find_provider(name) or name

    def _resolve(self, provider: str, model: str, requested: str | None) -> ResolvedBackend:
        provider, model = self._split_gateway(normalise_provider(provider), model.strip())
        answered = self._find(provider, model)
        if answered.card is None and requested and requested.strip() != model:
            _, requested = self._split_gateway(provider, requested.strip())
            asked_for = self._find(provider, requested)
            if asked_for.card is not None:
                return asked_for
        return answered

    def _split_gateway(self, provider: str, model: str) -> tuple[str, str]:
        """Take "provider/" off a model's name where it says nothing more than who sells it."""
        prefix, slash, rest = model.partition("/")
        if not slash or not rest:
            return provider, model
        named = normalise_provider(prefix)
        if provider in PREFIXING_GATEWAYS:
            known = self.catalogue.find_provider(named) is not None
            return (named, rest) if known or named in LOCAL else (provider, model)
        return (provider, rest) if named == provider else (provider, model)

    def _find(self, provider: str, model: str) -> ResolvedBackend:
        listed = self.catalogue.find_provider(provider)
        found = self.catalogue.find(listed, model) if listed else None
        own = self._own.get((listed or provider, model.lower()))
        if own is None and found is not None:
            own = self._own_by_canonical.get((found.provider, found.model))
        if own is not None:
            return _backend(own.provider, own.model, own.kind, self._own_card(own, found))
        if found is not None:
            return _backend(found.provider, found.model, "cloud", self.catalogue.card(found))
        kind: Kind = "local" if provider in LOCAL else "cloud"
        return _backend(listed or provider, model, kind, None)

    def _own_card(self, own: OwnModel, found: Found | None) -> RateCard:
        key = (own.provider, own.model, found)
        card = self._own_cards.get(key)
        if card is None:
            listed = self.catalogue.rates_of(found) if found else ()
            card = self._own_cards[key] = RateCard((*own.rates, *listed))
        return card

    def _index_by_canonical(self, own: Sequence[OwnModel]) -> dict[tuple[str, str], OwnModel]:
        """Own models by the catalogue model they name; where several do, its very id wins.

        Several without the id itself: which was meant would be a guess, so none.
        """
        claims: dict[tuple[str, str], list[OwnModel]] = {}
        for model in own:
            listed = self.catalogue.find_provider(model.provider)
            found = self.catalogue.find(listed, model.model) if listed else None
            if found is not None:
                claims.setdefault((found.provider, found.model), []).append(model)
        chosen = {}
        for (provider, canonical), models in claims.items():
            exact = [m for m in models if m.model == canonical] or models
            if len(exact) == 1:
                chosen[provider, canonical] = exact[0]
        return chosen


def _backend(provider: str, model: str, kind: Kind, card: RateCard | None) -> ResolvedBackend:
    source = card.source if card else None
    return ResolvedBackend(f"{provider}/{model}", provider, model, kind, card, source)
