"""What a dry run of an import adds up to. Pure, and bounded whatever the file holds."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from apps.pricing.core.money import plain_decimal, usd_from_units
from apps.usage.core.rating import UNPRICED

MAX_NAMES: Final = 200
OTHERS: Final = "(others)"


class Sums(msgspec.Struct):
    """Of some rows: how many, what they cost (1e-24 USD, as text: JSON has no such integers)."""

    rows: int = 0
    cost_units: str = "0"
    unpriced: int = 0

    def add(self, cost_units: int) -> None:
        self.rows += 1
        if cost_units == UNPRICED:
            self.unpriced += 1
        else:
            self.cost_units = str(int(self.cost_units) + cost_units)

    @property
    def cost_usd(self) -> str:
        return plain_decimal(usd_from_units(int(self.cost_units)))


class ImportPreview(msgspec.Struct, omit_defaults=True):
    """Of the rows that would be new: their period, cost by local month and model, and what is
    unknown. `reasons`: rejections by "code|field". At most MAX_NAMES names each."""

    total: Sums = msgspec.field(default_factory=Sums)
    months: dict[str, Sums] = msgspec.field(default_factory=dict)
    models: dict[str, Sums] = msgspec.field(default_factory=dict)
    unpriced_models: dict[str, int] = msgspec.field(default_factory=dict)
    unknown_customers: dict[str, int] = msgspec.field(default_factory=dict)
    reasons: dict[str, int] = msgspec.field(default_factory=dict)
    first_at: datetime | None = None
    last_at: datetime | None = None

    def add_row(
        self,
        occurred_at: datetime,
        *,
        provider: str,
        model: str,
        cost_units: int,
        unknown_customer: str | None,
        zone: ZoneInfo,
    ) -> None:
        self.total.add(cost_units)
        month = occurred_at.astimezone(zone).strftime("%Y-%m")
        self.months.setdefault(month, Sums()).add(cost_units)
        name = f"{provider}/{model}"
        _bounded(self.models, name, Sums()).add(cost_units)
        if cost_units == UNPRICED:
            _count(self.unpriced_models, name)
        if unknown_customer is not None:
            _count(self.unknown_customers, unknown_customer)
        self.first_at = min(self.first_at or occurred_at, occurred_at)
        self.last_at = max(self.last_at or occurred_at, occurred_at)

    def add_rejection(self, code: str, field: str | None) -> None:
        _count(self.reasons, f"{code}|{field or ''}")


def preview_from_json(stored: Mapping[str, Any] | None) -> ImportPreview:
    return msgspec.convert(stored or {}, ImportPreview)


def _bounded(sums: dict[str, Sums], name: str, fresh: Sums) -> Sums:
    return sums.setdefault(name if name in sums or len(sums) < MAX_NAMES else OTHERS, fresh)


def _count(counts: dict[str, int], name: str) -> None:
    key = name if name in counts or len(counts) < MAX_NAMES else OTHERS
    counts[key] = counts.get(key, 0) + 1
