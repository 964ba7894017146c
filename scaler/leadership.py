"""Whether this process carries decisions out: by an election, or because it is alone."""

from __future__ import annotations

import logging
import os
import random
import re
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from scaler.clock import SteadyClock
from scaler.kube import KubeClient
from scaler.leader import Election, Times
from scaler.leader_fence import LeaderFence
from scaler.leader_lease import Elector, KubeLease, Told
from scaler.telemetry import Telemetry

log = logging.getLogger(__name__)

LEASE = "lagcast"
NAMESPACE = "lagcast-system"  # of manifests/base: one that runs on a laptop stands in the same election
OF_THE_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Leadership(Protocol):
    """A process's part among its replicas."""

    def leads(self) -> bool:
        """Whether it carries decisions out now."""
        ...

    def client(self, kube: KubeClient) -> KubeClient:
        """The client for everything that may change something."""
        ...

    def begin(self) -> None:
        """It is warm, and may lead from now on."""
        ...

    def resign(self) -> None:
        """It changes nothing any more; another may take over at once."""
        ...

    def page(self) -> dict[str, Any]:
        """As `/leader` shows it."""
        ...


class Alone:
    """Nobody else scales the same targets: always the leader."""

    def leads(self) -> bool:
        return True

    def client(self, kube: KubeClient) -> KubeClient:
        return kube

    def begin(self) -> None:
        """There is nothing to stand for."""

    def resign(self) -> None:
        """There is nobody to hand over to."""

    def page(self) -> dict[str, Any]:
        return {"leads": True, "election": False}


@dataclass(frozen=True, slots=True)
class LeaseName:
    """Which Lease decides who leads."""

    namespace: str
    name: str


class Elected:
    """One of several replicas, of which the holder of a Lease leads."""

    def __init__(
        self,
        kube: KubeClient,
        lease: LeaseName,
        identity: str,
        clock: SteadyClock,
        telemetry: Telemetry,
        changed: Callable[[], None],
        stop: threading.Event,
        times: Times | None = None,
    ) -> None:
        """``changed`` is called, from another thread, when this replica becomes the leader or ceases to be it. When
        ``stop`` is set it hands over at once, though a tick may go on for a while."""
        times = times or Times()
        self._identity, self._lease = identity, lease
        self._fence = LeaderFence(clock, times)
        telemetry.led_by(self._fence.leads)

        def tell(_: bool) -> None:
            telemetry.leader_changes.inc()
            changed()

        self._elector = Elector(
            KubeLease(kube, lease.namespace, lease.name, times.request),
            Election(identity, times),
            self._fence,
            clock,
            random.Random(),
            Told(tell, telemetry.lease_errors.inc),
            stop,
        )

    def leads(self) -> bool:
        return self._fence.leads()

    def client(self, kube: KubeClient) -> KubeClient:
        return kube.fenced(self._fence, self._identity)

    def begin(self) -> None:
        """The first round is awaited: who finds the Lease free leads from its first tick on."""
        lease = self._lease
        log.info("standing for Lease %s/%s as %s", lease.namespace, lease.name, self._identity)
        self._elector.start()

    def resign(self) -> None:
        self._elector.resign()

    def page(self) -> dict[str, Any]:
        return {
            "leads": self.leads(),
            "election": True,
            "identity": self._identity,
            "holder": self._elector.holder or None,
            "lease": f"{self._lease.namespace}/{self._lease.name}",
            "secondsLeft": round(self._fence.left(), 1),
        }


def lease_name(namespace: str | None, name: str, environment: Mapping[str, str] = os.environ) -> LeaseName:
    """In the namespace that was asked for, else the pod's, else that of the manifests."""
    if not namespace:
        namespace = environment.get("POD_NAMESPACE")
    if not namespace:
        try:
            namespace = OF_THE_POD.read_text(encoding="utf-8").strip()
        except OSError:
            namespace = NAMESPACE
    return LeaseName(namespace or NAMESPACE, name)


def identity(environment: Mapping[str, str] = os.environ) -> str:
    """The pod's name, or the host's, and something that tells this process from the one before it."""
    name = environment.get("POD_NAME") or socket.gethostname() or "lagcast"
    return f"{re.sub('[^A-Za-z0-9.-]', '-', name)[:100]}_{secrets.token_hex(4)}"
