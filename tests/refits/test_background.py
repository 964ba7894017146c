"""A plan whose fits run elsewhere: the old model goes on, the new one misses nothing, what is lost is tried again."""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from forecasting.calendar import Calendar
from forecasting.calendar_time import LocalTime
from forecasting.fitting import Done, FitJob, Fitted, InPlace
from forecasting.forecaster import Paths
from forecasting.models.direct import Direct
from forecasting.series import Arrivals, Series
from scaler.plan.foresight import Foresight
from scaler.plan.observation import Freshness, GroupObservation, Reading
from scaler.plan.policy import PredictivePolicy
from scaler.plan.reasons import Reason
from tests.plan.loop import LAB, Loop, policy_for

STEP, REFIT = 15.0, 86_400.0
HISTORY = Series(0.0, STEP, np.ones(10))


class Later:
    """Fits copies when it is told to."""

    def __init__(self, room: int = 1) -> None:
        self.room = room
        self.begun: list[tuple[bytes, Run]] = []

    def start(self, job: FitJob) -> Run | None:
        if not self.room:
            return None
        self.begun.append((pickle.dumps(job), Run()))
        return self.begun[-1][1]

    def finish(self, outcome: Fitted | None = None) -> None:
        job, run = self.begun[-1]
        run.outcome = outcome or Fitted(pickle.loads(job)())


class Run:
    outcome: Fitted | None = None


class Model:
    """Notes what it is told; can be refitted."""

    name, step, ready = "model", STEP, True

    def __init__(self) -> None:
        self.fits: list[float] = []  # ends of what it learned from
        self.told: list[float] = []

    def fit(self, history: Series) -> None:
        self.fits.append(history.end)

    def update(self, arrivals: Arrivals) -> None:
        self.told.append(arrivals.end)

    def kept(self) -> Series:
        return Series(0.0, STEP, np.ones(round((self.told[-1]) / STEP)))

    def study(self, kept: Series) -> float:
        return kept.end

    def adopt(self, end: float) -> None:
        self.fits.append(end)

    def paths(self, steps: int, count: int, rng: np.random.Generator, out: Paths | None = None) -> Paths:
        return np.full((count, steps), 1.0, np.float32)


def made(fitter: object, refit: float = REFIT) -> Foresight:
    return Foresight(Model(), 10, 0, refit, fitter, "chat")


def feed(foresight: Foresight, start: float, count: int) -> float:
    for k in range(count):
        foresight.update(Arrivals(start + (k + 1) * STEP, STEP, 15.0))
    return start + count * STEP


def model(foresight: Foresight) -> Model:
    used = foresight._forecaster
    assert isinstance(used, Model)
    return used


def sees(foresight: Foresight, now: float) -> bool:
    return foresight.futures(now, 100.0) is not None


def test_nothing_is_foreseen_before_the_first_fit_has_ended() -> None:
    fitter = Later()
    foresight = made(fitter)
    feed(foresight, 0.0, 5)
    foresight.fit(HISTORY, 80.0)
    now = feed(foresight, 75.0, 3)
    assert not sees(foresight, now)
    fitter.finish()
    now = feed(foresight, now, 1)
    assert sees(foresight, now)


def test_paths_are_no_longer_than_the_machine_holds() -> None:
    """An objective of a week in steps of 100 ms would be six million steps a path."""
    foresight = made(InPlace())
    foresight.fit(HISTORY, 80.0)
    now = feed(foresight, 75.0, 3)
    drawn = foresight.futures(now, 7 * 86_400.0)
    assert drawn is not None
    assert drawn.rates.shape[1] <= 4000


def test_the_old_model_goes_on_and_the_new_one_is_told_what_came_meanwhile_once() -> None:
    fitter = Later()
    foresight = made(fitter, refit=600.0)
    foresight.fit(HISTORY, 150.0)
    fitter.finish()
    now = feed(foresight, 150.0, 40)
    first = model(foresight)
    assert len(fitter.begun) == 2, "a refit is due after 600 s"
    now = feed(foresight, now, 7)
    assert model(foresight) is first
    assert sees(foresight, now)
    fitter.finish()
    now = feed(foresight, now, 1)
    second = model(foresight)
    assert second is not first
    assert second.fits[-1] == pytest.approx(150.0 + 600.0)
    assert second.told == sorted(set(second.told))
    assert second.told[-8:] == [now - k * STEP for k in range(7, -1, -1)]
    assert first.told == second.told[:-1], "what it is not used for any more it is not told"
    feed(foresight, now, 30)
    assert len(fitter.begun) == 2, "600 s after the refit began is the next, not before"
    feed(foresight, now + 450.0, 5)
    assert len(fitter.begun) == 3


def test_without_room_it_is_asked_again() -> None:
    fitter = Later(room=0)
    foresight = made(fitter)
    foresight.fit(HISTORY, 150.0)
    now = feed(foresight, 150.0, 3)
    assert not fitter.begun
    fitter.room = 1
    now = feed(foresight, now, 1)
    fitter.finish()
    feed(foresight, now, 1)
    assert model(foresight).fits == [HISTORY.end]


def test_a_lost_fit_is_tried_again_later_and_later_with_the_same_history() -> None:
    fitter = Later()
    foresight = made(fitter)
    foresight.fit(HISTORY, 0.0)
    now, begun = 0.0, []
    for _ in range(4):
        fitter.finish(Fitted(None, "its process died", again=True))
        lost, many = now + STEP, len(fitter.begun)
        while len(fitter.begun) == many:
            now = feed(foresight, now, 1)
        begun.append(now - lost)
    assert begun == [60.0, 120.0, 240.0, 480.0]
    fitter.finish()
    feed(foresight, now, 1)
    assert model(foresight).fits == [HISTORY.end]


def test_a_refit_that_fails_leaves_what_was_learned_in_use() -> None:
    fitter = Later()
    foresight = made(fitter, refit=600.0)
    foresight.fit(HISTORY, 150.0)
    fitter.finish()
    now = feed(foresight, 150.0, 41)
    fitter.finish(Fitted(None, "a matrix is singular"))
    now = feed(foresight, now, 1)
    assert sees(foresight, now)
    feed(foresight, now, 30)
    assert len(fitter.begun) == 2, "not before it is due again"
    feed(foresight, now + 450.0, 12)
    assert len(fitter.begun) == 3


def test_a_newer_history_takes_the_place_of_a_fit_that_runs() -> None:
    fitter = Later()
    foresight = made(fitter)
    foresight.fit(HISTORY, 150.0)
    foresight.fit(Series(0.0, STEP, np.ones(20)), 300.0)
    fitter.begun[0][1].outcome = Fitted(Model())
    now = feed(foresight, 300.0, 2)
    assert not sees(foresight, now)
    fitter.finish()
    feed(foresight, now, 1)
    assert model(foresight).fits == [300.0]


def test_without_history_it_is_fitted_after_eight_hours_then_whenever_there_is_twice_as_much() -> None:
    fitter = Later()
    foresight = made(fitter)
    begun = []
    for k in range(1, round(4 * 86_400 / 300)):
        foresight.update(Arrivals(k * 300.0, 300.0, 300.0))
        if len(fitter.begun) > len(begun):
            begun.append(k * 300.0 / 3600)
            fitter.finish()
    assert begun == pytest.approx([8.0, 16.0, 32.0, 56.0, 80.0], abs=0.2)


BACK = 3_600.0  # s by which the clock was ahead


def test_a_clock_that_was_ahead_is_not_waited_for_when_it_is_set_back() -> None:
    fitter = Later()
    foresight = made(fitter)
    foresight.fit(HISTORY, 150.0)
    fitter.finish()
    now = feed(foresight, BACK, 10)
    assert sees(foresight, now)
    now = feed(foresight, now - BACK, 1)
    assert not sees(foresight, now), "what it knows lies ahead"
    assert pickle.loads(fitter.begun[-1][0]).history.end <= now
    fitter.finish()
    now = feed(foresight, now, 1)
    assert sees(foresight, now)
    again = model(foresight)
    assert max(again.told) == now
    assert max(again.fits) < now, "of what was learned by the wrong clock nothing is left"
    for _ in range(5):
        now = feed(foresight, now, 1)
        assert sees(foresight, now)


def test_the_history_that_is_read_again_takes_the_place_of_what_was_kept() -> None:
    fitter = Later()
    foresight = made(fitter)
    foresight.fit(Series(0.0, STEP, np.ones(300)), BACK)  # by the wrong clock, and not fitted yet
    foresight.fit(HISTORY, 150.0)
    fitter.finish()
    now = feed(foresight, 150.0, 1)
    assert sees(foresight, now)
    assert model(foresight).fits == [HISTORY.end]
    assert sees(foresight, feed(foresight, now, 30)), "and not as if a fit were due an hour later"


def test_a_clock_that_is_a_little_ahead_is_waited_for() -> None:
    fitter = Later()
    foresight = made(fitter)
    foresight.fit(HISTORY, 150.0)
    fitter.finish()
    now = feed(foresight, 150.0, 20)
    kept = model(foresight)
    now = feed(foresight, now - 240.0, 1)
    assert not sees(foresight, now)
    now = feed(foresight, now, 16)
    assert sees(foresight, now)
    assert model(foresight) is kept


def test_a_real_forecaster_goes_on_after_a_clock_was_set_back() -> None:
    past = Series(0.0, 60.0, np.full(2 * 1440, 10.0))
    foresight = Foresight(Direct(60.0, keep=3 * 86_400.0), 20, 0, 86_400.0, AtOnce(), "chat")
    foresight.fit(past, past.end)

    def see(start: float, minutes: int) -> float:
        for k in range(minutes):
            foresight.update(Arrivals(start + 60.0 * (k + 1), 60.0, 600.0))
        return start + 60.0 * minutes

    now = see(past.end + 86_400.0, 10)
    assert foresight.futures(now, 600.0) is not None
    now = see(past.end + 600.0, 3)
    drawn = foresight.futures(now, 600.0)
    assert drawn is not None
    assert drawn.age == 0.0
    assert drawn.rates.mean() == pytest.approx(10.0, rel=0.2)


def test_what_is_kept_by_another_zones_clock_is_not_taken_for_unix_time() -> None:
    tokyo = Calendar("Asia/Tokyo")
    past = Series(0.0, 60.0, np.full(2 * 1440, 10.0))
    foresight = Foresight(LocalTime(partial(Direct, 60.0, keep=3 * 86_400.0), tokyo), 20, 0, 86_400.0, AtOnce(), "chat")
    foresight.fit(past, past.end)
    ahead = past.end + 86_400.0
    foresight.update(Arrivals(ahead, 60.0, 600.0))
    assert foresight.futures(ahead, 600.0) is not None
    foresight.update(Arrivals(past.end + 600.0, 60.0, 600.0))
    assert foresight.futures(past.end + 600.0, 600.0) is None, "without a forecast until the history is read again"
    foresight.fit(past, past.end + 600.0)
    foresight.update(Arrivals(past.end + 660.0, 60.0, 600.0))
    assert foresight.futures(past.end + 660.0, 600.0) is not None


def test_a_snapshot_leaves_a_running_fit_out_and_it_is_begun_anew() -> None:
    fitter = Later()
    policy = PredictivePolicy([LAB], lambda s: Model(), fitter=fitter)
    tape: list[tuple[float, GroupObservation]] = []
    loop = Loop(LAB, policy_for(LAB, None), lambda t: 10.0, change=lambda t, o: tape.append((t, _one(o))) or o)
    loop.run(40)
    start, first = tape[0]
    past = Reading(HISTORY, start, Freshness.FRESH)
    policy.step(start, GroupObservation((_with(first, past),)))
    for t, observed in tape[1:5]:
        policy.step(t, observed)
    later = Later()
    restored = PredictivePolicy([LAB], lambda s: Model(), fitter=later)
    restored.restore(policy.snapshot())
    assert restored.snapshot() == policy.snapshot()
    t, observed = tape[5]
    assert Reason.NO_FORECAST in restored.step(t, observed).services[0].reasons
    assert len(later.begun) == 1
    later.finish()
    for t, observed in tape[6:9]:
        decision = restored.step(t, observed).services[0]
    assert Reason.NO_FORECAST not in decision.reasons
    assert len(fitter.begun) == 1


def _one(observed: object) -> GroupObservation:
    return GroupObservation((observed,))


def _with(observed: GroupObservation, past: Reading[Series]) -> object:
    return replace(observed.services[0], history=past)


class AtOnce:
    """Fits a copy, at once."""

    def start(self, job: FitJob) -> Done:
        return Done(Fitted(pickle.loads(pickle.dumps(job))()))


def test_a_copy_that_is_fitted_elsewhere_foresees_the_same() -> None:
    rng = np.random.default_rng(0)
    past = Series(0.0, 60.0, rng.poisson(600 + 500 * np.sin(np.arange(2 * 1440) / 229.0)) / 60.0)
    drawn = []
    for fitter in (InPlace(), AtOnce()):
        one = Foresight(Direct(60.0, keep=3 * 86_400.0), 50, 7, 3600.0, fitter, "chat")
        one.fit(past, past.end)
        for k in range(130):
            one.update(Arrivals(past.end + 60.0 * (k + 1), 60.0, 600.0 + k))
        futures = one.futures(past.end + 130 * 60.0, 600.0)
        assert futures is not None
        drawn.append(futures.rates)
    assert np.array_equal(*drawn)
