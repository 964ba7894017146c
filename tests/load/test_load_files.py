"""Files of load are taken for what they are; one that is not what its name says is told."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.errors import BadSeries
from forecasting.series import check
from simulations.load_files import Form, form_of, read_load

ANSWER = {
    "status": "success",
    "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[60, "1"], [120, "2"]]}]},
}


@pytest.mark.parametrize(
    ("name", "text", "form"),
    [
        ("load__60s.csv", "t_s,value\n0,60\n", Form.TRACE),
        ("quoted__60s.csv", '"t_s","value"\n0,60\n', Form.TRACE),
        ("requests.csv", "id,time\n1,5\n", Form.REQUESTS),
        ("requests.log", '{"time": 5}\n', Form.REQUESTS),
        ("requests.jsonl", '{"time": 5}\n{"time": 6}\n', Form.REQUESTS),
        ("requests.jsonl", '{"time": 5, "status": 200, "data": "x"}\n', Form.REQUESTS),
        ("answer.json", json.dumps(ANSWER), Form.PROMETHEUS),
        ("answer.json", json.dumps(ANSWER, indent=1), Form.PROMETHEUS),
        ("recipe.yaml", "mean: 3\nlength: 10s\n", Form.GENERATOR),
    ],
)
def test_the_form_is_found(tmp_path: Path, name: str, text: str, form: Form) -> None:
    for path, content in ((tmp_path / name, text.encode()), (tmp_path / f"{name}.gz", gzip.compress(text.encode()))):
        path.write_bytes(content)
        assert form_of(path) is form
        assert len(read_load(str(path)).rates) > 0
        assert np.array_equal(read_load(str(path)).rates, read_load(str(path), form).rates)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "a__60s.csv",
            gzip.compress(b"t_s,value\n", mtime=0),
            ":1: the file is gzip, which its name does not say; call it a__",
        ),
        ("a__60s.csv.gz", b"t_s,value\n0,1\n", ":1: the name says gzip, and the file is not; call it a__60s.csv"),
        ("a.csv", b"PK\x03\x04....", ":1: the file is a zip archive"),
        ("a.csv", b"\x89PNG\r\n", ":1: the file is a picture (PNG)"),
        ("a__60s.csv", b"", ":1: the file is empty"),
        ("a.csv", b"PAR1....", ":1: the file is Parquet"),
        ("a.csv", "time\n1\n".encode("utf-16"), ":1: the file is UTF-16 text"),
        ("a.csv", b"time\n\xff\xff\n", ": cannot be read"),
        (
            "a__60s.csv",
            b"0,591\n60,607\n",
            ":1: the header is 0,591; of a file that is named NAME__STEPs.csv it must be",
        ),
        ("a.dat", b"hello\n", ":1: found 'hello'; it does not say what the file holds"),
        ("a.csv", b"timestamp,count\n1,5\n", ":1: found 'timestamp,count', which looks like counts of steps"),
        ("a.csv", b"time,requests,errors\n1,5,0\n", ":1: found 'time,requests,errors', which looks like counts of"),
        (
            "a.csv",
            b"t_s;value\n0;1\n",
            ":1: found 't_s;value', separated by semicolons; fields are separated by commas",
        ),
        ("a.json", b'{"a": 1,\n', ":2: not JSON"),
        ("a.json", b'{"a": 1}\n', ":1: no column that is the time of a request"),
        ("a.yaml", b"", ": empty: a recipe"),
    ],
)
def test_what_it_is_not_is_told(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadSeries) as refused:
        read_load(str(path))
    assert str(refused.value).startswith(f"{path}{said}")


def test_a_mark_of_byte_order_is_no_part_of_the_header(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbftime\n5\n")
    assert read_load(str(path)).start == 5.0


NAMES = ("a.csv", "a__60s.csv", "a.json", "a.jsonl", "a.yaml", "a__60s.csv.gz", "a.yaml.gz")
_TEXT = (b"time", b"t_s,value\n", b",", b"\n", b"0,1\n", b"60,1\n", b'{"status": "success", "data": ', b"mean: 1\n")
_MORE = (b"}", b"[", b'{"time": 1}\n', b"gaps: ", b"1e400", b"nan", b"1e17", b"2023-11-16", b"&a [*a]", b"\x00")
PIECES = st.lists(st.one_of(st.binary(max_size=6), st.sampled_from(_TEXT + _MORE)), max_size=8).map(b"".join)


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(NAMES), content=PIECES, form=st.sampled_from([None, *Form]), packed=st.booleans())
def test_nothing_but_a_load_or_a_refusal_comes_of_any_bytes(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes, form: Form | None, packed: bool
) -> None:
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(gzip.compress(content) if packed else content)
    try:
        check(read_load(str(path), form))
        said = str(path)
    except BadSeries as refused:
        said = str(refused)
    assert said.startswith(str(path))
