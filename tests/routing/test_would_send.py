"""Where the policy would send what ran, by its weights."""

from dataclasses import replace

import pytest

from apps.dashboards.routing.would_send_words import would_lines, would_title
from apps.routing.core.would_send import Ran, shares_of, would_send
from tests.routing.policies import make_policy


def test_weights_part_what_ran_and_price_what_moves() -> None:
    policy = make_policy()
    tier, task = policy.tiers[0], policy.tasks[0]
    names = [backend.name for backend in policy.backends]
    cells = len(policy.tiers) * len(policy.tasks)
    policy = replace(policy, weights={"sales": ",".join(["031", *[""] * (cells - 1)])})
    assert shares_of(policy, "sales", tier, task) == {names[0]: 0.3, names[1]: 0.7}
    assert shares_of(policy, "nobody", tier, task) == {}
    assert shares_of(policy, "sales", tier, "unknown") == {}
    rows = [
        Ran(names[1], "sales", tier, task, 100, 5.0, 1_000_000, 10_000),
        Ran("lab/other", "nobody", tier, task, 20, 1.0, 1, 1),
    ]
    found = would_send(policy, rows)
    assert (found.requests, found.moved, found.ran_usd) == (120, pytest.approx(30), 6.0)
    flows = {flow.backend: flow for flow in found.flows}
    first = policy.backends[0]
    usd = 0.3 * (1_000_000 * first.usd_in + 10_000 * first.usd_out * first.out_multiplier)
    assert flows[names[0]].would_usd == pytest.approx(usd)
    assert flows[names[1]].would_usd == pytest.approx(3.5)
    assert flows["lab/other"].would == 20
    assert "would send 25% of requests elsewhere" in would_title(found)
    assert [line.name for line in would_lines(found)][:2] == [names[1], names[0]]
