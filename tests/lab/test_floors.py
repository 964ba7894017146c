"""Floors under the real HPA: raised, clipped, contested, held, and put back with the controller alive and dead."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from scaler.act.finalizer import FINALIZER
from scaler.act.floor import HPA, MARKS
from scaler.kube import MERGE_PATCH, connect
from simulations.lab.cluster_api import await_kinds
from simulations.lab.external_metrics import ExternalMetrics, Fault
from simulations.lab.lab import Lab
from simulations.lab.programs import KEDA
from tests.configuration.objects import GOOD
from tests.floors.conformance import FinalizerConformance, FloorConformance, World
from tests.lab.floors_world import NAMESPACE, SCALED_OBJECTS, Administrator, LabWorld, lagcast, stand_in_definition
from tests.lab.test_bad_input import Feed, deployment
from tests.lab.test_crd_status import SPEC, Cluster

pytestmark = pytest.mark.lab

MANIFESTS = Path(__file__).parents[2] / "manifests"
NAME = "floored"


@pytest.fixture(scope="module")
def admin(lab: Lab) -> Iterator[Administrator]:
    made = Administrator(lab)
    built = KEDA.is_built()
    definition = (KEDA.folder() / "bin" / "keda.sh_scaledobjects.yaml").read_text() if built else None
    made.kubectl("apply", "--server-side", "-f", "-", stdin=definition or json.dumps(stand_in_definition()))
    made.kubectl("apply", "--server-side", "-f", str(MANIFESTS / "crd"))
    made.kubectl("create", "namespace", NAMESPACE)
    await_kinds(lab.directory, SCALED_OBJECTS, "predictivescalers.lagcast.io")
    try:
        yield made
    finally:
        lab.kubernetes.run("delete", "namespace", NAMESPACE, "--wait=false")
        lab.kubernetes.run("delete", "crd", SCALED_OBJECTS, "--wait=false")
        made.client.close()


@pytest.fixture
def lab_world(admin: Administrator, tmp_path: Path) -> World:
    return LabWorld(admin, tmp_path)


class TestRealFloors(FloorConformance):
    @pytest.fixture
    def world(self, lab_world: World) -> World:
        return lab_world


class TestRealFinalizers(FinalizerConformance):
    @pytest.fixture
    def world(self, lab_world: World) -> World:
        return lab_world


class Stage:
    """The controller in its account, a service with load, and its HPA."""

    def __init__(self, lab: Lab, admin: Administrator, folder: Path) -> None:
        self.lab, self.admin, self.folder = lab, admin, folder
        self.kafka = {"bootstrapServers": lab.kafka.bootstrap, "topic": NAME, "consumerGroup": NAME}
        self.cluster = Cluster(lab, folder)
        self.releaser = admin.account(folder, "lagcast-system", "lagcast-release")

    def hpa(self, name: str, *, most: int = 12, metric: str = "nothing", manager: str = "kubectl") -> None:
        target = {"type": "AverageValue", "averageValue": "1"}
        self.admin.make(
            "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
            {
                "metadata": {"name": name},
                "spec": {
                    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                    "minReplicas": 1,
                    "maxReplicas": most,
                    "metrics": [{"type": "External", "external": {"metric": {"name": metric}, "target": target}}],
                },
            },
            manager,
        )

    def declare(self, name: str, mode: str = "Floor", **spec: Any) -> None:
        self.cluster.declare(name, mode=mode, target={"name": name}, kafka=self.kafka, **spec)

    def path(self, name: str) -> str:
        return f"/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/{name}"

    def least(self, name: str) -> int:
        return int(self.admin.get(self.path(name))["spec"]["minReplicas"])

    def marks(self, name: str) -> dict[str, str]:
        annotations = self.admin.get(self.path(name))["metadata"].get("annotations") or {}
        return {key: value for key, value in annotations.items() if key in MARKS}

    def count(self, name: str) -> int:
        return int(self.admin.kubectl("get", "deployment", name, "-o", "jsonpath={.spec.replicas}"))

    def message(self, name: str, kind: str) -> str:
        return next(c["message"] for c in self.cluster.status(name)["conditions"] if c["type"] == kind)

    def finalizers(self, name: str) -> list[str]:
        return list(self.cluster.item(name)["metadata"].get("finalizers") or ())

    def until(self, is_so: Any, what: str, seconds: float = 40.0) -> None:
        self.cluster.until(is_so, what, seconds)

    def release(self, *arguments: str) -> str:
        """As the CronJob's account."""
        return lagcast("release", *arguments, kubeconfig=self.releaser)


def served(url: str) -> int | Fault:
    """``lagcast_desired_replicas`` of "followed", as prometheus-adapter would hand it out: none that is not fresh."""
    try:
        families = text_string_to_metric_families(requests.get(f"{url}/metrics", timeout=2).text)
    except requests.RequestException:
        return Fault.EMPTY
    values = {(s.name, s.labels.get("name")): s.value for family in families for s in family.samples}
    wanted = values.get(("lagcast_desired_replicas", "followed"))
    fresh = time.time() - values["lagcast_last_tick_timestamp_seconds", None] < 5.0
    return int(wanted * 1000) if wanted is not None and not math.isnan(wanted) and fresh else Fault.EMPTY


@pytest.fixture(scope="module")
def stage(lab: Lab, admin: Administrator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    lab.kwok.add_nodes(1, 1, prefix="floors")
    admin.kubectl("apply", "--server-side", "-f", str(MANIFESTS / "base" / "release-cronjob.yaml"))
    # Soon enough for a test; all else is as it is installed.
    admin.kubectl(
        "patch", "cronjob", "lagcast-release", "-n", "lagcast-system", "-p", '{"spec":{"schedule":"* * * * *"}}'
    )
    made = Stage(lab, admin, tmp_path_factory.mktemp("floors"))
    feed = Feed(lab.kafka.bootstrap, NAME)

    def answer(metric: str, asked: int) -> int | Fault:
        return served(made.cluster.url) if metric == "lagcast_desired_replicas" else Fault.NOT_FOUND

    names = (NAME, "contested", "fought", "followed")
    try:
        admin.kubectl("apply", "-f", "-", stdin=json.dumps(
            {"apiVersion": "v1", "kind": "List", "items": [deployment(name) for name in names]}
        ))  # fmt: skip
        feed.make(10)
        feed.start()
        with ExternalMetrics(lab.directory, answer):
            yield made
    finally:
        made.cluster.close()
        lab.kubernetes.run("delete", "lease", "lagcast", "-n", "lagcast-system", "--ignore-not-found")  # it was killed
        feed.stop()
        for scaler in names:
            lab.kubernetes.run("patch", "ps", scaler, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        for kind in ("predictivescaler", "hpa", "deployment"):
            lab.kubernetes.run("delete", kind, *names, "--ignore-not-found", "--wait=false")
        lab.kubernetes.run("delete", "cronjob", "lagcast-release", "-n", "lagcast-system")


def test_without_an_autoscaler_there_is_no_floor_to_raise(stage: Stage) -> None:
    stage.declare(NAME)
    stage.until(lambda: stage.cluster.condition(NAME, "Ready") == ("False", "NoAutoscaler"), "it says what is missing")
    assert stage.finalizers(NAME) == []


def test_the_real_hpa_brings_the_target_to_the_floor(stage: Stage) -> None:
    stage.hpa(NAME)
    stage.until(lambda: stage.least(NAME) >= 4, "8 requests/s at 2 a replica need four")
    stage.until(lambda: stage.count(NAME) >= stage.least(NAME) > 3, "the HPA follows")
    stage.until(lambda: stage.cluster.condition(NAME, "Ready")[0] == "True", "all is well")
    marks = stage.marks(NAME)
    uid = stage.cluster.item(NAME)["metadata"]["uid"]
    assert marks["lagcast.io/floor-owner"] == f"default/{NAME}/{uid}"
    assert marks["lagcast.io/floor-before"] == "1"
    assert FINALIZER in stage.finalizers(NAME)
    assert "lastScaleTime" in stage.cluster.status(NAME)


def test_a_floor_above_the_hpas_maximum_is_clipped_and_said(stage: Stage) -> None:
    stage.declare(NAME, replicas={**SPEC["replicas"], "min": 14, "max": 16})
    limited = ("True", "FloorAboveMax")
    stage.until(lambda: stage.cluster.condition(NAME, "ScalingLimited") == limited, "the limit is named")
    assert f"spec.maxReplicas of HorizontalPodAutoscaler default/{NAME}, which is 12" in stage.message(
        NAME, "ScalingLimited"
    )
    stage.until(lambda: stage.least(NAME) == 12, "it is clipped")
    stage.until(lambda: stage.count(NAME) == 12, "the HPA follows")
    stage.declare(NAME, replicas={**SPEC["replicas"], "scaleInHold": "1s"})
    stage.until(lambda: 1 < stage.least(NAME) < 12, "it is lowered with the plan", 90.0)


def test_held_at_a_count_and_let_go_by_the_commands(stage: Stage) -> None:
    admin = stage.lab.kubernetes.admin_kubeconfig
    lagcast("pause", f"default/{NAME}", "--replicas", "2", kubeconfig=admin)
    stage.until(lambda: stage.least(NAME) == 2, "the floor is held there")
    stage.until(lambda: stage.cluster.condition(NAME, "Paused") == ("True", "Paused"), "and said")
    stage.admin.kubectl("annotate", "ps", NAME, "lagcast.io/paused-replicas=two", "--overwrite")
    invalid = ("True", "InvalidAnnotation")
    stage.until(lambda: stage.cluster.condition(NAME, "Paused") == invalid, "a wrong value is named")
    assert 'found "two"' in stage.message(NAME, "Paused")
    lagcast("resume", f"default/{NAME}", kubeconfig=admin)
    stage.until(lambda: stage.least(NAME) > 2, "it goes on")


def test_a_tool_that_puts_the_floor_back_is_named_and_left_to_win(stage: Stage) -> None:
    stage.hpa("contested", manager="setup")
    stage.declare("contested")
    whole = stage.admin.get(stage.path("contested"))
    declared = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "contested", "namespace": "default"},
        "spec": {key: whole["spec"][key] for key in ("scaleTargetRef", "minReplicas", "maxReplicas", "metrics")},
    }
    declared["spec"]["minReplicas"] = 1
    for _ in range(3):
        stage.until(lambda: stage.least("contested") > 1, "it is raised")
        stage.admin.kubectl(
            "apply", "--server-side", "--force-conflicts", "--field-manager=argocd-controller", "-f", "-",
            stdin=json.dumps(declared),
        )  # fmt: skip
    contested = ("False", "ContestedTarget")
    stage.until(lambda: stage.cluster.condition("contested", "Ready") == contested, "it gives way")
    assert "'argocd-controller'" in stage.message("contested", "Ready")
    time.sleep(3.0)
    assert stage.least("contested") == 1


def test_a_count_that_is_put_back_is_left_alone_too_and_a_single_edit_is_not_fought(stage: Stage) -> None:
    stage.declare("fought", "Enforce")
    path = "/apis/apps/v1/namespaces/default/deployments/fought"
    for edit in range(3):
        stage.until(lambda: stage.count("fought") > 3, "it is scaled, also after one edit")
        if edit == 1:
            assert stage.cluster.condition("fought", "Ready")[0] == "True"
        stage.admin.merge(path, {"spec": {"replicas": 3}}, "flux")
    contested = ("False", "ContestedTarget")
    stage.until(lambda: stage.cluster.condition("fought", "Ready") == contested, "it gives way")
    assert "'flux'" in stage.message("fought", "Ready")
    time.sleep(3.0)
    assert stage.count("fought") == 3


def test_an_hpa_that_owns_the_count_is_not_fought_at_all(stage: Stage) -> None:
    stage.hpa("fought")
    stage.cluster.kubectl("delete", "ps", "fought")
    stage.declare("fought", "Enforce")
    owned = ("False", "OwnedByAnother")
    stage.until(lambda: stage.cluster.condition("fought", "Ready") == owned, "it is named")
    assert "HorizontalPodAutoscaler default/fought" in stage.message("fought", "Ready")


def test_an_hpa_that_reads_what_is_desired_follows_it(stage: Stage) -> None:
    """The overlay's own HPA, with other names; nothing is written by Lagcast."""
    hpa = yaml.safe_load((MANIFESTS / "overlays" / "external-metric" / "hpa" / "hpa.yaml").read_text())
    hpa["metadata"]["name"] = hpa["spec"]["scaleTargetRef"]["name"] = "followed"
    stage.cluster.apply(hpa)
    stage.declare("followed", "Recommend")
    stage.until(lambda: stage.cluster.status("followed").get("desiredReplicas", 0) > 3, "more is desired")
    stage.until(
        lambda: stage.count("followed") == stage.cluster.status("followed")["desiredReplicas"], "the HPA follows"
    )
    assert stage.marks("followed") == {}


def test_a_deleted_scaler_is_gone_when_its_floor_is(stage: Stage) -> None:
    stage.until(lambda: stage.least(NAME) > 1, "it is raised")
    stage.cluster.kubectl("delete", "ps", NAME, "--timeout=20s")
    assert (stage.least(NAME), stage.marks(NAME)) == (1, {})


def test_another_mode_puts_the_floor_back_and_takes_the_finalizer_off(stage: Stage) -> None:
    stage.declare(NAME)
    stage.until(lambda: stage.least(NAME) > 1, "it is raised")
    stage.declare(NAME, "Recommend")
    stage.until(lambda: stage.least(NAME) == 1 and stage.finalizers(NAME) == [], "nothing is left")
    assert stage.marks(NAME) == {}


def test_nothing_stays_raised_by_a_controller_that_is_dead(stage: Stage) -> None:
    stage.declare(NAME)
    stage.until(lambda: stage.least(NAME) > 1, "it is raised")
    stage.until(lambda: FINALIZER in stage.finalizers(NAME), "a deletion waits")
    stage.cluster.process.kill()
    stage.cluster.process.wait()
    raised = stage.least(NAME)  # not before: another tick may change it until then
    followed = stage.count("followed")
    assert raised > 1
    assert followed > 3
    assert "no floor" in stage.release("--expired"), "none has expired yet"
    assert stage.least(NAME) == raised
    # Fifteen minutes later.
    stage.admin.merge(
        stage.path(NAME), {"metadata": {"annotations": {"lagcast.io/floor-expires": "2020-01-01T00:00:00Z"}}}
    )
    (line,) = json.loads(stage.release("--expired", "--dry-run", "-o", "json"))
    assert (line["object"], line["value"]) == (f"HorizontalPodAutoscaler default/{NAME}", 1)
    assert stage.least(NAME) == raised
    (line,) = json.loads(stage.release("--expired", "-o", "json"))
    assert (line["floor"], line["value"], line["fault"]) == (raised, 1, "")
    assert (stage.least(NAME), stage.marks(NAME)) == (1, {})
    # What follows the metric has none any more, and holds.
    hpa = stage.admin.get(stage.path("followed"))
    assert stage.count("followed") == followed
    until = time.monotonic() + 20.0
    while "False" not in [c["status"] for c in hpa["status"]["conditions"] if c["type"] == "ScalingActive"]:
        assert time.monotonic() < until, hpa["status"]
        time.sleep(0.5)
        hpa = stage.admin.get(stage.path("followed"))
    assert stage.count("followed") == followed


def test_a_deletion_does_not_wait_for_a_controller_that_is_dead(stage: Stage) -> None:
    stage.admin.kubectl("delete", "ps", NAME, "--wait=false")
    assert stage.finalizers(NAME) == [FINALIZER]
    stage.release("--expired")
    stage.admin.kubectl("wait", "--for=delete", f"ps/{NAME}", "--timeout=20s")


def test_a_namespace_does_not_either(stage: Stage) -> None:
    stage.admin.kubectl("create", "namespace", "floor-stuck")
    body = {**GOOD, "metadata": {"name": "chat", "finalizers": [FINALIZER]}, "spec": {**GOOD["spec"], "mode": "Floor"}}
    stage.admin.make("/apis/lagcast.io/v1alpha1/namespaces/floor-stuck/predictivescalers", body)
    stage.admin.kubectl("delete", "namespace", "floor-stuck", "--wait=false")
    assert "Terminating" in stage.admin.kubectl("get", "namespace", "floor-stuck")
    path = "/apis/lagcast.io/v1alpha1/namespaces/floor-stuck/predictivescalers/chat"
    until = time.monotonic() + 40.0
    # The namespace's controller comes to it; where ours is alive, it may be gone by then.
    while (found := stage.admin.client.call("GET", path)).ok and "deletionTimestamp" not in found.body["metadata"]:
        assert time.monotonic() < until
        time.sleep(0.2)
    stage.release("--expired")
    stage.admin.kubectl("wait", "--for=delete", "namespace/floor-stuck", "--timeout=40s")


def test_the_cronjob_makes_jobs_that_run_as_its_account(stage: Stage) -> None:
    jobs: list[dict[str, Any]] = []
    until = time.monotonic() + 90.0
    while not jobs:
        assert time.monotonic() < until, "no job within a minute"
        items = json.loads(stage.admin.kubectl("get", "jobs", "-n", "lagcast-system", "-o", "json"))["items"]
        jobs = [job for job in items if job["metadata"].get("ownerReferences", [{}])[0].get("kind") == "CronJob"]
        time.sleep(1.0)
    spec = jobs[0]["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == "lagcast-release"
    assert spec["containers"][0]["args"] == ["release", "--expired"]


def test_the_account_may_do_nothing_else(stage: Stage) -> None:
    client = connect(stage.releaser)
    for method, path, body in (
        ("GET", "/api/v1/namespaces/default/secrets", None),
        ("PATCH", "/apis/apps/v1/namespaces/default/deployments/followed/scale", {"spec": {"replicas": 1}}),
        ("DELETE", stage.path("followed"), None),
    ):
        assert client.call(method, path, body=body, content_type=MERGE_PATCH).code == 403
    client.close()


def test_the_controllers_account_could_do_all_that_it_did(stage: Stage) -> None:
    log = stage.cluster.log.read_text(encoding="utf-8")
    for word in ("forbidden", "Traceback", "please report it"):
        assert word not in log
    assert HPA.kind in log
