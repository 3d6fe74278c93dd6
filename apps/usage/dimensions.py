"""What spend can be split by and narrowed to: dimensions of slices, and tags. Pure.

The tag "team" is the dimension `tag.team`. An empty value is no value, as in every address.
"""

from collections.abc import Iterable
from typing import Final, Literal, cast

from apps.usage.core.events import MAX_TAG_LENGTH

Dimension = Literal[
    "model",
    "provider",
    "backend",
    "kind",
    "customer",
    "tier",
    "department",
    "department_tree",
    "project",
    "environment",
    "task",
    "router",
    "status",
]
TAG_PREFIX: Final = "tag."


def tag_dimension(key: str) -> Dimension:
    return cast("Dimension", TAG_PREFIX + key)


def tag_of(dimension: str) -> str | None:
    """The tag that a dimension stands for; None: it is one of slices, or nothing."""
    key = dimension.removeprefix(TAG_PREFIX)
    is_tag = key != dimension and 0 < len(key) <= MAX_TAG_LENGTH and "\0" not in key
    return key if is_tag else None


def are_of_slices(dimensions: Iterable[str]) -> bool:
    """Whether rollups know them all; tags are in the ledger alone."""
    return all(tag_of(dimension) is None for dimension in dimensions)
