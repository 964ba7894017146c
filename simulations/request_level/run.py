"""Services under one policy, request by request: what it is shown each tick, and what becomes of what it decides.

The policy sees Kafka's view of the services: what arrived stands in the end offsets, what was served or refused in the
committed ones. A total that the services share is shown as a pool of nodes that are all there, one replica each:
``ready`` is the total, ``empty`` what is left of it. Decisions about pools have no effect.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from forecasting.series import Series
from scaler.plan.decision import GroupDecision, Policy
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
from simulations.errors import BadSetting
from simulations.request_level.record import RequestRecord, ServiceRequests
from simulations.request_level.setting import TOTAL, RequestService, RequestSetting
from simulations.request_level.station import Answers, Pod, Station, check


def simulate_requests(
    setting: RequestSetting,
    arrivals: Sequence[NDArray[np.float64]],
    policy: Policy,
    *,
    seconds: float | None = None,
    start: float = 0.0,
    history: Sequence[Series | None] | None = None,
    progress: Callable[[float], None] | None = None,
) -> RequestRecord:
    """Run all services under ``policy``.

    ``arrivals``: for each service, seconds since the begin, ascending. ``seconds``: how long the run is (to the last
    arrival by default). What arrives after it is left out; what is in the system then is served to its end, unpaid,
    with the replicas of that moment.
    ``start``: the begin's unix time. ``history``: for each service what is handed over at the first tick.
    ``progress`` is told, after each tick, the part that is done. The same setting and arrivals give the same record.
    Raises BadSetting.
    """
    if len(arrivals) != len(setting.services):
        raise BadSetting(f"arrivals: found {len(arrivals)}; allowed: one for each service, {len(setting.services)}")
    past = [None] * len(setting.services) if history is None else history
    if len(past) != len(setting.services):
        raise BadSetting(f"history: found {len(past)}; allowed: one for each service, {len(setting.services)}, or none")
    for declared, times in zip(setting.services, arrivals, strict=True):
        check(declared.service.uid, times)
    length = max((float(a[-1]) for a in arrivals if len(a)), default=0.0) if seconds is None else seconds
    if not 0 <= length < math.inf:
        raise BadSetting(f"seconds: found {length}; allowed: a finite length of at least 0 s")
    count = max(math.ceil(length / setting.tick), 1)
    runs = [
        _ServiceRun(k, true, times[: np.searchsorted(times, length, side="right")], setting)
        for k, (true, times) in enumerate(zip(setting.services, arrivals, strict=True))
    ]
    budget = _Budget(setting.total, runs)
    for n in range(count):
        now = n * setting.tick
        for one in runs:
            one.advance(now)
        shown = tuple(one.observe(now, start, h if n == 0 else None) for one, h in zip(runs, past, strict=True))
        budget.apply(now, policy.step(start + now, GroupObservation(shown, budget.pools(start + now))))
        for one in runs:
            one.note()
        if progress is not None:
            progress((n + 1) / count)
    for one in runs:
        one.advance(math.inf)
    return RequestRecord(
        setting, start, length, np.arange(count, dtype=np.float64) * setting.tick, tuple(one.record() for one in runs)
    )


class _ServiceRun:
    """One service while the run goes on: its station, and what its policy is shown."""

    def __init__(self, place: int, setting: RequestService, arrivals: NDArray[np.float64], run: RequestSetting) -> None:
        self.setting = setting
        self.station = Station(setting, arrivals, np.random.default_rng((run.seed, place, 0)))
        self.desired = setting.replicas
        self.reasons = ""
        self._lead_times = np.random.default_rng((run.seed, place, 1))
        # What was answered in each tick of the window.
        self._answers: deque[Answers] = deque(maxlen=round(setting.window / run.tick))
        self._became_ready: tuple[Pod, ...] = ()
        self._made = 0
        self._columns: list[tuple[int, int, int, int]] = []
        self._texts: list[str] = []
        self._before = (0, 0)

    def advance(self, until: float) -> None:
        answers, self._became_ready = self.station.advance(until)
        if until > 0:
            self._answers.append(answers)
        self._before = (self.station.ready, self.station.waiting)

    def grant(self, asked: float, now: float) -> None:
        """There is room for a replica that was asked for: its lead time begins."""
        low, high = self.setting.lead_time.low, self.setting.lead_time.high
        self.station.start(Pod(asked, now, now + float(self._lead_times.uniform(low, high))))

    def note(self) -> None:
        """Keep this tick's row."""
        self._columns.append((self.desired, self.station.granted, *self._before))
        self._texts.append(self.reasons)

    def observe(self, now: float, start: float, history: Series | None) -> ServiceObservation:
        partitions = self.setting.partitions
        offsets = TopicOffsets(
            np.arange(partitions, dtype=np.int64),
            self.station.arrived,
            np.zeros(partitions, dtype=np.int64),
            self.station.gone,
        )
        since = tuple(start + granted for granted in self.station.pending_since)
        state = ReplicaState(self.desired, self.station.ready, since, self.station.draining, "one", updating=False)
        return ServiceObservation(
            self.setting.service.uid,
            Reading(offsets, start + now, Freshness.FRESH),
            self._latency(start + now),
            Reading(state, start + now, Freshness.FRESH),
            tuple(self._lead_time(start, pod) for pod in self._became_ready),
            None if history is None else Reading(history, start + now, Freshness.FRESH),
        )

    def _latency(self, now: float) -> Reading[LatencySample]:
        if not self._answers:
            return Reading(None, now, Freshness.ABSENT, detail="nothing has been measured yet")
        count = sum(a.served + (a.refused if self.setting.drops_seen else 0) for a in self._answers)
        seconds = sum(a.latency for a in self._answers) + count * self.setting.overhead
        sample = LatencySample(None, None, None, float(count), seconds, self.setting.window)
        return Reading(sample, now, Freshness.FRESH)

    def _lead_time(self, start: float, pod: Pod) -> LeadTime:
        self._made += 1
        name = f"{self.setting.service.uid}-{self._made}"
        return LeadTime(name, pod.granted - pod.asked, 0.0, pod.ready_at - pod.granted, 0.0, start + pod.ready_at)

    def record(self) -> ServiceRequests:
        desired, granted, ready, waiting = np.array(self._columns, dtype=np.int64).T.copy()
        begun, left, arrivals = self.station.begun, self.station.left, self.station.arrivals
        refused = np.isnan(begun) & ~np.isnan(left)
        latency = np.where(np.isnan(begun), np.nan, left - arrivals + self.setting.overhead)
        service = self.setting.service
        return ServiceRequests(
            service.uid,
            service.within,
            arrivals,
            latency,
            refused,
            self.setting.replicas,
            desired,
            granted,
            ready,
            waiting,
            tuple(self._texts),
        )


class _Budget:
    """Who gets the replicas of the total: whoever asked first, and in one tick the services in their order.

    Replicas that are stopped make room at once, before those of the same tick that are asked for. What finds no room
    stays asked for, and gets the next one that comes free; its lead time begins then.
    """

    def __init__(self, total: int | None, runs: Sequence[_ServiceRun]) -> None:
        self._total = total
        self._runs = runs
        self._wanted: list[tuple[float, int]] = []  # (s when asked, service), in order

    def pools(self, now: float) -> tuple[PoolObservation, ...]:
        if self._total is None:
            return ()
        state = PoolState(ready=self._total, pending_since=(), empty=self._free(), floor=0)
        return (PoolObservation(TOTAL, Reading(state, now, Freshness.FRESH)),)

    def apply(self, now: float, decision: GroupDecision) -> None:
        """Take over what was decided. Raises BadSetting unless it is for these services in their order, at least 0."""
        found = [d.uid for d in decision.services]
        known = [one.setting.service.uid for one in self._runs]
        if found != known:
            raise BadSetting(f"the policy decided for {found}; allowed: {known}")
        for d in decision.services:
            if d.desired is not None and d.desired < 0:
                raise BadSetting(f"the policy decided for {d.uid}: found {d.desired} replicas; allowed: at least 0")
        more: list[tuple[float, int]] = []
        for k, (one, decided) in enumerate(zip(self._runs, decision.services, strict=True)):
            one.reasons = " ".join(decided.reasons)
            desired = one.desired if decided.desired is None else decided.desired
            change, one.desired = desired - one.desired, desired
            if change < 0:
                one.station.stop(self._cancel(k, -change))
            more.extend([(now, k)] * change)
        self._wanted.extend(more)
        granted = len(self._wanted) if self._total is None else min(self._free(), len(self._wanted))
        for asked, k in self._wanted[:granted]:
            self._runs[k].grant(asked, now)
        del self._wanted[:granted]

    def _free(self) -> int:
        return 0 if self._total is None else self._total - sum(one.station.granted for one in self._runs)

    def _cancel(self, service: int, count: int) -> int:
        """Take back the newest ``count`` that were asked for and not granted; returns how many are left to stop."""
        for n in range(len(self._wanted) - 1, -1, -1):
            if count and self._wanted[n][1] == service:
                del self._wanted[n]
                count -= 1
        return count
