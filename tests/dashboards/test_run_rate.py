from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from apps.insights.core.run_rate import project_month_end

START, END = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


def test_a_third_of_the_month_projects_to_three_times_what_was_spent() -> None:
    now = START + timedelta(days=10)
    projected = project_month_end(Decimal(120), month_start=START, month_end=END, now=now)
    assert projected == 360


def test_the_first_day_projects_nothing() -> None:
    now = START + timedelta(hours=23)
    assert project_month_end(Decimal(5), month_start=START, month_end=END, now=now) is None


def test_a_month_with_an_hour_more_is_longer() -> None:
    new_york = ZoneInfo("America/New_York")
    start = datetime(2026, 11, 1, tzinfo=new_york).astimezone(UTC)
    end = datetime(2026, 12, 1, tzinfo=new_york).astimezone(UTC)
    now = start + timedelta(hours=72)
    projected = project_month_end(Decimal(72), month_start=start, month_end=end, now=now)
    assert projected == 30 * 24 + 1


@given(
    spent=st.decimals(min_value=0, max_value=10**9, places=6),
    hours=st.integers(min_value=24, max_value=30 * 24),
)
def test_a_month_never_ends_below_what_is_spent(spent: Decimal, hours: int) -> None:
    now = START + timedelta(hours=hours)
    projected = project_month_end(spent, month_start=START, month_end=END, now=now)
    assert projected is not None
    assert projected >= spent


def test_at_the_months_end_the_projection_is_what_was_spent() -> None:
    for now in (END, END + timedelta(days=2)):
        assert project_month_end(Decimal(9), month_start=START, month_end=END, now=now) == 9
