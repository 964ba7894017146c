"""A fit that fails, explodes, hangs or has nothing to learn from becomes a reason; the level stays then."""

from __future__ import annotations

import math
import operator
import os
import pickle
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from timeit import timeit

import numpy as np
import pytest

from forecasting.errors import LibraryMissing
from forecasting.guarded import Deadline, Fallback, FitTimedOut, InThisProcess, Sample
from forecasting.innovations import Innovations, Offset, level_stays
from forecasting.models import library
from forecasting.models.auto_ets import AutoEts
from forecasting.models.ets import Ets
from forecasting.models.library import LibraryModel
from forecasting.models.naive import LevelStays, Naive
from forecasting.models.sarimax import Sarimax
from forecasting.series import Arrivals, Series
from forecasting.testing import seasonal_load
from forecasting.worker import Worker, WorkerEnded

STEP = 60.0
SEASON = 24


@dataclass
class Made:
    """A family that does as told."""

    do: object
    modules: tuple[str, ...] = ()

    def __call__(self, sample: Sample, deadline: Deadline) -> Innovations:
        return self.do(sample, deadline)


def raises(sample, deadline):
    raise np.linalg.LinAlgError("a matrix is singular")


def explodes(sample, deadline):
    """Grows by a tenth a step: nothing wrong at first."""
    one = np.ones(1)
    return Innovations(np.array([[1.1]]), one, one * 0, np.array([3.0]), sample.end)


def not_a_number(sample, deadline):
    return level_stays(np.nan, sample.end)


def explodes_on_what_came(sample, deadline):
    """Sound from where it was fitted, but each error comes back twice as large."""
    return Innovations(np.ones((1, 1)), np.ones(1), np.array([-3.0]), np.array([3.0]), sample.end)


def hangs(sample, deadline):
    while True:
        time.sleep(0.01)
        deadline()


def is_late(sample, deadline):
    time.sleep(0.12)
    return level_stays(3.0, sample.end)


def fitted(do, rates=None, limit=0.1) -> LibraryModel:
    model = LibraryModel(Made(do), STEP, own_step=STEP, guard=InThisProcess(limit))
    rates = seasonal_load(STEP, 5 * SEASON, SEASON, 1) if rates is None else rates
    model.fit(Series(0.0, STEP, rates))
    return model


@pytest.mark.parametrize(
    ("do", "reason", "words"),
    [
        (raises, Fallback.FIT_FAILED, "LinAlgError: a matrix is singular"),
        (explodes, Fallback.EXPLODED, "what came allows"),
        (explodes_on_what_came, Fallback.EXPLODED, "on newer steps"),
        (not_a_number, Fallback.EXPLODED, "not numbers"),
        (hangs, Fallback.TIMED_OUT, "longer than its 0.1 s"),
        (is_late, Fallback.TIMED_OUT, "longer than its 0.1 s"),
    ],
)
def test_a_bad_fit_has_a_reason_and_the_level_stays(do, reason, words):
    model = fitted(do)
    assert model.fallback is reason
    assert words in model.detail
    naive = Naive(STEP, own_step=STEP)
    naive.fit(Series(0.0, STEP, seasonal_load(STEP, 5 * SEASON, SEASON, 1)))
    assert naive.fallback is None
    for each in (model, naive):
        each.update(Arrivals(5 * SEASON * STEP + STEP, STEP, 33 * STEP))
    medians = [np.median(each.paths(6, 400, np.random.default_rng(0)), axis=0) for each in (model, naive)]
    assert medians[0] == pytest.approx(medians[1], rel=0.35)


def test_too_short_and_constant():
    assert fitted(LevelStays(), np.full(20, 3.0)).fallback is Fallback.TOO_SHORT
    assert fitted(LevelStays(), np.full(200, 3.0)).fallback is Fallback.CONSTANT
    assert Naive(STEP).fallback is Fallback.NOT_FITTED


def test_a_later_fit_recovers_and_may_fall_back_again():
    model = fitted(raises)
    model.family = Made(LevelStays())
    model.fit(Series(0.0, STEP, seasonal_load(STEP, 5 * SEASON, SEASON, 1)))
    assert (model.fallback, model.detail) == (None, "")
    model.family = Made(raises)
    model.fit(Series(0.0, STEP, seasonal_load(STEP, 5 * SEASON, SEASON, 1)))
    assert model.fallback is Fallback.FIT_FAILED


@pytest.mark.parametrize("make", [Ets, Sarimax])
def test_a_library_stops_at_its_deadline(make):
    """Their optimisers look at it in each iteration."""
    model = make(STEP, STEP * SEASON, guard=InThisProcess(1e-4))
    model.fit(Series(0.0, STEP, seasonal_load(STEP, 5 * SEASON, SEASON, 1)))
    assert model.fallback is Fallback.TIMED_OUT


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setattr(library.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LibraryMissing, match=r"auto-ets needs statsforecast.*lagcast\[models\]"):
        AutoEts(STEP)


# -- in a process of its own: tasks are the standard library's, so that it can import them --------------------------


LIMIT_OF = operator.attrgetter("limit")
DIE = partial(timeit, "os._exit(7)", "import os")


@pytest.fixture(scope="module")
def worker():
    worker = Worker(limit=5.0)
    yield worker
    worker.close()


def test_a_worker_answers_and_hands_over_what_was_raised(worker):
    assert worker.run(LIMIT_OF) == 5.0
    with pytest.raises(TypeError):
        worker.run(math.sqrt)  # of a deadline


def test_a_worker_is_stopped_in_the_middle_and_starts_again(worker, tmp_path):
    worker.run(LIMIT_OF)
    before, folder = worker._process.pid, Path(worker._folder.name)
    assert folder.is_dir()
    worker.limit = 0.3
    late = f"sleep 0.9; touch {tmp_path / 'late'}; sleep 60"
    began = time.monotonic()
    with pytest.raises(FitTimedOut, match=r"longer than 0.3 s and was stopped"):
        worker.run(partial(timeit, f"subprocess.run(['sh', '-c', '{late}'])", "import subprocess"))
    assert time.monotonic() - began < 3
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)
    assert not folder.exists()
    worker.limit = 5.0
    assert worker.run(LIMIT_OF) == 5.0
    time.sleep(max(1.2 - (time.monotonic() - began), 0))
    assert not (tmp_path / "late").exists(), "the program that the fit had started went on"


def test_a_worker_that_dies_is_an_error_and_starts_again(worker):
    with pytest.raises(WorkerEnded, match="ended with 7"):
        worker.run(DIE)
    assert worker.run(LIMIT_OF) == 5.0


def test_a_worker_ends_with_the_process_that_started_it(tmp_path):
    """Even when that is killed in the middle of a fit."""
    began, mark = tmp_path / "began", tmp_path / "late"
    program = """
import functools, sys, timeit
from forecasting.worker import Worker
steps = f"open({sys.argv[1]!r}, 'x'); time.sleep(1.6); open({sys.argv[2]!r}, 'x')"
Worker().run(functools.partial(timeit.timeit, steps, "import time"))
"""
    with subprocess.Popen([sys.executable, "-c", program, str(began), str(mark)]) as parent:
        limit = time.monotonic() + 30
        while not began.exists() and time.monotonic() < limit:
            time.sleep(0.01)
        assert began.exists()
        parent.kill()
    time.sleep(2)
    assert not mark.exists()


def test_a_model_fits_in_a_worker_as_it_does_here(worker):
    here, there = Naive(STEP, STEP * SEASON), Naive(STEP, STEP * SEASON, guard=worker)
    for model in (here, there):
        model.fit(Series(0.0, STEP, seasonal_load(STEP, 5 * SEASON, SEASON, 1)))
        assert model.fallback is None
    drawn = [model.paths(6, 50, np.random.default_rng(0)) for model in (here, there)]
    assert np.array_equal(*drawn)
    copy = pickle.loads(pickle.dumps(there))
    assert np.array_equal(drawn[0], copy.paths(6, 50, np.random.default_rng(0)))


def test_offset_of_one_step_and_of_many():
    offset = Offset(1.0, (np.arange(3.0), np.array([0.0, 10.0])), slope=0.5, since=4, reach=2)
    steps = np.arange(2, 9)
    # By hand at step 5: 1 + 5 % 3 + 10 + 0.5; at step 8, the line has stopped at step 6: 1 + 2 + 0 + 1.
    assert offset(steps)[[3, 6]] == pytest.approx([13.5, 4.0])
    assert offset(steps) == pytest.approx([offset.one(int(step)) for step in steps])
