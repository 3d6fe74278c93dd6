"""Retry storms: found, replayed, measured; and what looks like one and is none."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from apps.dashboards.routing.savings_words import opportunity_line
from apps.routing.core.retries import Attempt, find_storms, saved_by
from apps.routing.opportunities import list_opportunities, recompute
from apps.routing.opportunity_actions import measure_accepted
from apps.tenants.scoping import tenant_scope
from tests.conftest import MakeTenant, make_key
from tests.insights.spend_history import MINI, request_at, spend

MONTH_S = 30 * 86_400.0
OPUS_KEY = "anthropic/claude-3-opus-latest"


def attempts(pattern: str, *, every_s: float = 20.0, at_s: float = 1e6, seen: int = 0) -> list[Any]:
    """F failed, S answered; a dollar each."""
    return [
        Attempt(7, seen or len(pattern), at_s + n * every_s, 1.0, kind == "S", "b", "t", "ann")
        for n, kind in enumerate(pattern)
    ]


@pytest.mark.parametrize(
    ("pattern", "wasted"),
    [("FFFS", 2), ("SSSS", 3), ("FFF", 2), ("FSSF", 2), ("FS", 0), ("SS", 0), ("S", 0)],
)
def test_the_first_attempt_and_the_first_answer_were_needed(pattern: str, wasted: int) -> None:
    storms = find_storms(attempts(pattern), gap_s=300, window_s=MONTH_S)
    assert sum(storm.usd for storm in storms) == wasted


def test_what_comes_together_by_chance_or_habit_is_no_storm() -> None:
    def found(rows: list[Attempt]) -> int:
        return len(find_storms(rows, gap_s=300, window_s=MONTH_S))

    assert found(attempts("SSS", every_s=400)) == 0
    assert found(attempts("SSS", seen=5_000)) == 0
    nightly = [row for n in range(5) for row in attempts("SSSSS", at_s=n * 86_400.0)]
    assert found(nightly) == 0
    assert found([row for row in nightly if row.at_s < 2 * 86_400]) == 2
    # A prompt that fails every night is no habit.
    failing = [row for n in range(5) for row in attempts("FFFFF", at_s=n * 86_400.0)]
    assert found(failing) == 5


def test_a_part_of_the_ledger_stands_for_all_of_it_with_a_wider_interval() -> None:
    storms = find_storms(attempts("FFFF"), gap_s=300, window_s=MONTH_S)
    whole, part = saved_by(storms, 1.0), saved_by(storms, 4.0)
    assert (whole.mean, part.mean) == (3.0, 12.0)
    assert part.high - part.low > 4 * (whole.high - whole.low)


def test_a_planted_storm_is_found_replayed_accepted_and_measured(
    make_tenant: MakeTenant, client: Client
) -> None:
    key = make_key(make_tenant().id, "ingest", "read", "manage")
    tenant_id, now = key.identity.tenant_id, datetime.now(UTC)
    first = now - timedelta(days=6)
    usual = [
        request_at(
            first + timedelta(minutes=20 * n),
            "usual",
            usage={"input_tokens": 9_000 + 37 * (n % 71), "output_tokens": 1_500},
        )
        for n in range(300)
    ]
    # A client that times out asks again at once: 4 prompts, each failed 11 times, then answered.
    storm = [
        event
        for n in range(4)
        for event in _storm(first + timedelta(days=2, minutes=40 * n), 20_001 + n)
    ]
    poll = [request_at(first + timedelta(minutes=2 * n), "poll", **MINI) for n in range(1_000)]
    spend(key.identity, usual + storm + poll)
    recompute(tenant_id, now=now)
    rows = client.get("/api/v1/routing/opportunities", headers=key.headers).json()["rows"]
    (found,) = [row for row in rows if row["kind"] == "retries"]
    # 10 of 12 attempts each, at 20,001 x 15 + 2,000 x 75 USD per million.
    assert float(found["saving_usd"]) == pytest.approx(40 * 0.45, rel=0.01)
    assert (
        float(found["saving_low_usd"])
        <= float(found["replayed_usd"])
        <= float(found["saving_high_usd"])
    )
    facts = found["facts"]
    assert (facts["backend"], facts["storms"], facts["longest"]) == (OPUS_KEY, 4, 12)
    assert (facts["mostly_by"], facts["failed_share"]) == ("ann@example.com", 1.0)
    with tenant_scope(tenant_id):
        (line,) = [opportunity_line(row) for row in list_opportunities() if row.kind == "retries"]
    assert line.title == f"Stop paying again for chat prompts on {OPUS_KEY}"
    assert "4 prompts were tried up to 12 times within minutes, mostly by ann@" in line.about
    path = f"/api/v1/routing/opportunities/{found['id']}"
    accepted = client.post(f"{path}/accept", headers=key.headers).json()
    assert accepted["applied"] == {"outside": True}
    # Half a storm since: what the promise would have been by now, less what is still wasted.
    later = datetime.now(UTC) + timedelta(seconds=1)
    spend(key.identity, _storm(later, 30_000)[6:])
    measure_accepted(tenant_id, now=later + timedelta(hours=3))
    measured = client.get(path, headers=key.headers).json()
    promised = 18.0 * 3 / 24 / 30
    assert float(measured["realised_usd"]) == pytest.approx(promised - 4 * 0.6, abs=0.02)


def _storm(at: datetime, input_tokens: int) -> list[dict[str, Any]]:
    return [
        request_at(
            at + timedelta(seconds=45 * k),
            f"storm-{input_tokens}",
            usage={"input_tokens": input_tokens, "output_tokens": 2_000},
            status="success" if k == 11 else "timeout",
            user="ann@example.com",
        )
        for k in range(12)
    ]
