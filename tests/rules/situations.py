"""Random sequences of observations for the rules: loads, outages, pending pods, updates; drawn by Hypothesis."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from scaler.plan.decision import ServiceDecision
from scaler.plan.fallback import FallbackRule
from scaler.plan.observation import (
    Freshness,
    GroupObservation,
    LatencySample,
    Reading,
    ReplicaState,
    ServiceObservation,
    TopicOffsets,
)
from scaler.plan.policy import PredictivePolicy
from scaler.plan.schedule import Window
from scaler.plan.service import Service
from tests.plan.loop import LAB, REAL, Foresight

START = 1_000_000.0
FAULTS = (Freshness.STALE, Freshness.ABSENT, Freshness.ERROR)


@dataclass(frozen=True)
class Tick:
    """What happens in one tick: requests/s that arrive, the share of what could be served that is, and what is seen."""

    rate: float
    served: float
    offsets: Freshness = Freshness.FRESH
    replicas: Freshness = Freshness.FRESH
    latency: Freshness = Freshness.FRESH
    invalid_latency: bool = False
    updating: bool = False
    nobody_obeys: bool = False  # the count stays what it is, whatever is decided
    other_count: int | None = None  # somebody else sets the count
    become_ready: float = 1.0  # share of the pending pods that become ready


Played = tuple[Tick, ServiceObservation, ServiceDecision]

freshness = st.sampled_from((Freshness.FRESH,) * 6 + FAULTS)
rates = st.one_of(st.just(0.0), st.floats(0.1, 30.0), st.floats(30.0, 400.0))

ticks = st.builds(
    Tick,
    rate=rates,
    served=st.sampled_from((1.0, 1.0, 1.0, 0.5, 0.0)),
    offsets=freshness,
    replicas=freshness,
    latency=freshness,
    invalid_latency=st.sampled_from((False,) * 9 + (True,)),
    updating=st.sampled_from((False,) * 9 + (True,)),
    nobody_obeys=st.booleans(),
    other_count=st.one_of(st.none(), st.none(), st.none(), st.integers(0, 40)),
    become_ready=st.sampled_from((0.0, 0.3, 1.0)),
)

#: A stretch of equal ticks: what makes holds run out, and answers change.
stretches = st.lists(st.tuples(ticks, st.integers(1, 14)), min_size=2, max_size=8).map(
    lambda parts: [tick for tick, times in parts for _ in range(times)]
)


@st.composite
def schedules(draw: st.DrawFn, least: int, most: int) -> tuple[Window, ...]:
    """None, or a window that begins or ends within the sequence: it begins on a Monday at 13:46:40 UTC."""
    if draw(st.booleans()):
        return ()
    begin = draw(st.integers(13 * 3600 + 40 * 60, 14 * 3600))
    end = begin + draw(st.integers(10, 1200))
    low = draw(st.one_of(st.none(), st.integers(least, most)))
    high = draw(st.one_of(st.none(), st.integers(max(least, 1), most)))
    return (Window("now", (0,), float(begin), float(end), "UTC", low, high),)


def fallbacks(most: int) -> st.SearchStrategy[FallbackRule | None]:
    """Each policy, after no time or some ticks."""
    rules = st.builds(FallbackRule, st.sampled_from((0.0, 30.0)), st.one_of(st.none(), st.integers(1, most)))
    return st.one_of(st.none(), rules)


@st.composite
def services(draw: st.DrawFn) -> Service:
    """LAB or REAL with limits of all kinds."""
    base = draw(st.sampled_from((LAB, REAL)))
    least = draw(st.integers(0, 5))
    most = draw(st.integers(max(least, 1), 40))
    return replace(
        base,
        min_replicas=least,
        max_replicas=most,
        schedule=draw(schedules(least, most)),
        fallback=draw(fallbacks(most)),
        max_scale_out=draw(st.one_of(st.none(), st.integers(1, 8))),
        max_scale_in=draw(st.one_of(st.none(), st.integers(1, 8))),
        scale_in_hold=draw(st.sampled_from((0.0, 2 * base.tick, 5 * base.tick))),
    )


class Cluster:
    """The simplest cluster that can be observed: offsets, pods with ages; it does what is decided, or not."""

    def __init__(self, service: Service, partitions: int = 24, replicas: int = 4) -> None:
        self.service = service
        self.now = START
        self.partitions = partitions
        self.desired = self.ready = replicas
        self.pending: list[float] = []
        self.end = self.done = 0.0  # of all partitions; spread over them evenly
        self.shown: ReplicaState | None = None  # newest count that was read

    def advance(self, tick: Tick) -> ServiceObservation:
        """One tick's arrivals and service, then what is seen of it."""
        service = self.service
        self.now += service.tick
        self.end += tick.rate * service.tick
        could = tick.served * self.ready * service.service_rate * service.tick
        self.done = min(self.done + could, self.end)
        if tick.other_count is not None:
            self.scale(tick.other_count)
        became = round(len(self.pending) * tick.become_ready)
        self.ready += became
        self.pending = self.pending[became:]
        return self.observe(tick)

    def observe(self, tick: Tick) -> ServiceObservation:
        number = np.arange(self.partitions)
        zero = np.zeros(self.partitions, dtype=np.int64)
        end, done = ((int(total) + self.partitions - 1 - number) // self.partitions for total in (self.end, self.done))
        offsets = TopicOffsets(number, end, zero, done)
        state = ReplicaState(self.desired, self.ready, tuple(self.pending), 0, "t", tick.updating)
        bad = float("nan") if tick.invalid_latency else 0.2
        sample = LatencySample(bad, 0.3, 0.4, 10.0, 2.0, 60.0)
        if tick.replicas is Freshness.FRESH:
            self.shown = state
        return ServiceObservation(
            self.service.uid,
            self._reading(offsets, tick.offsets),
            self._reading(sample, tick.latency),
            self._reading(state, tick.replicas),
        )

    def _reading(self, value, how: Freshness) -> Reading:
        shown = value if how in (Freshness.FRESH, Freshness.STALE) else None
        return Reading(shown, self.now, how)

    def scale(self, count: int) -> None:
        while self.ready + len(self.pending) > count:
            if self.pending:
                self.pending.pop()
            else:
                self.ready -= 1
        self.pending += [self.now] * (count - self.ready - len(self.pending))
        self.desired = count

    def play(
        self, policy: PredictivePolicy, sequence: list[Tick]
    ) -> list[tuple[Tick, ServiceObservation, ServiceDecision]]:
        """The whole sequence; each decision is obeyed unless the tick says otherwise."""
        played = []
        for tick in sequence:
            observed = self.advance(tick)
            decision = policy.step(self.now, GroupObservation((observed,))).services[0]
            played.append((tick, observed, decision))
            if decision.desired is not None and not tick.nobody_obeys:
                self.scale(decision.desired)
        return played


def policies(service: Service) -> st.SearchStrategy[PredictivePolicy]:
    """Reactive; or with a forecast that nothing comes, that everything stays, or that all multiplies."""

    def made(rate: float | None) -> PredictivePolicy:
        return PredictivePolicy([service], lambda s: None if rate is None else Foresight(lambda t: rate, s.step))

    return st.sampled_from((None, 0.0, 10.0, 300.0)).map(made)
