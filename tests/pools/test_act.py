"""A pool's count is written in Enforce only, over what was read, and lowered by nodes only that are empty just then."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from scaler.act.nodepools.ports import Held, Singled
from scaler.act.order import Outcome, ScalerRef
from scaler.api.gpu_node_pool import GpuNodePool
from scaler.errors import Conflict, Forbidden, OwnedByAnother
from scaler.kube import KubeClient
from scaler.observe.nodes import Node
from scaler.observe.pods import DELETION_COST, MARKED
from scaler.plan.observation import Freshness, PoolObservation, PoolState, Reading
from scaler.plan.reasons import Reason
from scaler.pools.act import KubernetesNodePods, PoolActor, PoolOrder
from scaler.pools.limits import Bounded
from scaler.pools.pools import Pools
from scaler.pools.row import PoolSeen
from scaler.pools.vacate import Mark
from tests.cluster.api_server import ApiServer
from tests.pools.made import pool


class Api:
    """NodePools and NodePods that remember."""

    def __init__(self, *held: str) -> None:
        self.held = held
        self.own = 0  # that the user of the provider's object has set
        self.sure: Singled | None = None
        self.asked: list[tuple[str, bool]] = []  # nodes that were looked at, and whether for any pod
        self.swept: list[set[str]] = []
        self.written: list[tuple[int, int]] = []
        self.guarded: list[str] = []
        self.kept: list[str] = []  # pools of which no node is to go
        self.fault: Exception | None = None

    def floor(self, pool: GpuNodePool) -> Reading[int]:
        raise AssertionError

    def write(self, pool: GpuNodePool, current: int, desired: int) -> None:
        if self.fault is not None:
            raise self.fault
        self.written.append((current, desired))

    def least(self, pool: GpuNodePool) -> int:
        return self.own

    def single_out(self, pool: GpuNodePool, nodes: Sequence[str]) -> Singled:
        return self.sure or Singled(tuple(nodes))

    def take_back(self, pool: GpuNodePool) -> None:
        self.kept.append(pool.metadata.name)

    def release(self, held: Held) -> None:
        raise AssertionError

    def unmark(self, held: Held) -> None:
        raise AssertionError

    def sweep(self, namespaces: Collection[str], keep: Container[str]) -> bool:
        if self.fault is not None:
            raise self.fault
        self.swept.append(set(namespaces))
        return True

    def holds(self, node: str, *, any_pod: bool = False) -> str:
        self.asked.append((node, any_pod))
        return "ml/other-0" if node in self.held else ""

    def mark(self, mark: Mark) -> None:
        raise AssertionError

    def put(self, ref: ScalerRef) -> None:
        self.guarded.append(str(ref))

    def take_off(self, ref: ScalerRef) -> None:
        raise AssertionError


def node(name: str) -> Node:
    return Node(name, name, 0.0, 1.0, 8, closed=False, leaving=False)


def order(
    nodes: int | None, *, floor: int = 4, empty: tuple[str, ...] = (), made: GpuNodePool | None = None
) -> PoolOrder:
    state = PoolState(4, (), len(empty), floor)
    made = made or pool()
    seen = PoolSeen(
        PoolObservation("u", Reading(state, 0.0, Freshness.FRESH)),
        floor - (4 - len(empty)) if "capacityBuffer" in made.spec.provider.name else floor,
        4 - len(empty),
        tuple(map(node, empty)),
    )
    return PoolOrder(made, seen, None if nodes is None else Bounded(nodes), 0.0)


def test_up_at_once_and_down_by_the_empty() -> None:
    api = Api()
    assert PoolActor(api, api, api).apply(order(6)).reason is Reason.APPLIED
    assert PoolActor(api, api, api).apply(order(2, empty=("a", "b"))).reason is Reason.APPLIED
    assert api.written == [(4, 6), (4, 2)]
    assert api.guarded == [], "a static count stays as it is"


@pytest.mark.parametrize(
    ("wanted", "written"),
    [(4, 5), (5, 6), (12, 12), (3, 5)],  # the number as read is 5: four that serve, and one that is cordoned
)
def test_a_cordoned_node_is_replaced_as_far_as_the_pool_may_grow(wanted: int, written: int) -> None:
    api, asked = Api(), order(wanted)
    PoolActor(api, api, api).apply(replace(asked, seen=replace(asked.seen, number=5, shut=1, there=5)))
    assert api.written == [(5, written)]


def test_a_number_above_the_most_that_counts_a_cordoned_node_stands() -> None:
    api, asked = Api(), order(None, floor=12)
    PoolActor(api, api, api).apply(replace(asked, seen=replace(asked.seen, number=13, shut=1, there=13)))
    assert api.written == [(13, 13)]


def test_a_pool_is_lowered_by_its_empty_nodes_beside_a_cordoned_one() -> None:
    api, asked = Api(), order(2, empty=("a", "b"))
    PoolActor(api, api, api).apply(replace(asked, seen=replace(asked.seen, number=5, shut=1, there=5)))
    assert api.written == [(5, 3)]


def test_a_node_that_holds_anybodys_pod_is_not_given_up() -> None:
    api = Api("a")
    assert PoolActor(api, api, api).apply(order(2, empty=("a", "b"))) == Outcome(Reason.APPLIED, "4 -> 3 nodes")
    api = Api("a", "b")
    outcome = PoolActor(api, api, api).apply(order(2, empty=("a", "b")))
    assert outcome.reason is Reason.NODES_IN_USE
    assert "holds pod ml/other-0" in outcome.detail
    assert api.written == [(4, 4)]


def test_what_is_not_decided_is_held_and_its_mark_renewed() -> None:
    api = Api()
    assert PoolActor(api, api, api).apply(order(None)).reason is Reason.UNCHANGED
    assert api.written == [(4, 4)]


@pytest.mark.parametrize(("mode", "said"), [("Recommend", Reason.RECOMMENDED), ("Enforce", Reason.PAUSED)])
def test_nothing_is_written_in_recommend_or_when_paused(mode: str, said: Reason) -> None:
    api, made = Api(), pool(mode=mode)
    if mode == "Enforce":
        made = made.model_copy(
            update={"metadata": made.metadata.model_copy(update={"annotations": {"lagcast.io/paused": "true"}})}
        )
    assert PoolActor(api, api, api).apply(order(6, made=made)) == Outcome(said, "4 -> 6 nodes")
    assert api.written == []
    assert api.kept == ["h100"], "nor is a node to go some day that was to go before"


@pytest.mark.parametrize("leads", [True, False])
def test_of_a_pool_that_no_scaler_names_no_node_is_to_go(leads: bool) -> None:
    api, nobody = Api(), cast(Any, None)
    row = Pools(nobody, PoolActor(api, api, api), nobody, nobody).carry_out(
        pool(), order(None).seen, None, 0.0, leads=leads, services=0
    )
    assert row.outcome.reason is Reason.UNCHANGED
    assert api.kept == (["h100"] if leads else [])
    assert api.written == []


def test_spare_nodes_are_what_a_buffer_counts() -> None:
    api, made = Api("a"), pool(provider={"capacityBuffer": {"namespace": "gpu", "name": "warm"}})
    assert PoolActor(api, api, api).apply(order(6, made=made, empty=("a",))).reason is Reason.APPLIED
    assert PoolActor(api, api, api).apply(order(3, made=made, empty=("a",))).reason is Reason.APPLIED
    assert api.guarded == ["GpuNodePool h100"], "before it is raised: it is not gone before its floor is"
    assert api.written == [(1, 3), (1, 0)], "three of four nodes hold pods; a buffer takes no node away by itself"


def test_nodes_of_which_it_is_not_sure_that_they_go_are_not_given_up() -> None:
    api, made = Api(), pool(provider={"machineDeployment": {"namespace": "fleet", "name": "h100"}})
    api.sure = Singled((), "it rolls out")
    outcome = PoolActor(api, api, api).apply(order(2, made=made, empty=("a", "b")))
    assert outcome == Outcome(Reason.NODES_IN_USE, "it rolls out: the pool is not lowered by it")
    api.sure = Singled(("b",), "no Machine says that node a is its own")
    assert PoolActor(api, api, api).apply(order(2, made=made, empty=("a", "b"))).reason is Reason.APPLIED
    assert PoolActor(api, api, api).apply(order(6, made=made)).reason is Reason.APPLIED
    assert api.written == [(4, 4), (4, 3), (4, 6)]
    assert api.guarded == ["GpuNodePool h100"] * 2, "what is annotated is taken back before the pool is gone"


def test_karpenter_has_to_find_the_same_nodes_empty() -> None:
    api = Api()
    PoolActor(api, api, api).apply(order(3, empty=("a",)))
    machines = pool(provider={"machineDeployment": {"namespace": "fleet", "name": "h100"}})
    PoolActor(api, api, api).apply(order(3, made=machines, empty=("a",)))
    assert api.asked == [("a", True), ("a", False)]


def test_karpenter_has_to_have_taken_away_what_was_given_up_before() -> None:
    """Else an empty node that is still there is given up once more, and Karpenter takes one that serves."""
    api, asked = Api(), order(3, empty=("a",))
    outcome = PoolActor(api, api, api).apply(replace(asked, seen=replace(asked.seen, there=5)))
    assert outcome.reason is Reason.NODES_IN_USE
    assert "5 nodes are there: what is above 4 is still to go" in outcome.detail
    assert api.written == [(4, 4)]
    PoolActor(api, api, api).apply(replace(asked, seen=replace(asked.seen, there=4)))
    assert api.written == [(4, 4), (4, 3)]


def test_a_floor_is_not_below_what_its_user_has_set() -> None:
    api = Api()
    api.own = 3
    made = pool(provider={"machineDeployment": {"namespace": "fleet", "name": "h100", "autoscaled": True}})
    assert PoolActor(api, api, api).apply(order(1, made=made, empty=("a", "b", "c"))).reason is Reason.APPLIED
    outcome = PoolActor(api, api, api).apply(order(1, floor=3, made=made, empty=("a", "b", "c")))
    assert outcome.reason is Reason.UNCHANGED
    assert "3 was there before" in outcome.detail
    assert api.written == [(4, 3), (3, 3)]


@pytest.mark.parametrize("paused", ["false", "true"])
def test_what_stands_raised_has_its_finalizer_also_after_somebody_took_it_off(paused: str) -> None:
    """`lagcast release` beside a running controller: the number is raised again before the finalizer is taken off."""
    api, made = Api(), pool(provider=BUFFER)
    metadata = made.metadata.model_copy(update={"annotations": {"lagcast.io/paused": paused}})
    stands = order(4, made=made.model_copy(update={"metadata": metadata}), empty=("a",))
    PoolActor(api, api, api).apply(stands)
    assert (api.guarded, api.written) == (["GpuNodePool h100"], [(1, 1)])
    api.own = 1
    PoolActor(api, api, api).apply(stands)
    assert api.guarded == ["GpuNodePool h100"], "where nothing is raised, none is needed"


def test_one_conflict_is_no_fault_and_one_at_every_tick_is(caplog: pytest.LogCaptureFixture) -> None:
    api = Api()
    actor = PoolActor(api, api, api)
    api.fault = Conflict("somebody else changed it")
    assert [actor.apply(order(6)).reason for _ in range(3)] == [Reason.CONFLICT] * 3
    outcome = actor.apply(order(6))
    assert outcome.reason is Reason.CONTESTED_TARGET
    assert "4 times in a row" in outcome.detail
    api.fault = None
    assert actor.apply(order(6)).reason is Reason.APPLIED
    api.fault = Conflict("somebody else changed it")
    assert actor.apply(order(6)).reason is Reason.CONFLICT


def test_costs_that_cannot_be_taken_off_are_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    api = Api()
    actor = PoolActor(api, api, api)
    api.fault = Forbidden("no pods")
    assert not actor.tidy({"ml"}, set())
    assert not actor.tidy({"ml"}, set())
    assert len(caplog.records) == 1
    api.fault = None
    assert actor.tidy({"ml"}, set())
    assert api.swept == [{"ml"}]


@pytest.mark.parametrize(
    ("error", "reason"), [(Forbidden("no"), Reason.FORBIDDEN), (OwnedByAnother("his"), Reason.OWNED_BY_ANOTHER)]
)
def test_a_refusal_is_told(error: Exception, reason: Reason, caplog: pytest.LogCaptureFixture) -> None:
    api = Api()
    api.fault = error
    actor = PoolActor(api, api, api)
    assert actor.apply(order(6)) == Outcome(reason, str(error))
    assert actor.apply(order(6)).reason is reason
    assert len(caplog.records) == 1, "once, not at every tick"


def test_what_is_not_known_is_not_written() -> None:
    api = Api()
    gone = PoolSeen(PoolObservation("u", Reading(None, 0.0, Freshness.ERROR, Reason.KUBERNETES_UNREACHABLE, "away")))
    outcome = PoolActor(api, api, api).apply(PoolOrder(pool(), gone, Bounded(1), 0.0))
    assert outcome == Outcome(Reason.KUBERNETES_UNREACHABLE, "away")
    assert api.written == []


BUFFER = {"capacityBuffer": {"namespace": "gpu", "name": "warm"}}


@pytest.mark.parametrize("value", ["true", "yes"])
def test_what_was_raised_stands_while_the_pool_is_paused(value: str) -> None:
    """Its mark would expire, and the nodes of an incident go one after the other."""
    api, made = Api(), pool(provider=BUFFER)
    metadata = made.metadata.model_copy(update={"annotations": {"lagcast.io/paused": value}})
    paused = order(6, made=made.model_copy(update={"metadata": metadata}), empty=("a",))
    assert PoolActor(api, api, api).apply(paused).reason is Reason.PAUSED
    assert api.written == [(1, 1)]


def test_what_was_raised_stands_while_nodes_cannot_be_seen() -> None:
    api, fresh = Api(), order(2, made=pool(provider=BUFFER), empty=("a",))
    state = replace(fresh.seen.observation.state, freshness=Freshness.STALE, reason=Reason.KUBERNETES_UNREACHABLE)
    seen = replace(fresh.seen, observation=PoolObservation("u", state))
    assert PoolActor(api, api, api).apply(replace(fresh, seen=seen)).reason is Reason.KUBERNETES_UNREACHABLE
    assert api.written == [(1, 1)]


def test_what_is_stale_is_not_written_either() -> None:
    api, fresh = Api(), order(2, empty=("a", "b"))
    state = replace(fresh.seen.observation.state, freshness=Freshness.STALE, reason=Reason.KUBERNETES_UNREACHABLE)
    seen = replace(fresh.seen, observation=PoolObservation("u", state))
    outcome = PoolActor(api, api, api).apply(replace(fresh, seen=seen))
    assert outcome.reason is Reason.KUBERNETES_UNREACHABLE
    assert api.written == []


def test_pods_that_would_be_lost(api: ApiServer, client: KubeClient) -> None:
    def pods(*owners: str, annotations: Any = None, **more: object) -> Callable[[object], tuple[int, object]]:
        metadata = {"namespace": "ml", "name": "p", "ownerReferences": [{"kind": kind} for kind in owners]}
        metadata |= {"annotations": annotations or {}}
        return lambda _: (200, {"items": [{"metadata": metadata, **more}]})

    there = KubernetesNodePods(client)
    for found, expected in (
        (pods("ReplicaSet"), "ml/p"),
        (pods(), "ml/p"),
        (pods("DaemonSet"), ""),
        (pods("Node"), ""),
        (pods("Job", status={"phase": "Succeeded"}), ""),
    ):
        api.lists.clear()
        api.lists.append(found(None))  # type: ignore[arg-type]
        assert there.holds("gpu-1") == expected
    lasts = {"karpenter.sh/do-not-disrupt": "true"}
    for found, expected in (
        (pods("DaemonSet"), ""),
        (pods("Node"), "ml/p"),
        (pods("Job", status={"phase": "Succeeded"}), "ml/p"),
        (pods("DaemonSet", annotations=lasts), "ml/p"),
    ):
        api.lists.clear()
        api.lists.append(found(None))  # type: ignore[arg-type]
        assert there.holds("gpu-1", any_pod=True) == expected, "as Karpenter takes a node for empty"
    assert api.asked[-1].query == {"fieldSelector": "spec.nodeName=gpu-1"}


def test_a_mark_goes_to_this_very_pod(api: ApiServer, client: KubeClient) -> None:
    api.answer = lambda asked: (200, {})
    KubernetesNodePods(client).mark(Mark("ml", "chat-0", "uid-0", -1000))
    KubernetesNodePods(client).mark(Mark("ml", "chat-0", "uid-0", None))
    (first, second) = api.asked
    assert first.path == "/api/v1/namespaces/ml/pods/chat-0"
    assert first.body == {"metadata": {"uid": "uid-0", "annotations": {DELETION_COST: "-1000", MARKED: "-1000"}}}
    assert second.body["metadata"]["annotations"] == {DELETION_COST: None, MARKED: None}
