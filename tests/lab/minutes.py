"""The newest whole minute, for tests that write a past up to it and have it read by a command."""

from __future__ import annotations

import time

LEFT = 20.0  # s


def newest_whole_minute() -> float:
    """The end (unix s) of the newest minute that is over, with ``LEFT`` s to go before there is a newer one: the
    command looks at its own clock, and would read a minute more, in which nothing was written.
    """
    passed = time.time() % 60
    if passed > 60 - LEFT:
        time.sleep(60 - passed)
    now = time.time()
    return now - now % 60
