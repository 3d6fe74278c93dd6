"""The catalogue in memory: finding a provider and a model by what clients call them. Pure.

Faithful to genai-prices 0.2.3 (data_snapshot.find_provider_model, types.Provider.find_model):
first match in the catalogue's order, a provider that resells falls back to the makers it names,
and a compact date suffix is tried with dashes when nothing matched as it was.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from apps.pricing.core.matching import Predicate
from apps.pricing.core.providers import never_in_catalogue
from apps.pricing.core.rate_card import RateCard
from apps.pricing.core.rates import Rate

MAX_REMEMBERED: Final = 20_000
# The one price rule that genai-prices keeps in its code (types.ModelInfo.calc_price), not its data:
# Groq bills a shorter recording as ten seconds.
LEAST_AUDIO_SECONDS: Final = {
    ("groq", "whisper-large-v3"): 10,
    ("groq", "whisper-large-v3-turbo"): 10,
}
_COMPACT_DATE: Final = re.compile(r"(-)(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")


@dataclass(frozen=True, slots=True)
class CatalogueProvider:
    """`fallbacks`: the providers whose models this one also sells, at their prices."""

    id: str
    names: Predicate | None
    model_names: Predicate | None
    fallbacks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CatalogueModel:
    provider: str
    id: str
    matches: Predicate


@dataclass(frozen=True, slots=True)
class Found:
    """A model as sold by `provider`; its prices are listed under `owner`."""

    provider: str
    owner: str
    model: str

    @property
    def resold(self) -> bool:
        return self.provider != self.owner


def least_audio_seconds(found: Found) -> int:
    return LEAST_AUDIO_SECONDS.get((found.provider, found.model), 0)


class Catalogue:
    """All providers and models of one revision.

    `read_rates(owner, model)` gives a model's rates; each model is compiled when first asked for.
    Shared by threads and tenants: look-ups only ever add to a dict.
    """

    def __init__(
        self,
        *,
        revision: int,
        providers: Sequence[CatalogueProvider],
        models: Sequence[CatalogueModel],
        read_rates: Callable[[str, str], Sequence[Rate]],
    ) -> None:
        self.revision = revision
        self._read_rates = read_rates
        self._cards: dict[Found, RateCard] = {}
        self._providers = {provider.id: provider for provider in providers}
        self._models: dict[str, list[CatalogueModel]] = {p.id: [] for p in providers}
        for model in models:
            self._models[model.provider].append(model)
        self._remembered: dict[tuple[str, str], Found | None] = {}

    def find_provider(self, name: str) -> str | None:
        """The catalogue's id for a normalised provider name."""
        if name in self._providers:
            return name
        if never_in_catalogue(name):
            return None
        return next((p.id for p in self._providers.values() if p.names and p.names(name)), None)

    def find(self, provider: str, model: str) -> Found | None:
        """The model that a client's name means at this provider (a catalogue id)."""
        key = (provider, model)
        try:
            return self._remembered[key]
        except KeyError:
            found = self._search(provider, model.lower())
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = found
        return found

    def find_listed(self, provider: str, model: str) -> Found | None:
        """The model of exactly this id, as sold by this provider, if it has rates."""
        fallbacks = self._providers[provider].fallbacks if provider in self._providers else ()
        for owner in (provider, *fallbacks):
            if self._read_rates(owner, model):
                return Found(provider, owner, model)
        return None

    def rates_of(self, found: Found) -> Sequence[Rate]:
        """The rates at which `found.provider` sells it."""
        rates = self._read_rates(found.owner, found.model)
        # A reseller sells at the maker's standard price; variants are the maker's alone.
        return [r for r in rates if not r.when] if found.resold else rates

    def card(self, found: Found) -> RateCard:
        card = self._cards.get(found)
        if card is None:
            card = self._cards[found] = RateCard(
                self.rates_of(found), least_audio_seconds=least_audio_seconds(found)
            )
        return card

    def find_anywhere(self, model: str) -> Found | None:
        """A model named without its provider: who claims such names first, then who lists it.

        Claims are genai-prices' own rule ("gpt-" is openai's); both in the catalogue's order.
        """
        name = model.lower()
        claims = [p.id for p in self._providers.values() if p.model_names and p.model_names(name)]
        others = [p for p in self._providers if p not in claims]
        for provider in (*claims[:1], *others, *claims[1:]):
            if (found := self.find(provider, model)) is not None:
                return found
        return None

    def _search(self, provider: str, name: str) -> Found | None:
        found = self._search_exact(provider, name)
        if found is None:
            dashed = _COMPACT_DATE.sub(_dash_date, name)
            if dashed != name:
                found = self._search_exact(provider, dashed)
        return found

    def _search_exact(self, provider: str, name: str) -> Found | None:
        if provider not in self._providers:
            return None
        # One step of falling back and no more, as genai-prices has it.
        for owner in (provider, *self._providers[provider].fallbacks):
            for model in self._models.get(owner, ()):
                if model.matches(name):
                    return Found(provider, owner, model.id)
        return None


def _dash_date(match: re.Match[str]) -> str:
    """-20251211 as -2025-12-11; what is no date stays as it is."""
    year, month, day = (int(match.group(n)) for n in (2, 3, 4))
    try:
        return "-" + date(year, month, day).isoformat()
    except ValueError:
        return match.group(0)
