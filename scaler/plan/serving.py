"""What a replica of one service serves: learned from each tick, and where that says too little, tried out."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from scaler.plan.capacity import ServiceRate
from scaler.plan.observation import LatencySample
from scaler.plan.paths import Futures, peaks, quantiles
from scaler.plan.probe import NOISE, Probe, Situation
from scaler.plan.progress import Progress
from scaler.plan.saturation import saturated
from scaler.plan.service import Service
from scaler.plan.settings import PlanSettings

CALM = 0.95  # share of the paths that must stay below what the count of an experiment serves
CALM_POOLED = 0.99  # the same on a pool, where an experiment takes away what filled nodes have to spare for jumps
LEAST = 0.65  # the least utilisation that is read out of a queue that is not there: no larger step at a time
MINUTE = 60.0  # s for which a change of the load may show in what is not yet committed
OLD = 3.0  # longest times between the service of a message and its commit: an older backlog is no such work
QUICKER = 0.8  # of the declared service time: where a request takes less, a replica may serve more than was declared
MUTE = 3600.0  # s in which a latency source said nothing of the time in service, and is taken to have nothing to say
SHORT = 0.1  # of what is foreseen, at most, by which that count may fall short for a while


class Serving:
    """The service rate, and the experiments with it."""

    def __init__(self, service: Service, settings: PlanSettings) -> None:
        memory = settings.rate_memory_ticks * service.tick
        self._rate = ServiceRate(
            service.service_rate, memory, settings.rate_change, settings.rate_bounds, service.concurrency
        )
        self._tick = service.tick
        self._probe = Probe(service.tick) if settings.experiments else None
        self._slack = max(service.within - service.service_time, 0.0)
        self._uncommitted = settings.uncommitted
        # s; as long as consumers commit at each tick
        self._old = OLD * (service.tick + service.service_time + settings.uncommitted)
        self._within = service.within
        self._pooled = service.pool is not None
        self._patience = settings.patience
        self._calm = CALM_POOLED if self._pooled else CALM
        self._service_time = service.service_time
        self._watched = 0.0  # s of load that was served by this pod template
        self._concurrent = service.concurrency is not None
        self._began: float | None = None  # unix s
        self._timed = -math.inf  # unix s at which the latency source last said how long a request takes
        self._lately: deque[tuple[float, float]] = deque()  # (unix s, requests/s) of the last minute's intervals
        self._ready = 0  # replicas at the last tick
        self._served: float | None = None  # requests/s of a replica in the newest interval, at most
        self._overtaken: float | None = None  # the same when a backlog ended an experiment at the last tick
        self._teaches = False  # at the last tick commits moved, and there was a backlog beyond what is not committed

    @property
    def rate(self) -> float:
        """requests/s of one ready replica."""
        return self._rate.rate

    @property
    def cautious(self) -> float:
        """requests/s of one ready replica that are sure."""
        return self._rate.cautious

    @property
    def unsure(self) -> bool:
        """Whether a replica may serve other than is believed."""
        return not self._rate.sure

    @property
    def trying(self) -> bool:
        """Whether fewer replicas are kept than the plan wants, to learn from it."""
        return self._probe is not None and self._probe.running

    @property
    def reserved(self) -> int:
        """Replicas before the experiment that runs; 0: none does."""
        return 0 if self._probe is None else self._probe.before

    def untold(self, now: float, latency: bool) -> bool:
        """Whether only an experiment can tell what a replica serves: where that is not known, nor told by the
        utilisation law from a ``latency`` source. Where requests take as long as was declared, or where fewer pods give
        up what filled nodes have to spare, only after half an hour of load: its jumps may tell first.
        """
        if self._began is None or not self.unsure:
            return False
        heard = latency and not self._silent(now)
        if heard and self._concurrent:
            return False
        patient = self._pooled or (heard and self._as_declared)
        return not patient or self._watched >= self._patience

    def _silent(self, now: float) -> bool:
        """Whether the latency source has long said nothing of the time in service."""
        return self._began is not None and now - max(self._timed, self._began) > MUTE

    @property
    def _as_declared(self) -> bool:
        """Whether a request takes about as long as was declared, as far as is known."""
        takes = self._rate.service_time
        return takes is None or takes > QUICKER * self._service_time

    def renew(self) -> None:
        """Another pod template."""
        self._rate.renew()
        self._served = self._overtaken = None
        self._watched = 0.0
        if self._probe is not None:  # what was tried with the old one says nothing
            self._probe = Probe(self._tick)

    def learn(
        self,
        progress: Progress | None,
        latency: LatencySample | None,
        ready: int,
        known: bool,
        oldest: float | None,
        assignor: str | None = None,
        worth: float | None = None,
    ) -> None:
        """Take in a tick. ``known``: no consumer came, went, or stands still; ``oldest``: s that the oldest message has
        waited at least; ``assignor``: how the group splits its partitions, by Kafka's name; ``worth``: replicas' worth
        that those which are ready can give by that split. None: not known.
        """
        # Without a commit they may be stuck; and the interval after one without holds the work of both.
        moved = progress is not None and progress.served > 0
        queued = progress is not None and oldest is not None and self._queued(progress, oldest)
        teaches, self._teaches = self._teaches, queued and moved
        fewest, self._ready = min(ready, self._ready), ready
        overtaken, self._served, self._overtaken = self._overtaken, None, None
        if progress is None:
            return
        if fewest > 0:
            self._served = progress.served / progress.seconds / fewest
        # Not at the last tick, where the plan had used the rate; and what began in the middle of it is seen by now.
        if overtaken is not None and self._served is not None:
            self._rate.refute(max(overtaken, self._served))
        # Also while replicas come, when nothing else can be learned: bursts bring backlogs, and replicas.
        busy = queued and teaches and saturated(progress, fewest, self.rate, assignor)
        if busy and self._served is not None and self._rate.refute(self._served) and self._probe is not None:
            self._probe.back_off(progress.end)
        least, most = self._lately_came(progress)
        began = progress.end - progress.seconds if self._began is None else self._began
        self._began = min(began, progress.end)  # the clock may have been set back
        self._watched += min(progress.seconds, 2.0 * self._tick) if moved else 0.0
        new = progress.end - self._began < MINUTE  # of what came before, and may be committed now, nothing is known
        if not (known and moved and ready > 0):
            self._rate.disturbed()
            return
        told = False
        if queued and teaches:
            # While the load changes, so may what is served and not yet committed.
            counted = NOISE * math.sqrt(most / progress.seconds)  # which counts differ by under a steady load
            unclear = max(most - least - counted, 0.0) * self._uncommitted
            told = self._rate.learn(progress, ready, math.inf if new else unclear, unclear, assignor)
        takes = max(self._service_time, self._rate.service_time or 0.0)
        if not (told or new) and takes <= self._tick:  # else what is served is what came ticks ago
            self._rate.learn_limit(progress, ready, self._uncommitted + takes, worth)
        served = progress.served / progress.seconds
        if progress.waiting <= served * (self._uncommitted + min(self._slack / 2, self._old)):
            # By all that are ready, not by what their partitions' split lets them give: that is only thought.
            if not new:
                utilised = LEAST if self.trying else 1.0
                self._rate.learn_calm(progress, float(ready), self._uncommitted, utilised, most * self._uncommitted)
        else:
            self._rate.waited()
        if latency is not None and self._rate.learn_time(latency, ready, progress.seconds):
            self._timed = progress.end

    def _queued(self, progress: Progress, oldest: float) -> bool:
        """Whether there is a backlog, and not only work that is done and not committed: older than the objective, or,
        where that is long, so old and so much that no commit can be so late.
        """
        much = min(progress.waiting_before, progress.waiting) >= self._old * progress.served / progress.seconds
        return oldest > self._within or (oldest > self._old and much)

    def _lately_came(self, progress: Progress) -> tuple[float, float]:
        """Least and most requests/s of the intervals that end within the last minute."""
        lately = self._lately
        while lately and lately[0][0] < progress.end - MINUTE:
            lately.popleft()
        if progress.arrivals is not None:
            lately.append((progress.end, progress.arrivals / progress.seconds))
        rates = [rate for _, rate in lately]
        return (min(rates), max(rates)) if rates else (0.0, 0.0)

    def experiment(self, now: float, seen: Situation) -> int | None:
        """The count to keep where the plan's answer is not lower anyway; None: no experiment."""
        if self._probe is None:
            return None
        count = self._probe.step(now, seen)
        if self._probe.overtaken:
            self._overtaken = self._served
        return count

    def safe(self, futures: Futures, steps: int, lead: float) -> tuple[float, float]:
        """Replicas' worth that an experiment must leave when it begins, and while it goes on.

        By the believed rate and the first ``steps`` of the paths, for as much as half of the slack may be lost in the
        lead time until the count is back.
        """
        near = np.ascontiguousarray(futures.rates[:, :steps])
        high, middle = quantiles(peaks(near), (self._calm, 0.5))
        short = min(self._slack / (2.0 * lead), SHORT)
        return high / self.rate / (1.0 + short), middle / self.rate / (1.0 + short)
