"""What is particular to one provider, and what is said when its object cannot be written."""

from __future__ import annotations

from typing import Any

import pytest

from scaler.act.nodepools.marks import BEFORE, LIFE, OWNER, VALUE
from scaler.act.nodepools.ports import Held, kept, written
from scaler.act.nodepools.raised import RAISED, told
from scaler.act.nodepools.release import release
from scaler.api.gpu_node_pool import PROVIDED
from scaler.errors import Conflict, ContestedTarget, Forbidden, OwnedByAnother, TargetError, TargetNotFound, Unreachable
from scaler.kube import Json
from scaler.plan.observation import Freshness
from scaler.plan.reasons import Reason
from tests.nodepools.conformance import MARKED, PROVIDERS, START, held, pool
from tests.nodepools.test_conformance import MAX, MIN, FakeWorld, fake


def count_of(api_version: str, kind: str) -> dict[str, Any]:
    """The replicas of fleet/h100, as an integer of any object."""
    named = {"apiVersion": api_version, "kind": kind, "namespace": "fleet", "name": "h100"}
    return {"integerField": {**named, "path": "/spec/replicas"}}


def sent(world: FakeWorld) -> list[tuple[str, Any]]:
    """Patches, in order: path, operations."""
    return [(path, body) for method, path, body in world.kube.asked if method == "PATCH"]


def test_every_provider_of_the_resource_is_carried_out() -> None:
    assert {name.partition(" ")[0] for name in PROVIDERS} == set(PROVIDED)
    assert fake("karpenter").made(1).not_carried_out == ""


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_patch_tests_the_number_that_was_read(provider: str) -> None:
    world = fake(provider)
    made = world.made(2)
    world.pools.write(made, 2, 5)
    path, operations = next(
        (path, body) for path, body in sent(world) if provider != "placeholderPods" or path.endswith("/scale")
    )
    last = operations[0]["path"]
    assert operations[0] == {"op": "test", "path": last, "value": "2" if MIN in last.replace("~1", "/") else 2}
    assert {"op": "replace", "path": last, "value": "5" if MIN in last.replace("~1", "/") else 5} in operations
    assert path.endswith("/scale") is (provider in ("karpenter", "machineDeployment", "placeholderPods"))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_where_nothing_is_to_be_written_nothing_is_asked(provider: str) -> None:
    world = fake(provider)
    made = world.made(2)
    assert world.pools.floor(made).value == 2
    world.pools.write(made, 2, 2)  # once it is looked whether Machines are left annotated
    world.kube.asked.clear()
    world.pools.write(made, 2, 2)
    assert world.kube.asked == []


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_outage_is_an_error_and_not_absent(provider: str) -> None:
    world = fake(provider)
    made = world.made(2)
    world.kube.down = True
    reading = world.pools.floor(made)
    assert (reading.value, reading.freshness, reading.reason) == (
        None,
        Freshness.ERROR,
        Reason.KUBERNETES_UNREACHABLE,
    )
    with pytest.raises(Unreachable):
        world.pools.write(made, 2, 5)
    with pytest.raises(Unreachable):
        world.pools.release(held(made))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_the_account_may_not_is_said(provider: str) -> None:
    world = fake(provider)
    made = world.made(2)
    world.kube.forbidden = {"PATCH"}
    assert world.pools.floor(made).value == 2
    with pytest.raises(Forbidden, match="grant it"):
        world.pools.write(made, 2, 5)
    world.kube.forbidden = {"GET"}
    assert world.pools.floor(made).reason is Reason.FORBIDDEN


@pytest.mark.parametrize("provider", [p for p in PROVIDERS if p != "placeholderPods"])
def test_what_is_refused_for_itself_is_no_conflict(provider: str) -> None:
    world = fake(provider)
    made = world.made(2)
    world.kube.refuses = 'spec.replicas: Invalid value: "integer"'
    with pytest.raises(TargetError, match="Invalid value") as refused:
        world.pools.write(made, 2, 5)
    assert not isinstance(refused.value, Conflict)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_somebody_who_writes_between_reading_and_patching_wins(provider: str) -> None:
    world = fake(provider)
    made = world.made(2)
    if MIN in world.kept.way:
        change: Json = {"metadata": {"annotations": {MIN: "7"}}}
    else:
        change = {}
        inner = change
        for name in world.kept.way[:-1]:
            inner = inner.setdefault(name, {})
        inner[world.kept.way[-1]] = 7
    world.kube.meanwhile = [(f"{world.kept.path}/h100", change)]
    with pytest.raises(Conflict):
        world.pools.write(made, 2, 5)
    assert world.number(made) == 7


@pytest.mark.parametrize("noted", [None, {"who": "ops"}], ids=["no annotations", "annotations"])
def test_a_status_written_at_the_same_moment_is_no_conflict(noted: Json | None) -> None:
    world = fake("capacityBuffer")
    made = world.made(2)
    path = f"{world.kept.path}/h100"
    world.kube.objects[path]["metadata"].pop("annotations", None)
    if noted is not None:
        world.kube.objects[path]["metadata"]["annotations"] = dict(noted)
    world.kube.meanwhile = [(path, {"status": {"replicas": 2}})]
    world.pools.write(made, 2, 5)
    assert world.number(made) == 5
    assert world.kube.objects[path]["status"] == {"replicas": 2}


def test_annotations_made_at_the_same_moment_are_kept() -> None:
    world = fake("capacityBuffer")
    made = world.made(2)
    path = f"{world.kept.path}/h100"
    world.kube.meanwhile = [(path, {"metadata": {"annotations": {"who": "ops"}}})]
    with pytest.raises(Conflict):
        world.pools.write(made, 2, 5)
    assert world.noted(made) == {"who": "ops"}
    world.pools.write(made, 2, 5)
    assert world.noted(made)["who"] == "ops"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_who_puts_it_back_every_time_is_left_to_win(provider: str) -> None:
    world = fake(provider)
    made = world.made(2)
    for _ in range(3):
        world.pools.write(made, 2, 5)
        world.clock.advance(200.0)
        world.change(made, 2)
    with pytest.raises(ContestedTarget, match="Recommend"):
        world.pools.write(made, 2, 5)
    assert world.number(made) == 2
    assert world.pools.floor(made).value == 2
    with pytest.raises(ContestedTarget):
        world.pools.write(made, 2, 2)  # also where nothing would be written
    world.clock.advance(1800.0)
    world.pools.write(made, 2, 5)
    assert world.number(made) == 5


def test_a_mark_that_another_pool_writes_at_the_same_moment_wins() -> None:
    world = fake("integerField")
    made = world.made(2)
    world.pools.write(made, 2, 5)
    world.kube.meanwhile = [(f"{world.kept.path}/h100", {"metadata": {"annotations": {OWNER: "GpuNodePool/a100"}}})]
    with pytest.raises(Conflict):
        world.pools.write(made, 5, 6)
    assert world.noted(made)[OWNER] == "GpuNodePool/a100"


def test_a_kind_is_looked_up_once() -> None:
    world = fake("integerField")
    made = world.made(2)
    for _ in range(3):
        world.pools.floor(made)
    assert [path for _, path, _ in world.kube.asked].count("/apis/eks.services.k8s.aws/v1alpha1") == 1


class TestKarpenter:
    def test_a_pool_that_is_not_static_states_no_number(self) -> None:
        world = fake("karpenter")
        made = world.made(2)
        del world.item(made)["spec"]["replicas"]
        reading = world.pools.floor(made)
        assert (reading.value, reading.freshness) == (None, Freshness.ABSENT)
        assert "not static" in reading.detail
        with pytest.raises(TargetError, match="not static"):
            world.pools.write(made, 0, 3)

    def test_no_more_than_its_own_limit_and_it_is_said(self) -> None:
        world = fake("karpenter")
        made = world.made(2)
        world.item(made)["spec"]["limits"] = {"nodes": "4"}
        with pytest.raises(TargetError, match=r"kept at 4 and not at 6.*limit is 4.*nodes\.max"):
            world.pools.write(made, 2, 6)
        assert world.number(made) == 4
        world.change(made, 9)  # a limit that was lowered later takes no node away by itself
        with pytest.raises(TargetError, match="kept at 9"):
            world.pools.write(made, 9, 10)
        world.pools.write(made, 9, 8)
        assert world.number(made) == 8


class TestMachineDeployment:
    def test_the_count_of_a_node_group_is_not_written(self) -> None:
        world = fake("machineDeployment")
        made = world.made(2)
        world.item(made)["metadata"]["annotations"] = {MIN: "1", MAX: "9"}
        with pytest.raises(OwnedByAnother, match="autoscaled: true"):
            world.pools.write(made, 2, 5)
        assert sent(world) == []

    def test_the_count_that_a_topology_states_is_not_written(self) -> None:
        world = fake("machineDeployment")
        made = world.made(2)
        entry = {"manager": "capi-topology", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
        world.item(made)["metadata"]["managedFields"] = [entry]
        with pytest.raises(OwnedByAnother, match="topology"):
            world.pools.write(made, 2, 5)
        entry["fieldsV1"] = {"f:spec": {"f:template": {}}}
        others = {"manager": "kubectl", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
        world.item(made)["metadata"]["managedFields"].append(others)
        world.pools.write(made, 2, 5)

    def test_a_minimum_stays_below_the_maximum(self) -> None:
        world = fake("machineDeployment autoscaled")
        made = world.made(2)
        with pytest.raises(TargetError, match="kept at 9 and not at 12"):
            world.pools.write(made, 2, 12)
        assert world.noted(made)[MIN] == "9"
        assert world.noted(made)[VALUE] == "9"
        assert world.item(made)["spec"] == {"replicas": 1}

    def test_without_the_annotation_there_is_no_minimum(self) -> None:
        world = fake("machineDeployment autoscaled")
        made = world.made(2)
        del world.item(made)["metadata"]["annotations"][MIN]
        reading = world.pools.floor(made)
        assert reading.freshness is Freshness.ABSENT
        assert MIN in reading.detail


def test_a_buffer_sized_by_a_percentage_is_not_written() -> None:
    world = fake("capacityBuffer")
    made = world.made(2)
    world.item(made)["spec"]["percentage"] = 20
    with pytest.raises(OwnedByAnother, match="percentage"):
        world.pools.write(made, 2, 5)


class TestPlaceholders:
    @pytest.mark.parametrize("value", [0, 100, None])
    def test_pods_that_real_ones_would_wait_for_are_not_made(self, value: int | None) -> None:
        world = fake("placeholderPods")
        made = world.made(2)
        if value is None:
            del world.item(made)["spec"]["template"]["spec"]["priorityClassName"]
        else:
            world.kube.put("/apis/scheduling.k8s.io/v1/priorityclasses/placeholder", {"value": value})
        with pytest.raises(TargetError, match="real pods would wait"):
            world.pools.write(made, 2, 5)
        assert sent(world) == []
        world.change(made, 5)
        world.pools.write(made, 5, 5)  # it is not raised

    def test_a_pool_of_a_file_has_no_place_for_its_mark(self) -> None:
        world = fake("placeholderPods")
        made = world.made(2)
        del world.kube.objects["/apis/lagcast.io/v1alpha1/gpunodepools/h100"]
        assert world.pools.floor(made).value == 2
        with pytest.raises(TargetNotFound, match="not in the cluster"):
            world.pools.write(made, 2, 5)

    def test_a_raise_that_fails_half_way_is_put_back_some_day(self) -> None:
        world = fake("placeholderPods")
        made = world.made(2)
        world.pools.write(made, 2, 5)
        world.kube.meanwhile = [(f"{world.kept.path}/h100", {})]
        whole = world.kube.call

        def broken(method: str, path: str, **more: Any) -> Any:
            if method == "PATCH" and path.endswith("/scale"):
                raise Unreachable("gone")
            return whole(method, path, **more)

        world.kube.call = broken  # type: ignore[method-assign]
        with pytest.raises(Unreachable):
            world.pools.write(made, 5, 7)
        world.kube.call = whole  # type: ignore[method-assign]
        assert (world.number(made), world.noted(made)[VALUE]) == (5, "7")
        world.pools.write(made, 5, 6)
        assert world.noted(made)[BEFORE] == "2"
        release(world.kube, expired_only=True, now=START + LIFE)
        assert world.number(made) == 2

    def test_its_mark_is_for_the_deployment_that_it_names(self) -> None:
        world = fake("placeholderPods")
        made = world.made(2)
        world.pools.write(made, 2, 5)
        world.kube.put(f"{world.kept.path}/others", {"spec": {"replicas": 1, "template": {}}})
        moved = pool(world.declared("others"))
        world.pools.release(held(moved))  # not its mark
        assert world.number(made) == 5
        with pytest.raises(Conflict, match="fleet/h100 is put back first"):
            world.pools.write(moved, 1, 3)
        assert world.noted(made)[BEFORE] == "2", "what stood before is not forgotten"
        (line,) = release(world.kube, expired_only=False, now=START)
        assert (line.what, line.value) == ("Deployment fleet/h100", 2)


class TestIntegerField:
    @pytest.mark.parametrize(
        ("path", "spec"),
        [
            ("/spec/a~1b/~0c", {"a/b": {"~c": 2}}),
            ("/spec/groups/1/min", {"groups": [{"min": 9}, {"min": 2}]}),
        ],
    )
    def test_a_pointer_finds_its_way(self, path: str, spec: Json) -> None:
        world, made = self.at(path, spec)
        world.pools.write(made, 2, 4)
        assert world.pools.floor(made).value == 4
        world.pools.release(held(made))
        assert world.item(made)["spec"] == spec

    def test_another_field_of_one_object_is_written_when_the_first_is_put_back(self) -> None:
        world, first = self.at("/spec/a", {"a": 2, "b": 1})
        world.pools.write(first, 2, 4)
        declared = world.declared("h100")
        declared["integerField"]["path"] = "/spec/b"
        second = pool(declared)
        assert world.pools.floor(second).value == 1
        with pytest.raises(Conflict, match="/spec/a is put back first"):
            world.pools.write(second, 1, 3)
        world.pools.release(held(second))  # not its mark
        assert world.item(first)["spec"] == {"a": 4, "b": 1}
        world.pools.release(held(first))
        world.pools.write(second, 1, 3)
        assert world.item(first)["spec"] == {"a": 2, "b": 3}

    def test_a_number_that_is_counted_by_without_a_mark_from_now_on_stays(self) -> None:
        world = fake("machineDeployment")
        counted = world.made(2)
        field = pool(count_of("cluster.x-k8s.io/v1beta2", "MachineDeployment"))
        world.pools.write(field, 2, 6)
        assert world.noted(counted)[BEFORE] == "2"
        world.pools.unmark(Held("other", "uid", field.spec.provider))  # not its mark
        assert world.noted(counted)[BEFORE] == "2"
        world.pools.unmark(held(field))
        assert (world.number(counted), world.noted(counted)) == (6, {})
        world.pools.unmark(held(field))
        assert release(world.kube, expired_only=True, now=START + 2 * LIFE) == []
        assert world.number(counted) == 6

    def test_a_number_whose_mark_stands_elsewhere_is_written_when_it_is_put_back(self) -> None:
        world = fake("placeholderPods")
        made = world.made(2)
        field = pool(count_of("apps/v1", "Deployment"))
        world.pools.write(field, 2, 6)
        noted = {RAISED: told([field.spec.provider])}
        moved = made.model_copy(update={"metadata": made.metadata.model_copy(update={"annotations": noted})})
        with pytest.raises(Conflict, match="by its provider before is put back first"):
            world.pools.write(moved, 6, 8)
        world.pools.release(held(field))
        assert world.number(made) == 2
        world.pools.write(made, 2, 8)
        assert world.noted(made)[BEFORE] == "2"

    @pytest.mark.parametrize("value", [None, True, -1, 2.5, "two", "", [2]])
    def test_what_is_no_integer_is_absent(self, value: object) -> None:
        world, made = self.at("/spec/size", {"size": value})
        reading = world.pools.floor(made)
        assert (reading.value, reading.freshness, reading.reason) == (None, Freshness.ABSENT, Reason.TARGET_UNKNOWN)
        with pytest.raises(TargetError, match="no integer at /spec/size"):
            world.pools.write(made, 0, 4)

    def test_an_unknown_kind_and_a_wrong_scope_are_said(self) -> None:
        world, _ = self.at("/spec/size", {"size": 2})
        declared = world.declared("h100")
        declared["integerField"]["kind"] = "Nothing"
        assert "install its CRD" in world.pools.floor(pool(declared)).detail
        declared = world.declared("h100")
        del declared["integerField"]["namespace"]
        assert "name its namespace" in world.pools.floor(pool(declared)).detail

    def test_an_object_of_another_version_is_not_gone(self) -> None:
        """Its CRD serves the version no more that the pool names: the mark still stands."""
        world = fake("integerField")
        made = world.made(2)
        world.pools.write(made, 2, 6)
        old = next(version for version in world.kube.kinds if version.startswith("eks."))
        kinds = world.kube.kinds.pop(old)
        new = f"{old.partition('/')[0]}/v9"
        world.kube.kinds[new] = kinds
        item = world.kube.objects.pop(f"{world.kept.path}/h100")
        for _ in range(2):  # as remembered from before, and looked up
            with pytest.raises(TargetError, match=f"has Nodegroup in {new}, and not in {old}") as refused:
                world.pools.release(held(made))
            assert not isinstance(refused.value, TargetNotFound)
        assert RAISED in str(refused.value)
        assert world.pools.floor(made).reason is Reason.TARGET_NOT_FOUND
        lines = {line.what: line for line in release(world.kube, expired_only=False, now=START)}
        assert f"in {new}" in lines["Nodegroup"].fault
        assert lines["Nodegroup"].owner == "GpuNodePool/h100"
        del world.kube.kinds[new]
        world.pools.release(held(made))
        assert item["metadata"]["annotations"][BEFORE] == "2"

    @staticmethod
    def at(path: str, spec: Json) -> tuple[FakeWorld, Any]:
        world = fake("integerField")
        world.made(0)
        world.kube.put(f"{world.kept.path}/h100", {"spec": spec})
        declared = world.declared("h100")
        declared["integerField"]["path"] = path
        world.kube.put("/apis/lagcast.io/v1alpha1/gpunodepools/h100", {"spec": {"provider": declared}})
        return world, pool(declared)


class TestRelease:
    def test_one_fault_does_not_keep_the_others(self) -> None:
        world = fake("integerField")
        made = world.made(2)
        world.pools.write(made, 2, 5)
        del world.item(made)["spec"]["scalingConfig"]["minSize"]
        buffers = "/apis/autoscaling.x-k8s.io/v1alpha1/namespaces/fleet/capacitybuffers"
        marked = {OWNER: "GpuNodePool/a100", VALUE: "4", BEFORE: "1", "lagcast.io/floor-field": "/spec/replicas"}
        world.kube.put(f"{buffers}/a100", {"metadata": {"annotations": marked}, "spec": {"replicas": 4}})
        lines = {line.what: line for line in release(world.kube, expired_only=True, now=START + LIFE)}
        assert lines["CapacityBuffer fleet/a100"].value == 1  # without an expiry that can be read it has expired
        assert "no integer" in lines["Nodegroup fleet/h100"].fault

    def test_marks_of_others_are_left_alone(self) -> None:
        world = fake("capacityBuffer")
        made = world.made(2)
        noted = {OWNER: "shop/chat/uid", VALUE: "2", BEFORE: "1"}
        world.item(made)["metadata"]["annotations"] = dict(noted)
        assert release(world.kube, expired_only=False, now=START) == []
        assert world.noted(made) == noted

    def test_a_kind_that_may_not_be_listed_is_said(self) -> None:
        world = fake("capacityBuffer")
        world.made(2)
        world.kube.faults["/capacitybuffers"] = Forbidden("may not list")
        (line,) = release(world.kube, expired_only=True, now=START)
        assert (line.what, line.fault) == ("CapacityBuffer", "may not list")
        world.kube.objects.pop("/apis/lagcast.io/v1alpha1/gpunodepools/h100")  # and so nothing was written there
        assert release(world.kube, expired_only=True, now=START) == []


@pytest.mark.parametrize(("floor", "busy", "number"), [(5, 2, 3), (2, 4, 0), (0, 0, 0)])
def test_spare_nodes_are_those_beside_the_busy_ones(floor: int, busy: int, number: int) -> None:
    for provider in MARKED[:1] + MARKED[2:3]:
        made = fake(provider).made(0)
        assert written(made, floor, busy) == number
        assert kept(made, number, busy) == max(floor, busy)
    whole = fake("karpenter").made(0)
    assert (written(whole, floor, busy), kept(whole, floor, busy)) == (floor, floor)
