"""Sending a webhook to an address that was checked, and to no other.

The name is resolved once, every address of it is checked, and the connection is made to the address
itself: what the name means a moment later does not matter. The host's name is still what TLS
verifies and what the Host header says. Redirects are not followed; the answer is read up to a
limit, and all of it within SEND_LIMIT_S.
"""

import socket
import ssl
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse
from ipaddress import ip_address
from typing import Final

from apps.alerts.core.addresses import Address, AddressPolicy
from apps.alerts.core.retries import SendResult, outcome_of_status, read_retry_after
from apps.alerts.errors import AddressRefusedError
from apps.alerts.targets import WebhookTarget, parse_webhook

CONNECT_LIMIT_S: Final = 5.0
SEND_LIMIT_S: Final = 15.0
MAX_ANSWER_BYTES: Final = 16_384
MAX_ADDRESSES: Final = 16
USER_AGENT: Final = "Costboard-Alerts/1"


class PinnedConnection(HTTPConnection):
    """HTTP(S) over a connection to one address, whatever the host's name means by now."""

    def __init__(self, target: WebhookTarget, address: Address) -> None:
        super().__init__(target.host, target.port, timeout=CONNECT_LIMIT_S)
        self._target, self._address = target, address

    def connect(self) -> None:
        self.sock = socket.create_connection(
            (str(self._address), self._target.port), CONNECT_LIMIT_S
        )
        if self._target.scheme == "https":
            self.sock = _tls().wrap_socket(self.sock, server_hostname=self._target.host)

    def hang_up(self) -> None:
        """From another thread: whoever waits on this connection stops waiting."""
        try:
            if self.sock is not None:
                self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def post_webhook(
    url: str, *, body: bytes, headers: Mapping[str, str], policy: AddressPolicy
) -> SendResult:
    """One attempt. Never raises for what the network or the receiver does."""
    deadline = time.monotonic() + SEND_LIMIT_S
    try:
        target = parse_webhook(url, policy)
        addresses = resolve(target, policy)
    except AddressRefusedError as error:
        return SendResult("failed", f"not sent: {error}")
    except OSError as error:
        return SendResult("retry", f"{target.host} has no address: {_words(error)}")
    result = SendResult("retry", "it took too long to find the host")
    for address in addresses:
        if time.monotonic() >= deadline:
            break
        try:
            return _post(target, address, body=body, headers=headers, deadline=deadline)
        except _NotConnectedError as error:
            # Nothing was sent yet: the next address may do better.
            result = SendResult("retry", f"no connection to {target.host}: {error}")
    return result


def resolve(target: WebhookTarget, policy: AddressPolicy) -> list[Address]:
    """The host's addresses. Raises AddressRefusedError when one of them may not be reached, even
    beside others that may: a name that points inside is not a mistake to work around."""
    rows = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    found = [ip_address(str(row[4][0]).partition("%")[0]) for row in rows]
    addresses = list(dict.fromkeys(found))[:MAX_ADDRESSES]
    if target.host not in policy.hosts:
        for address in addresses:
            if not policy.allows(address):
                raise AddressRefusedError(
                    f"{target.host} is at {address}, which is not a global address;"
                    " the operator can allow it",
                    field="target",
                )
    return addresses


class _NotConnectedError(Exception):
    pass


def _post(
    target: WebhookTarget,
    address: Address,
    *,
    body: bytes,
    headers: Mapping[str, str],
    deadline: float,
) -> SendResult:
    connection = PinnedConnection(target, address)
    # Each read has a limit of its own; this ends a receiver that sends a byte now and then.
    watch = threading.Timer(max(0.0, deadline - time.monotonic()), connection.hang_up)
    watch.daemon = True
    watch.start()
    try:
        _connect(connection)
        if connection.sock is not None:
            connection.sock.settimeout(max(0.1, deadline - time.monotonic()))
        every = {"Host": target.host_header, "User-Agent": USER_AGENT} | dict(headers)
        connection.request("POST", target.path, body, every)
        response = connection.getresponse()
        return _read(response)
    except (OSError, HTTPException) as error:
        is_late = time.monotonic() >= deadline
        why = "it took too long" if is_late else _words(error)
        return SendResult("retry", f"no answer: {why}")
    finally:
        watch.cancel()
        connection.close()


def _connect(connection: PinnedConnection) -> None:
    try:
        connection.connect()
    except OSError as error:
        raise _NotConnectedError(_words(error)) from error


def _read(response: HTTPResponse) -> SendResult:
    """What the status means. The answer's own words are not kept: a receiver could write anything
    into our log, and a forged one could be read there."""
    status = response.status
    provider_id = (response.headers.get("x-request-id") or "")[:200]
    response.read(MAX_ANSWER_BYTES)
    outcome = outcome_of_status(status)
    if outcome == "sent":
        return SendResult("sent", http_status=status, provider_id=_printable(provider_id))
    error = f"the receiver answered {status}"
    if 300 <= status < 400:
        error += ", a redirect; redirects are not followed"
    asked = read_retry_after(response.headers.get("retry-after"), now=datetime.now(UTC))
    return SendResult(outcome, error, status, retry_after_s=asked)


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    words = error.strerror if isinstance(error, OSError) else ""
    return _printable(str(words or type(error).__name__))[:200]


def _printable(text: str) -> str:
    return "".join(sign for sign in text if sign.isprintable())
