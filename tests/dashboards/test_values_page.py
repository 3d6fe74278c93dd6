"""The value model as a form: what it shows, what it saves, what it refuses at which cell."""

from collections.abc import Callable
from datetime import UTC, datetime

from django.test import Client

from apps.dashboards.routing.values_form import read_content
from apps.routing.core.value_model import default_value_model
from apps.routing.selectors import read_value_model
from apps.routing.services import set_value_model
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.conftest import native_event

MINI = "openai/gpt-4o-mini"


def test_what_is_typed_replaces_and_what_is_emptied_goes_back() -> None:
    model = default_value_model()
    posted = {
        "floors:free:chat": "0,75",
        f"quality:{MINI}:chat": "0.93",
        "quality:local/llama3:8b:chat": "0.8",
        "local_requests_per_hour:local/llama3:8b": "900",
        "refusal_multiplier": "0.5",
        "reason": "7",
        "quality": "1",
    }
    content = read_content(model, posted)
    assert content["floors"]["free"]["chat"] == 0.75
    assert content["quality"] == {MINI: {"chat": 0.93}, "local/llama3:8b": {"chat": 0.8}}
    assert content["local_requests_per_hour"] == {"local/llama3:8b": 900.0}
    assert content["refusal_multiplier"] == 0.5
    emptied = read_content(model, {"floors:free:chat": "", f"quality:{MINI}:chat": ""})
    assert "chat" not in emptied["floors"]["free"]
    assert emptied["quality"] == {}


def test_values_are_read_by_all_and_saved_by_admins_with_a_reason(
    tenant: TenantInfo, post_events: Callable[..., object], sign_in: Callable[..., Client]
) -> None:
    post_events([native_event(task="chat")])
    admin, viewer = sign_in("admin"), sign_in("viewer")
    page = viewer.get("/routing/values").content.decode()
    assert "Nobody has said yet" in page
    assert MINI in page
    assert "<input name=" not in page
    form = {"version": "0", "reason": "we measured it", f"quality:{MINI}:chat": "0.93"}
    assert viewer.post("/routing/values/save", form).status_code == 403
    for wrong, told in (
        ({"reason": ""}, 'id="v-reason-error">Say why'),
        ({"starts_on": "2020-01-01"}, 'id="v-from-error"'),
        ({"floors:free:chat": "1.5"}, 'value="1.5" placeholder="0.7" aria-invalid="true"'),
        ({"floors:free:chat": "much"}, "“much” is not a number."),
    ):
        refused = admin.post("/routing/values/save", form | wrong)
        assert refused.status_code == 422
        page = refused.content.decode()
        assert told in page
        # Nothing typed is lost.
        assert 'value="0.93"' in page
    page = admin.post("/routing/values/save", form).content.decode()
    assert "Version 1 is kept" in page
    assert f"quality {MINI} chat: — → 0.93" in page
    with tenant_scope(tenant.id):
        now = datetime.now(UTC)
        assert read_value_model(now).quality[MINI] == {"chat": 0.93}
        set_value_model({}, actor="test", reason="back", now=now)
    late = admin.post("/routing/values/save", form | {"version": "1"})
    assert late.status_code == 422
    assert "was saved meanwhile" in late.content.decode()
