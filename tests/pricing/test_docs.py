"""What docs/pricing.md shows is so."""

import re
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from apps.pricing.core.meters import BUCKETS, REQUESTS, is_part_of
from apps.pricing.core.money import plain_decimal
from apps.pricing.core.rating import MeteredUsage, RateBook
from apps.pricing.services import add_discount
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.pricing.conftest import NOW, book_of

PAGE = (Path(__file__).parents[2] / "docs" / "pricing.md").read_text()
EXAMPLES = re.findall(
    r"(?m)^    (\S+/\S+) at (\S+)( .*)?\n((?:    \S.*\n)+?)    total +(\S+)$", PAGE
)
LINE = re.compile(r"    (\w+) +(\d+) x (\S+) += (\S+)")
TABLE = re.findall(r"(?m)^\| ([\w.-]+), (\S+) \| (\S*) ?\| (\S+) \|$", PAGE)


def test_the_page_has_its_examples() -> None:
    assert len(EXAMPLES) == 10
    assert len(TABLE) == 11


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"{e[0]}{e[2]}" for e in EXAMPLES])
def test_worked_numbers(tenant: TenantInfo, example: tuple[str, ...]) -> None:
    backend, at, how, body, total = example
    shown = LINE.findall(body)
    if how.startswith(" less "):
        _give_discount(tenant, backend, how)
    card = book_of(tenant).resolve(*backend.split("/", 1)).card
    assert card is not None
    usage, meters = _usage({m: int(q) for m, q, price, _ in shown if not price.startswith("-")})
    context = dict([how.removeprefix(" with ").split("=")]) if how.startswith(" with ") else None
    lines = [
        (
            line.meter,
            str(line.quantity),
            plain_decimal(line.unit_price_usd_per_mtok),
            plain_decimal(line.cost_usd),
        )
        for line in card.explain(usage, datetime.fromisoformat(at), context, meters)
    ]
    assert lines == shown
    assert card.cost(usage, datetime.fromisoformat(at), context, meters) == Decimal(total)


def _give_discount(tenant: TenantInfo, backend: str, how: str) -> None:
    with tenant_scope(tenant.id):
        add_discount(
            provider=backend.split("/", maxsplit=1)[0],
            percent=Decimal(how.split()[1]),
            effective_from=None,
            actor="test",
            now=NOW,
        )


def _usage(shown: dict[str, int]) -> tuple[MeteredUsage, dict[str, int]]:
    """The request behind shown lines, which are disjoint: audio tokens are in their bucket too."""
    shown.pop(REQUESTS, None)
    further = {meter: n for meter, n in shown.items() if meter not in BUCKETS}
    totals = [
        shown.get(bucket, 0) + sum(n for meter, n in further.items() if is_part_of(meter, bucket))
        for bucket in BUCKETS
    ]
    return MeteredUsage(*totals), further


@pytest.mark.parametrize(("provider", "model", "requested", "priced_as"), TABLE)
def test_worked_names(
    catalogue_book: RateBook, provider: str, model: str, requested: str, priced_as: str
) -> None:
    backend = catalogue_book.resolve(provider, model, requested or None)
    assert (backend.key if backend.card else "nothing") == priced_as
