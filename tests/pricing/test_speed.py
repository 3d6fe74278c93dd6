"""Rating is fast enough for the way in: 300,000 ratings a second on one core."""

import time
from collections.abc import Callable

import pytest
from genai_prices import calc_price

from apps.pricing.core.rating import MeteredUsage, RateBook
from tests.pricing.catalogue_cases import as_genai_usage
from tests.pricing.conftest import NOW

USAGE = MeteredUsage(400, 600, 0, 0, 200, 64)


def per_second(work: Callable[[], object], repeats: int) -> float:
    # CPU time: what else runs on the machine is no fault of ours.
    started_s = time.process_time()
    for _ in range(repeats):
        work()
    return repeats / (time.process_time() - started_s)


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [
        ("openai", "gpt-4o-mini-2024-07-18"),
        ("anthropic", "claude-sonnet-4-5-20250929"),
        ("deepseek", "deepseek-v4-flash"),
    ],
    ids=["flat", "tiered", "dated and by the hour"],
)
def test_rating(catalogue_book: RateBook, names: tuple[str, str]) -> None:
    """With the card at hand, as ingest keeps it; calc_price remembers its model likewise."""
    provider, model = names
    card = catalogue_book.resolve(provider, model).card
    assert card is not None
    at_s, usage = NOW.timestamp(), as_genai_usage(USAGE)
    ours = per_second(lambda: card.cost_units(400, 600, 0, 0, 200, 64, at_s), 200_000)
    reference = per_second(
        lambda: calc_price(usage, model, provider_id=provider, genai_request_timestamp=NOW), 3_000
    )
    print(f"{model}: {ours:,.0f} ratings/s, {ours / reference:.0f} times calc_price")
    assert ours > 300_000
    assert ours > 50 * reference
