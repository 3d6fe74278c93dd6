"""What every page has in common: who looks, at which tenant, at what moment, and how it answers."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import wraps
from hashlib import blake2b
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect, HttpResponseClientRefresh
from django_htmx.middleware import HtmxDetails

from apps.dashboards.conventions import written_as
from apps.dashboards.money import in_own_currency
from apps.dashboards.setup.onboarding import first_event_context
from apps.tenants.core.access import role_allows_changes
from apps.tenants.core.sign_in_limits import client_address
from apps.tenants.locales import Conventions, choose_conventions
from apps.tenants.middleware import TenantRequest
from apps.tenants.scoping import reading_once, tenant_scope
from apps.tenants.selectors import Membership, TenantInfo, get_tenant
from apps.tenants.sessions import note_use
from apps.usage.selectors import read_last_event_at


class PageRequest(TenantRequest):
    """A request of a member, inside the scope of the tenant looked at."""

    htmx: HtmxDetails
    membership: Membership
    tenant: TenantInfo
    # Read once a request, so that everything on a page is of one moment.
    now: datetime


PageView = Callable[[PageRequest], HttpResponse]


def page(view: PageView) -> Callable[[HttpRequest], HttpResponse]:
    """Requires sign-in and membership; runs the view in the tenant's scope."""

    @wraps(view)
    def wrapped(request: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return sign_in_first(request)
        if request.membership is None:
            return render(request, "dashboards/no_organisation.html", status=403)
        request.now = datetime.now(UTC)
        note_use(
            session_key=request.session.session_key or "",
            address=address_of(request),
            now=request.now,
        )
        reads_only = request.method in ("GET", "HEAD")
        with (
            tenant_scope(request.membership.tenant_id),
            reading_once() if reads_only else nullcontext(),
        ):
            request.tenant = get_tenant()
            with written_as(_conventions(request)):
                response = (
                    in_own_currency(lambda: view(request), request.tenant, request.now)
                    if reads_only
                    else view(request)
                )
        # Figures of a tenant stay out of every cache, the browser's after signing out too.
        response.headers["Cache-Control"] = "private, no-store"
        return response

    return wrapped


def _conventions(request: PageRequest) -> Conventions:
    return choose_conventions(
        own=getattr(request.user, "locale", ""),
        header=request.headers.get("Accept-Language", ""),
        tenant=request.tenant.locale,
    )


def usage_page(view: PageView) -> Callable[[HttpRequest], HttpResponse]:
    """A page about usage: while there is none, it says how to send the first event."""

    @wraps(view)
    def with_usage(request: PageRequest) -> HttpResponse:
        waiting = "waiting" in request.GET
        if read_last_event_at() is None:
            if waiting:
                return HttpResponse(status=204)
            return render(request, "dashboards/no_usage.html", first_event_context(request))
        return HttpResponseClientRefresh() if waiting else view(request)

    return page(with_usage)


def changing(view: PageView) -> Callable[[HttpRequest], HttpResponse]:
    """An action: POST alone, by those whose role allows changes."""

    @wraps(view)
    def allowed(request: PageRequest) -> HttpResponse:
        if request.method != "POST":
            return HttpResponse(status=405, headers={"Allow": "POST"})
        if not role_allows_changes(request.membership.role):
            return render(request, "403.html", {"needs_role": "admin"}, status=403)
        return view(request)

    return page(allowed)


def address_of(request: HttpRequest) -> str:
    """Where a request comes from; see COSTBOARD_PROXIES."""
    peer = request.META.get("REMOTE_ADDR", "")
    return client_address(peer, request.headers.get("X-Forwarded-For", ""), settings.PROXIES)


def sign_in_first(request: Any) -> HttpResponse:
    """To the sign-in page and back. A part of a page cannot show it: the whole page goes."""
    if request.htmx:
        here = request.htmx.current_url_abs_path or reverse("overview")
        there = request.get_full_path() if request.htmx.boosted else here
        return HttpResponseClientRedirect(_login_url(there, expired=True))
    had_session = bool(request.COOKIES.get("csrftoken")) and request.path != "/"
    return HttpResponseRedirect(_login_url(request.get_full_path(), expired=had_session))


def _login_url(there: str, *, expired: bool) -> str:
    query = {"next": there} if there != "/" else {}
    query |= {"expired": "1"} if expired else {}
    return reverse("login") + (f"?{urlencode(query)}" if query else "")


def render_live(request: PageRequest, name: str, context: dict[str, Any]) -> HttpResponse:
    """The whole page, or for its own poll the parts that live; 204 when they are as it has them."""
    context |= {"seen": ""}
    if not request.htmx or request.htmx.boosted:
        return render(request, f"dashboards/{name}.html", context)
    context |= {"body": f"dashboards/{name}_body.html"}
    body = render_to_string("dashboards/fragment.html", context, request)
    seen = blake2b(body.encode(), digest_size=12).hexdigest()
    if request.GET.get("seen") == seen:
        return HttpResponse(status=204)
    mark = render_to_string("dashboards/seen.html", {"seen": seen})
    return HttpResponse(body + mark)
