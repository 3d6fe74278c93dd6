"""The first run: the first account and organisation, its departments, and on to the first event.

Each step is kept as it is made, so that one may stop anywhere: the next visit goes on with what is
missing.
"""

from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import available_timezones

from django.contrib.auth import get_user_model
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from apps.dashboards.page import PageRequest, page
from apps.dashboards.setup.accounts import open_session
from apps.insights.public_holidays import list_countries
from apps.tenants.core.access import role_allows_changes
from apps.tenants.core.department_tree import read_tree
from apps.tenants.errors import InvalidTenantInputError, NotAllowedError, TenantsError
from apps.tenants.first_run import FirstAccount, is_setup_token, needs_setup, set_up
from apps.tenants.middleware import SESSION_KEY
from apps.tenants.organisation import add_departments
from apps.tenants.selectors import list_departments

MAX_TEXT: Final = 320
MAX_TREE: Final = 100_000
# Those that the European Central Bank quotes: suggestions, any ISO code is taken.
CURRENCIES: Final = (
    *("USD", "EUR", "GBP", "CHF", "JPY", "AUD", "BRL", "CAD", "CNY", "CZK", "DKK", "HKD", "HUF"),
    *("IDR", "ILS", "INR", "ISK", "KRW", "MXN", "MYR", "NOK", "NZD", "PHP", "PLN", "RON", "SEK"),
    *("SGD", "THB", "TRY", "ZAR"),
)
FIELDS: Final = ("email", "person", "organisation", "time_zone", "currency", "country")


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def first_account(request: Any) -> HttpResponse:
    """Who you are and whom you set this up for; needs the token while there is nobody."""
    if not needs_setup():
        return redirect("login")
    token = (request.POST.get("token") or request.GET.get("token") or "")[:MAX_TEXT]
    if not is_setup_token(token):
        return render(request, "dashboards/setup_token.html", status=403)
    if request.method != "POST":
        return _show_account(request, token, {"currency": "USD"})
    given = {
        name: request.POST.get(name, "").replace("\0", "").strip()[:MAX_TEXT] for name in FIELDS
    }
    given["currency"] = given["currency"].upper()
    password = request.POST.get("password", "")[:MAX_TEXT]
    now = datetime.now(UTC)
    try:
        user_id, tenant_id = set_up(token, FirstAccount(password=password, **given), now=now)
    except InvalidTenantInputError as error:
        errors = {error.field or "email": _sentence(str(error))}
        return _show_account(request, token, given, errors=errors, status=422)
    except NotAllowedError:
        return redirect("login")
    open_session(request, get_user_model().objects.get(pk=user_id), now)
    request.session[SESSION_KEY] = tenant_id
    return redirect("setup-departments")


def _show_account(
    request: Any, token: str, given: dict[str, str], *, status: int = 200, **more: Any
) -> HttpResponse:
    context = {
        "token": token,
        "given": given,
        "errors": {},
        "zones": sorted(available_timezones()),
        "currencies": CURRENCIES,
        "countries": list_countries(),
    }
    return render(request, "dashboards/setup_account.html", context | more, status=status)


@page
def first_departments(request: PageRequest) -> HttpResponse:
    """The tree of cost centres, a line each; may be left out."""
    if not role_allows_changes(request.membership.role):
        return render(request, "403.html", {"needs_role": "admin"}, status=403)
    if request.method != "POST":
        return _show_departments(request, "")
    text = request.POST.get("tree", "").replace("\0", "")[:MAX_TREE]
    wanted, errors = read_tree(text)
    if errors:
        lines = [f"Line {one.line}: {one.detail}." for one in errors]
        return _show_departments(request, text, errors=lines, status=422)
    try:
        add_departments(wanted, actor=request.user.get_username(), now=request.now)
    except TenantsError as error:
        return _show_departments(request, text, errors=[_sentence(str(error))], status=422)
    return redirect("overview")


def _show_departments(
    request: PageRequest, text: str, *, status: int = 200, **more: Any
) -> HttpResponse:
    context = {"tenant": request.tenant, "text": text, "known": len(list_departments())}
    return render(request, "dashboards/setup_departments.html", context | more, status=status)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
