"""Free TCP ports on loopback, for servers that will listen on them later."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection

HOST = "127.0.0.1"

# Below every system's range for outgoing connections (Linux starts at 32768): a client that retries while its server
# is stopped could otherwise be given the server's own port, and the server could not come back on it.
FIRST, LAST = 15_000, 32_000
ATTEMPTS = 1_000


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` of loopback now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do: a port whose old connections are still being forgotten (TIME_WAIT) is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(taken: Collection[int] = (), rng: random.Random | None = None) -> int:
    """A port that nobody listens on and that is not in ``taken``.

    Raises OSError when none was found in ``ATTEMPTS`` draws.
    """
    rng = rng or random.Random()
    for _ in range(ATTEMPTS):
        port = rng.randrange(FIRST, LAST)
        if port not in taken and is_free(port):
            return port
    raise OSError(f"no free port between {FIRST} and {LAST} on {HOST}")


def answers(port: int, timeout: float = 0.5) -> bool:
    """Whether somebody accepts connections on ``port`` of loopback."""
    try:
        with socket.create_connection((HOST, port), timeout=timeout):
            return True
    except OSError:
        return False
