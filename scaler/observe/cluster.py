"""Replicas and pods of the targets, and the lead times of their pods.

Counts and selectors come from ``counts.py``, pods from the watches of ``pod_watches.py``; both are as new as the
sample, or the reading says what is wrong.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scaler.clock import Clock
from scaler.errors import Forbidden, TargetError, TargetNotFound, TargetWithoutScale, Unreachable
from scaler.kube import Json, KubeClient
from scaler.observe.counts import Answers, Counts
from scaler.observe.pod_watches import PodStore, PodWatches
from scaler.observe.pods import Pod, leaving, newest_template, unscheduled_since
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


class _Target:
    """What is kept of one target between samples."""

    def __init__(self) -> None:
        self.store = PodStore()
        self.selector = ""  # empty: its pods are not watched
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
        self._pods = PodWatches(self._watches)
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
            del self._targets[ref]
        deadline = self._clock.now() + self._limits.pass_time
        answers = self._counts.read(wanted, self._limits.pass_time)
        self._follow(answers)  # begin all watches before waiting for the first of them
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

    def _follow(self, answers: Answers) -> None:
        """See that the pods named by the scales' selectors are watched."""
        answered = set[Watch]()
        for ref, answer in answers.items():
            known = self._targets.setdefault(ref, _Target())
            if isinstance(answer, TargetNotFound | TargetWithoutScale):
                # Which pods were told stays known: the answer may be that of an API server that is just starting.
                known.selector, known.last = "", None
            if isinstance(answer, TargetError):
                continue
            known.selector = _selector(answer)
            if (watch := self._pods.of(ref)) is not None:
                answered.add(watch)
        for watch in answered:
            # Also when it was refused: an API server that is just starting refuses everybody for a moment.
            watch.hurry()
        self._pods.arrange({ref: (known.selector, known.store) for ref, known in self._targets.items()})

    def _reading(
        self, now: float, deadline: float, ref: TargetRef, answer: Json | TargetError
    ) -> Reading[ReplicaState]:
        known = self._targets[ref]
        if isinstance(answer, TargetError):
            return self._fault(now, known, answer)
        watch = self._pods.of(ref)
        if watch is None:
            return Reading(
                None,
                now,
                Freshness.ABSENT,
                Reason.TARGET_WITHOUT_SCALE,
                f"the /scale of {ref} names no pod selector, so that its pods cannot be found; "
                "its CRD has to declare labelSelectorPath, and its controller to fill it",
            )
        if not watch.state.synced or watch.state.error is not None:
            watch.settle(deadline - self._clock.now())
        watched = watch.state
        if isinstance(watched.error, Forbidden) or not watched.synced:
            missing = Unreachable(f"the pods of {ref} have not been listed yet; it is tried again")
            return self._fault(now, known, watched.error or missing)
        state = self._state(now, known, answer)
        silent = watched.silent(self._clock.now())
        if silent > (self._limits.silence if watched.error is None else self._limits.broken):
            known.last = (state, min(now, watched.contact))
            return self._fault(now, known, watched.error or Unreachable(f"the watch of the pods of {ref} is silent"))
        known.last = (state, now)
        return Reading(state, now, Freshness.FRESH, detail=self._counts.note(ref))

    def _state(self, now: float, known: _Target, scale: Json) -> ReplicaState:
        pods = known.store.pods()
        replicas = [p for p in pods if p.counts]
        known.template = newest_template(replicas) or known.template
        return ReplicaState(
            desired=int((scale.get("spec") or {}).get("replicas") or 0),  # left out by the API server when it is 0
            ready=sum(p.ready is not None for p in replicas),
            pending_since=tuple(sorted(p.created for p in replicas if p.ready is None)),
            terminating=leaving(now, pods),
            template=known.template,
            updating=len({p.template for p in replicas}) > 1,
            unscheduled_since=unscheduled_since(now, replicas),
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


def _selector(scale: Json) -> str:
    return str((scale.get("status") or {}).get("selector") or "")
