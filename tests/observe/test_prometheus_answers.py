"""What the Prometheus adapter makes of servers that misbehave, over loopback."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scaler.observe.ports import LatencyQuery, Served
from scaler.observe.prometheus import PrometheusLatency, promql, read
from scaler.plan.observation import Freshness, LatencySample, Reading
from scaler.plan.reasons import Reason

QUERY = LatencyQuery("inference_latency_seconds", 'app="chat"', 60.0)
GOOD = {"p50": "0.2", "p95": "0.4", "p99": "0.5", "count": "10", "sum": "2.5", "age": "1.5"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    code = 200
    body = b""
    delay = 0.0
    asked = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        self.server.asked += 1
        time.sleep(self.server.delay)
        self.send_response(self.server.code)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *args: object) -> None:
        """Silent."""


def vector(values: dict[str, str]) -> bytes:
    result = [{"metric": {"part": part}, "value": [1.0, text]} for part, text in values.items()]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: _Server, timeout: float = 2.0, user: str = ""):
    source = PrometheusLatency(f"http://{user}127.0.0.1:{server.server_port}/", timeout)
    try:
        return source.sample(1000.0, [QUERY])[QUERY]
    finally:
        source.close()


def test_a_good_answer(server: _Server) -> None:
    server.body = vector(GOOD)
    reading = ask(server)
    assert reading.fresh
    assert reading.time == 998.5
    value = reading.value
    assert value is not None
    assert (value.p50, value.p95, value.p99, value.count, value.sum) == (0.2, 0.4, 0.5, 10.0, 2.5)
    assert server.asked == 1


@pytest.mark.parametrize(
    ("code", "body", "reason", "says"),
    [
        (400, b'{"status":"error","error":"parse error"}', Reason.INPUT_ERROR, "parse error"),
        (401, b"", Reason.INPUT_ERROR, "credentials"),
        (403, b"", Reason.INPUT_ERROR, "credentials"),
        (404, b"no such page", Reason.PROMETHEUS_UNREACHABLE, "404"),
        (503, b"starting", Reason.PROMETHEUS_UNREACHABLE, "503"),
        (200, b"<html>log in</html>", Reason.PROMETHEUS_UNREACHABLE, "not as Prometheus"),
        (200, b"{}", Reason.PROMETHEUS_UNREACHABLE, "not as Prometheus"),
        (200, b'{"data":{"result":[{"metric":{}}]}}', Reason.PROMETHEUS_UNREACHABLE, "not as Prometheus"),
    ],
)
def test_an_answer_that_is_none(server: _Server, code: int, body: bytes, reason: Reason, says: str) -> None:
    server.code, server.body = code, body
    reading = ask(server)
    assert reading.freshness is Freshness.ERROR
    assert reading.reason is reason
    assert reading.value is None
    assert says in reading.detail
    assert server.asked == 1, "a tick asks again anyway"


@pytest.mark.slow
def test_a_server_that_hangs_costs_the_time_limit_and_no_more_threads(server: _Server) -> None:
    server.delay, server.body = 1.0, vector(GOOD)
    source = PrometheusLatency(f"http://127.0.0.1:{server.server_port}", 0.2)
    many = [LatencyQuery("m", f'app="{k}"', 60.0) for k in range(20)]
    try:
        for _ in range(3):
            begun = time.monotonic()
            found = source.sample(1000.0, many)
            assert time.monotonic() - begun < 0.6
            assert {r.reason for r in found.values()} == {Reason.PROMETHEUS_UNREACHABLE}
        assert sum(t.name.startswith("prometheus") for t in threading.enumerate()) <= 4
        server.delay = 0.0
        time.sleep(0.3)
        assert source.sample(1000.0, many[:1])[many[0]].fresh
    finally:
        source.close()


def test_nobody_listens() -> None:
    source = PrometheusLatency("http://127.0.0.1:9", 2.0)
    begun = time.monotonic()
    reading = source.sample(1000.0, [QUERY])[QUERY]
    source.close()
    assert time.monotonic() - begun < 1.0
    assert reading.reason is Reason.PROMETHEUS_UNREACHABLE
    assert "http://127.0.0.1:9" in reading.detail


def test_a_password_in_the_url_is_never_told(server: _Server) -> None:
    for server.code in (200, 401, 503):
        reading = ask(server, user="anna:hunter2@")
        assert reading.detail
        assert "hunter2" not in reading.detail
        assert "anna" not in reading.detail


@pytest.mark.parametrize(
    ("change", "freshness", "reason"),
    [
        ({"p50": float("nan"), "p95": float("inf"), "p99": float("nan"), "count": 0.0, "sum": 0.0}, "fresh", None),
        ({"sum": float("nan")}, "error", Reason.METRIC_INVALID),
        ({"count": float("inf")}, "error", Reason.METRIC_INVALID),
        ({"sum": -0.1}, "error", Reason.METRIC_INVALID),
        ({"p50": -1.0}, "error", Reason.METRIC_INVALID),
        ({"age": 61.0}, "stale", Reason.INPUT_STALE),
        ({"age": -0.5}, "fresh", None),  # clocks of targets and server differ a little
    ],
)
def test_what_numbers_mean(change: dict[str, float], freshness: str, reason: Reason | None) -> None:
    values = {part: float(text) for part, text in GOOD.items()} | change
    reading = read(1000.0, QUERY, values, 60.0, "here")
    assert reading.freshness == freshness
    assert reading.reason is reason
    assert (reading.value is None) == (freshness == "error")
    if reading.value is not None and change.get("count") == 0.0:
        assert (reading.value.p50, reading.value.p95, reading.value.p99, reading.value.count) == (None, None, None, 0.0)


def test_a_source_without_buckets_lacks_quantiles_only() -> None:
    reading = read(1000.0, QUERY, {"count": 10.0, "sum": 2.5, "age": 1.0}, 60.0, "here")
    assert reading.fresh
    assert reading.value is not None
    assert (reading.value.p50, reading.value.p99, reading.value.count) == (None, None, 10.0)


def test_too_few_samples_and_no_series_are_absent() -> None:
    for values in ({"age": 1.0}, {}):
        reading = read(1000.0, QUERY, values, 60.0, "here")
        assert reading.freshness is Freshness.ABSENT
        assert reading.reason is Reason.INPUT_ABSENT


def test_windows_are_written_in_milliseconds() -> None:
    assert "[1500ms]" in promql(LatencyQuery("m", "", 1.5), 60.0)


def test_asking_imports_no_data_frames() -> None:
    code = (
        "import sys; from scaler.observe.prometheus import PrometheusLatency;"
        "from scaler.observe.ports import LatencyQuery;"
        "assert 'requests' not in sys.modules, 'requests is imported before it is used';"
        "s = PrometheusLatency('http://127.0.0.1:9', 2.0); s.sample(0.0, [LatencyQuery('m', '', 60.0)]); s.close();"
        "heavy = {'pandas', 'matplotlib', 'dateparser'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def served(server: _Server, timeout: float = 2.0) -> object:
    source = PrometheusLatency(f"http://127.0.0.1:{server.server_port}/", timeout)
    try:
        return source.served(QUERY, ["a", "b"], 240.0)
    finally:
        source.close()


def test_what_pods_served(server: _Server) -> None:
    result = [{"metric": {"pod": "a"}, "values": [[10.0, "1"], [25.0, "4"]]}]
    server.body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()
    assert served(server) == {"a": [Served(10.0, 1.0), Served(25.0, 4.0)]}


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (500, b""),
        (400, b"bad"),
        (200, b"<html>"),
        (200, b"{}"),
        (200, b'{"data": {"result": [{"metric": {}, "values": []}]}}'),
        (200, b'{"data": {"result": [{"metric": {"pod": "a"}, "value": [1, "2"]}]}}'),
    ],
)
def test_without_a_sensible_answer_nothing_is_known_of_the_pods(server: _Server, code: int, body: bytes) -> None:
    server.code, server.body = code, body
    assert served(server) == {}


def test_what_pods_served_is_waited_for_only_so_long(server: _Server) -> None:
    server.delay = 1.0
    began = time.monotonic()
    assert served(server, timeout=0.2) == {}
    assert time.monotonic() - began < 0.9


def test_a_closed_source_knows_nothing_of_pods() -> None:
    source = PrometheusLatency("http://127.0.0.1:9/", 0.2)
    source.close()
    assert source.served(QUERY, ["a"], 240.0) == {}
    assert PrometheusLatency("http://127.0.0.1:9/", 0.2).served(QUERY, [], 240.0) == {}


def test_what_nobody_waits_for_any_more_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    source, gate, asked = PrometheusLatency("http://127.0.0.1:9/", 0.05), threading.Event(), []

    def hang(*question: object) -> dict[str, object]:
        asked.append(question)
        gate.wait(10)
        return {}

    monkeypatch.setattr(source, "_ask_served", hang)
    try:
        assert [source.served(QUERY, ["a"], 240.0) for _ in range(4)] == [{}] * 4
        gate.set()
        source._aside.submit(lambda: None).result(10)  # behind all that was left
        assert len(asked) == 1
    finally:
        gate.set()
        source.close()


@pytest.mark.slow
def test_where_time_is_short_each_gets_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    source = PrometheusLatency("http://127.0.0.1:9/", 0.05)
    many = [LatencyQuery("m", f'app="{k}"', 60.0) for k in range(20)]
    asked = set()

    def slow(now: float, query: LatencyQuery) -> Reading[LatencySample]:
        asked.add(query)
        time.sleep(0.04)
        return read(now, query, {}, 60.0, "here")

    monkeypatch.setattr(source, "_ask", slow)
    try:
        for _ in range(20):
            assert source.sample(1000.0, many).keys() == set(many)
        assert asked == set(many)
    finally:
        source.close()
