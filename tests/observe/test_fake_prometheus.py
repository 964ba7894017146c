"""The stand-in Prometheus keeps the port's promises."""

from __future__ import annotations

import pytest

from scaler.clock import ManualClock
from scaler.observe.ports import LatencyQuery
from scaler.standins.latency import KEPT, FakePrometheus
from tests.observe.latency_suite import METRIC, LatencySuite

START = 1_790_000_010.0


class FakeWorld:
    """The suite's Prometheus in memory."""

    window = 30.0
    patience = 20.0

    def __init__(self) -> None:
        self._clock = ManualClock(START)
        self.source = FakePrometheus(max_age=3.0)
        self.now = self._clock.now
        self.wait = self._clock.advance

    def expose(self, app: str, pod: str) -> None:
        self.source.expose(METRIC, f'app="{app}"', self.now(), pod)

    def vanish(self, app: str, pod: str) -> None:
        self.source.vanish(METRIC, f'app="{app}"', self.now(), pod)

    def observe(self, app: str, pod: str, seconds: float, count: int) -> None:
        self.source.observe(METRIC, f'app="{app}"', self.now(), seconds, count)

    def stop(self) -> None:
        self.source.down = True

    def start(self) -> None:
        self.source.down = False


class TestFakePrometheus(LatencySuite):
    @pytest.fixture
    def world(self) -> FakeWorld:
        return FakeWorld()


def test_what_left_the_window_counts_no_more() -> None:
    source, query = FakePrometheus(), LatencyQuery(METRIC, "", 60.0)
    source.expose(METRIC, "", START)
    source.observe(METRIC, "", START, 0.5, 3)
    source.observe(METRIC, "", START + 50, 1.5, 1)
    counts = []
    for after in (50, 59, 60, 109, 110):
        value = source.sample(START + after, [query])[query].value
        assert value is not None
        counts.append((value.count, value.p50))
    assert counts == [(4.0, 0.5), (4.0, 0.5), (1.0, 1.5), (1.0, 1.5), (0.0, None)]


def test_old_observations_are_forgotten() -> None:
    source, query = FakePrometheus(), LatencyQuery(METRIC, "", 2 * KEPT)
    source.expose(METRIC, "", START)
    source.observe(METRIC, "", START, 0.5)
    source.observe(METRIC, "", START + KEPT, 0.5)
    value = source.sample(START + KEPT, [query])[query].value
    assert value is not None
    assert value.count == 1.0
