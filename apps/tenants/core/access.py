"""Keys, roles and scopes: what they are made of and what they allow. Pure."""

import base64
import hashlib
from dataclasses import dataclass
from typing import Literal

Scope = Literal["ingest", "route", "read", "manage"]
Role = Literal["viewer", "admin", "owner"]

SCOPES: tuple[Scope, ...] = ("ingest", "route", "read", "manage")
# What a router needs; `manage` changes settings, and is for the scripts of admins.
ROUTER_SCOPES: tuple[Scope, ...] = ("ingest", "route", "read")
ROLES: tuple[Role, ...] = ("viewer", "admin", "owner")
KEY_PREFIX = "cb_"
SHOWN_PREFIX_LENGTH = len(KEY_PREFIX) + 6


@dataclass(frozen=True, slots=True)
class KeyIdentity:
    """What a valid key proves."""

    api_key_id: int
    tenant_id: int
    name: str
    scopes: frozenset[str]


def role_allows_changes(role: str) -> bool:
    """Viewers see everything and change nothing; admins and owners also change."""
    return role in ("admin", "owner")


def may_manage(own_role: str, role: str) -> bool:
    """Whether a member in `own_role` may give, change or take `role`. Owners are owners' affair."""
    return own_role == "owner" or (own_role == "admin" and role in ("viewer", "admin"))


def hash_secret(secret: str) -> bytes:
    """SHA-256: the secret is 256 random bits, so a slow hash would only slow ingest."""
    return hashlib.sha256(secret.encode()).digest()


def read_authorization(header: str) -> str | None:
    """The key in an Authorization header: `Bearer KEY`, or Basic with the key as password.

    None when there is none to be read.
    """
    kind, _, rest = header.partition(" ")
    rest = rest.strip()
    if kind.lower() == "bearer":
        return rest or None
    if kind.lower() != "basic":
        return None
    try:
        pair = base64.b64decode(rest, validate=True).decode()
    except ValueError:  # no base64, or not of UTF-8; in Python both are ValueErrors
        return None
    return pair.partition(":")[2] or None
