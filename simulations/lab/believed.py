"""The simulator against real consumers: one load and one schedule of replica counts, in the lab and simulated.

What the simulator is told about the consumers is what the lab's own consumers showed: when each began and ended to
serve, how long a request took, and how long a rebalance stopped it. What it is asked is what
follows from that: the lag over time, and how long the requests took.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scaler.plan.decision import GroupDecision, Numbers, ServiceDecision
from scaler.plan.observation import GroupObservation
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from simulations.lab.errors import LabError
from simulations.lab.lab import Lab
from simulations.lab.results import Finished
from simulations.lab.scenario import Scenario, ScenarioSpec
from simulations.measures import measure
from simulations.run import simulate
from simulations.setting import Between, Load, Partitioned, Protocol, Rebalance, ServiceSetting, Setting
from simulations.traces import Spike

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CALM = 20.0  # s before the spike that are compared, too
AROUND = 5.0  # s before the first and after the last new consumer in which a rebalance may stop the others
STANDSTILL = 0.05  # s between two requests that are more than the ordinary
DRAIN = 60.0  # s for the last requests to be finished
SPIKE = Spike(every=3600.0, at=70.0, length=60.0, height=3.0)
SPEC = ScenarioSpec(
    name="believed",
    mean=20.0,
    spike=SPIKE,
    past=20.0,
    partitions=24,
    service_time=0.1,
    replicas=4,
    most=12,
    policy=None,
)
# s from the begin of the spike -> replicas: too late for it, then enough to drain, then in again while some still wait.
SCHEDULE = ((25.0, 10), (75.0, 7), (90.0, 5))
END = 110.0  # s from the begin of the spike


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """The requests of one run on real consumers, in the order in which they arrived. Shape [requests], unix s."""

    start: float  # what is compared begins here, and takes ``seconds``
    seconds: int
    pod: NDArray[np.str_]
    partition: Ints
    arrival: Floats
    begun: Floats
    finished: Floats

    @property
    def lag(self) -> Floats:
        """Requests that wait for service at the end of each second, shape [seconds]."""
        ends = self.start + 1.0 + np.arange(self.seconds)
        came = np.searchsorted(np.sort(self.arrival), ends, side="right")
        return (came - np.searchsorted(np.sort(self.begun), ends, side="right")).astype(np.float64)

    @property
    def arrivals(self) -> Floats:
        """Requests of each second, shape [seconds]."""
        edges = self.start + np.arange(self.seconds + 1)
        return np.histogram(self.arrival, edges)[0].astype(np.float64)

    @property
    def p99(self) -> float:
        """s from arrival to finish, of the requests that arrived in the time compared."""
        inside = (self.arrival >= self.start) & (self.arrival < self.start + self.seconds)
        return float(np.quantile((self.finished - self.arrival)[inside], 0.99))

    @property
    def service_time(self) -> float:
        """s that a request keeps a consumer busy: from one begin to the next where the next had been waiting."""
        gaps = []
        for pod in np.unique(self.pod):
            mine = self.pod == pod
            order = np.argsort(self.begun[mine])
            begun, came, done = (column[mine][order] for column in (self.begun, self.arrival, self.finished))
            waited = came[1:] < done[:-1] - 1.0
            gaps.append(np.diff(begun)[waited])
        # A mean without the longest: those are partitions that changed hands.
        every = np.sort(np.concatenate(gaps))
        return float(every[: int(len(every) * 0.98)].mean())

    @property
    def pause(self) -> float:
        """s for which a consumer that stayed stood still, all in all, while others joined and it had work.

        The simulator is told it for each change of the count, also where this is the sum over several of them.
        """
        spans = self.spans()
        joined = sorted(begin for begin, _ in spans if begin > self.start)
        still = []
        for pod, (begin, last) in zip(sorted(set(self.pod.tolist())), spans, strict=True):
            if not joined or begin >= joined[0] or last <= joined[-1] + AROUND:
                continue
            mine = self.pod == pod
            order = np.argsort(self.begun[mine])
            begun, came, done = (column[mine][order] for column in (self.begun, self.arrival, self.finished))
            near = (done[:-1] > joined[0] - AROUND) & (done[:-1] < joined[-1] + AROUND)
            waited = near & (came[1:] < done[:-1])
            gaps = (begun[1:] - done[:-1])[waited]
            still.append(float(gaps[gaps > STANDSTILL].sum()))
        return float(np.median(still)) if still else 0.0

    def spans(self) -> list[tuple[float, float]]:
        """(first begin, last finish) of each pod, in the order of their names, unix s."""
        pods = sorted(set(self.pod.tolist()))
        return [(float(self.begun[self.pod == p].min()), float(self.finished[self.pod == p].max())) for p in pods]


def run_in_lab(
    lab: Lab,
    folder: Path,
    spec: ScenarioSpec = SPEC,
    schedule: Sequence[tuple[float, int]] = SCHEDULE,
    end: float = END,
) -> Served:
    """The load on real consumers, their number by ``schedule``. Raises LabError when requests are left unserved."""
    spec = replace(spec, name=f"{spec.name}-{int(time.time())}")
    with Scenario(lab, folder, spec) as running:
        running.send()
        begins = running.next_spike()
        start = begins - CALM  # the spike begins with a second: within one, the simulator spreads arrivals evenly
        if time.time() > start - 5.0:
            raise LabError(
                f"{spec.name} was ready only {begins - time.time():.0f} s before its spike: too late to compare"
            )
        for at, replicas in schedule:
            time.sleep(max(begins + at - time.time(), 0.0))
            running.scale(replicas)
        time.sleep(max(begins + end - time.time(), 0.0))
        seconds = round(CALM + end)
        until = time.monotonic() + DRAIN
        while (served := _served(running.finished(), start, seconds)) is None or running.measured(
            start, start + seconds
        ).unfinished:
            if time.monotonic() > until:
                raise LabError(f"{spec.name}: requests of its first {end:.0f} s are still unserved {DRAIN:.0f} s later")
            time.sleep(1.0)
        return served


def _served(finished: Finished, start: float, seconds: int) -> Served | None:
    """The requests, each once, as it was finished first; None when there is none."""
    order = np.lexsort((finished.finished, finished.offset, finished.partition))
    if not len(order):
        return None
    place = np.stack((finished.partition[order], finished.offset[order]))
    first = np.concatenate(([True], (np.diff(place) != 0).any(axis=0)))
    kept = order[first]
    kept = kept[np.argsort(finished.arrival[kept], kind="stable")]
    return Served(
        start=start,
        seconds=seconds,
        pod=finished.pod[kept],
        partition=finished.partition[kept],
        arrival=finished.arrival[kept],
        begun=finished.begun[kept],
        finished=finished.finished[kept],
    )


class Scripted:
    """A policy that asks for the count of a schedule; ``counts`` has one for each second."""

    def __init__(self, uid: str, start: float, counts: Ints) -> None:
        self._uid, self._start, self._counts = uid, start, counts

    def step(self, now: float, observed: GroupObservation) -> GroupDecision:
        """One tick at unix time ``now``."""
        count = int(self._counts[min(int(now - self._start), len(self._counts) - 1)])
        decision = ServiceDecision(self._uid, now, None, count, (Reason.STEADY,), Numbers())
        return GroupDecision((decision,))

    def snapshot(self) -> bytes:
        """Nothing: the schedule is all it has."""
        return b""

    def restore(self, saved: bytes) -> None:
        """Nothing to take over."""


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """Lag over time and latency, real and simulated."""

    lag: Floats  # of the lab, shape [seconds]
    simulated_lag: Floats
    p99: float  # s
    simulated_p99: float
    pause: float  # s, as observed
    service_time: float  # s, as observed
    counts: Ints  # consumers that served, by second

    @property
    def joins(self) -> int:
        """Seconds in which consumers joined: as often at most was a consumer stopped in ``pause``."""
        return int((np.diff(self.counts) > 0).sum())

    @property
    def lag_difference(self) -> float:
        """Mean absolute difference of the lags, as a part of the lab's mean lag."""
        return float(np.abs(self.simulated_lag - self.lag).mean() / self.lag.mean())

    @property
    def area_difference(self) -> float:
        """Difference of the areas under the lags, as a part of the lab's."""
        return float(self.simulated_lag.sum() / self.lag.sum() - 1.0)

    @property
    def p99_difference(self) -> float:
        """Difference of the 99th percentiles of the latency, as a part of the lab's."""
        return self.simulated_p99 / self.p99 - 1.0


def compare(served: Served, spec: ScenarioSpec = SPEC) -> Compared:
    """Simulate what was run in the lab, and hold the two together."""
    pause = served.pause
    takes = served.service_time
    counts = _serving(served, pause)
    uid = "believed"
    service = Service(
        uid=uid,
        within=spec.within,
        share=0.99,
        min_replicas=1,
        max_replicas=spec.most,
        service_rate=1.0 / takes,
        service_time=takes,
        lead_time=0.0,
        tick=1.0,
        step=1.0,
        scale_in_hold=0.0,
    )
    weights = np.bincount(served.partition, minlength=spec.partitions).astype(np.float64)
    setting = Setting(
        services=(
            ServiceSetting(
                service=service,
                rate=1.0 / takes,
                time=takes,
                queue=Partitioned(spec.partitions, weights=tuple(weights.tolist())),
                lead_time=Between(0.0, 0.0),
                rebalance=Rebalance(Protocol.COOPERATIVE, pause),
                replicas=int(counts[0]),
            ),
        ),
        tick=1.0,
    )
    record = simulate(
        setting, [Load(served.start, served.arrivals)], Scripted(uid, served.start, counts), name="scripted"
    )
    return Compared(
        lag=served.lag,
        simulated_lag=record.services[0].backlog,
        p99=served.p99,
        simulated_p99=measure(record)[0].p99,
        pause=pause,
        service_time=takes,
        counts=counts,
    )


def _serving(served: Served, pause: float) -> Ints:
    """Consumers by second. One that joins is a member for the pause before it serves: its partitions stand still."""
    counts = np.zeros(served.seconds, np.int64)
    for begin, last in served.spans():
        joined, left = round(begin - pause - served.start), round(last - served.start)
        stays = left >= served.seconds - 2
        counts[max(joined, 0) : None if stays else max(left, 0)] += 1
    return counts


def told(compared: Compared) -> str:
    """What was found, in a few lines."""
    changes = [f"{a}->{b} at {n + 1} s" for n, (a, b) in enumerate(pairwise(compared.counts.tolist())) if a != b]
    return (
        f"lag: mean {compared.lag.mean():.0f} in the lab, {compared.simulated_lag.mean():.0f} simulated, largest"
        f" {compared.lag.max():.0f} and {compared.simulated_lag.max():.0f}; mean absolute difference"
        f" {compared.lag_difference:.1%} of the mean, area {compared.area_difference:+.1%}\n"
        f"p99 latency: {compared.p99:.2f} s in the lab, {compared.simulated_p99:.2f} s simulated,"
        f" {compared.p99_difference:+.1%}\n"
        f"observed: {compared.service_time * 1000:.0f} ms a request, {compared.pause:.2f} s in all that"
        f" {compared.joins} rebalances stopped a consumer; consumers {', '.join(changes)}"
    )
