"""The keys page: what routers may use, and making and revoking it."""

from datetime import timedelta
from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect, render

from apps.dashboards.page import PageRequest, changing, page
from apps.dashboards.setup.onboarding import first_event_context
from apps.tenants.core.access import ROUTER_SCOPES, SCOPES
from apps.tenants.errors import InvalidTenantInputError
from apps.tenants.selectors import list_api_keys
from apps.tenants.services import issue_api_key, revoke_api_key
from apps.usage.charges import ChargeQuery, list_charges
from apps.usage.selectors import read_last_event_at

MAX_NAME_LENGTH = 100
SCOPE_WORDS = {
    "ingest": "post usage events",
    "route": "ask where to send requests, and reserve money",
    "read": "read spend, prices and budgets",
    "manage": "change settings, as an admin does",
}


def _context(request: PageRequest, **more: Any) -> dict[str, Any]:
    every = list_api_keys()
    return {
        "active_keys": [key for key in every if key.revoked_at is None],
        "revoked_keys": [key for key in every if key.revoked_at is not None],
        "scopes": [(scope, SCOPE_WORDS[scope]) for scope in SCOPES],
        "chosen_scopes": list(ROUTER_SCOPES),
        "tenant": request.tenant,
    } | more


@page
def keys(request: PageRequest) -> HttpResponse:
    return render(request, "dashboards/keys.html", _context(request))


@changing
def create_key(request: PageRequest) -> HttpResponse:
    """Makes a key and shows its secret, this once."""
    name = request.POST.get("name", "").strip()
    scopes = request.POST.getlist("scopes")
    if not name or len(name) > MAX_NAME_LENGTH:
        error = f"Give the key a name of at most {MAX_NAME_LENGTH} characters."
        return _refused(request, name, scopes, {"name_error": error})
    try:
        secret = issue_api_key(
            name=name, scopes=scopes, actor=request.user.get_username(), now=request.now
        )
    except InvalidTenantInputError:
        return _refused(request, name, scopes, {"scopes_error": "Choose what the key may do."})
    made = {"new_name": name, "shows_usage": "ingest" in scopes}
    context = _context(request, **made, **first_event_context(request, secret))
    return render(request, _template(request), context)


def _refused(
    request: PageRequest, name: str, scopes: list[str], errors: dict[str, str]
) -> HttpResponse:
    context = _context(request, name=name, **errors) | {"chosen_scopes": scopes}
    return render(request, _template(request), context, status=422)


def _template(request: PageRequest) -> str:
    return "dashboards/keys_body.html" if request.htmx else "dashboards/keys.html"


@changing
def revoke_key(request: PageRequest) -> HttpResponse:
    key_id = request.POST.get("key_id", "")
    if key_id.isascii() and key_id.isdigit() and len(key_id) < 19:
        revoke_api_key(api_key_id=int(key_id), actor=request.user.get_username(), now=request.now)
    if not request.htmx:
        return redirect("keys")
    return render(request, "dashboards/keys_body.html", _context(request))


@changing
def first_key(request: PageRequest) -> HttpResponse:
    """From a page without usage: a key for a first router, in a line that is ready to run."""
    secret = issue_api_key(
        name="first router",
        scopes=["ingest"],
        actor=request.user.get_username(),
        now=request.now,
    )
    context = first_event_context(request, secret) | {"made": True}
    return render(request, "dashboards/first_event.html", context)


@page
def first_arrival(request: PageRequest) -> HttpResponse:
    """The first event, where a page with a new key waits for it: a reload would lose the key."""
    last = read_last_event_at()
    if last is None:
        return HttpResponse(status=204)
    margin = timedelta(days=1)
    found = list_charges(ChargeQuery(start=last - margin, end=last + margin, limit=1))
    context = {"charge": found[0] if found else None}
    return render(request, "dashboards/first_arrival.html", context)
