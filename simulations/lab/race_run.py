"""One leg of the race: the same load on the same broker under real KEDA or under Lagcast, and KEDA's leg simulated.

Everything is in the lab's compressed time: a sync of 2 s stands for one of 15 s, in the real HPA as in the simulated.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaler.plan.service import Service
from simulations.lab import interrupts
from simulations.lab.control_plane import HPA_SYNC
from simulations.lab.errors import LabError
from simulations.lab.lab import Lab
from simulations.lab.measure import Produced
from simulations.lab.replica_watch import ReplicaWatch
from simulations.lab.results import Finished
from simulations.lab.scenario import Scenario, ScenarioSpec
from simulations.policies.catalog import entry
from simulations.run import simulate
from simulations.setting import Between, Load, Partitioned, Protocol, Rebalance, ServiceSetting, Setting
from simulations.traces import Spike

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TIME_SCALE = HPA_SYNC / 15.0  # of KEDA's and the HPA's periods
LAG_THRESHOLD = 10  # messages a replica: KEDA's own default
CALM = 30.0  # s before the first spike that count, too
SETTLE = 15.0  # s for what fell due while the lab was preparing
DRAIN = 20.0  # s after the end for the last requests
PATIENCE = 90.0  # s for KEDA to see a new ScaledObject, and for its HPA to be active
# s that a rebalance stops a consumer: between the 0.3 s that one who leaves was seen to cost the others, and the 0.3 to
# 3 s of one who joins (tests/lab/test_simulator_believed.py prints it).
REBALANCE = 1.0
# The past ends as a spike ends, so that the next one comes after everything has settled. Lagcast's own periods are its
# defaults, 60 s and 15 s, in the lab's time, as KEDA's are.
SPEC = ScenarioSpec(
    name="race",
    scale_in_hold=60.0 * TIME_SCALE,
    step=15.0 * TIME_SCALE,
    past=715.0,
    replicas=6,
    spike=Spike(every=120.0, at=90.0, length=25.0, height=6.0),
)


class Contestant(StrEnum):
    """Who scales."""

    KEDA = "KEDA 2.21"
    SIMULATED = "KEDA, simulated"
    LAGCAST = "Lagcast"


@dataclass(frozen=True, slots=True, eq=False)
class Leg:
    """One contestant's run. Columns by second, shape [seconds]; ``start`` is unix s."""

    contestant: Contestant
    start: float
    begins: float  # s from ``start`` to the first spike
    arrivals: Floats
    lag: Floats  # requests that have arrived and are not finished, at the end of each second; NaN for a simulated leg
    replicas: Ints  # asked for, and so paid
    requests: int
    attainment: float
    p99: float  # s, of all requests: infinite where more than 1 % were not finished; NaN for a simulated leg

    @property
    def replica_hours(self) -> float:
        """Paid from the request."""
        return float(self.replicas.sum()) / 3600.0

    @property
    def changes(self) -> int:
        """Seconds in which the count changed."""
        return int((np.diff(self.replicas) != 0).sum())

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "contestant": self.contestant.value,
            "start": self.start,
            "requests": self.requests,
            "attainment": self.attainment,
            "latency_p99_seconds": self.p99 if math.isfinite(self.p99) else None,
            "replica_hours": self.replica_hours,
            "changes": self.changes,
            "replicas": self.replicas.tolist(),
            "lag": [None if math.isnan(lag) else lag for lag in self.lag.tolist()],
            "arrivals": self.arrivals.tolist(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class KedaLeg:
    """Real KEDA's leg, and the same seconds under the simulated one."""

    real: Leg
    simulated: Leg

    @property
    def difference(self) -> float:
        """Mean absolute difference of the replicas asked for, as a part of the real mean."""
        real, simulated = self.real.replicas, self.simulated.replicas
        return float(np.abs(simulated - real).mean() / real.mean())


def run_lagcast(lab: Lab, folder: Path, seconds: int, spec: ScenarioSpec = SPEC) -> Leg:
    """Lagcast in Enforce, at its defaults. Raises LabError."""
    spec = _fresh(spec, "lagcast", "lagcast")
    with Scenario(lab, folder, spec) as running, _watched(lab, spec) as counts:
        running.send()
        start = _start(running)
        _sleep_until(start + seconds + DRAIN)
        return _leg(Contestant.LAGCAST, running, counts, start, seconds)


def run_keda(lab: Lab, folder: Path, seconds: int, threshold: int, spec: ScenarioSpec = SPEC) -> KedaLeg:
    """Real KEDA with the real HPA, and beside it the simulated one on the same load. Raises LabError."""
    spec = _fresh(spec, "keda", None)
    with Scenario(lab, folder, spec) as running, _watched(lab, spec) as counts:
        running.send()
        _sleep_until(time.time() + SETTLE)
        _apply(lab, scaled_object(lab, spec, threshold))
        try:
            active = _active(lab, spec.name)
            start = _start(running)
            _sleep_until(start + seconds + DRAIN)
            real = _leg(Contestant.KEDA, running, counts, start, seconds)
            finished, produced = running.finished(), running.produced(active)
        finally:
            lab.kubernetes.run("delete", "scaledobject", spec.name, "--ignore-not-found", "--timeout=30s")
    lead = _lead_times(counts, spec.name, finished, active, start + seconds)
    return KedaLeg(real, simulate_keda(real, produced, active, lead, threshold, spec))


def scaled_object(lab: Lab, spec: ScenarioSpec, threshold: int) -> dict[str, Any]:
    """A ScaledObject as KEDA's users write it, its own periods in the lab's time."""
    trigger = {
        "type": "kafka",
        "metadata": {
            "bootstrapServers": lab.kafka.bootstrap,
            "consumerGroup": spec.name,
            "topic": spec.name,
            "lagThreshold": str(threshold),
            "version": "3.6.0",  # a broker of Kafka 4 does not speak the default's
        },
    }
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": spec.name, "namespace": "default"},
        "spec": {
            "scaleTargetRef": {"name": spec.name},
            "minReplicaCount": 1,
            "maxReplicaCount": spec.most,
            "pollingInterval": round(30 * TIME_SCALE),
            "cooldownPeriod": round(300 * TIME_SCALE),
            "triggers": [trigger],
        },
    }


def simulate_keda(
    real: Leg, produced: Produced, active: float, lead: tuple[float, float], threshold: int, spec: ScenarioSpec = SPEC
) -> Leg:
    """What the simulated KEDA does with the load of ``real`` from the moment on in which the real one was ``active``.

    ``produced``: the messages from then on; ``lead``: the lead times that the pods of that run showed (s).
    """
    before, seconds = int(real.start - active), len(real.replicas)
    since = real.start - before  # a whole number of seconds before, so that the same seconds can be compared
    arrivals = np.histogram(produced.arrival, since + np.arange(before + seconds + 1))[0].astype(np.float64)
    service = Service(
        uid=spec.name,
        within=spec.within,
        share=0.99,
        min_replicas=1,
        max_replicas=spec.most,
        service_rate=spec.service_rate,
        service_time=spec.service_time,
        lead_time=lead[1],
        tick=HPA_SYNC,
        step=spec.step,
        scale_in_hold=spec.scale_in_hold,
    )
    weights = np.bincount(produced.partition, minlength=spec.partitions).astype(np.float64)
    one = ServiceSetting(
        service=service,
        rate=spec.service_rate,
        time=spec.service_time,
        queue=Partitioned(spec.partitions, weights=tuple(weights.tolist())),
        lead_time=Between(*lead),
        rebalance=Rebalance(Protocol.COOPERATIVE, REBALANCE),
        commit_interval=0.5,
        replicas=spec.replicas,
    )
    options = {"threshold": str(threshold), "time_scale": str(TIME_SCALE)}
    policy = entry("keda_lag").make(options)([service])
    setting = Setting(services=(one,), tick=HPA_SYNC)
    record = simulate(setting, [Load(since, arrivals)], policy, name="keda_lag").services[0]
    inside = slice(before, before + seconds)
    came, late = record.arrived[inside], record.late[inside]
    return Leg(
        contestant=Contestant.SIMULATED,
        start=real.start,
        begins=real.begins,
        arrivals=came,
        lag=np.full(seconds, np.nan),  # its backlog is what waits for service, without what is in it
        replicas=(record.ready + record.pending)[inside],
        requests=int(came.sum()),
        attainment=float(1.0 - late.sum() / came.sum()),
        p99=float("nan"),  # the histogram is of the whole run
    )


def _fresh(spec: ScenarioSpec, who: str, policy: str | None) -> ScenarioSpec:
    """The same service under a name, and so a topic, of its own."""
    return replace(spec, name=f"{spec.name}-{who}-{int(time.time())}", policy=policy)


def _watched(lab: Lab, spec: ScenarioSpec) -> ReplicaWatch:
    return ReplicaWatch(Path(lab.kubernetes.admin_kubeconfig), f"app={spec.name}")


def _start(running: Scenario) -> float:
    """Unix s at which what counts begins. Raises LabError when it has passed already."""
    begins = running.next_spike()
    start = begins - CALM
    if start < time.time():
        raise LabError(
            f"{running.spec.name} was ready {time.time() - start:.0f} s too late for its spike: run it again"
        )
    return start


def _sleep_until(when: float) -> None:
    while (left := when - time.time()) > 0:
        interrupts.pause(min(left, 1.0))


def _leg(who: Contestant, running: Scenario, counts: ReplicaWatch, start: float, seconds: int) -> Leg:
    measured = running.measured(start, start + seconds)
    if measured.attainment is None or measured.requests == measured.unfinished:
        raise LabError(f"{running.spec.name}: no request came, or none was finished")
    finished, ends = running.finished(), start + 1.0 + np.arange(seconds)
    produced = running.produced(finished.arrival.min())  # what is older is the past, which nobody serves
    came = np.searchsorted(np.sort(produced.arrival), ends, side="right")
    arrival, left = _firsts(finished)
    gone = np.searchsorted(np.sort(left), ends, side="right")
    inside = (arrival >= start) & (arrival < start + seconds)
    edges = start + np.arange(seconds + 1)
    return Leg(
        contestant=who,
        start=start,
        begins=CALM,
        arrivals=np.histogram(produced.arrival, edges)[0].astype(np.float64),
        lag=(came - gone).astype(np.float64),
        replicas=counts.asked(running.spec.name, start, seconds),
        requests=measured.requests,
        attainment=measured.attainment,
        p99=p99_of((left - arrival)[inside], measured.unfinished),
    )


def p99_of(latency: Floats, unfinished: int) -> float:
    """99th percentile (s) of the latencies of finished requests together with ``unfinished`` that take for ever."""
    return float(np.quantile(np.concatenate((latency, np.full(unfinished, np.inf))), 0.99, method="higher"))


def _firsts(finished: Finished) -> tuple[Floats, Floats]:
    """When each request arrived, and when it was finished first (unix s)."""
    order = np.lexsort((finished.finished, finished.offset, finished.partition))
    place = np.stack((finished.partition[order], finished.offset[order]))
    first = np.concatenate((np.ones(min(len(order), 1), np.bool_), (np.diff(place) != 0).any(axis=0)))
    return np.asarray(finished.arrival[order][first]), np.asarray(finished.finished[order][first])


def _lead_times(counts: ReplicaWatch, name: str, finished: Finished, start: float, end: float) -> tuple[float, float]:
    """10 and 90 % points of the seconds from asked for to serving, of the pods that were asked for in [start, end)."""
    asked = counts.asked(name, start, int(end - start))
    more = np.repeat(start + 1.0 + np.arange(len(asked) - 1), np.maximum(np.diff(asked), 0))
    firsts = np.sort([finished.begun[finished.pod == pod].min() for pod in np.unique(finished.pod)])
    firsts = firsts[firsts >= start]
    leads = []
    for at in more:  # the first pod that serves after it, each only once; at least the pod's own part
        later = firsts[firsts > at + SPEC.lead_time[0]]
        if len(later):
            leads.append(float(later[0] - at))
            firsts = firsts[firsts != later[0]]
    if not leads:
        raise LabError(f"{name}: no pod was added, so nothing is known of its lead time")
    low, high = np.quantile(leads, [0.1, 0.9])
    return float(low), float(high)


def _active(lab: Lab, name: str) -> float:
    """Wait until the HPA of the ScaledObject reads its metric; unix s of that. Raises LabError."""
    until = time.monotonic() + PATIENCE
    path = '-o=jsonpath={.status.conditions[?(@.type=="ScalingActive")].status}'
    while lab.kubernetes.run("get", "hpa", f"keda-hpa-{name}", path).output.strip() != "True":
        if time.monotonic() > until:
            said = lab.kubernetes.run("get", "scaledobject,hpa", "-o", "yaml").output
            raise LabError(
                f"KEDA did nothing for {name} within {PATIENCE:.0f} s; see its logs. It says:\n{said[-2000:]}"
            )
        interrupts.pause(0.5)
    return time.time()


def _apply(lab: Lab, resource: dict[str, Any]) -> None:
    """KEDA's kind is known a moment after its CRD is there."""
    until = time.monotonic() + PATIENCE
    while (done := lab.kubernetes.run("apply", "-f", "-", stdin=json.dumps(resource))).code != 0:
        if time.monotonic() > until:
            raise LabError(f"the ScaledObject was refused: {done.output.strip()}")
        interrupts.pause(1.0)
