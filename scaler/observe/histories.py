"""The past of each topic, read back in the background; handed to its scaler once, when it has come."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial

import numpy as np

from forecasting.series import Series
from scaler.errors import where
from scaler.observe.ports import OffsetSource
from scaler.observe.watched import KafkaCluster, Watched
from scaler.plan.observation import SET_BACK, Freshness, Reading, TopicOffsets
from scaler.plan.reasons import Reason

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Wanted:
    future: Future[Reading[Series]] | None = None
    seen_at: float = float("-inf")  # unix s at which it was last looked after
    retry_at: float = float("-inf")
    failures: int = 0
    done: bool = False


class _Lane:
    """One cluster's histories, one after another on one thread, so that another cluster's wait for none of them."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._lock = threading.Lock()
        self._jobs: deque[tuple[Future[Reading[Series]], Callable[[], Reading[Series]]]] = deque()
        self._busy = False

    def submit(self, read: Callable[[], Reading[Series]]) -> Future[Reading[Series]]:
        future: Future[Reading[Series]] = Future()
        with self._lock:
            self._jobs.append((future, read))
            begin, self._busy = not self._busy, True
        if begin:
            self._executor.submit(self._work)
        return future

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    self._busy = False
                    return
                future, read = self._jobs.popleft()
            try:
                future.set_result(read())
            except Exception as error:  # noqa: BLE001 - told where the result is fetched
                future.set_exception(error)


class Histories:
    """Starts a scaler's look back when its broker first answers, and again, later and later, while it fails.

    ``executor`` has a thread for each cluster that is read at the same time as others.
    """

    def __init__(self, executor: Executor, retry: float = 15.0, retry_max: float = 600.0) -> None:
        self._executor = executor
        self._retry = retry  # s before the second try; doubled at each failure
        self._retry_max = retry_max  # s
        self._wanted: dict[Watched, _Wanted] = {}
        self._lanes: dict[KafkaCluster, _Lane] = {}

    def collect(
        self, now: float, scaler: Watched, source: OffsetSource, offsets: Reading[TopicOffsets]
    ) -> Reading[Series] | None:
        """The scaler's history, the first time it is there; None before and after."""
        window = scaler.history
        state = self._wanted.setdefault(scaler, _Wanted())
        if now < state.seen_at - SET_BACK:  # it would end in a time that has not come, and as if that were without load
            state = self._wanted[scaler] = _Wanted()
        state.seen_at = now
        if window is None or state.done:
            return None
        if state.future is None:
            if not offsets.fresh or now < state.retry_at:
                return None
            end = now - now % window.step
            lane = self._lanes.setdefault(scaler.kafka, _Lane(self._executor))
            state.future = lane.submit(partial(source.history, scaler.topic.topic, end - window.span, end, window.step))
        if not state.future.done():
            return None
        reading = _result(state.future, now)
        state.future = None
        if reading.freshness is Freshness.ERROR:
            state.failures += 1
            state.retry_at = now + min(self._retry * 2 ** (state.failures - 1), self._retry_max)
            log.warning("history of topic %s: %s; trying again", scaler.topic.topic, reading.detail)
        else:
            state.done = True
            log.info("history of topic %s: %s", scaler.topic.topic, _told(reading))
        return reading

    def again(self, uid: str) -> None:
        """Read the scaler's history once more: whoever was handed it is no longer there."""
        for scaler, state in self._wanted.items():
            if scaler.uid == uid:
                state.done = False

    def forget(self, current: set[Watched]) -> None:
        """Drop the state of scalers that are no longer there."""
        for gone in [s for s in self._wanted if s not in current]:
            del self._wanted[gone]
        for unused in self._lanes.keys() - {s.kafka for s in current}:
            del self._lanes[unused]


def _told(reading: Reading[Series]) -> str:
    if reading.value is None:
        return reading.detail
    rates = reading.value.rates
    return f"{int((~np.isnan(rates)).sum())} of {len(rates)} steps known"


def _result(future: Future[Reading[Series]], now: float) -> Reading[Series]:
    error = future.exception()
    if error is None:
        return future.result()
    log.error("reading history failed: %s; please report it", where(error))
    return Reading(None, now, Freshness.ERROR, Reason.INPUT_ERROR, f"internal error: {where(error)}")
