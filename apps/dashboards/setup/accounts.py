"""Signing in and out, and choosing the organisation to look at."""

from datetime import UTC, datetime
from math import ceil
from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate, login, logout
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from apps.dashboards.page import address_of
from apps.tenants.first_run import needs_setup
from apps.tenants.middleware import SESSION_KEY
from apps.tenants.sessions import begin_session
from apps.tenants.sign_in_limits import begin_sign_in, forgive_sign_in

MAX_CREDENTIAL_LENGTH = 320


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    there = _safe_address(request, request.POST.get("next") or request.GET.get("next") or "")
    if request.user.is_authenticated:
        return HttpResponseRedirect(there)
    context: dict[str, Any] = {
        "next": there,
        "expired": "expired" in request.GET,
        "reset": "reset" in request.GET,
    }
    if request.method != "POST":
        if needs_setup():
            return redirect("setup")
        return render(request, "dashboards/login.html", context)
    email = request.POST.get("email", "").strip()[:MAX_CREDENTIAL_LENGTH]
    password = request.POST.get("password", "")[:MAX_CREDENTIAL_LENGTH]
    now, address = datetime.now(UTC), address_of(request)
    # The same words whether or not the person exists.
    context |= {"email": email, "expired": False}
    wait_until = begin_sign_in(email, address, now=now)
    if wait_until is not None:
        return _must_wait(request, context, wait_until, now)
    user = authenticate(request, username=email, password=password)
    if user is None:
        context |= {"failed": True}
        return render(request, "dashboards/login.html", context, status=401)
    forgive_sign_in(email, address)
    open_session(request, user, now)
    return HttpResponseRedirect(there)


def open_session(request: HttpRequest, user: Any, now: datetime) -> None:
    """Sign in, and remember where."""
    login(request, user)
    if not request.session.session_key:
        request.session.save()
    begin_session(
        user_id=user.pk,
        session_key=request.session.session_key or "",
        address=address_of(request),
        agent=request.headers.get("User-Agent", ""),
        now=now,
    )


def _must_wait(
    request: HttpRequest, context: dict[str, Any], wait_until: datetime, now: datetime
) -> HttpResponse:
    context |= {"failed": True, "wait": wait_words(wait_until, now)}
    response = render(request, "dashboards/login.html", context, status=429)
    response.headers["Retry-After"] = str(ceil((wait_until - now).total_seconds()))
    return response


def wait_words(wait_until: datetime, now: datetime) -> str:
    minutes = max(1, ceil((wait_until - now).total_seconds() / 60))
    many = "a minute" if minutes == 1 else f"{minutes} minutes"
    return f"Too many attempts failed. Try again in {many}."


def _safe_address(request: HttpRequest, address: str) -> str:
    """`address` if it is on this site, else the overview."""
    allowed = url_has_allowed_host_and_scheme(
        address, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return address if address and allowed else redirect(settings.LOGIN_REDIRECT_URL).url


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return redirect(settings.LOGOUT_REDIRECT_URL)


@require_POST
def switch_tenant(request: Any) -> HttpResponse:
    """Look at another organisation one belongs to. Filters of the last page mean nothing there."""
    if not request.user.is_authenticated:
        return redirect("login")
    wanted = request.POST.get("tenant_id", "")
    for membership in request.memberships:
        if str(membership.tenant_id) == wanted:
            request.session[SESSION_KEY] = membership.tenant_id
            return redirect("overview")
    raise Http404
