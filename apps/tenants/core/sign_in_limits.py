"""How often one may try to sign in, and from where an attempt comes. Pure.

Three counts, so that neither guessing one person's password nor one password of everybody gets far,
and nobody can keep another out by failing in their name: that takes many addresses at once.
"""

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `attempts` that failed within `window`, counted from the first of them."""

    attempts: int
    window: timedelta


BY_ACCOUNT_AND_ADDRESS: Final = Limit(10, timedelta(minutes=15))
BY_ACCOUNT: Final = Limit(60, timedelta(hours=1))
BY_ADDRESS: Final = Limit(100, timedelta(minutes=15))


def limits_of(email: str, address: str) -> list[tuple[bytes, Limit]]:
    """What an attempt counts towards, in this order, by the hash that it is kept under: the
    address, the account from there, the account."""
    account = email.strip().lower()
    return [
        (_subject("address", address), BY_ADDRESS),
        (_subject("both", account, address), BY_ACCOUNT_AND_ADDRESS),
        (_subject("account", account), BY_ACCOUNT),
    ]


def client_address(peer: str, forwarded: str, proxies: int) -> str:
    """The address of who asks: the peer's, or behind `proxies` of our own what the outermost of
    them wrote into X-Forwarded-For. What stands left of that the client may have made up.

    Of IPv6 the /64 is what one subscriber has.
    """
    hops = [hop.strip() for hop in forwarded.split(",") if hop.strip()]
    chosen = hops[-proxies] if 0 < proxies <= len(hops) else peer
    try:
        address = ipaddress.ip_address(chosen)
    except ValueError:
        return peer[:64]
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False).network_address)
    return str(address)


def _subject(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
