"""Ctrl-C, SIGTERM and a closed terminal (SIGHUP), at safe points only.

A KeyboardInterrupt that strikes between the start of a process and the note of its id would leave that process behind.
While :func:`deferred` is in force the signals only raise a flag, which every wait of the lab looks at.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_raised = threading.Event()


def check() -> None:
    """Raise KeyboardInterrupt when a signal came since :func:`deferred` was entered."""
    if _raised.is_set():
        raise KeyboardInterrupt


def pause(seconds: float) -> None:
    """Sleep ``seconds``, at most until a signal comes; then raise KeyboardInterrupt."""
    _raised.wait(seconds)
    check()


@contextlib.contextmanager
def deferred(*, late: bool = True) -> Iterator[None]:
    """SIGNALS wait for the next :func:`check`; more of them change nothing: tidying up is not cut short.

    With ``late`` a signal that no check saw raises KeyboardInterrupt at the end.
    Outside the main thread, where Python allows no handlers, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(_signal: int, _frame: FrameType | None) -> None:
        _raised.set()

    _raised.clear()
    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        came = _raised.is_set()
        _raised.clear()
    if came and late:
        raise KeyboardInterrupt
