"""How long one decision takes: forecast update, sample paths, rollout and rules, after a week of history.

The policy sits in the controller's own loop over the stand-ins, with the demo's service and load, and one jump that
no history announces, so that there is a backlog, too. Only ``Policy.step`` is timed.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from forecasting.series import Series
from scaler.act.apply import Actor
from scaler.act.finalizer import NoFinalizers
from scaler.api.predictive_scaler import PredictiveScaler
from scaler.controller import Controller
from scaler.observe.gather import Gatherer
from scaler.observe.histories import Histories
from scaler.observe.watched import PrometheusServer, watched
from scaler.plan.decision import GroupDecision, Policy
from scaler.plan.observation import GroupObservation
from scaler.plan.service import Service
from scaler.predictive import make_policy
from scaler.standins.autoscalers import FakeFloors
from scaler.telemetry import Telemetry
from simulations.demo import DAY, DAYS_BEFORE, HOUR, PATTERN, RESOURCE, SPEC, Inline
from simulations.traces import arrivals_per_second
from simulations.world import World

TICK = 15.0  # s: the controller's default
FROM, HOURS = 10, 6  # the hours of the day that are run; the spike of every day is at 13
JUMP_AT, JUMP_LENGTH, JUMP_HEIGHT = 1.0 * HOUR, 900, 4.0  # s from the start, s, times the load


@dataclass(frozen=True, slots=True)
class DecisionTimes:
    """Seconds of each step that took over no history, shape [steps], and of the one that fitted on the week."""

    cpu: NDArray[np.float64]
    wall: NDArray[np.float64]
    fit: float  # CPU
    with_backlog: int  # of the steps, how many saw more waiting than arrives in 10 s
    with_forecast: int  # of the steps, how many had a forecast


class Timed:
    """A policy whose steps are timed."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.fitted: list[bool] = []

    def step(self, now: float, observed: GroupObservation) -> GroupDecision:
        wall, cpu = time.perf_counter(), time.thread_time()
        decision = self._policy.step(now, observed)
        self.cpu.append(time.thread_time() - cpu)
        self.wall.append(time.perf_counter() - wall)
        self.fitted.append(observed.services[0].history is not None)
        return decision

    def snapshot(self) -> bytes:
        return self._policy.snapshot()

    def restore(self, saved: bytes) -> None:
        self._policy.restore(saved)


def bench_decision(seed: int = 0) -> DecisionTimes:
    """Run the loop for 1,440 ticks of 15 s, with a forecaster fitted on seven days of 60 s steps."""
    resource = PredictiveScaler.model_validate(yaml.safe_load(RESOURCE))
    wanted = watched(resource)
    past, load = _load(seed)
    world = World(replace(SPEC, produce_every=5), past, load, wanted.topic, wanted.target)
    timed: list[Timed] = []

    def make(scaler: PredictiveScaler, service: Service) -> Timed:
        timed.append(Timed(make_policy(scaler, service)))
        return timed[-1]

    pool = Inline()
    controller = Controller(
        Gatherer(lambda _: world.broker, _no_latency, world.cluster, pool, Histories(pool), deadline=60.0),
        Actor(world.cluster, world.cluster, world.cluster, FakeFloors(), NoFinalizers()),
        make,
        Telemetry(),
        world,
        TICK,
    )
    controller.configure([resource])
    backlog: list[bool] = []
    forecast: list[bool] = []

    def look() -> None:
        for row in controller.rows.values():
            n = row.decision.numbers
            backlog.append(n.backlog is not None and n.backlog > 10.0 * (n.arrival_rate or 0.0))
            forecast.append(n.forecast is not None)

    controller.run(threading.Event(), before_tick=look)
    fitted = np.array(timed[0].fitted)
    cpu, wall = np.array(timed[0].cpu), np.array(timed[0].wall)
    if fitted.sum() != 1 or not any(forecast):
        raise RuntimeError(f"the history was taken over {fitted.sum()} times, and {sum(forecast)} ticks had a forecast")
    return DecisionTimes(cpu[~fitted], wall[~fitted], float(cpu[fitted][0]), sum(backlog), sum(forecast))


def _load(seed: int) -> tuple[Series, NDArray[np.float64]]:
    """A week that the topic remembers up to FROM o'clock, and the arrivals of each second from then on."""
    whole = PATTERN.make((DAYS_BEFORE + 1) * DAY, 60.0, seed)
    split = DAYS_BEFORE * 1440 + FROM * 60
    past = Series(1_767_571_200.0, 60.0, whole.rates[split - DAYS_BEFORE * 1440 : split])
    rates = whole.rates[split : split + HOURS * 60].copy()
    at = round(JUMP_AT / 60)
    rates[at : at + JUMP_LENGTH // 60] *= JUMP_HEIGHT
    return past, arrivals_per_second(Series(past.end, 60.0, rates), np.random.default_rng(seed))


def _no_latency(server: PrometheusServer) -> Any:
    raise ValueError(f"this benchmark has no Prometheus, but {server} was asked for")
