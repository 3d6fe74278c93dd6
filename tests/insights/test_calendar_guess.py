"""Guessing whose holidays a series keeps."""

import numpy as np

from apps.insights.core.calendar_guess import CalendarGuess
from apps.insights.core.detector import Detector
from tests.insights.hours import START_HOUR, columns, office, spend_of, steady

OFFSETS = (1.0, -6.0)  # Berlin's and Chicago's
HOURS = 60 * 24
HOLIDAYS = (30, 44, 51)  # days, of the first calendar


def test_holidays_kept_are_quiet_and_holidays_worked_are_not() -> None:
    keeps, works, always = office(HOURS, 1), office(HOURS, 2), steady(HOURS, 3)
    saturday = keeps[5 * 24 : 6 * 24].copy()
    calendar = np.zeros((2, HOURS + 1), dtype=bool)
    for day in HOLIDAYS:
        # The local day begins at 23:00 UTC.
        calendar[:, day * 24 - 1 : day * 24 + 23] = True
        keeps[day * 24 : day * 24 + 24] = saturday
    requests = columns(keeps, works, always)
    guess, detector = CalendarGuess(OFFSETS, 3), Detector.of(3, hour=START_HOUR)
    quiet = []
    for n in range(HOURS):
        before = calendar[:, n - 1] if n else calendar[:, 0]
        guess.observe(detector.state, before & ~calendar[:, n])
        quiet.append(guess.quiet(np.array([calendar[0, n], False])))
        # Chicago's day is not when Berlin works: its holidays do not count.
        assert not guess.quiet(np.array([False, calendar[1, n]]))[:2].any()
        detector.advance(
            spend_of(requests[n]),
            requests[n],
            is_quiet=quiet[-1],
            is_quiet_next=guess.quiet(np.array([calendar[0, n + 1], False])),
        )
    noon = np.array([quiet[day * 24 + 12] for day in HOLIDAYS])
    assert noon[:, 0].all()
    assert noon[:, 1].tolist() == [True, True, False]  # worked through two: not its calendar


def test_whoever_does_not_rest_at_weekends_may_keep_any_calendar() -> None:
    rests, flat = office(HOURS, 1), steady(HOURS, 3)
    requests = columns(rests, flat)
    guess, detector = CalendarGuess((-11.0,), 2), Detector.of(2, hour=START_HOUR)
    none = np.array([False])
    for n in range(HOURS):
        guess.observe(detector.state, none)
        detector.advance(spend_of(requests[n]), requests[n])
    # No office of Berlin is eleven hours behind; machines may serve people who are.
    assert guess.quiet(np.array([True])).tolist() == [False, True]
