"""The forecaster behind a guard: whatever a model does, the plan goes on without it."""

from __future__ import annotations

import math
import pickle
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from forecasting.fitting import FitJob, FitRun, Fitter, InPlace
from forecasting.forecaster import Forecaster, Judged, Studying
from forecasting.plausible import Joins, in_order
from forecasting.repeated import Repeated
from forecasting.series import Arrivals, Series
from scaler.plan.observation import SET_BACK
from scaler.plan.paths import Futures, checked, steps_for
from scaler.plan.reasons import Reason

MINUTE = 60.0  # s
MOST_STEPS = 4000  # of a path; its last rate goes on
_RETRY = 60.0  # s before a fit that was lost is tried again; doubled each time
_YOUNG = 28_800.0  # s of arrivals that a forecaster without history is first fitted on
_MOVED = 1.25  # times the lead time that models are scored at, up or down: less is noise of what is learned


class Foresight:
    """Sample paths of one service, or none.

    ``count`` paths from ``seed``: the same random numbers at every tick, so that two counts, and two ticks, are
    compared over the same chances. What was learned is learned again every ``refit`` s, and at once when a forecaster
    says that it is ``outdated``, by ``fitter``; while a fit runs, the old model goes on, and the new one is told what
    came meanwhile before it takes over. ``of``: the service.

    A forecaster knows no arrivals that are older than its newest. So after a clock was set back by more than a few
    minutes a new one learns from what was before that moment; what came later by the wrong clock is forgotten.
    """

    def __init__(
        self, forecaster: Forecaster | None, count: int, seed: int, refit: float, fitter: Fitter, of: str
    ) -> None:
        self._blank = _packed(forecaster)
        self._count = count
        self._rng = Repeated(seed)
        self._refit = refit
        self._of = of
        self._newest = -math.inf  # unix s, by the clock
        self._lead: float | None = None  # s at which models are scored; None: the declared one
        self._begin_with(forecaster)
        self._run_by(fitter)

    def _begin_with(self, forecaster: Forecaster | None) -> None:
        """One that was told nothing yet."""
        self._use(forecaster)
        self._failed = False  # it raised since it was last fitted
        self._updated_at: float | None = None  # unix s of the newest arrivals that it knows
        self._history: Series | None = None  # not learned from yet
        self._since = math.inf  # unix s from which on there are arrivals, gaps of a history left out
        self._read = False  # a history is in use, or about to be
        self._due = math.inf  # unix s of the next fit
        self._lost = 0  # fits in a row
        self._joins: Joins | None = None  # whether the load joins on to the history, until that is known
        self.refused = False  # a history was, and nothing was learned from live load yet
        self._learned = not isinstance(forecaster, Studying)  # others say themselves when they are ready

    def _use(self, forecaster: Forecaster | None) -> None:
        self._forecaster = forecaster
        anything: object = forecaster
        self._judged = anything if isinstance(anything, Judged) else None  # once: the check asks for its reasons
        if self._lead is not None:
            self._aim(self._lead)

    def _run_by(self, fitter: Fitter) -> None:
        self._fitter = fitter
        self._run: FitRun | None = None
        self._begun = math.nan  # unix s
        self._meanwhile: list[Arrivals] = []  # since then

    @property
    def name(self) -> str:
        """Of the model, or of those of several that lead; empty where there is none."""
        if self._forecaster is None:
            return ""
        return getattr(self._forecaster, "leading", "") or self._forecaster.name

    def fitted_by(self, fitter: Fitter) -> None:
        """Have fits run by ``fitter`` from now on. A fit that runs is begun anew."""
        self._run_by(fitter)

    def __getstate__(self) -> dict[str, Any]:
        """Without the fitter, and without the fit that runs: see :meth:`fitted_by`."""
        gone = ("_fitter", "_run", "_begun", "_meanwhile")
        return {name: value for name, value in self.__dict__.items() if name not in gone}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self._run_by(InPlace())

    def aim(self, declared: float, lead_time: float) -> None:
        """Have models scored at ``lead_time`` (s), which was learned, where it is far from what they are scored at."""
        scored = declared if self._lead is None else self._lead
        if not scored / _MOVED <= lead_time <= scored * _MOVED:
            self._lead = lead_time
            self._aim(lead_time)

    def _aim(self, lead_time: float) -> None:
        aim = getattr(self._forecaster, "aim", None)
        if aim is not None:
            aim(lead_time)

    def fit(self, history: Series, now: float) -> None:
        """Learn from ``history``; what goes wrong leaves the plan without a forecast, or with the old one. One that
        cannot be this load's is not learned from, or, when that shows within an hour of load, is forgotten.
        """
        if self._forecaster is None:
            return
        self._mind_the_clock(now)
        ordered, joins = _looked_at(history)
        if not ordered:
            self.refused = not self._read
            return
        self._run = None  # a fit without it is of no use any more
        self._learn_from(history, now)
        self._joins = joins

    def update(self, arrivals: Arrivals) -> None:
        """Take in the newest arrivals, and learn anew when it is time."""
        if self._forecaster is None:
            return
        self._mind_the_clock(arrivals.end)
        self._take_over(arrivals.end)
        # Forecasters leave out what ends before what they know, after a clock that was set back.
        known = max(arrivals.end, self._updated_at or arrivals.end)
        outdated = self._outdated()
        try:
            self._forecaster.update(arrivals)
            self._updated_at = known
        except Exception:  # noqa: BLE001 - whatever a model does, the plan goes on without it
            self._failed = True
        if self._run is not None:
            self._meanwhile.append(arrivals)
        if self._since == math.inf:
            self._since, self._due = known, known + min(_YOUNG, self._refit)
        if self._outdated() and not outdated:
            self._due = known
        self._begin(known)
        # A planned decrease is no reason to doubt what came before it.
        joined = None if self._joins is None or self._planned("decrease_on") else self._joins.told(arrivals)
        if joined is not None:
            self._joins = None
            if not joined:
                self._forget(known)

    def _forget(self, now: float) -> None:
        """Learn from live load alone, from now on."""
        if self._blank is None:
            return
        self._begin_with(self._another())
        self._run_by(self._fitter)
        self.refused, self._read, self._since, self._due = True, False, now, now + min(_YOUNG, self._refit)

    def _another(self) -> Forecaster:
        """One that was told nothing yet."""
        made: Forecaster = pickle.loads(zlib.decompress(self._blank or b""))  # noqa: S301  our own bytes
        return made

    def _mind_the_clock(self, now: float) -> None:
        """Begin anew if what is known lies far ahead of ``now``: the clock was set back."""
        if self._blank is None or now >= self._newest - SET_BACK:
            self._newest = max(self._newest, now)
            return
        self._newest = now
        before = _until(now, self._forecaster)
        self._begin_with(self._another())
        self._run_by(self._fitter)
        if before is not None:
            self._learn_from(before, now)

    def _learn_from(self, history: Series, now: float) -> None:
        self._history, self._read, self._due = history, True, now
        self._since = now - float(np.count_nonzero(~np.isnan(history.rates))) * history.step
        self._begin(now)

    def _begin(self, now: float) -> None:
        """Begin a fit if one is due, none runs, and there is room for one."""
        if self._forecaster is None or self._run is not None or now < self._due:
            return
        if self._history is None and not isinstance(self._forecaster, Studying):
            self._due = math.inf
            return
        self._run = self._fitter.start(FitJob(self._of, self._forecaster, self._history))
        self._begun = now
        self._meanwhile = []
        self._take_over(now)

    def _take_over(self, now: float) -> None:
        """Go on with what a fit found, if it is over."""
        outcome = self._run.outcome if self._run is not None else None
        if outcome is None:
            return
        self._run, meanwhile = None, self._meanwhile
        self._meanwhile = []
        fitted, again = outcome.forecaster, outcome.again
        try:
            if fitted is not None and fitted is not self._forecaster:
                for arrivals in meanwhile:
                    fitted.update(arrivals)
        except Exception:  # noqa: BLE001 - as above
            fitted, again = None, False
        if fitted is None and again:  # lost on the way
            self._lost += 1
            self._due = now + min(_RETRY * 2.0 ** (self._lost - 1), self._refit)
            return
        # Of the young, who know more and more, the next comes when there is enough to learn from, or twice as much.
        known = self._begun - self._since
        self._due = self._begun + min(self._refit, _YOUNG - known if known < _YOUNG else known)
        self._history, self._lost = None, 0
        if fitted is None:
            self._failed = self._failed or not (outcome.too_little or self._ready())
        else:
            self._use(fitted)
            self._failed, self._learned, self.refused = False, True, False
            if self._outdated():  # since that fit began
                self._due = now

    def futures(self, now: float, until: float, reach: float = 0.0) -> Futures | None:
        """The sample paths from now on, as far as ``until`` s, and ``farther`` as far as ``reach`` s; None where none
        can be drawn, or none is worth it."""
        forecaster, age, reach = self._forecaster, self._age(now), max(until, reach)
        if forecaster is None or age is None or age > reach:  # so old, it has seen nothing of what is planned for
            return None
        step = forecaster.step
        steps = min(steps_for(until, age, step), MOST_STEPS)
        most = min(steps_for(reach, age, step), MOST_STEPS)
        if steps < most:  # what is said of whole minutes is the same however far the paths go
            minute = max(round(MINUTE / step), 1)
            steps = min(-(-steps // minute) * minute, most)
        farther = partial(self._drawn, forecaster, most, age) if steps < most else None
        return self._drawn(forecaster, steps, age, farther)

    def _age(self, now: float) -> float | None:
        """Seconds since the newest arrivals that are known; None where nobody is to ask for paths."""
        forecaster, updated = self._forecaster, self._updated_at
        if forecaster is None or self._failed or updated is None or not self._ready():
            return None
        if not (self._learned or self._planned("event_near")):  # what is planned need not be learned
            return None
        step = forecaster.step
        if not step > 0 or now < updated - step:  # the clock was set back: its paths begin in the future
            return None
        try:
            trusted = self._judged is None or self._judged.trusted
        except Exception:  # noqa: BLE001 - as above
            return None
        return max(now - updated, 0.0) if trusted else None

    def _drawn(
        self, forecaster: Forecaster, steps: int, age: float, farther: Callable[[], Futures | None] | None = None
    ) -> Futures | None:
        """Paths of so many steps; None where they cannot be drawn, which may be well again at the next tick."""
        try:
            rates = checked(forecaster.paths(steps, self._count, self._rng.again()), self._count, steps)
        except Exception:  # noqa: BLE001 - as above
            return None
        return Futures(rates, forecaster.step, age, farther)

    def notes(self, drawn: Futures | None) -> tuple[Reason, ...]:
        """What is to be said of the ``futures`` that were drawn."""
        told = {
            Reason.NO_FORECAST: drawn is None,
            Reason.EVENT_WITHOUT_SIZE: self._planned("sizeless"),
            Reason.HISTORY_REFUSED: drawn is None and self.refused,
            Reason.FORECAST_DEMOTED: drawn is None and self._demoted(),
        }
        return tuple(reason for reason, holds in told.items() if holds)

    def _planned(self, what: str) -> bool:
        """What is to be said of planned events by a forecaster that knows of any."""
        return bool(getattr(self._forecaster, what, False))

    def _demoted(self) -> bool:
        try:
            return self._learned and not self._failed and self._judged is not None and self._judged.demoted
        except Exception:  # noqa: BLE001 - as above
            return False

    def _outdated(self) -> bool:
        """Whether it says that it is to learn anew at once."""
        try:
            return bool(getattr(self._forecaster, "outdated", False))
        except Exception:  # noqa: BLE001 - as above
            return False

    def _ready(self) -> bool:
        try:
            return self._forecaster is not None and bool(self._forecaster.ready)
        except Exception:  # noqa: BLE001 - as above
            return False


def _looked_at(history: Series) -> tuple[bool, Joins | None]:
    """Whether a history is in order, and what tells whether live load joins on to it."""
    try:
        return in_order(history), Joins.on(history)
    except Exception:  # noqa: BLE001 - the fit says what is wrong with it
        return True, None


def _packed(forecaster: Forecaster | None) -> bytes | None:
    """As it was made, some kB; None where that cannot be kept."""
    try:
        return None if forecaster is None else zlib.compress(pickle.dumps(forecaster), 1)
    except Exception:  # noqa: BLE001 - as above
        return None


def _until(now: float, forecaster: object) -> Series | None:
    """The arrivals before ``now`` that a forecaster keeps; None where it knows of none, or keeps them by the clock of
    another zone, whose times are not those that it is to be fitted with.
    """
    calendar = getattr(forecaster, "calendar", None)
    if calendar is not None and calendar.time_zone != "UTC":
        return None
    try:
        kept: Series | None = forecaster.kept()  # type: ignore[attr-defined]
        if kept is None:
            return None
        rates = kept.rates[: max(math.floor((now - kept.start) / kept.step), 0)]
        return Series(kept.start, kept.step, rates) if np.isfinite(rates).any() else None
    except Exception:  # noqa: BLE001 - as above; not all keep any
        return None
