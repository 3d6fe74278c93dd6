"""The only writer of closed hours. A part of the services of own hardware."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from apps.pricing.core.allocation import TokenCounts
from apps.pricing.core.local_time import Interval
from apps.pricing.core.money import plain_decimal
from apps.pricing.hardware_models import HardwareClosedHour
from apps.pricing.hardware_pool import ChargingBasis


def record_closed_hour(
    *,
    backend_id: int,
    hour: Interval,
    basis: ChargingBasis,
    tokens: TokenCounts,
    total_usd: Decimal,
    charged_usd: Decimal,
    lines: dict[str, Decimal],
    now: datetime,
) -> int:
    """Write down what an hour came to, over what it came to before; returns its id.

    In the transaction that posts the difference, under a lock that lets one close at a time.
    """
    values: dict[str, Any] = {
        "ends_at": hour.ends_at,
        "basis": basis,
        "input_tokens": tokens.input_tokens,
        "cached_input_tokens": tokens.cached_input_tokens,
        "output_tokens": tokens.output_tokens,
        "total_usd": total_usd,
        "charged_usd": charged_usd,
        "lines": {kind: plain_decimal(amount) for kind, amount in lines.items()},
        "closed_at": now,
    }
    same = HardwareClosedHour.objects.filter(backend_id=backend_id, starts_at=hour.starts_at)
    row = same.first()
    if row is None:
        made = HardwareClosedHour.objects.create(
            backend_id=backend_id, starts_at=hour.starts_at, **values
        )
        return made.pk
    same.update(closings=row.closings + 1, **values)
    return row.pk
