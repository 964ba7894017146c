"""GpuNodePools of a cluster go into the controller, and their statuses out; none goes before its floor is put back."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from scaler.act.finalizer import FINALIZER
from scaler.api.gpu_node_pool import Provider
from scaler.errors import ContestedTarget, Unreachable
from scaler.kube import KubeClient
from scaler.observe.nodes import Node
from scaler.observe.ports import TargetRef
from scaler.observe.watch import Timings
from scaler.plan.decision import Policy
from scaler.pools.endings import Left, PoolEndings, PoolRef
from scaler.pools.groups import Member
from scaler.predictive import MakePredictive
from scaler.resources.feed import ClusterScalers
from tests.cluster.api_server import ApiServer, Asked, Watched, listed
from tests.configuration.objects import POOL, spoil
from tests.pools.made import TICK, Bench, pool, scaler

BUFFER = {"capacityBuffer": {"namespace": "gpu", "name": "warm"}}
OTHER = {"karpenter": {"nodePool": "other"}}
FAST = Timings(first_pause=0.01, longest_pause=0.02, refused=0.02)


def item(resource: Any, uid: str, **metadata: Any) -> dict[str, Any]:
    """As the API server hands it over."""
    made = (
        resource if isinstance(resource, dict) else resource.model_dump(by_alias=True, mode="json", exclude_none=True)
    )
    given = {"uid": uid, "generation": 1, "creationTimestamp": "2024-01-01T00:00:00Z", "resourceVersion": "101"}
    return {**made, "metadata": {**made["metadata"], **given, **metadata}}


class World:
    """A bench whose controller is fed from the server."""

    def __init__(self, api: ApiServer, client: KubeClient, bench: Bench) -> None:
        self.bench, self.patched = bench, deque[Asked]()
        api.answer = self._answer
        self.feed = ClusterScalers(
            client, bench.controller, bench.controller._make_policy, bench.telemetry, bench.clock, TICK, FAST
        )
        self.feed.take_over()

    def tick(self) -> dict[str, Any]:
        """One tick; the statuses of pools that were written, by name."""
        self.feed.before_tick()
        self.bench.tick()
        self.feed.after_tick()
        self.feed._pools._writer.settle(2.0)
        self.feed._writer.settle(2.0)
        written = [asked for asked in self.patched if "/gpunodepools/" in asked.path]
        self.patched.clear()
        return {asked.path.split("/")[-2]: asked.body["status"] for asked in written}

    def told(self, kind: str) -> dict[str, Any]:
        """The condition ``kind`` of h100 when it is another than after the first two ticks: a new controller keeps what
        it found for a lead time."""
        first = found = None
        for tick in range(40):
            status = self.tick().get("h100")
            if status is not None:
                (found,) = [c for c in status["conditions"] if c["type"] == kind]
            if tick == 1:
                first = found
            elif tick > 1 and found is not None and first is not None and found["reason"] != first["reason"]:
                return found
        raise AssertionError(f"{kind} stays as it is: {found}")

    def _answer(self, asked: Asked) -> tuple[int, Any]:
        self.patched.append(asked)
        return 200, {}


@pytest.fixture
def world(api: ApiServer, client: KubeClient, bench: Callable[..., Bench]) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def make(*pools: dict[str, Any], then: Watched | None = None, batch: str | None = None) -> World:
        named = {"chat": "h100", "batch": batch} if batch else {"chat": "h100"}
        scalers = [item(scaler(name, pool), f"uid-{name}", namespace="default") for name, pool in named.items()]
        api.target_lists = deque([listed(scalers)])
        api.pool_lists = deque([listed(list(pools))])
        if then is not None:
            api.pool_watches = deque([then, Watched(then="hang")])
        made.append(World(api, client, bench({name: lambda t: 6.0 for name in named})))
        return made[-1]

    yield make
    for one in made:
        one.feed.close()


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}


def test_a_pool_is_planned_and_its_status_written(world: Callable[..., World]) -> None:
    w = world(item(pool(budget={"gpus": 40}), "uid-h100"))
    assert conditions(w.tick()["h100"])["Ready"] == ("False", "NotDecided"), "one reading tells no load"
    status = w.tick()["h100"]
    assert conditions(status)["Ready"] == ("True", "Deciding")
    assert conditions(status)["ScalingLimited"][0] == "False"
    assert conditions(status)["Paused"] == ("False", "NotPaused")
    assert (status["maxNodes"], status["services"], status["readyNodes"]) == (5, 1, 2)
    assert (status["currentNodes"], status["desiredNodes"]) == (2, 2), "it is new"
    assert status["leadTime"] == "7m"
    assert float(status["costPerHour"]) == pytest.approx(62.4, rel=0.05), "of two nodes, in two digits"
    assert status["observedGeneration"] == 1
    for _ in range(30):
        status = w.tick().get("h100", status)
    assert (status["currentNodes"], status["desiredNodes"]) == (1, 1), "four replicas stand on one of them"
    assert w.bench.cluster.count == 1


def test_a_pool_that_cannot_be_read_says_so_and_its_scaler_too(world: Callable[..., World]) -> None:
    wrong = spoil(POOL, "spec.node.gpus", 0)
    w = world(item(wrong, "uid-h100"))
    status = w.tick()["h100"]
    assert status["reason"] == "InvalidSpec"
    assert conditions(status) == {"Ready": ("False", "InvalidSpec")}
    assert "spec.node.gpus" in status["conditions"][0]["message"]
    (row,) = w.bench.controller.rows.values()
    assert "there is no GpuNodePool h100, or it is refused" in row.alone


def test_a_pool_that_no_scaler_names_is_seen_and_left_alone(world: Callable[..., World]) -> None:
    other = item(pool(), "uid-a100", name="a100")
    status = world(other).tick()["a100"]
    assert conditions(status)["Ready"] == ("False", "NoScaler")
    assert status["readyNodes"] == 2
    assert status["desiredNodes"] is None


def test_a_contested_pool_is_not_ready_and_counted(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    w = world(item(pool(), "uid-h100"))
    write = w.bench.cluster.write

    def contested(where: object, current: int, desired: int) -> None:
        if not isinstance(where, TargetRef):
            raise ContestedTarget("NodePool static: put back again and again, last by the field manager 'flux'")
        write(where, current, desired)

    monkeypatch.setattr(w.bench.cluster, "write", contested)
    (ready,) = [c for c in w.tick()["h100"]["conditions"] if c["type"] == "Ready"]
    w.tick()
    assert (ready["status"], ready["reason"]) == ("False", "ContestedTarget")
    assert "'flux'" in ready["message"]
    assert w.bench.value("lagcast_pool_writes_total", outcome="ContestedTarget") == 2


def test_nodes_that_do_not_state_their_gpus_are_named(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its resource has another name than those that are counted."""
    w = world(item(pool(), "uid-h100"))
    usual, target = w.bench.cluster.nodes, w.bench.target("chat")

    def nodes() -> tuple[Node, ...]:
        used = {pod.node for pod in w.bench.cluster.pods_of(target)}
        return tuple(node if node.name in used else replace(node, gpus=0) for node in usual())

    monkeypatch.setattr(w.bench.cluster, "nodes", nodes)
    ready = w.told("Ready")
    while ready["reason"] == "Deciding":
        ready = w.told("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "GpusMissing")
    assert "gpu-000 states 0 GPUs in resources whose name ends in /gpu, and spec.node.gpus says 8" in ready["message"]


def test_nodes_without_the_labels_are_told_of_while_pods_serve_on_them(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    w = world(item(pool(), "uid-h100"))
    usual = w.bench.cluster.nodes
    monkeypatch.setattr(w.bench.cluster, "nodes", lambda: usual() if w.bench.clock.now() < 1_000_060 else ())
    limited = w.told("ScalingLimited")
    assert (limited["status"], limited["reason"]) == ("True", "NodesUnseen")
    assert "nodes are not Ready, or lack pool=h100; no pod is given up for it" in limited["message"]


def test_what_is_kept_up_by_its_users_own_number_is_said(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    w = world(item(pool(provider=BUFFER), "uid-h100"))
    monkeypatch.setattr(w.bench.cluster, "least", lambda pool: 2)
    limited = w.told("ScalingLimited")
    assert (limited["status"], limited["reason"]) == ("True", "MinNodes")
    assert "2 was there before" in limited["message"]
    assert w.bench.cluster.counts == []


def count_of(mode: str = "Enforce", **provider: Any) -> dict[str, Any]:
    """A pool that counts by the replicas of the MachineDeployment fleet/gpu."""
    given = provider or {"machineDeployment": {"namespace": "fleet", "name": "gpu"}}
    return item(pool(mode=mode, provider=given), "uid-h100")


REPLICAS = {"apiVersion": "cluster.x-k8s.io/v1beta1", "kind": "MachineDeployment", "namespace": "fleet", "name": "gpu"}
FIELD = {"integerField": {**REPLICAS, "path": "/spec/replicas"}}


@pytest.mark.parametrize(
    ("old", "new", "both"),
    [
        (count_of(), count_of(), False),
        (count_of(**FIELD), count_of(), False),
        (count_of(), count_of(**FIELD), False),
        (count_of(**FIELD), count_of(**FIELD), True),  # the first one's mark keeps the second one off
        (count_of("Recommend"), count_of(), True),
        (count_of(), count_of(machineDeployment={"namespace": "fleet", "name": "other"}), True),
    ],
)
def test_of_two_pools_that_write_one_count_the_older_is_used(
    world: Callable[..., World], old: dict[str, Any], new: dict[str, Any], both: bool
) -> None:
    new = item(new, "uid-a100", name="a100", creationTimestamp="2025-01-01T00:00:00Z")
    w = world(new, old)
    assert {one.metadata.name for one in w.feed._pools.pools} == ({"a100", "h100"} if both else {"h100"})
    status = w.tick()["a100"]
    assert (conditions(status)["Ready"] == ("False", "TargetTaken")) is not both
    if not both:
        (ready,) = status["conditions"]
        assert ready["message"] == (
            "spec.provider: found MachineDeployment fleet/gpu, which GpuNodePool h100 counts by; "
            "allowed: one pool an object"
        )


def of_pools(w: World) -> dict[str, bool]:
    """Whether each scaler is planned with its pool."""
    w.tick()
    return {row.resource.metadata.name: not row.alone for row in w.bench.controller.rows.values()}


def test_a_pool_that_cannot_be_planned_takes_no_other_pool_away_and_is_tried_again(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    together = MakePredictive.together

    def broken(self: MakePredictive, members: Sequence[Member]) -> Policy:
        if members[0].service.uid == "uid-batch" and members[0].service.pool is not None:
            raise ValueError("hunter2")
        return together(self, members)

    with monkeypatch.context() as patched:
        patched.setattr(MakePredictive, "together", broken)
        w = world(item(pool(), "uid-h100"), item(pool(provider=OTHER), "uid-a100", name="a100"), batch="a100")
        assert of_pools(w) == of_pools(w) == {"chat": True, "batch": False}
    errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert [text.split(":")[0] for text in errors] == [
        "GpuNodePool a100 is left out, and its scalers are planned alone"
    ], "once"
    assert "hunter2" not in caplog.text
    assert of_pools(w) == {"chat": True, "batch": True}, "though nothing has changed since"


def test_where_no_pool_is_found_to_be_at_fault_all_scalers_are_planned_alone_and_tried_again(
    world: Callable[..., World], caplog: pytest.LogCaptureFixture
) -> None:
    w = world(item(pool(), "uid-h100"))
    configure = w.bench.controller.configure

    def broken(resources: Any, pools: Any = None) -> None:
        if pools is not None:
            raise ValueError("hunter2")
        configure(resources)

    w.bench.controller.configure = broken  # type: ignore[method-assign]
    w.feed._unfinished = True
    assert of_pools(w) == {"chat": False}
    assert "GpuNodePool h100 is left out, and its scalers are planned alone: ValueError in " in caplog.text
    w.bench.controller.configure = configure  # type: ignore[method-assign]
    assert of_pools(w) == {"chat": True}


def test_what_is_not_known_is_left_out(world: Callable[..., World]) -> None:
    w = world(item(pool(), "uid-h100"))
    w.bench.cluster.down = True
    status = w.tick()["h100"]
    assert conditions(status)["Ready"] == ("False", "KubernetesUnreachable")
    assert status["readyNodes"] is None
    assert status["desiredNodes"] is None


class Counts:
    """NodePools of which only ``release`` is asked."""

    def __init__(self) -> None:
        self.released: list[str] = []
        self.fault: Exception | None = None

    def release(self, of: Any) -> None:
        if self.fault is not None:
            raise self.fault
        self.released.append(str(of))


class Taken(list[str]):
    """Finalizers that were taken off."""

    def take_off(self, ref: PoolRef) -> None:
        self.append(str(ref))

    def left(self, ref: PoolRef) -> tuple[Left, ...]:
        raise AssertionError

    def forget(self, ref: PoolRef, provider: Provider) -> None:
        raise AssertionError


def test_no_pool_goes_before_its_floor_is_put_back() -> None:
    counts, taken = Counts(), Taken()
    asked: Any = counts
    endings = PoolEndings(asked, taken)
    stays = item(pool(), "uid-a", finalizers=[FINALIZER])
    goes = item(pool(), "uid-b", finalizers=[FINALIZER], deletionTimestamp="2026-01-01T00:00:00Z")
    others = item(pool(), "uid-c", finalizers=["a/b"], deletionTimestamp="2026-01-01T00:00:00Z")
    endings.listed([stays, goes, others], 0.0)
    counts.fault = Unreachable("away")
    endings.finish()
    assert taken == []
    counts.fault = None
    endings.finish()
    assert (counts.released, taken) == (["GpuNodePool h100"], ["GpuNodePool h100"])
    endings.removed(goes, 0.0)
    endings.finish()
    assert len(taken) == 1


def test_a_pool_whose_deletion_waits_says_why_in_its_condition(world: Callable[..., World]) -> None:
    going = item(pool(), "uid-h100", finalizers=[FINALIZER], deletionTimestamp="2026-01-01T00:00:00Z")
    going["spec"]["provider"] = {"integerField": "no"}
    w = world(going)
    status = w.tick()["h100"]
    assert conditions(status) == {"Ready": ("False", "NotReleased")}
    assert "kubectl patch gpunodepool h100" in status["conditions"][0]["message"]
    assert status["reason"] == "NotReleased"
