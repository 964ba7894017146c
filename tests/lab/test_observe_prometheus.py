"""The Prometheus adapter against a real server that scrapes real histograms."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Histogram, start_http_server

from scaler.observe.ports import LatencyQuery
from scaler.observe.prometheus import PrometheusLatency
from scaler.plan.observation import Freshness
from scaler.plan.reasons import Reason
from tests.observe.latency_suite import METRIC, LatencySuite, an_app, ask, counted, eventually

pytestmark = pytest.mark.lab

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class _Pod:
    """One scraped process: an exporter of its own, listed to Prometheus by a file."""

    def __init__(self, folder: Path, app: str, pod: str) -> None:
        registry = CollectorRegistry()
        self.histogram = Histogram(METRIC, "Seconds.", ["app", "pod"], registry=registry, buckets=BUCKETS)
        self.child = self.histogram.labels(app, pod)
        self.server, self.thread = start_http_server(0, addr="127.0.0.1", registry=registry)
        self.file = folder / f"suite-{app}-{pod}.json"
        target = f"127.0.0.1:{self.server.server_port}"
        temporary = self.file.with_suffix(".tmp")
        temporary.write_text(json.dumps([{"targets": [target], "labels": {"app": app, "pod": pod}}]))
        temporary.rename(self.file)

    def close(self) -> None:
        self.file.unlink(missing_ok=True)
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


class RealWorld:
    """The suite's Prometheus, a real one that scrapes every second."""

    window = 30.0
    patience = 30.0

    def __init__(self, prometheus: Any) -> None:
        self.prometheus = prometheus
        self.source = PrometheusLatency(prometheus.url, timeout=3.0, max_age=3.0)
        self._pods: dict[tuple[str, str], _Pod] = {}

    def now(self) -> float:
        return time.time()

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def expose(self, app: str, pod: str) -> None:
        self._pods[app, pod] = _Pod(Path(self.prometheus.file_sd), app, pod)

    def vanish(self, app: str, pod: str) -> None:
        self._pods.pop((app, pod)).close()

    def observe(self, app: str, pod: str, seconds: float, count: int) -> None:
        for _ in range(count):
            self._pods[app, pod].child.observe(seconds)

    def stop(self) -> None:
        self.prometheus.stop()

    def start(self) -> None:
        self.prometheus.start()

    def close(self) -> None:
        self.source.close()
        for pod in self._pods.values():
            pod.close()


@pytest.fixture
def world(lab: Any) -> Iterator[RealWorld]:
    world = RealWorld(lab.prometheus)
    yield world
    world.close()


class TestRealPrometheus(LatencySuite):
    """The same suite as the stand-in."""


def test_a_selector_that_is_not_promql_is_told_and_spoils_no_other(world: RealWorld) -> None:
    app = an_app()
    world.expose(app, "one")
    assert eventually(world, app, counted(0)).fresh
    good, bad = ask(world, app), LatencyQuery(METRIC, 'app="', 30.0)
    found = world.source.sample(world.now(), [bad, good])
    assert found[good].fresh
    assert found[bad].freshness is Freshness.ERROR
    assert found[bad].reason is Reason.INPUT_ERROR
    assert "selector" in found[bad].detail


def test_a_window_shorter_than_two_scrapes_says_so(world: RealWorld) -> None:
    app = an_app()
    world.expose(app, "one")
    assert eventually(world, app, counted(0)).fresh
    query = LatencyQuery(METRIC, f'app="{app}"', 0.5)
    reading = world.source.sample(world.now(), [query])[query]
    assert reading.freshness is Freshness.ABSENT
    assert "two scrape" in reading.detail


def test_fifty_services_in_one_pass(world: RealWorld) -> None:
    app = an_app()
    world.expose(app, "one")
    assert eventually(world, app, counted(0)).fresh
    wanted = [LatencyQuery(METRIC, f'app="{app}",pod=~"one|{k}"', 30.0) for k in range(50)]
    begun = time.monotonic()
    found = world.source.sample(world.now(), wanted)
    took = time.monotonic() - begun
    assert all(r.fresh for r in found.values())
    assert len(found) == 50
    assert took < 2.0
