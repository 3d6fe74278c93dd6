"""Inviting people, their roles, and that an organisation keeps an owner."""

import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from apps.tenants.errors import InvalidTenantInputError, InvitationEndedError, NotAllowedError
from apps.tenants.people import (
    accept_as_new_person,
    accept_invitation,
    change_role,
    find_invitation,
    invite,
    remove_member,
    withdraw_invitation,
)
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import (
    TenantInfo,
    list_audit_of,
    list_invitations,
    list_members,
    list_memberships,
)
from apps.tenants.services import add_member, create_user
from tests.conftest import MakeTenant

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PASSWORD = "correct horse battery"


def person(tenant: TenantInfo, role: str) -> tuple[int, str]:
    """(id, e-mail) of a new member."""
    email = f"{role}-{uuid.uuid4().hex[:8]}@example.org"
    user_id = create_user(email=email, password=PASSWORD, now=NOW)
    with tenant_scope(tenant.id):
        add_member(user_id=user_id, role=role, now=NOW)
    return user_id, email


def roles_of(tenant: TenantInfo) -> dict[str, str]:
    with tenant_scope(tenant.id):
        return {member.email: member.role for member in list_members()}


def invited(tenant: TenantInfo, email: str, role: str = "viewer") -> str:
    _, owner = person(tenant, "owner")
    with tenant_scope(tenant.id):
        return invite(email=email, role=role, actor=owner, now=NOW)


def test_somebody_new_joins_by_their_link_once(tenant: TenantInfo) -> None:
    token = invited(tenant, "New@Example.org ", "admin")
    offer = find_invitation(token, now=NOW)
    assert (offer.email, offer.role, offer.has_account) == ("new@example.org", "admin", False)
    user_id = accept_as_new_person(token, name="New", password=PASSWORD, now=NOW)
    (membership,) = list_memberships(user_id)
    assert (membership.tenant_id, membership.role) == (tenant.id, "admin")
    with pytest.raises(InvitationEndedError):
        accept_invitation(token, user_id=user_id, now=NOW)
    with tenant_scope(tenant.id):
        assert list_invitations() == []
        audited = [one.action for one in list_audit_of("member:new@example.org", limit=9)]
    assert audited == ["member.joined", "member.invited"]


def test_a_link_is_for_the_person_it_was_made_out_to(
    tenant: TenantInfo, make_tenant: MakeTenant
) -> None:
    somebody, email = person(make_tenant(), "viewer")
    other, _ = person(make_tenant(), "viewer")
    token = invited(tenant, email)
    assert find_invitation(token, now=NOW).has_account
    with pytest.raises(NotAllowedError, match="is for"):
        accept_invitation(token, user_id=other, now=NOW)
    with pytest.raises(NotAllowedError, match="sign in"):
        accept_as_new_person(token, name="", password=PASSWORD, now=NOW)
    accept_invitation(token, user_id=somebody, now=NOW)
    assert roles_of(tenant)[email] == "viewer"


def test_a_weak_password_makes_no_account_and_leaves_the_link_good(tenant: TenantInfo) -> None:
    email = f"{uuid.uuid4().hex[:8]}@example.org"
    token = invited(tenant, email)
    with pytest.raises(InvalidTenantInputError, match="too short"):
        accept_as_new_person(token, name="", password="short", now=NOW)
    assert not find_invitation(token, now=NOW).has_account


def test_links_end(tenant: TenantInfo) -> None:
    owner_email = person(tenant, "owner")[1]
    with tenant_scope(tenant.id):
        first = invite(email="a@example.org", role="viewer", actor=owner_email, now=NOW)
        second = invite(email="A@example.org", role="viewer", actor=owner_email, now=NOW)
        (open_one,) = list_invitations()
    with pytest.raises(InvitationEndedError):
        find_invitation(first, now=NOW)
    assert find_invitation(second, now=NOW + timedelta(days=6))
    with pytest.raises(InvitationEndedError):
        find_invitation(second, now=NOW + timedelta(days=7))
    with tenant_scope(tenant.id):
        withdraw_invitation(invitation_id=open_one.id, actor=owner_email, now=NOW)
    for token in (second, "nonsense", ""):
        with pytest.raises(InvitationEndedError):
            find_invitation(token, now=NOW)


@pytest.mark.parametrize(
    ("email", "role", "field"),
    [("nobody", "viewer", "email"), ("a@example.org", "king", "role"), ("", "viewer", "email")],
)
def test_an_offer_that_makes_no_sense_is_refused(
    tenant: TenantInfo, email: str, role: str, field: str
) -> None:
    with pytest.raises(InvalidTenantInputError) as refused:
        invited(tenant, email, role)
    assert refused.value.field == field


def test_a_member_is_not_invited_again(tenant: TenantInfo) -> None:
    with pytest.raises(InvalidTenantInputError, match="member already"):
        invited(tenant, person(tenant, "viewer")[1].upper())


def test_admins_decide_about_viewers_and_admins_and_viewers_about_nobody(
    tenant: TenantInfo,
) -> None:
    owner_id, _ = person(tenant, "owner")
    other_owner_id, _ = person(tenant, "owner")
    _, admin = person(tenant, "admin")
    viewer_id, viewer = person(tenant, "viewer")
    with tenant_scope(tenant.id):
        change_role(user_id=viewer_id, role="admin", actor=admin, now=NOW)
        change_role(user_id=viewer_id, role="viewer", actor=admin, now=NOW)
        for user_id, role in ((owner_id, "viewer"), (viewer_id, "owner")):
            with pytest.raises(NotAllowedError, match="an owner does"):
                change_role(user_id=user_id, role=role, actor=admin, now=NOW)
        with pytest.raises(NotAllowedError):
            remove_member(user_id=other_owner_id, actor=admin, now=NOW)
        with pytest.raises(NotAllowedError):
            invite(email="x@example.org", role="viewer", actor=viewer, now=NOW)
        with pytest.raises(NotAllowedError):
            change_role(user_id=viewer_id, role="admin", actor=viewer, now=NOW)
        remove_member(user_id=viewer_id, actor=viewer, now=NOW)
    assert viewer not in roles_of(tenant)
    assert list_memberships(viewer_id) == []


def test_the_only_owner_stays_owner(tenant: TenantInfo) -> None:
    owner_id, owner = person(tenant, "owner")
    with tenant_scope(tenant.id):
        with pytest.raises(NotAllowedError, match="only owner"):
            change_role(user_id=owner_id, role="admin", actor=owner, now=NOW)
        with pytest.raises(NotAllowedError, match="only owner"):
            remove_member(user_id=owner_id, actor=owner, now=NOW)
    person(tenant, "owner")
    with tenant_scope(tenant.id):
        change_role(user_id=owner_id, role="admin", actor=owner, now=NOW)
        (changed,) = list_audit_of(f"member:{owner}", limit=1)
    assert roles_of(tenant)[owner] == "admin"
    assert (changed.before, changed.after) == ({"role": "owner"}, {"role": "admin"})


def test_two_owners_who_demote_each_other_at_once_leave_one(tenant: TenantInfo) -> None:
    people = [person(tenant, "owner"), person(tenant, "owner")]
    ready, outcomes = threading.Barrier(2), []

    def demote(actor: str, user_id: int) -> None:
        try:
            ready.wait(timeout=20)
            with tenant_scope(tenant.id):
                change_role(user_id=user_id, role="viewer", actor=actor, now=NOW)
            outcomes.append("done")
        except NotAllowedError:
            outcomes.append("refused")
        finally:
            connection.close()

    threads = [
        threading.Thread(target=demote, args=(people[n][1], people[1 - n][0])) for n in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(outcomes) == ["done", "refused"]
    assert sorted(roles_of(tenant).values()) == ["owner", "viewer"]


def test_another_tenants_member_cannot_be_touched(
    tenant: TenantInfo, make_tenant: MakeTenant
) -> None:
    theirs_id, _ = person(make_tenant(), "viewer")
    _, owner = person(tenant, "owner")
    with tenant_scope(tenant.id), pytest.raises(InvalidTenantInputError, match="no member"):
        remove_member(user_id=theirs_id, actor=owner, now=NOW)
    assert len(list_memberships(theirs_id)) == 1
