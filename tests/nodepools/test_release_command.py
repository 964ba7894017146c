"""`lagcast release` on GpuNodePools: what they raised is put back, and none of them waits for a controller."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from scaler.act.finalizer import FINALIZER
from scaler.act.nodepools import marks
from scaler.act.nodepools.ports import Mark
from scaler.act.nodepools.raised import RAISED
from scaler.cli.release import release
from scaler.observe.pods import DELETION_COST, MARKED
from tests.cluster.api_server import ApiServer, Asked, Json, listed, status
from tests.floors.served import Objects

POOL = "/apis/lagcast.io/v1alpha1/gpunodepools/h100"
GROUP = "/apis/eks.services.k8s.aws/v1alpha1"
NODES = f"{GROUP}/namespaces/fleet/nodegroups/h100"
PATH = "/spec/scalingConfig/minSize"
PROVIDER = {
    "integerField": {
        "apiVersion": GROUP.removeprefix("/apis/"),
        "kind": "Nodegroup",
        "namespace": "fleet",
        "name": "h100",
        "path": PATH,
    }
}
FUTURE = 4_000_000_000.0


class Cluster:
    """One pool, and the node group that it has raised from 1 to 5; a pod that was marked for it."""

    def __init__(self, folder: Path) -> None:
        self.objects, self.api = Objects(), ApiServer()
        self.api.answer = self._answer
        self.kubeconfig = self.api.kubeconfig(folder)
        item: Json = {"metadata": {"annotations": {"team": "ml"}}, "spec": {"scalingConfig": {"minSize": 5}}}
        noted = marks.changes(item, Mark("GpuNodePool/h100", 5, 1, FUTURE), PATH)[1]
        item["metadata"]["annotations"] |= {
            one["path"].rpartition("/")[2].replace("~1", "/"): one["value"] for one in noted
        }
        self.raised, self.runs = item, False  # a controller, which raises it again at once
        self.objects.put(NODES, item)
        annotations = {DELETION_COST: "-1000", MARKED: "-1000"}
        self.objects.put("/api/v1/namespaces/ml/pods/chat-0", {"metadata": {"annotations": annotations}})
        self.api.lists[0] = listed([self.objects.kept["/api/v1/namespaces/ml/pods/chat-0"]])
        self.pool()

    def pool(self, provider: Any = PROVIDER, deleted: float | None = None, raised: Any = (PROVIDER,)) -> None:
        metadata: Json = {"finalizers": [FINALIZER]}
        if raised is not None:
            metadata["annotations"] = {RAISED: json.dumps(raised)}
        if deleted is not None:
            metadata["deletionTimestamp"] = datetime.fromtimestamp(deleted, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.objects.put(POOL, {"metadata": metadata, "spec": {"provider": provider, "mode": "Enforce"}})
        self._list()

    def _list(self) -> None:
        self.api.pool_lists[0] = listed([self.objects.kept[POOL]])
        self.api.target_lists[0] = listed([self.objects.kept[NODES]])

    def _answer(self, asked: Asked) -> tuple[int, Any]:
        kinds = {
            GROUP: {"name": "nodegroups", "kind": "Nodegroup", "namespaced": True},
            "/apis/lagcast.io/v1alpha1": {"name": "gpunodepools", "kind": "GpuNodePool", "namespaced": False},
        }
        if asked.path in kinds:
            return 200, {"resources": [kinds[asked.path]]}
        if asked.query.get("dryRun"):
            return 200, {}
        answer = self.objects.answer(asked)
        if self.runs and asked.path == NODES and asked.method == "PATCH":
            self.objects.put(NODES, self.raised)
        self._list()
        return answer

    def run(self, *arguments: str, code: int = 0) -> Result:
        done = CliRunner().invoke(release, [*arguments, "--kubeconfig", str(self.kubeconfig)])
        assert done.exit_code == code, done.output
        return done

    @property
    def least(self) -> int:
        return int(self.objects.kept[NODES]["spec"]["scalingConfig"]["minSize"])

    def metadata(self, path: str) -> Json:
        return dict(self.objects.kept[path]["metadata"])


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.api.close()


def test_all_is_put_back_and_no_pool_is_stuck(cluster: Cluster) -> None:
    done = cluster.run("--all", "-o", "json")
    assert cluster.least == 1
    assert cluster.metadata(NODES)["annotations"] == {"team": "ml"}
    assert "finalizers" not in cluster.metadata(POOL)
    assert not cluster.metadata(POOL)["annotations"]
    assert not cluster.metadata("/api/v1/namespaces/ml/pods/chat-0")["annotations"]
    lines = {line["object"]: line for line in json.loads(done.stdout)}
    assert (lines["Nodegroup fleet/h100"]["floor"], lines["Nodegroup fleet/h100"]["value"]) == (5, 1)
    assert "is taken off" in lines["GpuNodePool h100"]["note"]
    assert "GpuNodePool h100 is in mode Enforce" in done.stderr, "a running controller would raise it again"


def test_what_a_running_controller_raises_again_keeps_its_pools_finalizer(cluster: Cluster) -> None:
    cluster.runs = True
    done = cluster.run("--all", "-o", "json", code=1)
    (fault,) = [line["fault"] for line in json.loads(done.stdout) if line["object"] == "GpuNodePool h100"]
    assert "raised it again" in fault
    assert "kubectl annotate gpunodepool h100 lagcast.io/paused=true" in fault
    assert (cluster.least, cluster.metadata(POOL)["finalizers"]) == (5, [FINALIZER])
    assert json.loads(cluster.metadata(POOL)["annotations"][RAISED]) == [PROVIDER]


def test_what_it_raised_by_the_provider_before_is_found(cluster: Cluster) -> None:
    cluster.pool({"karpenter": {"nodePool": "static"}})
    cluster.run("--all")
    assert cluster.least == 1
    assert "finalizers" not in cluster.metadata(POOL)


def test_what_cannot_be_put_back_keeps_its_pools_finalizer(cluster: Cluster) -> None:
    cluster.objects.refusals["PATCH", NODES] = (403, status(403, "nodegroups is forbidden"))
    lines = json.loads(cluster.run("--all", "-o", "json", code=1).stdout)
    assert ["forbidden" in line["fault"] for line in lines] == [True]
    assert cluster.metadata(POOL)["finalizers"] == [FINALIZER]


def test_where_it_cannot_be_told_what_was_raised_it_is_said(cluster: Cluster) -> None:
    cluster.pool("nonsense", raised=None)
    done = cluster.run("--all", "-o", "json", code=1)
    faults = [line["fault"] for line in json.loads(done.stdout) if line["object"] == "GpuNodePool h100"]
    assert "kubectl patch gpunodepool h100" in faults[0]
    assert cluster.metadata(POOL)["finalizers"] == [FINALIZER]


@pytest.mark.parametrize("patience", [None, 0.0, 600.0])
def test_a_deletion_that_waits_for_a_dead_controller_is_ended(cluster: Cluster, patience: float | None) -> None:
    cluster.pool(deleted=None if patience is None else datetime.now(UTC).timestamp() - patience)
    cluster.run("--expired")
    released = bool(patience)  # a moment ago it may still be the controller's
    assert cluster.least == (1 if released else 5)
    assert ("finalizers" not in cluster.metadata(POOL)) is released
    assert DELETION_COST in cluster.metadata("/api/v1/namespaces/ml/pods/chat-0")["annotations"]


def test_nothing_is_changed_in_a_dry_run(cluster: Cluster) -> None:
    before = json.dumps(cluster.objects.kept)
    lines = {line["object"]: line for line in json.loads(cluster.run("--all", "--dry-run", "-o", "json").stdout)}
    assert lines["Nodegroup fleet/h100"]["value"] == 1
    assert "is taken off" in lines["GpuNodePool h100"]["note"]
    assert json.dumps(cluster.objects.kept) == before
