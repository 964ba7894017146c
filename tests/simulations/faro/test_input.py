"""The benchmark's files, what is wrong with broken ones, and arrivals as the artifact draws them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from forecasting.errors import BadSeries
from simulations.faro_input import Jobs, arrivals, faro_folder, published_mean, read_jobs, read_published

HAVE = pytest.mark.skipif(
    not (faro_folder() / "jobs.jsonl").is_file(), reason="the shared traces are not on this machine (LAGCAST_TRACES)"
)


def test_jobs_are_read(folder: Path) -> None:
    jobs = read_jobs(folder / "jobs.jsonl")
    assert jobs.names == tuple(f"job{k}" for k in range(10))
    assert jobs.counts.shape == (5, 10)
    assert jobs.counts[3].tolist() == [60, 70, 80, 90, 100, 110, 120, 130, 140, 150]


GOOD = '{"ts": 0, "counts": {"a": {"m": 3}}}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ": empty: there is no minute in it"),
        ("nonsense", ":1: a line is "),
        ('{"ts": 0}', ":1: a line is "),
        ('{"ts": 0, "counts": {"a": 3}}', ":1: a line is "),
        ('{"ts": 0, "counts": {}}', ":1: no jobs"),
        ('{"ts": 1, "counts": {"a": {"m": 3}}}', ":1: ts is 1; it must be 0"),
        (f"{GOOD}\n{GOOD}", ":2: ts is 0; it must be 1"),
        ('{"ts": 0, "counts": {"a": {"m": -3}}}', ":1: a has -3 requests; allowed: a whole number of at least 0"),
        ('{"ts": 0, "counts": {"a": {"m": 2.5}}}', ":1: a has 2.5 requests"),
        (f'{GOOD}\n{{"ts": 1, "counts": {{"b": {{"m": 1}}}}}}', ":2: jobs b; allowed: those of line 1, a"),
    ],
)
def test_broken_jobs_are_named_with_their_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_text(text)
    with pytest.raises(BadSeries) as refused:
        read_jobs(path)
    assert str(refused.value).startswith(f"{path}{said}")


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    for read in (read_jobs, read_published):
        with pytest.raises(BadSeries, match=f"{tmp_path}/none: cannot be read"):
            read(tmp_path / "none")


def test_broken_results_are_named_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "published.csv"
    path.write_text("kind,cpus,policy,path,viol_pct_requests,viol_pct_job_avg,avg_replicas\nx-sim,many,aiad,p,1,1,1\n")
    with pytest.raises(BadSeries, match=f"{path}:2: needs kind, cpus"):
        read_published(path)


def test_published_runs_are_read(folder: Path) -> None:
    published = read_published(folder / "published_results.csv")
    assert [(p.simulated, p.total, p.seed, p.replicas) for p in published] == [
        (True, 32, 7, None),
        (True, 32, 9, None),
        (False, 32, None, None),
    ]
    assert published_mean(published, "aiad", 32) == pytest.approx(0.15)
    assert published_mean(published, "aiad", 32, {9}) == pytest.approx(0.2)
    assert published_mean(published, "aiad", 36) is None
    assert published_mean(published, "faro", 32) is None


def test_each_minute_begins_with_a_request_and_keeps_its_count() -> None:
    jobs = Jobs(("a", "b"), np.array([[3, 500], [0, 700]]))
    a, b = arrivals(jobs, 24)
    assert (len(a), len(b)) == (3, 1200)
    assert (a[0], b[0]) == (0.0, 0.0)
    assert 60.0 in b
    assert (np.diff(b) >= 0).all()
    # Exponential gaps of mean 60/700 s: their standard deviation is their mean.
    late = b[(b >= 60.0) & (b < 120.0)]
    assert float(np.diff(late).std() / np.diff(late).mean()) == pytest.approx(1.0, abs=0.15)
    again = arrivals(jobs, 24)
    np.testing.assert_array_equal(b, again[1])
    assert not np.array_equal(b, arrivals(jobs, 32)[1])


def test_gaps_are_drawn_minute_by_minute_and_job_by_job() -> None:
    jobs = Jobs(("a", "b"), np.array([[2, 1], [2, 0]]))
    rng = np.random.default_rng(5)
    first, _, third = rng.exponential(30.0, 2), rng.exponential(60.0, 1), rng.exponential(30.0, 2)
    a, b = arrivals(jobs, 5)
    assert sorted([0.0, first[0], 60.0, 60.0 + third[0]]) == pytest.approx(a.tolist())
    assert b.tolist() == [0.0]


@HAVE
def test_the_real_files() -> None:
    jobs = read_jobs(faro_folder() / "jobs.jsonl")
    assert jobs.counts.shape == (360, 10)
    assert int(jobs.counts.sum()) == 2_675_770
    published = read_published(faro_folder() / "published_results.csv")
    assert published_mean(published, "aiad", 32) == pytest.approx(0.1106, abs=5e-5)
    assert published_mean(published, "aiad", 36) == pytest.approx(0.0832, abs=5e-5)
