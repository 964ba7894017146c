"""A server of `external.metrics.k8s.io` on loopback that answers what it is told: what an HPA reads in a lab test."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from simulations.lab import interrupts, ports
from simulations.lab.access import kubectl
from simulations.lab.errors import LabError

API = "/apis/external.metrics.k8s.io/v1beta1"
SERVICE = "lab-external-metrics"
PATIENCE = 30.0  # s until the API server passes requests on


class Fault(Enum):
    """How a metric can be missing."""

    NOT_FOUND = 404
    BROKEN = 500
    EMPTY = 200  # an answer with no value in it


Answer = Callable[[str, int], int | Fault]
"""Metric's name and how often it was asked for before -> its value, in thousandths, or how it is missing."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request for a metric, and what it was answered."""

    at: float  # unix s
    metric: str
    answer: int | Fault


class ExternalMetrics:
    """The server; use as a context manager. While it runs it is the lab's only server of external metrics."""

    def __init__(self, directory: Path, answer: Answer) -> None:
        """``directory`` is the lab's."""
        self._directory = directory
        self._answer = answer
        self._lock = threading.Lock()
        self._asked: list[Asked] = []
        self._counts: dict[str, int] = {}
        self._server = ThreadingHTTPServer((ports.HOST, 0), _handler(self))
        keys = directory / "kubernetes"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(keys / "server.crt", keys / "server.key")
        # The handshake in the connection's own thread: one that stays silent would hold up everybody.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, name=SERVICE, daemon=True)

    def __enter__(self) -> ExternalMetrics:
        self._thread.start()
        try:
            register(self._directory, int(self._server.server_port))
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        unregister(self._directory)
        self._close()

    def asked(self) -> list[Asked]:
        """All requests so far, in their order."""
        with self._lock:
            return list(self._asked)

    def ask(self, metric: str) -> int | Fault:
        """The next answer for ``metric``, noted with its time."""
        with self._lock:
            count = self._counts.get(metric, 0)
            self._counts[metric] = count + 1
            answer = self._answer(metric, count)
            self._asked.append(Asked(time.time(), metric, answer))
            return answer

    def _close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def register(directory: Path, port: int) -> None:
    """Have the API server of the lab in ``directory`` ask ``port`` of loopback for external metrics (or LabError)."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE, "namespace": "default"},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
    }
    registration = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.external.metrics.k8s.io"},
        "spec": {
            "group": "external.metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,  # its certificate is made out to loopback, not to a Service
            "service": {"name": SERVICE, "namespace": "default", "port": port},
        },
    }
    both = {"apiVersion": "v1", "kind": "List", "items": [service, registration]}
    done = kubectl(directory, "apply", "-f", "-", stdin=json.dumps(both))
    if done.code != 0:
        raise LabError(f"the server of external metrics was refused: {done.output.strip()}")
    until = time.monotonic() + PATIENCE
    while (done := kubectl(directory, "get", "--raw", API)).code != 0:
        if time.monotonic() > until:
            raise LabError(f"the API server does not reach port {port} of loopback: {done.output.strip()}")
        interrupts.pause(0.2)


def unregister(directory: Path) -> None:
    """The opposite of :func:`register`; nothing happens when nothing was registered."""
    kubectl(directory, "delete", "apiservice", "v1beta1.external.metrics.k8s.io", "--ignore-not-found")
    kubectl(directory, "delete", "service", SERVICE, "-n", "default", "--ignore-not-found")


def _handler(metrics: ExternalMetrics) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60.0

        def do_GET(self) -> None:
            path = self.path.partition("?")[0].rstrip("/")
            if path == API:
                self._say(200, {"kind": "APIResourceList", "groupVersion": "external.metrics.k8s.io/v1beta1"} | _NONE)
            elif path.startswith(f"{API}/namespaces/"):
                self._metric(path.rpartition("/")[2])
            else:
                self._say(404, _status(404, f"{path} is not here"))

        def _metric(self, name: str) -> None:
            answer = metrics.ask(name)
            if isinstance(answer, Fault) and answer is not Fault.EMPTY:
                self._say(answer.value, _status(answer.value, f"{name} is missing"))
                return
            items = [] if isinstance(answer, Fault) else [_value(name, answer)]
            kind = {"kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1"}
            self._say(200, {**kind, "metadata": {}, "items": items})

        def _say(self, code: int, body: object) -> None:
            text = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Nothing: `asked` holds every request."""

    return Handler


_NONE: dict[str, object] = {"apiVersion": "v1", "resources": []}


def _status(code: int, message: str) -> dict[str, object]:
    reason = "NotFound" if code == 404 else "InternalError"
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


def _value(name: str, thousandths: int) -> dict[str, object]:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"metricName": name, "metricLabels": {}, "timestamp": at, "value": f"{thousandths}m"}
