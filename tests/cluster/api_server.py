"""An HTTP server on loopback that speaks the watch protocol as told: for what the real one cannot be made to do."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """One request that came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Watched:
    """What one watch request gets: lines, and then how it goes on."""

    lines: list[bytes] = field(default_factory=list)
    then: str = "end"  # "end": cleanly | "cut": without an end | "hang": silence until the server is closed
    code: int = 200
    body: Json = field(default_factory=dict)


def event(kind: str, item: Json) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


def status(code: int, message: str, **more: Any) -> Json:
    return {"kind": "Status", "status": "Failure", "code": code, "message": message, **more}


def listed(items: list[Json], version: str = "100", more: str = "") -> tuple[int, Json]:
    return 200, {"kind": "PodList", "metadata": {"resourceVersion": version, "continue": more}, "items": items}


class ApiServer:
    """Lists and watches come from queues (their last entry is repeated), pods' and others' apart;
    everything else from ``answer``."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.lists: deque[tuple[int, Json]] = deque([listed([])])
        self.watches: deque[Watched] = deque([Watched(then="hang")])
        self.target_lists: deque[tuple[int, Json]] = deque([listed([])])  # of all collections that are no pods
        self.target_watches: deque[Watched] = deque([Watched(then="hang")])
        self.pool_lists: deque[tuple[int, Json]] = deque([listed([])])  # of GpuNodePools
        self.pool_watches: deque[Watched] = deque([Watched(then="hang")])
        self.answer: Callable[[Asked], tuple[int, Any]] = lambda asked: (404, status(404, "not found"))
        self.closing = threading.Event()
        self._lock = threading.Lock()
        outer = self

        class Handler(_Handler):
            server_of = outer

        self._http = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def kubeconfig(self, folder: Path, token: str = "secret-token") -> Path:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "c",
        }
        path = folder / "kubeconfig"
        path.write_text(json.dumps(config))
        return path

    def watched(self) -> list[Asked]:
        return [a for a in list(self.asked) if a.query.get("watch") and a.path.endswith("/pods")]

    def listings(self) -> list[Asked]:
        return [a for a in list(self.asked) if a.path.endswith("/pods") and not a.query.get("watch")]

    def take(self, queue: deque[Any]) -> Any:
        with self._lock:
            return queue.popleft() if len(queue) > 1 else queue[0]

    def close(self) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # as a real one: with the usual five, of eight that connect at once one may wait a second


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_of: ClassVar[ApiServer]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing on the terminal."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()

    def _serve(self) -> None:
        api = self.server_of
        split = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(raw) if raw else None
        asked = Asked(self.command, split.path, dict(parse_qsl(split.query)), dict(self.headers.items()), body)
        api.asked.append(asked)
        pods = split.path.endswith("/pods")
        pools = split.path.endswith("/gpunodepools")
        if pools and asked.method == "GET":
            if asked.query.get("watch"):
                self._watch(api.take(api.pool_watches))
            else:
                self._answer(*api.take(api.pool_lists))
        elif asked.query.get("watch"):
            self._watch(api.take(api.watches if pods else api.target_watches))
        elif asked.query.get("limit") and not pods:
            self._answer(*api.take(api.target_lists))
        elif asked.method == "GET" and split.path.endswith("/pods"):
            self._answer(*api.take(api.lists))
        else:
            self._answer(*api.answer(asked))

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def _answer(self, code: int, body: Any) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _watch(self, script: Watched) -> None:
        if script.code != 200:
            self._answer(script.code, script.body)
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in script.lines:
            self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        if script.then == "hang":
            self.server_of.closing.wait()
        if script.then != "end":
            self.close_connection = True
            return
        self.wfile.write(b"0\r\n\r\n")
