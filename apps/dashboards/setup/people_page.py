"""The people page: who is in the organisation, in which role; inviting, changing, removing."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from apps.alerts.letters import send_letter
from apps.dashboards.alerts.words import moment_words
from apps.dashboards.corrections.run_requests import as_number
from apps.dashboards.page import PageRequest, changing, page
from apps.dashboards.periods import dated
from apps.tenants.core.access import ROLES, may_manage
from apps.tenants.errors import TenantsError
from apps.tenants.people import (
    INVITATION_DAYS,
    change_role,
    invite,
    remove_member,
    withdraw_invitation,
)
from apps.tenants.selectors import (
    InvitationInfo,
    MemberInfo,
    list_invitations,
    list_members,
)

MAX_EMAIL_LENGTH: Final = 254
ROLE_WORDS: Final = {
    "viewer": "sees everything, changes nothing",
    "admin": "changes settings, budgets and prices",
    "owner": "also decides who is admin or owner",
}


@dataclass(frozen=True, slots=True)
class MemberLine:
    """`roles` are those this reader may give; empty where the member is not theirs to change."""

    info: MemberInfo
    is_self: bool
    roles: tuple[str, ...]
    may_remove: bool
    joined: str
    last_seen: str


@dataclass(frozen=True, slots=True)
class InvitationLine:
    info: InvitationInfo
    expires: str
    is_over: bool
    may_withdraw: bool


@dataclass(frozen=True, slots=True)
class Offered:
    """An invitation made a moment ago: the one time its link is known."""

    email: str
    role: str
    link: str


@page
def people(request: PageRequest) -> HttpResponse:
    return _show(request)


def invite_person(request: HttpRequest) -> HttpResponse:
    """Makes an invitation, and sends it where asked: after the commit, as that may take a while."""
    offered: list[Offered] = []
    response = changing(lambda inside: _invite(inside, offered))(request)
    if not offered:
        return response
    (offer,) = offered
    said = "Give them this link: it is shown this once."
    if "send" in request.POST:
        said = _send(offer, inviter=request.user.get_username(), request=request)
    return page(lambda inside: _show(inside, offer=offer, said=said))(request)


def _invite(request: PageRequest, offered: list[Offered]) -> HttpResponse:
    email = request.POST.get("email", "").replace("\0", "").strip()[:MAX_EMAIL_LENGTH]
    role = request.POST.get("role", "")
    try:
        token = invite(email=email, role=role, actor=request.user.get_username(), now=request.now)
    except TenantsError as error:
        errors = {error.field or "email": _sentence(str(error))}
        return _show(request, status=422, email=email, role=role, errors=errors)
    base = settings.PUBLIC_URL or request.build_absolute_uri("/").rstrip("/")
    offered.append(Offered(email, role, base + reverse("invitation", args=[token])))
    return HttpResponse()


def _send(offer: Offered, *, inviter: str, request: Any) -> str:
    tenant = request.membership.tenant_name
    result = send_letter(
        to=offer.email,
        subject=f"{tenant} on Costboard",
        body=(
            f"{inviter} invites you to {tenant} as {offer.role}: who {ROLE_WORDS[offer.role]}.\n\n"
            f"{offer.link}\n\nThe link works once, for {INVITATION_DAYS} days."
            " If you expected none, do nothing."
        ),
    )
    if result.outcome == "sent":
        return f"An e-mail is on its way to {offer.email}. The link is shown this once."
    return f"No e-mail was sent ({result.error}). Give them this link: it is shown this once."


@changing
def change_member(request: PageRequest) -> HttpResponse:
    role = request.POST.get("role", "")

    def change(user_id: int, actor: str) -> str:
        change_role(user_id=user_id, role=role, actor=actor, now=request.now)
        return f"{_email_of(user_id)} is {role} now."

    return _act(request, change)


@changing
def remove_person(request: PageRequest) -> HttpResponse:
    def remove(user_id: int, actor: str) -> str:
        email = _email_of(user_id)
        remove_member(user_id=user_id, actor=actor, now=request.now)
        return f"{email} is no member any more."

    return _act(request, remove)


def leave(request: HttpRequest) -> HttpResponse:
    """As remove_person, for anybody about themselves: viewers may go too."""
    return page(_leave)(request)


def _leave(request: PageRequest) -> HttpResponse:
    if request.method != "POST":
        return HttpResponse(status=405, headers={"Allow": "POST"})
    try:
        remove_member(
            user_id=int(request.user.pk or 0), actor=request.user.get_username(), now=request.now
        )
    except TenantsError as error:
        return _show(request, status=422, refusal=_sentence(str(error)))
    return redirect("overview")


@changing
def withdraw(request: PageRequest) -> HttpResponse:
    invitation_id = as_number(request.POST.get("invitation_id", "")) or 0
    try:
        withdraw_invitation(
            invitation_id=invitation_id, actor=request.user.get_username(), now=request.now
        )
    except TenantsError as error:
        return _show(request, status=422, refusal=_sentence(str(error)))
    return _show(request, said="The invitation is withdrawn: its link offers nothing any more.")


def _act(request: PageRequest, change: Callable[[int, str], str]) -> HttpResponse:
    user_id = as_number(request.POST.get("user_id", "")) or 0
    try:
        return _show(request, said=change(user_id, request.user.get_username()))
    except TenantsError as error:
        return _show(request, status=422, refusal=_sentence(str(error)))


def _show(request: PageRequest, *, status: int = 200, **more: Any) -> HttpResponse:
    members = list_members()
    own_role = request.membership.role
    is_part = request.htmx and not request.htmx.boosted and request.htmx.target == "people"
    context = {
        "tenant": request.tenant,
        "answer": _answer(members),
        "lines": [_line(member, request) for member in members],
        "invitations": [_invitation_line(one, request) for one in list_invitations()],
        "roles": [(role, ROLE_WORDS[role]) for role in ROLES if may_manage(own_role, role)],
        "role": "viewer",
        "is_part": is_part,
    }
    name = "people_body" if is_part else "people"
    return render(request, f"dashboards/{name}.html", context | more, status=status)


def _answer(members: list[MemberInfo]) -> str:
    counts = {role: sum(member.role == role for member in members) for role in ROLES}
    parts = [f"{n} {role}{'' if n == 1 else 's'}" for role, n in counts.items() if n]
    return f"{', '.join(reversed(parts))}."


def _line(member: MemberInfo, request: PageRequest) -> MemberLine:
    own_role, zone = request.membership.role, request.tenant.zone
    mine = may_manage(own_role, member.role)
    seen = member.last_sign_in_at
    return MemberLine(
        info=member,
        is_self=member.user_id == request.user.pk,
        roles=tuple(role for role in ROLES if may_manage(own_role, role)) if mine else (),
        may_remove=mine,
        joined=_day_words(member.created_at, request),
        last_seen="never" if seen is None else moment_words(seen, zone),
    )


def _invitation_line(info: InvitationInfo, request: PageRequest) -> InvitationLine:
    return InvitationLine(
        info=info,
        expires=_day_words(info.expires_at, request),
        is_over=info.expires_at <= request.now,
        may_withdraw=may_manage(request.membership.role, info.role),
    )


def _day_words(moment: datetime, request: PageRequest) -> str:
    local = moment.astimezone(request.tenant.zone)
    return dated(local)


def _email_of(user_id: int) -> str:
    return next((one.email for one in list_members() if one.user_id == user_id), "They")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
