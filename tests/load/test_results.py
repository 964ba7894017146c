"""The results file: what was added is read, also while it grows; what is broken is named."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from forecasting.errors import BadSeries
from simulations.lab.results import ResultsFile, read_results


def test_rows_are_read_back_and_a_second_run_appends(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    for pod in ("a", "b"):
        results = ResultsFile(path)
        results.add(pod, 3, 17, 1_700_000_000.123, 1_700_000_001.5, 1_700_000_002.25)
        results.close()
    got = read_results(path)
    assert got.pod.tolist() == ["a", "b"]
    assert got.partition.tolist() == [3, 3]
    assert got.offset.tolist() == [17, 17]
    assert got.arrival.tolist() == [1_700_000_000.123] * 2
    assert (got.begun[0], got.finished[0]) == (1_700_000_001.5, 1_700_000_002.25)


def test_an_unfinished_line_is_left_for_later(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    results = ResultsFile(path)
    assert len(read_results(path).offset) == 0
    results.add("a", 0, 1, 1.0, 2.0, 3.0)
    results.flush()
    with path.open("a") as file:
        file.write("b,0,2,1.0,2")
    assert read_results(path).pod.tolist() == ["a"]
    results.close()
    results.flush()  # after the end: nothing to do


def test_many_threads_never_mix_their_rows(tmp_path: Path) -> None:
    results = ResultsFile(tmp_path / "results.csv")

    def add(pod: str) -> None:
        for offset in range(500):
            results.add(pod, 0, offset, 1.0, 2.0, 3.0)

    threads = [threading.Thread(target=add, args=(f"pod-{k}",)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.close()
    got = read_results(tmp_path / "results.csv")
    assert len(got.offset) == 4000
    for k in range(8):
        assert got.offset[got.pod == f"pod-{k}"].tolist() == list(range(500))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("", ":1: not a results file"),
        ("a,b\n", ":1: not a results file"),
        ("pod,partition,offset,arrival,begun,finished\np,0,1,2\n", ":2: 4 fields"),
        ("pod,partition,offset,arrival,begun,finished\np,0,x,1,2,3\n", ": a field is not a number"),
        ("pod,partition,offset,arrival,begun,finished\np,0,1,1,2,nan\n", ": a time is not finite"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, rows: str, said: str) -> None:
    path = tmp_path / "results.csv"
    path.write_text(rows)
    with pytest.raises(BadSeries) as refused:
        read_results(path)
    assert str(refused.value).startswith(f"{path}{said}")
