"""API keys on requests: who calls, for which tenant, with which scopes."""

from django.http import HttpRequest
from ninja.security.base import AuthBase

from apps.tenants.core.access import KeyIdentity, read_authorization
from apps.tenants.key_memory import keys
from apps.tenants.problems import Problem


class ApiRequest(HttpRequest):
    """A request that KeyAuth let in."""

    auth: KeyIdentity


class KeyAuth(AuthBase):
    """`Authorization: Bearer KEY`, or Basic with the key as password; needs one of the scopes.

    Leaves the KeyIdentity in `request.auth`. 401 without a valid key, 403 without the scope.
    """

    openapi_type = "http"
    openapi_scheme = "bearer"

    def __init__(self, *scopes: str) -> None:
        super().__init__()
        self.scopes = frozenset(scopes)

    def __call__(self, request: HttpRequest) -> KeyIdentity:
        secret = read_authorization(request.META.get("HTTP_AUTHORIZATION", ""))
        if secret is None:
            raise Problem(
                401,
                "missing_key",
                "send an API key: Authorization: Bearer KEY (or Basic, the key as password)",
                field="Authorization",
            )
        identity = keys.find(secret)
        if identity is None:
            raise Problem(
                401, "invalid_key", "the API key is unknown or revoked", field="Authorization"
            )
        if not identity.scopes & self.scopes:
            raise Problem(
                403,
                "missing_scope",
                f"key {identity.name!r} has scopes {sorted(identity.scopes)};"
                f" this call needs {' or '.join(sorted(self.scopes))}",
                field="Authorization",
            )
        return identity
