"""One service's plan: takes in what was observed, and decides. All state of the policy for that service is here."""

from __future__ import annotations

import hashlib
import math
from collections import deque
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from forecasting.fitting import Fitter
from forecasting.forecaster import Forecaster
from forecasting.series import Arrivals
from scaler.plan import guard
from scaler.plan.answer import Answer, Learned, Room, numbers_of
from scaler.plan.capacity import PartitionSplit
from scaler.plan.decision import Forecast, Numbers, ServiceDecision
from scaler.plan.fallback import Fallback
from scaler.plan.foresight import Foresight
from scaler.plan.lateness import Lateness
from scaler.plan.lead_time import Distribution, LeadTimes
from scaler.plan.level import Level
from scaler.plan.observation import ReplicaState, ServiceObservation, TopicOffsets
from scaler.plan.paths import Futures, level_paths, quantiles, steps_for
from scaler.plan.prepared import Plan, Prepared, Seen, bare_plan, standing_of, stood_in_for
from scaler.plan.probe import Situation
from scaler.plan.progress import Progress, TimeLagTracker, backlog, difference
from scaler.plan.reasons import Reason
from scaler.plan.rollout import Queue, Rollout, Standing, Terms
from scaler.plan.schedule import Schedule
from scaler.plan.service import Service
from scaler.plan.serving import Serving
from scaler.plan.settings import PlanSettings
from scaler.plan.why import kept_up_by, reasons_of, unique

LONG = 3.0  # windows of the level, a minute at most: the mean of a longer interval is not the present
UPDATED = 1000  # pods of rolling updates that are remembered until their whole lead times are told


class ServicePlanner:
    """Decides for one service. Deterministic: randomness comes from the uid."""

    def __init__(self, service: Service, forecaster: Forecaster | None, settings: PlanSettings, fitter: Fitter) -> None:
        self.service = service
        self.settings = settings
        seed = int.from_bytes(hashlib.sha256(service.uid.encode()).digest()[:8], "big")
        self._foresight = Foresight(forecaster, settings.paths, seed, settings.refit, fitter, service.uid)
        self._offsets: tuple[float, TopicOffsets] | None = None
        self._lag = TimeLagTracker(settings.lag_samples)
        self._serving = Serving(service, settings)
        self._split = PartitionSplit(
            service.max_replicas, settings.split_memory_ticks * service.tick, settings.split_change
        )
        self._unlearned: deque[tuple[str, float]] = deque(maxlen=UPDATED)  # pods of rolling updates: name, Ready at
        declared = max(service.pod_lead_time, service.tick)
        self._lead_times = LeadTimes(declared, settings.lead_prior, settings.lead_samples, settings.join)
        self._replicas: ReplicaState | None = None
        self._changed_at = -math.inf  # unix s of the last change of membership
        self._joined_at = -math.inf  # unix s at which a consumer last joined
        still = settings.stuck_ticks * service.tick, settings.stuck_services * service.service_time
        self._stuck = guard.StuckWatch(max(*still, settings.stuck_seconds))
        self._slack = max(service.within - service.service_time, 0.0)  # s
        self._drain = max(service.within, settings.drain)  # s in which a backlog is to be drained
        # s: the tick, or the time that the objective lets a burst wait anyway, if that is longer. In less than a long
        # request takes, few arrive: their number is up to chance, and there is time to see what it was.
        rests = min(service.within, service.lead_time / 2, settings.level_window)
        self._window = max(service.tick, rests, min(service.service_time, self._slack / 2.0))
        self._long = LONG * max(service.tick, rests)  # s: an interval of more than that was an outage
        self._level = Level(max(settings.level_window, self._window))
        self._fallback = Fallback(service.fallback, service.concurrency or service.service_rate * service.service_time)
        self._schedule = Schedule(service.min_replicas, service.max_replicas, service.schedule)
        self.limits = self._schedule.limits(0.0, 0.0)  # of the newest tick
        self._began = math.inf  # unix s of the first tick
        self._hold = guard.ScaleInHold()
        self._need = guard.HeldNeed()
        self._lateness = Lateness(service, settings, self._serving.rate)

    @property
    def reserved(self) -> int:
        """Replicas that are wanted back from an experiment; 0: none runs."""
        return self._serving.reserved

    def fitted_by(self, fitter: Fitter) -> None:
        """Have fits of the forecaster run by ``fitter`` from now on."""
        self._foresight.fitted_by(fitter)

    # --- one tick

    def is_new(self, now: float) -> bool:
        """Whether what was lately needed is not known yet, and forecasts may be yet to come."""
        return now - self._began < max(
            self.service.scale_in_hold, self.leads.quantile(0.95) + self.service.node_lead_time
        )

    @property
    def leads(self) -> Distribution:
        """The lead times of what this service's own plan orders: on a pool, of a pod that a node has room for."""
        return self._lead_times.total if self.service.pool is None else self._lead_times.pod

    @property
    def table(self) -> NDArray[np.float64]:
        """What r replicas can give, in replicas. Do not write."""
        return self._split.table

    def step(self, now: float, observed: ServiceObservation) -> ServiceDecision:
        """Decide at unix time ``now``. Never raises for what a source or a forecaster does."""
        return self.decide(self.prepare(now, observed))

    def prepare(self, now: float, observed: ServiceObservation, until: float = 0.0, reach: float = 0.0) -> Prepared:
        """Take in what is new, and find the cheapest count; paths go ``until`` s ahead at least, and on to ``reach`` s
        where somebody asks for it. Never raises for what a source or a forecaster does.
        """
        self._began = min(self._began, now)  # the clock may have been set back
        seen = self._take_in(now, observed)
        self.limits = self._schedule.limits(now, self.service.surely_after(self.leads.quantile(0.95)))
        replicas = self._replicas
        standing = None if replicas is None else standing_of(replicas, now)
        latency = observed.latency.value if observed.latency is not None and observed.latency.fresh else None
        ready = 0 if standing is None else standing.ready
        least = self._fallback.least(now, seen.backlog is not None, latency, ready)
        if standing is None or not observed.replicas.fresh:
            # What the count was raises it as well: a patch is made over that count, and no other.
            raised = None if standing is None or least <= standing.current else bare_plan(standing.current, least)
            return Prepared(now, observed, seen, replicas, standing, None, None, self._queue(seen), raised)
        terms = self._terms()
        drawn = self._foresight.futures(now, max(terms.window + terms.slack, until), reach)
        futures = drawn
        self._lateness.judge(drawn is not None)
        if drawn is None and seen.level is not None:
            # The mean over a lead time does not flicker; a jump beyond what counts vary by is answered at once.
            steady = self._steady_level() or 0.0
            jumped = seen.level - 2.0 * math.sqrt(seen.level / self._window) > steady
            level = seen.level if jumped else steady
            futures = level_paths(level, self._headroom(terms), terms.window)
        queue = self._queue(seen)
        plan = self._plan(now, seen, standing, queue, futures, terms, drawn)
        plan = stood_in_for(plan, least)
        return Prepared(now, observed, seen, replicas, standing, futures, terms, queue, plan)

    def decide(self, prepared: Prepared) -> ServiceDecision:
        """The answer within the rules and the limits."""
        return self.bounded(self.answer(prepared))

    def answer(self, prepared: Prepared, wanted: int | None = None, spare: bool = True) -> Answer:
        """The answer within the rules; ``wanted`` stands in for the cheapest count where a plan for several services
        found another, and is not lowered by the rules for scaling in. ``spare``: what is given up for an experiment is
        there again when it is wanted back.
        """
        now, replicas, plan = prepared.now, prepared.replicas, prepared.plan
        if replicas is None:
            return Answer(prepared, None, 0, ())
        current = replicas.desired
        if plan is None:
            self._hold.lowest(now, current, current, self.service.scale_in_hold)
            return Answer(prepared, None, current, ())
        if wanted is not None:
            plan = replace(plan, wanted=max(wanted, plan.floor or 0, plan.least), held=None)
        # A pool's plan holds what was lately needed itself, and pays for nodes, not for replicas.
        hold = self.service.scale_in_hold if wanted is None else 0.0
        count, held = self._bounded_in(now, prepared.seen, replicas, plan, hold)
        tried = self._experiment(prepared, plan.wanted, spare)
        if tried is not None and tried < count:
            count, held, plan = tried, (), replace(plan, source=Reason.EXPERIMENT)
        return Answer(prepared, plan, count, held, wanted)

    def asked(self, answer: Answer) -> int:
        """Replicas that the answer asks for within the service's own limits; the current ones where it has no plan."""
        replicas = answer.prepared.replicas
        if replicas is None or answer.plan is None:
            return answer.count
        desired, _ = guard.limited(answer.count, replicas.desired, self._split.cap, self.service, self.limits)
        return max(desired, replicas.desired) if answer.prepared.seen.faults else desired

    def bounded(self, answer: Answer, room: Room | None = None) -> ServiceDecision:
        """The answer within the limits; ``room``: what the pool's plan says of it."""
        prepared, plan, count = answer.prepared, answer.plan, answer.count
        now, observed, seen, replicas = prepared.now, prepared.observed, prepared.seen, prepared.replicas
        numbers = self._numbers(answer, room)
        if replicas is None:
            reasons = unique((Reason.TARGET_UNKNOWN, *seen.faults, *seen.notes))
            return ServiceDecision(observed.uid, now, None, None, reasons, numbers)
        current = replicas.desired
        if plan is None:
            reasons = unique((*seen.faults, *seen.notes))
            return ServiceDecision(observed.uid, now, current, current, reasons, numbers)
        most = None if room is None else room.most
        desired, limits = guard.limited(count, current, self._split.cap, self.service, self.limits, most)
        if desired < current and seen.faults:  # rule 1 stands above the limits: nothing is taken away in the dark
            desired, limits = current, limits if count > current else ()
        self._lateness.limited = desired < plan.wanted
        reasons = reasons_of(current, count, desired, plan, answer.held, limits, seen)
        return ServiceDecision(observed.uid, now, current, desired, reasons, numbers)

    def _experiment(self, prepared: Prepared, wanted: int, spare: bool) -> int | None:
        """The count to keep instead of the one ``wanted``, for a while, to learn what a replica serves."""
        seen, standing, plan, futures = prepared.seen, prepared.standing, prepared.plan, prepared.futures
        replicas, terms = prepared.replicas, prepared.terms
        if replicas is None or standing is None or plan is None or futures is None or terms is None:
            return None
        if not (self._serving.trying or self._serving.untold(prepared.now, prepared.observed.latency is not None)):
            return None
        sound = not (seen.faults or seen.stuck or seen.past or replicas.updating or self._stuck.silent)
        known = plan.floor is not None and prepared.now - self._changed_at >= self.service.tick
        steps = steps_for(terms.window + terms.slack, futures.age, futures.step)
        high, middle = self._serving.safe(futures, steps, self.leads.quantile(0.95))
        # The headroom is in what is held, then. Where forecasts were lost it is wanted: it is all that is left.
        headroom = self._headroom(terms) if plan.forecast is None and not self._lateness.doubted else 0.0
        lately = self._split.least(self._split.worth(plan.held or 0) / (1.0 + headroom))
        floor = max(plan.floor or 0, lately, self.limits.least)
        # A backlog that ends it is late before it can be told from what counts vary by, where the objective is tight:
        # then there has to be room for what waits near the limit.
        varies = math.sqrt(self.service.tick / seen.level) if seen.level else math.inf  # s of work
        in_time = self._slack / 2.0 >= 2.0 * varies
        utilised = 1.0 if in_time else terms.rate / self._serving.rate
        situation = Situation(
            current=standing.current,
            wanted=wanted,
            safe=max(self._split.least(max(high, 1.05 * (seen.level or 0.0) / self._serving.rate) / utilised), floor),
            least=max(self._split.least(middle), floor),
            level=seen.level,
            backlog=seen.backlog,
            slack=self._slack,
            rate=self._serving.rate,
            unsure=self._serving.unsure,
            sound=sound,
            quiet=sound and known and not seen.rebalancing and not standing.pending_ages,
            spare=spare,
            useful=self._split.useful,
        )
        return self._serving.experiment(prepared.now, situation)

    # --- what is new

    def _take_in(self, now: float, observed: ServiceObservation) -> Seen:
        notes: list[Reason] = []
        if observed.history is not None:
            if observed.history.fresh and observed.history.value is not None:
                self._foresight.fit(observed.history.value, now)
            elif observed.history.reason is not None:
                notes.append(observed.history.reason)
        unsettled = self._membership(now, observed)
        updating = self._replicas is not None and self._replicas.updating
        if updating:  # theirs are lead times of the update; they are told again when it is known when they joined
            self._unlearned.extend((pod.pod, pod.ready_at) for pod in observed.lead_times)
        elif observed.lead_times:
            told = [pod for pod in observed.lead_times if (pod.pod, pod.ready_at) not in self._unlearned]
            self._lead_times.learn(told)
            self._foresight.aim(self.service.lead_time, self.leads.quantile(0.5) + self.service.node_lead_time)
        progress, fresh = None, None
        if observed.offsets.fresh and observed.offsets.value is not None:
            fresh = observed.offsets.value
            progress = self._new_offsets(observed.offsets.time, fresh)
        ready, pending = (0, ()) if self._replicas is None else (self._replicas.ready, self._replicas.pending_since)
        stuck = self._stuck.step(ready, pending, progress)
        known = observed.replicas.fresh and not (unsettled or updating or stuck)
        lag = None if fresh is None else self._lag.lag(now, fresh)
        oldest = None if lag is None else lag.at_least
        latency = observed.latency.value if observed.latency is not None and observed.latency.fresh else None
        self._serving.learn(progress, latency, ready, known, oldest, self._split.assignor, self._split.worth(ready))
        left = None if fresh is None else float(backlog(fresh).sum()) if progress is None else progress.waiting
        level = self._level.over(self._window) if progress is not None and progress.arrived is not None else None
        if progress is not None and left is not None:
            self._learn_waits(progress, left, level, ready, known, stuck)
        return Seen(
            faults=guard.input_faults(observed),
            notes=tuple(notes),
            progress=progress,
            backlog=left,
            drainable=left if progress is None else self._drainable(progress, ready),
            lag=lag,
            level=level,
            past=progress is not None and progress.seconds > self._long,
            stuck=stuck,
            rebalancing=self._rebalancing(now, observed),
        )

    def _learn_waits(
        self, progress: Progress, left: float, level: float | None, ready: int, known: bool, stuck: bool
    ) -> None:
        if progress.arrivals is None or progress.seconds > self._long:
            self._lateness.restart(progress)
            return
        lead, rate = self._lead_times.total.quantile(0.95), self._serving.rate
        self._lateness.learn(progress, left, lead, rate, stuck, ready)
        if known and level is not None:
            self._lateness.learn_waits(left, level, rate, self._split.worth(ready))

    def _drainable(self, progress: Progress, ready: int) -> float:
        """Messages of the backlog that more replicas would drain sooner. Where a partition has a consumer to itself, or
        one that committed nothing, as behind a message that cannot be processed: what one drains in time, at most."""
        waits = progress.backlog_after
        drained = np.minimum(waits, self._serving.rate * self._drain)
        if ready < len(waits):
            drained = np.where(progress.consumed <= 0.0, drained, waits)
        return float(drained.sum())

    def _membership(self, now: float, observed: ServiceObservation) -> bool:
        """Takes in the replicas; whether consumers joined or left so lately that what they do now teaches nothing."""
        value = observed.replicas.value
        if observed.replicas.fresh and value is not None:
            before = self._replicas
            if before is None or before.ready != value.ready or value.terminating > 0:
                self._changed_at = now
            if before is not None and before.template != value.template:
                self._changed_at = now
                self._serving.renew()
            self._replicas = value
        self._changed_at = min(self._changed_at, now)  # the clock may have been set back
        return now - self._changed_at < self.settings.settle_ticks * self.service.tick

    def _rebalancing(self, now: float, observed: ServiceObservation) -> bool:
        """Whether the group stands still, as far as can be told: a pod leaves, or one joined within a pause."""
        replicas = self._replicas
        for pod in observed.lead_times:
            self._joined_at = max(self._joined_at, pod.ready_at + (pod.ready_to_partitions or 0.0))
        self._joined_at = min(self._joined_at, now)
        leaving = replicas is not None and replicas.terminating > 0
        return leaving or now - self._joined_at < min(self.settings.rebalance_pause, self.service.tick)

    def _new_offsets(self, time: float, offsets: TopicOffsets) -> Progress | None:
        self._split.known(len(offsets.partitions))
        self._split.assigned_by(offsets.assignor)
        before, self._offsets = self._offsets, (time, offsets)
        if before is not None and time < before[0]:  # the clock was set back: the times before it say nothing now
            self._lag.clear()
            self._level.clear()
            self._lateness.restart()
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
            self._level.clear()
        self._lag.add(time, offsets)
        if progress.arrived is not None and progress.arrivals is not None:
            arrivals = Arrivals(time, progress.seconds, progress.arrivals)
            self._split.learn(progress.arrived, progress.seconds)
            self._level.add(arrivals)
            self._foresight.update(arrivals)
        return progress

    def _steady_level(self) -> float | None:
        """The level over a lead time, a minute or the window at most: what may be held, or answered with headroom."""
        lead = self.leads.quantile(0.95)
        return self._level.over(max(min(self.settings.level_window, lead), self._window))

    # --- the answer

    def _plan(
        self,
        now: float,
        seen: Seen,
        standing: Standing,
        queue: Queue,
        futures: Futures | None,
        terms: Terms,
        drawn: Futures | None,
    ) -> Plan:
        forecast = None if drawn is None else self._forecast(drawn)
        notes = self._foresight.notes(drawn)
        recreated = seen.progress is not None and seen.progress.recreated  # a tick from which nothing can be told
        if seen.stuck or recreated or (futures is None and seen.backlog is None):
            return Plan(standing.current, Reason.STEADY, notes, None, forecast, None, None)
        floor = self._floor(seen, standing, queue)
        held = self._held(now, seen, queue, terms, drawn is None)
        if futures is None:
            answer = max(standing.current, floor or 0)
            return Plan(answer, Reason.REACTIVE_FLOOR, notes, None, forecast, None, floor, held)
        rollout = Rollout(futures, queue, standing, self._split.table, self.leads.points, terms)
        lowest, highest = self._range(standing, queue, rollout)
        cheapest = rollout.cheapest(lowest, highest)
        wanted = max(cheapest, floor or 0)
        source = Reason.REACTIVE_FLOOR if floor is not None and floor > cheapest else Reason.FORECAST
        if drawn is None and source is Reason.FORECAST:
            source = Reason.NO_FORECAST
        most = self._split.cap or self.limits.most
        if cheapest >= most and rollout.late_share(cheapest) > 1.0 - self.service.share:
            notes += (self.limits.most_by if self._split.cap is None else Reason.PARTITIONS,)
        return Plan(wanted, source, notes, rollout, forecast, cheapest, floor, held)

    def _floor(self, seen: Seen, standing: Standing, queue: Queue) -> int | None:
        """Rule 4; None where the backlog is not known."""
        if seen.backlog is None:
            return None
        level, rate, drain = seen.level or 0.0, self._serving.rate, self._drain
        floor = guard.reactive_floor(level, queue.backlog, standing, self._split, self.leads, rate, drain)
        if seen.backlog > 0:
            floor = max(floor, 1)
        if floor < standing.current:
            least = guard.scale_in_floor(level, queue.backlog, self._split, rate, drain)
            floor = min(max(floor, least), standing.current)
        return floor

    def _held(self, now: float, seen: Seen, queue: Queue, terms: Terms, blind: bool) -> int | None:
        """The largest need of the last lead times. Without a forecast (``blind``) it is all the foresight there is."""
        if seen.backlog is None:
            return None
        share = 1.0 + self._headroom(terms) if blind else self.settings.held_share
        lead = self.leads.quantile(0.95)
        need = share * (self._steady_level() or 0.0) + queue.backlog / self._drain
        return self._split.least(self._need.largest(now, need, self.settings.held_leads * lead) / self._serving.rate)

    def _headroom(self, terms: Terms) -> float:
        """Over the newest level, without a forecast; what the attainment corrects is this, then."""
        return self.settings.reactive_headroom * terms.inflation / self.settings.inflation

    def _terms(self) -> Terms:
        s, p = self.service, self.settings
        rate = self._serving.rate * self._lateness.utilisation(self._serving.rate, self._slack)
        return Terms(
            rate=rate,
            slack=self._slack,
            window=self.leads.quantile(0.95) + (1.0 + p.margin_ticks) * s.tick,
            # A replica that a share `late` of the paths needs for the whole window is worth about its cost.
            price=p.price_scale / (rate * self._lateness.late_share),
            pause=min(p.rebalance_pause, s.tick),
            inflation=self._lateness.inflation,
        )

    def _queue(self, seen: Seen) -> Queue:
        """The backlog as the plan sees it: what is drainable, without what is served but not committed, nor what stuck
        consumers leave."""
        if seen.backlog is None or seen.drainable is None:
            return Queue(0.0, 0.0)
        level = seen.level or 0.0
        trusted = min(self._stuck.trusted(seen.backlog), seen.drainable)
        waiting = max(trusted - level * self.settings.uncommitted, 0.0)
        age = seen.lag.at_least if seen.lag is not None else 0.0
        if trusted < seen.backlog and level > 0:
            age = min(age, trusted / level)
        return Queue(waiting, max(age - self.settings.uncommitted, 0.0))

    def _range(self, standing: Standing, queue: Queue, rollout: Rollout) -> tuple[int, int]:
        """The lowest and the highest count to look at."""
        nothing = rollout.arrivals < self.settings.scale_to_zero_below and queue.backlog <= 0
        lowest = 0 if self.limits.least == 0 and nothing else 1
        # A backlog faster than that would be drained by replicas that come after it is gone.
        peak = rollout.peak + queue.backlog / self._drain
        highest = max(self._split.least(peak / rollout.terms.rate), standing.current)
        most = self.limits.most if self._split.cap is None else min(self._split.cap, self.limits.most)
        highest = min(max(highest, lowest), max(most, lowest))
        if lowest == 0:
            return lowest, highest
        # What half of the paths come to need is there before it is needed; the queue's slack is for the other half.
        return max(min(self._split.least(rollout.foreseen / rollout.terms.rate), highest), lowest), highest

    # --- its bounds

    def _bounded_in(
        self, now: float, seen: Seen, replicas: ReplicaState, plan: Plan, hold: float
    ) -> tuple[int, tuple[Reason, ...]]:
        """The count after the rules for scaling in, and what held it at the current one."""
        current = replicas.desired
        unknown = bool(seen.faults) or seen.level is None or seen.past or seen.stuck
        answer = max(plan.wanted, current) if unknown else plan.wanted
        answered, need = self._hold.lowest(now, answer, current, hold), min(plan.held or 0, current)
        lowest = max(answered, need)
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
                held.append(Reason.HELD_NEED if need >= current > answered else Reason.SCALE_IN_DELAYED)
        if held or plan.wanted == current or plan.rollout is None:
            return current, tuple(held)
        late, nothing = max(1.0 - self.service.share, 0.0), self.settings.scale_to_zero_below
        count = lowest
        if plan.rollout.arrivals >= nothing:  # fewer expected requests are none
            count = plan.rollout.plain().safe(lowest, current, late)  # rule 5
        return count, kept_up_by(count, plan.wanted, answered, need)

    # --- what is reported

    def _forecast(self, drawn: Futures) -> Forecast:
        at = self.leads.quantile(0.95)
        p05, p50, p95, p99 = quantiles(drawn.rate_at(at), (0.05, 0.5, 0.95, 0.99))
        return Forecast(at, p05, p50, p95, p99, self._foresight.name)

    def _numbers(self, answer: Answer, room: Room | None) -> Numbers:
        learned = Learned(self._serving.rate, self.leads.quantile(0.95), self._split.partitions, self._split.cap)
        return numbers_of(answer, room, learned, None if self._replicas is None else self._replicas.ready)
