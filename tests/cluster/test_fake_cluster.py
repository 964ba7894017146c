"""The cluster in the process: it conforms, and does what the demo needs."""

from __future__ import annotations

import itertools

import pytest

from scaler.observe.ports import TargetRef
from scaler.standins.cluster import FakeCluster
from tests.cluster.conformance import NAMES, ClusterConformance, Told, World

LEAD = 30.0


def deployment(name: str) -> TargetRef:
    return TargetRef("apps/v1", "Deployment", "shop", name)


class FakeWorld(World):
    lead = LEAD
    tick = 2.0
    patience = 200.0

    def __init__(self) -> None:
        self.time = 1_000_000.0
        self.cluster = FakeCluster(lambda: LEAD, start=self.time)
        self.source = self.writer = self.events = self.cluster
        self.cluster.add_without_scale(self.without_scale())

    def now(self) -> float:
        return self.time

    def wait(self, seconds: float) -> None:
        self.time += seconds
        self.cluster.advance(self.time)

    def deploy(self, replicas: int) -> TargetRef:
        target = deployment(f"chat-{next(NAMES)}")
        self.cluster.deploy(target, replicas)
        return target

    def missing(self) -> TargetRef:
        return deployment("nowhere")

    def without_scale(self) -> TargetRef:
        return TargetRef("v1", "ConfigMap", "shop", "settings")

    def set_replicas(self, target: TargetRef, replicas: int) -> None:
        self.cluster.set_replicas(target, replicas)

    def own(self, target: TargetRef, autoscaler: str) -> None:
        self.cluster.own(target, autoscaler)

    def roll(self, target: TargetRef) -> None:
        self.cluster.roll(target)

    def remove(self, target: TargetRef) -> None:
        self.cluster.remove(target)

    def stop(self) -> None:
        self.cluster.down = True

    def start(self) -> None:
        self.cluster.down = False

    def refuse(self) -> None:
        self.cluster.forbidden = True

    def told(self, target: TargetRef) -> list[Told]:
        return [Told(e.reason, e.message, e.warning, 1) for e in self.cluster.events if e.target == target]


class TestFakeCluster(ClusterConformance):
    @pytest.fixture
    def world(self) -> World:
        return FakeWorld()


def test_pods_come_one_lead_time_after_their_creation() -> None:
    leads = itertools.chain([5.0], itertools.repeat(20.0))
    cluster = FakeCluster(lambda: next(leads), created_delay=0.5, start=100.0)
    target = deployment("chat")
    cluster.deploy(target, 1)
    cluster.sample(100.0, [target])
    cluster.write(target, 1, 2)
    cluster.asked(target, 2, 100.0)
    assert cluster.sample(100.4, [target])[target].value.pending_since == ()
    assert cluster.sample(100.5, [target])[target].value.pending_since == (100.0,)
    assert cluster.sample(120.4, [target])[target].value.ready == 1
    assert cluster.sample(120.5, [target])[target].value.ready == 2
    (_, lead) = cluster.lead_times(target)
    assert (lead.patch_to_created, lead.created_to_scheduled, lead.scheduled_to_ready) == (0.5, 0.0, 20.0)
    assert lead.ready_at == 120.5


def test_one_long_step_is_the_same_as_many_short_ones() -> None:
    def ready_after(times: list[float]) -> list[int]:
        cluster = FakeCluster(lambda: 20.0, start=0.0)
        target = deployment("chat")
        cluster.deploy(target, 2)
        cluster.write(target, 2, 5)
        readings = [cluster.sample(t, [target])[target].value for t in times]
        return [readings[-1].ready, readings[-1].desired, len(readings[-1].pending_since)]

    assert ready_after([60.0]) == ready_after([0.1 * n for n in range(601)]) == [5, 5, 0]
    assert ready_after([10.0]) == ready_after([0.1 * n for n in range(101)]) == [2, 5, 3]


def test_scale_in_takes_pending_pods_first_and_then_the_newest() -> None:
    cluster = FakeCluster(lambda: 20.0, drain=5.0, start=0.0)
    target = deployment("chat")
    cluster.deploy(target, 1)
    cluster.write(target, 1, 2)
    cluster.advance(30.0)
    cluster.write(target, 2, 4)
    cluster.advance(31.0)
    cluster.write(target, 4, 3)
    state = cluster.sample(31.0, [target])[target].value
    assert (state.ready, len(state.pending_since), state.terminating) == (2, 1, 1)
    oldest = min(cluster.pods(target), key=lambda p: p.created)
    cluster.write(target, 3, 1)
    assert cluster.ready(target) == 1
    cluster.advance(36.0)
    assert cluster.pods(target) == [oldest]


def test_pods_asked_for_but_not_yet_created_are_taken_back() -> None:
    cluster = FakeCluster(lambda: 20.0, created_delay=5.0, start=0.0)
    target = deployment("chat")
    cluster.deploy(target, 1)
    cluster.write(target, 1, 4)
    cluster.write(target, 4, 2)
    cluster.advance(100.0)
    assert [p.ready(100.0) for p in cluster.pods(target)] == [True, True]


def test_remembers_what_was_written() -> None:
    cluster = FakeCluster(lambda: 20.0, start=7.0)
    target = deployment("chat")
    cluster.deploy(target, 1)
    cluster.write(target, 1, 3)
    (written,) = cluster.written
    assert (written.target, written.before, written.after, written.time) == (target, 1, 3, 7.0)
