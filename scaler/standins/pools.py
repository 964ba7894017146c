"""GPU nodes in the process: pods stand on them or wait, and a count makes them come late and takes them away.

Of nodes that are to go, the empty ones go first, as with Karpenter; where none is, pods are evicted, and that is noted.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass, replace

from scaler.act.nodepools.ports import Held, Singled
from scaler.api.gpu_node_pool import GpuNodePool
from scaler.errors import Conflict, TargetNotFound, Unreachable
from scaler.observe.nodes import Node, PoolNodes
from scaler.observe.pods import Pod
from scaler.observe.ports import TargetRef
from scaler.plan.observation import Freshness, LeadTime, Reading
from scaler.plan.reasons import Reason
from scaler.pools.vacate import Mark
from scaler.standins.cluster import FakeCluster, FakePod

_AWAY = "the API server does not answer (it was told to be down); it is tried again"


@dataclass(slots=True)
class FakeNode:
    """One node; times in unix s. It shows when it is Ready, as a machine that registers."""

    name: str
    ready_at: float


class FakeGpuCluster(FakeCluster):
    """A FakeCluster whose pods take a GPU each; also NodePools and NodePods of one pool, at the cluster's own time."""

    def __init__(
        self,
        lead_time: Callable[[], float],
        node_lead_time: Callable[[], float],
        *,
        nodes: int,
        size: int = 8,
        start: float = 0.0,
    ) -> None:
        """``lead_time``: s of a pod from having a node to Ready; ``node_lead_time``: s from the count to a node; the
        pool begins with so many ``nodes`` of ``size`` GPUs.
        """
        super().__init__(lead_time, created_delay=0.0, start=start)
        self.size = size
        self.count = nodes
        self.counts: list[tuple[float, int]] = []  # unix s and count of each write
        self.evicted: list[str] = []  # pods that were on a node that was taken away
        self.marked = 0  # deletion costs written
        self.cordoned: set[str] = set()  # nodes that take no new pod
        self._node_lead_time = node_lead_time
        self._names = (f"gpu-{number:03d}" for number in itertools.count())
        self._nodes = [FakeNode(next(self._names), start) for _ in range(nodes)]
        self._on: dict[str, str] = {}  # pod -> node
        self._costs: dict[str, int] = {}

    # what a test looks at

    @property
    def paid(self) -> int:
        """Nodes that are there or on their way."""
        return len(self._nodes)

    def empty(self) -> list[str]:
        """Ready nodes without a pod."""
        held = set(self._on.values())
        return [node.name for node in self._nodes if node.ready_at <= self._now and node.name not in held]

    def waiting(self, target: TargetRef) -> int:
        """Pods that no node has room for."""
        return sum(pod.name not in self._on for pod in self.pods(target))

    def drain(self, node: str, pods: int) -> None:
        """The node is cordoned, and so many of its pods are evicted; others are made in their place."""
        self.cordoned.add(node)
        gone = {pod for pod, on in self._on.items() if on == node}
        for target, deployment in self._deployments.items():
            for pod in [pod for pod in deployment.pods if pod.name in gone][:pods]:
                pods -= 1
                deployment.pods.remove(pod)
                del self._on[pod.name]
                self._pod(target, deployment, self._now)

    def lose(self, node: str) -> None:
        """The node breaks: its pods go with it, and a new one is made for the count."""
        self._take_away(next(one for one in self._nodes if one.name == node))
        self._make(1)

    # the cluster

    def advance(self, now: float) -> None:
        super().advance(now)
        there = {pod.name for target in self._deployments for pod in self.pods(target)}
        self._on = {pod: node for pod, node in self._on.items() if pod in there}
        self._costs = {pod: cost for pod, cost in self._costs.items() if pod in there}
        self._schedule()

    def _schedule(self) -> None:
        used = Counter(self._on.values())
        waiting = [
            p for d in self._deployments.values() for p in d.pods if p.name not in self._on and p.gone_at is None
        ]
        for pod in sorted(waiting, key=lambda p: (p.created, p.name)):
            open_ones = [n for n in self._nodes if n.ready_at <= self._now and n.name not in self.cordoned]
            room = [n for n in open_ones if used[n.name] < self.size]
            if not room:
                return
            node = max(room, key=lambda n: (used[n.name], n.name))  # a packing scheduler
            used[node.name] += 1
            self._on[pod.name] = node.name
            if pod.ready_at == math.inf:
                pod.ready_at = max(pod.created, node.ready_at) + self._lead_time()

    def _pod(self, target: TargetRef, deployment: object, created: float) -> FakePod:
        pod = super()._pod(target, deployment, created)  # type: ignore[arg-type]
        pod.ready_at = math.inf
        return pod

    def deploy(self, target: TargetRef, replicas: int, *, ready: bool = True) -> None:
        super().deploy(target, replicas, ready=False)
        self._schedule()
        for pod in self.pods(target):
            pod.ready_at = self._now if ready and pod.name in self._on else pod.ready_at

    def _first_to_go(self, pods: Sequence[FakePod]) -> Sequence[FakePod]:
        """As the ReplicaSet controller does: those without a node, not Ready, cheapest, on the fullest node, newest."""
        used = Counter(self._on.values())

        def key(pod: FakePod) -> tuple[float, ...]:
            node = self._on.get(pod.name)
            crowd = -used[node] if node is not None else 0
            return (node is not None, pod.ready(self._now), self._costs.get(pod.name, 0), crowd, -pod.created)

        return sorted(pods, key=key)

    def _view(self, target: TargetRef, pod: FakePod) -> Pod:
        cost = self._costs.get(pod.name)
        text = None if cost is None else str(cost)
        bare = replace(pod, ready_at=pod.ready_at if pod.ready_at < math.inf else self._now + 1.0)
        view = super()._view(target, bare)
        node = self._on.get(pod.name)
        bound = view.scheduled if node is not None else None
        return replace(view, node=node, scheduled=bound, deletion_cost=text, marked=text)

    def lead_times(self, target: TargetRef) -> Sequence[LeadTime]:
        """None is told: their parts are those of a pod that has a node."""
        return ()

    # NodeSource

    def nodes(self) -> tuple[Node, ...]:
        """The nodes that there are now."""
        return tuple(
            Node(n.name, n.name, stamp, stamp, self.size, closed=n.name in self.cordoned, leaving=False)
            for n in self._nodes
            if n.ready_at <= self._now
            for stamp in [math.floor(n.ready_at)]
        )

    def floor(self, pool: GpuNodePool) -> Reading[int]:
        """The count."""
        if self.down:
            return Reading(None, self._now, Freshness.ERROR, Reason.KUBERNETES_UNREACHABLE, _AWAY)
        return Reading(self.count, self._now, Freshness.FRESH)

    def write(self, where: object, current: int, desired: int) -> None:
        """Of a target or of the pool."""
        if isinstance(where, TargetRef):
            super().write(where, current, desired)
            return
        if self.down:
            raise Unreachable(_AWAY)
        if current != self.count:
            raise Conflict(f"the pool has a count of {self.count}, not the {current} that was read")
        if desired == current:
            return
        self.count = desired
        self.counts.append((self._now, desired))
        self._make(desired - len(self._nodes))
        while len(self._nodes) > desired:
            used = Counter(self._on.values())
            self._take_away(min(self._nodes, key=lambda n: (n.ready_at <= self._now, used[n.name], n.name)))

    def least(self, pool: GpuNodePool) -> int:
        """Nobody else has set any."""
        return 0

    def single_out(self, pool: GpuNodePool, nodes: Sequence[str]) -> Singled:
        """Empty nodes go first."""
        return Singled(tuple(nodes))

    def take_back(self, pool: GpuNodePool) -> None:
        """Nothing is singled out."""

    def release(self, held: Held) -> None:
        """Nothing is marked."""

    def unmark(self, held: Held) -> None:
        """Nothing is marked."""

    def sweep(self, namespaces: Collection[str], keep: Container[str]) -> bool:
        """Take the costs off all pods but those of ``keep``."""
        if self.down:
            raise Unreachable(_AWAY)
        self._costs = {pod: cost for pod, cost in self._costs.items() if pod in keep}
        return True

    def holds(self, node: str, *, any_pod: bool = False) -> str:
        """A pod on the node."""
        if self.down:
            raise Unreachable(_AWAY)
        return next((pod for pod, on in self._on.items() if on == node), "")

    def mark(self, mark: Mark) -> None:
        """Write or take away a deletion cost."""
        if self.down:
            raise Unreachable(_AWAY)
        if mark.pod not in self._on:
            raise TargetNotFound(f"pod {mark.pod} is gone")
        self.marked += 1
        if mark.cost is None:
            self._costs.pop(mark.pod, None)
        else:
            self._costs[mark.pod] = mark.cost

    def _make(self, number: int) -> None:
        for _ in range(number):
            self._nodes.append(FakeNode(next(self._names), self._now + self._node_lead_time()))

    def _take_away(self, node: FakeNode) -> None:
        self._nodes.remove(node)
        gone = [pod for pod, on in self._on.items() if on == node.name]
        self.evicted += gone
        for target, deployment in self._deployments.items():
            for pod in [p for p in deployment.pods if p.name in gone]:
                deployment.pods.remove(pod)
                if pod.gone_at is None:
                    self._pod(target, deployment, self._now)
        self._on = {pod: on for pod, on in self._on.items() if on != node.name}


class FakeNodes:
    """The NodeSource of a FakeGpuCluster."""

    def __init__(self, cluster: FakeGpuCluster) -> None:
        self._cluster = cluster

    def sample(self, now: float, wanted: Sequence[PoolNodes]) -> Mapping[str, Reading[tuple[Node, ...]]]:
        """The same nodes for each pool."""
        if self._cluster.down:
            return {
                one.uid: Reading(None, now, Freshness.ERROR, Reason.KUBERNETES_UNREACHABLE, _AWAY) for one in wanted
            }
        return {one.uid: Reading(self._cluster.nodes(), now, Freshness.FRESH) for one in wanted}

    def close(self) -> None:
        """Nothing to end."""
