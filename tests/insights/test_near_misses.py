"""What stayed below the threshold is kept, so that people see what more sensitivity would find."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from apps.dashboards.insights.anomaly_words import sensitivity_rows
from apps.insights.core.flags import Flag, SeriesKey
from apps.insights.detector_memory import Memory
from apps.insights.finding_models import AnomalySettings
from apps.insights.finding_selectors import PastFinding, read_past_findings
from apps.insights.findings import Looking, observe
from apps.insights.known_hours import hour_of
from apps.insights.near_misses import KEPT, forget_near_misses, note_near_misses
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import get_tenant
from tests.conftest import Key
from tests.insights.spend_history import HOUR, runaway_hour, spend, this_hour, usual_hours

ALL: SeriesKey = ("all", "")
ACME: SeriesKey = ("customer", "acme")
CORE: SeriesKey = ("customer", "core")


@pytest.fixture
def bad(key: Key) -> datetime:
    """The first hour of a runaway of acme's, after some usual days."""
    first = this_hour() - 10 * HOUR
    spend(key.identity, usual_hours(first - 8 * 24 * HOUR, 8 * 24 + 10))
    spend(key.identity, [event for n in range(3) for event in runaway_hour(first + n * HOUR)])
    return first


def flag(series: SeriesKey, hour: int, score: float, usd: float = 30.0) -> Flag:
    return Flag(series, "spike", score, hour, hour, hour, usd, 1.0)


def look(hour: int) -> Looking:
    now = this_hour()
    return Looking(Memory(hour + 1, {}, []), get_tenant(), AnomalySettings(), hour, now)


def test_an_event_is_kept_once_with_all_its_series_and_hours(key: Key, bad: datetime) -> None:
    first = hour_of(bad)
    with tenant_scope(key.identity.tenant_id):
        note_near_misses(look(first), [flag(ALL, first, 0.6), flag(ACME, first, 0.8)], {})
        # People made acme's threshold twice as high: half as near.
        note_near_misses(look(first + 1), [flag(ACME, first + 1, 1.9)], {ACME: 2.0})
        # Too little money for a finding at any sensitivity.
        note_near_misses(look(first + 1), [flag(CORE, first + 1, 0.9, usd=1.2)], {})
        (kept,) = read_past_findings(since=bad)
    assert kept == PastFinding(0.95, kept.at_stake_usd, "", was_told=False, was_found=False)
    assert kept.at_stake_usd == Decimal(29 * 24)


def test_it_is_forgotten_when_it_is_found_and_when_it_is_old(key: Key, bad: datetime) -> None:
    first = hour_of(bad)
    with tenant_scope(key.identity.tenant_id):
        note_near_misses(look(first), [flag(ACME, first, 0.8)], {})
        observe(look(first + 1), [flag(ACME, first + 1, 1.2)])
        forget_near_misses(look(first + 1))
        (found,) = read_past_findings(since=bad)
        assert found.was_found
        # What nearly stands out beside a finding is part of it.
        note_near_misses(look(first + 2), [flag(ALL, first + 2, 0.7)], {})
        assert len(read_past_findings(since=bad)) == 1

        note_near_misses(look(first + 9), [flag(CORE, first + 9, 0.7)], {})
        assert len(read_past_findings(since=bad)) == 2
        forget_near_misses(look(first + 11 + KEPT // timedelta(hours=1)))
        assert len(read_past_findings(since=bad)) == 1


def test_the_rows_of_other_sensitivities() -> None:
    ten = Decimal(10)
    told = PastFinding(1.6, ten, "acknowledged", was_told=True)
    faint = PastFinding(1.05, ten, "expected", was_told=True)
    near = PastFinding(0.7, ten, "", was_told=False, was_found=False)
    rows = {row.sensitivity: row for row in sensitivity_rows([told, faint, near], 1.0)}
    assert list(rows) == ["2", "1.5", "1.25", "1", "0.8", "0.67", "0.5", "0.33"]
    assert [row.found for row in rows.values()] == [3, 3, 2, 2, 1, 1, 0, 0]
    assert (rows["2"].told, rows["2"].unanswered, rows["2"].usd) == (2, 1, 3 * ten)
    assert rows["1"].is_now
