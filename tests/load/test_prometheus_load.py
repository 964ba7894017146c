"""Range data of Prometheus, from a file and over HTTP: samples at their steps, what is missing stays missing."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from forecasting.errors import BadSeries
from scaler.errors import LagcastError
from simulations import prometheus_load
from simulations.prometheus_load import query_range, read_answer


def answer(*values: Any, **more: Any) -> dict[str, Any]:
    return {
        "status": "success",
        "data": {"resultType": "matrix", "result": [{"metric": {}, "values": list(values)}]},
        **more,
    }


def write(folder: Path, document: Any) -> Path:
    path = folder / "answer.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


def test_a_sample_is_the_rate_of_the_step_that_ends_at_it(tmp_path: Path) -> None:
    series = read_answer(write(tmp_path, answer([600, "1.5"], [660, "2"], [720, "NaN"], [840, "0"])))
    assert (series.start, series.step, series.end) == (540.0, 60.0, 840.0)
    np.testing.assert_array_equal(series.rates, [1.5, 2.0, np.nan, np.nan, 0.0])


def test_samples_that_are_regularly_apart_are_of_mixed_steps(tmp_path: Path) -> None:
    path = write(tmp_path, answer(*([at, "1"] for at in (300, 360, 600, 900, 1200, 1500))))
    with pytest.raises(BadSeries, match=r"values\[3\]: most samples are 300 s apart, some 60 s"):
        read_answer(path)


def test_a_step_may_be_given_and_a_grid_may_begin_anywhere(tmp_path: Path) -> None:
    path = write(tmp_path, answer([610.001, "1"], [730, "2"]))
    series = read_answer(path, step=60.0)
    assert (series.start, len(series.rates)) == (540.0, 3)
    assert read_answer(write(tmp_path, answer([610, "1"], [730, "2"]))).step == 120.0


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ('{"status":\n"succ', ":2: not JSON"),
        ([], ":1: not an answer of Prometheus"),
        ({"status": "error", "error": "bad query"}, ": Prometheus answered with status 'error': bad query"),
        (
            {"status": "success", "data": {"resultType": "vector", "result": []}},
            ": data.resultType: found 'vector'; allowed: 'matrix'",
        ),
        ({"status": "success", "data": {"resultType": "matrix", "result": []}}, ": data.result: found no series"),
        (
            {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {"a": "1"}}, {"metric": {}}]}},
            ': data.result: found 2 series, such as {"a": "1"} and {}; allowed: one',
        ),
        (answer(), ": data.result[0].values: found no samples"),
        (answer([60, "1"]), ": data.result[0].values: found one sample"),
        (answer([60, "1"], [60, "1"]), ": data.result[0].values[1]: time 60 is there twice"),
        (answer([60, "1"], [30, "1"]), ": data.result[0].values[1]: time 30 is before the one above"),
        (answer([60, "1"], [120, "1"], [200, "1"]), ": data.result[0].values[2]: time 200 does not fit the step of 60"),
        (answer([60, "1"], [120, "-1"]), ": data.result[0].values[1]: the value is '-1'"),
        (answer([60, "1"], [120, "+Inf"]), ": data.result[0].values[1]: the value is '+Inf'"),
        (answer([60, "1"], [120, "x"]), ': data.result[0].values[1]: found [120, "x"]'),
        (answer([60, "1"], ["NaN", "1"]), ": data.result[0].values[1]: the time is 'NaN'"),
        (answer([60, "1"], [120]), ": data.result[0].values[1]: found [120]"),
        (answer([0, "1"], [1, "1"], [10**12, "1"]), ": data.result[0].values: found 1000000000001 steps of 1 s"),
    ],
)
def test_an_answer_that_cannot_be_is_named(tmp_path: Path, document: Any, said: str) -> None:
    path = write(tmp_path, document)
    with pytest.raises(BadSeries) as refused:
        read_answer(path)
    assert str(refused.value).startswith(f"{path}{said}")


Serve = Callable[[Callable[[dict[str, list[str]]], tuple[int, Any]]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server on loopback that answers /api/v1/query_range with (status, document) of the parameters."""
    servers: list[ThreadingHTTPServer] = []

    def start(respond: Callable[[dict[str, list[str]]], tuple[int, Any]]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                assert parts.path == "/api/v1/query_range"
                code, document = respond(parse_qs(parts.query))
                body = (document if isinstance(document, str) else json.dumps(document)).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_server_is_asked_in_parts_for_whole_steps(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus_load, "MOST_SAMPLES", 3)
    asked: list[tuple[str, int, int, str]] = []

    def respond(query: dict[str, list[str]]) -> tuple[int, Any]:
        start, end = int(query["start"][0]), int(query["end"][0])
        asked.append((query["query"][0], start, end, query["step"][0]))
        values = [[t, str(t / 60)] for t in range(start, end + 1, 60) if t != 360]
        return 200, answer(*values)

    series = query_range(serve(respond), "sum(rate(x[1m]))", 130.0, 599.0, 60.0)
    assert asked == [("sum(rate(x[1m]))", 240, 360, "60s"), ("sum(rate(x[1m]))", 420, 540, "60s")]
    assert (series.start, series.end) == (180.0, 540.0)
    np.testing.assert_array_equal(series.rates, [4, 5, np.nan, 7, 8, 9])


def test_what_a_server_says_is_told_and_a_password_is_not(serve: Serve) -> None:
    url = serve(lambda _: (400, {"status": "error", "error": "parse error"})).replace("//", "//user:secret@")
    with pytest.raises(LagcastError, match=r"refuses the query: .*400.*parse error.*check --query") as refused:
        query_range(url, "sum(", 0, 600, 60)
    assert "secret" not in str(refused.value)
    with pytest.raises(LagcastError, match=r"cannot be asked .*check the URL"):
        query_range(serve(lambda _: (200, "hello")), "x", 0, 600, 60)
    with pytest.raises(BadSeries, match="no sample for 'x'"):
        query_range(serve(lambda _: (200, {"status": "success", "data": {"result": []}})), "x", 0, 600, 60)
    with pytest.raises(BadSeries, match="found 2 series"):
        query_range(
            serve(lambda _: (200, {"status": "success", "data": {"result": [{"metric": {}}] * 2}})), "x", 0, 600, 60
        )


def test_nobody_there_and_a_range_that_cannot_be(serve: Serve) -> None:
    with pytest.raises(LagcastError, match="cannot be asked"):
        query_range("http://127.0.0.1:1", "x", 0, 600, 60)
    for start, end, step in ((0, 30, 60), (600, 0, 60), (0, 600, 0.5)):
        with pytest.raises(BadSeries, match=r"found .*; allowed"):
            query_range("http://127.0.0.1:1", "x", start, end, step)
