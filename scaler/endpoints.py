"""`/metrics`, `/healthz`, `/readyz`, `/status`, `/pools`, `/leader` and `/explain` over HTTP."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qs

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from scaler.errors import where

log = logging.getLogger(__name__)

PATHS = ("/metrics", "/healthz", "/readyz", "/status", "/pools", "/leader")

POLL = 0.1  # s, at most, that close() waits for the server to see it
IDLE = 5.0  # s a client may leave its connection waiting: each holds a thread

Check = Callable[[], str | None]
"""None when all is well, else what is wrong."""

Explain = Callable[[str, str], Any]
"""Why a scaler (namespace, name) is decided as it is, as plain data; None: there is no such scaler."""


class Endpoints:
    """Serves until closed. ``port`` 0 takes a free one; the one taken is in ``port``.

    Raises OSError when the address is in use.
    """

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        healthy: Check,
        ready: Check,
        status: Callable[[], Any],
        explain: Explain = lambda namespace, name: None,
        leader: Callable[[], Any] = lambda: None,
        pools: Callable[[], Any] = list,
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = IDLE

            def do_GET(self) -> None:
                path, _, query = self.path.partition("?")
                if path == "/metrics":
                    self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
                elif path in ("/healthz", "/readyz"):
                    wrong = healthy() if path == "/healthz" else ready()
                    self._answer(503 if wrong else 200, ((wrong or "ok") + "\n").encode(), "text/plain")
                elif path == "/status":
                    self._answer(200, json.dumps(status(), indent=1).encode(), "application/json")
                elif path == "/pools":
                    self._answer(200, json.dumps(pools(), indent=1).encode(), "application/json")
                elif path == "/leader":
                    self._answer(200, json.dumps(leader()).encode(), "application/json")
                elif path == "/explain":
                    self._explain(parse_qs(query))
                else:
                    self._answer(404, f"try {', '.join(PATHS)} or /explain?name=\n".encode(), "text/plain")

            def _explain(self, query: dict[str, list[str]]) -> None:
                namespace, name = query.get("namespace", ["default"])[0], query.get("name", [""])[0]
                found = explain(namespace, name)
                missing = {"error": f"no decision about a scaler {namespace}/{name}"}
                code, answer = (200, found) if found is not None else (404, missing)
                self._answer(code, json.dumps(answer, indent=1).encode(), "application/json")

            def _answer(self, code: int, body: bytes, kind: str) -> None:
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - overrides
                """Probes come every few seconds: not logged."""

        self._server = _Server((host, port), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": POLL}, name="endpoints", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Without HTTPServer's look-up of the host's own name: it waits for a name server that may be away."""
        TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A probe that gave up waiting is no error; anything else is one line, not a traceback."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            log.error("answering a request failed: %s; please report it", where(error))
