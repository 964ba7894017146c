"""Kubernetes Events on the targets: what was changed or went wrong, with numbers, seen by ``kubectl describe``."""

from __future__ import annotations

import hashlib
import logging
import socket
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from scaler.errors import TargetError, TargetWithoutScale, Unreachable
from scaler.kube import Answer, Json, KubeClient, failure
from scaler.observe.ports import TargetRef

K = TypeVar("K")
V = TypeVar("V")

log = logging.getLogger(__name__)

CONTROLLER = "lagcast.io/controller"
LONGEST_NOTE = 1024  # bytes; the API server refuses more
REMEMBERED = 1000  # events and targets; the least recently used is forgotten


@dataclass(frozen=True, slots=True)
class EventLimits:
    """How many Events are written."""

    same_within: float = 600.0  # s; the same target, reason and text within this count on instead of being new
    burst: int = 20  # requests for one target at once ...
    refill: float = 30.0  # ... and one more each so many s
    pause: float = 5.0  # s without a try after the API server was found away: an outage must not slow the tick


@dataclass(slots=True)
class _Series:
    path: str
    count: int
    last: float  # unix s


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float  # unix s


class EventRecorder:
    """An EventWriter over the API server (events.k8s.io/v1)."""

    def __init__(self, client: KubeClient, instance: str = "", limits: EventLimits | None = None) -> None:
        """``instance`` names this process, so that two of them can be told apart; empty: the host's (pod's) name."""
        self._client = client
        self._instance = (instance or socket.gethostname() or "lagcast")[:128]
        self._limits = limits or EventLimits()
        self._series: OrderedDict[tuple[TargetRef, str, str], _Series] = OrderedDict()
        self._buckets: OrderedDict[TargetRef, _Bucket] = OrderedDict()
        self._uids: OrderedDict[TargetRef, tuple[str, float]] = OrderedDict()
        self._away_until = float("-inf")
        self._failing = False  # it was said once

    def event(self, target: TargetRef, reason: str, message: str, *, warning: bool, now: float) -> None:
        """Write an Event, or count an equal one on; never raises, what cannot be written is logged and dropped."""
        away = self._away_until - self._limits.pause <= now < self._away_until  # not before: the clock was set back
        if away or not self._allowed(target, now):
            return
        note = _cut(message)
        try:
            if not self._counted_on((target, reason, note), now):
                self._create(target, reason, note, "Warning" if warning else "Normal", now)
        except TargetError as error:
            if isinstance(error, Unreachable):
                self._away_until = now + self._limits.pause
            log.log(
                logging.DEBUG if self._failing else logging.WARNING, "no Event %s for %s: %s", reason, target, error
            )
            self._failing = True
        else:
            self._failing = False

    def _allowed(self, target: TargetRef, now: float) -> bool:
        """A token bucket for each target."""
        limits = self._limits
        bucket = self._buckets.setdefault(target, _Bucket(float(limits.burst), now))
        _used(self._buckets, target)
        bucket.tokens = min(float(limits.burst), bucket.tokens + max(0.0, now - bucket.at) / limits.refill)
        bucket.at = now
        if bucket.tokens < 1.0:
            return False
        bucket.tokens -= 1.0
        return True

    def _counted_on(self, key: tuple[TargetRef, str, str], now: float) -> bool:
        known = self._series.get(key)
        if known is None or now - known.last > self._limits.same_within:
            return False
        series = {"count": known.count + 1, "lastObservedTime": _micro(now)}
        answer = self._client.call(
            "PATCH", known.path, body={"series": series}, content_type="application/merge-patch+json"
        )
        if answer.code == 404:  # it expired on the server
            del self._series[key]
            return False
        if not answer.ok:
            raise failure(answer, f"count an Event of {key[0]} on")
        known.count += 1
        known.last = now
        _used(self._series, key)
        return True

    def _create(self, target: TargetRef, reason: str, note: str, kind: str, now: float) -> None:
        uid = self._uid(target, now)
        namespace = target.namespace or "default"  # there the Events of what belongs to no namespace are
        events = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
        # Unlike for each event of one object, and the same if a try is repeated.
        suffix = hashlib.sha256(f"{self._instance}|{uid}|{reason}|{note}|{now}".encode()).hexdigest()[:16]
        name = f"{target.name[:200]}.{suffix}"
        body: Json = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": _micro(now),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
            "action": "Scale",
            "reason": reason,
            "type": kind,
            "note": note,
            "regarding": {
                "apiVersion": target.api_version,
                "kind": target.kind,
                "namespace": target.namespace,
                "name": target.name,
                "uid": uid,
            },
        }
        answer: Answer = self._client.call("POST", events, body=body)
        if not answer.ok:
            raise failure(answer, f"write an Event for {target}")
        key = (target, reason, note)
        self._series[key] = _Series(f"{events}/{name}", 1, now)
        _used(self._series, key)

    def _uid(self, target: TargetRef, now: float) -> str:
        """Uid of the target: kubectl describe shows only the Events that carry it."""
        known = self._uids.get(target)
        if known is not None and now - known[1] < self._limits.same_within:
            return known[0]
        try:  # /scale carries the object's own metadata, and the controller may read it
            found = self._client.scale("GET", target).body
        except TargetWithoutScale:
            found = self._client.get(self._client.object_path(target), f"read {target}")
        uid = str((found.get("metadata") or {}).get("uid", ""))
        self._uids[target] = (uid, now)
        _used(self._uids, target)
        return uid


def _used(memory: OrderedDict[K, V], key: K) -> None:
    memory.move_to_end(key)
    while len(memory) > REMEMBERED:
        memory.popitem(last=False)


def _cut(message: str) -> str:
    raw = message.encode()
    return message if len(raw) <= LONGEST_NOTE else raw[: LONGEST_NOTE - 3].decode(errors="ignore") + "…"


def _micro(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
