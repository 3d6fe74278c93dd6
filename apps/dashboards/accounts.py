"""Signing in and out, and choosing the organisation to look at."""

from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate, login, logout
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from apps.tenants.middleware import SESSION_KEY

MAX_CREDENTIAL_LENGTH = 320


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    there = _safe_address(request, request.POST.get("next") or request.GET.get("next") or "")
    if request.user.is_authenticated:
        return HttpResponseRedirect(there)
    context: dict[str, Any] = {"next": there, "expired": "expired" in request.GET}
    if request.method != "POST":
        return render(request, "dashboards/login.html", context)
    email = request.POST.get("email", "").strip()[:MAX_CREDENTIAL_LENGTH]
    password = request.POST.get("password", "")[:MAX_CREDENTIAL_LENGTH]
    user = authenticate(request, username=email, password=password)
    if user is None:
        # The same words whether or not the person exists.
        context |= {"email": email, "failed": True, "expired": False}
        return render(request, "dashboards/login.html", context, status=401)
    login(request, user)
    return HttpResponseRedirect(there)


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
