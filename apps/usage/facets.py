"""Facets: the few dimensions that a page asks for, and rollups by their combinations alone.

A slice is one combination of every dimension. There are thousands of them, and a month by model
needs ten. Each slice belongs to one *coarse slice* of every facet; rollups by coarse slices hold
sums of the rollup by slices, and are written with it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from apps.usage.core.cover import Grain

# From the fewest combinations to the most: the first that has what is asked for answers.
FACETS: Final[dict[str, tuple[str, ...]]] = {
    "department": ("department_id",),
    "backend": ("backend_id", "provider", "model"),
    "customer": ("customer_id",),
    # All but the customer, who multiplies everything.
    "work": (
        "backend_id", "provider", "model", "api_key_id", "department_id",
        "project", "environment", "task", "status",
    ),
    "customer_backend": ("customer_id", "backend_id", "provider", "model"),
}  # fmt: skip
# Grain -> the facets that it is kept by, beside slices.
KEPT: Final[dict[Grain, tuple[str, ...]]] = {
    "minute": (),
    "quarter_hour": ("department", "backend", "customer", "work"),
    "day": ("department", "backend", "customer", "work", "customer_backend"),
    "month": ("work", "customer_backend"),
}
# Every dimension of a slice.
COLUMNS: Final = (
    "backend_id", "provider", "model", "api_key_id", "customer_id", "department_id",
    "project", "environment", "task", "status",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rollup:
    """One table of sums by bucket and `slices`, which it calls slice_id."""

    table: str
    slices: str


def rollup_table(grain: Grain, facet: str | None = None) -> str:
    return f"usage_rollup_{grain}" + (f"_{facet}" if facet else "")


def choose_rollup(grain: Grain, columns: Iterable[str]) -> Rollup:
    """The smallest of a grain that tells these dimensions apart."""
    wanted = set(columns)
    for facet in KEPT[grain]:
        if wanted <= set(FACETS[facet]):
            return Rollup(rollup_table(grain, facet), "usage_coarse_slice")
    return Rollup(rollup_table(grain), "usage_slice")


def facet_column(facet: str) -> str:
    """Where a slice says which coarse slice it belongs to."""
    return f"{facet}_slice_id"


def facet_digest(facet: str, row: str) -> str:
    """SQL: what a combination of a facet is known by. A row's text is unambiguous."""
    values = ", ".join(f"{row}.{column}" for column in FACETS[facet])
    text = f"convert_to(ROW({values})::text, 'UTF8')"
    return f"encode(substr(sha256({text}), 1, 16), 'hex')::uuid"
