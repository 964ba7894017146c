"""Traces: what is read is what is in the file, broken rows are named, gaps stay gaps, arrivals are Poisson."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.errors import BadSeries
from forecasting.series import Series
from simulations.traces import (
    Pattern,
    Spike,
    arrival_times,
    arrivals_per_second,
    compressed,
    find_trace,
    rates_at,
    read_trace,
    scaled,
    traces_folder,
    without_gaps,
)


def write(folder: Path, text: str, name: str = "load__60s.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_counts_become_rates(tmp_path: Path) -> None:
    series = read_trace(write(tmp_path, "t_s,value\n0,60\n60,120\n120,0\n"))
    assert (series.start, series.step, series.end) == (0.0, 60.0, 180.0)
    assert series.rates.tolist() == [1.0, 2.0, 0.0]


def test_values_can_be_rates_and_the_shared_trace_of_rates_is_known(tmp_path: Path) -> None:
    text = "t_s,value\n0,60\n"
    assert read_trace(write(tmp_path, text), values="rates").rates.tolist() == [60.0]
    assert read_trace(write(tmp_path, text, "servegen_llm_large__600s.csv")).rates.tolist() == [60.0]


def test_gzip_is_read_and_a_cut_one_refused(tmp_path: Path) -> None:
    packed = gzip.compress(b"t_s,value\n120,60\n")
    path = tmp_path / "load__60s.csv.gz"
    path.write_bytes(packed)
    assert read_trace(path).start == 120.0
    path.write_bytes(packed[:-6])
    with pytest.raises(BadSeries, match=r"load__60s\.csv\.gz: cannot be read"):
        read_trace(path)


def test_a_missing_row_and_an_empty_value_stay_missing(tmp_path: Path) -> None:
    series = read_trace(write(tmp_path, "t_s,value\n0,60\n180,60\n240,\n300,nan\n360,0\n"))
    assert np.isnan(series.rates).tolist() == [False, True, True, False, True, True, False]
    assert series.rates[-1] == 0.0


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\n \n", "\n\r\n"])
def test_empty_lines_at_the_end_are_no_rows(tmp_path: Path, end: str) -> None:
    assert read_trace(write(tmp_path, f"t_s,value\n0,60\n60,120{end}")).rates.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1: the header is missing"),
        ("t_s,value\n", ": empty: there is no row"),
        ("time,count\n0,1\n", ":1: the header is time,count"),
        ("0,1\n60,1\n", ":1: the header is 0,1"),
        ("t_s,value\n0,1\n60,x\n", ":3: value is 'x', not a number"),
        ("t_s,value\n0,1\nx,1\n", ":3: t_s is 'x', not a number"),
        ("t_s,value\n0,1\n60,inf\n", ":3: value is 'inf'; it must be finite"),
        ("t_s,value\nnan,1\n", ":2: t_s is 'nan'; it must be finite"),
        ("t_s,value\n0,1\n60,-2\n", ":3: value is -2; a number of requests cannot be negative"),
        ("t_s,value\n0,1\n60,1\n60,1\n", ":4: t_s 60 is there twice"),
        ("t_s,value\n120,1\n180,1\n60,1\n", ":4: t_s 60 is before the row above"),
        ("t_s,value\n0,1\n60,1\n90,1\n", ":4: t_s 90 does not fit the step of 60 s"),
        ("t_s,value\n30,1\n", ":2: the first t_s is 30; it must be a multiple"),
        ("t_s,value\n0,1\n60\n", ":3: 1 fields"),
        ("t_s,value\n0,1\n\n60,1\n", ":3: 0 fields"),
        ("t_s;value\n0;1\n", ":1: found 't_s;value', separated by semicolons; fields are separated by commas"),
        ("t_s\tvalue\n0\t1\n", ":1: found 't_s\\tvalue', separated by tabs"),
        ("t_s,value\n0,1\n,\n", ":3: t_s is '', not a number"),
        ("t_s,value\n0,1,2\n", ":2: 3 fields"),
        ("t_s,value\n0,1\n60000000000000,1\n", ":3: t_s 60000000000000 is"),
        ('t_s,value\n0,"1\n', ": cannot be read"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(BadSeries) as refused:
        read_trace(path)
    assert str(refused.value).startswith(f"{path}{said}")


@pytest.mark.parametrize("name", ["load.csv", "load__s.csv", "load__0s.csv", "load__60s.txt", "load__1.5s.csv"])
def test_a_name_without_its_step_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadSeries, match="NAME__STEPs"):
        read_trace(write(tmp_path, "t_s,value\n0,1\n", name))


def test_bytes_that_are_no_text_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "load__60s.csv"
    path.write_bytes(b"t_s,value\n0,\xff\n")
    with pytest.raises(BadSeries, match="cannot be read"):
        read_trace(path)
    with pytest.raises(BadSeries, match="cannot be read"):
        read_trace(tmp_path / "other__60s.csv")


def test_a_trace_is_found_by_name_in_the_folder_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "t_s,value\n0,1\n")
    monkeypatch.setenv("LAGCAST_TRACES", str(tmp_path))
    assert traces_folder() == tmp_path
    assert find_trace("load") == path
    assert find_trace(str(path)) == path
    with pytest.raises(BadSeries, match=r"other: no such file.*there: load"):
        find_trace("other")


def test_rows_that_are_regularly_apart_are_a_wrong_step_and_not_gaps(tmp_path: Path) -> None:
    path = write(tmp_path, "t_s,value\n" + "".join(f"{300 * k},5\n" for k in range(5)))
    with pytest.raises(BadSeries, match=r"load__60s.csv:3: most rows are 300 s apart, .* name it __300s;"):
        read_trace(path)
    rows = [*range(0, 600, 60), *range(1200, 1500, 60), 1800, 2100, 2400]  # gaps, three of them as long
    read_trace(write(tmp_path, "t_s,value\n" + "".join(f"{at},5\n" for at in rows)))


@pytest.mark.skipif(not traces_folder().is_dir(), reason="the shared traces are not on this machine (LAGCAST_TRACES)")
def test_the_shared_traces_are_read() -> None:
    large = read_trace(find_trace("servegen_llm_large"))
    assert large.rates[0] == pytest.approx(212.78)
    crowd = read_trace(find_trace("worldcup98"))
    assert (crowd.step, len(crowd.rates)) == (60.0, 125_310)
    assert float(crowd.rates.max() / crowd.rates.mean()) > 20


def test_interpolation_is_between_the_centres() -> None:
    series = Series(100.0, 10.0, np.array([1.0, 3.0]))
    got = rates_at(series, np.array([99.9, 100.0, 105.0, 110.0, 112.5, 115.0, 119.9, 120.0]))
    assert np.isnan(got[[0, -1]]).all()
    assert got[1:-1].tolist() == pytest.approx([1.0, 1.0, 2.0, 2.5, 3.0, 3.0])


def test_interpolation_does_not_reach_over_a_gap() -> None:
    series = Series(0.0, 10.0, np.array([1.0, np.nan, 3.0]))
    got = rates_at(series, np.arange(30.0) + 0.5)
    assert got[:10].tolist() == [1.0] * 10
    assert np.isnan(got[10:20]).all()
    assert got[20:].tolist() == [3.0] * 10


def test_counts_per_second_are_poisson_and_missing_in_a_gap() -> None:
    rates = np.full(100, 50.0)
    rates[40:60] = np.nan
    counts = arrivals_per_second(Series(0.0, 60.0, rates), np.random.default_rng(1))
    assert np.isnan(counts[2400:3600]).all()
    known = counts[np.isfinite(counts)]
    assert len(known) == 4800
    # Four standard errors of the mean and of the variance of 4,800 Poisson draws.
    assert known.mean() == pytest.approx(50.0, abs=4 * math.sqrt(50 / 4800))
    assert known.var() == pytest.approx(50.0, abs=4 * 50 * math.sqrt(2 / 4800))


def test_arrival_times_are_ascending_follow_the_rate_and_are_the_seeds() -> None:
    series = Series(1000.0, 100.0, np.array([20.0, 20.0, 0.0, 40.0, 40.0]))
    once, again = (np.concatenate(list(arrival_times(series, np.random.default_rng(3), block=7.0))) for _ in range(2))
    assert once.tolist() == again.tolist()
    assert (np.diff(once) >= 0).all()
    assert once[0] >= 1000.0
    assert once[-1] < 1500.0
    # The rate falls to zero between the centres 1150 and 1250, and is 40 from 1350 on.
    for start, end, expected in ((1000, 1150, 3000), (1150, 1250, 1000), (1350, 1500, 6000)):
        seen = int(((once >= start) & (once < end)).sum())
        assert seen == pytest.approx(expected, abs=4 * math.sqrt(expected))


def test_gaps_between_arrivals_are_exponential() -> None:
    times = np.concatenate(list(arrival_times(Series(0.0, 600.0, np.array([30.0] * 10)), np.random.default_rng(4))))
    gaps = np.diff(times)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.02)


def test_steps_shorter_than_a_second_keep_their_shape() -> None:
    series = compressed(Series(0.0, 60.0, np.array([0.0] * 50 + [400.0] * 50)), speed=120.0)
    assert (series.step, series.end) == (0.5, 50.0)
    times = np.concatenate(list(arrival_times(series, np.random.default_rng(5))))
    assert float(times.min()) > 24.5
    assert len(times) == pytest.approx(10_000, abs=500)


@pytest.mark.parametrize("how", ["silent", "interpolate"])
def test_gaps_are_filled_only_as_chosen(how: str) -> None:
    series = Series(0.0, 1.0, np.array([2.0, np.nan, 4.0]))
    with pytest.raises(BadSeries, match="1 steps without a value, the first at 1 s"):
        without_gaps(series, "refuse")
    with pytest.raises(BadSeries, match=r"a gap at 1\.5 s"):
        list(arrival_times(Series(0.5, 1.0, series.rates), np.random.default_rng(0)))
    filled = without_gaps(series, how)  # type: ignore[arg-type]
    assert filled.rates.tolist() == ([2.0, 0.0, 4.0] if how == "silent" else [2.0, 3.0, 4.0])
    assert np.isnan(series.rates[1])


def test_scaling() -> None:
    series = Series(0.0, 1.0, np.array([1.0, np.nan, 3.0]))
    assert np.nanmean(scaled(series, mean=10.0).rates) == pytest.approx(10.0)
    assert scaled(series, scale=2.0).rates[2] == 6.0
    for zero in (np.zeros(3), np.full(3, np.nan)):
        with pytest.raises(BadSeries, match="without any request"):
            scaled(Series(0.0, 1.0, zero), mean=10.0)
    with pytest.raises(ValueError, match="either mean or scale"):
        scaled(series)
    with pytest.raises(BadSeries, match="speed"):
        compressed(series, 0.0)


def test_a_spike_returns() -> None:
    pattern = Pattern(10.0, period=1000.0, amplitude=0.0, spike=Spike(every=200.0, at=50.0, length=20.0, height=6.0))
    rates = pattern.make(1000.0, 1.0, seed=0).rates
    high = np.flatnonzero(rates > 30)
    assert high.tolist() == [start + k for start in (50, 250, 450, 650, 850) for k in range(20)]
    assert set(np.round(rates, 9)) == {10.0, 60.0}


def test_the_cycle_has_its_period_amplitude_and_mean() -> None:
    rates = Pattern(10.0, period=100.0, amplitude=0.5).make(300.0, 1.0, seed=0).rates
    assert rates.mean() == pytest.approx(10.0)
    assert (rates.min(), rates.max()) == pytest.approx((5.0, 15.0), rel=0.01)
    assert rates[:100] == pytest.approx(rates[100:200])


def test_noise_is_the_seeds_correlated_and_of_mean_one() -> None:
    pattern = Pattern(10.0, amplitude=0.0, noise=0.3, noise_time=20.0)
    rates = pattern.make(200_000.0, 1.0, seed=7).rates
    assert rates.tolist() == pattern.make(200_000.0, 1.0, seed=7).rates.tolist()
    assert rates[:500].tolist() == pattern.make(500.0, 1.0, seed=7).rates.tolist()
    assert rates.tolist() != pattern.make(200_000.0, 1.0, seed=8).rates.tolist()
    log = np.log(rates)
    assert rates.mean() == pytest.approx(10.0, rel=0.03)
    assert log.std() == pytest.approx(0.3, rel=0.05)
    assert np.corrcoef(log[:-20], log[20:])[0, 1] == pytest.approx(math.exp(-1), abs=0.08)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mean": 0.0},
        {"mean": 1.0, "period": 0.0},
        {"mean": 1.0, "amplitude": 1.1},
        {"mean": 1.0, "noise": -1.0},
        {"mean": 1.0, "spike": Spike(100.0, 0.0, 101.0, 2.0)},
        {"mean": 1.0, "spike": Spike(100.0, 100.0, 1.0, 2.0)},
        {"mean": 1.0, "spike": Spike(100.0, 0.0, 1.0, -2.0)},
    ],
)
def test_a_pattern_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadSeries):
        Pattern(**wrong)  # type: ignore[arg-type]


@settings(deadline=None)
@given(
    values=st.lists(st.one_of(st.none(), st.integers(0, 10_000)), min_size=1, max_size=50),
    step=st.integers(1, 3600),
    first=st.integers(0, 1000),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, values: list[int | None], step: int, first: int
) -> None:
    rows = [f"{(first + k) * step},{'' if v is None else v}" for k, v in enumerate(values)]
    path = write(tmp_path_factory.mktemp("trace"), "t_s,value\n" + "\n".join(rows) + "\n", f"t__{step}s.csv")
    series = read_trace(path)
    assert series.start == first * step
    expected = [math.nan if v is None else v / step for v in values]
    np.testing.assert_allclose(series.rates, expected)
