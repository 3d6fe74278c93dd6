"""Rating: from what a router reported to the rate card that prices it. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from apps.pricing.core.catalogue import Catalogue, Found, least_audio_seconds
from apps.pricing.core.charge_lines import ChargeLine
from apps.pricing.core.discounts import apply_discounts, discounts_on
from apps.pricing.core.providers import LOCAL, PREFIXING_GATEWAYS, normalise_provider
from apps.pricing.core.rate_card import MeteredUsage, RateCard
from apps.pricing.core.rates import Dated, Discount, Kind, Rate, Source, within

__all__ = [
    "Alias",
    "ChargeLine",
    "MeteredUsage",
    "OwnModel",
    "RateBook",
    "RateCard",
    "ResolvedBackend",
]

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
class Alias(Dated):
    """A name that routers report, by its provider's id, and the model whose price applies."""

    id: int
    provider: str
    model: str
    priced_provider: str
    priced_model: str
    effective_from: datetime | None = None
    effective_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class OwnModel:
    """A model for which the tenant set rates of its own."""

    provider: str
    model: str
    kind: Kind
    rates: tuple[Rate, ...]


class RateBook:
    """Everything that prices one tenant's events: its own rates, aliases and discounts over the
    shared catalogue, and its default rate (`default`, off while empty) for what nothing prices."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        own: Sequence[OwnModel],
        own_revision: int,
        discounts: Sequence[Discount] = (),
        aliases: Sequence[Alias] = (),
        default: Sequence[Rate] = (),
    ) -> None:
        self.catalogue = catalogue
        self.own_revision = own_revision
        # One counter numbers both, and both are read at one moment: so the larger names what this
        # book is made of, and either can be read again by it.
        self.revision = max(catalogue.revision, own_revision)
        self.discounts = tuple(discounts)
        self._own = {(m.provider, m.model.lower()): m for m in own}
        self._own_by_canonical = self._index_by_canonical(own)
        self._own_cards: dict[tuple[str, str, Found | None], RateCard] = {}
        self._discounted_cards: dict[Found, RateCard] = {}
        self._default = RateCard(default) if default else None
        self._aliases: dict[tuple[str, str], list[Alias]] = {}
        for alias in aliases:
            self._aliases.setdefault((alias.provider, alias.model.lower()), []).append(alias)
        self._resolved: dict[tuple[str, str, str | None], ResolvedBackend] = {}
        self._resolved_anywhere: dict[str, ResolvedBackend | None] = {}

    def resolve(
        self, provider: str, model: str, requested_model: str | None = None
    ) -> ResolvedBackend:
        """The model that answered if priced, else the one asked for if priced, else the tenant's
        default rate (source "default") if it has one, else unpriced.

        Never raises. Remembered, within a bound.
        """
        key = (provider, model, requested_model)
        resolved = self._resolved.get(key)
        if resolved is None:
            if len(self._resolved) >= MAX_REMEMBERED:
                self._resolved.clear()
            resolved = self.resolve_named(provider, model, requested_model)
            if resolved.card is None and self._default is not None:
                resolved = replace(resolved, card=self._default, source="default")
            self._resolved[key] = resolved
        return resolved

    def resolve_named(
        self, provider: str, model: str, requested_model: str | None = None
    ) -> ResolvedBackend:
        """As `resolve`, by what is known of the names alone: no default rate."""
        provider, model = self._split_gateway(normalise_provider(provider), model.strip())
        answered = self._find(provider, model)
        if answered.card is None and requested_model and requested_model.strip() != model:
            _, requested = self._split_gateway(provider, requested_model.strip())
            asked_for = self._find(provider, requested)
            if asked_for.card is not None:
                return asked_for
        return answered

    def resolve_anywhere(self, model: str) -> ResolvedBackend | None:
        """A model named without a provider; None when nobody prices it.

        In order: the tenant's own models (by provider's name), "provider/model" as backend keys
        are written, the catalogue's provider that claims such names, the first that lists it.
        Remembered, within a bound.
        """
        known = self._resolved_anywhere
        found = known.get(model)
        if found is None and model not in known:
            if len(known) >= MAX_REMEMBERED:
                known.clear()
            found = known[model] = self._resolve_anywhere(model)
        return found

    def _resolve_anywhere(self, model: str) -> ResolvedBackend | None:
        name = model.strip().lower()
        for own_provider, own_model in sorted(self._own):
            if own_model == name:
                return self.resolve(own_provider, model)
        prefix, slash, rest = model.partition("/")
        if slash and (resolved := self.resolve_named(prefix, rest)).card is not None:
            return resolved
        found = self.catalogue.find_anywhere(name)
        return None if found is None else self.resolve(found.provider, model)

    def resolve_listed(self, provider: str, model: str) -> ResolvedBackend:
        """The model of exactly this id, whatever the match rules say of its name today."""
        found = self.catalogue.find_listed(provider, model)
        own = self._own.get((provider, model.lower()))
        if own is None and found is not None:
            own = self._own_by_canonical.get((provider, model))
        return self._backend_of(provider, model, own, found)

    def canonical_provider(self, name: str) -> str:
        """The id under which this provider's rates stand."""
        name = normalise_provider(name)
        return self.catalogue.find_provider(name) or name

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

    def has_own(self, provider: str, model: str) -> bool:
        """Whether the tenant has rates by that very name."""
        return (provider, model.lower()) in self._own

    def name_parts(self, provider: str, model: str) -> tuple[str, str]:
        """(provider's id, model) under which a reported name is looked up, and aliases stand."""
        provider, model = self._split_gateway(normalise_provider(provider), model.strip())
        return self.catalogue.find_provider(provider) or provider, model

    def _find(self, provider: str, model: str) -> ResolvedBackend:
        """The tenant's rates by that very name, else its alias, else what the name means."""
        key = (self.catalogue.find_provider(provider) or provider, model.lower())
        if key in self._own or key not in self._aliases:
            return self._find_unaliased(provider, model)
        return self._find_aliased(provider, model, self._aliases[key])

    def _find_unaliased(self, provider: str, model: str) -> ResolvedBackend:
        listed = self.catalogue.find_provider(provider)
        found = self.catalogue.find(listed, model) if listed else None
        own = self._own.get((listed or provider, model.lower()))
        if own is None and found is not None:
            own = self._own_by_canonical.get((found.provider, found.model))
        return self._backend_of(listed or provider, model, own, found)

    def _backend_of(
        self, provider: str, model: str, own: OwnModel | None, found: Found | None
    ) -> ResolvedBackend:
        if own is not None:
            return _backend(own.provider, own.model, own.kind, self._own_card(own, found))
        if found is not None:
            return _backend(found.provider, found.model, "cloud", self._catalogue_card(found))
        return _backend(provider, model, "local" if provider in LOCAL else "cloud", None)

    def _find_aliased(self, provider: str, model: str, aliases: list[Alias]) -> ResolvedBackend:
        """The backend is that of the newest alias; each moment is priced by the alias in force."""
        aliases = sorted(aliases, key=lambda alias: alias.starts_at_s)
        targets = [self._find_unaliased(*self._target(alias)) for alias in aliases]
        newest = targets[-1]
        if len(aliases) == 1 and aliases[0].effective_from is aliases[0].effective_to is None:
            return newest
        rates = list(_rates_without(self._find_unaliased(provider, model), aliases))
        for alias, target in zip(aliases, targets, strict=True):
            rates += _rates_within(target, alias.effective_from, alias.effective_to)
        least = newest.card.least_audio_seconds if newest.card else 0
        card = RateCard(rates, least_audio_seconds=least) if rates else None
        return replace(newest, card=card, source=card.source if card else None)

    def _target(self, alias: Alias) -> tuple[str, str]:
        return normalise_provider(alias.priced_provider), alias.priced_model

    def _catalogue_card(self, found: Found) -> RateCard:
        discounts = discounts_on(self.discounts, found.provider, found.model)
        if not discounts:
            return self.catalogue.card(found)
        card = self._discounted_cards.get(found)
        if card is None:
            rates = apply_discounts(self.catalogue.rates_of(found), discounts)
            card = RateCard(rates, least_audio_seconds=least_audio_seconds(found))
            self._discounted_cards[found] = card
        return card

    def _own_card(self, own: OwnModel, found: Found | None) -> RateCard:
        key = (own.provider, own.model, found)
        card = self._own_cards.get(key)
        if card is None:
            listed = self._catalogue_card(found).rates if found else ()
            least = least_audio_seconds(found) if found else 0
            card = RateCard((*own.rates, *listed), least_audio_seconds=least)
            self._own_cards[key] = card
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


def _rates_within(
    backend: ResolvedBackend, begin: datetime | None, end: datetime | None
) -> Iterator[Rate]:
    for rate in backend.card.rates if backend.card else ():
        clipped = within(rate, begin, end)
        if clipped is not None:
            yield clipped


def _rates_without(backend: ResolvedBackend, aliases: Sequence[Alias]) -> Iterator[Rate]:
    """The rates of the times at which no alias is in force; aliases are in order of time."""
    free_from: datetime | None = None
    for alias in aliases:
        if alias.effective_from is not None and alias.effective_from != free_from:
            yield from _rates_within(backend, free_from, alias.effective_from)
        free_from = alias.effective_to
    if free_from is not None:
        yield from _rates_within(backend, free_from, None)


def _backend(provider: str, model: str, kind: Kind, card: RateCard | None) -> ResolvedBackend:
    source = card.source if card else None
    return ResolvedBackend(f"{provider}/{model}", provider, model, kind, card, source)
