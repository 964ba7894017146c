"""Irregular updates become regular steps; series change their step; what was not seen stays missing."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.errors import BadSeries
from forecasting.series import Arrivals, Recorder, Series, resample

NAN = math.nan


def rates_of(recorder: Recorder) -> list[float]:
    return recorder.series().rates.tolist()


def test_updates_within_a_step_add_up():
    recorder = Recorder(60.0, 10)
    for end in (20.0, 40.0, 60.0):
        closed = recorder.update(Arrivals(end, 20.0, 10))
    assert list(closed) == [0]
    assert rates_of(recorder) == [pytest.approx(0.5)]
    assert recorder.series().start == 0


def test_a_step_is_complete_when_time_passes_its_end():
    recorder = Recorder(60.0, 10)
    assert list(recorder.update(Arrivals(59.0, 59.0, 59))) == []
    assert list(recorder.update(Arrivals(61.0, 2.0, 2))) == [0]
    assert rates_of(recorder) == [pytest.approx(1.0)]


def test_a_long_update_is_spread_evenly_over_the_steps_it_covers():
    recorder = Recorder(10.0, 100)
    recorder.update(Arrivals(10.0, 10.0, 0))
    assert list(recorder.update(Arrivals(55.0, 45.0, 90))) == [1, 2, 3, 4]
    assert rates_of(recorder) == [0, 2, 2, 2, 2]
    recorder.update(Arrivals(60.0, 5.0, 0))
    assert rates_of(recorder)[-1] == pytest.approx(1.0)


def test_a_hole_is_missing_not_zero():
    recorder = Recorder(10.0, 100)
    recorder.update(Arrivals(10.0, 10.0, 5))
    recorder.update(Arrivals(50.0, 10.0, 5))
    assert rates_of(recorder) == pytest.approx([0.5, NAN, NAN, NAN, 0.5], nan_ok=True)


@pytest.mark.parametrize(("seen", "known"), [(6.0, True), (5.0, True), (4.0, False)])
def test_a_step_of_which_less_than_half_was_seen_is_missing(seen, known):
    recorder = Recorder(10.0, 100)
    recorder.update(Arrivals(10.0, seen, 3 * seen))
    assert rates_of(recorder) == pytest.approx([3.0 if known else NAN], nan_ok=True)


def test_what_is_known_already_is_left_out():
    recorder = Recorder(10.0, 100)
    recorder.update(Arrivals(10.0, 10.0, 10))
    recorder.update(Arrivals(20.0, 20.0, 40))  # half of it lies before the newest end
    assert rates_of(recorder) == [1, 2]
    assert list(recorder.update(Arrivals(15.0, 5.0, 1e6))) == []
    assert list(recorder.update(Arrivals(20.0, 5.0, 1e6))) == []
    assert rates_of(recorder) == [1, 2]


def test_memory_is_bounded_and_holds_the_newest():
    recorder = Recorder(1.0, 5)
    for k in range(100):
        recorder.update(Arrivals(k + 1.0, 1.0, k))
    assert rates_of(recorder) == [96, 97, 98, 99]
    assert recorder.series().start == 96
    assert math.isnan(recorder.rate(3))
    recorder.update(Arrivals(1e9, 1.0, 7))  # far ahead: nothing old is left
    assert np.isnan(recorder.series().rates[:-1]).all()
    recorder.update(Arrivals(1e9 + 1e6, 1e6, 2e6))  # longer than the ring
    assert set(rates_of(recorder)) == {2.0}


@pytest.mark.parametrize(
    "wrong",
    [
        Arrivals(10.0, 0.0, 1),
        Arrivals(10.0, -1.0, 1),
        Arrivals(10.0, 1.0, -1),
        Arrivals(10.0, 1.0, NAN),
        Arrivals(NAN, 1.0, 1),
        Arrivals(10.0, math.inf, 1),
    ],
)
def test_a_count_that_cannot_be_is_refused_and_changes_nothing(wrong):
    recorder = Recorder(10.0, 5)
    recorder.update(Arrivals(10.0, 10.0, 5))
    with pytest.raises(BadSeries, match="Arrivals"):
        recorder.update(wrong)
    assert rates_of(recorder) == [0.5]


def test_an_update_costs_the_same_whatever_is_kept():
    def each(capacity: int) -> float:
        recorder = Recorder(1.0, capacity)
        best = math.inf
        for block in range(10):
            began = time.process_time()
            for k in range(200):
                recorder.update(Arrivals(block * 200 + k + 1.0, 1.0, 1))
            best = min(best, (time.process_time() - began) / 200)
        return best

    assert each(100_000) < 10 * each(100)


@given(
    pieces=st.lists(
        st.tuples(st.floats(0.05, 40), st.floats(0, 25), st.floats(0, 1e6), st.booleans()), min_size=1, max_size=30
    ),
    step=st.sampled_from([0.5, 1.0, 7.0, 60.0]),
    start=st.floats(0, 2e9),
)
def test_counts_are_kept(pieces, step, start):
    """Without holes, the complete steps and the open one hold every request."""
    recorder = Recorder(step, 5000)
    end, total, whole = start, 0.0, True
    for seconds, hole, count, has_hole in pieces:
        if has_hole and hole > 0.01:
            end += hole
            whole = False
        end += seconds
        total += count
        recorder.update(Arrivals(end, seconds, count))
    rates = recorder.series().rates
    assert (rates[~np.isnan(rates)] >= 0).all()
    assert sum(recorder._counts) == pytest.approx(total, rel=1e-6, abs=1e-6)
    if whole:
        assert not np.isnan(rates[1:]).any()


def series(rates: list[float], step: float = 60.0, start: float = 0.0) -> Series:
    return Series(start, step, np.array(rates, dtype=np.float64))


def test_coarser_steps_are_means_of_what_is_known():
    coarse = resample(series([1, 3, NAN, 5, NAN, NAN]), 120.0)
    assert coarse.rates == pytest.approx([2, 5, NAN], nan_ok=True)
    assert (coarse.start, coarse.step, coarse.end) == (0, 120, 360)


def test_a_coarse_step_of_which_less_than_half_is_known_is_missing():
    assert resample(series([1, NAN, NAN]), 180.0).rates == pytest.approx([NAN], nan_ok=True)
    assert resample(series([1, 1, NAN]), 180.0).rates == pytest.approx([1.0])


def test_finer_steps_repeat():
    assert resample(series([1, NAN, 4]), 30.0).rates == pytest.approx([1, 1, NAN, NAN, 4, 4], nan_ok=True)


def test_finer_steps_lie_on_the_line_through_the_centres():
    fine = resample(series([2, 4, 8, 8]), 15.0, "linear")
    assert fine.rates == pytest.approx([2, 2, 2.25, 2.75, 3.25, 3.75, 4.5, 5.5, 6.5, 7.5, 8, 8, 8, 8, 8, 8]), (
        "every one the line's mean over it"
    )
    assert fine.rates.mean() == pytest.approx(5.5), "the total is kept"


def test_no_line_is_drawn_over_a_gap():
    fine = resample(series([2, NAN, 8, 4]), 30.0, "linear")
    assert fine.rates == pytest.approx([2, 2, NAN, NAN, 8, 7, 5, 4], nan_ok=True)


def test_steps_that_are_no_multiple_of_each_other():
    odd = resample(series([1, 1, 4, 4], step=3.0), 2.0)
    assert odd.rates == pytest.approx([1, 1, 1, 4, 4, 4])
    assert resample(series([1, 4], step=3.0), 2.0).rates == pytest.approx([1, 2.5, 4])


def test_the_new_grid_begins_at_a_multiple_of_the_step():
    late = resample(series([2, 2, 2], start=60.0), 120.0)
    assert late.start == 0
    assert late.rates == pytest.approx([2, 2])


def test_the_same_step_is_a_copy():
    first = series([1, 2])
    same = resample(first, 60.0)
    same.rates[0] = 9
    assert first.rates[0] == 1


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (series([1, -1]), r"rates\[1\]"),
        (series([math.inf]), r"rates\[0\]"),
        (series([1], step=0.0), "step"),
        (series([1], start=NAN), "start"),
        (Series(0.0, 1.0, np.ones((2, 2))), "shape"),
    ],
)
def test_a_series_that_cannot_be_is_refused_by_field(wrong, named):
    with pytest.raises(BadSeries, match=named):
        resample(wrong, 30.0)


@given(
    rates=st.lists(st.one_of(st.just(NAN), st.floats(0, 1e6)), min_size=1, max_size=40),
    step=st.sampled_from([1.0, 15.0, 60.0, 300.0]),
    new=st.sampled_from([1.0, 4.0, 15.0, 45.0, 60.0, 100.0, 600.0]),
    first=st.integers(0, 30_000_000),
    within=st.sampled_from(["even", "linear"]),
)
def test_resampling_invents_nothing(rates, step, new, first, within):
    old = series(rates, step, first * step)
    out = resample(old, new, within)
    assert out.start <= old.start + 1e-3
    assert out.end >= old.end - 1e-3
    known = out.rates[~np.isnan(out.rates)]
    assert (known >= 0).all()
    if np.isnan(rates).all():
        assert not len(known)
    elif len(known):
        assert known.max() <= 2 * np.nanmax(rates) * (1 + 1e-6) + 1e-6
    if not np.isnan(rates).any() and old.step % new == 0:
        assert out.rates.mean() == pytest.approx(np.mean(rates), rel=1e-6, abs=1e-6)
