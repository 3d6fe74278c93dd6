"""What docs/pricing.md shows is so."""

import re
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from apps.pricing.core.meters import BUCKETS, REQUESTS
from apps.pricing.core.money import plain_decimal
from apps.pricing.core.rating import MeteredUsage, RateBook

PAGE = (Path(__file__).parents[2] / "docs" / "pricing.md").read_text()
EXAMPLES = re.findall(r"(?m)^    (\S+/\S+) at (\S+)\n((?:    \S.*\n)+?)    total +(\S+)$", PAGE)
LINE = re.compile(r"    (\w+) +(\d+) x (\S+) += (\S+)")
TABLE = re.findall(r"(?m)^\| ([\w.-]+), (\S+) \| (\S*) ?\| (\S+) \|$", PAGE)


def test_the_page_has_its_examples() -> None:
    assert len(EXAMPLES) == 6
    assert len(TABLE) == 11


@pytest.mark.parametrize(("backend", "at", "body", "total"), EXAMPLES)
def test_worked_numbers(
    catalogue_book: RateBook, backend: str, at: str, body: str, total: str
) -> None:
    shown = LINE.findall(body)
    quantities = {meter: int(quantity) for meter, quantity, _, _ in shown if meter != REQUESTS}
    card = catalogue_book.resolve(*backend.split("/", 1)).card
    assert card is not None
    usage = MeteredUsage(*(quantities.get(bucket, 0) for bucket in BUCKETS))
    lines = [
        (
            line.meter,
            str(line.quantity),
            plain_decimal(line.unit_price_usd_per_mtok),
            plain_decimal(line.cost_usd),
        )
        for line in card.explain(usage, datetime.fromisoformat(at))
    ]
    assert lines == shown
    assert card.cost(usage, datetime.fromisoformat(at)) == Decimal(total)


@pytest.mark.parametrize(("provider", "model", "requested", "priced_as"), TABLE)
def test_worked_names(
    catalogue_book: RateBook, provider: str, model: str, requested: str, priced_as: str
) -> None:
    backend = catalogue_book.resolve(provider, model, requested or None)
    assert (backend.key if backend.card else "nothing") == priced_as
