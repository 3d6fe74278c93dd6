"""Repricing: exact corrections in the open; the dry run says exactly what the run does."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from apps.pricing.services import change_rate
from apps.tenants.scoping import tenant_scope
from apps.usage.core.repricing import Run, correct, find_blocking, list_statuses
from apps.usage.repricing import (
    RepricingRefusedError,
    RepricingScope,
    list_repricings,
    preview_repricing,
    start_repricing,
)
from tests.conftest import Key, MakeTenant, make_key, native_event
from tests.usage.repricing_steps import (
    BEGIN,
    END,
    EVERYTHING,
    LONG,
    NOW,
    PostEvents,
    draft,
    home_grown,
    is_clean,
    months,
    own_rate,
    post_unpriced,
    reprice,
    total,
    work,
)


@pytest.fixture
def unpriced(key: Key, post_events: PostEvents) -> Key:
    post_unpriced(post_events)
    return key


def test_unpriced_charges_are_priced_once_a_rate_appears(unpriced: Key) -> None:
    before = total(unpriced)
    own_rate(unpriced, "2")
    run = reprice(unpriced)
    after = total(unpriced)
    assert (before.cost_usd, before.unpriced_requests) == (0, 6)
    assert (after.cost_usd, after.unpriced_requests) == (6 * Decimal("0.002"), 0)
    assert (after.requests, after.tokens) == (before.requests, before.tokens)
    assert (run.changed_charges, run.unpriced_change, run.status) == (6, -6, "done")
    assert is_clean(unpriced)


def test_corrected_rate_moves_the_effective_cost_each_time(unpriced: Key) -> None:
    rate_id = own_rate(unpriced, "2")
    reprice(unpriced)
    with tenant_scope(unpriced.identity.tenant_id):
        change_rate(
            rate_id=rate_id,
            price_usd_per_mtok=Decimal("0.5"),
            effective_from=NOW - timedelta(days=20),
            actor="test",
            now=NOW,
        )
    run = reprice(unpriced)
    assert run.changed_charges == 2
    assert run.cost_change_usd == 2 * (Decimal("0.0005") - Decimal("0.002"))
    assert total(unpriced).cost_usd == 2 * Decimal("0.0005") + 4 * Decimal("0.002")
    assert is_clean(unpriced)


def test_repricing_by_unchanged_rates_changes_nothing(key: Key, post_events: PostEvents) -> None:
    post_events(
        [
            native_event(),
            native_event(provider="litellm", model="openai/gpt-4o"),
            native_event(provider="google", model="gemini-2.5-pro", usage=LONG),
            native_event(model="my-deployment", requested_model="gpt-4o", backend="azure/prod-7"),
            native_event(provider="anthropic", model="claude-sonnet-4-20250514"),
            native_event(model="gpt-5", price_context={"service_tier": "flex"}),
            native_event(model="gpt-5", usage=LONG | {"meters": {"web_searches": 2}}),
            home_grown(),
            home_grown(status="429", usage={"input_tokens": 0, "output_tokens": 0}),
        ]
    )
    dry = draft(key).preview
    assert dry is not None
    assert (dry["charges"], dry["changed"], dry["unpriced_before"]) == (9, 0, 1)
    assert Decimal(dry["before_usd"]) == total(key).cost_usd


def test_dry_run_is_exactly_what_the_run_does(unpriced: Key) -> None:
    own_rate(unpriced, "2")
    reprice(unpriced, RepricingScope(BEGIN, NOW - timedelta(days=40)))
    own_rate(unpriced, "7", "cache_read_tokens")
    drafted = draft(unpriced)
    dry = drafted.preview
    assert dry is not None
    monthly_before = months(unpriced)
    run = work(
        unpriced,
        start_repricing(unpriced.identity.tenant_id, drafted.id, actor="ann", now=NOW),
        limit=2,
    )
    assert Decimal(dry["difference_usd"]) == run.cost_change_usd == Decimal("0.026")
    assert Decimal(dry["after_usd"]) == total(unpriced).cost_usd
    assert (dry["charges"], dry["changed"]) == (run.examined_charges, run.changed_charges)
    assert dry["unpriced_after"] - dry["unpriced_before"] == run.unpriced_change == -4
    assert {m["month"]: Decimal(m["before_usd"]) for m in dry["months"]} == monthly_before
    assert {m["month"]: Decimal(m["after_usd"]) for m in dry["months"]} == months(unpriced)
    by_customer = {c["name"]: Decimal(c["difference_usd"]) for c in dry["customers"]}
    assert by_customer == {"acme": Decimal("0.013"), "umbra": Decimal("0.013")}
    assert [(d["name"], d["changed"]) for d in dry["departments"]] == [("support", 6)]


def test_months_of_a_dry_run_are_the_tenants_own(make_tenant: MakeTenant, client: Client) -> None:
    key = make_key(make_tenant(time_zone="Asia/Kathmandu").id)
    # 18:15 UTC is midnight there.
    for moment in ("2026-09-30T18:14:59+00:00", "2026-09-30T18:15:00+00:00"):
        response = client.post(
            "/api/v1/usage/events",
            [home_grown(timestamp=moment)],
            content_type="application/json",
            headers=key.headers,
        )
        assert response.status_code == 200
    preview = draft(key).preview
    assert preview is not None
    assert [(m["month"], m["charges"]) for m in preview["months"]] == [
        ("2026-09", 1),
        ("2026-10", 1),
    ]


@pytest.mark.parametrize(
    ("narrowing", "changed"),
    [
        ({"customer": "acme"}, 3),
        ({"provider": "nobody"}, 6),
        ({"provider": "openai"}, 0),
        ({"model": "home-grown"}, 6),
        ({"model": "gpt-4o"}, 0),
        ({"backend": "nobody/home-grown"}, 6),
        ({"starts_at": NOW - timedelta(days=20)}, 2),
        ({"only_unpriced": True}, 6),
    ],
)
def test_scope_narrows(unpriced: Key, narrowing: dict[str, Any], changed: int) -> None:
    own_rate(unpriced, "2")
    scope = RepricingScope(**({"starts_at": BEGIN, "ends_at": END} | narrowing))
    assert reprice(unpriced, scope).changed_charges == changed


def test_only_unpriced_leaves_priced_charges_alone(unpriced: Key) -> None:
    own_rate(unpriced, "2")
    reprice(unpriced, RepricingScope(BEGIN, END, customer="acme"))
    own_rate(unpriced, "7", "cache_read_tokens")
    run = reprice(unpriced, RepricingScope(BEGIN, END, only_unpriced=True))
    assert (run.examined_charges, run.changed_charges) == (3, 3)


@pytest.mark.parametrize(
    ("scope", "reason", "field"),
    [
        (RepricingScope(END, BEGIN), "r", "ends_at"),
        (RepricingScope(BEGIN.replace(tzinfo=None), END), "r", "starts_at"),
        (EVERYTHING, "  ", "reason"),
        (RepricingScope(BEGIN, END, backend="no/such"), "r", "backend"),
        (RepricingScope(BEGIN, END, customer="none such"), "r", "customer"),
    ],
)
def test_bad_request_is_refused_naming_the_field(
    key: Key, scope: RepricingScope, reason: str, field: str
) -> None:
    with pytest.raises(RepricingRefusedError) as refused:
        preview_repricing(key.identity.tenant_id, scope, reason=reason, actor="ann", now=NOW)
    assert refused.value.field == field


AMOUNTS = st.integers(min_value=0, max_value=10**30)


@given(before=AMOUNTS, unpriced=st.integers(0, 1), new=st.integers(-1, 10**30))
def test_correction_leads_exactly_to_the_new_cost(before: int, unpriced: int, new: int) -> None:
    before = 0 if unpriced else before
    cost_units, unpriced_change = correct(before, unpriced, new) or (0, 0)
    assert before + cost_units == max(new, 0)
    assert unpriced + unpriced_change == (new == -1)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=30))
def test_undoing_what_may_be_undone_restores_the_sums_before_it(
    choices: list[tuple[bool, int]],
) -> None:
    """Each run moves the sum by a number of its own; an undo by the opposite of its run's."""
    runs: list[Run] = []
    moves: dict[int, int] = {}
    after: dict[int, int] = {0: 0}
    for is_undo, which in choices:
        run_id = len(runs) + 1
        target = runs[which % len(runs)].id if is_undo and runs else None
        if target is not None and find_blocking(runs, target) is not None:
            continue
        moves[run_id] = 2**run_id if target is None else -moves[target]
        runs.append(Run(run_id, target))
        after[run_id] = after[run_id - 1] + moves[run_id]
        if target is not None:
            assert after[run_id] == after[target - 1]
    in_force = [r.id for r in runs if r.undo_of is None and list_statuses(runs)[r.id] == "done"]
    assert sum(2**run_id for run_id in in_force) == after[len(runs)]


def test_command_previews_runs_and_undoes(
    unpriced: Key, capsys: pytest.CaptureFixture[str]
) -> None:
    own_rate(unpriced, "2")
    tenant = f"--tenant={unpriced.identity.tenant_id}"
    days = (f"--from={BEGIN.date()}", f"--to={END.date()}")
    call_command("reprice", tenant, *days, "--reason=new rate", "--dry-run")
    assert "6 of 6 charges change, 0 -> 0.012 USD" in capsys.readouterr().out
    assert total(unpriced).unpriced_requests == 6
    call_command("reprice", tenant, *days, "--reason=new rate")
    assert "done: 6 charges changed, 0.012 USD" in capsys.readouterr().out
    with tenant_scope(unpriced.identity.tenant_id):
        newest = list_repricings()[0]
    call_command("reprice", tenant, f"--undo={newest.id}")
    assert "done: 6 charges changed, -0.012 USD" in capsys.readouterr().out
    call_command("reconcile", tenant)
    assert "zero drift" in capsys.readouterr().out
    with pytest.raises(CommandError, match="say why"):
        call_command("reprice", tenant, *days)
    with pytest.raises(CommandError, match="--to is a date"):
        call_command("reprice", tenant, days[0], "--to=soon")
