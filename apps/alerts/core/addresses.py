"""Which addresses a message may be sent to. Pure: names are resolved elsewhere.

By default only what is global: what the Internet routes and nobody's own network. The operator may
allow networks and name hosts.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

HTTPS_PORT: Final = 443
FIRST_UNPRIVILEGED_PORT: Final = 1024
# The local parts of IPv6 that carry an IPv4 address for a translator (RFC 6052, 8215).
NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
HOST_NAME: Final = re.compile(
    r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?)*"
)
# What inet_aton takes for an address though no person writes one so: 2130706433, 0x7f.1, 0177.0.0.1
NUMERIC_HOST: Final = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*\.?")


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What the operator allows beside the global addresses."""

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    def allows(self, address: Address) -> bool:
        """Whether a connection to this address may be made."""
        plain = unwrapped(address)
        return is_global(plain) or self.lists(plain)

    def lists(self, address: Address) -> bool:
        plain = unwrapped(address)
        return any(
            plain in network for network in self.networks if network.version == plain.version
        )

    def names(self, host: str) -> bool:
        """Whether the operator vouches for this host: by name, or by an address in a network."""
        literal = literal_address(host)
        return host in self.hosts if literal is None else self.lists(literal)


def parse_policy(text: str) -> AddressPolicy:
    """From "10.0.0.0/8, mattermost.corp.example". Raises ValueError naming the part at fault."""
    networks: list[Network] = []
    hosts: set[str] = set()
    for part in (piece.strip().lower() for piece in text.split(",")):
        if not part:
            continue
        if "/" in part or literal_address(part) is not None:
            networks.append(ip_network(part))
        elif HOST_NAME.fullmatch(part) and not NUMERIC_HOST.fullmatch(part):
            hosts.add(part)
        else:
            raise ValueError(f"{part!r} is neither a network nor the name of a host")
    return AddressPolicy(tuple(networks), frozenset(hosts))


def literal_address(host: str) -> Address | None:
    """The address that the host is written as, None for a name."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


def is_odd_number(host: str) -> bool:
    """An address in a disguise that resolvers see through: decimal, octal, hexadecimal, short."""
    return bool(NUMERIC_HOST.fullmatch(host)) and literal_address(host) is None


def unwrapped(address: Address) -> Address:
    """The IPv4 address within a mapped, translated or 6to4 one: there the packets go."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if any(address in network for network in NAT64):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_global(address: Address) -> bool:
    """Routed on the Internet, to one host: no loopback, private, shared, link-local (with it the
    clouds' metadata), unique local, multicast, reserved, unspecified or Teredo address."""
    if isinstance(address, IPv6Address) and (
        address.is_site_local or address.teredo is not None or int(address) < 2**32
    ):
        return False
    return address.is_global and not (
        address.is_multicast
        or address.is_reserved
        or address.is_unspecified
        or address.is_loopback
        or address.is_link_local
        or address.is_private
    )
