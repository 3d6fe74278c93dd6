"""Decisions and reservations by the shortest way: an operation's own key check, body and function,
without what ninja and Django put around them, which cost more than a decision.

The operation is ninja's, so there is one implementation. What fails is answered as ninja would, and
a body that is not as it should be is ninja's to look at: it says what is wrong with it.
"""

from collections.abc import Callable
from typing import Any, Final, get_type_hints

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse
from pydantic import BaseModel, ValidationError

from apps.budgets.reservations_api import (
    post_reservation,
    release_reservation,
    settle_reservation,
)
from apps.routing.api import make_decision, release_decision, settle_decision
from apps.tenants.authentication import ApiRequest, KeyAuth
from costboard.api import api

View = Callable[..., HttpResponse]
Environ = dict[str, Any]

# In place of an id.
ANY: Final = "*"
FUNCTIONS: Final[dict[str, View]] = {
    "/api/v1/routing/decisions": make_decision,
    f"/api/v1/routing/decisions/{ANY}/settle": settle_decision,
    f"/api/v1/routing/decisions/{ANY}/release": release_decision,
    "/api/v1/budgets/reservations": post_reservation,
    f"/api/v1/budgets/reservations/{ANY}/settle": settle_reservation,
    f"/api/v1/budgets/reservations/{ANY}/release": release_reservation,
}
MAX_BODY_BYTES: Final = 64 * 1024


class ShortRequest(WSGIRequest, ApiRequest):
    """A request of which nothing is looked at but the head and whose key it carries; until
    `complete`."""

    def __init__(self, environ: Environ) -> None:
        self.environ = self.META = environ

    def complete(self, whole: type[WSGIRequest], body: bytes | None) -> WSGIRequest:
        """As Django has it. `body` if it was read."""
        request = whole(self.environ)
        if body is not None:
            request._body = body
        return request


class ShortDoor:
    """An operation, called by its parts; `view` is the whole of it."""

    def __init__(self, function: View, view: View, whole: type[WSGIRequest]) -> None:
        (self._authenticate,) = function._ninja_operation.auth_callbacks  # type: ignore[attr-defined]
        assert isinstance(self._authenticate, KeyAuth)  # noqa: S101 - it raises, or lets in
        hints = get_type_hints(function)
        self._body: type[BaseModel] | None = hints.pop("body", None)
        self._takes_id = any(name.endswith("_id") for name in hints)
        self._function, self._view, self._whole = function, view, whole

    def answer(self, environ: Environ) -> HttpResponse:
        request = ShortRequest(environ)
        body: bytes | None = None
        try:
            request.auth = self._authenticate(request)
            arguments: list[Any] = []
            if self._takes_id:
                arguments.append(environ["PATH_INFO"].split("/")[-2])
            if self._body is not None:
                body = _read_body(environ)
                arguments.append(self._body.model_validate_json(body))
        except (ValidationError, _UnusualBody):
            return self._view(request.complete(self._whole, body))
        except Exception as error:
            return self._fail(request, body, error)
        try:
            return self._function(request, *arguments)
        except Exception as error:
            return self._fail(request, body, error)

    def _fail(self, request: ShortRequest, body: bytes | None, error: Exception) -> HttpResponse:
        whole = request.complete(self._whole, body)
        return api.on_exception(whole, error)


class _UnusualBody(Exception):
    """Of no length, or of a large one: not read yet."""


def _read_body(environ: Environ) -> bytes:
    length = environ.get("CONTENT_LENGTH") or ""
    if not (length.isascii() and length.isdigit() and int(length) <= MAX_BODY_BYTES):
        raise _UnusualBody
    read: bytes = environ["wsgi.input"].read(int(length))
    return read
