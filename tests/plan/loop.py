"""A closed loop for the tests: a topic, consumers with a lead time, and a policy; second by second, seeded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from forecasting.errors import NotReady
from forecasting.series import Arrivals, Series
from scaler.plan.decision import Policy, ServiceDecision
from scaler.plan.observation import (
    Freshness,
    GroupObservation,
    LatencySample,
    LeadTime,
    Reading,
    ReplicaState,
    ServiceObservation,
    TopicOffsets,
)
from scaler.plan.policy import PredictivePolicy
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from scaler.plan.settings import PlanSettings

REAL = Service("real", 10.0, 0.99, 1, 100, 2.0, 0.5, 90.0, 15.0, 60.0, 300.0)
LAB = Service("lab", 5.0, 0.99, 1, 30, 5.0, 0.2, 10.0, 2.0, 2.0, 20.0)

Load = Callable[[float], float]  # unix s -> requests/s


class Foresight:
    """A forecaster for tests that knows the load, but for a factor that it draws for each path."""

    name = "foresight"

    def __init__(self, load: Load, step: float, sigma: float = 0.05) -> None:
        self.load, self.step, self.sigma = load, step, sigma
        self.origin: float | None = None
        self.fitted: Series | None = None

    def fit(self, history: Series) -> None:
        self.fitted = history

    def update(self, arrivals: Arrivals) -> None:
        self.origin = arrivals.end

    @property
    def ready(self) -> bool:
        return self.origin is not None

    def paths(self, steps: int, count: int, rng: np.random.Generator, out: np.ndarray | None = None) -> np.ndarray:
        if self.origin is None:
            raise NotReady("no update yet")
        fine = 8
        at = self.origin + (np.arange(steps * fine) + 0.5) * self.step / fine
        mean = np.array([self.load(float(t)) for t in at]).reshape(steps, fine).mean(axis=1)
        drawn = (mean * np.exp(self.sigma * rng.standard_normal((count, 1)))).astype(np.float32)
        if out is None:
            return drawn
        out[:] = drawn
        return out


@cache
def split(partitions: int, consumers: int, dealt: bool) -> list[np.ndarray]:
    """The partitions of each consumer."""
    number = np.arange(partitions)
    return [number[c::consumers] for c in range(consumers)] if dealt else np.array_split(number, consumers)


@dataclass
class Pod:
    asked: float
    ready_at: float
    ready: bool = False


@dataclass
class Loop:
    """Time in seconds; ``dt`` is the loop's own. Requests wait per partition as [arrival time, count]."""

    service: Service
    policy: Policy
    load: Load
    partitions: int = 48
    start_replicas: int = 4
    lead: tuple[float, float] = (1.0, 1.0)  # factors on the service's lead time, uniform between
    weights: np.ndarray | None = None  # of the partitions
    shared: bool = False  # one backlog for all consumers, as if whoever is free took the next request
    assignor: str | None = None  # as told; consumers hold ranges, but with "roundrobin" every r-th partition
    dt: float = 0.5
    seed: int = 0
    backlog: float = 0.0
    frozen: Callable[[float], bool] = lambda t: False  # consumers do not commit
    change: Callable[[float, ServiceObservation], ServiceObservation] = lambda t, o: o
    latency: bool = False
    now: float = 1_000_000.0
    decisions: list[ServiceDecision] = field(default_factory=list)
    ready: list[tuple[float, int]] = field(default_factory=list)
    waits: list[tuple[float, float, float]] = field(default_factory=list)  # arrival, waited, count
    seconds: float = 0.0  # replica-seconds, from the request on

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.start = self.now
        self.pods = [Pod(self.now, self.now, True) for _ in range(self.start_replicas)]
        share = np.ones(self.partitions) if self.weights is None else self.weights
        self.share = share / share.sum()
        self.end = np.zeros(self.partitions)
        self.done = np.zeros(self.partitions)
        self.queues: list[list[list[float]]] = [[] for _ in range(self.partitions)]
        self.lead_times: list[LeadTime] = []
        if self.backlog:
            self._arrive(self.backlog * self.share)

    @property
    def desired(self) -> int:
        return len(self.pods)

    @property
    def serving(self) -> int:
        return sum(p.ready for p in self.pods)

    def run(self, seconds: float) -> None:
        """Go on for ``seconds``: the policy every tick, the queue every dt."""
        per_tick = round(self.service.tick / self.dt)
        for i in range(round(seconds / self.dt)):
            if i % per_tick == 0:
                self._tick()
            self._advance()

    def _arrive(self, counts: np.ndarray) -> None:
        self.end += counts
        for p in np.nonzero(counts)[0]:
            self.queues[p].append([self.now, float(counts[p])])

    def _advance(self) -> None:
        self._arrive(self.rng.poisson(self.load(self.now) * self.dt * self.share).astype(float))
        self.now += self.dt
        for pod in self.pods:
            if not pod.ready and pod.ready_at <= self.now:
                pod.ready = True
                self.lead_times.append(LeadTime(f"p{id(pod)}", 0.0, 0.0, self.now - pod.asked, 0.0, self.now))
        consumers = min(self.serving, self.partitions)
        if consumers and not self.frozen(self.now):
            parts = 1 if self.shared else consumers
            for held in split(self.partitions, parts, self.assignor == "roundrobin"):
                self._serve(held, self.service.service_rate * self.dt * (consumers if self.shared else 1))
        self.seconds += len(self.pods) * self.dt
        self.ready.append((self.now, self.serving))

    def _serve(self, held: np.ndarray, budget: float) -> None:
        waiting = {p: self.queues[p] for p in held.tolist() if self.queues[p]}
        while budget > 1e-9 and waiting:
            p = min(waiting, key=lambda q: waiting[q][0][0])
            batch = waiting[p][0]
            part = min(batch[1], budget)
            self.waits.append((batch[0], self.now - batch[0] + self.service.service_time, part))
            batch[1] -= part
            budget -= part
            self.done[p] += part
            if batch[1] <= 1e-9:
                waiting[p].pop(0)
                if not waiting[p]:
                    del waiting[p]

    def _tick(self) -> None:
        observed = self.change(self.now, self.observe())
        decision = self.policy.step(self.now, GroupObservation((observed,))).services[0]
        self.decisions.append(decision)
        if decision.desired is not None:
            self.scale(decision.desired)

    def observe(self) -> ServiceObservation:
        number = np.arange(self.partitions)
        end = np.floor(self.end + 1e-6).astype(np.int64)
        done = np.minimum(np.floor(self.done + 1e-6).astype(np.int64), end)
        offsets = TopicOffsets(number, end, np.zeros_like(end), done, self.assignor)
        pending = tuple(p.asked for p in self.pods if not p.ready)
        state = ReplicaState(self.desired, self.serving, pending, 0, "t", False)
        new, self.lead_times = tuple(self.lead_times), []
        latency = LatencySample(0.2, 0.3, 0.4, 10.0, 2.0, 60.0)
        return ServiceObservation(
            self.service.uid,
            Reading(offsets, self.now, Freshness.FRESH),
            Reading(latency, self.now, Freshness.FRESH) if self.latency else None,
            Reading(state, self.now, Freshness.FRESH),
            new,
        )

    def scale(self, count: int) -> None:
        """Pods that are not ready go first, the youngest before the others."""
        while len(self.pods) > count:
            self.pods.remove(min(self.pods, key=lambda p: (p.ready, -p.asked)))
        low, high = self.lead
        while len(self.pods) < count:
            lead = self.service.lead_time * self.rng.uniform(low, high)
            self.pods.append(Pod(self.now, self.now + lead))

    def attainment(self, start: float = 0.0, end: float = float("inf")) -> float:
        """Share of the requests that arrived in [start, end) s after the begin and left in time; who waits is late."""
        inside = [w for w in self.waits if start <= w[0] - self.start < end]
        total = sum(w[2] for w in inside)
        waiting = sum(b[1] for q in self.queues for b in q if start <= b[0] - self.start < end)
        met = sum(w[2] for w in inside if w[1] <= self.service.within + 1e-9)
        return met / (total + waiting) if total + waiting else 1.0

    def changes(self, after: float = 0.0) -> list[tuple[float, int, int]]:
        """(s after the begin, from, to) of each change of the count."""
        made = [(d.time - self.start, d.current or 0, d.desired or 0) for d in self.decisions]
        return [change for change in made if change[0] >= after and change[1] != change[2]]


def policy_for(service: Service, load: Load | None, sigma: float = 0.05, **settings: float) -> PredictivePolicy:
    """A policy with foresight of ``load``, or without any."""
    made = replace(PlanSettings(), **settings)  # type: ignore[arg-type]
    return PredictivePolicy([service], lambda s: None if load is None else Foresight(load, s.step, sigma), made)


def spike(base: float, height: float, start: float, end: float, begin: float = 1_000_000.0) -> Load:
    """``base`` requests/s, and ``height`` between ``start`` and ``end`` s after the begin."""
    return lambda t: height if start <= t - begin < end else base


def outage(start: float, end: float, source: str, begin: float = 1_000_000.0) -> Callable[..., ServiceObservation]:
    """The source does not answer between ``start`` and ``end`` s after the begin."""
    why = {"offsets": Reason.BROKER_UNREACHABLE, "replicas": Reason.KUBERNETES_UNREACHABLE}

    def change(t: float, observed: ServiceObservation) -> ServiceObservation:
        if not start <= t - begin < end:
            return observed
        reason = why.get(source, Reason.PROMETHEUS_UNREACHABLE)
        return replace(observed, **{source: Reading(None, t, Freshness.ERROR, reason, "no answer")})

    return change
