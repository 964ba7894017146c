"""What a pool has raised is noted on the pool, and put back when it goes, or names another provider: by whoever leads,
after a restart, too, until it is done, and never what the pool names now.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from scaler.act.finalizer import FINALIZER
from scaler.act.nodepools.ports import Held
from scaler.act.nodepools.raised import RAISED
from scaler.api.gpu_node_pool import Provider
from scaler.errors import TargetNotFound, Unreachable
from scaler.kube import KubeClient
from scaler.pools.endings import PoolEndings, PoolFinalizers, PoolRef, pool_ref
from tests.cluster.api_server import ApiServer, Asked
from tests.floors.served import Objects
from tests.pools.made import pool

PATH = "/apis/lagcast.io/v1alpha1/gpunodepools/h100"
WARM, COLD = ({"capacityBuffer": {"name": name, "namespace": "gpu"}} for name in ("warm", "cold"))
AUTOSCALED = {"machineDeployment": {"namespace": "fleet", "name": "h100", "autoscaled": True}}
MIN = "/metadata/annotations/cluster.x-k8s.io~1cluster-api-autoscaler-node-group-min-size"
SAME = {
    "integerField": {
        "apiVersion": "cluster.x-k8s.io/v1beta1",
        "kind": "MachineDeployment",
        "namespace": "fleet",
        "name": "h100",
        "path": MIN,
    }
}


def count_of(api_version: str, kind: str) -> dict[str, Any]:
    """The replicas of fleet/h100, as an integer of any object."""
    named = {"apiVersion": api_version, "kind": kind, "namespace": "fleet", "name": "h100"}
    return {"integerField": {**named, "path": "/spec/replicas"}}


class Counts:
    """NodePools of which only ``release`` and ``unmark`` are asked."""

    def __init__(self) -> None:
        self.released: list[dict[str, Any]] = []
        self.unmarked: list[dict[str, Any]] = []
        self.fault: Exception | None = None

    def release(self, held: Held) -> None:
        if self.fault is not None:
            raise self.fault
        assert (held.name, held.uid) == ("h100", "uid-h100")
        self.released.append(given(held.provider))

    def unmark(self, held: Held) -> None:
        self.unmarked.append(given(held.provider))


def given(provider: Provider) -> dict[str, Any]:
    return provider.model_dump(mode="json", by_alias=True, exclude_none=True)


class World:
    """One pool on a server, and replicas that watch it."""

    def __init__(self, api: ApiServer, client: KubeClient) -> None:
        self.client, self.objects, self.counts = client, Objects(), Counts()
        api.answer = self.objects.answer
        self.names(WARM)

    def names(self, provider: Any, **metadata: Any) -> None:
        """The user writes a spec; what stands on the pool beside it is kept."""
        old = self.objects.kept.get(PATH, {}).get("metadata", {})
        kept = {name: old[name] for name in ("annotations", "finalizers") if name in old}
        self.objects.put(PATH, {"metadata": {**kept, **metadata}, "spec": {"provider": provider}})

    def raises(self, provider: dict[str, Any]) -> None:
        """What the controller does before it raises anything."""
        made = pool(provider=provider)
        made = made.model_copy(update={"metadata": made.metadata.model_copy(update={"uid": "uid-h100"})})
        PoolFinalizers(self.client).put(pool_ref(made))

    def replica(self, *, sees: Any = None) -> PoolEndings:
        counts: Any = self.counts
        made = PoolEndings(counts, PoolFinalizers(self.client))
        made.listed([self.item if sees is None else sees], 0.0)
        return made

    @property
    def item(self) -> dict[str, Any]:
        return json.loads(json.dumps(self.objects.kept[PATH]))  # type: ignore[no-any-return]

    @property
    def noted(self) -> list[dict[str, Any]] | None:
        text = (self.item["metadata"].get("annotations") or {}).get(RAISED)
        return None if text is None else json.loads(text)

    @property
    def finalizers(self) -> list[str]:
        return list(self.item["metadata"].get("finalizers") or [])


@pytest.fixture
def world(api: ApiServer, client: KubeClient) -> World:
    return World(api, client)


def test_the_provider_is_noted_with_the_finalizer_and_once(world: World) -> None:
    world.raises(WARM)
    assert (world.noted, world.finalizers) == ([WARM], [FINALIZER])
    world.raises(WARM)
    assert len(world.objects.patches) == 1
    world.raises(COLD)
    assert world.noted == [WARM, COLD]


def test_other_annotations_and_finalizers_are_kept(world: World) -> None:
    world.names(WARM, annotations={"team": "ml"}, finalizers=["a/b"])
    world.raises(WARM)
    assert world.item["metadata"]["annotations"]["team"] == "ml"
    assert world.finalizers == ["a/b", FINALIZER]
    PoolFinalizers(world.client).take_off(PoolRef("", "h100", "uid-h100"))
    assert world.item["metadata"]["annotations"] == {"team": "ml"}
    assert world.finalizers == ["a/b"]


def meanwhile(world: World, api: ApiServer, change: Callable[[dict[str, Any]], None]) -> None:
    """Before the next patch somebody else changes the pool's metadata."""

    def late(asked: Asked) -> tuple[int, Any]:
        if asked.method == "PATCH":
            api.answer = world.objects.answer
            change(world.objects.kept[PATH]["metadata"])
            world.objects.kept[PATH]["metadata"]["resourceVersion"] += "0"
        return world.objects.answer(asked)

    api.answer = late


@pytest.mark.parametrize("before", [[], [WARM]])
def test_what_another_notes_at_the_same_moment_is_kept(
    world: World, api: ApiServer, before: list[dict[str, Any]]
) -> None:
    world.names(WARM, finalizers=[FINALIZER])
    for one in before:
        world.raises(one)
    meanwhile(world, api, lambda seen: seen.update(annotations={RAISED: json.dumps([*before, AUTOSCALED])}))
    world.raises(COLD)
    assert world.noted == [*before, AUTOSCALED, COLD]


def test_a_finalizer_that_another_puts_on_at_the_same_moment_is_kept(world: World, api: ApiServer) -> None:
    world.raises(WARM)
    meanwhile(world, api, lambda seen: seen["finalizers"].append("a/b"))
    PoolFinalizers(world.client).take_off(PoolRef("", "h100", "uid-h100"))
    assert (world.finalizers, world.noted) == (["a/b"], None)


def test_nothing_is_noted_on_a_pool_that_goes_or_is_another(world: World) -> None:
    world.names(WARM, deletionTimestamp="2026-01-01T00:00:00Z")
    with pytest.raises(TargetNotFound):
        world.raises(WARM)
    world.names(WARM, uid="uid-other")
    with pytest.raises(TargetNotFound):
        world.raises(WARM)
    assert world.noted is None


def test_the_provider_before_is_put_back_also_by_who_begins_to_lead_later(world: World) -> None:
    world.raises(WARM)
    world.names(COLD)
    world.raises(COLD)
    restarted = world.replica()
    assert restarted.finish() == {}
    assert world.counts.released == [WARM]
    assert (world.noted, world.finalizers) == ([COLD], [FINALIZER])
    world.replica().finish()
    assert world.counts.released == [WARM], "once"


def test_what_fails_is_tried_again(world: World) -> None:
    world.raises(WARM)
    world.names(COLD)
    leader = world.replica()
    world.counts.fault = Unreachable("away")
    assert leader.finish() == {}, "it is not being deleted"
    assert world.noted == [WARM]
    world.counts.fault = None
    leader.finish()
    assert (world.counts.released, world.noted) == ([WARM], None)


def test_a_replica_that_saw_a_and_b_does_not_put_back_a_that_is_named_again(world: World) -> None:
    world.raises(WARM)
    world.names(COLD)
    world.raises(COLD)
    late = world.replica(sees=world.item)  # it names COLD there
    world.names(WARM)
    late.finish()
    assert world.counts.released == [COLD]
    assert world.noted == [WARM]


def test_another_name_for_the_same_number_puts_nothing_back(world: World) -> None:
    world.names(AUTOSCALED)
    world.raises(AUTOSCALED)
    world.names(SAME)
    world.replica().finish()
    assert (world.counts.released, world.counts.unmarked) == ([], [])
    assert world.noted == [SAME], "it stands raised, by that name"
    world.names(AUTOSCALED)
    world.raises(AUTOSCALED)
    world.replica().finish()
    assert (world.counts.released, world.noted) == ([], [AUTOSCALED])


def test_a_count_that_is_not_marked_from_now_on_keeps_its_number_and_loses_the_mark(world: World) -> None:
    """Nobody would renew it, and the nodes of the pool would go when it has ended."""
    counted = count_of("cluster.x-k8s.io/v1beta1", "MachineDeployment")
    world.names(counted)
    world.raises(counted)
    world.names({"machineDeployment": {"namespace": "fleet", "name": "h100"}})
    world.replica().finish()
    assert (world.counts.unmarked, world.counts.released, world.noted) == ([counted], [], None)


@pytest.mark.parametrize("there", [False, True])
def test_the_same_number_whose_mark_stands_elsewhere_is_put_back_and_raised_anew(world: World, there: bool) -> None:
    """What the user has set is in the mark alone: by the next one it would be taken for what was raised."""
    both = [count_of("apps/v1", "Deployment"), {"placeholderPods": {"namespace": "fleet", "name": "h100"}}]
    before, now = both[::-1] if there else both
    world.names(before)
    world.raises(before)
    world.names(now)
    world.replica().finish()
    assert (world.counts.released, world.counts.unmarked, world.noted) == ([before], [], None)


def test_a_machine_deployment_that_is_named_no_longer_has_its_machines_taken_back(world: World) -> None:
    machines = {"machineDeployment": {"namespace": "fleet", "name": "h100", "autoscaled": False}}
    for now in (AUTOSCALED, count_of("cluster.x-k8s.io/v1beta1", "MachineDeployment"), WARM):
        world.names(machines)
        world.raises(machines)
        world.names(now)
        world.replica().finish()
        assert (world.counts.released, world.noted) == ([machines], None)
        world.counts.released.clear()


def test_a_deleted_pool_puts_back_all_that_it_has_raised(world: World) -> None:
    world.raises(WARM)
    world.names(COLD)
    world.raises(COLD)
    world.names(COLD, deletionTimestamp="2026-01-01T00:00:00Z")
    world.replica().finish()
    assert world.counts.released == [WARM, COLD]
    assert world.finalizers == []


def test_a_spec_that_cannot_be_read_keeps_nothing_from_being_put_back(world: World) -> None:
    world.raises(WARM)
    world.names("nonsense", deletionTimestamp="2026-01-01T00:00:00Z")
    world.replica().finish()
    assert (world.counts.released, world.finalizers) == ([WARM], [])


@pytest.mark.parametrize(
    "noted", [None, "nonsense", '[{"capacityBuffer":{}}]', "{}", pytest.param("[" * 100_000, id="deep")]
)
def test_where_it_cannot_be_told_what_was_raised_the_finalizer_stays(world: World, noted: str | None) -> None:
    annotations = {} if noted is None else {RAISED: noted}
    world.names("nonsense", deletionTimestamp="2026-01-01T00:00:00Z", finalizers=[FINALIZER], annotations=annotations)
    ((item, why),) = world.replica().finish().values()
    assert item["metadata"]["name"] == "h100"
    assert "lagcast.io/floor-owner is GpuNodePool/h100" in why
    assert (world.counts.released, world.finalizers) == ([], [FINALIZER])
    world.names(WARM, deletionTimestamp="2026-01-01T00:00:00Z", annotations={})  # the user says what it was
    world.replica().finish()
    assert (world.counts.released, world.finalizers) == ([WARM], [])


def test_a_living_pool_whose_provider_cannot_be_read_has_nothing_put_back(world: World) -> None:
    world.raises(WARM)
    world.names("nonsense")
    world.replica().finish()
    assert (world.counts.released, world.noted) == ([], [WARM])
