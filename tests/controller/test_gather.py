"""One pass over the sources: each asked once, none able to hold up the tick or to be read as zero."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from forecasting.series import Series
from scaler.observe.gather import Gatherer
from scaler.observe.histories import Histories
from scaler.observe.ports import GroupTopic, LatencyQuery, TargetRef
from scaler.observe.watched import HistoryWindow, KafkaCluster, Watched
from scaler.plan.observation import Freshness, Reading, TopicOffsets
from scaler.plan.reasons import Reason

CLUSTER = KafkaCluster("one:9092")


def watched(name: str, cluster: KafkaCluster = CLUSTER, *, latency: bool = True, history: bool = False) -> Watched:
    return Watched(
        uid=name,
        target=TargetRef("apps/v1", "Deployment", "default", name),
        kafka=cluster,
        topic=GroupTopic(f"group-{name}", f"topic-{name}"),
        prometheus="http://one:9090" if latency else None,
        latency=LatencyQuery("inference_latency_seconds", f'app="{name}"', 60.0) if latency else None,
        history=HistoryWindow(3600.0, 60.0) if history else None,
    )


class Source:
    """Answers fresh for whatever is wanted; can hang, break or count."""

    def __init__(self) -> None:
        self.calls: list[Sequence[Any]] = []
        self.hang: threading.Event | None = None
        self.error: Exception | None = None
        self.past = Reading(Series(0.0, 60.0, np.ones(60)), 0.0, Freshness.FRESH)
        self.closed = False

    def sample(self, now: float, wanted: Sequence[Any]) -> Mapping[Any, Reading[Any]]:
        self.calls.append(tuple(wanted))
        if self.hang is not None:
            self.hang.wait(10)
        if self.error is not None:
            raise self.error
        none = np.zeros(0, dtype=np.int64)
        return {w: Reading(TopicOffsets(none, none, none, none), now, Freshness.FRESH) for w in wanted}

    def history(self, topic: str, start: float, end: float, step: float) -> Reading[Series]:
        self.looked_back = (topic, start, end, step)
        return self.past

    def lead_times(self, target: TargetRef) -> Sequence[Any]:
        return ()

    def asked(self, target: TargetRef, replicas: int, at: float) -> None: ...

    def close(self) -> None:
        self.closed = True


class World:
    def __init__(self, deadline: float = 5.0) -> None:
        self.pool = ThreadPoolExecutor(4)
        self.offsets: dict[KafkaCluster, Source] = {}
        self.latency: dict[str, Source] = {}
        self.cluster = Source()
        self.gatherer = Gatherer(
            lambda c: self.offsets.setdefault(c, Source()),
            lambda u: self.latency.setdefault(u, Source()),
            self.cluster,
            self.pool,
            Histories(self.pool),
            deadline,
        )


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.pool.shutdown()


def test_each_source_is_asked_once_for_all_scalers(world: World) -> None:
    seen = world.gatherer.gather(10.0, [watched("a"), watched("b"), watched("c", KafkaCluster("two:9092"))])
    assert set(seen) == {"a", "b", "c"}
    assert [len(c) for c in world.offsets[CLUSTER].calls] == [2]
    assert len(world.offsets[KafkaCluster("two:9092")].calls) == 1
    assert [len(c) for c in world.latency["http://one:9090"].calls] == [3]
    assert len(world.cluster.calls) == 1
    assert all(
        o.offsets.fresh and o.replicas.fresh and o.latency is not None and o.latency.fresh for o in seen.values()
    )


def test_without_a_latency_source_there_is_no_latency_reading(world: World) -> None:
    assert world.gatherer.gather(10.0, [watched("a", latency=False)])["a"].latency is None


def test_a_source_that_hangs_is_an_error_for_its_scalers_only_and_is_not_asked_twice() -> None:
    world = World(deadline=0.05)
    slow = KafkaCluster("slow:9092")
    world.offsets[slow] = Source()
    world.offsets[slow].hang = threading.Event()
    scalers = [watched("a"), watched("b", slow)]
    for now in (1.0, 2.0, 3.0):
        seen = world.gatherer.gather(now, scalers)
        assert seen["a"].offsets.fresh
        assert seen["b"].offsets.freshness is Freshness.ERROR
        assert seen["b"].offsets.reason is Reason.BROKER_UNREACHABLE
        assert seen["b"].offsets.value is None
    assert len(world.offsets[slow].calls) == 1, "an open call must not be joined by more"
    world.offsets[slow].hang.set()
    world.pool.shutdown()


def test_a_source_that_was_stuck_answers_again_when_it_is_back() -> None:
    world = World(deadline=0.5)
    world.offsets[CLUSTER] = Source()
    gate = world.offsets[CLUSTER].hang = threading.Event()
    assert not world.gatherer.gather(1.0, [watched("a")])["a"].offsets.fresh
    gate.set()
    answers = (world.gatherer.gather(2.0 + n, [watched("a")])["a"].offsets.fresh for n in range(100))
    assert any(fresh or time.sleep(0.05) for fresh in answers)
    world.pool.shutdown()


@pytest.mark.parametrize("which", ["offsets", "latency", "cluster"])
def test_a_source_that_breaks_its_promise_is_an_error_not_a_crash(
    world: World, which: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Source()
    broken.error = RuntimeError("secret-password")
    if which == "offsets":
        world.offsets[CLUSTER] = broken
    elif which == "latency":
        world.latency["http://one:9090"] = broken
    else:
        world.cluster.error = broken.error
    seen = world.gatherer.gather(1.0, [watched("a")])["a"]
    reading = {"offsets": seen.offsets, "latency": seen.latency, "cluster": seen.replicas}[which]
    assert reading is not None
    assert reading.freshness is Freshness.ERROR
    assert "secret-password" not in reading.detail + caplog.text


def test_sources_that_nobody_uses_any_more_are_closed(world: World) -> None:
    world.gatherer.gather(1.0, [watched("a"), watched("b", KafkaCluster("two:9092"), latency=False)])
    world.gatherer.gather(2.0, [watched("b", KafkaCluster("two:9092"), latency=False)])
    assert world.offsets[CLUSTER].closed
    assert world.latency["http://one:9090"].closed
    assert not world.offsets[KafkaCluster("two:9092")].closed


def test_close_closes_all(world: World) -> None:
    world.gatherer.gather(1.0, [watched("a")])
    world.gatherer.close()
    assert world.offsets[CLUSTER].closed
    assert world.latency["http://one:9090"].closed
    assert world.cluster.closed


class TestHistory:
    def gather_until_told(self, world: World, scaler: Watched, start: float, ticks: int = 200) -> list[float]:
        told = []
        for n in range(ticks):
            now = start + n
            if world.gatherer.gather(now, [scaler])["a"].history is not None:
                told.append(now)
            world.pool.submit(lambda: None).result()
        return told

    def test_is_handed_over_once(self, world: World) -> None:
        scaler = watched("a", history=True)
        assert len(self.gather_until_told(world, scaler, 7265.0, ticks=5)) == 1
        assert world.offsets[CLUSTER].looked_back == ("topic-a", 3660.0, 7260.0, 60.0)

    def test_is_tried_again_later_and_later_while_it_fails(self, world: World) -> None:
        world.offsets[CLUSTER] = Source()
        world.offsets[CLUSTER].past = Reading(None, 0.0, Freshness.ERROR, Reason.BROKER_UNREACHABLE, "down")
        told = self.gather_until_told(world, watched("a", history=True), 0.0)
        gaps = np.diff(told)
        assert len(told) >= 3
        assert (gaps[1:] > gaps[:-1]).all()

    def test_waits_for_the_broker(self, world: World) -> None:
        world.offsets[CLUSTER] = Source()
        world.offsets[CLUSTER].error = RuntimeError("down")
        assert self.gather_until_told(world, watched("a", history=True), 0.0, ticks=5) == []
        assert not hasattr(world.offsets[CLUSTER], "looked_back")

    def test_none_is_read_when_none_is_wanted(self, world: World) -> None:
        assert self.gather_until_told(world, watched("a"), 0.0, ticks=5) == []


@pytest.mark.parametrize("which", ["offsets", "latency"])
def test_a_source_that_cannot_be_made_is_an_error_of_its_own_scalers(world: World, which: str) -> None:
    """As by a URL that was taken for one: any namespace's user could stop all scalers."""
    odd = KafkaCluster("odd:9092")

    def make(key: object) -> Source:
        if key in (odd, "http://odd"):
            raise ValueError("hunter2")
        return Source()

    world.gatherer._make_offsets = world.gatherer._make_latency = make  # type: ignore[assignment]
    broken = watched("b", odd, history=True) if which == "offsets" else replace(watched("b"), prometheus="http://odd")
    world.gatherer.prepare([broken])
    for now in (1.0, 2.0):
        seen = world.gatherer.gather(now, [watched("a"), broken])
        assert seen["a"].offsets.fresh
        reading = seen["b"].offsets if which == "offsets" else seen["b"].latency
        assert reading is not None
        assert (reading.freshness, reading.value) == (Freshness.ERROR, None)
        assert "ValueError" in reading.detail
        assert "hunter2" not in reading.detail
