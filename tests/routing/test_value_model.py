"""The value model: dated versions, defaults by family, and what is refused."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import transaction
from django.db.utils import ProgrammingError

from apps.pricing.services import add_rate
from apps.routing.core.building import NO_LIMIT_USD, BackendPrice, Money, build_catalog
from apps.routing.core.families import family_of
from apps.routing.core.overrides import hand_of
from apps.routing.core.value_model import default_value_model
from apps.routing.errors import InvalidRoutingInput
from apps.routing.models import ValueModelVersion
from apps.routing.selectors import (
    list_overrides,
    list_value_models,
    read_modes,
    read_value_model,
)
from apps.routing.services import add_override, end_override, set_mode, set_value_model
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, list_audit_of
from apps.tenants.services import create_department

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_a_version_holds_from_its_moment_and_says_what_it_changed(tenant: TenantInfo) -> None:
    with tenant_scope(tenant.id):
        assert read_value_model(NOW) == default_value_model()
        set_value_model({"refusal_multiplier": 0.5}, actor="ada", reason="dearer", now=NOW)
        later = {"quality": {"openai/gpt-5-mini": {"chat": 0.93}}, "tasks": ["chat", "poems"]}
        set_value_model(later, actor="ada", reason="tried", now=NOW, effective_from=NOW + HOUR)
        assert read_value_model(NOW).refusal_multiplier == 0.5
        model = read_value_model(NOW + HOUR)
        newest, first = list_value_models()
        audit = list_audit_of("value_model:2", limit=1)
    assert model.version == 2
    assert model.quality_of("openai/gpt-5-mini", "chat", is_local=False) == 0.93
    assert model.task_of("code") == "other"
    assert model.task_of("poems") == "poems"
    assert first.changed == [("refusal_multiplier", 0.3, 0.5)]
    assert newest.reason == "tried"
    assert audit[0].after is not None
    assert audit[0].after["refusal_multiplier"] == 0.3


def test_history_cannot_be_rewritten(tenant: TenantInfo) -> None:
    with tenant_scope(tenant.id):
        set_value_model({}, actor="ada", reason="as it is", now=NOW)
        with pytest.raises(InvalidRoutingInput, match="past"):
            set_value_model({}, actor="ada", reason="earlier", now=NOW, effective_from=NOW - HOUR)
        with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
            ValueModelVersion.objects.update(reason="never mind")


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"floors": {"gold": {}}}, "floors.gold"),
        ({"floors": {"free": {"chat": 1.2}}}, "floors.free.chat"),
        ({"quality": {"a/b": {"chat": "good"}}}, "quality.a/b.chat"),
        ({"value_usd": {"free": {"poems": 1}}}, "value_usd.free.poems"),
        ({"fail_multiplier": {"free": float("nan")}}, "fail_multiplier.free"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_what_cannot_be_is_named(
    tenant: TenantInfo, content: dict[str, object], field: str
) -> None:
    with tenant_scope(tenant.id), pytest.raises(InvalidRoutingInput) as error:
        set_value_model(content, actor="ada", reason="try", now=NOW)
    assert error.value.field == field


def test_revenue_and_conversion_lift_a_request() -> None:
    model = default_value_model()
    plain = model.request_value_usd("premium", "chat")
    assert model.request_value_usd("premium", "chat", revenue_usd=0.2) == pytest.approx(plain + 0.1)
    assert plain > model.request_value_usd("standard", "chat")


@pytest.mark.parametrize(
    ("name", "is_local", "family"),
    [
        ("openai/gpt-5.2", False, "frontier"),
        ("openai/gpt-5-mini", False, "mid"),
        ("openai/gpt-4o-mini", False, "mid"),
        ("openai/gpt-4-turbo", False, "large"),
        ("anthropic/claude-3-opus", False, "large"),
        ("anthropic/claude-sonnet-4-6", False, "frontier"),
        ("google/gemini-3.5-flash", False, "mid"),
        ("google/gemini-2.5-flash-lite", False, "small"),
        ("local/llama-3-70b", True, "local, 60 billion weights or more"),
        ("local/qwen3-32b", True, "local"),
        ("acme/unheard-of", False, "mid"),
    ],
)
def test_families_go_by_the_name(name: str, is_local: bool, family: str) -> None:
    assert family_of(name, is_local=is_local).name == family


def test_a_catalogue_has_local_first_and_premium_floors_bar_it() -> None:
    prices = [
        BackendPrice("openai/gpt-5.2", 2e-6, 1e-5, is_local=False),
        BackendPrice("local/qwen3-32b", 6e-8, 6e-8, is_local=True),
        BackendPrice("local/llama-3-70b", 1e-7, 1e-7, is_local=True),
    ]
    money = Money(100.0, NO_LIMIT_USD, {"support": 40.0})
    catalog = build_catalog(default_value_model(), prices, money, [[5.0]] * 24)
    assert [b.name for b in catalog.backends][-1] == "openai/gpt-5.2"
    assert catalog.local_names == ("local/llama-3-70b", "local/qwen3-32b")
    assert catalog.is_eligible("standard", "rag", 0)
    assert not catalog.is_eligible("enterprise", "code", 0)
    assert catalog.top_tier == "enterprise"


def test_modes_and_overrides_hold_while_they_are_dated(tenant: TenantInfo) -> None:
    with tenant_scope(tenant.id):
        create_department(code="support", name="Support", now=NOW)
        assert read_modes(NOW).of("support") == "observe"
        set_mode("enforce", actor="ada", reason="go", now=NOW)
        set_mode("advise", department="Support", actor="ada", reason="not yet", now=NOW)
        modes = read_modes(NOW)
        assert (modes.of("support"), modes.of(None), modes.of("sales")) == (
            "advise",
            "enforce",
            "enforce",
        )
        add_rate(
            provider="local",
            model="llama-3-70b",
            kind="local",
            meter="input_tokens",
            price_usd_per_mtok=Decimal("0.1"),
            effective_from=None,
            actor="ada",
            now=NOW,
        )
        add_override("ban", "local/llama-3-70b", task="code", actor="ada", reason="weak", now=NOW)
        boost = add_override(
            "boost",
            "local/llama-3-70b",
            boost_share=Decimal("0.1"),
            ends_at=NOW + HOUR,
            actor="ada",
            reason="try it",
            now=NOW,
        )
        overrides = list_overrides(NOW)
        assert set(hand_of(overrides, "support", "free", "code", NOW).banned) == {
            "local/llama-3-70b"
        }
        hand = hand_of(overrides, "support", "free", "chat", NOW)
        assert not hand.banned
        assert hand.boosted["local/llama-3-70b"].boost_share == 0.1
        assert not hand_of(overrides, "support", "free", "chat", NOW + HOUR).boosted
        end_override(boost, actor="ada", now=NOW)
        assert [o.action for o in list_overrides(NOW)] == ["ban"]
        with pytest.raises(InvalidRoutingInput, match="no backend"):
            add_override("pin", "acme/none", actor="ada", reason="x", now=NOW)
