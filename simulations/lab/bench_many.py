"""What many scalers cost: memory, a tick, a decision for all of them, an update, and the process that fits.

The controller's own loop over made-up sources, each scaler with a forecaster fitted on a week of history. In a process
of its own, so that memory is the controller's: ``python -m simulations.lab.bench_many SCALERS`` prints JSON.
"""

from __future__ import annotations

import json
import pickle
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from forecasting.fit_pool import FitPool
from forecasting.fitting import Done, FitJob, Fitted
from forecasting.forecaster import Forecaster
from forecasting.series import Arrivals, Series
from scaler.act.apply import Actor
from scaler.act.finalizer import NoFinalizers
from scaler.api.predictive_scaler import PredictiveScaler
from scaler.controller import Controller
from scaler.observe.gather import Gatherer
from scaler.observe.histories import Histories
from scaler.observe.ports import GroupTopic, TargetRef
from scaler.plan.observation import Freshness, LeadTime, Reading, ReplicaState, TopicOffsets
from scaler.plan.service import Service
from scaler.predictive import MakePredictive, make_forecaster
from scaler.standins.autoscalers import FakeFloors
from scaler.telemetry import Telemetry
from scaler.warm import EXAMPLE, warm_up
from simulations.demo import Inline
from simulations.lab.bench_decision import Timed
from simulations.lab.process import run

TICK, WEEK, MINUTE = 15.0, 7 * 86_400.0, 60.0
START = 1_767_571_200.0  # unix s
PARTITIONS, READY, MOST = 4, 40, 64
SETTLED, TICKS = 12, 20  # ticks before what is measured, and of it
UPDATES = 960  # of a forecaster, in steps of a tick


@dataclass(frozen=True, slots=True)
class Many:
    """A controller with ``scalers`` after a week."""

    scalers: int
    memory: float  # resident bytes, without the clients of Kafka and Kubernetes
    each: float  # of them, for each scaler
    state: float  # bytes of a plan and its forecaster alone, as they are pickled
    tick: float  # CPU s, median over ticks
    decisions: float  # CPU s of all decisions in a tick, median
    decision: float  # CPU s, median of all
    update: float  # CPU s of one update of a forecaster, median
    updates: float  # the same, mean: in every second minute models are asked and scored
    fit: float  # CPU s, the first one of a scaler, with a trial
    refit: float  # CPU s
    worker: float  # resident bytes at most, of the process that fits


class Copies:
    """Hands each policy a copy of one fitted forecaster: a thousand fits take half an hour."""

    def __init__(self, fitted: Forecaster) -> None:
        self._fitted = pickle.dumps(fitted)

    def start(self, job: FitJob) -> Done:
        return Done(Fitted(pickle.loads(self._fitted)))  # noqa: S301 - our own bytes


class Made:
    """Kafka, the cluster and the clock of a load that is made up: the same for all scalers."""

    def __init__(self, past: Series) -> None:
        self._past = past
        self._rng = np.random.default_rng(1)
        self._now = past.end
        self._end = self._served = 0

    def now(self) -> float:
        return self._now

    def elapsed(self) -> float:
        return self._now

    def wait(self, seconds: float, stop: object) -> bool:
        raise NotImplementedError("ticks are called one by one")

    def advance(self) -> None:
        """To the next tick."""
        self._now += TICK
        self._end += int(self._rng.poisson(_rate(self._now) * TICK))
        self._served = max(self._end - int(self._rng.integers(40)), self._served)

    def sample(self, now: float, wanted: Sequence[Any]) -> Mapping[Any, Reading[Any]]:
        """Of both."""
        return {one: Reading(self._value(one), now, Freshness.FRESH) for one in wanted}

    def _value(self, one: GroupTopic | TargetRef) -> TopicOffsets | ReplicaState:
        if isinstance(one, TargetRef):
            return ReplicaState(READY, READY, (), 0, "a", updating=False)
        zeros, each = np.zeros(PARTITIONS, dtype=np.int64), PARTITIONS
        return TopicOffsets(np.arange(each), zeros + self._end // each, zeros, zeros + self._served // each)

    def history(self, topic: str, start: float, end: float, step: float) -> Reading[Series]:
        return Reading(self._past, end, Freshness.FRESH)

    def lead_times(self, target: TargetRef) -> Sequence[LeadTime]:
        return ()

    def asked(self, target: TargetRef, replicas: int, at: float) -> None:
        raise NotImplementedError("nothing is patched in Recommend")

    def close(self) -> None: ...


def bench_many(scalers: int, folder: Path) -> Many:
    """In a process of its own. Raises RuntimeError when that fails."""
    command = [sys.executable, "-m", "simulations.lab.bench_many", str(scalers)]
    done = run(command, directory=folder, timeout=1200.0)
    if done.code != 0:
        raise RuntimeError(f"the benchmark of many scalers failed: {done.output[-2000:]}")
    return Many(**json.loads(done.output.strip().splitlines()[-1]))


def measure(scalers: int) -> Many:
    """In this process, of which nothing else should be in memory. Raises RuntimeError without a forecast."""
    me, past = psutil.Process(), _past()
    first = make_forecaster(_resource(0))
    if first is None:
        raise RuntimeError("the example asks for no forecaster")
    fitted, fit, refit, worker = _fits(first, past)
    warm_up(MakePredictive(), EXAMPLE, TICK)
    make, timed = MakePredictive(Copies(fitted)), list[Timed]()

    def policy(resource: PredictiveScaler, service: Service) -> Timed:
        timed.append(Timed(make(resource, service)))
        return timed[-1]

    before = me.memory_info().rss
    made: Any = Made(past)
    inline = Inline()
    controller = Controller(
        Gatherer(lambda _: made, lambda _: made, made, inline, Histories(inline), deadline=60.0),
        Actor(made, made, made, FakeFloors(), NoFinalizers()),
        policy,
        Telemetry(),
        made,
        TICK,
    )
    controller.configure([_resource(k) for k in range(scalers)])
    ticks = []
    for _ in range(SETTLED + TICKS):
        made.advance()
        began = time.process_time()
        controller.tick()
        ticks.append(time.process_time() - began)
    blind = [row for row in controller.rows.values() if row.decision.numbers.forecast is None]
    if blind:
        raise RuntimeError(f"{len(blind)} of {scalers} decide without a forecast: {blind[0].decision.reasons}")
    rss = me.memory_info().rss
    cpu = np.array([one.cpu[-TICKS:] for one in timed])
    updates = _updates(fitted, past)
    return Many(
        scalers,
        memory=rss,
        each=(rss - before) / scalers,
        state=len(timed[0].snapshot()),
        tick=float(np.median(ticks[-TICKS:])),
        decisions=float(np.median(cpu.sum(axis=0))),
        decision=float(np.median(cpu)),
        update=float(np.median(updates)),
        updates=float(np.mean(updates)),
        fit=fit,
        refit=refit,
        worker=worker,
    )


def _resource(k: int) -> PredictiveScaler:
    given = EXAMPLE.model_dump(by_alias=True, mode="json", exclude_none=True)
    given["metadata"]["name"] = f"many-{k}"
    given["spec"]["target"]["name"] = f"many-{k}"
    given["spec"]["kafka"]["consumerGroup"] = f"many-{k}"
    given["spec"]["replicas"] |= {"max": MOST, "serviceRate": "2"}
    return PredictiveScaler.model_validate(given)


def _rate(at: float) -> float:
    """Requests/s."""
    return 40.0 + 30.0 * float(np.sin(2 * np.pi * at / 86_400.0))


def _past() -> Series:
    rng = np.random.default_rng(0)
    counts = [rng.poisson(_rate(START + k * MINUTE) * MINUTE) for k in range(round(WEEK / MINUTE))]
    return Series(START, MINUTE, np.array(counts) / MINUTE)


def _fits(forecaster: Forecaster, past: Series) -> tuple[Forecaster, float, float, float]:
    """A fitted forecaster; CPU seconds of a fit and of a refit; the most memory of the process that did them."""
    with FitPool(limit=120.0) as pool:
        _fit(pool, FitJob("first", forecaster, past))  # loads, and compiles on a new machine
        fitted, fit, most = _fit(pool, FitJob("second", forecaster, past))
        _, refit, later = _fit(pool, FitJob("refit", fitted, None))
    return fitted, fit, refit, max(most, later)


def _fit(pool: FitPool, job: FitJob) -> tuple[Forecaster, float, float]:
    cpu, most = [_worker_cpu()], 0.0
    begun = pool.start(job)
    if begun is None:
        raise RuntimeError("no room for a fit, though there was none")
    while begun.outcome is None:
        most = max([most, *(child.memory_info().rss for child in psutil.Process().children())])
        time.sleep(0.01)
    cpu.append(_worker_cpu())
    if begun.outcome.forecaster is None:
        raise RuntimeError(f"the fit failed: {begun.outcome.error}")
    return begun.outcome.forecaster, cpu[1] - cpu[0], most


def _updates(fitted: Forecaster, past: Series) -> list[float]:
    """CPU seconds of each update in the four hours after ``past``."""
    rng, taken = np.random.default_rng(2), []
    for end in (past.end + TICK * np.arange(1, UPDATES + 1)).tolist():
        arrivals = Arrivals(end, TICK, float(rng.poisson(_rate(end) * TICK)))
        began = time.thread_time()
        fitted.update(arrivals)
        taken.append(time.thread_time() - began)
    return taken


def _worker_cpu() -> float:
    times = [child.cpu_times() for child in psutil.Process().children()]
    return float(sum(one.user + one.system for one in times))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(measure(int(sys.argv[1])))) + "\n")
