"""What the controller's process is told from outside, and its end within a bounded time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

log = logging.getLogger("lagcast")

LONGEST_END = 4.0  # s from the signal to the end of the process, whatever still hangs
LAST_WORDS = 0.2  # s more to say so: stderr may be a pipe that nobody reads


@dataclass(frozen=True, slots=True)
class Signals:
    """What the controller's thread is told by others."""

    stop: threading.Event = field(default_factory=threading.Event)
    wake: threading.Event = field(default_factory=threading.Event)

    def end(self) -> None:
        """End soon."""
        self.stop.set()
        self.wake.set()  # after: who is woken looks whether to stop


def end_in_time(stop: threading.Event, leave: Callable[[], None], seconds: float = LONGEST_END) -> None:
    """Call ``leave`` on another thread ``seconds`` after ``stop`` was set: a call that hangs, or functions that are
    being compiled, hold up no end. Nothing is lost by it: the lease is handed over by a thread of its own before."""

    def watch() -> None:
        stop.wait()
        threading.Event().wait(seconds)
        try:
            words = threading.Thread(target=say, name="last words", daemon=True)
            words.start()
            words.join(LAST_WORDS)
        finally:
            leave()

    def say() -> None:
        log.warning("what has not ended within %g s of the signal is left; stopped", seconds)

    threading.Thread(target=watch, name="end", daemon=True).start()
