"""The doors that routers knock at for every request of theirs, without what pages need.

Such a call has no session, form or template, and its address is known: the middleware for those and
the search through all addresses cost more than the door itself. Behind it is the same view that the
addresses lead to, so there is one implementation; what the middleware promises of every answer is
kept by the middleware's own code. Whatever is unusual about a call goes the long way. Decisions and
reservations go a shorter way yet (short_doors.py).

Whichever way a call goes, a database that says nothing is waited for no longer than a limit.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.wsgi import WSGIRequest
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.gzip import GZipMiddleware
from django.middleware.security import SecurityMiddleware
from django.urls import resolve
from django.utils.log import log_response

from apps.tenants.patience import wait_limit
from apps.usage.backpressure import COMMIT_SHARE
from costboard.security import ContentSecurityPolicyMiddleware
from costboard.short_doors import ANY, FUNCTIONS, ShortDoor, ShortRequest

View = Callable[..., HttpResponse]
Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]

MAX_HOSTS: Final = 100
PATHS: Final = (
    "/api/v1/usage/events",
    "/api/v1/usage/litellm",
    "/api/v1/events",
    "/v1/traces",
    "/api/v1/otlp/v1/traces",
    "/api/public/otel/v1/traces",
    "/api/v1/routing/decisions",
    "/api/v1/budgets/reservations",
)
PATHS_OF_ONE: Final = tuple(
    f"/api/v1/{what}/{ANY}/{end}"
    for what in ("routing/decisions", "budgets/reservations")
    for end in ("settle", "release")
)


class HotDoors:
    """A WSGI application: POST to one of PATHS, or PATHS_OF_ONE, is answered here, all else by
    `other`."""

    def __init__(
        self,
        other: Callable[[Environ, Any], Any],
        request_class: type[WSGIRequest],
        more_paths: tuple[str, ...] = (),
    ) -> None:
        self._other = other
        self._request_class = request_class
        paths = PATHS + PATHS_OF_ONE + more_paths
        self._views = {path: _view_at(path) for path in paths}
        self._short = {
            path: ShortDoor(function, self._views[path]) for path, function in FUNCTIONS.items()
        }
        self._gzip: Any = GZipMiddleware(lambda _: HttpResponse())
        # By whether the call came over TLS: what the middleware puts on every answer.
        self._headers: dict[bool, dict[str, str]] = {}
        # Hosts as callers write them, found to be allowed.
        self._hosts: set[str] = set()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Any:
        path = self._name(environ["PATH_INFO"])
        if path is None or environ["REQUEST_METHOD"] != "POST" or environ.get("SCRIPT_NAME"):
            return self._go_the_long_way(environ, start_response)
        short = self._short.get(path)
        if short is not None:
            request = ShortRequest(environ, self._request_class)
            return self._answer(request, partial(short.answer, request), start_response)
        whole = self._request_class(environ)
        return self._answer(whole, partial(self._views[path], whole), start_response)

    def _answer(
        self, request: WSGIRequest, view: Callable[[], HttpResponse], start_response: StartResponse
    ) -> Any:
        if not self._is_allowed(request):
            return self._go_the_long_way(request.environ, start_response)
        try:
            with wait_limit(settings.INGEST_TIME_LIMIT_S * COMMIT_SHARE):
                response = self._gzip.process_response(request, view())
            if response.status_code >= 400:
                whole = _whole(request)
                said = ("%s: %s", response.reason_phrase, whole.path)
                log_response(*said, response=response, request=whole)
            body = response.content
        finally:
            # What Django does at the end of a request: the connection goes back to the pool.
            connection.close_if_unusable_or_obsolete()
        headers = self._promised(request) | dict(response.items())
        headers["Content-Length"] = str(len(body))
        start_response(f"{response.status_code} {response.reason_phrase}", [*headers.items()])
        return [body]

    def _go_the_long_way(self, environ: Environ, start_response: StartResponse) -> Any:
        with wait_limit(settings.WEB_WAIT_LIMIT_S):
            return self._other(environ, start_response)

    def _name(self, path: str) -> str | None:
        """The door's, by which it is known here."""
        if path in self._views:
            return path
        head, _, end = path.rpartition("/")
        head, _, name = head.rpartition("/")
        named = f"{head}/{ANY}/{end}"
        return named if name and named in self._views else None

    def _promised(self, request: HttpRequest) -> dict[str, str]:
        """The headers that every answer has, found out once by asking the middleware."""
        is_secure = request.is_secure()
        headers = self._headers.get(is_secure)
        if headers is None:
            headers = dict(_guarded(lambda _: HttpResponse())(_whole(request)).items())
            self._headers[is_secure] = headers
        return headers

    def _is_allowed(self, request: HttpRequest) -> bool:
        host = request.META.get("HTTP_HOST", "")
        if host in self._hosts:
            return True
        try:
            request.get_host()
        except DisallowedHost:
            return False
        if len(self._hosts) < MAX_HOSTS:
            self._hosts.add(host)
        return True


def _whole(request: HttpRequest) -> HttpRequest:
    return request.whole if isinstance(request, ShortRequest) else request


def _view_at(path: str) -> View:
    """What the address leads to; given the id that stands in its last place but one."""
    found = resolve(path)
    if not found.kwargs:
        return found.func
    (name,) = found.kwargs
    return lambda request: found.func(request, **{name: request.path_info.split("/")[-2]})


def _guarded(view: View) -> View:
    """The view behind the middleware that puts its headers on every answer."""
    guarded: Any = ContentSecurityPolicyMiddleware(view)
    for middleware in (XFrameOptionsMiddleware, SecurityMiddleware):
        guarded = middleware(guarded)
    return guarded  # type: ignore[no-any-return]
