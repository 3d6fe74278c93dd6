"""Whose conventions the figures of this page, or of this letter, are written in."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from apps.tenants.locales import HOUSE, Conventions

_current: Final[ContextVar[Conventions]] = ContextVar("conventions", default=HOUSE)


def conventions() -> Conventions:
    return _current.get()


@contextmanager
def written_as(wanted: Conventions) -> Iterator[None]:
    """Inside it every figure and day that is written out follows these."""
    token = _current.set(wanted)
    try:
        yield
    finally:
        _current.reset(token)
