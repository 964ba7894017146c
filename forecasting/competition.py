"""Several models side by side: each scored on what came, paths from those that beat the newest level, or none."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecasting.competition_naive import NewestLevel
from forecasting.competition_scores import (
    Doubt,
    Rules,
    Standing,
    State,
    Told,
    pinball,
    quantiles_of,
    said_of,
    weights_of,
)
from forecasting.competition_strays import likelihood_rank
from forecasting.errors import NotEnoughHistory, NotReady
from forecasting.forecaster import Forecaster, Keeping, Paths, Studying
from forecasting.repeated import Repeated
from forecasting.series import LEAST_SEEN, Arrivals, Series, counts_of, resample, step_index
from forecasting.trajectories import came_over, extremes, means_over, possible, room

Floats = NDArray[np.float64]

_FARTHEST = 4000  # steps ahead, at most, at which models are scored
_SCORED_PATHS = 100  # from which quantiles are taken
_NEAR_PATHS = 50  # from which the share that came true is taken
_NAIVE = -1  # the newest level's place beside those of the members
_TRIAL = 86400.0  # s at the history's end on which models are tried before they are used
_TRIAL_SHARE = 0.25  # of a short history
_TRIAL_EVERY = 420.0  # s: no part of what cron likes, or each cycle would be tried at the same few moments of it


@dataclass(frozen=True, slots=True, eq=False)
class Studies:
    """What a refit found: of each model its study, or the model itself newly fitted, or what went wrong."""

    until: float  # unix s, end of what was learned from
    found: tuple[Any, ...]
    trial: tuple[Standing, ...] | None


@dataclass(slots=True, eq=False)
class _Member:
    make: Callable[[], Forecaster]
    forecaster: Forecaster
    standing: Standing
    detail: str = ""  # what failed
    began: float = math.nan  # unix s, of the running block
    lost: float = 0.0  # in it
    naive_lost: float = 0.0  # by naive, at the same origins

    def fail(self, error: BaseException | str) -> None:
        self.detail = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        self.standing.fail()

    def score(self, lost: float, naive_lost: float, now: float, block: float) -> bool:
        """Add to the running block; whether it ended with this, which the standing then knows of."""
        if self.standing.state is State.FAILED:
            return False
        if math.isnan(self.began):
            self.began = now
        self.lost += lost
        self.naive_lost += naive_lost
        if now - self.began < block:
            return False
        # A long hole between two scores is no long time of scores.
        self.standing.add(self.lost, self.naive_lost, min(now - self.began, 2 * block))
        self.began, self.lost, self.naive_lost = now, 0.0, 0.0
        return True


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    """What was said of the mean rate over steps [first, last], whose time has not come: its quantiles; of what is near,
    its value on each path."""

    first: int
    last: int
    naive: Floats
    said: dict[int, Floats]  # by the place of the model that was asked


class Competition:
    """Scores ``members`` against the newest level at the lead time; paths from those that are better beyond doubt.

    Every ``every`` s models say quantiles of the mean rate around ``lead_time`` (s) ahead; when that time has come,
    their mean pinball losses go into their :class:`~forecasting.competition_scores.Standing`. Twice as often, where
    steps are short, the one with most paths (the first where none has any) and one other in turn are asked of what is
    near, which tells within minutes whether it is far from what comes (:class:`~forecasting.competition_scores.Told`),
    and whether that is what it says itself (:class:`~forecasting.competition_strays.Strays`). Paths are drawn in
    proportion to weights, whole trajectories each. A model that is worse is demoted within the hour and comes back
    slowly; ``trusted`` is False, and ``why`` says so, when none is proven: paths are mostly the newest level's then.
    One that raises or draws what is no rate is out until the next fit. ``fit`` tries the models on the history's last
    day first, fitted on what was before it, so that a new one starts with honest scores; not where the history's steps
    are longer than the lead time.

    ``members`` are functions that make forecasters (picklable: a class, a ``functools.partial``), all of the same
    step. An update costs the members' own and, twice in ``every`` s, 100 and 50 short paths of the one with most
    paths, of one other and of the newest level; all are scored once in ``others`` times.
    """

    name = "competition"

    def __init__(
        self,
        members: Sequence[Callable[[], Forecaster]],
        *,
        lead_time: float = 150.0,
        every: float = 240.0,
        others: int = 2,
        rules: Rules | None = None,
        seed: int = 0,
    ) -> None:
        self.rules = rules or Rules()
        self.members = [_Member(make, make(), Standing(self.rules)) for make in members]
        names = [m.forecaster.name for m in self.members]
        steps = {m.forecaster.step for m in self.members}
        if len(steps) != 1 or len(set(names)) < len(names) or NewestLevel.name in names:
            raise ValueError(
                f"models {names} in steps of {sorted(steps)} s: found; allowed: at least one, all of the same step, "
                f"each name once, none called {NewestLevel.name}"
            )
        (self.step,) = steps
        self.naive = NewestLevel(self.step, seed)
        self.every, self.others, self.seed = every, others, seed
        self.often = max(every / 2, 4 * self.step)  # s between two questions of what is near: each costs some updates
        self._end = -math.inf  # unix s, of the newest update
        self._pending: deque[_Pending] = deque()
        self._near: deque[_Pending] = deque()
        self._told = Told()
        self._doubt = Doubt(self.rules.long / every)
        self._asked = self._turns = 0
        self._streams: dict[int, Repeated] = {}  # by the place of the model
        self._origin = Repeated((seed, 0))  # of what is scored
        self._next = self._next_near = -math.inf  # unix s, when models are asked again
        self.aim(lead_time)
        self._named: tuple[Floats | None, str] = (None, "")  # weights, and the names that they come to
        self._weigh()

    def aim(self, lead_time: float) -> None:
        """Score at another lead time (s) from now on. Raises ``ValueError``."""
        if not (0 < lead_time < math.inf and self.every > 0 and self.others > 0):
            raise ValueError(
                f"lead time {lead_time} s, every {self.every} s, others {self.others}: found; allowed: > 0"
            )
        self.lead_time = lead_time
        lead_time = min(lead_time, _FARTHEST * self.step)
        half = max(self.step, min(60.0, lead_time / 4)) / 2
        self._first, self._last = self._about(lead_time, half)
        # Over when models are asked again, so that what outcomes tell is not told twice.
        self._near_first, self._near_last = self._about(min(lead_time, max(self.often - half, half)), half)
        self._block = max(lead_time, self.every)  # shorter ones would tell the same twice

    def _about(self, ahead: float, half: float) -> tuple[int, int]:
        """The first and the last step of what is scored ``ahead`` s ahead."""
        first = max(0, round((ahead - half) / self.step))
        return first, max(first, round((ahead + half) / self.step) - 1)

    # -- taking in --------------------------------------------------------------------------------------------------

    def fit(self, history: Series) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`. A member's failure is no error: see ``standings``."""
        self.naive.fit(history)
        for member in self.members:
            try:
                member.forecaster.fit(history)
            except NotEnoughHistory:
                continue
            except Exception as broken:  # noqa: BLE001  one model's failure is not the others'
                member.fail(broken)
            else:
                member.standing.fitted()
        self._start_from(self._trial(history) if self._new else None)

    @property
    def _new(self) -> bool:
        """Whether a trial says more than the scores there are."""
        return all(m.standing.scored < self.rules.settle for m in self.members)

    def _start_from(self, trial: tuple[Standing, ...] | None) -> None:
        if trial is not None:
            for member, tried in zip(self.members, trial, strict=True):
                if not member.standing.fell:  # who was found wrong live is not cleared by history
                    member.standing = tried
                    tried.go_live()
                    member.began, member.lost, member.naive_lost = math.nan, 0.0, 0.0
        self._weigh()

    def _trial(self, history: Series) -> tuple[Standing, ...] | None:
        """Standings over the history's end, of models fitted on what is before; None when it is too short or coarse."""
        if history.step < self.step:
            history = resample(history, self.step)
        known = np.flatnonzero(~np.isnan(history.rates))
        if not len(known):
            return None
        begin = int(known[0])  # a topic's history begins with its earliest message, wherever the series does
        history = Series(history.start + begin * history.step, history.step, history.rates[begin:])
        span = min(_TRIAL, _TRIAL_SHARE * (history.end - history.start))
        tail = math.floor(span / history.step)
        coarse = history.step > self.lead_time  # it does not tell what comes so soon
        if coarse or tail * history.step < self.rules.settle:
            return None
        if np.isnan(history.rates[:-tail]).all() or np.isnan(history.rates[-tail:]).all():
            return None
        makes = [m.make for m in self.members]
        tried = Competition(
            makes, lead_time=self.lead_time, every=_TRIAL_EVERY, others=1, rules=self.rules, seed=self.seed
        )
        tried._next_near = math.inf  # within steps of history all is flat: who is right about minutes is wrong there
        head = Series(history.start, history.step, history.rates[:-tail])
        tried.naive.fit(head)
        for member in tried.members:
            try:
                member.forecaster.fit(head)
            except NotEnoughHistory:
                continue
            except Exception as broken:  # noqa: BLE001
                member.fail(broken)
        for arrivals in counts_of(Series(head.end, history.step, history.rates[-tail:])):
            tried.update(arrivals)
        # What it fails at there it need not fail at when fitted on more.
        return tuple(
            m.standing if m.standing.state is not State.FAILED else Standing(self.rules) for m in tried.members
        )

    def update(self, arrivals: Arrivals) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`. Raises ``BadSeries`` for a count that cannot be."""
        self.naive.update(arrivals)
        if arrivals.end <= self._end:
            return
        self._end = arrivals.end
        for member in self.members:
            if member.standing.state is State.FAILED:
                continue
            try:
                member.forecaster.update(arrivals)
            except Exception as broken:  # noqa: BLE001
                self._fail(member, broken)
        complete = step_index(arrivals.end, self.step)
        while self._near and self._near[0].last < complete:
            self._hear(self._near.popleft())
        while self._pending and self._pending[0].last < complete:
            self._score(self._pending.popleft(), arrivals.end)
        if self.naive.ready:
            self._ask(arrivals.end)

    def _ask(self, origin: float) -> None:
        """Ask models whose turn it is. The same random numbers for all."""
        scored, near = origin >= self._next, origin >= self._next_near
        if not (scored or near):
            return
        number, leader = round(origin / self.step), int(np.argmax(self._weights[:-1]))
        drawn: dict[int, Paths] | None = None
        turn = self._turn(leader) if near else leader
        if scored:
            self._next = origin + self.every - self.step / 2
            judged = set(range(len(self.members))) if self._asked % self.others == 0 else {leader}
            drawn = self._draw(number, self._last, _SCORED_PATHS, {*judged, turn})
            naive, said = self._rates(drawn, self._first, self._last)
            quantiles = {place: quantiles_of(rates) for place, rates in said.items() if place in judged}
            wide = self._doubt.corrected(quantiles_of(naive))
            self._pending.append(_Pending(number + self._first, number + self._last, wide, quantiles))
            self._asked += 1
        if near:
            self._next_near = origin + self.often - self.step / 2
            if drawn is None or self._near_last > self._last:
                drawn = self._draw(number, self._near_last, _NEAR_PATHS, {leader, turn})
            first, last = self._near_first, self._near_last
            self._near.append(_Pending(number + first, number + last, *self._rates(drawn, first, last)))

    def _turn(self, leader: int) -> int:
        """The model that is asked of what is near besides the leading one: who is rubbish is known before it leads."""
        rest = [k for k, m in enumerate(self.members) if k != leader and m.standing.state is not State.FAILED]
        self._turns += 1
        return rest[self._turns % len(rest)] if rest else leader

    def _draw(self, number: int, last: int, count: int, places: set[int]) -> dict[int, Paths]:
        """Paths as far as step ``last``, of the models at ``places``, naive's at ``_NAIVE``."""
        drawn = {_NAIVE: self._of_origin(self.naive, number, last, count)}
        for place in sorted(places):
            member = self.members[place]
            if member.standing.state is State.FAILED or not member.forecaster.ready:
                continue
            try:
                drawn[place] = self._of_origin(member.forecaster, number, last, count)
            except Exception as broken:  # noqa: BLE001
                self._fail(member, broken)
        return drawn

    def _of_origin(self, forecaster: Forecaster, number: int, last: int, count: int) -> Paths:
        seed = (self.seed, number & 0xFFFFFFFF)
        self._origin = self._origin if self._origin.seed == seed else Repeated(seed)
        out = np.full((count, last + 1), np.nan, np.float32)  # who fills nothing has said nothing
        room(forecaster.paths(last + 1, count, self._origin.again(), out), count, last + 1)
        return out

    def _rates(self, drawn: dict[int, Paths], first: int, last: int) -> tuple[Floats, dict[int, Floats]]:
        """Mean rates [paths] over these steps, naive's and by the place of the others; who says what is no rate is
        out."""
        said = {}
        for place, paths in drawn.items():
            rates = means_over(paths, first, last)
            if place == _NAIVE or possible(rates[None]):
                said[place] = rates
            else:
                self._fail(self.members[place], _no_rates(rates[None]))
        return said.pop(_NAIVE), said

    def _outcome(self, first: int, last: int) -> float | None:
        """The mean rate over these steps; None where too little of it is known."""
        series = self.naive.series
        mean, known = came_over(series.rates, first - series.base, last - series.base)
        return mean if known >= LEAST_SEEN else None

    def _hear(self, near: _Pending) -> None:
        outcome = self._outcome(near.first, near.last)
        if outcome is None:
            return
        seconds = (near.last + 1 - near.first) * self.step
        told = self._told.nats(outcome, seconds, near.naive, list(near.said.values()))
        changed = False
        for (place, said), nats in zip(near.said.items(), told, strict=True):
            standing = self.members[place].standing
            changed |= standing.hear(nats)
            few = said[:_NEAR_PATHS]
            changed |= standing.strays.hear(float(few.mean()), likelihood_rank(few, outcome, seconds))
        if changed:
            self._weigh()

    def _score(self, pending: _Pending, now: float) -> None:
        outcome = self._outcome(pending.first, pending.last)
        if outcome is None:
            return
        naive_lost = pinball(outcome, pending.naive)
        self._doubt.learn(outcome, pending.naive)
        ended = False
        for place, said in pending.said.items():
            ended |= self.members[place].score(pinball(outcome, said), naive_lost, now, self._block - self.step / 2)
        if ended:
            self._weigh()

    def _fail(self, member: _Member, error: BaseException | str) -> None:
        member.fail(error)
        self._weigh()

    def _weigh(self) -> None:
        self._weights = weights_of([m.standing for m in self.members], self.rules)

    # -- saying -----------------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether ``paths`` can be called."""
        return self.naive.ready

    @property
    def trusted(self) -> bool:
        """See :class:`~forecasting.forecaster.Judged`."""
        return any(m.standing.state is State.PROVEN and not m.standing.out for m in self.members)

    @property
    def why(self) -> str | None:
        """See :class:`~forecasting.forecaster.Judged`."""
        if self.trusted:
            return None
        told = "; ".join(f"{m.forecaster.name}: {said_of(m.standing, m.detail)}" for m in self.members)
        return f"no model beats the newest level beyond doubt {self.lead_time:g} s ahead ({told}): the plan is reactive"

    @property
    def demoted(self) -> bool:
        """See :class:`~forecasting.forecaster.Judged`."""
        return not self.trusted and any(
            m.standing.strays.lost or m.standing.state is State.DEMOTED for m in self.members
        )

    @property
    def weights(self) -> dict[str, float]:
        """Each model's share of the paths, naive's last."""
        names = [*(m.forecaster.name for m in self.members), self.naive.name]
        return dict(zip(names, self._weights.tolist(), strict=True))

    @property
    def leading(self) -> str:
        """Names of those whose paths are drawn, the one with most first."""
        if self._named[0] is not self._weights:  # asked for at each tick, and seldom another
            drawn = sorted(((name, share) for name, share in self.weights.items() if share > 0), key=lambda w: -w[1])
            self._named = self._weights, ", ".join(name for name, _ in drawn)
        return self._named[1]

    @property
    def standings(self) -> dict[str, Standing]:
        """How each model stands; read only."""
        return {m.forecaster.name: m.standing for m in self.members}

    def paths(self, steps: int, count: int, rng: np.random.Generator, out: Paths | None = None) -> Paths:
        """See :class:`~forecasting.forecaster.Forecaster`. Each model's paths lie together, and each has its own
        stream of ``rng``: when weights have not changed, neither has what a stream is used for."""
        if not self.naive.ready:
            raise NotReady(f"{self.name}: nothing was learned or observed yet")
        out = room(out, count, steps)
        seeds = [raw >> 1 for raw in rng.bit_generator.random_raw(len(self._weights)).tolist()]
        edges = [round(share * count) for share in accumulate(self._weights.tolist(), initial=0.0)]
        own: np.random.Generator | None = None
        for k, (begin, end) in enumerate(pairwise(edges)):
            part = out[begin:end]
            member = self.members[k] if k < len(self.members) else None
            if not len(part) or (member and self._drawn(member, part, self._stream(k, seeds[k]))):
                continue
            own = own or self._stream(-1, seeds[-1])
            self.naive.paths(steps, len(part), own, part)
        return out

    def _stream(self, place: int, seed: int) -> np.random.Generator:
        """Who asks for paths often does so with the same random numbers."""
        kept = self._streams.get(place)
        if kept is None or kept.seed != seed:
            kept = self._streams[place] = Repeated(seed)
        return kept.again()

    def _drawn(self, member: _Member, part: Paths, rng: np.random.Generator) -> bool:
        """Whether the member's paths fill ``part``; else it is out."""
        part[:] = np.nan
        try:
            member.forecaster.paths(part.shape[1], len(part), rng, part)
        except Exception as broken:  # noqa: BLE001
            member.fail(broken)
        else:
            if possible(part):
                return True
            member.fail(_no_rates(part))
        self._weigh()
        return False

    # -- refits in the background -----------------------------------------------------------------------------------

    def kept(self) -> Series:
        """For :meth:`study`: the longest history that a member keeps, in own steps if any; else naive's last day."""
        kept = [k for m in self.members if isinstance(m.forecaster, Keeping) and (k := m.forecaster.kept()) is not None]
        kept.sort(key=lambda k: (k.step == self.step, k.end - k.start))
        return kept[-1] if kept else self.naive.series.series()

    def study(self, kept: Series) -> Studies:
        """Learn from what :meth:`kept` gave and change nothing: for another thread; then :meth:`adopt` what comes."""
        found: list[Any] = []
        for member in self.members:
            try:
                if isinstance(member.forecaster, Studying):
                    found.append(member.forecaster.study(kept))
                else:
                    fresh = member.make()
                    fresh.fit(kept)
                    found.append(fresh)
            except Exception as broken:  # noqa: BLE001
                found.append(broken)
        return Studies(kept.end, tuple(found), self._trial(kept) if self._new else None)

    def adopt(self, studies: Studies) -> None:
        """Go on with what :meth:`study` found; a member whose fit failed goes on as it was."""
        for member, found in zip(self.members, studies.found, strict=True):
            if isinstance(found, BaseException):
                if not (member.forecaster.ready or isinstance(found, NotEnoughHistory)):
                    member.fail(found)
                continue
            if isinstance(member.forecaster, Studying):
                member.forecaster.adopt(found)
            else:
                for arrivals in counts_of(self.naive.series.series()):
                    if arrivals.end > studies.until:
                        found.update(arrivals)
                member.forecaster = found
            member.standing.fitted()
        self._start_from(studies.trial if self._new else None)


def _no_rates(paths: Paths | Floats) -> str:
    """What is wrong with paths [count, steps] that are not possible."""
    least, most = extremes(paths)
    return f"rates of {least} to {most} requests/s"
