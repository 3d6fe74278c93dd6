"""Every price of the catalogue is genai-prices' own, to the last digit."""

import random
from decimal import Decimal
from functools import reduce

import pytest
from genai_prices import calc_price
from genai_prices.data import providers

from apps.pricing.core.catalogue import Found
from apps.pricing.core.money import EXACT, usd_from_units
from apps.pricing.core.rating import MeteredUsage, RateBook
from tests.pricing.catalogue_cases import Case, as_genai_usage, catalogue_cases, random_usage
from tests.pricing.conftest import NOW

# Models whose charge differs from calc_price, each with the reason. There are none.
DISAGREEMENTS: dict[str, str] = {}
OPENAI_CALL = ("openai", "gpt-4o-mini-2024-07-18")
ANTHROPIC_CALL = ("anthropic", "claude-sonnet-4-5-20250929")


def differences(book: RateBook, case: Case) -> list[str]:
    """How our three ways to a cost differ from the expected one."""
    found = Found(case.provider.id, case.provider.id, case.model.id)
    card = book.catalogue.card(found)
    expected_usd = case.expected_usd()
    explained = card.explain(case.usage, case.at, case.context, case.meters)
    costs = {
        "cost": card.cost(case.usage, case.at, case.context, case.meters),
        "explain": reduce(EXACT.add, (line.cost_usd for line in explained), Decimal(0)),
    }
    if case.context is None and not case.meters:
        u = case.usage
        units = card.cost_units(
            u.uncached_input_tokens,
            u.cache_read_tokens,
            u.cache_write_5m_tokens,
            u.cache_write_1h_tokens,
            u.output_tokens,
            u.reasoning_tokens,
            case.at.timestamp(),
        )
        costs["cost_units"] = usd_from_units(units)
    return [
        f"{found.provider}/{found.model} {way}: {cost}, expected {expected_usd}; {case}"
        for way, cost in costs.items()
        if cost != expected_usd and f"{found.provider}/{found.model}" not in DISAGREEMENTS
    ]


def test_every_model_costs_what_genai_prices_says(catalogue_book: RateBook) -> None:
    cases = 0
    wrong: list[str] = []
    for case in catalogue_cases(seed=20261101):
        cases += 1
        wrong += differences(catalogue_book, case)
    assert wrong[:10] == []
    assert cases >= 20 * sum(len(provider.models) for provider in providers)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_every_model_costs_what_genai_prices_says_again(
    catalogue_book: RateBook, seed: int
) -> None:
    wrong = [w for case in catalogue_cases(seed) for w in differences(catalogue_book, case)]
    assert wrong[:10] == []


def test_resold_models_cost_what_genai_prices_says(catalogue_book: RateBook) -> None:
    """Also with a context: a reseller sells the maker's standard price."""
    chance = random.Random(3)
    resellers = [p for p in providers if p.fallback_model_providers]
    assert {p.id for p in resellers} == {"azure", "google"}
    for reseller in resellers:
        makers = [p for p in providers if p.id in reseller.fallback_model_providers]
        for model in (model for maker in makers for model in maker.models):
            found = catalogue_book.catalogue.find(reseller.id, model.id)
            if found is None:
                continue
            usage = random_usage(chance)
            for context in (None, *(v.when for v in model.price_variants or ())):
                expected = calc_price(
                    as_genai_usage(usage),
                    model.id,
                    provider_id=reseller.id,
                    genai_request_timestamp=NOW,
                    price_context=context,
                )
                card = catalogue_book.catalogue.card(found)
                assert card.cost(usage, NOW, context) == expected.total_price


@pytest.mark.parametrize(
    ("provider", "model", "usage", "cost_usd"),
    [
        (*OPENAI_CALL, MeteredUsage(400, 600, 0, 0, 200, 64), "0.000225"),
        (*OPENAI_CALL, MeteredUsage(1000, 0, 0, 0, 200), "0.00027"),
        (*ANTHROPIC_CALL, MeteredUsage(400, 600, 70, 30, 200), "0.0048225"),
        (*ANTHROPIC_CALL, MeteredUsage(400, 600, 100, 0, 200), "0.004755"),
    ],
)
def test_captured_calls_cost_what_their_readme_says(
    catalogue_book: RateBook, provider: str, model: str, usage: MeteredUsage, cost_usd: str
) -> None:
    card = catalogue_book.resolve(provider, model).card
    assert card is not None
    assert card.cost(usage, NOW) == Decimal(cost_usd)
