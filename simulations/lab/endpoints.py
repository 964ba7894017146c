"""What the rest of the lab and the tests use of a running part: its addresses, and its main server's stop and start."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from simulations.lab import audit
from simulations.lab.access import kubectl
from simulations.lab.kafka_users import Users
from simulations.lab.kwok import add_nodes
from simulations.lab.process import Finished

FOLLOWERS = ("kube-controller-manager", "kube-scheduler", "kwok")


class Servers(Protocol):
    """What stops and starts single servers: the lab."""

    def stop(self, *servers: str) -> None: ...

    def start(self, *servers: str) -> None: ...

    def server_names(self) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class _Endpoint:
    lab: Servers = field(repr=False)
    directory: Path  # of the lab

    @property
    def main_server(self) -> str:
        raise NotImplementedError

    def stop(self) -> None:
        """End the main server, as an outage would; it keeps its port and its data."""
        self.lab.stop(self.main_server)

    def start(self) -> None:
        """Start it again, and wait until it serves. Raises StartFailed."""
        self.lab.start(self.main_server)


@dataclass(frozen=True, slots=True)
class Kafka(_Endpoint):
    """The broker on loopback: host:port of each of its listeners."""

    bootstrap: str  # plain text, without authentication: everything is allowed
    tls: str = ""  # TLS without authentication
    mtls: str = ""  # mutual TLS
    scram: str = ""  # TLS with SASL/SCRAM-SHA-512

    @property
    def main_server(self) -> str:
        return "kafka"

    @property
    def certificates(self) -> Path:
        """The folder of ca.crt, and of the clients' certificates and keys (lagcast.crt, lagcast.key ...)."""
        return self.directory / "kafka" / "tls"

    @property
    def users(self) -> Users:
        """Who may do what over the listeners with authentication."""
        return Users(self.bootstrap)


@dataclass(frozen=True, slots=True)
class Kubernetes(_Endpoint):
    """The control plane; ``stop`` and ``start`` are an outage of the API server."""

    server: str  # https://host:port
    admin_kubeconfig: str  # may do everything
    controller_kubeconfig: str  # the ServiceAccount lagcast-system/lagcast
    kubectl: str  # the program

    @property
    def main_server(self) -> str:
        return "kube-apiserver"

    @property
    def audit_log(self) -> Path:
        """What the controller changed, and who held its Lease; see ``simulations.lab.audit``."""
        return audit.log_file(self.directory / "kubernetes")

    def stop(self) -> None:
        """End the API server."""
        self.lab.stop(self.main_server)

    def start(self) -> None:
        """Start it again, and anew what leans on it.

        After an outage of 30 s these would wait for as long again before they ask. In a cluster the controller
        manager and the scheduler lose their election within 10 s and are started anew, too. KWOK counts the lead
        times of pods that were not Ready from its own start.
        """
        self.lab.start(self.main_server)
        followers = [name for name in FOLLOWERS if name in self.lab.server_names()]
        self.lab.stop(*followers)
        self.lab.start(*followers)

    def run(self, *arguments: str, stdin: str | None = None, timeout: float = 60.0) -> Finished:
        """Run kubectl as the administrator."""
        return kubectl(self.directory, *arguments, stdin=stdin, timeout=timeout)


@dataclass(frozen=True, slots=True)
class Kwok(_Endpoint):
    """The nodes' and pods' player."""

    url: str  # its own metrics and health

    @property
    def main_server(self) -> str:
        return "kwok"

    def add_nodes(self, count: int, gpus: int, prefix: str = "gpu") -> list[str]:
        """Make ``count`` nodes with ``gpus`` GPUs each; their names. Raises LabError when they are refused."""
        return add_nodes(self.directory, count, gpus, prefix)


@dataclass(frozen=True, slots=True)
class Prometheus(_Endpoint):
    """The metrics store."""

    url: str  # http://host:port
    file_sd: str  # folder: each *.json file in it holds targets, scraped every second

    @property
    def main_server(self) -> str:
        return "prometheus"

    def add_targets(self, name: str, targets: Sequence[str], labels: Mapping[str, str] | None = None) -> Path:
        """Have ``targets`` (host:port each) scraped until the file returned is deleted; ``name`` is the file's."""
        path = Path(self.file_sd) / f"{name}.json"
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps([{"targets": list(targets), "labels": dict(labels or {})}]), encoding="utf-8")
        scratch.replace(path)  # Prometheus never sees half a file
        return path
