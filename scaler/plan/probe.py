"""Trying out one replica fewer, where nothing else can tell that a replica serves more than was declared.

A plan that believes too little of a replica orders too many, and too many never have a backlog: the mistake hides
itself. So, where it is safe, fewer are kept for a while, and the backlog is watched. What is served then without one
teaches the service rate (:meth:`scaler.plan.capacity.ServiceRate.learn_calm`); a backlog ends it at once, and takes
back what was believed beyond what was served (:meth:`scaler.plan.capacity.ServiceRate.refute`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

NOISE = 4.0  # standard deviations that a Poisson count may be off by
TELLS = 0.7  # utilisation, as believed, below which a short queue says nothing new


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """Durations in ticks, except where said."""

    calm: float = 20.0  # without a change or a doubt before anything is tried
    watch: float = 14.0  # that a count is watched before the next lower one
    settle: float = 3.0  # until a change of the count has passed through the group; watched for a backlog, too
    longest: float = 480.0  # of one experiment, all its steps
    rest: float = 20.0  # after one that taught something, or was cut short
    in_vain: float = 240.0  # after one that went as far as it may and taught nothing; doubled each time
    back_off: float = 1440.0  # after a backlog; doubled each time
    back_off_most: float = 11_520.0
    step: float = 0.1  # part of the replicas that are tried at once; at least one
    grown: float = 0.2  # by this part, and one, more than the plan wanted when the step began: that ends it
    slack: float = 0.5  # of the objective's slack that a backlog may take; the rest is for the way back


@dataclass(frozen=True, slots=True)
class Situation:
    """One tick as an experiment sees it."""

    current: int  # replicas that were asked for
    wanted: int  # the plan's own answer
    safe: int  # the least count that serves every foreseen path at the believed rate, and what is needed, or lately was
    least: int  # the same for the median path: no experiment goes on with fewer
    level: float | None  # requests/s
    backlog: float | None  # messages; None: not known
    slack: float  # s a request may wait
    rate: float  # requests/s that a replica is believed to serve
    unsure: bool  # the service rate may be higher than believed, and nothing else can tell
    sound: bool  # readings are fresh, consumers progress, no rolling update
    quiet: bool  # sound, and nothing is on its way: all replicas ready, the group not rebalancing
    spare: bool = True  # what is given up is there again when it is wanted back
    useful: Callable[[int], int] = int  # the least count that gives as much as a count, by the partitions' split


class Probe:
    """A state machine, without a clock of its own. Seconds; ``tick`` is the time between decisions."""

    def __init__(self, tick: float, settings: ProbeSettings | None = None) -> None:
        self._settings = settings or ProbeSettings()
        self._tick = tick
        self._calm_since: float | None = None
        self._usual = 0.0  # s of work in the backlog before the experiment: not committed, in service
        self._count: int | None = None  # the count that is tried; None: no experiment
        self.before = 0  # the count before the experiment; 0: there is none
        self._began = self._stepped = 0.0  # unix s
        self._wanted = 0  # what the plan wanted when the newest step began
        self._rate = 0.0  # requests/s, as it was believed before the experiment
        self._not_before = -math.inf  # unix s
        self._back_off = self._settings.back_off
        self._vain = self._settings.in_vain  # ticks; doubled by each experiment in vain
        self.overtaken = False  # a backlog ended an experiment at the newest step
        self._proved = 0.0  # requests/s for each replica that were served in a step of an experiment

    @property
    def running(self) -> bool:
        """Whether fewer replicas are kept than the plan wants, to learn from it."""
        return self._count is not None

    def step(self, now: float, seen: Situation) -> int | None:
        """The count to keep at unix time ``now`` where the plan's answer is not lower anyway; None: no experiment."""
        self.overtaken = False
        if self._count is None:
            return self._begin(now, seen)
        short = self._cut_short(now, seen)
        if self._backlogged(seen, short):
            # Consumers that stand still have a backlog, too; and counts vary.
            self.overtaken = seen.sound and self._waits_for(seen, _noise(seen, self._tick))
            self.back_off(now)
            return None
        lasted, one = now - self._stepped, (self._settings.settle + self._settings.watch) * self._tick
        if short:
            self._end(now, self._settings.rest)
            return None
        if lasted > 2.0 * one or now - self._began > self._settings.longest * self._tick:  # as far as it is safe
            taught = seen.rate > 1.02 * self._rate
            self._end(now, self._settings.rest if taught else self._vain)
            self._vain = self._vain if taught else min(2.0 * self._vain, self._settings.back_off_most)
            return None
        if lasted >= one and seen.quiet and seen.level is not None:
            self._proved = seen.level / self._count
            lower = self._lower(seen, min(self._count, seen.current))
            if lower is not None:
                self._count, self._stepped, self._wanted = lower, now, seen.wanted
        return self._count

    def back_off(self, now: float) -> None:
        """A backlog showed at unix time ``now`` that fewer replicas are too few: none is tried out for long."""
        self._proved = 0.0
        self._end(now, self._back_off)
        self._back_off = min(2.0 * self._back_off, self._settings.back_off_most)

    def _begin(self, now: float, seen: Situation) -> int | None:
        lasting = self._calm(now, seen)
        if not lasting or now < self._not_before or not seen.unsure:
            return None
        lower = self._lower(seen, seen.current)
        if lower is None:
            return None
        self._count, self.before = lower, seen.current
        self._began = self._stepped = now
        self._wanted = seen.wanted
        self._rate = seen.rate
        return lower

    def _calm(self, now: float, seen: Situation) -> bool:
        """Whether the plan has asked for what there is for a while, and all of it was served as it came."""
        waiting = _waiting(seen)
        if not (seen.quiet and seen.spare) or waiting is None or seen.wanted > seen.current:
            self._calm_since = None
            return False
        if self._calm_since is None or now < self._calm_since:
            self._calm_since, self._usual = now, waiting
        self._usual = max(self._usual, waiting)
        return now - self._calm_since >= self._settings.calm * self._tick

    def _lower(self, seen: Situation, count: int) -> int | None:
        lower = count - max(math.floor(count * self._settings.step), 1)
        if self._proved > 0 and seen.level is not None:  # no need to go again step by step through what is known
            lower = min(lower, math.ceil(seen.level / self._proved))
        if seen.level is not None:  # over counts that give no less, down to where something is learned
            lower = min(lower, max(seen.useful(max(lower, 1)), math.ceil(seen.level / (seen.rate * TELLS))))
        lower = max(lower, seen.safe, 1)
        return lower if lower < count else None

    def _backlogged(self, seen: Situation, ends: bool) -> bool:
        """Whether the backlog has grown by so much as may be lost; in an experiment that ``ends`` anyway, by more than
        the counts of a tick vary."""
        most = self._settings.slack * seen.slack
        if ends and seen.sound:
            most = min(most, _noise(seen, self._tick))
        return self._waits_for(seen, most)

    def _waits_for(self, seen: Situation, more: float) -> bool:
        """Whether the backlog is more s of work than before the experiment, by so many."""
        waiting = _waiting(seen)
        return waiting is not None and waiting > self._usual + more

    def _cut_short(self, now: float, seen: Situation) -> bool:
        """Whether it is no longer what it was: another load, a doubt, somebody else's count, known enough."""
        count, lasted = self._count or 0, now - self._stepped
        blind = not (seen.sound and seen.spare) or seen.backlog is None or seen.level is None
        foreign = seen.current > count and lasted > self._tick * 1.5
        outgrown = seen.least > count or seen.wanted > self._wanted * (1.0 + self._settings.grown) + 1.0
        return blind or lasted < 0 or foreign or not seen.unsure or outgrown

    def _end(self, now: float, ticks: float) -> None:
        self._count, self.before = None, 0
        self._calm_since = None
        self._not_before = now + ticks * self._tick


def _noise(seen: Situation, tick: float) -> float:
    """What the count of a tick's arrivals may be off by, in s of work; infinite where nothing arrives."""
    return NOISE * math.sqrt(tick / seen.level) if seen.level else math.inf


def _waiting(seen: Situation) -> float | None:
    """The backlog in s of work."""
    if seen.backlog is None or seen.level is None:
        return None
    return seen.backlog / seen.level if seen.level > 0 else (0.0 if seen.backlog <= 0 else math.inf)
