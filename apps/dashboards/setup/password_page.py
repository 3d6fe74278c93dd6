"""A forgotten password: asking for a link by e-mail, and setting a new one by it."""

from datetime import UTC, datetime
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods
from kombu.exceptions import OperationalError as NoBrokerError

from apps.dashboards.page import address_of
from apps.dashboards.sentences import capitalised
from apps.dashboards.setup.accounts import MAX_CREDENTIAL_LENGTH, wait_words
from apps.dashboards.tasks import send_password_link
from apps.tenants.errors import InvalidTenantInputError
from apps.tenants.password_reset import find_reset, reset_password
from apps.tenants.sign_in_limits import begin_sign_in

MAX_CODE_LENGTH: Final = 200


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def forgot(request: HttpRequest) -> HttpResponse:
    """The same answer, in the same time, whether or not anybody has the address: a worker looks."""
    if request.method != "POST":
        return render(request, "dashboards/forgot.html")
    email = request.POST.get("email", "").replace("\0", "").strip()[:MAX_CREDENTIAL_LENGTH]
    now = datetime.now(UTC)
    # Counted apart from signing in: who asks for links locks nobody out.
    wait_until = begin_sign_in(f"reset:{email}", address_of(request), now=now)
    if wait_until is not None:
        context = {"email": email, "wait": wait_words(wait_until, now)}
        return render(request, "dashboards/forgot.html", context, status=429)
    base_url = settings.PUBLIC_URL or request.build_absolute_uri("/").rstrip("/")
    try:
        send_password_link.delay(email, base_url)
    except NoBrokerError:
        context = {"email": email, "wait": "No worker can be reached. Try again in a moment."}
        return render(request, "dashboards/forgot.html", context, status=503)
    return render(request, "dashboards/forgot.html", {"sent_to": email})


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def set_new_password(request: HttpRequest, code: str) -> HttpResponse:
    offer = find_reset(code[:MAX_CODE_LENGTH])
    if offer is None:
        return render(request, "dashboards/reset_over.html", status=404)
    context: dict[str, Any] = {"email": offer.email}
    if request.method != "POST":
        return render(request, "dashboards/reset.html", context)
    password = request.POST.get("password", "")[:MAX_CREDENTIAL_LENGTH]
    try:
        done = reset_password(code, password=password, now=datetime.now(UTC))
    except InvalidTenantInputError as error:
        context |= {"error": f"{capitalised(str(error))}."}
        return render(request, "dashboards/reset.html", context, status=422)
    if not done:
        return render(request, "dashboards/reset_over.html", status=404)
    return redirect(reverse("login") + "?reset=1")
