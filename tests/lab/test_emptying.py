"""Which pods the real ReplicaSet controller takes when a service on a GPU pool scales in, with Lagcast's costs and not.

Three nodes hold four, three and one of eight pods. With the costs the nodes nearest to being empty become empty;
without them pods go from the fullest.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scaler.act.finalizer import NoFinalizers
from scaler.act.nodepools.pools import ProviderPools
from scaler.act.replicas import ScaleWriter
from scaler.clock import SystemClock
from scaler.kube import connect
from scaler.observe.cluster import KubernetesCluster
from scaler.observe.pods import DELETION_COST, Pod
from scaler.observe.ports import TargetRef
from scaler.pools.act import KubernetesNodePods, PoolActor
from scaler.pools.vacate import Tenant
from simulations.lab.kwok import GPU, pod_annotations
from simulations.lab.lab import Lab
from tests.lab.floors_world import Administrator
from tests.nodepools.conformance import pool

pytestmark = pytest.mark.lab

NAME = "emptying"
ROOM = {f"{NAME}-full": 4, f"{NAME}-most": 3, f"{NAME}-last": 1}  # GPUs, and so pods, of each node
COUNT = sum(ROOM.values())
FULL, MOST, LAST = (f"{prefix}-0" for prefix in ROOM)
TARGET = TargetRef("apps/v1", "Deployment", "default", NAME)
POOL = pool({"placeholderPods": {"namespace": "default", "name": "none"}}, NAME)  # in Enforce; nothing is written to it
KEPT = "7"  # a cost that its user has set
PATIENCE = 40.0  # s


def deployment() -> dict[str, Any]:
    labels = {"app": NAME}
    container = {"name": "server", "image": "model-server", "resources": {"limits": {GPU: "1"}}}
    pods = {"containers": [container], "nodeSelector": {"pool": NAME}, "automountServiceAccountToken": False}
    template = {"metadata": {"labels": labels, "annotations": pod_annotations(0.0, gone_after=0.2)}, "spec": pods}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": "default"},
        "spec": {"replicas": COUNT, "selector": {"matchLabels": labels}, "template": template},
    }


@dataclass
class Service:
    """The pods of one target as Lagcast sees them, and what it does, with the controller's own rights."""

    admin: Administrator
    cluster: KubernetesCluster
    actor: PoolActor
    writer: ScaleWriter

    def until(self, is_so: Callable[[list[Pod]], object]) -> list[Pod]:
        end = time.monotonic() + PATIENCE
        while True:
            self.cluster.sample(time.time(), [TARGET])
            pods = list(self.cluster.pods_of(TARGET))
            if is_so(pods):
                return pods
            assert time.monotonic() < end, [(pod.node, pod.ready, pod.deletion_cost) for pod in pods]
            time.sleep(0.1)

    def serving(self, count: int) -> list[Pod]:
        """So many pods are there, all Ready."""
        return self.until(lambda pods: len(pods) == count == sum(pod.ready is not None for pod in pods))

    def whole(self) -> list[Pod]:
        """All nodes are full again."""
        self.admin.kubectl("scale", f"deployment/{NAME}", f"--replicas={COUNT}")
        pods = self.serving(COUNT)
        assert held(pods) == {FULL: 4, MOST: 3, LAST: 1}
        return pods

    def mark(self, leaving: int) -> None:
        """As before a patch that takes so many away."""
        self.actor.vacate(POOL, [Tenant("default", self.cluster.pods_of(TARGET), 1, leaving)])

    def scale_in(self, by: int) -> Mapping[str, int]:
        """Nodes from which pods went, and how many."""
        before = {pod.uid: pod for pod in self.cluster.pods_of(TARGET)}
        self.writer.write(TARGET, COUNT, COUNT - by)
        left = {pod.uid for pod in self.serving(COUNT - by)}
        return held([pod for uid, pod in before.items() if uid not in left])


def held(pods: list[Pod]) -> dict[str, int]:
    return dict(Counter(str(pod.node) for pod in pods))


def emptied(gone: Mapping[str, int]) -> list[str]:
    room = {f"{prefix}-0": gpus for prefix, gpus in ROOM.items()}
    return sorted(node for node, count in gone.items() if count == room[node])


@pytest.fixture(scope="module")
def service(lab: Lab) -> Iterator[Service]:
    admin = Administrator(lab)
    client = connect(Path(lab.kubernetes.controller_kubeconfig))
    cluster = KubernetesCluster(client, SystemClock())
    actor = PoolActor(ProviderPools(client, SystemClock()), KubernetesNodePods(client), NoFinalizers())
    nodes = [f"node/{name}" for prefix, gpus in ROOM.items() for name in lab.kwok.add_nodes(1, gpus, prefix=prefix)]
    try:
        admin.kubectl("label", *nodes, f"pool={NAME}", "--overwrite")
        admin.kubectl("apply", "-f", "-", stdin=json.dumps(deployment()))
        yield Service(admin, cluster, actor, ScaleWriter(client))
    finally:
        cluster.close()
        client.close()
        lab.kubernetes.run("delete", "deployment", NAME, "--ignore-not-found")
        lab.kubernetes.run("delete", *nodes, "--ignore-not-found", "--wait=false")
        admin.client.close()


@pytest.mark.parametrize(("by", "empties"), [(1, [LAST]), (4, [LAST, MOST])])
def test_with_costs_whole_nodes_become_empty(
    service: Service, by: int, empties: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    service.whole()
    without = service.scale_in(by)
    service.whole()
    service.mark(by)
    marked = service.until(lambda pods: sum(pod.marked is not None for pod in pods) == by)
    assert {str(pod.node) for pod in marked if pod.marked is not None} == set(empties)
    with_costs = service.scale_in(by)
    with capsys.disabled():
        for what, gone in (("without costs", without), ("with Lagcast's", with_costs)):
            print(f"\n  {COUNT} -> {COUNT - by}, {what}: gone from {gone}, empty now {emptied(gone)}", end="")  # noqa: T201
    assert emptied(with_costs) == empties
    assert set(with_costs) == set(empties), "none of another node"
    assert sum(with_costs.values()) == by
    assert without == {FULL: by}, "the controller's own choice"
    assert len(emptied(without)) < len(empties)


def test_who_stays_is_as_he_was_and_a_cost_of_its_user_is_left_alone(service: Service) -> None:
    (last,) = (pod for pod in service.whole() if pod.node == LAST)
    service.admin.kubectl("annotate", "pod", last.name, f"{DELETION_COST}={KEPT}")
    service.until(lambda pods: any(pod.deletion_cost == KEPT for pod in pods))
    service.mark(4)
    service.until(lambda pods: sum(pod.marked is not None for pod in pods) == 3)  # and one that is not ours to mark
    service.mark(0)  # the load is back
    pods = service.until(lambda pods: not any(pod.marked is not None for pod in pods))
    assert {pod.uid: pod.deletion_cost for pod in pods if pod.deletion_cost is not None} == {last.uid: KEPT}
