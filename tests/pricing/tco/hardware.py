"""A small machine room for the tests: one asset, one node, one tariff."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from apps.pricing.core.allocation import Throughput
from apps.pricing.core.depreciation import Asset, Loan
from apps.pricing.core.electricity import (
    Days,
    ElectricityPrice,
    Node,
    Power,
    PriceWindow,
    Tariff,
)
from apps.pricing.core.local_time import DateRange, Interval
from apps.pricing.core.tco import CostKind, Hardware, RunningCost, schedule_asset

BERLIN = ZoneInfo("Europe/Berlin")
FROM_2026 = DateRange(date(2026, 1, 1))
ASSET = Asset(
    "server",
    Decimal(24000),
    Decimal(4000),
    date(2026, 1, 1),
    48,
    loan=Loan(Decimal(24000), Decimal("0.06"), 36),
)
DAY_AND_NIGHT = ElectricityPrice(
    Decimal("0.20"),
    FROM_2026,
    (
        PriceWindow(Decimal("0.30"), time(7), time(20), Days.WEEKDAYS),
        PriceWindow(Decimal("0.15"), time(22), time(6)),
    ),
)
FLAT = Tariff(BERLIN, (ElectricityPrice(Decimal("0.24"), FROM_2026),))
TIME_OF_USE = Tariff(BERLIN, (DAY_AND_NIGHT,))
NODE = Node("gpu", Decimal(300), Decimal(2200), FROM_2026)
RUNNING = (
    RunningCost(CostKind.MAINTENANCE, "support contract", Decimal(120), FROM_2026),
    RunningCost(CostKind.HOSTING, "rack", Decimal(250), FROM_2026),
    RunningCost(CostKind.STAFF, "engineer", Decimal(8000), FROM_2026, Decimal("0.05")),
)
HARDWARE = Hardware(
    BERLIN, (schedule_asset(ASSET, BERLIN),), Power((NODE,), FLAT, Decimal("1.3")), RUNNING
)
THROUGHPUT = Throughput(Decimal(10_000), Decimal(1_000))


def hour_at(text: str, hours: int = 1) -> Interval:
    start = datetime.fromisoformat(text).replace(tzinfo=BERLIN).astimezone(UTC)
    return Interval(start, start + timedelta(hours=hours))
