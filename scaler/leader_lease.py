"""The Lease in the cluster (coordination.k8s.io/v1), and the thread that takes and renews it."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from scaler.clock import SteadyClock
from scaler.errors import Conflict, TargetError, where
from scaler.kube import Json, KubeClient, failure
from scaler.leader import Election, Record
from scaler.leader_fence import LeaderFence

log = logging.getLogger(__name__)

HANDOVER = 1.5  # s, at most, that the end waits for changes under way and for the Lease
LOOK = 0.1  # s between two looks whether to end before the first round has
LEASES = "/apis/coordination.k8s.io/v1/namespaces"


class LeaseStore(Protocol):
    """Where the Lease is kept."""

    def read(self) -> Record | None:
        """None: there is none. Raises TargetError."""
        ...

    def write(self, record: Record, within: float | None = None) -> Record:
        """Store it over the version that it carries (empty: make it), ``within`` so many s; as it was stored.

        Raises Conflict when that is no longer the version, else TargetError; after Unreachable it may have been stored.
        """
        ...


class KubeLease:
    """A LeaseStore over the API server."""

    def __init__(self, client: KubeClient, namespace: str, name: str, request: float) -> None:
        """``request`` (s) bounds each request."""
        self._client = client
        self._namespace, self._name = namespace, name
        self._request = request
        self._collection = f"{LEASES}/{namespace}/leases"
        self._path = f"{self._collection}/{name}"

    def __str__(self) -> str:
        return f"Lease {self._namespace}/{self._name}"

    def read(self) -> Record | None:
        answer = self._client.call("GET", self._path, read_timeout=self._request)
        if answer.code == 404 and answer.names_object:
            return None
        if not answer.ok:
            raise failure(answer, f"read {self}")
        return _record(answer.body)

    def write(self, record: Record, within: float | None = None) -> Record:
        method, path = ("PUT", self._path) if record.version else ("POST", self._collection)
        answer = self._client.call(method, path, body=self._body(record), read_timeout=within or self._request)
        if answer.code == 404 and record.version:
            raise Conflict(f"{self} was deleted")
        if not answer.ok:
            raise failure(answer, f"write {self}")
        return _record(answer.body)

    def _body(self, record: Record) -> Json:
        metadata = {"namespace": self._namespace, "name": self._name}
        spec: Json = {"holderIdentity": record.holder, "leaseTransitions": record.transitions}
        spec["leaseDurationSeconds"] = max(round(record.duration), 1)
        for field, time in (("acquireTime", record.acquired), ("renewTime", record.renewed)):
            if time is not None:
                spec[field] = datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {**metadata, "resourceVersion": record.version} if record.version else metadata,
            "spec": spec,
        }


@dataclass(frozen=True, slots=True)
class Told:
    """Who is told what, from the elector's thread."""

    changed: Callable[[bool], None]
    """This replica leads now, or no longer."""
    failed: Callable[[], None]
    """The Lease could not be read or written."""


class Elector:
    """Takes the Lease when it is free and renews it, on a thread of its own, until it resigns."""

    def __init__(
        self,
        leases: LeaseStore,
        election: Election,
        fence: LeaderFence,
        clock: SteadyClock,
        rng: random.Random,
        told: Told,
        stop: threading.Event | None = None,
        handover: float = HANDOVER,
    ) -> None:
        """When ``stop`` is set it resigns, in ``handover`` s at most, whatever else the process is about."""
        self._leases = leases
        self._election = election
        self._fence = fence
        self._clock = clock
        self._rng = rng
        self._told = told
        self._current = False  # what is seen is, as far as is known, what stands
        self._leads = False
        self._said = ""
        self._stop = stop or threading.Event()
        self._handover = handover
        self._began = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def holder(self) -> str:
        """Who held the Lease when it was last seen; empty: nobody."""
        return self._election.holder

    def start(self) -> None:
        """Begin; the first round is awaited, unless it is to end before."""
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()
        while not self._began.wait(LOOK) and not self._stop.is_set():
            pass

    def round(self) -> None:
        """Look at the Lease, and take or renew it if it is free or this replica's. Never raises."""
        try:
            if not self._step():
                self._step()  # somebody else was faster: what stands now?
        except TargetError as error:
            self._current = False
            self._told.failed()
            self._say(str(error))
        except Exception as error:  # noqa: BLE001 - the next round may be well again; until then the lease runs out
            self._current = False
            self._told.failed()
            self._say(f"the election failed: {where(error)}; please report it")
        else:
            self._said = ""
        self._tell()

    def pause(self) -> float:
        """s until the next round: a while, or until another's Lease runs out."""
        times = self._election.times
        usual = times.retry * (1.0 + times.jitter * self._rng.random())
        left = self._election.wait(self._clock.elapsed())
        return min(usual, left) if left > 0 else usual

    def resign(self) -> None:
        """Change nothing more, and hand the Lease over; returns when that is done, or its time is up."""
        self._stop.set()
        if self._thread is None:
            self._hand_over()
        else:
            self._thread.join(self._handover + 0.5)

    def _run(self) -> None:
        if not self._stop.is_set():
            self.round()
            if not self._leads:
                log.info("standby: %s leads", self.holder or "nobody")
        self._began.set()
        while not self._clock.wait(self.pause(), self._stop):
            self.round()
        self._hand_over()

    def _hand_over(self) -> None:
        """If it is not known that all changes have ended, the Lease is left to run out."""
        began = self._clock.elapsed()
        if self._fence.close(self._handover):
            self._release(max(self._handover - (self._clock.elapsed() - began), 0.1))
        self._tell()

    def _step(self) -> bool:
        """False when what was to be written over no longer stood."""
        election = self._election
        if not (self._current and election.mine):
            found = self._leases.read()
            election.saw(found, self._clock.elapsed())
            self._current = True
            self._publish()
        now = self._fence.moment()
        wish = election.wish(now)
        if wish is None:
            return True
        try:
            stored = self._leases.write(wish)
        except Conflict:
            self._current = False
            return False
        election.wrote(stored, now, self._clock.elapsed())
        self._publish()
        return True

    def _publish(self) -> None:
        self._fence.holds(self._election.held)

    def _release(self, within: float) -> None:
        wish = self._election.release(self._fence.moment())
        if wish is None:
            return
        try:
            self._leases.write(wish, within)
        except TargetError as error:
            log.warning("%s; another replica takes over when the lease has run out", error)
        else:
            log.info("the lease was handed over")

    def _tell(self) -> None:
        leads = self._fence.leads()
        if leads == self._leads:
            return
        self._leads = leads
        log.info("%s", "leading" if leads else f"standby: {self.holder or 'nobody'} leads")
        self._told.changed(leads)

    def _say(self, text: str) -> None:
        log.log(logging.DEBUG if text == self._said else logging.WARNING, "%s", text)
        self._said = text


def _record(lease: Json) -> Record:
    spec = lease.get("spec") or {}
    duration, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    return Record(
        str(spec.get("holderIdentity") or ""),
        float(duration) if isinstance(duration, int) else 0.0,
        _time(spec.get("acquireTime")),
        _time(spec.get("renewTime")),
        transitions if isinstance(transitions, int) else 0,
        str((lease.get("metadata") or {}).get("resourceVersion", "")),
    )


def _time(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None
