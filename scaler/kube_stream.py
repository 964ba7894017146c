"""One watch response of the API server, line by line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import urllib3

from scaler.errors import Unreachable

LONGEST_LINE = 16 << 20  # bytes; etcd refuses objects above 1.5 MB, so a longer line is no event


class Stream:
    """The lines of one watch response. ``close`` may be called from any thread and ends a read that waits."""

    def __init__(self, response: urllib3.BaseHTTPResponse, doing: str) -> None:
        self._response = response
        self._doing = doing

    def lines(self) -> Iterator[bytes]:
        """Whole lines as they arrive. Raises Unreachable when the connection breaks or falls silent."""
        rest = b""
        try:
            for chunk in self._response.stream(1 << 16):
                rest += chunk
                *whole, rest = rest.split(b"\n")
                yield from whole
                if len(rest) > LONGEST_LINE:
                    raise Unreachable(f"cannot {self._doing}: a line without end; it is begun anew")
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as broken:
            # ValueError and AttributeError: the socket was closed under the read by close().
            raise Unreachable(
                f"cannot {self._doing}: it broke off ({type(broken).__name__}); it is begun anew"
            ) from None

    def interrupt(self) -> None:
        """End a read that waits in another thread."""
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # it may have ended already
            self._response.shutdown()

    def close(self) -> None:
        """Give the connection up; called by the reading thread."""
        self._response.close()
