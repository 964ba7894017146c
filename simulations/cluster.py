"""The simulated cluster: what a policy observes each tick, and what becomes of its decisions.

It hands out the very objects that the controller's sources hand out, so a policy cannot tell where it runs. Time goes
in whole seconds; at a tick's second the policy observes what has been until then, and its decision holds from there.

What is modelled, and how:

- Offsets and latency are as old as ``scrape_delay``: what could not be read then is missing when it would be shown.
  Replicas and nodes come from a watch and are not old. In a gap of the load the offsets are absent; over it, end and
  committed offsets go on alike at the rate around it.
- While a broker is down its offsets cannot be read and nothing is consumed. Producers hold their messages back; they
  count as arrived when they were sent, so the outage is part of their latency.
- A service is stopped by CONSUMERS_STUCK, too; its offsets are read as ever.
- While the API is down replicas and nodes cannot be read, and no decision takes effect.
- A crashed pod starts anew in its place, after its lead time, of which it tells nothing. A lost node's pods are made
  anew when it is taken for gone. Until the group takes a dead consumer for gone its partitions stand still, and the
  restarted one joins no earlier; a shared queue just lacks it. (In Kafka a rebalance meanwhile waits for the dead one
  as well; here the others go on.) Who is hit is drawn by the seed, among what is up; where nothing is, nothing happens.
- A rebalance stops for one pause what its protocol stops; see :class:`simulations.setting.Protocol`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.series import Series
from scaler.plan.decision import GroupDecision
from scaler.plan.observation import (
    Freshness,
    GroupObservation,
    LatencySample,
    LeadTime,
    PoolObservation,
    PoolState,
    Reading,
    ReplicaState,
    ServiceObservation,
    TopicOffsets,
)
from scaler.plan.reasons import Reason
from simulations.errors import BadSetting
from simulations.kernel import pods, queue
from simulations.kernel.fleet import Fleet
from simulations.kernel.service_queue import ServiceQueue
from simulations.record import LatencyHistogram, PoolRecord
from simulations.setting import INSTANT, Fault, FaultKind, Load, Setting

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

TEMPLATE = "simulated"
_FRESH, _ABSENT, _ERROR = Freshness.FRESH, Freshness.ABSENT, Freshness.ERROR


@dataclass(frozen=True, slots=True, eq=False)
class ServiceColumns:
    """What one service's run left, by second and in all; see :class:`simulations.record.ServiceRecord`."""

    arrived: Floats
    late: Floats
    backlog: Floats
    time_lag: Floats
    ready: Ints
    pending: Ints
    latency: LatencyHistogram
    rebalances: int
    unserved: float
    undecided: float


class Cluster:
    """A run of ``setting`` under ``loads``, one for each service, in order: all of one start and length.

    At each tick: ``observe``, ``apply``, ``advance``; when ``done``, ``columns`` and ``pool``. Raises BadSetting.
    """

    def __init__(self, setting: Setting, loads: tuple[Load, ...]) -> None:
        check(setting, loads)
        self.setting, self.start = setting, loads[0].start
        self.seconds = len(loads[0].arrivals)
        self.second = 0
        self._tick = int(setting.tick)
        self._uids = [s.service.uid for s in setting.services]
        count = len(self._uids)
        # By service: the seconds in which something cannot be read, or stands still.
        self._broker_down = self._marks(FaultKind.BROKER_DOWN)
        self._no_metrics = self._marks(FaultKind.METRICS_ABSENT)
        self._api_down = self._marks(FaultKind.API_DOWN)
        stuck = self._marks(FaultKind.CONSUMERS_STUCK)
        self._instant = sorted((f for f in setting.faults if f.kind in INSTANT), key=lambda f: f.at)
        self.fleet = Fleet(setting, self.seconds)
        self.queues = [
            ServiceQueue(k, setting.services[k], loads[k], setting.seed, self._stopped(k, stuck)) for k in range(count)
        ]
        self._unknown = [frozenset(np.flatnonzero(np.isnan(q.arrivals)).tolist()) for q in self.queues]
        self._histories: list[Series | None] = [load.history for load in loads]
        self._served = [q.offsets(-one.scrape_delay)[2] for q, one in zip(self.queues, setting.services, strict=True)]
        self._states: list[ReplicaState | None] = [None] * count
        self._seen_changes = -1

    def _marks(self, kind: FaultKind) -> list[frozenset[int]]:
        """Of each service, the seconds that a kind of fault lasts."""
        marks: list[set[int]] = [set() for _ in self._uids]
        for fault in self.setting.faults:
            if fault.kind is kind:
                for k in self._services_of(fault):
                    marks[k].update(range(int(fault.at), min(math.ceil(fault.at + fault.seconds), self.seconds)))
        return [frozenset(seconds) for seconds in marks]

    def _stopped(self, k: int, stuck: list[frozenset[int]]) -> Flags:
        stopped = np.zeros(self.seconds, np.bool_)
        stopped[sorted(self._broker_down[k] | stuck[k])] = True
        return stopped

    def _services_of(self, fault: Fault) -> list[int]:
        return [k for k, uid in enumerate(self._uids) if fault.service in (None, uid)]

    @property
    def now(self) -> float:
        """Unix seconds."""
        return self.start + self.second

    @property
    def done(self) -> bool:
        """Whether the load has ended."""
        return self.second >= self.seconds

    @property
    def _api_is_down(self) -> bool:
        return any(self.second in seconds for seconds in self._api_down)

    def observe(self) -> GroupObservation:
        """What is new since the last call, for the policy."""
        self.fleet.arrive(self.second)
        changed = self.fleet.changes != self._seen_changes
        self._seen_changes = self.fleet.changes
        if changed:  # also of a service that cannot be read just now
            self._states = [None] * len(self._uids)
        services = tuple([self._service(k) for k in range(len(self._uids))])
        pool = self.setting.pool
        pools = () if pool is None else (PoolObservation(pool.uid, self._pool_state(), self.fleet.node_leads),)
        self.fleet.tell(self.second)
        return GroupObservation(services, pools)

    def _service(self, k: int) -> ServiceObservation:
        second, now, uid = self.second, self.now, self._uids[k]
        history, (offsets, latency) = None, self._latency(k)
        if second == 0:
            series = self._histories[k]
            history = Reading(None, now, _ABSENT) if series is None else Reading(series, now, _FRESH)
        replicas: Reading[ReplicaState]
        if second in self._api_down[k]:
            replicas = Reading(None, now, _ERROR, Reason.KUBERNETES_UNREACHABLE)
        else:
            replicas = Reading(self._replicas(k), now, _FRESH)
        leads = self._lead_times(k) if self.fleet.happened else ()
        told = latency if self.setting.services[k].latency else None
        return ServiceObservation(uid, offsets, told, replicas, leads, history)

    def _latency(self, k: int) -> tuple[Reading[TopicOffsets], Reading[LatencySample]]:
        """The offsets and, from what was served between two of them, the latency."""
        one, line, second = self.setting.services[k], self.queues[k], self.second
        at = second - one.scrape_delay
        taken = math.floor(at)  # the second in which the scrape was, or was not
        end, committed, served = line.offsets(at)
        time = self.start + at
        offsets: Reading[TopicOffsets]
        if taken in self._broker_down[k]:
            offsets = Reading(None, self.now, _ERROR, Reason.BROKER_UNREACHABLE)
        elif math.ceil(at) - 1 in self._unknown[k]:
            offsets = Reading(None, self.now, _ABSENT)
        else:
            offsets = Reading(TopicOffsets(line.numbers, end, line.begin, committed, line.assignor), time, _FRESH)
        latency: Reading[LatencySample]
        if taken in self._no_metrics[k]:
            latency = Reading(None, self.now, _ABSENT)
        else:
            count = max(served - self._served[k], 0.0)
            one_takes = one.time if count > 0 else None
            sample = LatencySample(one_takes, one_takes, one_takes, count, count * one.time, self.setting.tick)
            latency = Reading(sample, time, _FRESH)
        self._served[k] = served
        return offsets, latency

    def _replicas(self, k: int) -> ReplicaState:
        state = self._states[k]
        if state is None:
            desired, ready = self.fleet.count(k), self.fleet.up(k)
            pending = self.fleet.pending_since(k) if desired > ready else ()
            since = tuple([self.start + second for second in pending])
            state = self._states[k] = ReplicaState(desired, ready, since, 0, TEMPLATE, False)
        return state

    def _lead_times(self, k: int) -> tuple[LeadTime, ...]:
        rows = self.fleet.untold.tolist()
        return tuple(
            LeadTime(
                pod=f"{self._uids[k]}-{row[queue.NUMBER]}",
                patch_to_created=0.0,
                created_to_scheduled=float(row[queue.SCHEDULED] - row[queue.ASKED]),
                scheduled_to_ready=float(row[queue.AT] - row[queue.SCHEDULED]),
                ready_to_partitions=0.0,
                ready_at=self.start + row[queue.AT],
            )
            for row in rows
            # A container that starts anew in its pod tells nothing of how long a new pod takes.
            if row[queue.WHOSE] == k and row[queue.SIGN] > 0 and row[queue.SCHEDULED] != pods.NEVER
        )

    def _pool_state(self) -> Reading[PoolState]:
        if self._api_is_down:
            return Reading(None, self.now, _ERROR, Reason.KUBERNETES_UNREACHABLE)
        rows = self.fleet.nodes
        up = rows[:, pods.N_STATE] == pods.UP
        booting = rows[rows[:, pods.N_STATE] == pods.BOOTING, pods.N_ASKED]
        empty = int((up & (rows[:, pods.N_PODS] == 0)).sum())
        since = tuple([self.start + second for second in sorted(booting.tolist())])
        return Reading(PoolState(int(up.sum()), since, empty, self.fleet.floor), self.now, _FRESH)

    def apply(self, decision: GroupDecision) -> None:
        """Let a decision take effect from this second on, the nodes' part first: it says which pods go.

        Raises BadSetting, before anything is done, unless it is of the services, in order, with counts of at least 0.
        """
        found = [one.uid for one in decision.services]
        if found != self._uids:
            raise BadSetting(f"decision: found services {found}; allowed: {self._uids}, in this order")
        for one in decision.services:
            if one.desired is not None and one.desired < 0:
                raise BadSetting(f"decision for {one.uid}: found {one.desired} replicas; allowed: at least 0")
        for pool in decision.pools:
            mine = self.setting.pool is not None and pool.uid == self.setting.pool.uid
            if mine and not self._api_is_down:
                self.fleet.keep(self.second, pool.floor, pool.vacate)
        for k, one in enumerate(decision.services):
            if one.desired is None or self.second in self._api_down[k]:
                continue
            if one.desired != self.fleet.count(k):
                self.queues[k].make_room(one.desired)
                self.fleet.resize(self.second, k, one.desired)

    def advance(self) -> None:
        """Let the time to the next tick pass, or to the load's end."""
        first, last = self.second, min(self.second + self._tick, self.seconds)
        at = first
        while self._instant and self._instant[0].at < last:
            fault = self._instant.pop(0)
            self.fleet.run(at, max(int(fault.at), at))
            at = max(int(fault.at), at)
            self._strike(fault, at)
        self.fleet.run(at, last)
        events, count = self.fleet.events, self.fleet.happened
        for line in self.queues:
            line.run(first, last, events, count)
        self.second = last

    def _strike(self, fault: Fault, second: int) -> None:
        if fault.kind is FaultKind.NODE_LOST:
            self.fleet.lose_node(second, fault.detection)
            return
        for k in self._services_of(fault):
            self.fleet.crash_pod(second, k, fault.detection)

    def columns(self) -> tuple[ServiceColumns, ...]:
        """What the run left; call it once, at the end."""
        made = []
        for k, line in enumerate(self.queues):
            latency, unserved, undecided = line.finish(self.second)
            late, backlog, time_lag = line.columns
            made.append(
                ServiceColumns(
                    line.arrivals,
                    late,
                    backlog,
                    time_lag,
                    self.fleet.ready[k],
                    self.fleet.pending[k],
                    latency,
                    line.rebalances,
                    unserved,
                    undecided,
                )
            )
        return tuple(made)

    def pool(self) -> PoolRecord | None:
        """The nodes by second; None without a pool."""
        if self.setting.pool is None:
            return None
        paid, up, empty = self.fleet.pool
        return PoolRecord(self.setting.pool.uid, paid, up, empty)


def check(setting: Setting, loads: tuple[Load, ...]) -> None:
    """Raise BadSetting unless each service has a load, all of one start and length, with all faults before its end."""
    if len(loads) != len(setting.services):
        raise BadSetting(f"loads: found {len(loads)}; allowed: one for each of {len(setting.services)} services")
    spans = {(load.start, len(load.arrivals)) for load in loads}
    if len(spans) > 1:
        raise BadSetting(f"loads: found (start, seconds) {sorted(spans)}; allowed: the same for all services of a run")
    for fault in setting.faults:
        if fault.at >= len(loads[0].arrivals):
            allowed = f"before the load's end, {len(loads[0].arrivals)} s"
            raise BadSetting(f"fault {fault.kind}: found at {fault.at} s; allowed: {allowed}")
