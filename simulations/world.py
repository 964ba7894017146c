"""A service in the process: load, partitions, pods that come up late. Its clock runs it while the controller waits."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.series import Series
from scaler.clock import ManualClock
from scaler.observe.ports import GroupTopic, TargetRef
from scaler.standins.broker import FakeBroker
from scaler.standins.cluster import FakeCluster
from simulations.queue import PartitionedQueue, Served, measure, time_lag


@dataclass(frozen=True, slots=True)
class WorldSpec:
    """What the world is made of. Times in s, rates in requests/s."""

    partitions: int
    service_rate: float
    service_time: float
    lead_time: tuple[float, float]  # uniform between these
    replicas: int  # at the start, Ready
    seed: int
    produce_every: int = 10  # s of arrivals that share a timestamp in the stand-in broker; a tick is some of them


class World:
    """A clock (it fulfils :class:`scaler.clock.SteadyClock`) over a broker and a cluster that live in this process.

    ``load``: arrivals of each second from ``start`` on, shape [seconds]; the world stops the controller when they end.
    ``past``: what the topic holds from before ``start``.
    """

    def __init__(
        self,
        spec: WorldSpec,
        past: Series,
        load: NDArray[np.float64],
        topic: GroupTopic,
        target: TargetRef,
    ) -> None:
        rng = np.random.default_rng(spec.seed)
        self._clock = ManualClock(past.end)
        self._spec, self._topic, self._target = spec, topic, target
        self.start = past.end
        self.broker = FakeBroker(self._clock)
        self.cluster = FakeCluster(lambda: float(rng.uniform(*spec.lead_time)), start=self.start)
        self.cluster.deploy(target, spec.replicas)
        self._queue = PartitionedQueue(spec.partitions, spec.service_rate)
        self.arrived = rng.multinomial(load.astype(np.int64), np.full(spec.partitions, 1 / spec.partitions)).astype(
            np.float64
        )
        self.served = np.zeros_like(self.arrived)
        self.ready = np.zeros(len(load), dtype=np.int64)
        self._second = 0
        self._paid = 0.0
        self._gone = np.zeros(spec.partitions)
        self._write_past(past, rng)

    def now(self) -> float:
        return self._clock.now()

    def elapsed(self) -> float:
        return self._clock.elapsed()

    def wait(self, seconds: float, stop: threading.Event) -> bool:
        """Let ``seconds`` pass; sets ``stop`` when the load has ended."""
        until = self._clock.now() + seconds
        while self._clock.now() < until and self._second < len(self.arrived):
            self._pass_second()
        self._commit()
        if self._second >= len(self.arrived):
            stop.set()
        return stop.is_set()

    def result(self, within: float) -> Served:
        """What became of the requests so far. ``within`` in s."""
        n = self._second
        return measure(self.arrived[:n], self.served[:n], within, self._spec.service_time)

    def time_lag(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Age (s) of the oldest unserved request at each of ``times`` (unix s)."""
        lag = time_lag(self.arrived[: self._second], self.served[: self._second])
        second = (times - self.start).astype(np.int64) - 1
        return np.where(second < 0, 0.0, lag[np.clip(second, 0, len(lag) - 1)])

    @property
    def paid_replica_hours(self) -> float:
        """Replica-hours so far, each replica paid from the moment it was asked for."""
        return float(self._paid) / 3600

    def _pass_second(self) -> None:
        n = self._second
        self._clock.advance(1.0)
        now = self._clock.now()
        self.cluster.advance(now)
        self.ready[n] = self.cluster.ready(self._target)
        self.served[n] = self._queue.step(self.arrived[n], int(self.ready[n]))
        self._gone += self.served[n]
        self._paid += self.cluster.replicas(self._target)
        self._second += 1
        every = self._spec.produce_every
        if self._second % every == 0:
            self._produce(now - every / 2, self.arrived[self._second - every : self._second].sum(0))

    def _produce(self, timestamp: float, counts: NDArray[np.float64]) -> None:
        for partition, count in enumerate(counts.astype(int).tolist()):
            self.broker.produce(self._topic.topic, partition, timestamp, count)

    def _commit(self) -> None:
        rest = self._second % self._spec.produce_every
        if rest:
            raise ValueError(f"a tick must be a multiple of {self._spec.produce_every} s in the demo's world")
        for partition, count in enumerate(np.floor(self._offset + self._gone + 1e-6).astype(int).tolist()):
            end = self.broker.end(self._topic.topic, partition)
            self.broker.commit(self._topic.group, self._topic.topic, partition, min(count, end))

    def _write_past(self, past: Series, rng: np.random.Generator) -> None:
        self.broker.create_topic(self._topic.topic, self._spec.partitions)
        counts = rng.poisson(np.outer(past.rates * past.step / self._spec.partitions, np.ones(self._spec.partitions)))
        for k, row in enumerate(counts):
            self._produce(past.start + (k + 0.5) * past.step, row.astype(np.float64))
        self._offset = counts.sum(0).astype(np.float64)
        self._commit()
