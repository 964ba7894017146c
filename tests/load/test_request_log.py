"""Logs of requests: every row counts once, in any order and spelling of time; a broken row is named, never left out."""

from __future__ import annotations

import gzip
import json
import logging
import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.errors import BadSeries
from simulations.request_log import read_request_log

BEGIN = 1_700_000_000


def write(folder: Path, text: str, name: str = "requests.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_are_counted_in_any_order_and_twice_is_two(tmp_path: Path) -> None:
    path = write(tmp_path, f"model,timestamp\na,{BEGIN + 3.9}\nb,{BEGIN}\na,{BEGIN + 0.5}\na,{BEGIN + 0.5}\n")
    series = read_request_log(path)
    assert (series.start, series.step) == (BEGIN, 1.0)
    assert series.rates.tolist() == [3.0, 0.0, 0.0, 1.0]
    coarse = read_request_log(path, step=2.0)
    assert coarse.rates.tolist() == [1.5, 0.5]


@pytest.mark.parametrize("unit", [1, 1_000, 1_000_000, 1_000_000_000])
def test_units_of_unix_time_are_told_apart(tmp_path: Path, unit: int) -> None:
    rows = "\n".join(str((BEGIN + k) * unit) for k in (0, 2))
    assert read_request_log(write(tmp_path, f"time\n{rows}\n")).start == BEGIN
    assert read_request_log(write(tmp_path, f"time\n{rows}\n")).rates.tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("text", "unix"),
    [
        ("2023-11-16 18:15:46.6805900", datetime(2023, 11, 16, 18, 15, 46, tzinfo=UTC).timestamp()),
        ("2023-11-16T18:15:46Z", datetime(2023, 11, 16, 18, 15, 46, tzinfo=UTC).timestamp()),
        ("2023-11-16T18:15:46+02:00", datetime(2023, 11, 16, 16, 15, 46, tzinfo=UTC).timestamp()),
    ],
)
def test_iso_times_are_read_and_without_a_zone_are_utc(tmp_path: Path, text: str, unix: float) -> None:
    assert read_request_log(write(tmp_path, f"TIMESTAMP,tokens\n{text},5\n")).start == unix


def test_json_lines_and_gzip_are_read_and_the_column_can_be_named(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"id": k, "ts": BEGIN + k, "done": BEGIN + 50}) + "\n" for k in range(3))
    path = tmp_path / "requests.jsonl.gz"
    path.write_bytes(gzip.compress(rows.encode()))
    assert read_request_log(path).rates.tolist() == [1.0, 1.0, 1.0]
    assert read_request_log(path, column="done").start == BEGIN + 50


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1: empty"),
        ("time\n", ": empty: there is no request"),
        ("id,when\n1,2\n", ":1: no column that is the time of a request; say which: id, when"),
        ("time,ts\n1,2\n", ":1: several columns that may be the time"),
        ("time,id\n1,2\n3\n", ":3: 1 fields; the header has 2"),
        ("time,id\n1,2\n\n3,4\n", ":3: 0 fields"),
        ("time\n1\nx\n", ":3: time is 'x'; wanted is unix seconds, as in line 2"),
        ("time,id\n1,a\n,b\n", ":3: time is ''; wanted is unix seconds"),
        ("time\nyesterday\n", ":2: time is 'yesterday'; wanted is unix time or ISO 8601"),
        ("time\nnan\n", ":2: time is 'nan'"),
        ("time\n1\ninf\n", ":3: time is 'inf'"),
        (f"time\n{BEGIN}\n{BEGIN}000\n", f":3: time is '{BEGIN}000'; wanted is unix seconds, as in line 2 (this looks"),
        ("time\n2023-11-16T18:15:46\n2023-11-16T18:15:46Z\n", ":3: time is '2023-11-16T18:15:46Z'; wanted is ISO 8601"),
        ("time\n2023-11-16T18:15:46\n1700158546\n", ":3: time is '1700158546'; wanted is ISO 8601 without a zone"),
        ('time\n"1\n', ":2: not CSV"),
        (f"time\n1\n{BEGIN}\n{BEGIN + 1}\n", ":2: this time is 19676 days from the middle one"),
        ('{"ts": 1}\n{"ts": 1\n', ":2: not JSON"),
        ('{"ts": 1}\n[1]\n', ":2: found '[1]'; wanted is one object a line"),
        ('{"ts": 1}\n{"at": 1}\n', ":2: there is no 'ts'; there: at"),
        ('{"ts": true}\n', ":1: time is True"),
        ('{"ts": 1}\n{"ts": null}\n', ":2: time is None"),
        ('{"id": 1}\n', ":1: no column that is the time"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(BadSeries) as refused:
        read_request_log(path)
    assert str(refused.value).startswith(f"{path}{said}")


@pytest.mark.parametrize(("head", "row"), [("a,time\n", f"b,{BEGIN}\n"), ("", f'{{"time": {BEGIN}}}\n')])
@pytest.mark.parametrize("end", ["\n", "\n\n", " \n"])
def test_empty_lines_are_no_rows_and_may_be_at_the_end(tmp_path: Path, head: str, row: str, end: str) -> None:
    assert read_request_log(write(tmp_path, head + row + end)).rates.tolist() == [1.0]
    line = 3 if head else 2
    with pytest.raises(BadSeries, match=f":{line}: 0 fields, an empty line"):
        read_request_log(write(tmp_path, head + row + end + row))


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSeries, match=r":1: there is no column 'when'; there: time, id"):
        read_request_log(write(tmp_path, "time,id\n1,2\n"), column="when")


def test_silence_is_no_load_unless_it_is_said_to_be_a_gap(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, "time\n10.5\n12\n20\n")
    assert read_request_log(path).rates.tolist() == [1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    gap = read_request_log(path, silence=5.0).rates
    assert gap[[0, 1, 2, 10]].tolist() == [1, 0, 1, 1]
    assert np.isnan(gap[3:10]).all()
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        read_request_log(write(tmp_path, "time\n0\n7200\n"))
    assert "no request for 2.0 h" in caplog.text
    with pytest.raises(BadSeries, match="silence"):
        read_request_log(path, step=10.0, silence=5.0)


@settings(deadline=None, max_examples=40)
@given(
    times=st.lists(st.integers(0, 500_000), min_size=1, max_size=60),
    step=st.sampled_from([0.5, 1.0, 7.0]),
    order=st.randoms(use_true_random=False),
)
def test_no_request_is_lost(
    tmp_path_factory: pytest.TempPathFactory, times: list[int], step: float, order: object
) -> None:
    seconds = [t / 1000 for t in times]
    order.shuffle(seconds)  # type: ignore[attr-defined]
    path = write(tmp_path_factory.mktemp("log"), "ts\n" + "".join(f"{t}\n" for t in seconds))
    series = read_request_log(path, step=step)
    assert (series.rates * step).sum() == pytest.approx(len(times))
    for t in seconds:
        assert series.rates[math.floor(t / step) - round(series.start / step)] > 0
