"""`lagcast release`, `pause` and `resume` against a server that keeps objects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from scaler.act.finalizer import FINALIZER
from scaler.act.floor import Mark, written_mark
from scaler.cli.pause import pause, resume
from scaler.cli.release import release
from tests.cluster.api_server import ApiServer, Asked, Json, status
from tests.floors.served import HPAS, SCALED_OBJECTS, SCALERS, Objects

PAST, FUTURE = 1_700_000_000.0, 4_000_000_000.0
HPA, SCALED = f"{HPAS.format('shop')}/chat", f"{SCALED_OBJECTS.format('shop')}/images"


class Cluster:
    """Objects of a namespace behind an API server."""

    def __init__(self, folder: Path) -> None:
        self.objects, self.api = Objects(), ApiServer()
        self.api.answer = self.answer
        self.kubeconfig = self.api.kubeconfig(folder)

    def answer(self, asked: Asked) -> tuple[int, Any]:
        if asked.query.get("dryRun") == "All":
            kept = dict(self.objects.kept)
            try:
                return self.objects.answer(asked)
            finally:
                self.objects.kept = kept
        if asked.method == "GET" and "/namespaces/" not in asked.path:
            version, _, plural = asked.path.rpartition("/")
            paths = sorted(p for p in self.objects.collections if p.startswith(version) and p.endswith(f"/{plural}"))
            if not paths:
                return 404, status(404, "the server could not find the requested resource")
            return 200, {"items": [v for k, v in self.objects.kept.items() if k.rpartition("/")[0] in paths]}
        if asked.headers.get("Content-Type") == "application/merge-patch+json":
            item = self.objects.kept.get(asked.path)
            if item is None:
                return 404, status(404, "predictivescalers.lagcast.io not found", details={"name": "x"})
            annotations = item["metadata"].get("annotations") or {} | {}
            merged = annotations | asked.body["metadata"]["annotations"]
            item["metadata"]["annotations"] = {k: v for k, v in merged.items() if v is not None}
            return 200, item
        return self.objects.answer(asked)

    def floor(
        self, path: str, value: int, before: int | None, expires: float, owner: str = "shop/chat/uid-chat"
    ) -> None:
        field, most = (
            ("minReplicas", "maxReplicas") if "autoscaling" in path else ("minReplicaCount", "maxReplicaCount")
        )
        item = {
            "metadata": {"annotations": {"team": "search", **written_mark(Mark(owner, value, before, expires))}},
            "spec": {field: value, most: 20, "scaleTargetRef": {"name": "chat"}},
        }
        self.objects.put(path, item, "lagcast", field)

    def scaler(self, name: str, *, deleted: float | None = None, **spec: Any) -> str:
        metadata: Json = {"finalizers": [FINALIZER]}
        if deleted is not None:
            metadata["deletionTimestamp"] = datetime.fromtimestamp(deleted, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        path = f"{SCALERS.format('shop')}/{name}"
        self.objects.put(path, {"metadata": metadata, "spec": spec})
        return path

    def run(self, command: Any, *arguments: str, code: int = 0) -> Result:
        done = CliRunner().invoke(command, [*arguments, "--kubeconfig", str(self.kubeconfig)])
        assert done.exit_code == code, done.output
        return done

    def spec(self, path: str) -> Json:
        return dict(self.objects.kept[path]["spec"])

    def annotations(self, path: str) -> Json:
        return dict(self.objects.kept[path]["metadata"].get("annotations") or {})


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.api.close()


def test_one_scalers_floors_are_put_back_and_no_others(cluster: Cluster) -> None:
    cluster.floor(HPA, 9, 2, FUTURE)
    cluster.floor(SCALED, 9, None, FUTURE, "shop/images/uid-images")
    path = cluster.scaler("chat", mode="Floor")
    done = cluster.run(release, "shop/chat", "-o", "json")
    assert cluster.spec(HPA)["minReplicas"] == 2
    assert cluster.annotations(HPA) == {"team": "search"}
    assert cluster.spec(SCALED)["minReplicaCount"] == 9
    lines = json.loads(done.stdout)
    assert lines[0] == {
        "object": "HorizontalPodAutoscaler shop/chat",
        "owner": "shop/chat",
        "floor": 9,
        "value": 2,
        "note": "",
        "fault": "",
    }
    assert "finalizers" not in cluster.objects.kept[path]["metadata"]
    assert "lagcast pause shop/chat" in done.stderr, "a running controller would raise it again"


def test_all_of_them(cluster: Cluster) -> None:
    cluster.floor(HPA, 9, 2, FUTURE)
    cluster.floor(SCALED, 9, None, FUTURE)
    done = cluster.run(release, "--all")
    assert cluster.spec(HPA)["minReplicas"] == 2
    assert "minReplicaCount" not in cluster.spec(SCALED)
    assert "ScaledObject shop/images" in done.stdout
    assert "there is no floor to put back" in cluster.run(release, "--all").stdout


def test_only_what_has_expired(cluster: Cluster) -> None:
    cluster.floor(HPA, 9, 2, PAST)
    cluster.floor(SCALED, 9, 1, FUTURE)
    cluster.run(release, "--expired")
    assert cluster.spec(HPA)["minReplicas"] == 2
    assert cluster.spec(SCALED)["minReplicaCount"] == 9
    assert len(cluster.annotations(SCALED)) == 5


def test_what_would_be_is_shown_and_nothing_is_changed(cluster: Cluster) -> None:
    cluster.floor(HPA, 9, 2, PAST)
    path = cluster.scaler("chat")
    before = json.dumps(cluster.objects.kept)
    shown = cluster.run(release, "--all", "--dry-run").stdout
    assert "WOULD BE" in shown
    assert json.dumps(cluster.objects.kept) == before
    assert FINALIZER in cluster.objects.kept[path]["metadata"]["finalizers"]


def test_what_somebody_set_since_is_left_and_said(cluster: Cluster) -> None:
    cluster.floor(HPA, 9, 2, PAST)
    cluster.objects.kept[HPA]["spec"]["minReplicas"] = 5
    (line,) = json.loads(cluster.run(release, "--expired", "-o", "json").stdout)
    assert (line["value"], cluster.spec(HPA)["minReplicas"]) == (5, 5)
    assert "somebody has set another value since" in line["note"]
    assert cluster.annotations(HPA) == {"team": "search"}


def test_a_mark_that_cannot_be_read_is_taken_off_and_said(cluster: Cluster) -> None:
    cluster.floor(HPA, 9, 2, FUTURE)
    cluster.objects.kept[HPA]["metadata"]["annotations"]["lagcast.io/floor-before"] = "two"
    (line,) = json.loads(cluster.run(release, "--expired", "-o", "json").stdout)
    assert (line["value"], line["owner"]) == (9, "?")
    assert "its mark cannot be read" in line["note"]
    assert cluster.annotations(HPA) == {"team": "search"}


@pytest.mark.parametrize("patience", [0.0, 600.0])
def test_a_deletion_that_waits_for_a_dead_controller_is_ended(cluster: Cluster, patience: float) -> None:
    cluster.floor(HPA, 9, 2, FUTURE)
    path = cluster.scaler("chat", deleted=datetime.now(UTC).timestamp() - patience, mode="Floor")
    cluster.run(release, "--expired")
    released = patience > 0  # a moment ago it may still be the controller's
    assert cluster.spec(HPA)["minReplicas"] == (2 if released else 9)
    assert ("finalizers" not in cluster.objects.kept[path]["metadata"]) is released


def test_a_deletion_without_any_floor_is_ended_at_once_and_a_living_scaler_keeps_its_finalizer(
    cluster: Cluster,
) -> None:
    going = cluster.scaler("going", deleted=datetime.now(UTC).timestamp())
    living = cluster.scaler("living", mode="Floor")
    cluster.run(release, "--expired")
    assert "finalizers" not in cluster.objects.kept[going]["metadata"]
    assert cluster.objects.kept[living]["metadata"]["finalizers"] == [FINALIZER]


def test_one_that_cannot_be_put_back_stops_no_other_and_keeps_its_finalizer(cluster: Cluster) -> None:
    cluster.floor(HPA, 9, 2, PAST)
    cluster.floor(SCALED, 9, 1, PAST, "shop/images/uid-images")
    path = cluster.scaler("chat", deleted=PAST)
    cluster.objects.refusals["PATCH", HPA] = (403, status(403, "horizontalpodautoscalers is forbidden"))
    done = cluster.run(release, "--expired", "-o", "json", code=1)
    faults = {line["object"]: line["fault"] for line in json.loads(done.stdout)}
    assert "forbidden" in faults["HorizontalPodAutoscaler shop/chat"]
    assert cluster.spec(SCALED)["minReplicaCount"] == 1
    assert cluster.objects.kept[path]["metadata"]["finalizers"] == [FINALIZER]


@pytest.mark.parametrize("which", ["--all", "shop/chat"])
def test_a_scaler_whose_floor_stands_keeps_its_finalizer_whoever_asks(cluster: Cluster, which: str) -> None:
    cluster.floor(HPA, 9, 2, FUTURE)
    path = cluster.scaler("chat", mode="Floor")
    cluster.objects.refusals["PATCH", HPA] = (403, status(403, "horizontalpodautoscalers is forbidden"))
    cluster.run(release, which, code=1)
    assert cluster.objects.kept[path]["metadata"]["finalizers"] == [FINALIZER]


@pytest.mark.parametrize("arguments", [[], ["--all", "--expired"], ["shop/chat", "--all"], ["chat"], ["a/b/c"]])
def test_wrong_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(release, arguments).exit_code == 2


def test_pause_takes_the_place_of_a_pause_and_resume_takes_all_off(cluster: Cluster) -> None:
    path = cluster.scaler("chat")
    cluster.objects.kept[path]["metadata"]["annotations"] = {"team": "search"}
    for arguments, annotation in (
        ([], {"lagcast.io/paused": "true"}),
        (["--replicas", "0"], {"lagcast.io/paused-replicas": "0"}),
        (["--scale-in"], {"lagcast.io/paused-scale-in": "true"}),
    ):
        done = cluster.run(pause, "shop/chat", *arguments, "-o", "json")
        assert json.loads(done.stdout)["annotations"] == annotation
        assert cluster.annotations(path) == {"team": "search", **annotation}
    assert "is not paused" in cluster.run(resume, "shop/chat").stdout
    assert cluster.annotations(path) == {"team": "search"}


def test_pausing_what_is_not_there(cluster: Cluster) -> None:
    done = cluster.run(pause, "shop/nobody", code=1)
    assert "PredictiveScaler shop/nobody" in done.stderr
    assert CliRunner().invoke(pause, ["shop/chat", "--replicas", "3", "--scale-in"]).exit_code == 2
    assert CliRunner().invoke(pause, ["shop/chat", "--replicas", "-3"]).exit_code == 2
