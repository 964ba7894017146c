"""Replicas and pods of the targets, and the lead times of their pods.

Counts and selectors come from ``counts.py``, pods from a watch for each target; both are as new as the sample, or the
reading says what is wrong.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scaler.clock import Clock
from scaler.errors import Forbidden, TargetError, TargetNotFound, TargetWithoutScale, Unreachable
from scaler.kube import Json, KubeClient
from scaler.observe.counts import Counts
from scaler.observe.lead_times import LeadTimes
from scaler.observe.pods import Pod, newest_template, read_pod
from scaler.observe.ports import TargetRef
from scaler.observe.watch import Timings, Watch, Watches
from scaler.plan.observation import Freshness, LeadTime, Reading, ReplicaState
from scaler.plan.reasons import Reason

CLOSE_TIME = 1.0  # s all watches together may take to end; they are daemons


@dataclass(frozen=True, slots=True)
class Limits:
    """All in seconds but ``workers``."""

    pass_time: float = 3.0  # one sample of all targets
    answer: float = 3.0  # one GET /scale
    silence: float = 25.0  # a watch without contact for longer is not believed: pods are stale, counts are read
    broken: float = 5.0  # the same while the watch is known to be broken
    keep: float = 60.0  # how long a last value is handed out as stale while the API server is away
    workers: int = 8  # GETs at the same time


class PodStore:
    """The pods of one target, as its watch tells them."""

    def __init__(self) -> None:
        self.lead_times = LeadTimes()
        self._pods: dict[str, Pod] = {}
        self._lock = threading.Lock()

    def listed(self, objects: Sequence[Json], at: float) -> None:
        pods = {pod.uid: pod for pod in map(read_pod, objects)}
        with self._lock:
            for uid in self._pods.keys() - pods.keys():
                self.lead_times.gone(uid)
            self._pods = pods
            for pod in pods.values():
                self.lead_times.see(pod, None)

    def changed(self, item: Json, at: float) -> None:
        pod = read_pod(item)
        with self._lock:
            self._pods[pod.uid] = pod
            self.lead_times.see(pod, at)

    def removed(self, item: Json, at: float) -> None:
        uid = item["metadata"]["uid"]
        with self._lock:
            self._pods.pop(uid, None)
            self.lead_times.gone(uid)

    def asked(self, before: int, replicas: int, at: float) -> None:
        with self._lock:
            self.lead_times.asked(before, replicas, at)

    def take(self) -> tuple[LeadTime, ...]:
        with self._lock:
            return self.lead_times.take()

    def pods(self) -> list[Pod]:
        with self._lock:
            return list(self._pods.values())


class _Target:
    """What is kept of one target between samples."""

    def __init__(self) -> None:
        self.store = PodStore()
        self.watch: Watch | None = None
        self.selector = ""
        self.template = ""  # of the newest pod seen; outlives a time without pods
        self.last: tuple[ReplicaState, float] | None = None


class KubernetesCluster:
    """A ClusterSource over the API server's watches and /scale."""

    def __init__(
        self,
        client: KubeClient,
        clock: Clock,
        *,
        seed: int = 0,
        limits: Limits | None = None,
        timings: Timings | None = None,
    ) -> None:
        """``seed`` is for the jitter of the watches' back-off; the client stays the caller's to close.

        Without ``limits``, a pass takes at most nine tenths of what the client gives one request.
        """
        self._clock = clock
        self._limits = limits or Limits(pass_time=0.9 * client.read_timeout, answer=0.8 * client.read_timeout)
        self._watches = Watches(client, clock, random.Random(seed), timings)
        self._counts = Counts(
            client,
            clock,
            self._watches,
            answer=self._limits.answer,
            silence=self._limits.silence,
            workers=self._limits.workers,
        )
        self._targets: dict[TargetRef, _Target] = {}

    def sample(self, now: float, wanted: Sequence[TargetRef]) -> Mapping[TargetRef, Reading[ReplicaState]]:
        """One reading for each wanted, within ``Limits.pass_time``; not to be called by two threads at once."""
        for ref in self._targets.keys() - set(wanted):
            self._end_watch(self._targets.pop(ref))
        deadline = self._clock.now() + self._limits.pass_time
        answers = self._counts.read(wanted, self._limits.pass_time)
        for ref, answer in answers.items():  # begin all watches before waiting for the first of them
            self._follow(ref, answer)
        return {ref: self._reading(now, deadline, ref, answer) for ref, answer in answers.items()}

    def lead_times(self, target: TargetRef) -> Sequence[LeadTime]:
        """Pods of the target that became Ready since the last call; at the first call also those found Ready."""
        known = self._targets.get(target)
        return known.store.take() if known is not None else ()

    def pods_of(self, target: TargetRef) -> Sequence[Pod]:
        """Its pods as the watch last told them; none while it has told of none."""
        known = self._targets.get(target)
        return known.store.pods() if known is not None else ()

    def asked(self, target: TargetRef, replicas: int, at: float) -> None:
        """The target was patched: the start of the next pods' lead times."""
        self._counts.changed(target)
        known = self._targets.get(target)
        if known is not None and known.last is not None:
            known.store.asked(known.last[0].desired, replicas, at)

    def close(self) -> None:
        """End all watches and threads."""
        self._watches.close(CLOSE_TIME)
        self._targets.clear()
        self._counts.close()

    def _follow(self, ref: TargetRef, answer: Json | TargetError) -> None:
        """See that the pods named by the scale's selector are watched."""
        known = self._targets.setdefault(ref, _Target())
        if isinstance(answer, TargetNotFound | TargetWithoutScale):
            # Which pods were told stays known: the answer may be that of an API server that is just starting.
            self._end_watch(known)
            known.last = None
        if isinstance(answer, TargetError):
            return
        selector = _selector(answer)
        if known.watch is not None and selector == known.selector:
            # Also when it was refused: an API server that is just starting refuses everybody for a moment.
            known.watch.hurry()
            return
        self._end_watch(known)
        known.selector = selector
        if selector:  # an empty one would match every pod of the namespace
            pods = f"/api/v1/namespaces/{ref.namespace}/pods"
            known.watch = self._watches.begin(pods, known.store, selector=selector)

    def _reading(
        self, now: float, deadline: float, ref: TargetRef, answer: Json | TargetError
    ) -> Reading[ReplicaState]:
        known = self._targets[ref]
        if isinstance(answer, TargetError):
            return self._fault(now, known, answer)
        if known.watch is None:
            return Reading(
                None,
                now,
                Freshness.ABSENT,
                Reason.TARGET_WITHOUT_SCALE,
                f"the /scale of {ref} names no pod selector, so that its pods cannot be found; "
                "its CRD has to declare labelSelectorPath, and its controller to fill it",
            )
        if not known.watch.state.synced or known.watch.state.error is not None:
            known.watch.settle(deadline - self._clock.now())
        watched = known.watch.state
        if isinstance(watched.error, Forbidden) or not watched.synced:
            missing = Unreachable(f"the pods of {ref} have not been listed yet; it is tried again")
            return self._fault(now, known, watched.error or missing)
        state = self._state(known, answer)
        silent = watched.silent(self._clock.now())
        if silent > (self._limits.silence if watched.error is None else self._limits.broken):
            known.last = (state, min(now, watched.contact))
            return self._fault(now, known, watched.error or Unreachable(f"the watch of the pods of {ref} is silent"))
        known.last = (state, now)
        return Reading(state, now, Freshness.FRESH, detail=self._counts.note(ref))

    def _state(self, known: _Target, scale: Json) -> ReplicaState:
        pods = known.store.pods()
        replicas = [p for p in pods if p.counts]
        known.template = newest_template(replicas) or known.template
        return ReplicaState(
            desired=int((scale.get("spec") or {}).get("replicas") or 0),  # left out by the API server when it is 0
            ready=sum(p.ready is not None for p in replicas),
            pending_since=tuple(sorted(p.created for p in replicas if p.ready is None)),
            terminating=sum(p.terminating and not p.finished for p in pods),
            template=known.template,
            updating=len({p.template for p in replicas}) > 1,
        )

    def _fault(self, now: float, known: _Target, error: TargetError) -> Reading[ReplicaState]:
        """What an error means for the reading: absent, stale with the last value, or an error."""
        detail = str(error)
        if isinstance(error, TargetNotFound):
            return Reading(None, now, Freshness.ABSENT, Reason.TARGET_NOT_FOUND, detail)
        if isinstance(error, TargetWithoutScale):
            return Reading(None, now, Freshness.ABSENT, Reason.TARGET_WITHOUT_SCALE, detail)
        if isinstance(error, Forbidden):
            return Reading(None, now, Freshness.ERROR, Reason.FORBIDDEN, detail)
        if known.last is not None and now - known.last[1] <= self._limits.keep:
            state, since = known.last
            return Reading(state, since, Freshness.STALE, Reason.KUBERNETES_UNREACHABLE, detail)
        return Reading(None, now, Freshness.ERROR, Reason.KUBERNETES_UNREACHABLE, detail)

    def _end_watch(self, known: _Target) -> None:
        if known.watch is not None:
            self._watches.end(known.watch)
            known.watch = None


def _selector(scale: Json) -> str:
    return str((scale.get("status") or {}).get("selector") or "")
