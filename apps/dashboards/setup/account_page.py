"""One's own account: the password, signing out everywhere, leaving an organisation."""

from decimal import Decimal
from typing import Any

from django.contrib.auth import authenticate, logout, update_session_auth_hash
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters

from apps.dashboards.alerts.words import moment_words
from apps.dashboards.corrections.run_requests import as_number
from apps.dashboards.page import PageRequest, address_of, page
from apps.dashboards.periods import dated
from apps.dashboards.setup.accounts import MAX_CREDENTIAL_LENGTH, wait_words
from apps.dashboards.templatetags.figures_of_speech import count, usd
from apps.tenants.errors import InvalidTenantInputError
from apps.tenants.locales import offered_names
from apps.tenants.people import change_password, set_locale, sign_out_everywhere
from apps.tenants.sessions import end_session, list_sessions, move_session
from apps.tenants.sign_in_limits import begin_sign_in, forgive_sign_in


def posting(view: Any) -> Any:
    """An action on oneself: POST alone, whatever one's role."""

    def posted(request: PageRequest) -> HttpResponse:
        if request.method != "POST":
            return HttpResponse(status=405, headers={"Allow": "POST"})
        return view(request)  # type: ignore[no-any-return]

    return page(posted)


@page
def account(request: PageRequest) -> HttpResponse:
    return _show(request, said=request.session.pop("said", ""))


@sensitive_post_parameters("current", "password")
def set_password(request: HttpRequest) -> HttpResponse:
    return posting(_set_password)(request)  # type: ignore[no-any-return]


def _set_password(request: PageRequest) -> HttpResponse:
    """Whoever finds an open session still needs the password to take the account over."""
    email, address = request.user.get_username(), address_of(request)
    wait_until = begin_sign_in(email, address, now=request.now)
    if wait_until is not None:
        return _show(request, status=429, errors={"current": wait_words(wait_until, request.now)})
    current = request.POST.get("current", "")[:MAX_CREDENTIAL_LENGTH]
    user = authenticate(request, username=email, password=current)
    if user is None:
        return _show(request, status=422, errors={"current": "This is not your password."})
    forgive_sign_in(email, address)
    password = request.POST.get("password", "")[:MAX_CREDENTIAL_LENGTH]
    try:
        this = request.session.session_key or ""
        change_password(
            user_id=user.pk, password=password, actor=email, now=request.now, this_session=this
        )
    except InvalidTenantInputError as error:
        text = str(error)
        return _show(request, status=422, errors={"password": f"{text[:1].upper()}{text[1:]}."})
    user.refresh_from_db()
    update_session_auth_hash(request, user)
    move_session(old_key=this, new_key=request.session.session_key or "")
    return _show(request, said="The password is changed. Every other session of yours has ended.")


def save_locale(request: HttpRequest) -> HttpResponse:
    return posting(_save_locale)(request)  # type: ignore[no-any-return]


def _save_locale(request: PageRequest) -> HttpResponse:
    tag = request.POST.get("locale", "")[:MAX_CREDENTIAL_LENGTH]
    try:
        set_locale(user_id=int(request.user.pk or 0), locale=tag)
    except InvalidTenantInputError as error:
        return _show(request, status=422, errors={"locale": str(error)})
    request.session["said"] = "Kept: figures are written so from now on."
    return redirect("account")


def end_one_session(request: HttpRequest) -> HttpResponse:
    return posting(_end_one)(request)  # type: ignore[no-any-return]


def _end_one(request: PageRequest) -> HttpResponse:
    number = as_number(request.POST.get("session_id", "")) or 0
    if not end_session(user_id=int(request.user.pk or 0), session_id=number):
        return _show(request, said="That session was over already.")
    return _show(request, said="That session has ended.")


def end_sessions(request: HttpRequest) -> HttpResponse:
    return posting(_end_sessions)(request)  # type: ignore[no-any-return]


def _end_sessions(request: PageRequest) -> HttpResponse:
    sign_out_everywhere(
        user_id=int(request.user.pk or 0), actor=request.user.get_username(), now=request.now
    )
    logout(request)
    return redirect("login")


def _show(request: PageRequest, *, status: int = 200, **more: Any) -> HttpResponse:
    context: dict[str, Any] = {
        "tenant": request.tenant,
        "errors": {},
        "sessions": [
            (one, *(moment_words(at, request.tenant.zone) for at in (one.began_at, one.used_at)))
            for one in list_sessions(
                int(request.user.pk or 0),
                this_key=request.session.session_key or "",
                now=request.now,
            )
        ],
        "locales": offered_names(),
        "own_locale": getattr(request.user, "locale", ""),
        "example": (count(1_234_567), usd(Decimal("-1234.5")), dated(request.now.date())),
    }
    return render(request, "dashboards/account.html", context | more, status=status)
