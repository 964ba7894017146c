"""What every LatencySource must do. Subclass :class:`LatencySuite` and give it a fixture ``world``.

Bounds are those of PromQL: counts are extrapolated to the window's edges, quantiles interpolated inside a bucket.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Protocol

import pytest

from scaler.observe.ports import LatencyQuery, LatencySource
from scaler.plan.observation import Freshness, LatencySample, Reading
from scaler.plan.reasons import Reason

METRIC = "inference_latency_seconds"
_names = itertools.count()


class LatencyWorld(Protocol):
    """A Prometheus whose targets can be changed, and the source that reads it."""

    source: LatencySource
    window: float  # s, over which the suite asks
    patience: float  # s within which a change is seen

    def now(self) -> float: ...
    def wait(self, seconds: float) -> None: ...
    def expose(self, app: str, pod: str) -> None: ...
    def vanish(self, app: str, pod: str) -> None: ...
    def observe(self, app: str, pod: str, seconds: float, count: int) -> None: ...
    def stop(self) -> None: ...
    def start(self) -> None: ...


def an_app() -> str:
    """A label value that no other test of this run uses."""
    return f"app-{next(_names)}"


def ask(world: LatencyWorld, app: str) -> LatencyQuery:
    return LatencyQuery(METRIC, f'app="{app}"', world.window)


def read(world: LatencyWorld, app: str) -> Reading[LatencySample]:
    query = ask(world, app)
    return world.source.sample(world.now(), [query])[query]


def eventually(world: LatencyWorld, app: str, good: Callable[[Reading[LatencySample]], bool]) -> Reading[LatencySample]:
    """Sample until ``good`` or the world's patience is over; the last reading."""
    deadline = world.now() + world.patience
    reading = read(world, app)
    while not good(reading) and world.now() < deadline:
        world.wait(0.25)
        reading = read(world, app)
    return reading


def counted(at_least: float) -> Callable[[Reading[LatencySample]], bool]:
    """Fresh, with so many requests: one that is late has a value, too."""
    return lambda r: r.fresh and r.value is not None and r.value.count is not None and r.value.count >= at_least


class LatencySuite:
    """Latency of services behind one Prometheus."""

    def test_nothing_wanted_nothing_answered(self, world: LatencyWorld) -> None:
        assert world.source.sample(world.now(), []) == {}

    def test_no_series_is_absent(self, world: LatencyWorld) -> None:
        app = an_app()
        reading = read(world, app)
        assert reading.freshness is Freshness.ABSENT
        assert reading.reason is Reason.INPUT_ABSENT
        assert reading.value is None
        assert METRIC in reading.detail
        assert app in reading.detail

    def test_no_requests_is_a_true_zero_without_quantiles(self, world: LatencyWorld) -> None:
        app = an_app()
        world.expose(app, "one")
        reading = eventually(world, app, counted(0))
        assert reading.freshness is Freshness.FRESH
        assert reading.value == LatencySample(None, None, None, 0.0, 0.0, world.window)

    def test_quantiles_count_and_sum_over_all_pods(self, world: LatencyWorld) -> None:
        app = an_app()
        for pod in ("one", "two"):
            world.expose(app, pod)
        eventually(world, app, counted(0))
        world.wait(6.0)  # PromQL extrapolates by up to one scrape interval: a fifth or less from here on
        asked = world.now()
        world.observe(app, "one", 0.2, 100)
        world.observe(app, "two", 2.0, 10)
        reading = eventually(world, app, lambda r: r.value is not None and (r.value.sum or 0) > 38 and counted(105)(r))
        assert reading.freshness is Freshness.FRESH
        assert asked - 5 <= reading.time <= world.now()
        value = reading.value
        assert value is not None
        assert value.window == world.window
        assert value.count is not None
        assert value.sum is not None
        assert 105 <= value.count <= 160
        assert value.sum / value.count == pytest.approx(40 / 110, rel=0.15)
        assert value.p50 is not None
        assert value.p95 is not None
        assert value.p99 is not None
        assert 0.1 <= value.p50 <= 0.25
        assert 1.0 <= value.p95 <= value.p99 <= 2.5

    def test_services_are_told_apart_in_one_pass(self, world: LatencyWorld) -> None:
        busy, idle, missing = an_app(), an_app(), an_app()
        for app in (busy, idle):
            world.expose(app, "one")
            eventually(world, app, counted(0))
        world.observe(busy, "one", 0.2, 50)
        eventually(world, busy, counted(45))
        wanted = [ask(world, app) for app in (busy, idle, missing, busy)]
        found = world.source.sample(world.now(), wanted)
        assert len(found) == 3
        assert [found[q].freshness for q in wanted[:3]] == [Freshness.FRESH, Freshness.FRESH, Freshness.ABSENT]
        first, second = found[wanted[0]].value, found[wanted[1]].value
        assert first is not None
        assert second is not None
        assert (first.count or 0) >= 45
        assert second.count == 0

    @pytest.mark.parametrize("nonsense", [math.nan, math.inf, -1000.0])
    def test_a_latency_that_cannot_be_is_an_error(self, world: LatencyWorld, nonsense: float) -> None:
        app = an_app()
        world.expose(app, "one")
        eventually(world, app, counted(0))
        world.observe(app, "one", 0.2, 20)
        world.observe(app, "one", nonsense, 1)
        reading = eventually(world, app, lambda r: r.reason is Reason.METRIC_INVALID)
        assert reading.freshness is Freshness.ERROR
        assert reading.reason is Reason.METRIC_INVALID
        assert reading.value is None
        assert app in reading.detail

    def test_without_newer_samples_it_is_stale(self, world: LatencyWorld) -> None:
        app = an_app()
        world.expose(app, "one")
        eventually(world, app, counted(0))
        world.vanish(app, "one")
        gone = world.now()
        reading = eventually(world, app, lambda r: r.freshness is Freshness.STALE)
        assert reading.freshness is Freshness.STALE
        assert reading.reason is Reason.INPUT_STALE
        assert reading.value is not None
        assert abs(reading.time - gone) < 3.0
        assert reading.time < world.now() - 1.0
        assert app in reading.detail

    def test_an_outage_is_an_error_for_each_and_passes(self, world: LatencyWorld) -> None:
        app = an_app()
        world.expose(app, "one")
        assert eventually(world, app, counted(0)).fresh
        world.stop()
        try:
            wanted = [ask(world, app), ask(world, an_app())]
            for reading in world.source.sample(world.now(), wanted).values():
                assert reading.freshness is Freshness.ERROR
                assert reading.reason is Reason.PROMETHEUS_UNREACHABLE
                assert reading.value is None
                assert reading.detail
        finally:
            world.start()
        assert eventually(world, app, lambda r: r.fresh).fresh
