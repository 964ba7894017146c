"""Real KEDA under a floor: Lagcast raises a ScaledObject's minimum, and KEDA its own HPA, which Lagcast never writes.

KEDA takes twelve minutes to build; where it is not built (`lagcast lab up --only keda` does it), these are skipped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scaler.act.finalizer import FINALIZER
from scaler.act.floor import MARKS
from simulations.lab.cluster_api import await_kinds
from simulations.lab.lab import Lab
from simulations.lab.programs import KEDA
from tests.lab.floors_world import Administrator
from tests.lab.test_bad_input import REPLICAS, Feed, deployment
from tests.lab.test_crd_status import Cluster
from tests.lab.test_leader import Record
from tests.manifests.checked_in import ROOT

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not KEDA.is_built(), reason="KEDA is not built: `lagcast lab up --only keda` builds it"),
]

NAME = "floored"
ZERO = "from-zero"  # its ScaledObject states no minimum
FOLLOWED = "followed"  # of the overlay
NAMES = (NAME, ZERO, FOLLOWED)
POLL = 2  # s
MOST = 12


class Stage:
    """KEDA's operator, adapter and HPAs, the controller in its account, and one topic with load for all."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.admin = lab, Administrator(lab)
        self.admin.kubectl("apply", "--server-side", "-f", str(ROOT / "manifests" / "crd"))
        lab.kwok.add_nodes(1, 1, prefix="keda")
        for name in NAMES:
            self.admin.kubectl("apply", "-f", "-", stdin=json.dumps(deployment(name)))
        await_kinds(lab.directory, "scaledobjects.keda.sh", "predictivescalers.lagcast.io")
        self.record = Record(lab.kubernetes.audit_log)
        self.cluster = Cluster(lab, folder)

    def scaled_object(self, name: str, **spec: Any) -> None:
        """On the lag of the topic, which is none: each request is committed at once."""
        trigger = {
            "type": "kafka",
            "metadata": {
                "bootstrapServers": self.lab.kafka.bootstrap,
                "consumerGroup": NAME,
                "topic": NAME,
                "lagThreshold": "10",
                "version": "3.6.0",  # a broker of Kafka 4 does not speak the default's
            },
        }
        periods = {"pollingInterval": POLL, "cooldownPeriod": POLL, "maxReplicaCount": MOST}
        self.apply(name, {"scaleTargetRef": {"name": name}, **periods, "triggers": [trigger], **spec})

    def apply(self, name: str, spec: dict[str, Any]) -> None:
        metadata = {"name": name, "namespace": "default"}
        self.cluster.apply(
            {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": metadata, "spec": spec}
        )

    def declare(self, name: str, mode: str) -> None:
        kafka = {"bootstrapServers": self.lab.kafka.bootstrap, "topic": NAME, "consumerGroup": NAME}
        self.cluster.declare(name, mode=mode, target={"name": name}, kafka=kafka)

    def read(self, name: str) -> dict[str, Any]:
        return self.admin.get(f"/apis/keda.sh/v1alpha1/namespaces/default/scaledobjects/{name}")

    def least(self, name: str) -> int | None:
        """What the ScaledObject states."""
        stated = self.read(name)["spec"].get("minReplicaCount")
        return None if stated is None else int(stated)

    def marks(self, name: str) -> dict[str, str]:
        found = self.read(name)["metadata"].get("annotations") or {}
        return {key: value for key, value in found.items() if key in MARKS}

    def hpa(self, name: str) -> dict[str, Any]:
        """KEDA's own; empty while there is none."""
        path = f"/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/keda-hpa-{name}"
        answer = self.admin.client.call("GET", path)
        return answer.body if answer.ok else {}

    def hpa_least(self, name: str) -> int | None:
        found = self.hpa(name)
        return int(found["spec"]["minReplicas"]) if found else None

    def count(self, name: str) -> int:
        return int(self.admin.get(f"/apis/apps/v1/namespaces/default/deployments/{name}")["spec"]["replicas"])

    def until(self, is_so: Any, what: str, seconds: float = 60.0) -> None:
        self.cluster.until(is_so, what, seconds)

    def changed(self) -> set[tuple[str, str]]:
        """(resource, name) of all that the controller's account has changed, by the API server's own record."""
        refs = [line["objectRef"] for line in self.record.lines()]
        return {(str(ref["resource"]), str(ref.get("name", ""))) for ref in refs}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A lab of its own: KEDA is the one server of external metrics that a cluster can have."""
    folder = tmp_path_factory.mktemp("keda-floor")
    running = Lab.up(folder / "lab", ["kafka", "kubernetes", "kwok", "prometheus", "keda"])
    feed = Feed(running.kafka.bootstrap, NAME)
    try:
        feed.make(10)
        feed.start()
        made = Stage(running, folder)
        try:
            yield made
        finally:
            made.cluster.close()
            made.admin.client.close()
    finally:
        feed.stop()
        running.down()


def test_kedas_own_hpa_gets_the_minimum_and_brings_the_target_there(stage: Stage) -> None:
    stage.scaled_object(NAME, minReplicaCount=1)
    stage.scaled_object(ZERO)
    stage.until(lambda: stage.hpa_least(NAME) == 1, "KEDA makes its HPA")
    stage.until(lambda: stage.count(ZERO) == 0, "without load and a minimum there is none")
    for name in (NAME, ZERO):
        stage.declare(name, "Floor")
    stage.until(lambda: (stage.least(NAME) or 0) >= 4, "8 requests/s at 2 a replica need four")
    stage.until(lambda: stage.hpa_least(NAME) == stage.least(NAME), "KEDA hands it on")
    stage.until(lambda: stage.count(NAME) >= (stage.least(NAME) or 0) > REPLICAS, "and its HPA brings the target there")
    marks = stage.marks(NAME)
    uid = stage.cluster.item(NAME)["metadata"]["uid"]
    assert marks["lagcast.io/floor-owner"] == f"default/{NAME}/{uid}"
    assert marks["lagcast.io/floor-before"] == "1"
    assert FINALIZER in stage.cluster.item(NAME)["metadata"]["finalizers"]


def test_a_target_at_zero_is_brought_to_the_floor(stage: Stage) -> None:
    stage.until(lambda: (stage.least(ZERO) or 0) >= 4, "a minimum that was not stated")
    stage.until(lambda: stage.count(ZERO) >= (stage.least(ZERO) or 0), "KEDA brings it there")
    assert stage.marks(ZERO)["lagcast.io/floor-before"] == "absent"


def test_keda_leaves_the_floor_alone_and_lagcast_kedas_hpa(stage: Stage) -> None:
    raised = stage.least(NAME)
    time.sleep(3 * POLL)
    assert (stage.least(NAME) or 0) >= (raised or 0)
    assert stage.cluster.condition(NAME, "Ready")[0] == "True", "KEDA puts nothing back"
    managers = {one["manager"] for one in stage.hpa(NAME)["metadata"]["managedFields"]}
    assert "lagcast" not in managers
    changed = stage.changed()
    assert ("scaledobjects", NAME) in changed
    assert {resource for resource, _ in changed}.isdisjoint({"horizontalpodautoscalers", "deployments"})


def test_what_was_there_before_is_put_back_and_handed_on(stage: Stage) -> None:
    stage.admin.kubectl("delete", "ps", NAME, ZERO, "--timeout=20s")
    assert (stage.least(NAME), stage.marks(NAME)) == (1, {})
    assert (stage.least(ZERO), stage.marks(ZERO)) == (None, {})
    stage.until(lambda: stage.hpa_least(NAME) == 1, "KEDA hands it on")
    stage.until(lambda: stage.count(ZERO) == 0, "as before")


def test_a_prometheus_trigger_follows_what_is_desired_and_holds_when_that_is_gone(stage: Stage) -> None:
    """The overlay's own ScaledObject, with other names and this lab's time; nothing is written by Lagcast."""
    file = ROOT / "manifests" / "overlays" / "external-metric" / "keda" / "scaledobject.yaml"
    spec = yaml.safe_load(file.read_text(encoding="utf-8"))["spec"]
    (trigger,) = spec["triggers"]
    trigger["metadata"]["serverAddress"] = stage.lab.prometheus.url
    assert 'name="chat"' in trigger["metadata"]["query"]
    trigger["metadata"]["query"] = trigger["metadata"]["query"].replace('name="chat"', f'name="{FOLLOWED}"')
    scraped = stage.lab.prometheus.add_targets("lagcast", [stage.cluster.url.removeprefix("http://")])
    stage.declare(FOLLOWED, "Recommend")
    stage.until(lambda: stage.cluster.status(FOLLOWED).get("desiredReplicas", 0) > REPLICAS, "more is desired")
    stage.apply(FOLLOWED, {**spec, "scaleTargetRef": {"name": FOLLOWED}, "pollingInterval": POLL})
    stage.until(
        lambda: stage.count(FOLLOWED) == stage.cluster.status(FOLLOWED)["desiredReplicas"] > REPLICAS, "KEDA follows"
    )
    assert stage.marks(FOLLOWED) == {}
    assert ("scaledobjects", FOLLOWED) not in stage.changed()
    log = stage.cluster.log.read_text(encoding="utf-8")
    stage.cluster.process.kill()
    stage.cluster.process.wait()
    time.sleep(POLL)  # what was desired last may still be on its way
    followed = stage.count(FOLLOWED)
    assert followed > REPLICAS
    time.sleep(5 * POLL)  # three of its polls without a value, and a sync of the HPA
    assert stage.count(FOLLOWED) == followed
    scraped.unlink()
    for word in ("forbidden", "Traceback", "please report it"):
        assert word not in log
