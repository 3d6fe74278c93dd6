"""Which port the demo's web listens on."""

import socket

HOST = "127.0.0.1"
DEFAULT_PORT = 8000


class PortError(RuntimeError):
    """COSTBOARD_PORT cannot be used."""


def choose_port(wanted: str | None) -> int:
    """`wanted` if it is free; with None given, 8000 or, if that is taken, any free one."""
    if not wanted:
        return DEFAULT_PORT if is_free(DEFAULT_PORT) else _any_free_port()
    if not wanted.isdecimal() or not 0 < int(wanted) < 65_536:
        raise PortError(f"COSTBOARD_PORT is {wanted!r}; it is a number from 1 to 65535")
    if not is_free(int(wanted)):
        raise PortError(f"COSTBOARD_PORT is {wanted}, and another program listens there")
    return int(wanted)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port in TIME_WAIT after our own last run is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _any_free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
