"""A cluster in the process: Deployments whose pods come up late, for the demo, for tests, and for trying things out.

It passes the same conformance tests as the real adapters. Time is what it is told: the ``now`` of ``sample`` or
``advance``; a write happens at the newest of them.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from scaler.errors import (
    Conflict,
    Forbidden,
    OwnedByAnother,
    Silent,
    TargetError,
    TargetNotFound,
    TargetWithoutScale,
)
from scaler.kube import MANAGER
from scaler.observe.lead_times import LeadTimes
from scaler.observe.pods import Pod, leaving, newest_template, unscheduled_since
from scaler.observe.ports import TargetRef
from scaler.plan.observation import Freshness, LeadTime, Reading, ReplicaState
from scaler.plan.reasons import Reason

KEEP = 60.0  # s a last value is handed out as stale while the cluster is down


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An Event as it was asked for."""

    target: TargetRef
    reason: str
    message: str
    warning: bool
    time: float


@dataclass(frozen=True, slots=True)
class Written:
    """A count that was changed through ``write``."""

    target: TargetRef
    before: int
    after: int
    time: float


@dataclass(slots=True)
class FakePod:
    """One pod; times in unix s."""

    name: str
    template: int
    created: float
    ready_at: float  # when it becomes (or became) Ready
    gone_at: float | None = None  # set when it is deleted: the end of its drain

    def ready(self, now: float) -> bool:
        return self.gone_at is None and self.ready_at <= now


@dataclass(slots=True)
class _Deployment:
    replicas: int
    template: int = 1
    pods: list[FakePod] = field(default_factory=list)
    due: deque[float] = field(default_factory=deque)  # when pods that were asked for are created
    lead_times: LeadTimes = field(default_factory=LeadTimes)
    last: tuple[ReplicaState, float] | None = None


class FakeCluster:
    """ClusterSource, ReplicaWriter and EventWriter over Deployments in memory."""

    def __init__(
        self, lead_time: Callable[[], float], *, created_delay: float = 0.5, drain: float = 1.0, start: float = 0.0
    ) -> None:
        """``lead_time`` draws the s from created to Ready of one pod; ``created_delay``: s from a patch to the pods;
        ``drain``: s a deleted pod is still terminating; ``start``: unix s of the beginning."""
        self.down = False  # the API server does not answer; pods go on
        self.forbidden = False  # the controller's account may do nothing
        self.events: list[RecordedEvent] = []
        self.written: list[Written] = []
        self._lead_time = lead_time
        self._created_delay = created_delay
        self._drain = drain
        self._now = start
        self._deployments: dict[TargetRef, _Deployment] = {}
        self._without_scale: set[TargetRef] = set()
        self._owners: dict[TargetRef, str] = {}
        self._writers: dict[TargetRef, str] = {}  # who changed the count last
        self._numbers = itertools.count(1)

    def deploy(self, target: TargetRef, replicas: int, *, ready: bool = True) -> None:
        """Make a Deployment; its pods are Ready at once unless told otherwise."""
        made = _Deployment(replicas)
        for _ in range(replicas):
            pod = self._pod(target, made, self._now)
            if ready:  # they took their lead time before the beginning
                pod.created, pod.ready_at = 2 * self._now - pod.ready_at, self._now
        self._deployments[target] = made

    def add_without_scale(self, target: TargetRef) -> None:
        """An object whose kind has no /scale."""
        self._without_scale.add(target)

    def remove(self, target: TargetRef) -> None:
        """Delete the object and its pods."""
        self._deployments.pop(target, None)
        self._without_scale.discard(target)

    def own(self, target: TargetRef, owner: str) -> None:
        """Another autoscaler owns the target's count from here on."""
        self._owners[target] = owner

    def set_replicas(self, target: TargetRef, replicas: int, manager: str = "kubectl") -> None:
        """Another writer (a user, an HPA) changes the count."""
        self._writers[target] = manager
        self._scale(target, self._deployments[target], replicas)

    def roll(self, target: TargetRef) -> None:
        """Begin a rolling update: new pods beside the old ones, each of which goes when a new one is Ready."""
        deployment = self._deployments[target]
        deployment.template += 1
        deployment.due.clear()
        for _ in range(deployment.replicas):
            self._pod(target, deployment, self._now)

    def replicas(self, target: TargetRef) -> int:
        """The count that is asked for: what is paid."""
        return self._deployments[target].replicas

    def ready(self, target: TargetRef) -> int:
        """Ready pods at this time, for those who consume in their name."""
        return sum(p.ready(self._now) for p in self._deployments[target].pods)

    def pods(self, target: TargetRef) -> list[FakePod]:
        """All pods, also those that are terminating."""
        return list(self._deployments[target].pods)

    def pods_of(self, target: TargetRef) -> list[Pod]:
        """The same as the API server would write them."""
        deployment = self._deployments.get(target)
        return [] if deployment is None else [self._view(target, pod) for pod in deployment.pods]

    def advance(self, now: float) -> None:
        """Let everything happen until ``now`` (unix s); an earlier time changes nothing."""
        self._now = max(self._now, now)
        for target, deployment in self._deployments.items():
            while deployment.due and deployment.due[0] <= self._now:
                self._pod(target, deployment, deployment.due.popleft())
            self._finish_roll(deployment)
            deployment.pods = [p for p in deployment.pods if p.gone_at is None or p.gone_at > self._now]

    # ClusterSource

    def sample(self, now: float, wanted: Sequence[TargetRef]) -> Mapping[TargetRef, Reading[ReplicaState]]:
        """One reading for each wanted."""
        self.advance(now)
        return {target: self._reading(now, target) for target in wanted}

    def lead_times(self, target: TargetRef) -> Sequence[LeadTime]:
        """Pods that became Ready since the last call."""
        deployment = self._deployments.get(target)
        if deployment is None or self.down or self.forbidden:
            return ()
        for pod in deployment.pods:
            view = self._view(target, pod)
            deployment.lead_times.see(replace(view, ready=None), pod.created)
            if view.ready is not None:
                deployment.lead_times.see(view, pod.ready_at)
        return deployment.lead_times.take()

    def asked(self, target: TargetRef, replicas: int, at: float) -> None:
        """Act patched the target."""
        deployment = self._deployments.get(target)
        if deployment is not None and deployment.last is not None:
            deployment.lead_times.asked(deployment.last[0].desired, replicas, at)

    def close(self) -> None:
        """Nothing to end."""

    # ReplicaWriter

    def write(self, target: TargetRef, current: int, desired: int) -> None:
        """Change the count if it still is ``current``."""
        deployment = self._find(target)
        if target in self._owners:
            raise OwnedByAnother(f"{target} is scaled by {self._owners[target]}; its count is not written")
        if deployment.replicas != current:
            raise Conflict(f"{target} has {deployment.replicas} replicas, not the {current} that were read")
        if desired < 0:
            raise TargetError(f"cannot scale {target} from {current} to {desired}: a count is not negative")
        self._scale(target, deployment, desired)
        self._writers[target] = MANAGER
        self.written.append(Written(target, current, desired, self._now))

    def last_writer(self, target: TargetRef) -> str | None:
        """Who changed the count last."""
        if self.down:
            raise Silent("the API server does not answer (it was told to be down); it is tried again")
        return self._writers.get(target)

    # EventWriter

    def event(self, target: TargetRef, reason: str, message: str, *, warning: bool, now: float) -> None:
        """Recorded, unless the cluster is down."""
        if not self.down and not self.forbidden:
            self.events.append(RecordedEvent(target, reason, message, warning, now))

    def _find(self, target: TargetRef) -> _Deployment:
        if self.down:
            raise Silent("the API server does not answer (it was told to be down); it is tried again")
        if self.forbidden:
            raise Forbidden(f"cannot scale {target}: forbidden (it was told so); grant it to the controller's role")
        if target in self._without_scale:
            raise TargetWithoutScale(f"cannot scale {target}: {target.kind} has no /scale subresource")
        if target not in self._deployments:
            raise TargetNotFound(f"{target} not found; check the name and the namespace")
        return self._deployments[target]

    def _scale(self, target: TargetRef, deployment: _Deployment, replicas: int) -> None:
        deployment.replicas = replicas
        living = [p for p in deployment.pods if p.gone_at is None and p.template == deployment.template]
        for _ in range(len(living) + len(deployment.due), replicas):
            deployment.due.append(self._now + self._created_delay)
        while deployment.due and len(living) + len(deployment.due) > replicas:
            deployment.due.pop()
        for pod in self._first_to_go(living)[: max(0, len(living) - replicas)]:
            pod.gone_at = self._now + self._drain
        self.advance(self._now)

    def _first_to_go(self, pods: Sequence[FakePod]) -> Sequence[FakePod]:
        """As the ReplicaSet controller does: pods that are not Ready first, then the newest."""
        return sorted(pods, key=lambda p: (p.ready(self._now), -p.created))

    def _finish_roll(self, deployment: _Deployment) -> None:
        new = sum(p.template == deployment.template and p.ready(self._now) for p in deployment.pods)
        old = [p for p in deployment.pods if p.template != deployment.template and p.gone_at is None]
        for pod in old[: max(0, len(old) - max(0, deployment.replicas - new))]:
            pod.gone_at = self._now + self._drain

    def _pod(self, target: TargetRef, deployment: _Deployment, created: float) -> FakePod:
        name = f"{target.name}-{deployment.template}-{next(self._numbers):05d}"
        pod = FakePod(name, deployment.template, created, created + self._lead_time())
        deployment.pods.append(pod)
        return pod

    def _view(self, target: TargetRef, pod: FakePod) -> Pod:
        """The pod as the API server would write it: whole seconds."""
        return Pod(
            uid=pod.name,
            name=pod.name,
            created=float(math.floor(pod.created)),
            scheduled=float(math.floor(pod.created)),
            ready=float(math.floor(pod.ready_at)) if pod.ready(self._now) else None,
            ends=pod.gone_at,
            finished=False,
            restarted=False,
            template=f"{target.name}-{pod.template}",
        )

    def _reading(self, now: float, target: TargetRef) -> Reading[ReplicaState]:
        try:
            deployment = self._find(target)
        except (TargetNotFound, TargetWithoutScale) as absent:
            without = isinstance(absent, TargetWithoutScale)
            reason = Reason.TARGET_WITHOUT_SCALE if without else Reason.TARGET_NOT_FOUND
            return Reading(None, now, Freshness.ABSENT, reason, str(absent))
        except Forbidden as forbidden:
            return Reading(None, now, Freshness.ERROR, Reason.FORBIDDEN, str(forbidden))
        except Silent as away:
            known = self._deployments.get(target)
            if known is not None and known.last is not None and now - known.last[1] <= KEEP:
                state, since = known.last
                return Reading(state, since, Freshness.STALE, Reason.KUBERNETES_UNREACHABLE, str(away))
            return Reading(None, now, Freshness.ERROR, Reason.KUBERNETES_UNREACHABLE, str(away))
        views = [self._view(target, p) for p in deployment.pods]
        replicas = [v for v in views if v.counts]
        last = deployment.last[0].template if deployment.last is not None else ""
        state = ReplicaState(
            desired=deployment.replicas,
            ready=sum(v.ready is not None for v in replicas),
            pending_since=tuple(sorted(v.created for v in replicas if v.ready is None)),
            terminating=leaving(now, views),
            template=newest_template(replicas) or last,
            updating=len({v.template for v in replicas}) > 1,
            unscheduled_since=unscheduled_since(now, replicas),
        )
        deployment.last = (state, now)
        return Reading(state, now, Freshness.FRESH)
