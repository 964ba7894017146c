"""Histories in the background: one of a cluster at a time, and no cluster waits for another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from forecasting.series import Series
from scaler.clock import SystemClock
from scaler.observe.histories import Histories
from scaler.observe.ports import GroupTopic, TargetRef
from scaler.observe.watched import MOST_READ, HistoryWindow, KafkaCluster, Watched, history_window
from scaler.plan.observation import Freshness, Reading, TopicOffsets
from scaler.standins.broker import FakeBroker

NONE = np.zeros(0, dtype=np.int64)
FRESH = Reading(TopicOffsets(NONE, NONE, NONE, NONE), 0.0, Freshness.FRESH)


class Broker(FakeBroker):
    """Notes how many histories are read at the same time; can be made to hang, or to break on a topic."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.open = threading.Event()
        self.open.set()
        self.now = self.most = 0
        self.read: list[str] = []

    def history(self, topic: str, start: float, end: float, step: float) -> Reading[Series]:
        self.now += 1
        self.most = max(self.most, self.now)
        self.read.append(topic)
        self.open.wait(10)
        time.sleep(0.01)
        self.now -= 1
        if topic == "odd":
            raise RuntimeError("odd")
        return Reading(Series(0.0, 60.0, np.ones(60)), 0.0, Freshness.FRESH)


def watched(topic: str, cluster: str) -> Watched:
    target = TargetRef("apps/v1", "Deployment", "default", topic)
    group = GroupTopic("workers", topic)
    return Watched(topic, target, KafkaCluster(cluster), group, None, None, HistoryWindow(3600.0, 60.0))


def until(there: Callable[[], Reading[Series] | None]) -> Reading[Series]:
    end = time.monotonic() + 10.0
    while (reading := there()) is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    return reading


def test_a_cluster_that_hangs_holds_up_its_own_histories_only() -> None:
    slow, quick = Broker(), Broker()
    slow.open.clear()
    with ThreadPoolExecutor(2) as pool:
        histories = Histories(pool)
        behind = [watched(f"behind-{n}", "slow:9092") for n in range(3)]
        for scaler in behind:
            assert histories.collect(0.0, scaler, slow, FRESH) is None
        one = watched("chat", "quick:9092")
        assert until(lambda: histories.collect(0.0, one, quick, FRESH)).fresh
        slow.open.set()
        for scaler in behind:
            assert until(lambda s=scaler: histories.collect(0.0, s, slow, FRESH)).fresh  # type: ignore[misc]
    assert (slow.most, slow.read) == (1, ["behind-0", "behind-1", "behind-2"])


def test_one_that_breaks_is_an_error_and_the_next_one_is_read() -> None:
    broker = Broker()
    with ThreadPoolExecutor(1) as pool:
        histories = Histories(pool)
        odd, chat = watched("odd", "one:9092"), watched("chat", "one:9092")
        for scaler in (odd, chat):
            histories.collect(0.0, scaler, broker, FRESH)
        assert until(lambda: histories.collect(0.0, chat, broker, FRESH)).fresh
        assert until(lambda: histories.collect(0.0, odd, broker, FRESH)).freshness is Freshness.ERROR
        histories.forget(set())
        assert histories.collect(0.0, chat, broker, FRESH) is None, "begins anew"
        assert until(lambda: histories.collect(0.0, chat, broker, FRESH)).fresh


def test_what_was_read_by_a_clock_that_was_ahead_is_read_again() -> None:
    with ThreadPoolExecutor(1) as pool:
        histories, broker, chat = Histories(pool), Broker(), watched("chat", "one")
        ahead = 1_003_600.0
        assert until(lambda: histories.collect(ahead, chat, broker, FRESH)).fresh
        assert histories.collect(ahead - 60.0, chat, broker, FRESH) is None, "a minute is no reason"
        assert until(lambda: histories.collect(1_000_000.0, chat, broker, FRESH)).fresh
        assert histories.collect(1_000_015.0, chat, broker, FRESH) is None
        assert broker.read == ["chat", "chat"]


def test_a_retry_that_was_put_off_by_a_clock_that_was_ahead_is_not_waited_for() -> None:
    with ThreadPoolExecutor(1) as pool:
        histories, broker, odd = Histories(pool), Broker(), watched("odd", "one")
        assert until(lambda: histories.collect(1_003_600.0, odd, broker, FRESH)).freshness is Freshness.ERROR
        assert until(lambda: histories.collect(1_000_000.0, odd, broker, FRESH)).freshness is Freshness.ERROR


@pytest.mark.parametrize(("days", "step"), [(2, 15.0), (7, 60.0), (9, 60.0), (28, 195.0)])
def test_a_long_history_is_read_in_as_many_steps_together_as_make_few_enough(days: int, step: float) -> None:
    """Nine days in minutes: what a backtest of two days reads."""
    window = history_window(days * 86400.0, 15.0)
    assert window.step == step
    assert window.span / window.step <= MOST_READ
