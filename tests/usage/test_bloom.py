"""Filters never miss what they hold, and let through little of what they do not."""

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.usage.core.bloom import IDENTITY_BYTES, Filters, build


def identities(first: int, count: int) -> bytes:
    return b"".join(
        hashlib.blake2b(str(n).encode(), digest_size=IDENTITY_BYTES).digest()
        for n in range(first, first + count)
    )


SIZES = st.lists(st.integers(0, 400), min_size=1, max_size=20)


@given(SIZES, st.integers(1, 60), st.randoms(use_true_random=False))
def test_what_a_filter_holds_is_always_found(
    sizes: list[int], asked: int, order: random.Random
) -> None:
    filters = Filters()
    held, first = {}, 0
    for name, size in enumerate(sizes):
        filters.add(name, build(identities(first, size)))
        held |= dict.fromkeys(range(first, first + size), name)
        first += size
    wanted = [order.randrange(first + 1) for _ in range(asked)]
    found = filters.may_hold(b"".join(identities(n, 1) for n in wanted))
    assert {(row, held[n]) for row, n in enumerate(wanted) if n in held} <= set(found)


def test_asking_one_by_one_and_at_once_is_the_same() -> None:
    filters = Filters()
    for name in range(11):
        filters.add(name, build(identities(1000 * name, 1000)))
    asked = identities(5_500, 8_000)
    one_by_one = [
        (at // IDENTITY_BYTES, name)
        for at in range(0, len(asked), IDENTITY_BYTES)
        for _, name in filters.may_hold(asked[at : at + IDENTITY_BYTES])
    ]
    assert sorted(filters.may_hold(asked)) == sorted(one_by_one)


@pytest.mark.parametrize("size", [20_000, 1_000_000])
def test_little_passes_that_is_not_held(size: int) -> None:
    held = random.Random(1).randbytes(size * IDENTITY_BYTES)
    others = random.Random(2).randbytes(50_000 * IDENTITY_BYTES)
    filters = Filters()
    filters.add(7, build(held))
    # A filter that is large lies alone, and takes no more room than its bits.
    assert filters.held_bytes <= max(size * 40 // 8, 1 << 24)
    found = filters.may_hold(held[: 2000 * IDENTITY_BYTES])
    assert sorted(found) == [(row, 7) for row in range(2000)]
    # One in 3,000 at the most, and luck.
    assert len(filters.may_hold(others)) < 50


def test_no_filter_and_nobody_asked() -> None:
    filters = Filters()
    assert filters.may_hold(identities(0, 100)) == []
    filters.add(1, build(b""))
    assert filters.may_hold(b"") == []
    assert filters.may_hold(identities(0, 100)) == []
