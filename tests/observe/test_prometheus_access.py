"""How a Prometheus server lets us in: token, password, mutual TLS; rotated files are taken up, no secret is told."""

from __future__ import annotations

import base64
import json
import logging
import shutil
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scaler.observe.access import Access
from scaler.observe.files import Unreadable, fingerprint, read_secret
from scaler.observe.ports import LatencyQuery
from scaler.observe.prometheus import PrometheusLatency
from scaler.plan.observation import Freshness, LatencySample, Reading
from scaler.plan.reasons import Reason
from simulations.lab.certificates import write_kafka

QUERY = LatencyQuery("m", 'app="a"', 60.0)
PARTS = {"p50": "0.2", "p95": "0.4", "p99": "0.5", "count": "10", "sum": "2.5", "age": "1.5"}
ANSWER = json.dumps(
    {"data": {"result": [{"metric": {"part": part}, "value": [1.0, text]} for part, text in PARTS.items()]}}
).encode()


class _Server(ThreadingHTTPServer):
    """Lets in who brings ``wanted``; notes who came, by certificate."""

    daemon_threads = True
    wanted: str | None = None
    came: list[str]

    def handle_error(self, request: object, client_address: object) -> None:
        """Silent: a handshake that fails is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        shown = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        self.server.came.append(dict(pair[0] for pair in shown["subject"])["commonName"] if shown else "")
        inside = self.server.wanted is None or self.headers.get("Authorization") == self.server.wanted
        body = ANSWER if inside else b"hunter2: go away"
        self.send_response(200 if inside else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Silent."""


def serve(server: _Server) -> Iterator[_Server]:
    server.came = []
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def plain() -> Iterator[_Server]:
    yield from serve(_Server(("127.0.0.1", 0), _Handler))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    write_kafka(folder, datetime.now(tz=UTC))
    return folder


@pytest.fixture
def mutual(made: Path) -> Iterator[_Server]:
    """It wants a certificate of its own authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made / "server.pem")
    context.load_verify_locations(made / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    server = _Server(("127.0.0.1", 0), _Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    yield from serve(server)


def source_of(server: _Server, scheme: str, access: dict[str, str]) -> PrometheusLatency:
    return PrometheusLatency(f"{scheme}://127.0.0.1:{server.server_port}/", 3.0, access=access)


def sample(source: PrometheusLatency) -> Reading[LatencySample]:
    return source.sample(1000.0, [QUERY])[QUERY]


def written(folder: Path, **files: str) -> dict[str, str]:
    for name, content in files.items():
        (folder / name).write_text(content)
    return {name: str(folder / name) for name in files}


def test_a_token_and_one_that_is_rotated(plain: _Server, tmp_path: Path) -> None:
    access = written(tmp_path, tokenFile="first-token\n")
    plain.wanted = "Bearer first-token"
    source = source_of(plain, "http", access)
    assert sample(source).fresh
    plain.wanted = "Bearer second"
    refused = sample(source)
    assert (refused.freshness, refused.reason) == (Freshness.ERROR, Reason.INPUT_ERROR)
    assert "HTTP 401" in refused.detail
    assert "spec.latency.access" in refused.detail
    assert "token" not in refused.detail
    assert "hunter2" not in refused.detail
    written(tmp_path, tokenFile="second")
    assert sample(source).fresh
    source.close()


def test_a_name_and_a_password(plain: _Server, tmp_path: Path) -> None:
    access = written(tmp_path, usernameFile="lag cast", passwordFile="pass:wörd\r\n")
    plain.wanted = f"Basic {base64.b64encode('lag cast:pass:wörd'.encode()).decode()}"
    source = source_of(plain, "http", access)
    assert sample(source).fresh
    written(tmp_path, passwordFile="other")
    assert sample(source).reason is Reason.INPUT_ERROR
    source.close()


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), ("a\nb", "more than one line"), ("tök", "ASCII")])
def test_a_file_that_cannot_be_used_is_named_by_its_field(
    plain: _Server, tmp_path: Path, content: str | None, why: str
) -> None:
    access = {"tokenFile": str(tmp_path / "hunter2")}
    if content is not None:
        (tmp_path / "hunter2").write_text(content)
    source = source_of(plain, "http", access)
    reading = sample(source)
    assert (reading.freshness, reading.reason) == (Freshness.ERROR, Reason.INPUT_ERROR)
    assert "tokenFile in spec.latency.access" in reading.detail
    assert why in reading.detail
    assert "hunter2" not in reading.detail
    assert plain.came == []
    source.close()


def test_mutual_tls_and_a_certificate_that_is_rotated(mutual: _Server, made: Path, tmp_path: Path) -> None:
    paths = {"caFile": made / "ca.crt", "certificateFile": tmp_path / "tls.crt", "keyFile": tmp_path / "tls.key"}
    for part in ("crt", "key"):
        shutil.copy(made / f"lagcast.{part}", tmp_path / f"tls.{part}")
    source = source_of(mutual, "https", {name: str(path) for name, path in paths.items()})
    assert sample(source).fresh
    assert sample(source).fresh
    for part in ("crt", "key"):
        shutil.copy(made / f"lagcast-next.{part}", tmp_path / f"tls.{part}")
    assert sample(source).fresh
    assert mutual.came == ["lagcast", "lagcast", "lagcast-next"]
    source.close()


@pytest.mark.parametrize(
    "given", [{}, {"caFile": "ca.crt"}, {"certificateFile": "lagcast.crt", "keyFile": "lagcast.key"}]
)
def test_without_an_authority_or_a_certificate(mutual: _Server, made: Path, given: dict[str, str]) -> None:
    source = source_of(mutual, "https", {name: str(made / file) for name, file in given.items()})
    reading = sample(source)
    assert (reading.freshness, reading.reason) == (Freshness.ERROR, Reason.PROMETHEUS_UNREACHABLE)
    assert mutual.came == []
    if "caFile" not in given:  # else the server ends the connection, which may look like any end
        assert "caFile" in reading.detail
    source.close()


def test_no_secret_in_a_log(plain: _Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = source_of(plain, "http", written(tmp_path, tokenFile="hunter2-hunter2"))
    plain.wanted = "Bearer other"
    with caplog.at_level(logging.DEBUG):
        reading = sample(source)
    source.close()
    assert "hunter2-hunter2" not in caplog.text + reading.detail + repr(source) + repr(reading)


def test_files(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("a b \n")
    two.write_bytes(b"\xff")
    assert read_secret(str(one)) == "a b "
    first = fingerprint([str(one), str(two)])
    assert fingerprint([str(one), str(two)]) == first
    assert fingerprint([str(two), str(one)]) != first
    two.write_bytes(b"\xfe")
    assert fingerprint([str(one), str(two)]) != first
    assert fingerprint([str(tmp_path)]) == fingerprint([str(tmp_path)])
    with pytest.raises(Unreadable, match="not UTF-8"):
        read_secret(str(two))
    two.write_bytes(b"a" * ((1 << 20) + 1))
    with pytest.raises(Unreadable, match="more than 1 MiB"):
        read_secret(str(two))
    assert Access({}).headers() == {}
    assert Access({}).authorities is True
