"""Taking up an invitation: with the account one has, or with a new one. No session is needed."""

from datetime import UTC, datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from apps.dashboards.setup.accounts import open_session
from apps.tenants.errors import InvalidTenantInputError, InvitationEndedError, NotAllowedError
from apps.tenants.middleware import SESSION_KEY
from apps.tenants.people import (
    MAX_NAME_LENGTH,
    MAX_PASSWORD_LENGTH,
    InvitationOffer,
    accept_as_new_person,
    accept_invitation,
    find_invitation,
)

MAX_TOKEN_LENGTH = 100


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: Any, token: str) -> HttpResponse:
    now = datetime.now(UTC)
    try:
        offer = find_invitation(token[:MAX_TOKEN_LENGTH], now=now)
        if request.method == "POST":
            return _accept(request, token, offer, now)
    except InvitationEndedError:
        return render(request, "dashboards/invitation_over.html", status=404)
    return _show(request, offer)


def _accept(request: Any, token: str, offer: InvitationOffer, now: datetime) -> HttpResponse:
    try:
        if request.user.is_authenticated:
            accept_invitation(token, user_id=request.user.pk, now=now)
        else:
            _join(request, token, now)
    except InvalidTenantInputError as error:
        text = str(error)
        return _show(request, offer, status=422, error=f"{text[:1].upper()}{text[1:]}.")
    except (NotAllowedError, IntegrityError):
        # Somebody else, or an account made in another window meanwhile: the page says which.
        return _show(request, offer, status=409)
    request.session[SESSION_KEY] = offer.tenant_id
    return redirect("overview")


def _join(request: Any, token: str, now: datetime) -> None:
    with transaction.atomic():
        user_id = accept_as_new_person(
            token,
            name=request.POST.get("name", "").replace("\0", "")[:MAX_NAME_LENGTH],
            password=request.POST.get("password", "")[: MAX_PASSWORD_LENGTH + 1],
            now=now,
        )
        open_session(request, get_user_model().objects.get(pk=user_id), now)


def _show(request: Any, offer: InvitationOffer, *, status: int = 200, **more: Any) -> HttpResponse:
    signed_in = request.user.is_authenticated
    context = {
        "offer": offer,
        "is_theirs": signed_in and request.user.email.lower() == offer.email.lower(),
        "is_another": signed_in and request.user.email.lower() != offer.email.lower(),
        "name": request.POST.get("name", ""),
    }
    return render(request, "dashboards/invitation.html", context | more, status=status)
