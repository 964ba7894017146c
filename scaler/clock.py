"""The only module that reads the machine's clock or sleeps; everything else is handed a :class:`Clock`."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Wall-clock time in unix seconds, and a wait that another thread can cut short."""

    def now(self) -> float:
        """Unix seconds."""
        ...

    def wait(self, seconds: float, stop: threading.Event) -> bool:
        """Wait ``seconds`` of this clock, or until ``stop`` is set; True when ``stop`` is set."""
        ...


class SteadyClock(Clock, Protocol):
    """A clock that also measures how long ago something was, whatever becomes of the wall clock meanwhile."""

    def elapsed(self) -> float:
        """Seconds since some moment; never set back, and counting on while this process is stopped (SIGSTOP) or the
        machine sleeps."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()

    def elapsed(self) -> float:
        boot = getattr(time, "CLOCK_BOOTTIME", None)  # Linux; elsewhere the monotonic clock may rest with the machine
        return time.monotonic() if boot is None else time.clock_gettime(boot)

    def wait(self, seconds: float, stop: threading.Event) -> bool:
        return stop.wait(max(seconds, 0.0))


class ManualClock:
    """A clock that moves only when told to, or when somebody waits on it: for tests, the demo and simulations."""

    def __init__(self, start: float) -> None:
        self._now = start

    def now(self) -> float:
        return self._now

    def elapsed(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the clock forward by ``seconds`` (>= 0)."""
        if seconds < 0:
            raise ValueError(f"a clock does not run backwards: {seconds} s")
        self._now += seconds

    def wait(self, seconds: float, stop: threading.Event) -> bool:
        if not stop.is_set():
            self.advance(max(seconds, 0.0))
        return stop.is_set()
