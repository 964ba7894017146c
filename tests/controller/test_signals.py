"""A signal, and an end that nothing holds up."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from scaler.cli.run import run
from scaler.cli.signals import Signals, end_in_time
from scaler.leadership import LEASE
from scaler.resources.credentials import CREDENTIALS


def test_who_is_woken_is_told_to_stop() -> None:
    signals = Signals()
    signals.end()
    assert (signals.stop.is_set(), signals.wake.is_set()) == (True, True)


def test_the_process_is_left_when_its_time_is_up_and_not_before_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    stop, left = threading.Event(), threading.Event()
    end_in_time(stop, left.set, 0.05)
    assert not left.wait(0.1)
    began = time.monotonic()
    stop.set()
    assert left.wait(5.0)
    assert time.monotonic() - began >= 0.05
    assert caplog.messages == ["what has not ended within 0.05 s of the signal is left; stopped"]


def test_the_process_is_left_also_where_what_it_says_is_not_taken() -> None:
    """Standard error may be a pipe that nobody reads."""
    stop, left, read = threading.Event(), threading.Event(), threading.Event()

    class Pipe(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            read.wait(30.0)

    logger, full = logging.getLogger("lagcast"), Pipe()
    logger.addHandler(full)
    try:
        end_in_time(stop, left.set, 0.0)
        stop.set()
        assert left.wait(5.0)
    finally:
        read.set()
        logger.removeHandler(full)


def test_the_help_shows_the_defaults_that_hold() -> None:
    """They are not options' own: what they are is imported after signals are heeded."""
    shown = {param.name: getattr(param, "show_default", None) for param in run.params}
    assert (shown["lease"], shown["credentials"]) == (LEASE, str(CREDENTIALS))
