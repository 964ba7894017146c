"""What was late, and what waited: how the plan is corrected by it, and how much room requests need."""

from __future__ import annotations

import math

from scaler.plan.attained import Attained, bound, correction, doubt
from scaler.plan.progress import Progress
from scaler.plan.service import Service
from scaler.plan.settings import PlanSettings
from scaler.plan.silent import NOTHING, Aside, SilentPartitions
from scaler.plan.waiting import Waiting

_RELIED = 1800.0  # s
_SAME = 0.1  # part by which the service rate may change, and what was seen still holds


class Lateness:
    """Of one service, at the service rate that is believed; begun anew when another one is."""

    def __init__(self, service: Service, settings: PlanSettings, rate: float) -> None:
        """``rate``: requests/s of a replica."""
        self._service, self._settings, self._rate = service, settings, rate
        self.late_share = max(1.0 - service.share, 1e-4)  # declared
        self._aimed = settings.aim * self.late_share
        # How many times it has to be reached for the inflation to be at its most.
        self._most: float = (settings.inflation_most / settings.inflation) ** (1.0 / settings.correction)
        self._attained, self._waiting = self._nothing()
        self._silent = SilentPartitions(settings.attained_memory)
        self._aside = NOTHING  # what the last tick left out
        self.doubted = False  # the plan without forecasts is to make up for those that it lost
        self._answers_from = math.inf  # unix s at which the first replica that could be asked for serves
        self._drained = False  # what stood then has had its time
        self.limited = False  # at the last tick a limit kept the count below the answer

    def _nothing(self) -> tuple[Attained, Waiting]:
        p = self._settings
        attained = Attained(self._service.within + p.uncommitted, p.attained_memory)
        return attained, Waiting(p.waiting, p.waiting_weight, p.waiting_memory, p.uncommitted)

    def restart(self, progress: Progress | None = None) -> None:
        """See :meth:`Attained.restart`. ``progress``: what is known of the time in between."""
        self._attained.restart()
        if progress is None or progress.recreated:
            self._silent.forget()
            self._attained.settle(None)
        else:  # who committed something is silent no more
            self._silent.learn(progress, None, 0.0)
            self._attained.settle(self._silent.suspects(progress))

    def judge(self, foreseen: bool) -> None:
        """Whose the lateness is from now on, the plan's with forecasts or without. Without those that it relied on, for
        half an hour at least, it has all the headroom there is until it is seen what it needs.
        """
        seconds, arrived = self._attained.seconds, self._attained.arrived
        if not self._attained.judge(foreseen):
            return
        self._answers_from, self._drained = math.inf, False  # what is there was asked for by the other
        self.doubted = not foreseen and seconds >= _RELIED
        if self.doubted:
            doubt(self._attained, self._aimed, self._settings.attained_prior, self._most, arrived / seconds)

    def learn(self, progress: Progress, left: float, lead: float, rate: float, stuck: bool, ready: int = 0) -> None:
        """Take in an interval of known arrivals, with ``left`` messages at its end; ``lead`` s is what a replica takes
        to come. What nobody could have asked a replica for counts for nothing, nor does what a limit keeps back, nor
        what is in a partition that none of the ``ready`` consumers gets on with.
        """
        self._aside = self._set_aside(progress, left, rate, 0 if stuck else ready)
        arrived, left = (progress.arrivals or 0.0) - self._aside.arrived, left - self._aside.waiting
        if abs(rate / self._rate - 1.0) > _SAME:
            self._rate = rate
            before, prior = self._attained, self._settings.attained_prior
            self._attained, self._waiting = self._nothing()
            if self._attained.judge(before.foreseen):
                self._answers_from, self._drained = math.inf, False  # what is there was asked for at the other rate
            short = correction(before, self._aimed, prior)
            if self.doubted and short > 1.0:
                doubt(self._attained, self._aimed, prior, short, before.arrived / before.seconds)
        within = self._service.within
        if progress.end < self._answers_from:  # the clock may have been set back
            longest = max(lead + within, self._settings.drain) if self._drained else lead + within
            self._answers_from = min(self._answers_from, progress.end + longest)
        elif not self._drained:
            self._drained = True
            if self._overdue(progress.seconds, arrived, left):  # what comes meanwhile waits behind it
                self._answers_from = progress.end + max(self._settings.drain, within)
        answers = progress.end >= self._answers_from and not (stuck or self.limited)
        self._attained.learn(progress.end, arrived, left, answers, self._silent.suspects(progress))
        bound(self._attained, self._aimed, self._settings.attained_prior, self._most)

    def _set_aside(self, progress: Progress, left: float, rate: float, ready: int) -> Aside:
        """What is left out of this interval. None becomes silent while the others are not served in time: it may wait
        for consumers that have too much to do."""
        p, after = self._settings, None
        longest = max(self._service.service_time, 1.0 / rate)  # s of a request
        if ready > 0:
            after = max(p.silent_seconds, p.silent_turns * longest * len(progress.backlog_after) / ready)
        aside = self._silent.learn(progress, after, longest)
        due = self._silent.due()
        if len(due) == 0:
            return aside
        more = self._silent.of(due, progress)
        aside_then = Aside(aside.arrived + more.arrived, aside.waiting + more.waiting)
        came, waits = (progress.arrivals or 0.0) - aside_then.arrived, left - aside_then.waiting
        if self._overdue(progress.seconds, came, waits):
            return aside
        self._attained.put_back(self._silent.begin(due, progress))
        return aside_then

    def _overdue(self, seconds: float, arrived: float, left: float) -> bool:
        """Whether more waits than arrives within the objective."""
        within = self._service.within + self._settings.uncommitted
        return left * seconds > arrived * within

    def learn_waits(self, left: float, level: float, rate: float, worth: float) -> None:
        """Take in an interval of steady membership; see :meth:`Waiting.learn`. Nobody is busy with what is silent."""
        self._waiting.learn(left - self._aside.waiting, level * (1.0 - self._silent.part), rate, worth)

    @property
    def counted(self) -> float:
        """Requests on which the verdict stands."""
        return self._attained.arrived

    @property
    def inflation(self) -> float:
        """The factor on residuals above the median path, by how many times the late share aimed at was reached."""
        p = self._settings
        reached = correction(self._attained, self._aimed, p.attained_prior)
        inflation: float = p.inflation * reached**p.correction
        return min(max(inflation, p.inflation_least), p.inflation_most)

    def utilisation(self, rate: float, slack: float) -> float:
        """The share of a replica's ``rate`` that may be planned for; see :meth:`Waiting.utilisation`."""
        return self._waiting.utilisation(rate, slack, self.late_share, self._settings.utilisation_min)
