"""The forecast's core: what holds for every history, and what it makes of known ones."""

import itertools
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.insights.core.forecast import (
    KnownDays,
    PeriodForecast,
    SpendHistory,
    forecast_period,
    usual_share_gone,
)
from apps.insights.core.robust import sample_quantiles
from apps.insights.core.utc_hours import history_before, hour_number

TODAY = date(2026, 11, 11)
START, END = date(2026, 11, 1), date(2026, 12, 1)

usd = st.one_of(st.just(0.0), st.floats(min_value=1e-4, max_value=1e6))
histories = st.builds(
    lambda days, today_usd, gone: SpendHistory(np.array(days), TODAY, today_usd, gone),
    st.lists(usd, max_size=120),
    usd,
    st.floats(min_value=0, max_value=1),
)


def office(weeks: int, usd_a_day: float = 100.0) -> np.ndarray:
    """Whole days before TODAY: weekdays cost, weekends a tenth."""
    days = [TODAY - timedelta(days=n) for n in range(weeks * 7, 0, -1)]
    return np.array([usd_a_day * (0.1 if day.weekday() >= 5 else 1.0) for day in days])


def forecast(days: np.ndarray, known: KnownDays | None = None, **today: float) -> PeriodForecast:
    return forecast_period(SpendHistory(days, TODAY, **today), start=START, end=END, known=known)


@settings(max_examples=80, deadline=None)
@given(histories)
def test_quantiles_are_in_order_and_never_below_what_is_spent(history: SpendHistory) -> None:
    told = forecast_period(history, start=START, end=END)
    total = told.total_usd
    slack = 1e-9 * (1 + abs(total.p90))
    assert np.isfinite(total.p90)
    assert told.spent_usd <= total.p10 + slack
    assert total.p10 <= total.p50 + slack
    assert total.p50 <= total.p90 + slack
    for day in told.days:
        assert 0 <= day.usd.p10 <= day.usd.p50 + slack
        assert day.usd.p50 <= day.usd.p90 + slack
        assert day.is_past == (day.day < TODAY)


@settings(max_examples=40, deadline=None)
@given(histories, st.sampled_from([1e-3, 7.0, 1e4]))
def test_a_series_in_another_currency_has_the_same_forecast(
    history: SpendHistory, rate: float
) -> None:
    scaled = SpendHistory(
        history.usd_by_day * rate, TODAY, history.today_usd * rate, history.today_gone
    )
    ours = forecast_period(history, start=START, end=END).total_usd
    theirs = forecast_period(scaled, start=START, end=END).total_usd
    for name in ("p10", "p50", "p90"):
        assert getattr(theirs, name) == pytest.approx(getattr(ours, name) * rate, rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.lists(usd, min_size=24, max_size=24 * 40), st.integers(min_value=1, max_value=24 * 39))
def test_a_forecast_knows_only_what_came_before_it(values: list[float], cut: int) -> None:
    """Rows after the cut change nothing: a prefix forecasts as the whole does at that hour."""
    cut = min(cut, len(values))
    first = hour_number(datetime(2026, 9, 28, 5, tzinfo=UTC))
    hours, spent = first + np.arange(len(values)), np.array(values)
    end = date(2026, 12, 1)
    told = [
        forecast_period(history_before(h, u, first + cut), start=date(2026, 9, 1), end=end)
        for h, u in ((hours, spent), (hours[:cut], spent[:cut]))
    ]
    assert told[0] == told[1]


@settings(max_examples=30, deadline=None)
@given(histories)
def test_bands_of_days_widen_with_their_distance(history: SpendHistory) -> None:
    """Relative to what is expected: the width of p10 to p90 in log units never shrinks."""
    told = forecast_period(history, start=TODAY + timedelta(days=1), end=END)
    widths = [np.log(d.usd.p90 / d.usd.p10) for d in told.days if d.usd.p10 > 1e-9]
    assert all(later >= sooner - 1e-6 for sooner, later in itertools.pairwise(widths))


def test_weekends_are_expected_as_weekends() -> None:
    told = {day.day: day.usd.p50 for day in forecast(office(8)).days}
    assert told[date(2026, 11, 20)] == pytest.approx(100, rel=0.03)
    assert told[date(2026, 11, 21)] == pytest.approx(10, rel=0.1)


def test_a_steady_month_ends_where_its_days_add_up_with_a_narrow_band() -> None:
    total = forecast(office(8)).total_usd
    exact = sum(100 * (0.1 if (START + timedelta(days=n)).weekday() >= 5 else 1) for n in range(30))
    assert total.p50 == pytest.approx(exact, rel=0.02)
    assert total.p10 < exact < total.p90
    assert total.p90 - total.p10 < 0.5 * exact


def test_one_spike_or_outage_hardly_moves_the_level() -> None:
    usual = forecast(office(8)).total_usd.p50
    for factor in (20.0, 0.0):
        odd = office(8)
        odd[-18] *= factor
        assert forecast(odd).total_usd.p50 == pytest.approx(usual, rel=0.05)


def test_a_shift_that_stays_is_followed() -> None:
    shifted = office(8)
    shifted[-10:] *= 2
    ahead = {day.day: day.usd.p50 for day in forecast(shifted).days}
    assert ahead[date(2026, 11, 18)] > 150


def test_growth_goes_on_but_not_for_ever() -> None:
    days = 100 * np.exp(0.01 * np.arange(70))
    told = forecast_period(SpendHistory(days, TODAY), start=TODAY, end=TODAY + timedelta(days=60))
    first, last = told.days[0].usd.p50, told.days[-1].usd.p50
    assert first == pytest.approx(days[-1] * np.exp(0.01), rel=0.06)
    assert first < last < first * np.exp(0.01 * 59)


@pytest.mark.parametrize("length", [0, 1, 3])
def test_a_short_history_gives_a_wide_answer(length: int) -> None:
    told = forecast(np.full(length, 50.0), today_usd=20.0, today_gone=0.5)
    rest = told.total_usd.p50 - told.spent_usd
    assert rest == pytest.approx(50 * 19.5 if length else 40 * 19.5, rel=0.05)
    assert (told.total_usd.p90 - told.total_usd.p10) > 0.5 * rest


def test_a_series_that_never_spent_is_expected_to_go_on_so() -> None:
    told = forecast(np.zeros(90))
    assert (told.total_usd.p10, told.total_usd.p90) == (0, 0)


def test_a_sparse_series_is_expected_by_its_mean() -> None:
    days = np.zeros(84)
    days[::6] = 60.0
    total = forecast(days).total_usd
    spent = days[-10:].sum()
    assert total.p50 - spent == pytest.approx(20 * 10, rel=0.4)
    assert total.p90 - total.p10 > 60


def test_the_running_day_counts_by_what_is_usually_gone() -> None:
    morning = forecast(office(8), today_usd=40.0, today_gone=0.4)
    evening = forecast(office(8), today_usd=90.0, today_gone=0.95)
    day = next(day for day in morning.days if day.day == TODAY)
    assert day.usd.p50 == pytest.approx(100, rel=0.02)
    day = next(day for day in evening.days if day.day == TODAY)
    assert day.usd.p50 == pytest.approx(95, rel=0.02)


def test_holidays_cost_like_sundays_until_their_own_are_known() -> None:
    holiday = date(2026, 11, 25)
    told = {d.day: d.usd.p50 for d in forecast(office(8), KnownDays(frozenset({holiday}))).days}
    assert told[holiday] == pytest.approx(10, rel=0.15)
    # Two past holidays at half: the next one is expected near that.
    days, past = office(8), [date(2026, 10, 14), date(2026, 10, 28)]
    for day in past:
        days[-(TODAY - day).days] = 50.0
    known = KnownDays(frozenset({holiday, *past}))
    told = {d.day: d.usd.p50 for d in forecast(days, known).days}
    assert 30 < told[holiday] < 50
    assert told[date(2026, 11, 26)] == pytest.approx(100, rel=0.03)


def test_a_price_that_doubles_doubles_what_comes_after_it() -> None:
    change = date(2026, 11, 20)
    raised = {change + timedelta(days=n): 2.0 for n in range(11)}
    told = {d.day: d.usd.p50 for d in forecast(office(8), KnownDays(multipliers=raised)).days}
    assert told[date(2026, 11, 19)] == pytest.approx(100, rel=0.03)
    assert told[change] == pytest.approx(200, rel=0.03)


def test_a_known_change_behind_us_is_no_trend() -> None:
    days = office(8)
    days[-14:] *= 2
    since = {TODAY + timedelta(days=n): 2.0 for n in range(-14, 30)}
    told = forecast(days, KnownDays(multipliers=since))
    plain = forecast(office(8))
    ahead = [sum(d.usd.p50 for d in one.days if not d.is_past) for one in (told, plain)]
    assert ahead[0] == pytest.approx(2 * ahead[1], rel=1e-6)


def test_an_announced_batch_is_added_and_its_past_day_is_no_guide() -> None:
    batch = date(2026, 11, 24)
    plain = forecast(office(8)).total_usd
    added = forecast(office(8), KnownDays(additions_usd={batch: 500.0})).total_usd
    assert added.p10 - plain.p10 == pytest.approx(500)
    assert added.p90 - plain.p90 == pytest.approx(500)
    days = office(8)
    days[-3] += 5000.0
    spiked = KnownDays(set_aside=frozenset({TODAY - timedelta(days=3)}))
    rest = forecast(days, spiked)
    assert [d.usd.p50 for d in rest.days if not d.is_past] == pytest.approx(
        [d.usd.p50 for d in forecast(office(8)).days if not d.is_past], rel=0.05
    )


def test_a_period_ahead_and_a_period_behind() -> None:
    ahead = forecast_period(
        SpendHistory(office(8), TODAY), start=date(2026, 12, 1), end=date(2027, 1, 1)
    )
    assert ahead.spent_usd == 0
    assert ahead.total_usd.p50 == pytest.approx(sum(d.usd.p50 for d in ahead.days), rel=0.05)
    behind = forecast_period(
        SpendHistory(office(8), TODAY), start=date(2026, 10, 1), end=date(2026, 11, 1)
    )
    assert behind.total_usd.p10 == behind.total_usd.p90 == behind.spent_usd > 0


@pytest.mark.parametrize("end", [START, TODAY + timedelta(days=401)])
def test_a_period_that_cannot_be_is_refused(end: date) -> None:
    with pytest.raises(ValueError, match="a period ends"):
        forecast_period(SpendHistory(office(1), TODAY), start=START, end=end)


def test_the_share_gone_is_that_of_like_days() -> None:
    assert usual_share_gone([], [], 0.25) == 0.25
    assert usual_share_gone([90, 90, 90, 90], [100, 100, 100, 100], 0.4) == pytest.approx(0.8)
    assert usual_share_gone([100] * 4, [100] * 4, 1.0) == 1.0


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=40), st.floats(0, 1))
def test_sample_quantiles_are_numpys(values: list[float], share: float) -> None:
    found = sample_quantiles(np.array(values), (share, 0.5))
    assert found == pytest.approx(np.quantile(values, (share, 0.5)), abs=1e-12)
