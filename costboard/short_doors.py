"""Decisions and reservations by the shortest way: an operation's own key check, body and function,
without what ninja and Django put around them, which cost more than a decision.

The operation is ninja's, so there is one implementation. What fails is answered as ninja would, and
a body that is not as it should be is ninja's to look at: it says what is wrong with it.
"""

from collections.abc import Callable
from functools import cached_property
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
    """A request of which nothing is looked at but the head and whose key it carries."""

    def __init__(self, environ: Environ, whole: type[WSGIRequest]) -> None:
        self.environ = self.META = environ
        self.read_body: bytes | None = None
        self._whole_class = whole

    @cached_property
    def whole(self) -> WSGIRequest:
        """As Django has it. Made once: making it changes how the environ's path is written."""
        request = self._whole_class(self.environ)
        if self.read_body is not None:
            request._body = self.read_body
        return request


class ShortDoor:
    """An operation, called by its parts; `view` is the whole of it."""

    def __init__(self, function: View, view: View) -> None:
        (self._authenticate,) = function._ninja_operation.auth_callbacks  # type: ignore[attr-defined]
        assert isinstance(self._authenticate, KeyAuth)  # noqa: S101 - it raises, or lets in
        hints = get_type_hints(function)
        self._body: type[BaseModel] | None = hints.pop("body", None)
        self._takes_id = any(name.endswith("_id") for name in hints)
        self._function, self._view = function, view

    def answer(self, request: ShortRequest) -> HttpResponse:
        try:
            request.auth = self._authenticate(request)
            arguments = self._arguments(request)
        except (ValidationError, _Unusual):
            return self._view(request.whole)
        except Exception as error:
            return api.on_exception(request.whole, error)
        try:
            return self._function(request, *arguments)
        except Exception as error:
            return api.on_exception(request.whole, error)

    def _arguments(self, request: ShortRequest) -> list[Any]:
        arguments: list[Any] = []
        if self._takes_id:
            path: str = request.environ["PATH_INFO"]
            if not path.isascii():
                raise _Unusual
            arguments.append(path.split("/")[-2])
        if self._body is not None:
            request.read_body = _read_body(request.environ)
            arguments.append(self._body.model_validate_json(request.read_body))
        return arguments


class _Unusual(Exception):
    """A body of no length, or of a large one, which is not read yet; an id that cannot be one."""


def _read_body(environ: Environ) -> bytes:
    length = environ.get("CONTENT_LENGTH") or ""
    if not (length.isascii() and length.isdigit() and int(length) <= MAX_BODY_BYTES):
        raise _Unusual
    read: bytes = environ["wsgi.input"].read(int(length))
    return read
