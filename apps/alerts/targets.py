"""Addresses that people give for a channel: checked when saved, masked when shown.

Names are not resolved here: that happens at every send, where the answer counts (`webhook.py`).
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from apps.alerts.core.addresses import (
    FIRST_UNPRIVILEGED_PORT,
    HOST_NAME,
    HTTPS_PORT,
    AddressPolicy,
    is_odd_number,
    literal_address,
    parse_policy,
)
from apps.alerts.errors import AddressRefusedError, InvalidChannelError

MAX_TARGET_LENGTH: Final = 2000
MAX_RECIPIENTS: Final = 20
LOCAL_NAMES: Final = ("localhost", "local", "internal", "localdomain", "home.arpa")


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """A parsed address; `host` is in lower case, without brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def host_header(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        usual = 443 if self.scheme == "https" else 80
        return name if self.port == usual else f"{name}:{self.port}"


def operator_policy() -> AddressPolicy:
    """What COSTBOARD_ALERT_ALLOW allows."""
    return parse_policy(settings.ALERT_ALLOW)


def checked_target(kind: str, target: str) -> str:
    """The target as it is kept. Raises InvalidChannelError or AddressRefusedError."""
    target = target.strip()
    if not 0 < len(target) <= MAX_TARGET_LENGTH:
        raise InvalidChannelError(
            f"an address has 1 to {MAX_TARGET_LENGTH} characters", field="target"
        )
    if kind == "email":
        return ", ".join(recipients_of(target))
    if kind == "webhook":
        parse_webhook(target, operator_policy())
        return target
    # Imported late: apprise takes half a second and many megabytes, and few requests need it.
    from apps.alerts.apprise_service import check_service_url

    check_service_url(target, operator_policy())
    return target


def shown_target(kind: str, target: str) -> str:
    """What may be shown of it: whoever reads the rest could send in our name."""
    if kind == "email":
        return target
    parts = urlsplit(target)
    if kind == "webhook":
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname or ''}{port}/…"
    return f"{parts.scheme}://…"


def recipients_of(target: str) -> list[str]:
    """E-mail addresses, separated by commas, spaces or lines."""
    found = [part for part in re.split(r"[,;\s]+", target) if part]
    if not found or len(found) > MAX_RECIPIENTS:
        raise InvalidChannelError(
            f"give 1 to {MAX_RECIPIENTS} e-mail addresses, not {len(found)}", field="target"
        )
    for address in found:
        try:
            validate_email(address)
        except ValidationError:
            raise InvalidChannelError(
                f"{address[:80]!r} is not an e-mail address", field="target"
            ) from None
    return list(dict.fromkeys(found))


def parse_webhook(url: str, policy: AddressPolicy) -> WebhookTarget:
    """The parts of a webhook's URL, if messages may go there. Raises AddressRefusedError."""
    if not re.fullmatch(r"[\x21-\x7e]+", url) or "\\" in url:
        raise _refused("a URL has neither spaces nor control signs nor backslashes")
    parts = _split(url)
    host = (parts.hostname or "").rstrip(".")
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise _refused("a user name in the URL is not sent; use the path or verify the signature")
    if parts.fragment:
        raise _refused("a URL ends before any #")
    check_host(host, policy)
    is_named = policy.names(host)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_named):
        raise _refused("the URL starts with https:// (http only to hosts that the operator allows)")
    port = _port(parts)
    if not is_named and port != HTTPS_PORT and port < FIRST_UNPRIVILEGED_PORT:
        raise _refused(f"port {port} is not one for webhooks; use 443 or one from 1024")
    path = parts.path or "/"
    return WebhookTarget(parts.scheme, host, port, f"{path}?{parts.query}" if parts.query else path)


def check_host(host: str, policy: AddressPolicy) -> None:
    """Refuse a host that can be seen, without asking a resolver, to be nobody's business."""
    literal = literal_address(host)
    if literal is not None:
        if "%" in host or not policy.allows(literal):
            raise _refused(f"{host} is not a global address; the operator can allow its network")
        return
    if is_odd_number(host):
        raise _refused(f"write the address {host!r} as four numbers, or a name")
    if not HOST_NAME.fullmatch(host) or len(host) > 253:
        raise _refused(f"{host[:80]!r} is not the name of a host")
    is_local = any(host == name or host.endswith(f".{name}") for name in LOCAL_NAMES)
    if is_local and not policy.names(host):
        raise _refused(f"{host} is a name of this network; the operator can allow it")


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise _refused("this is not a URL") from None


def _port(parts: SplitResult) -> int:
    try:
        given = parts.port
    except ValueError:
        raise _refused("a port is a number from 1 to 65535") from None
    if given == 0:
        raise _refused("a port is a number from 1 to 65535")
    return given or (443 if parts.scheme == "https" else 80)


def _refused(why: str) -> AddressRefusedError:
    return AddressRefusedError(why, field="target")
