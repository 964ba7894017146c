"""One service's plan: takes in what was observed, and decides. All state of the policy for that service is here."""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forecasting.forecaster import Forecaster
from forecasting.series import Arrivals
from scaler.plan import guard
from scaler.plan.capacity import PartitionSplit, ServiceRate, utilisation
from scaler.plan.decision import Forecast, Numbers, ServiceDecision
from scaler.plan.lead_time import LeadTimes
from scaler.plan.observation import ReplicaState, ServiceObservation, TopicOffsets
from scaler.plan.paths import Futures, checked, inflated, level_paths, steps_for
from scaler.plan.progress import Progress, TimeLag, TimeLagTracker, backlog, difference
from scaler.plan.reasons import Reason
from scaler.plan.rollout import Costs, Queue, Standing, Terms, costs
from scaler.plan.service import Service
from scaler.plan.settings import PlanSettings

LONG = 3.0  # windows of the level: an interval of more than that was an outage, and its mean is not the present
UPDATED = 1000  # pods of rolling updates that are remembered until their whole lead times are told


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """The present, as far as this tick's fresh readings tell it."""

    faults: tuple[Reason, ...]
    notes: tuple[Reason, ...]  # faults that hold nothing back
    progress: Progress | None
    backlog: float | None
    lag: TimeLag | None
    level: float | None  # requests/s
    past: bool  # the level is the mean of an outage: nothing is taken away for it
    stuck: bool
    rebalancing: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """The answer before it is bounded by the scale-in rules and the limits."""

    wanted: int
    source: Reason
    notes: tuple[Reason, ...]
    costs: Callable[[], Costs] | None  # with the margin that scaling in asks for; made only then
    forecast: Forecast | None
    cheapest: int | None
    floor: int | None


class ServicePlanner:
    """Decides for one service. Deterministic: randomness comes from (uid, number of the tick)."""

    def __init__(self, service: Service, forecaster: Forecaster | None, settings: PlanSettings) -> None:
        self.service = service
        self.settings = settings
        self._forecaster = forecaster
        self._failed = False  # the forecaster raised since it was last fitted
        self._seed = int.from_bytes(hashlib.sha256(service.uid.encode()).digest()[:8], "big")
        self._ticks = 0
        self._offsets: tuple[float, TopicOffsets] | None = None
        self._updated_at: float | None = None  # unix s of the newest arrivals that the forecaster knows
        self._recent: deque[Arrivals] = deque()
        self._lag = TimeLagTracker(settings.lag_samples)
        memory = settings.rate_memory_ticks * service.tick
        self._rate = ServiceRate(service.service_rate, memory, settings.rate_change, settings.rate_bounds)
        self._split = PartitionSplit(
            service.max_replicas, settings.split_memory_ticks * service.tick, settings.split_change
        )
        self._unlearned: deque[tuple[str, float]] = deque(maxlen=UPDATED)  # pods of rolling updates: name, Ready at
        self._lead_times = LeadTimes(service.lead_time, settings.lead_prior, settings.lead_samples, settings.join)
        self._replicas: ReplicaState | None = None
        self._changed_at = -math.inf  # unix s of the last change of membership
        self._stuck = guard.StuckWatch(
            max(
                settings.stuck_ticks * service.tick,
                settings.stuck_services * service.service_time,
                settings.stuck_seconds,
            )
        )
        self._teaches = False  # at the last tick commits moved, and the oldest message was older than the objective
        self._hold = guard.ScaleInHold()

    # --- one tick

    def step(self, now: float, observed: ServiceObservation) -> ServiceDecision:
        """Decide at unix time ``now``. Never raises for what a source or a forecaster does."""
        self._ticks += 1
        seen = self._take_in(now, observed)
        replicas = self._replicas
        if replicas is None:
            reasons = _unique((Reason.TARGET_UNKNOWN, *seen.faults, *seen.notes))
            return ServiceDecision(observed.uid, now, None, None, reasons, self._numbers(seen, None, None))
        current = replicas.desired
        standing = _standing(replicas, now)
        if not observed.replicas.fresh:
            self._hold.lowest(now, current, current, self.service.scale_in_hold)
            reasons = _unique((*seen.faults, *seen.notes))
            return ServiceDecision(observed.uid, now, current, current, reasons, self._numbers(seen, standing, None))
        plan = self._plan(now, seen, standing)
        count, held = self._bounded_in(now, seen, replicas, plan)
        desired, limits = guard.limited(count, current, self._split.cap, self.service)
        if desired < current and seen.faults:  # rule 1 stands above the limits: nothing is taken away in the dark
            desired, limits = current, ()
        reasons = _reasons(current, count, desired, plan, held, limits, seen)
        return ServiceDecision(observed.uid, now, current, desired, reasons, self._numbers(seen, standing, plan))

    # --- what is new

    def _take_in(self, now: float, observed: ServiceObservation) -> _Seen:
        notes: list[Reason] = []
        if observed.history is not None:
            if observed.history.fresh and observed.history.value is not None:
                self._fit(observed)
            elif observed.history.reason is not None:
                notes.append(observed.history.reason)
        rebalancing = self._membership(now, observed)
        updating = self._replicas is not None and self._replicas.updating
        if updating:  # theirs are lead times of the update; they are told again when it is known when they joined
            self._unlearned.extend((pod.pod, pod.ready_at) for pod in observed.lead_times)
        else:
            told = [pod for pod in observed.lead_times if (pod.pod, pod.ready_at) not in self._unlearned]
            self._lead_times.learn(told)
        progress, fresh = None, None
        if observed.offsets.fresh and observed.offsets.value is not None:
            fresh = observed.offsets.value
            progress = self._new_offsets(observed.offsets.time, fresh)
        ready = self._replicas.ready if self._replicas is not None else 0
        stuck = self._stuck.step(ready, progress)
        known = observed.replicas.fresh and not (rebalancing or updating or stuck)
        lag = None if fresh is None else self._lag.lag(now, fresh)
        late = lag is not None and lag.at_least > self.service.within
        # Without a commit they may be stuck; and the interval after one without holds the work of both.
        moved = progress is not None and float(progress.consumed.sum()) > 0
        if progress is not None and known and late and moved and self._teaches:
            self._rate.learn(progress, ready)
        self._teaches = late and moved
        return _Seen(
            faults=guard.input_faults(observed),
            notes=tuple(notes),
            progress=progress,
            backlog=None if fresh is None else float(backlog(fresh).sum()),
            lag=lag,
            level=self._level() if progress is not None and progress.arrived is not None else None,
            past=progress is not None and progress.seconds > LONG * self._window(),
            stuck=stuck,
            rebalancing=rebalancing,
        )

    def _membership(self, now: float, observed: ServiceObservation) -> bool:
        """Takes in the replicas; whether consumers joined or left so lately that the group may still be rebalancing."""
        value = observed.replicas.value
        if observed.replicas.fresh and value is not None:
            before = self._replicas
            if before is None or before.ready != value.ready or value.terminating > 0:
                self._changed_at = now
            if before is not None and before.template != value.template:
                self._changed_at = now
            self._replicas = value
        self._changed_at = min(self._changed_at, now)  # the clock may have been set back
        return now - self._changed_at < self.settings.settle_ticks * self.service.tick

    def _new_offsets(self, time: float, offsets: TopicOffsets) -> Progress | None:
        self._split.known(len(offsets.partitions))
        before, self._offsets = self._offsets, (time, offsets)
        if before is not None and time < before[0]:  # the clock was set back: the times before it say nothing now
            self._lag.clear()
            self._recent.clear()
            before = None
        if before is None:
            self._lag.add(time, offsets)
            return None
        progress = difference(before[1], before[0], offsets, time)
        if progress is None:
            self._offsets = before
            return None
        if progress.arrived is None:
            self._lag.clear()
            self._recent.clear()
        self._lag.add(time, offsets)
        if progress.arrived is not None:
            arrivals = Arrivals(time, progress.seconds, float(progress.arrived.sum()))
            self._split.learn(progress.arrived, progress.seconds)
            self._recent.append(arrivals)
            self._update(arrivals)
        return progress

    def _level(self) -> float | None:
        """The newest level of arrivals (requests/s), over the window or the newest interval, if that is longer."""
        window = self._window()
        seconds = count = 0.0
        for i, arrivals in enumerate(reversed(self._recent)):
            if seconds > 0 and seconds + arrivals.seconds > window * 1.001:
                for _ in range(len(self._recent) - i):
                    self._recent.popleft()
                break
            seconds += arrivals.seconds
            count += arrivals.count
        return count / seconds if seconds > 0 else None

    def _window(self) -> float:
        """s: the tick, or the time that the objective lets a burst wait anyway, if that is longer."""
        s = self.service
        return max(s.tick, min(s.within, s.lead_time / 2, self.settings.level_window))

    # --- the forecaster, whose failures end here

    def _fit(self, observed: ServiceObservation) -> None:
        if self._forecaster is None or observed.history is None or observed.history.value is None:
            return
        try:
            self._forecaster.fit(observed.history.value)
            self._failed = False
        except Exception:  # noqa: BLE001 - whatever a model does, the plan goes on without it
            self._failed = not self._ready()

    def _update(self, arrivals: Arrivals) -> None:
        if self._forecaster is None:
            return
        try:
            self._forecaster.update(arrivals)
            # Forecasters leave out what ends before what they know, after a clock that was set back.
            self._updated_at = max(arrivals.end, self._updated_at or arrivals.end)
        except Exception:  # noqa: BLE001 - as above
            self._failed = True

    def _ready(self) -> bool:
        try:
            return self._forecaster is not None and bool(self._forecaster.ready)
        except Exception:  # noqa: BLE001 - as above
            return False

    def _futures(self, now: float, until: float) -> Futures | None:
        """The sample paths from now on; None when there is no forecaster that can draw any."""
        if self._forecaster is None or self._failed or self._updated_at is None or not self._ready():
            return None
        if now < self._updated_at - self._forecaster.step:  # the clock was set back: its paths begin in the future
            return None
        age = max(now - self._updated_at, 0.0)
        if age > until:  # so old a forecast has seen nothing of what is planned for
            return None
        count = self.settings.paths
        rng = np.random.default_rng([self._seed, self._ticks])
        try:
            steps = steps_for(until, age, self._forecaster.step)
            rates = checked(self._forecaster.paths(steps, count, rng), count, steps)
            return Futures(rates, self._forecaster.step, age)
        except Exception:  # noqa: BLE001 - as above; it may be well again at the next tick
            return None

    # --- the answer

    def _plan(self, now: float, seen: _Seen, standing: Standing) -> _Plan:
        terms = self._terms()
        drawn = self._futures(now, terms.until)
        forecast = None if drawn is None else self._forecast(drawn)
        notes: tuple[Reason, ...] = () if drawn is not None else (Reason.NO_FORECAST,)
        recreated = seen.progress is not None and seen.progress.recreated  # a tick from which nothing can be told
        if seen.stuck or recreated or (seen.level is None and drawn is None and seen.backlog is None):
            return _Plan(standing.current, Reason.STEADY, notes, None, forecast, None, None)
        level = seen.level or 0.0
        futures = drawn
        if drawn is not None:
            futures = Futures(inflated(drawn.rates, self.settings.inflation), drawn.step, drawn.age)
        elif seen.level is not None:
            futures = level_paths(level, self.settings.reactive_headroom, terms.until)
        queue = self._queue(seen)
        rate, drain = self._rate.rate, max(self.service.within, self.settings.drain)
        floor: int | None = None
        if seen.backlog is not None:
            floor = guard.reactive_floor(level, queue.backlog, standing, self._split, self._lead_times, rate, drain)
            if seen.backlog > 0:
                floor = max(floor, 1)
            if floor < standing.current:
                least = guard.scale_in_floor(level, queue.backlog, self._split, rate, drain)
                floor = min(max(floor, least), standing.current)
        if futures is None:
            answer = max(standing.current, floor or 0)
            return _Plan(answer, Reason.REACTIVE_FLOOR, notes, None, forecast, None, floor)
        expected = float(futures.arrived(np.array([terms.answers_until])).mean())
        candidates = self._candidates(standing.current, floor or 0, futures, terms, expected)
        priced = costs(candidates, standing, queue, futures, self._split, self._lead_times, terms, self.settings.grid)
        cheapest = priced.cheapest
        if priced.late_share(cheapest) > max(1.0 - self.service.share, 0.0):
            # Late whatever is ordered: no count is worth more than another, and the rollout would give up. What most
            # paths need when new replicas come is still known.
            cheapest = max(cheapest, self._split.least(float(np.median(priced.needed))))
        wanted = max(cheapest, floor or 0)
        source = Reason.REACTIVE_FLOOR if floor is not None and floor > cheapest else Reason.FORECAST
        if drawn is None and source is Reason.FORECAST:
            source = Reason.NO_FORECAST
        most = self._split.cap or self.service.max_replicas
        if cheapest >= most and priced.late_share(priced.cheapest) > 1.0 - self.service.share:
            notes += (Reason.MAX_REPLICAS if self._split.cap is None else Reason.PARTITIONS,)

        def careful() -> Costs:
            less = replace(terms, rate=terms.rate * (1.0 - self.settings.scale_in_margin))
            return costs(candidates, standing, queue, futures, self._split, self._lead_times, less, self.settings.grid)

        return _Plan(wanted, source, notes, careful, forecast, cheapest, floor)

    def _terms(self) -> Terms:
        s, p = self.service, self.settings
        lead = self._lead_times.quantile(0.95)
        slack = max(s.within - s.service_time, 0.0)
        late = max(1.0 - s.share, 1e-4)
        rate = self._rate.rate * utilisation(self._rate.rate, slack, late, p.utilisation_min)
        slack *= p.slack_used
        answers = lead + (1.0 + p.margin_ticks) * s.tick + slack
        until = max(answers, lead + max(lead, s.tick))
        # A count answers for lateness over `answers - lead` seconds, and may stand idle until the window's end: at this
        # price the marginal replica is worth its cost when a share `late` of the paths needs it all that time.
        price = p.price_scale * (s.tick + until - lead) / (rate * (answers - lead) * late)
        return Terms(
            rate, slack, answers, until, s.tick, lead, price, min(p.rebalance_pause, s.tick), max(s.within, p.drain)
        )

    def _queue(self, seen: _Seen) -> Queue:
        """The backlog as the plan sees it: without what is served but not committed, nor what stuck consumers leave."""
        if seen.backlog is None:
            return Queue(0.0, 0.0)
        level = seen.level or 0.0
        trusted = self._stuck.trusted(seen.backlog)
        waiting = max(trusted - level * self.settings.uncommitted, 0.0)
        age = seen.lag.at_least if seen.lag is not None else 0.0
        if trusted < seen.backlog and level > 0:
            age = min(age, trusted / level)
        return Queue(waiting, max(age - self.settings.uncommitted, 0.0))

    def _candidates(
        self, current: int, floor: int, futures: Futures, terms: Terms, expected: float
    ) -> NDArray[np.int64]:
        """Counts to look at, ascending: near the last answer, and what the paths come to need; of counts that give the
        same service only the smallest.
        """
        s, table = self.service, self._split.table
        top = len(table) - 1
        peak = futures.between(0.0, terms.until).max(axis=1) / terms.rate
        levels = np.quantile(peak, [0.5, 0.8, 0.9, 0.96, 1.0])
        near = self.settings.candidates // 2
        wanted = {current, floor, *range(current - near + 1, current + near // 2 + 1)}
        wanted |= {self._split.least(float(level)) for level in levels}
        lowest = s.min_replicas if s.min_replicas > 0 or expected < self.settings.scale_to_zero_below else 1
        counts = set()
        for count in wanted:
            inside = min(max(count, lowest), s.max_replicas)
            counts.add(inside if inside == current else max(self._split.least(float(table[min(inside, top)])), lowest))
        return np.array(sorted(counts | {current}), dtype=np.int64)

    # --- its bounds

    def _bounded_in(
        self, now: float, seen: _Seen, replicas: ReplicaState, plan: _Plan
    ) -> tuple[int, tuple[Reason, ...]]:
        """The count after the rules for scaling in, and what held it at the current one."""
        current, hold = replicas.desired, self.service.scale_in_hold
        unknown = bool(seen.faults) or seen.level is None or seen.past or seen.stuck
        answer = max(plan.wanted, current) if unknown else plan.wanted
        lowest = self._hold.lowest(now, answer, current, hold)
        if plan.wanted > current:
            return plan.wanted, ()
        held: list[Reason] = [Reason.CONSUMERS_NOT_PROGRESSING] if seen.stuck else []
        if seen.progress is not None and seen.progress.recreated:
            held.append(Reason.TOPIC_RECREATED)
        if unknown:
            held.extend(seen.faults)
        if plan.wanted < current and seen.past:
            held.append(Reason.SCALE_IN_DELAYED)
        if plan.wanted < current and not unknown:
            if replicas.updating:
                held.append(Reason.ROLLING_UPDATE)
            if seen.rebalancing:
                held.append(Reason.REBALANCING)
            if lowest >= current or self._stuck.silent:
                held.append(Reason.SCALE_IN_DELAYED)
        if held or plan.wanted == current or plan.costs is None:
            return current, tuple(held)
        late, nothing = max(1.0 - self.service.share, 0.0), self.settings.scale_to_zero_below
        count = guard.safe_count(plan.costs(), lowest, current, late, self._split, nothing)
        return count, () if count < current else (Reason.SCALE_IN_UNSAFE,)

    # --- what is reported

    def _forecast(self, drawn: Futures) -> Forecast:
        at = self._lead_times.quantile(0.95)
        p05, p50, p95, p99 = np.quantile(drawn.rate_at(at), [0.05, 0.5, 0.95, 0.99]).tolist()
        name = self._forecaster.name if self._forecaster is not None else ""
        return Forecast(at, p05, p50, p95, p99, name)

    def _numbers(self, seen: _Seen, standing: Standing | None, plan: _Plan | None) -> Numbers:
        rate = None
        if seen.progress is not None and seen.progress.arrived is not None:
            rate = float(seen.progress.arrived.sum()) / seen.progress.seconds
        return Numbers(
            arrival_rate=rate,
            backlog=seen.backlog,
            time_lag=None if seen.lag is None else seen.lag.seconds,
            service_rate=self._rate.rate,
            lead_time=self._lead_times.quantile(0.95),
            ready=None if self._replicas is None else self._replicas.ready,
            pending=None if standing is None else len(standing.pending_ages),
            forecast=None if plan is None else plan.forecast,
            forecast_replicas=None if plan is None else plan.cheapest,
            floor_replicas=None if plan is None else plan.floor,
            partitions=self._split.partitions,
        )


def _standing(replicas: ReplicaState, now: float) -> Standing:
    """Rule 3: what was asked for and does not serve yet, with its age; pods that do not exist yet are new."""
    current = max(replicas.desired, 0)
    missing = max(current - replicas.ready, 0)
    ages = sorted((max(now - since, 0.0) for since in replicas.pending_since), reverse=True)[:missing]
    return Standing(current, replicas.ready, (*ages, *([0.0] * (missing - len(ages)))))


def _reasons(
    current: int,
    count: int,
    desired: int,
    plan: _Plan,
    held: tuple[Reason, ...],
    limits: tuple[Reason, ...],
    seen: _Seen,
) -> tuple[Reason, ...]:
    """Everything that touched the number, the decisive one first."""
    if held:
        first: tuple[Reason, ...] = held
    elif count == current:
        first = (Reason.STEADY,)
    else:
        first = (plan.source,)
    decisive = (*limits, *first) if limits and current in (desired, count) else (*first, *limits)
    states = (Reason.CONSUMERS_NOT_PROGRESSING,) if seen.stuck else ()
    return _unique((*decisive, *states, *seen.faults, *plan.notes, *seen.notes))


def _unique(reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
    return tuple(dict.fromkeys(reasons))
