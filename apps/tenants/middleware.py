"""Which tenant a signed-in person is looking at."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from apps.tenants.selectors import Membership, list_memberships

SESSION_KEY = "tenant_id"


class TenantRequest(HttpRequest):
    """A request of a signed-in person, after this middleware."""

    membership: Membership | None
    memberships: list[Membership]


class ActiveTenantMiddleware:
    """Sets `request.membership`: the chosen tenant and the person's role there, or None.

    Membership is read anew for each request, so that a removed member is out at once.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> HttpResponse:
        request.memberships = []
        request.membership = None
        # API calls carry keys, not sessions: they must not pay for a session look-up.
        if settings.SESSION_COOKIE_NAME in request.COOKIES and request.user.is_authenticated:
            request.memberships = list_memberships(request.user.pk)
            request.membership = self._chosen(request)
        return self.get_response(request)

    @staticmethod
    def _chosen(request: Any) -> Membership | None:
        chosen_id = request.session.get(SESSION_KEY)
        for membership in request.memberships:
            if membership.tenant_id == chosen_id:
                return membership  # type: ignore[no-any-return]
        return request.memberships[0] if request.memberships else None
