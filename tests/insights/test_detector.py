"""What the detector tells of each kind of event, and what it leaves alone."""

from typing import Any

import numpy as np
import pytest

from apps.insights.core.detector import KINDS, Detector, HourScores
from tests.insights.hours import (
    START_HOUR,
    columns,
    flagged,
    local,
    nightly,
    noise,
    office,
    run,
    sparse,
    spend_of,
    steady,
)

DAYS = 91
HOURS = DAYS * 24
EVENT = 50 * 24 + 9  # a Tuesday, 10 o'clock in Berlin


class Story:
    """Many series in one run, each with its own event; all counted."""

    def __init__(self) -> None:
        self.requests: dict[str, Any] = {}
        self.spend: dict[str, Any] = {}
        shapes = {"steady": steady, "office": office, "nightly": nightly, "sparse": sparse}
        for name, shape in shapes.items():
            self._add(name, shape(HOURS, seed=len(self.requests) + 10))
        self._add("zero", np.zeros(HOURS))
        spike, outage, shift, drift, dip = (office(HOURS, seed) for seed in range(30, 35))
        spike[EVENT : EVENT + 3] *= 4
        outage[EVENT : EVENT + 6] = 0
        shift[EVENT : EVENT + 14 * 24] *= 2.2
        drift[EVENT : EVENT + 14 * 24] *= 2.5 ** np.linspace(0, 1, 14 * 24)
        drift[EVENT + 14 * 24 :] *= 2.5
        dip[EVENT : EVENT + 14 * 24] *= 0.4
        self._add("spike", spike)
        self._add("outage", outage)
        self._add("shift", shift)
        self._add("drift", drift)
        self._add("dip", dip)
        again = steady(HOURS, 36)
        again[EVENT - 10 * 24 : EVENT - 10 * 24 + 3] *= 11
        again[EVENT : EVENT + 3] *= 8
        self._add("again", again)
        self._add("storm", office(HOURS, 40))
        self.spend["storm"][EVENT : EVENT + 12] *= 2
        runaway = sparse(HOURS, 41)
        runaway[EVENT : EVENT + 3] += 25
        self._add("runaway", runaway)
        self._add("young", office(HOURS, 42))
        self.spend["young"][: EVENT - 5 * 24] = self.requests["young"][: EVENT - 5 * 24] = np.nan
        self.requests["young"][EVENT : EVENT + 6] *= 20
        self.spend["young"][EVENT : EVENT + 6] *= 20
        gap = steady(HOURS, 43)
        gap[EVENT : EVENT + 40] = np.nan
        self._add("gap", gap)
        self._add("moonlit", moonlit())
        names = list(self.requests)
        scores = run(
            Detector.of(len(names), hour=START_HOUR),
            columns(*self.spend.values()),
            columns(*self.requests.values()),
        )
        self.scores: dict[str, list[int]] = {n: flagged(scores, k) for k, n in enumerate(names)}
        self.all: list[HourScores] = scores
        self.column = {name: k for k, name in enumerate(names)}

    def _add(self, name: str, requests: Any) -> None:
        self.requests[name] = requests.astype(float)
        jitter = noise(HOURS, 1000 + len(self.requests), 0.02)
        self.spend[name] = spend_of(self.requests[name]) * jitter

    def kinds(self, name: str) -> set[str]:
        return {KINDS[self.all[n].kind[self.column[name]]] for n in self.scores[name]}


def moonlit() -> Any:
    """A nightly job, two hours late on every sixth day; by day a loop half its size."""
    requests = nightly(HOURS, 44)
    for day in range(3, HOURS // 24, 6):
        night = slice(day * 24, day * 24 + 12)
        requests[night] = np.roll(requests[night], 2)
    requests[EVENT : EVENT + 2] += 2_500
    return requests


@pytest.fixture(scope="module")
def story() -> Story:
    return Story()


@pytest.mark.parametrize("name", ["steady", "office", "sparse", "zero", "gap", "young"])
def test_ordinary_series_are_left_alone(story: Story, name: str) -> None:
    assert story.scores[name] == []


def test_clocks_that_change_are_no_anomaly(story: Story) -> None:
    # 29 March, day 83: office and batch job move by an hour of UTC.
    assert story.scores["nightly"] == []
    assert local(84 * 24)[-1].utcoffset() != local(1)[0].utcoffset()


def test_a_spike_is_told_in_its_first_hour_and_not_after_it(story: Story) -> None:
    assert story.scores["spike"][0] == EVENT
    assert story.scores["spike"][-1] <= EVENT + 3
    assert story.kinds("spike") == {"spike"}
    scores = story.all[EVENT + 2]
    excess = scores.excess_usd[story.column["spike"]]
    assert excess == pytest.approx(3 * 3000 * 0.02, rel=0.2)


def test_a_larger_spike_of_last_week_does_not_hide_one(story: Story) -> None:
    first, second = EVENT - 10 * 24, EVENT
    assert first in story.scores["again"]
    assert second <= next(n for n in story.scores["again"] if n > first + 24) <= second + 2


def test_an_outage_is_told_within_four_hours(story: Story) -> None:
    assert EVENT <= story.scores["outage"][0] <= EVENT + 4
    assert story.kinds("outage") == {"outage"}


def test_a_new_level_is_told_learnt_and_may_return(story: Story) -> None:
    flags = story.scores["shift"]
    assert EVENT <= flags[0] <= EVENT + 10
    assert "shift" in story.kinds("shift")
    # After a week it is the level; going back to the one before is no news.
    assert not [n for n in flags if n > EVENT + 9 * 24]


def test_a_lower_level_is_told_too(story: Story) -> None:
    assert EVENT <= story.scores["dip"][0] <= EVENT + 24


def test_a_drift_is_told_while_it_lasts(story: Story) -> None:
    assert EVENT <= story.scores["drift"][0] < EVENT + 14 * 24
    assert story.kinds("drift") & {"drift", "shift"}


def test_dearer_requests_are_a_storm(story: Story) -> None:
    assert EVENT <= story.scores["storm"][0] <= EVENT + 1
    assert story.kinds("storm") == {"storm"}


def test_a_sparse_series_is_judged_by_its_own_records(story: Story) -> None:
    assert story.scores["runaway"][0] == EVENT
    assert "spike" in story.kinds("runaway")


def test_a_loop_at_idle_hours_hides_behind_no_job(story: Story) -> None:
    assert story.scores["moonlit"][0] == EVENT
    assert story.kinds("moonlit") == {"spike"}


def test_without_requests_spend_alone_tells_of_a_spike_and_a_storm(story: Story) -> None:
    spend = columns(story.spend["spike"], story.spend["storm"], story.spend["office"])
    scores = run(Detector.of(3, hour=START_HOUR), spend[: EVENT + 12])
    assert flagged(scores, 0)[0] == EVENT
    assert EVENT <= flagged(scores, 1)[0] <= EVENT + 11
    assert flagged(scores, 2) == []


def test_a_known_holiday_is_no_outage() -> None:
    requests = office(HOURS)[: EVENT + 24]
    day = slice(EVENT // 24 * 24, EVENT // 24 * 24 + 24)
    requests[day] = office(HOURS, 9)[5 * 24 : 6 * 24]  # like a Saturday
    rows = columns(requests)
    known = run(
        Detector.of(1, hour=START_HOUR),
        spend_of(rows),
        rows,
        is_quiet=lambda n: np.array([day.start <= n < day.stop]),
        is_quiet_next=lambda n: np.array([day.start <= n + 1 < day.stop]),
    )
    unknown = run(Detector.of(1, hour=START_HOUR), spend_of(rows), rows)
    assert flagged(known) == []
    assert flagged(unknown)


def test_an_announced_event_is_neither_scored_nor_learnt() -> None:
    plain = office(HOURS)[: EVENT + 10 * 24]
    launch = plain.copy()
    span = slice(EVENT, EVENT + 4 * 24)
    launch[span] *= 5
    rows = columns(plain, launch)
    detector = Detector.of(2, hour=START_HOUR)
    scores = run(
        detector,
        spend_of(rows),
        rows,
        is_announced=lambda n: np.array([False, span.start <= n < span.stop]),
    )
    assert flagged(scores, 1) == []
    # The days after are expected as if the launch had not been.
    expected = np.stack([s.expected_usd for s in scores[span.stop :]])
    assert expected[:, 1].sum() == pytest.approx(expected[:, 0].sum(), rel=0.1)


def test_a_known_price_change_is_expected_and_an_unknown_one_is_a_storm() -> None:
    requests = columns(office(HOURS), office(HOURS))[: EVENT + 48]
    spend = spend_of(requests)
    spend[EVENT:] *= 1.8
    detector = Detector.of(2, hour=START_HOUR)
    scores = run(detector, spend[:EVENT], requests[:EVENT])
    detector.reprice(np.array([1]), 1.8)
    scores += run(detector, spend[EVENT:], requests[EVENT:])
    assert EVENT <= flagged(scores, 0)[0] <= EVENT + 1
    assert flagged(scores, 1) == []


@pytest.mark.parametrize("factor", [0, -1, np.inf, np.nan])
def test_a_price_factor_that_is_none_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="above zero and finite"):
        Detector.of(1, hour=START_HOUR).reprice(np.array([0]), factor)


@pytest.mark.parametrize("bad", [-0.01, np.inf, -np.inf])
def test_numbers_that_cannot_be_are_refused_and_nothing_is_learnt(bad: float) -> None:
    detector = Detector.of(1, hour=START_HOUR)
    for spend, requests in ((bad, 1.0), (1.0, bad)):
        with pytest.raises(ValueError, match="negative or infinite"):
            detector.advance(np.array([spend]), np.array([requests]))
    assert detector.state.hour == START_HOUR


def test_a_higher_sensitivity_finds_what_a_lower_one_finds(story: Story) -> None:
    for column in story.column.values():
        usual, keen = flagged(story.all, column), flagged(story.all, column, 1.5)
        drifts = [n for n in usual if n not in keen]
        # A drift is told once, when it gets to the threshold: earlier if that is lower.
        assert all(story.all[n].drift[column] >= 1 for n in drifts)
