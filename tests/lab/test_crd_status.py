"""`lagcast run` as its ServiceAccount, on the cluster's PredictiveScalers: what kubectl shows is what was decided."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from simulations.lab.lab import Lab
from simulations.lab.ports import free_port
from tests.lab.test_bad_input import Feed, deployment

pytestmark = pytest.mark.lab

NAME = "declared"
SPEC: dict[str, Any] = {
    "target": {"name": NAME},
    "objective": {"within": "5s", "share": "99%"},
    "replicas": {"min": 1, "max": 8, "serviceRate": "2", "leadTime": "3s", "scaleInHold": "1h"},
    "forecast": {"history": "0s", "model": "none"},
}


class Cluster:
    """The lab's cluster as a user has it, with kubectl, and the controller that runs on it."""

    def __init__(self, lab: Lab, folder: Path, *options: str) -> None:
        self.lab = lab
        self.log = folder / "controller.log"
        self.url = f"http://127.0.0.1:{free_port()}"
        self._file = self.log.open("wb")
        command = [sys.executable, "-W", "error", "-m", "scaler.cli", "run", "--tick", "500ms"]
        command += ["--listen", self.url.removeprefix("http://"), "--kubeconfig", lab.kubernetes.controller_kubeconfig]
        command += options
        self.process = subprocess.Popen(command, stdout=self._file, stderr=subprocess.STDOUT, env=os.environ.copy())

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        done = self.lab.kubernetes.run(*arguments, stdin=stdin)
        assert done.code == 0, done.output
        return str(done.output)

    def apply(self, *items: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items)}))

    def declare(self, name: str, **spec: Any) -> None:
        kafka = {"bootstrapServers": self.lab.kafka.bootstrap, "topic": name, "consumerGroup": name}
        self.apply(
            {
                "apiVersion": "lagcast.io/v1alpha1",
                "kind": "PredictiveScaler",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {**SPEC, "kafka": kafka, **spec},
            }
        )

    def item(self, name: str) -> dict[str, Any]:
        made: dict[str, Any] = json.loads(self.kubectl("get", "predictivescaler", name, "-o", "json"))
        return made

    def status(self, name: str) -> dict[str, Any]:
        return dict(self.item(name).get("status") or {})

    def condition(self, name: str, kind: str) -> tuple[str, str]:
        found = {c["type"]: (c["status"], c["reason"]) for c in self.status(name).get("conditions", ())}
        return found.get(kind, ("", ""))

    def until(self, is_so: Callable[[], object], what: str, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not is_so():
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
            assert time.monotonic() < end, f"{what}; the log:\n{self.log.read_text(encoding='utf-8')}"
            time.sleep(0.2)

    def close(self) -> None:
        """It gives its Lease back, or the next test's controller would wait for that to run out."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._file.close()


@pytest.fixture(scope="module")
def cluster(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The controller starts before its definitions are there, as in a real installation it may."""
    lab.kwok.add_nodes(1, 1, prefix="declared")
    lab.kubernetes.run("delete", "crd", "predictivescalers.lagcast.io", "--ignore-not-found", "--timeout=30s")
    made = Cluster(lab, tmp_path_factory.mktemp("declared"))
    feed = Feed(lab.kafka.bootstrap, NAME)
    try:
        made.until(lambda: "are the definitions installed?" in ready(made), "it says what is missing")
        manifests = Path(__file__).parents[2] / "manifests"
        made.kubectl("apply", "--server-side", "-f", str(manifests / "crd"))
        made.apply(deployment(NAME))
        feed.make(10)
        feed.start()
        made.until(lambda: ready(made) == "ok\n", "it is ready")
        made.declare(NAME)
        made.until(lambda: made.condition(NAME, "Ready")[0] == "True", "it decides")
        yield made
    finally:
        made.close()
        feed.stop()
        for kind in ("predictivescaler", "deployment"):
            lab.kubernetes.run("delete", kind, NAME, "--ignore-not-found", "--wait=false")


def ready(cluster: Cluster) -> str:
    try:
        return requests.get(f"{cluster.url}/readyz", timeout=5).text
    except requests.RequestException:
        return ""


def metric(cluster: Cluster, text: str) -> bool:
    return text in requests.get(f"{cluster.url}/metrics", timeout=5).text


def test_the_status_says_what_was_decided(cluster: Cluster) -> None:
    cluster.until(lambda: cluster.status(NAME).get("desiredReplicas", 0) > 3, "8 requests/s at 2 a replica need four")
    cluster.until(lambda: "arrivalRate" in cluster.status(NAME), "numbers come once a minute", seconds=90.0)
    status = cluster.status(NAME)
    assert status["observedGeneration"] == 1
    assert status["currentReplicas"] == 3
    conditions = {c["type"]: c for c in status["conditions"]}
    assert conditions.keys() == {"Ready", "Active", "ScalingLimited", "Fallback", "Paused"}
    assert {c["observedGeneration"] for c in conditions.values()} == {1}
    assert conditions["Fallback"]["reason"] == "ReactiveByChoice"
    for number in ("arrivalRate", "serviceRate"):
        digits = status[number].replace(".", "").strip("0")
        assert len(digits) <= 2, status[number]


def test_kubectl_waits_for_a_condition(cluster: Cluster) -> None:
    cluster.kubectl("wait", "--for=condition=Ready", f"predictivescaler/{NAME}", "--timeout=20s")


def test_the_columns(cluster: Cluster) -> None:
    header, line = cluster.kubectl("get", "predictivescalers", NAME).splitlines()
    names = ["NAME", "TARGET", "MODE", "MIN", "MAX", "CURRENT", "DESIRED", "FORECAST", "READY", "REASON", "AGE"]
    assert header.split() == names
    shown = {name: line[header.index(name) :].split("  ")[0].strip() for name in names}
    assert (shown["TARGET"], shown["MODE"], shown["MIN"], shown["MAX"]) == (NAME, "Recommend", "1", "8")
    assert (shown["CURRENT"], shown["READY"]) == ("3", "True")
    assert int(shown["DESIRED"]) >= 1
    assert shown["REASON"]
    wide = cluster.kubectl("get", "ps", NAME, "-o", "wide").splitlines()[0]
    assert [name for name in ("MODEL", "TIME LAG", "LEAD TIME", "LAST SCALE") if name in wide] == [
        "MODEL", "TIME LAG", "LEAD TIME", "LAST SCALE",
    ]  # fmt: skip


def test_a_change_is_taken_up_and_its_generation_is_the_observed_one(cluster: Cluster) -> None:
    cluster.declare(NAME, replicas={**SPEC["replicas"], "max": 2})
    cluster.until(lambda: cluster.status(NAME).get("observedGeneration") == 2, "the second version is decided on")
    cluster.until(lambda: cluster.condition(NAME, "ScalingLimited") == ("True", "MaxReplicas"), "the limit is named")
    cluster.declare(NAME)
    cluster.until(lambda: cluster.status(NAME).get("observedGeneration") == 3, "and the third")


def test_what_cannot_be_run_says_so_and_stops_no_other(cluster: Cluster) -> None:
    cluster.declare("floor", target={"name": "elsewhere"}, mode="Floor")
    cluster.declare("twin")
    cluster.until(lambda: cluster.condition("floor", "Ready") == ("False", "TargetNotFound"), "what it lacks is said")
    cluster.until(lambda: cluster.condition("twin", "Ready") == ("False", "TargetTaken"), "a second one is refused")
    assert cluster.condition(NAME, "Ready")[0] == "True"
    before = cluster.item("floor")["metadata"]["resourceVersion"]
    time.sleep(3.0)
    assert cluster.item("floor")["metadata"]["resourceVersion"] == before, "nothing changed: nothing is written"
    cluster.kubectl("delete", "predictivescaler", "floor", "twin")


def test_pausing_and_enforcing(cluster: Cluster) -> None:
    cluster.kubectl("annotate", "ps", NAME, "lagcast.io/paused=true")
    cluster.until(lambda: cluster.condition(NAME, "Paused")[0] == "True", "it is paused")
    cluster.declare(NAME, mode="Enforce")
    cluster.until(lambda: cluster.item(NAME)["status"]["observedGeneration"] >= 4, "it is to be enforced")
    time.sleep(2.0)
    assert cluster.kubectl("get", "deployment", NAME, "-o", "jsonpath={.spec.replicas}") == "3"
    assert "lastScaleTime" not in cluster.status(NAME)
    cluster.kubectl("annotate", "ps", NAME, "lagcast.io/paused-")
    cluster.until(lambda: "lastScaleTime" in cluster.status(NAME), "it was scaled")
    assert int(cluster.kubectl("get", "deployment", NAME, "-o", "jsonpath={.spec.replicas}")) > 3


def test_a_status_is_written_a_few_times_a_minute_at_most(cluster: Cluster) -> None:
    versions = set()
    for _ in range(20):
        versions.add(cluster.item(NAME)["metadata"]["resourceVersion"])
        time.sleep(0.5)
    assert len(versions) <= 8, "twenty ticks: only where a condition or the count changed, and once for the numbers"


def test_a_deleted_one_is_decided_no_more_and_its_series_are_gone(cluster: Cluster) -> None:
    cluster.declare("short-lived", target={"name": "elsewhere"})
    cluster.until(lambda: cluster.condition("short-lived", "Ready") == ("False", "TargetNotFound"), "it is taken up")
    assert metric(cluster, 'name="short-lived"')
    cluster.kubectl("delete", "predictivescaler", "short-lived")
    cluster.until(lambda: not metric(cluster, 'name="short-lived"'), "its series are gone")


def test_its_account_may_do_all_that_it_does(cluster: Cluster) -> None:
    log = cluster.log.read_text(encoding="utf-8")
    assert "forbidden" not in log
    assert "Traceback" not in log
    assert "please report it" not in log


def test_an_outage_of_the_api_server_takes_no_scaler_away_and_is_got_over(cluster: Cluster) -> None:
    cluster.lab.kubernetes.stop()
    try:
        time.sleep(3.0)
        rows = requests.get(f"{cluster.url}/status", timeout=5).json()
        assert [row["name"] for row in rows] == [NAME]
    finally:
        cluster.lab.kubernetes.start()
    cluster.declare("late", target={"name": "elsewhere"})
    cluster.until(lambda: cluster.condition("late", "Ready") == ("False", "TargetNotFound"), "the new one is taken up")
    cluster.until(lambda: cluster.condition(NAME, "Ready")[0] == "True", "the old one is well again")
    cluster.kubectl("delete", "predictivescaler", "late")


def test_it_ends_soon(cluster: Cluster) -> None:
    begun = time.monotonic()
    cluster.process.send_signal(signal.SIGTERM)
    assert cluster.process.wait(10) == 0
    assert time.monotonic() - begun < 5.0
