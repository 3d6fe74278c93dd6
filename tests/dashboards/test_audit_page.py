"""The audit log: every audited action in plain words, narrowed, paged, as CSV."""

import csv
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from apps.dashboards.setup.audit_words import KINDS, SENTENCES, changes, sentence
from apps.tenants.audit import AuditRow
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.tenants.services import record_audit
from tests.conftest import MakeTenant

SignIn = Callable[..., Client]
ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 23, 20, 30, tzinfo=UTC)


def note(tenant: TenantInfo, action: str, *, at: datetime = NOW, **more: Any) -> None:
    entry = {"actor": "olga@example.org", "subject": "budget:7"} | more
    with tenant_scope(tenant.id):
        record_audit(action=action, now=at, **entry)


def row(action: str, subject: str = "thing:7", **values: Any) -> AuditRow:
    return AuditRow(1, NOW, "a", action, subject, values.get("before"), values.get("after"))


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (row("member.invited", "member:a@b.c", after={"role": "admin"}), "invited a@b.c as admin"),
        (row("budget.archived", "budget:7"), "archived budget 7"),
        (
            row("rate.added", after={"provider": "openai", "model": "gpt-4o"}),
            "set a price of openai/gpt-4o",
        ),
        (row("rate.ended", before={"backend": "local/qwen"}), "ended a price of local/qwen"),
        (
            row(
                "budget.created",
                "budget:1",
                after={"scope": {"department": "rd"}, "period": "month"},
            ),
            "made the budget of department rd, by the month",
        ),
        (row("budget.created", "budget:1", after={"scope": {}}), "made the budget of everything"),
        (
            row("hardware.node_added", "hardware_node:1", after={"name": "l4-host-1"}),
            "added the machine l4-host-1",
        ),
        (row("customer.changed", before={"name": "Acme"}), "changed the customer Acme"),
        # Nobody wrote words for it yet: it is told all the same.
        (row("telescope.pointed_up", "telescope:3"), "pointed up: telescope telescope 3"),
        (row("member.invited", "member:a@b.c"), "invited a@b.c as ?"),
    ],
)
def test_an_entry_in_plain_words(entry: AuditRow, words: str) -> None:
    assert sentence(entry) == words


def test_only_what_changed_is_told() -> None:
    before = {"amount_usd": "10", "name": "x", "kinds": [], "at": "2026-11-23T20:30:00.5+00:00"}
    after = {"amount_usd": "12", "name": "x", "on": True, "at": None}
    told = {
        one.field: (one.before, one.after)
        for one in changes(row("x.y", before=before, after=after))
    }
    assert told == {
        "amount (USD)": ("10", "12"),
        "kinds": ("—", "—"),
        "on": ("—", "yes"),
        "at": ("2026-11-23 20:30 UTC", "—"),
    }


def test_every_action_that_the_code_writes_plainly_has_words() -> None:
    """Those put together from parts are read on the page by their own name."""
    written = {
        action
        for path in (ROOT / "apps").rglob("*.py")
        for action in re.findall(r'action="([a-z_]+\.[a-z_]+)"', path.read_text())
    }
    assert len(written) > 15
    assert written & set(SENTENCES)
    for action in written:
        words = sentence(row(action))
        assert "_" not in words
        assert "." not in words
    assert {name.partition(".")[0] for name in SENTENCES} <= set(KINDS)


def test_newest_first_fifty_to_a_page(tenant: TenantInfo, sign_in: SignIn) -> None:
    for number in range(51):
        note(tenant, "budget.archived", subject=f"budget:{number}")
    client = sign_in("viewer")
    page = client.get("/audit").content.decode()
    assert re.findall(r"archived budget (\d+)<", page) == [str(n) for n in range(50, 0, -1)]
    earlier = re.search(r'href="(/audit\?[^"]*before=\d+)"', page)
    assert earlier is not None
    rest = client.get(earlier[1].replace("&amp;", "&")).content.decode()
    assert re.findall(r"archived budget (\d+)<", rest) == ["0"]


def test_narrowed_by_who_what_and_the_tenants_own_days(
    make_tenant: MakeTenant, sign_in: SignIn
) -> None:
    tenant = make_tenant(time_zone="Asia/Kathmandu")
    note(tenant, "budget.archived", subject="budget:1")
    note(tenant, "rate.ended", subject="rate:2", actor="Otto@example.org")
    note(tenant, "rate.ended", subject="rate:3", at=NOW - timedelta(days=1))
    client = sign_in("viewer", tenant_id=tenant.id)

    def told(query: str) -> list[str]:
        page = client.get(f"/audit?{query}").content.decode()
        return re.findall(r"<td>[\w ]+ ((?:budget|rate) \d)<", page)

    assert told("") == ["rate 3", "rate 2", "budget 1"]
    assert told("about=rate") == ["rate 3", "rate 2"]
    assert told("who=otto@example.org") == ["rate 2"]
    # 20:30 UTC is 02:15 of the next day in Kathmandu.
    assert told("from=2026-11-24") == ["rate 2", "budget 1"]
    assert told("to=2026-11-23") == ["rate 3"]
    assert "This is not a day" in client.get("/audit?from=yesterday").content.decode()
    assert "Nothing like that was done" in client.get("/audit?who=nobody").content.decode()


def test_as_csv_that_spreadsheets_open_safely(tenant: TenantInfo, sign_in: SignIn) -> None:
    note(tenant, "customer.changed", actor="=cmd", before={"name": "Käse"}, after={"name": "B"})
    note(tenant, "rate.ended")
    response = sign_in("viewer").get("/audit?about=customer&format=csv")
    text = b"".join(response.streaming_content).decode()  # type: ignore[attr-defined]
    heading, entry = csv.reader(io.StringIO(text))
    assert heading[:3] == ["time", "who", "what"]
    assert entry[:3] == ["2026-11-23T20:30:00Z", "'=cmd", "changed the customer B"]
    assert entry[5:] == ['{"name": "Käse"}', '{"name": "B"}']


def test_another_tenants_log_is_not_to_be_seen(
    tenant: TenantInfo, make_tenant: MakeTenant, sign_in: SignIn
) -> None:
    note(make_tenant(), "budget.archived", actor="theirs@example.org")
    client = sign_in("owner")
    assert "theirs@example.org" not in client.get("/audit").content.decode()
    exported = b"".join(client.get("/audit?format=csv").streaming_content)  # type: ignore[attr-defined]
    assert b"theirs" not in exported
