"""Two services on one pool of GPU nodes, over stand-ins: the controller, the plan and the writes are the real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from scaler.act.apply import Actor
from scaler.act.finalizer import NoFinalizers
from scaler.api.gpu_node_pool import GpuNodePool
from scaler.api.predictive_scaler import PredictiveScaler
from scaler.clock import ManualClock
from scaler.controller import Controller, MakePolicy
from scaler.observe.gather import Gatherer
from scaler.observe.histories import Histories
from scaler.observe.ports import TargetRef
from scaler.observe.watched import watched
from scaler.pools.act import PoolActor
from scaler.pools.gather import PoolGatherer
from scaler.pools.pools import Pools
from scaler.pools.row import PoolRow
from scaler.predictive import MakePredictive
from scaler.standins.autoscalers import FakeFloors
from scaler.standins.broker import FakeBroker
from scaler.standins.pools import FakeGpuCluster, FakeNodes
from scaler.telemetry import Telemetry
from tests.configuration.objects import POOL, spoil

TICK = 15.0
RATE = 2.0  # requests/s of a replica
PARTITIONS = 32
START = 1_000_000.0
Load = Callable[[float], float]
Floats = NDArray[np.float64]


def pool(**fields: Any) -> GpuNodePool:
    """Eight GPUs a node, 1 to 12 nodes, Enforce; ``fields`` of its spec by path with __ for a dot."""
    made = spoil(POOL, "spec.budget", None)
    for path, value in fields.items():
        made = spoil(made, f"spec.{path.replace('__', '.')}", value)
    return GpuNodePool.model_validate(made)


def scaler(name: str, named: str | None = "h100", mode: str = "Enforce", **gpu: Any) -> PredictiveScaler:
    """A service that names the pool ``named``, planned without a forecast."""
    return PredictiveScaler.model_validate(
        {
            "apiVersion": "lagcast.io/v1alpha1",
            "kind": "PredictiveScaler",
            "metadata": {"name": name},
            "spec": {
                "target": {"name": name},
                "kafka": {"bootstrapServers": "one:9092", "topic": name, "consumerGroup": name},
                "objective": {"within": "10s", "share": "99%"},
                "replicas": {"min": 1, "max": 60, "serviceRate": "2", "leadTime": "7m"},
                "forecast": {"model": "none", "history": "0s"},
                **({"gpu": {"pool": named, **gpu}} if named else {}),
                "mode": mode,
            },
        }
    )


def evenly(waiting: Floats, most: float) -> Floats:
    """What is served of ``waiting`` by turns, ``most`` in all."""
    served, order, waits = np.zeros(len(waiting)), np.argsort(waiting), waiting.tolist()
    for place, one in enumerate(order.tolist()):
        share = min(waits[one], most / (len(waits) - place))
        served[one] = share
        most -= share
    return served


class Bench:
    """A controller with pools over stand-ins, and load that is served by the Ready pods."""

    def __init__(
        self,
        loads: Mapping[str, Load],
        *pools: GpuNodePool,
        nodes: int = 2,
        replicas: int = 4,
        make_policy: MakePolicy | None = None,
        node_lead_time: Callable[[], float] = lambda: 300.0,
        resources: Sequence[PredictiveScaler] = (),
        tick: float = TICK,
        rate: float = RATE,
        size: int = 8,
        lead_time: float = 60.0,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        """``resources``: those of the loads, where they are not ``scaler``'s; ``lead_time`` (s) is a pod's."""
        self._tick, self._rate = tick, rate
        self.clock = ManualClock(START)
        self.broker = FakeBroker(self.clock)
        self.cluster = FakeGpuCluster(lambda: lead_time, node_lead_time, nodes=nodes, size=size, start=START)
        self.telemetry = Telemetry(CollectorRegistry())
        self.threads = ThreadPoolExecutor(2)
        self.loads = dict(loads)
        self.waited: dict[str, list[int]] = {name: [] for name in loads}  # pods without a node, at each tick
        self._left = {name: np.zeros(PARTITIONS) for name in loads}  # messages
        gatherer = PoolGatherer(FakeNodes(self.cluster), self.cluster, self.cluster, self.threads, 5.0)
        self.controller = Controller(
            Gatherer(lambda _: self.broker, self._none, self.cluster, self.threads, Histories(self.threads), 5.0),
            Actor(self.cluster, self.cluster, self.cluster, FakeFloors(), NoFinalizers()),
            make_policy or MakePredictive(),
            self.telemetry,
            self.clock,
            tick,
            leads=leads,
            pools=Pools(gatherer, PoolActor(self.cluster, self.cluster, NoFinalizers()), self.cluster, self.cluster),
        )
        for name in loads:
            self.broker.create_topic(name, PARTITIONS)
            self.broker.join(name)
            self.cluster.deploy(self.target(name), replicas)
        self.controller.configure(resources or [scaler(name) for name in loads], pools)

    def close(self) -> None:
        self.threads.shutdown()

    @staticmethod
    @cache
    def target(name: str) -> TargetRef:
        return watched(scaler(name)).target

    def tick(self) -> PoolRow | None:
        """One tick, and the load until the next."""
        self.controller.tick()
        for name, load in self.loads.items():
            self._serve(name, load(self.clock.now() - START))
            self.waited[name].append(self.cluster.waiting(self.target(name)))
        self.clock.advance(self._tick)
        self.cluster.advance(self.clock.now())
        return next(iter(self.controller.pool_rows.values()), None)

    def run(self, ticks: int) -> None:
        for _ in range(ticks):
            self.tick()

    def value(self, metric: str, **labels: str) -> float | None:
        return self.telemetry.registry.get_sample_value(metric, {"pool": "h100", **labels})

    def remember(self, name: str, seconds: int) -> None:
        """What came before the beginning: it stands in the topic, and is served."""
        for second in range(-seconds, 0):
            count = round(self.loads[name](float(second)))
            for partition in range(PARTITIONS):
                share = count // PARTITIONS + (partition < count % PARTITIONS)
                self.broker.produce(name, partition, START + second + 0.5, share)
        for partition in range(PARTITIONS):
            self.broker.commit(name, name, partition, self.broker.end(name, partition))

    def _serve(self, name: str, rate: float) -> None:
        came, left = round(rate * self._tick), self._left[name]
        consumers = self.cluster.ready(self.target(name))
        for partition in range(PARTITIONS):
            count = came // PARTITIONS + (partition < came % PARTITIONS)
            self.broker.produce(name, partition, self.clock.now() + self._tick / 2, count)
            left[partition] += count
        for consumer in range(min(consumers, PARTITIONS)):
            held = left[consumer::consumers]  # a partition is served by nobody else
            held -= evenly(held, self._rate * self._tick)
        for partition in range(PARTITIONS):
            end, behind = self.broker.end(name, partition), int(left[partition])
            self.broker.commit(name, name, partition, max(end - behind, self.broker.committed(name, name, partition)))

    def _none(self, url: str) -> Any:
        raise AssertionError(url)
