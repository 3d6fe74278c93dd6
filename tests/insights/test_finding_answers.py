"""What people do with findings: answers, audit, roles, walls, and the guard rail in decisions."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from apps.alerts.selectors import list_alerts
from apps.insights import guard
from apps.insights.errors import InvalidAnswerError
from apps.insights.finding_actions import (
    acknowledge_finding,
    change_anomaly_settings,
    comment_finding,
    expect_finding,
    snooze_finding,
)
from apps.insights.finding_models import Finding, Restriction, SeriesThreshold
from apps.insights.finding_selectors import FindingInfo, get_finding, list_findings, read_record
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, list_audit
from tests.conftest import Key, MakeTenant, make_key
from tests.insights.spend_history import (
    HOUR,
    findings,
    runaway_hour,
    spend,
    this_hour,
    usual_hours,
    watch,
)

NOW = this_hour()
BAD = NOW - 3 * HOUR
ADA = "ada@example.org"


def set_guard(tenant_id: int, mode: str, min_usd: str = "10") -> None:
    with tenant_scope(tenant_id):
        change_anomaly_settings(
            min_usd=Decimal(min_usd), sensitivity=1.0, guard=mode, actor=ADA, now=NOW
        )


@pytest.fixture
def runaway(key: Key) -> Callable[..., FindingInfo]:
    """Make the tenant's history with a runaway of acme's in it, found: runaway(guard="suspend")."""

    def make(mode: str = "off", min_usd: str = "10") -> FindingInfo:
        tenant_id = key.identity.tenant_id
        set_guard(tenant_id, mode, min_usd)
        spend(key.identity, usual_hours(BAD - 30 * 24 * HOUR, 30 * 24 + 2))
        spend(key.identity, runaway_hour(BAD))
        watch(tenant_id, BAD + HOUR + timedelta(minutes=11))
        guard._remembered.forget_all()
        return findings(tenant_id, NOW)[0]

    return make


def test_expected_raises_the_thresholds_of_its_series_once_and_is_audited(
    tenant: TenantInfo, runaway: Callable[..., FindingInfo]
) -> None:
    found = runaway()
    with tenant_scope(tenant.id):
        expect_finding(found.id, actor=ADA, now=NOW)
        expect_finding(found.id, actor=ADA, now=NOW)
        factors = {(t.dimension, t.key): t.factor for t in SeriesThreshold.objects.all()}
        assert factors == dict.fromkeys(found.members, 1.25)
        (entry, again) = [e for e in list_audit([NOW]) if e.action == "finding.expected"]
        record = read_record(since=NOW - timedelta(days=90))
    assert (entry.actor, entry.subject) == (ADA, f"finding:{found.id}")
    assert again.subject == entry.subject
    assert (record.found, record.expected, record.useful) == (1, 1, 0)


def test_acknowledging_counts_as_useful_and_takes_it_off_the_open_ones(
    tenant: TenantInfo, runaway: Callable[..., FindingInfo]
) -> None:
    found = runaway()
    with tenant_scope(tenant.id):
        acknowledge_finding(found.id, actor=ADA, now=NOW)
        assert list_findings(now=NOW, state="open") == []
        (one,) = list_findings(now=NOW, state="answered")
        assert (one.answer, one.answered_by) == ("acknowledged", ADA)
        assert read_record(since=NOW - timedelta(days=90)).useful == 1


def test_a_snoozed_finding_comes_back(
    tenant: TenantInfo, runaway: Callable[..., FindingInfo]
) -> None:
    found = runaway()
    with tenant_scope(tenant.id):
        snooze_finding(found.id, until=NOW + HOUR, actor=ADA, now=NOW)
        assert list_findings(now=NOW, state="open") == []
        assert [one.id for one in list_findings(now=NOW + 2 * HOUR, state="open")] == [found.id]
        with pytest.raises(InvalidAnswerError, match="ahead"):
            snooze_finding(found.id, until=NOW - HOUR, actor=ADA, now=NOW)


def test_comments_stay_as_they_were_said(
    tenant: TenantInfo, runaway: Callable[..., FindingInfo]
) -> None:
    found = runaway()
    with tenant_scope(tenant.id):
        comment_finding(found.id, text=" A loop in the agent. ", actor=ADA, now=NOW)
        with pytest.raises(InvalidAnswerError, match="2000"):
            comment_finding(found.id, text="x" * 2001, actor=ADA, now=NOW)
        detail = get_finding(found.id)
    assert detail is not None
    assert [(c.author, c.text) for c in detail.comments] == [(ADA, "A loop in the agent.")]


def test_what_is_worth_too_little_is_no_finding_and_no_alert(key: Key, tenant: TenantInfo) -> None:
    set_guard(tenant.id, "off", min_usd="100000")
    spend(key.identity, usual_hours(BAD - 30 * 24 * HOUR, 30 * 24 + 2))
    spend(key.identity, runaway_hour(BAD))
    watch(tenant.id, BAD + 2 * HOUR)
    assert findings(tenant.id, NOW) == []
    with tenant_scope(tenant.id):
        assert list_alerts(limit=10).rows == []


def decide(client: Client, by: Key, **fields: Any) -> Any:
    body = {
        "request_id": uuid.uuid4().hex,
        "input_tokens": 1000,
        "max_output_tokens": 500,
        "candidates": ["openai/gpt-4o", "openai/gpt-4o-mini"],
        "reserve": True,
    } | fields
    return client.post(
        "/api/v1/routing/decisions", body, content_type="application/json", headers=by.headers
    )


def test_a_suspended_customer_is_refused_until_someone_answers(
    client: Client, key: Key, tenant: TenantInfo, runaway: Callable[..., FindingInfo]
) -> None:
    found = runaway("suspend")
    answer = decide(client, key, customer="acme")
    assert (answer.status_code, answer.json()["code"]) == (403, "suspended_by_finding")
    assert answer.json()["finding_id"] == found.id
    assert f"/anomalies/{found.id}" in answer.json()["detail"]
    assert decide(client, key, customer="bolt").status_code == 200
    wanted = {"request_id": uuid.uuid4().hex, "amount_usd": "1", "customer": "acme"}
    plain = client.post(
        "/api/v1/budgets/reservations",
        wanted,
        content_type="application/json",
        headers=key.headers,
    )
    assert (plain.status_code, plain.json()["code"]) == (403, "suspended_by_finding")
    # Ingest never heeds it.
    spend(key.identity, runaway_hour(BAD + HOUR, requests=2))
    with tenant_scope(tenant.id):
        acknowledge_finding(found.id, actor=ADA, now=NOW)
    guard._remembered.forget_all()
    assert decide(client, key, customer="acme").status_code == 200
    with tenant_scope(tenant.id):
        (row,) = Restriction.objects.all()
        assert (row.lifted_by, row.label) == (ADA, "acme")
        assert "guard.lifted" in {entry.action for entry in list_audit([NOW])}


def test_a_slowed_customer_runs_on_the_cheapest_alone_and_is_told_why(
    client: Client, key: Key, runaway: Callable[..., FindingInfo]
) -> None:
    found = runaway("slow")
    told = decide(client, key, customer="acme").json()
    assert (told["backend"], told["alternatives"]) == ("openai/gpt-4o-mini", [])
    assert any(f"finding {found.id}" in reason for reason in told["reasons"])
    assert decide(client, key, customer="bolt").json()["alternatives"]


def test_off_by_default_nothing_is_restricted(
    client: Client, key: Key, tenant: TenantInfo, runaway: Callable[..., FindingInfo]
) -> None:
    runaway()
    with tenant_scope(tenant.id):
        assert not Restriction.objects.exists()
    assert decide(client, key, customer="acme").status_code == 200


def test_the_api_lists_explains_and_answers_with_the_right_scope_and_tenant_alone(
    client: Client, key: Key, make_tenant: MakeTenant, runaway: Callable[..., FindingInfo]
) -> None:
    found = runaway()
    (row,) = client.get("/api/v1/anomalies", headers=key.headers).json()["rows"]
    assert row["id"] == found.id
    assert "acme" in row["title"]
    address = f"/api/v1/anomalies/{found.id}"
    detail = client.get(address, headers=key.headers).json()
    for parts in detail["partitions"]:
        whole = sum(Decimal(part["excess_usd"]) for part in parts)
        assert whole == Decimal(detail["excess_usd"])

    def post(by: Key, path: str, body: dict[str, Any]) -> int:
        return client.post(
            f"{address}/{path}", body, content_type="application/json", headers=by.headers
        ).status_code

    manager = make_key(key.identity.tenant_id, "manage")
    stranger = make_key(make_tenant().id, "manage", "read")
    assert post(key, "answer", {"answer": "expected"}) == 403
    assert post(stranger, "answer", {"answer": "expected"}) == 404
    assert client.get(address, headers=stranger.headers).status_code == 404
    assert post(manager, "answer", {"answer": "nonsense"}) == 422
    assert post(manager, "comments", {"text": "ours"}) == 200
    assert post(manager, "snooze", {"until": (NOW + 5 * HOUR).isoformat()}) == 200
    assert post(manager, "answer", {"answer": "expected"}) == 200
    assert client.get("/api/v1/anomalies?state=open", headers=key.headers).json()["rows"] == []


def test_pages_show_it_and_viewers_change_nothing(
    sign_in: Callable[..., Client], make_tenant: MakeTenant, runaway: Callable[..., FindingInfo]
) -> None:
    found = runaway()
    viewer, admin = sign_in("viewer"), sign_in("admin")
    listed = viewer.get("/anomalies").content.decode()
    assert f"/anomalies/{found.id}" in listed
    assert "1 finding waits" in listed
    shown = viewer.get(f"/anomalies/{found.id}").content.decode()
    assert "What it is made of" in shown
    assert f"/charges/{found.charge_ids[0]}" in shown
    assert "1 anomaly waits" in viewer.get("/").content.decode()
    answer = f"/anomalies/{found.id}/answer"
    assert viewer.post(answer, {"action": "expect"}).status_code == 403
    assert viewer.post("/anomalies/settings", {"guard": "suspend"}).status_code == 403
    assert sign_in("admin", make_tenant().id).post(answer, {"action": "expect"}).status_code == 404
    assert admin.post(answer, {"action": "comment", "text": "<b>loop</b>"}).status_code == 200
    assert "&lt;b&gt;loop" in viewer.get(f"/anomalies/{found.id}").content.decode()
    assert admin.post(answer, {"action": "comment", "text": ""}).status_code == 422
    assert admin.post(answer, {"action": "acknowledge"}).status_code == 200
    assert "Nothing waits" in viewer.get("/anomalies").content.decode()
    wrong = admin.post("/anomalies/settings", {"min_usd": "x", "sensitivity": "1", "guard": "off"})
    assert wrong.status_code == 422
    good = {"min_usd": "25", "sensitivity": "1.5", "guard": "slow"}
    assert admin.post("/anomalies/settings", good).status_code == 200


def test_another_tenants_findings_are_not_there(
    tenant: TenantInfo, make_tenant: MakeTenant, runaway: Callable[..., FindingInfo]
) -> None:
    runaway()
    other = make_tenant()
    tables = ["finding", "detectorstate", "detectorpart", "anomalysettings"]
    with tenant_scope(other.id):
        assert Finding.objects.count() == 0
        with connection.cursor() as cursor:
            for table in tables:
                cursor.execute(f"SELECT count(*) FROM insights_{table}")
                assert cursor.fetchone() == (0,)


@pytest.mark.parametrize(
    ("field", "value"),
    [("min_usd", Decimal(-1)), ("sensitivity", 9.0), ("sensitivity", float("nan")), ("guard", "x")],
)
def test_choices_out_of_bounds_are_refused_by_name(
    tenant: TenantInfo, field: str, value: Any
) -> None:
    given: dict[str, Any] = {"min_usd": Decimal(5), "sensitivity": 1.0, "guard": "off"}
    with tenant_scope(tenant.id), pytest.raises(InvalidAnswerError) as refused:
        change_anomaly_settings(**given | {field: value}, actor=ADA, now=NOW)
    assert refused.value.field == field
