"""A MachineDeployment that nobody scales is lowered by the Machines of empty nodes, and by no others."""

from __future__ import annotations

from typing import Any

import pytest

from scaler.act.nodepools.machines import FIRST
from scaler.act.nodepools.marks import LIFE
from scaler.act.nodepools.pools import ProviderPools
from scaler.act.nodepools.ports import Singled
from scaler.act.nodepools.release import release
from scaler.api.gpu_node_pool import GpuNodePool
from scaler.errors import Conflict, Forbidden, NotLeader, OwnedByAnother, Silent, TargetError, Unreachable
from tests.nodepools.conformance import START, held
from tests.nodepools.test_conformance import MACHINES, MAX, MIN, FakeWorld, fake

LABELS = {"cluster.x-k8s.io/deployment-name": "h100"}
OURS = "lagcast.io/h100"
WHERE = MACHINES.replace("machinedeployments", "machines")


def fleet(nodes: str = "abcd", replicas: int | None = None) -> tuple[FakeWorld, GpuNodePool]:
    """A Machine for each of the nodes."""
    world = fake("machineDeployment")
    made = world.made(len(nodes) if replicas is None else replicas)
    world.item(made)["spec"]["selector"] = {"matchLabels": LABELS}
    for node in nodes:
        machine(world, node)
    return world, made


def machine(world: FakeWorld, node: str, owner: str = "h100-1", **metadata: Any) -> None:
    """``m-NODE``, of the node, and of a MachineSet."""
    owners = [{"kind": "MachineSet", "name": owner, "controller": True}]
    item = {
        "metadata": {"labels": dict(LABELS), "ownerReferences": owners, "uid": f"uid-{node}", **metadata},
        "status": {"nodeRef": {"name": node}},
    }
    world.kube.put(f"{WHERE}/m-{node}", item)


def first(world: FakeWorld) -> dict[str, str]:
    """What stands in Cluster API's annotation, by node."""
    there = {path.rpartition("m-")[2]: item for path, item in world.kube.objects.items() if path.startswith(WHERE)}
    found = {node: item["metadata"].get("annotations", {}).get(FIRST) for node, item in there.items()}
    return {node: value for node, value in found.items() if value is not None}


def test_the_machines_of_the_nodes_that_are_to_go_are_annotated_before_the_count_is_lowered() -> None:
    world, made = fleet()
    assert world.pools.single_out(made, ["b", "d"]) == Singled(("b", "d"))
    assert first(world) == {"b": OURS, "d": OURS}
    assert world.number(made) == 4
    world.pools.write(made, 4, 2)
    assert world.number(made) == 2


def test_they_keep_it_until_cluster_api_has_chosen_and_then_lose_it() -> None:
    world, made = fleet()
    world.pools.single_out(made, ["b", "d"])
    world.pools.write(made, 4, 3)  # one fewer than was singled out
    world.pools.write(made, 3, 3)
    assert first(world) == {"b": OURS, "d": OURS}, "else it would take any"
    world.kube.objects[f"{WHERE}/m-b"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.pools.write(made, 3, 3)
    assert first(world) == {"b": OURS}, "of one that is being deleted it does not matter"


def test_a_machine_that_was_given_up_is_not_given_up_once_more() -> None:
    """Cluster API lags, and its node is still there, empty: by it the count would be lowered twice."""
    world, made = fleet()
    world.pools.single_out(made, ["b"])
    world.pools.write(made, 4, 3)
    for nodes in (["b"], ["c"], ["b", "c"]):
        found = world.pools.single_out(made, nodes)
        assert found.nodes == ()
        assert "still to go" in found.why
    assert first(world) == {"b": OURS}, "nor is another taken instead"
    world.kube.objects[f"{WHERE}/m-b"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert world.pools.single_out(made, ["b", "c"]).nodes == ("c",)


def test_a_count_that_was_not_lowered_after_all_leaves_no_machine_annotated() -> None:
    world, made = fleet()
    world.pools.write(made, 4, 4)  # it is known that none is annotated
    world.pools.single_out(made, ["b"])
    world.change(made, 4)
    world.pools.write(made, 4, 5)
    assert first(world) == {}
    world.pools.single_out(made, ["b", "c"])
    assert world.pools.single_out(made, ["c"]).nodes == ("c",)
    assert first(world) == {"c": OURS}, "a pod has come to the other node"


def test_what_another_replica_annotates_later_is_taken_back_too() -> None:
    """It leads for a while, and then this one again."""
    world, made = fleet()
    world.pools.take_back(made)
    ProviderPools(world.kube, world.clock).single_out(made, ["b"])
    world.clock.advance(LIFE - 1.0)
    world.pools.take_back(made)
    assert first(world) == {"b": OURS}, "it is not looked at every tick"
    world.clock.advance(1.0)
    world.pools.take_back(made)
    assert first(world) == {}


@pytest.mark.parametrize("fault", [Unreachable("a webhook"), TargetError("a schema"), Silent("away"), NotLeader("no")])
def test_machines_that_cannot_be_taken_back_hold_up_no_node(fault: TargetError) -> None:
    world, made = fleet()
    world.kube.faults["/machines"] = fault
    with pytest.raises(type(fault)):
        world.pools.write(made, 4, 4)  # it is told where nothing is to be raised
    if isinstance(fault, NotLeader | Silent):
        with pytest.raises(type(fault)):
            world.pools.write(made, 4, 6)
        assert world.number(made) == 4, "then nothing more is asked for"
    else:
        world.pools.write(made, 4, 6)
        assert world.number(made) == 6


def test_after_a_restart_what_was_left_is_taken_off() -> None:
    world, made = fleet()
    world.pools.single_out(made, ["b"])
    again = fake("machineDeployment")
    again.kube.objects = world.kube.objects
    again.pools.write(made, 4, 4)
    assert first(again) == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("rollout", "it rolls out"),
        ("orphan", "MachineSets"),
        ("paused", "paused"),
        ("theirs", "Machine m-a is annotated"),
    ],
)
def test_where_it_is_not_known_which_go_none_is_annotated(change: str, said: str) -> None:
    world, made = fleet()
    if change == "rollout":
        machine(world, "e", "h100-2")
    elif change == "orphan":
        machine(world, "e", ownerReferences=[])
    elif change == "paused":
        world.item(made)["spec"]["paused"] = True
    else:
        machine(world, "a", annotations={FIRST: "2026-01-01"})
    before = first(world)
    found = world.pools.single_out(made, ["b"])
    assert found.nodes == ()
    assert said in found.why
    assert first(world) == before


def test_a_node_that_no_machine_names_is_not_given_up() -> None:
    world, made = fleet("ab")
    found = world.pools.single_out(made, ["x", "b"])
    assert found.nodes == ("b",)
    assert "node x" in found.why
    assert first(world) == {"b": OURS}


def test_other_deployments_machines_are_left_alone() -> None:
    world, made = fleet("ab")
    machine(world, "c", "other-1", labels={"cluster.x-k8s.io/deployment-name": "other"}, annotations={FIRST: "x"})
    assert world.pools.single_out(made, ["b", "c"]).nodes == ("b",)


def test_a_machine_that_was_changed_at_the_same_moment_is_decided_on_anew() -> None:
    world, made = fleet("ab")
    world.kube.meanwhile = [(f"{WHERE}/m-b", {"metadata": {"annotations": {"who": "ops"}}})]
    with pytest.raises(Conflict):
        world.pools.single_out(made, ["b"])
    assert first(world) == {}


def test_a_node_group_of_the_autoscalers_has_no_machine_annotated() -> None:
    world, made = fleet("ab")
    world.item(made)["metadata"]["annotations"] = {MIN: "1", MAX: "9"}
    with pytest.raises(OwnedByAnother, match="autoscaled: true"):
        world.pools.single_out(made, ["b"])
    assert world.pools.floor(made).value == 2
    with pytest.raises(OwnedByAnother):
        world.pools.write(made, 2, 2)
    assert first(world) == {}


def test_a_release_takes_all_of_ours_off_and_no_others() -> None:
    world, made = fleet()
    world.pools.single_out(made, ["b"])
    machine(world, "d", annotations={FIRST: "2026-01-01"})
    (line,) = release(world.kube, expired_only=False, now=START)
    assert (line.what, line.fault) == ("Machine fleet/m-b", "")
    assert first(world) == {"d": "2026-01-01"}
    machine(world, "d")
    world.pools.single_out(made, ["b"])
    assert first(world) == {"b": OURS}
    world.pools.release(held(made))
    assert first(world) == {}


def test_a_release_leaves_it_where_machines_are_still_to_go() -> None:
    """Without it Cluster API would take any, also one that serves."""
    world, made = fleet()
    world.pools.single_out(made, ["b"])
    world.pools.write(made, 4, 3)
    (line,) = release(world.kube, expired_only=False, now=START)
    assert line.what == "Machine fleet/m-b"
    assert "still to go" in line.fault
    assert first(world) == {"b": OURS}
    del world.kube.objects[f"{WHERE}/m-d"]  # it took another one
    (line,) = release(world.kube, expired_only=False, now=START)
    assert (line.fault, first(world)) == ("", {})


def test_a_release_leaves_it_where_it_is_not_known_how_many_are_to_stay() -> None:
    world, made = fleet()
    world.pools.single_out(made, ["b"])
    world.kube.faults["/machinedeployments"] = Forbidden("may not list")
    lines = release(world.kube, expired_only=False, now=START)
    assert ("Machine fleet/m-b", "may not list") in [(line.what, line.fault) for line in lines]
    assert first(world) == {"b": OURS}


def test_who_takes_the_empty_ones_by_itself_needs_no_annotation() -> None:
    world = fake("karpenter")
    assert world.pools.single_out(world.made(4), ["a", "b"]) == Singled(("a", "b"))
