"""The repricing page: dry run to start to undo, refusals at their place, roles, closed books."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from kombu.exceptions import OperationalError

from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, get_tenant
from apps.usage.repricing import RepricingInfo, close_books, continue_repricing, list_repricings
from apps.usage.tasks import draft_repricing
from tests.conftest import Key, MakeTenant
from tests.dashboards.test_pricing_page import read, words
from tests.usage.repricing_steps import draft, home_grown, own_rate, post_unpriced, reprice

Post = Callable[..., dict[str, Any]]
SignIn = Callable[..., Client]
TODAY = datetime.now(UTC).date()
ASKED = {
    "starts_at": (TODAY - timedelta(days=200)).isoformat(),
    "ends_at": TODAY.isoformat(),
    "provider": "nobody",
    "model": "",
    "only_unpriced": "on",
    "reason": "rate agreed late",
}
HX = {"HX-Request": "true"}
Asked = list[tuple[Any, ...]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What the page handed to the workers."""
    found: Asked = []
    monkeypatch.setattr(draft_repricing, "delay", lambda *given: found.append(given))
    return found


@pytest.fixture
def priced_late(key: Key, post_events: Post) -> Key:
    """Six charges without a price, and a rate that came after them."""
    post_unpriced(post_events)
    own_rate(key, "2")
    return key


def runs(tenant: TenantInfo) -> list[RepricingInfo]:
    with tenant_scope(tenant.id):
        return list_repricings()


def poll(client: Client, page: str) -> str:
    found = re.search(r'hx-get="([^"]*)" hx-trigger="every 2s"', page)
    assert found is not None
    return client.get(found[1], headers=HX).content.decode()


def test_a_price_is_corrected_and_taken_back_through_the_page(
    tenant: TenantInfo, priced_late: Key, sign_in: SignIn, asked: Asked
) -> None:
    client = sign_in("admin")
    waiting = client.post("/repricing/dry-run", ASKED, headers=HX).content.decode()
    assert "The dry run is being made" in waiting
    assert "The dry run is being made" in poll(client, waiting)
    draft_repricing(*asked[0])
    draft_repricing(*asked[0])
    (run,) = runs(tenant)
    shown = poll(client, waiting)
    assert f"Dry run {run.id}: 6 charges would change, by +0.0120 USD" in words(shown)
    assert "acme 3 +0.00600" in words(shown)
    assert "every 2s" not in shown

    started = client.post("/repricing/start", {"run_id": run.id}, headers=HX).content.decode()
    assert "running" in words(started)
    assert "Make the dry run" not in started
    continue_repricing(tenant.id, now=datetime.now(UTC), seconds=5)
    done = poll(client, started)
    assert "Why take it back" in words(done)

    refused = client.post("/repricing/undo", {"run_id": run.id, "reason": " "})
    assert refused.status_code == 422
    assert "Say why: the reason stands in the audit trail." in words(refused.content.decode())
    client.post("/repricing/undo", {"run_id": run.id, "reason": "wrong contract"})
    continue_repricing(tenant.id, now=datetime.now(UTC), seconds=5)
    assert [one.status for one in runs(tenant)] == ["done", "undone"]
    assert "undo of" in words(read(client, "/repricing"))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"starts_at": ""}, "Give the first day to reprice."),
        ({"ends_at": "soon"}, "Give the last day to reprice."),
        ({"ends_at": "2020-01-01"}, "The last day is before the first."),
        ({"reason": "\0 "}, "Say why: the reason stands in the audit trail."),
    ],
)
def test_a_form_that_cannot_be_says_why_at_its_field(
    tenant: TenantInfo, sign_in: SignIn, asked: Asked, changed: dict[str, str], sentence: str
) -> None:
    refused = sign_in("admin").post("/repricing/dry-run", ASKED | changed)
    assert refused.status_code == 422
    page = refused.content.decode()
    assert re.search(rf'<p class="error" id="reprice-[a-z]+-error">{sentence}</p>', page)
    assert 'value="nobody"' in page
    assert asked == []


def test_what_the_worker_refuses_is_shown_in_the_form(
    tenant: TenantInfo,
    priced_late: Key,
    sign_in: SignIn,
    asked: Asked,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = sign_in("admin")
    monkeypatch.setattr("apps.usage.repricing_preview.MAX_ROWS_PREVIEWED", 0)
    waiting = client.post("/repricing/dry-run", ASKED, headers=HX).content.decode()
    draft_repricing(*asked[0])
    page = poll(client, waiting)
    assert "The range has more than 0 ledger rows; reprice it in parts" in words(page)
    assert 'id="reprice-to-error"' in page
    assert f'value="{ASKED["ends_at"]}"' in page
    assert 'value="rate agreed late"' in page


def test_without_a_worker_the_page_does_not_wait_for_ever(
    tenant: TenantInfo, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = sign_in("admin")

    def unreachable(*_: object) -> None:
        raise OperationalError

    monkeypatch.setattr(draft_repricing, "delay", unreachable)
    refused = client.post("/repricing/dry-run", ASKED)
    assert refused.status_code == 422
    assert "No worker can be reached" in refused.content.decode()
    assert "No worker has answered" in read(client, "/repricing?asked=1000000")


def test_closed_months_change_only_when_ticked(
    tenant: TenantInfo, priced_late: Key, sign_in: SignIn
) -> None:
    month_end = TODAY.replace(day=1) - timedelta(days=1)
    run = draft(priced_late)
    client = sign_in("owner")
    close_books(tenant.id, month_end, actor="a", reason="audit", now=datetime.now(UTC))
    assert "change closed months too" in words(read(client, "/repricing"))
    refused = client.post("/repricing/start", {"run_id": run.id})
    assert refused.status_code == 422
    assert "The books are closed for" in words(refused.content.decode())
    assert runs(tenant)[0].status == "draft"
    client.post("/repricing/start", {"run_id": run.id, "include_closed": "on"})
    assert runs(tenant)[0].status == "running"


def test_an_admin_closes_and_opens_months(tenant: TenantInfo, sign_in: SignIn) -> None:
    client = sign_in("admin")
    month_end = TODAY.replace(day=1) - timedelta(days=1)
    wanted = {"closed_through": month_end.isoformat(), "reason": ""}
    assert client.post("/repricing/books", wanted).status_code == 422
    odd = client.post("/repricing/books", {"closed_through": "2026-01-30", "reason": "x"})
    assert "2026-01-30 is not the last day of one." in words(odd.content.decode())
    nonsense = client.post("/repricing/books", {"closed_through": "x", "reason": "x"})
    assert "Choose the month" in words(nonsense.content.decode())
    page = client.post("/repricing/books", wanted | {"reason": "sent"}).content.decode()
    assert f"Books are closed through {month_end.day} {month_end:%B %Y}" in words(page)
    with tenant_scope(tenant.id):
        assert get_tenant().books_closed_through == month_end
    page = client.post("/repricing/books", {"closed_through": "", "reason": "oh"}).content.decode()
    assert "No month is closed" in words(page)


def test_a_viewer_sees_everything_and_changes_nothing(
    tenant: TenantInfo, priced_late: Key, sign_in: SignIn, asked: Asked
) -> None:
    run = reprice(priced_late)
    client = sign_in("viewer")
    page = read(client, f"/repricing?open={run.id}")
    assert "Customers it moves most" in words(page)
    assert "<form" not in page[page.index('id="repricing"') :]
    for address in ("dry-run", "books", "start", "undo"):
        assert client.post(f"/repricing/{address}", ASKED).status_code == 403
        assert sign_in("owner").get(f"/repricing/{address}").status_code == 405
    assert asked == []
    assert [one.status for one in runs(tenant)] == ["done"]


def test_another_tenants_run_is_not_there(
    tenant: TenantInfo,
    priced_late: Key,
    make_tenant: MakeTenant,
    sign_in: SignIn,
) -> None:
    run = reprice(priced_late)
    client = sign_in("owner", make_tenant().id)
    assert "rate agreed" not in read(client, f"/repricing?open={run.id}")
    refused = client.post("/repricing/undo", {"run_id": run.id, "reason": "mine now"})
    assert f"There is no repricing {run.id}." in words(refused.content.decode())
    assert client.post("/repricing/start", {"run_id": 2**63}).status_code == 404


def test_a_dry_run_that_changes_nothing_cannot_be_started(
    tenant: TenantInfo, key: Key, post_events: Post, sign_in: SignIn
) -> None:
    post_events([home_grown()])
    draft(key)
    page = read(sign_in("admin"), "/repricing")
    assert "nothing would change" in words(page)
    assert "Start: correct" not in page
