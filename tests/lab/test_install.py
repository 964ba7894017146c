"""docs/install.md, followed word by word: on a lab of its own, for it ends with an uninstall.

Left out is the image, and with it the port-forward: the controller runs on this machine, as the ServiceAccount that the
page installs, and listens where the port would be forwarded to.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from scaler.act.nodepools.pools import ProviderPools
from scaler.clock import SystemClock
from scaler.kube import connect
from scaler.pools.endings import PoolFinalizers, pool_ref
from simulations.lab import ports
from simulations.lab.access import write_kubeconfig
from simulations.lab.lab import Lab
from simulations.lab.load_run import LoadRun
from simulations.lab.process import Finished, Mark, end, run, spawn
from simulations.lab.topics import begin_behind
from simulations.traces import Pattern
from tests.lab.test_manifests import rendered
from tests.manifests.checked_in import ROOT
from tests.nodepools.conformance import pool as gpu_pool

pytestmark = pytest.mark.lab

PAGE = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
SYSTEM, SPACE, NAME = "lagcast-system", "inference", "chat"
LEFT_OUT = ("make image", "docker push", "kubectl --namespace lagcast-system port-forward")  # the first: test_image.py
PARTITIONS = 12
RATE, SERVICE = 25.0, 0.1  # requests/s, and s a request: three replicas, while one is there
PORT = 8080  # where `lagcast status` looks when nobody says otherwise


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.strip()]


@dataclass
class Followed:
    """Somebody who follows the page, in a folder beside a checkout."""

    lab: Lab
    folder: Path
    done: dict[str, Finished] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)
    controller: Mark | None = None

    def type(self, command: str) -> Finished:
        kubectl = Path(self.lab.kubernetes.kubectl).parent
        env = {"PATH": f"{kubectl}:{BIN}:{os.environ['PATH']}", "KUBECONFIG": self.lab.kubernetes.admin_kubeconfig}
        env |= {"HOME": str(self.folder)}
        return run(["bash", "-euc", command], directory=self.folder, env=env, timeout=240)

    def get(self, what: str, name: str, space: str = SPACE) -> dict[str, Any]:
        done = self.lab.kubernetes.run("get", what, name, "-n", space, "-o", "json")
        assert done.code == 0, done.output
        found: dict[str, Any] = json.loads(done.output)
        return found

    def replicas(self) -> int:
        return int(self.get("deployment", NAME)["spec"]["replicas"])

    def least(self) -> int:
        """The HPA's minimum."""
        return int(self.get("hpa", NAME)["spec"]["minReplicas"])

    def wait(self, what: str, is_so: Any, patience: float = 60.0) -> None:
        until = time.monotonic() + patience
        while not is_so():
            assert time.monotonic() < until, f"{what}: not within {patience:.0f} s; {self.log()[-2000:]}"
            time.sleep(0.5)

    def log(self) -> str:
        path = self.folder / "controller.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def start_controller(self) -> None:
        """What the Deployment's pods would do, as its ServiceAccount and with its arguments."""
        assert ports.is_free(PORT), f"port {PORT} is in use"
        (deployment,) = (item for item in rendered("base") if item["kind"] == "Deployment")
        pod = deployment["spec"]["template"]["spec"]
        token = self.lab.kubernetes.run("create", "token", pod["serviceAccountName"], "-n", SYSTEM)
        assert token.code == 0, token.output
        config = self.folder / "controller.kubeconfig"
        authority = self.lab.directory / "kubernetes" / "ca.crt"
        write_kubeconfig(config, self.lab.kubernetes.server, authority, "lagcast", token.output.strip())
        arguments = [a.replace("0.0.0.0", "127.0.0.1") for a in pod["containers"][0]["args"]]
        # Not by its first line, which would make it another command than the one that is to be ended.
        command = [sys.executable, str(BIN / "lagcast"), *arguments, "--kubeconfig", str(config), "--tick", "2s"]
        env = {"POD_NAME": "lagcast-0", "POD_NAMESPACE": SYSTEM}
        self.controller = spawn(command, log=self.folder / "controller.log", directory=self.folder, env=env)
        self.wait("the controller is ready", lambda: self.answers("readyz"))

    def answers(self, page: str) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{PORT}/{page}", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def end_controller(self) -> None:
        if self.controller is not None:
            self.seen["controller ended when told"] = end(self.controller, 20.0)
            self.controller = None

    # What happens around single commands of the page.

    def before(self, command: str) -> None:
        if '"mode":"Floor"' in command:
            self.autoscale()
        if command.startswith("kubectl delete predictivescalers"):
            self.seen["count before"] = self.replicas()
        if command.startswith("kubectl delete gpunodepools"):
            self.raise_pool("seen")  # while the controller runs
        if command.startswith("kubectl lagcast release"):
            self.raise_pool("left")  # by one that is no more
            done = self.type("kubectl delete gpunodepool left --wait=false")
            assert done.code == 0, done.output
            self.seen["stuck"] = self.pools()

    def after(self, command: str) -> None:
        if self.controller is None and "rollout status" in command and "controller log" not in self.seen:
            self.start_controller()
            self.seen["controller log"] = True
        if command.startswith("kubectl lagcast explain"):
            self.seen["while it recommends"] = self.replicas()
        if '"mode":"Enforce"' in command:
            self.wait("the count follows", lambda: self.replicas() >= 3)
        if '"mode":"Floor"' in command:
            self.wait("the minimum is raised", lambda: self.least() >= 3)
        if "lagcast pause" in command:
            self.wait("it says that it is paused", lambda: self.condition("Paused") == "True")
        if "lagcast resume" in command:
            self.wait("it says that it goes on", lambda: self.condition("Paused") == "False")
        if command.startswith("kubectl delete predictivescalers"):
            self.seen["minimum put back"] = self.least()
            self.seen["marks"] = [k for k in self.get("hpa", NAME)["metadata"].get("annotations", {}) if "lagcast" in k]
        if command.startswith("kubectl delete gpunodepools"):
            self.seen["pools after their deletion"] = (self.pools(), self.placeholders("seen"))
        if command.startswith("kubectl lagcast release"):
            self.seen["pools after the release"] = (self.pools(), self.placeholders("left"))
        if "delete deployment lagcast" in command:
            self.end_controller()

    def condition(self, kind: str) -> str | None:
        conditions = self.get("predictivescaler", NAME).get("status", {}).get("conditions", [])
        return next((c["status"] for c in conditions if c["type"] == kind), None)

    def raise_pool(self, name: str) -> None:
        """A pool of placeholder pods that was raised from none to two, as the controller does it."""
        labels = {"app": name}
        pod = {"priorityClassName": "gpu-placeholder", "containers": [{"name": "pause", "image": "pause"}]}
        template = {"metadata": {"labels": labels}, "spec": pod}
        spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
        priority = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": -5}
        made = gpu_pool({"placeholderPods": {"namespace": SPACE, "name": name}}, name)
        items = [
            {**priority, "metadata": {"name": "gpu-placeholder"}},
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": name, "namespace": SPACE},
                "spec": spec,
            },
            json.loads(made.model_dump_json(by_alias=True, exclude_none=True)),
        ]
        done = self.lab.kubernetes.run(
            "apply", "-f", "-", stdin=json.dumps({"kind": "List", "apiVersion": "v1", "items": items})
        )
        assert done.code == 0, done.output
        admin = connect(Path(self.lab.kubernetes.admin_kubeconfig))
        uid = admin.get(f"/apis/lagcast.io/v1alpha1/gpunodepools/{name}", "look")["metadata"]["uid"]
        made = made.model_copy(update={"metadata": made.metadata.model_copy(update={"uid": uid})})
        PoolFinalizers(admin).put(pool_ref(made))
        ProviderPools(admin, SystemClock()).write(made, 0, 2)
        assert self.placeholders(name) == 2

    def placeholders(self, name: str) -> int:
        return int(self.get("deployment", name)["spec"]["replicas"])

    def pools(self) -> list[str]:
        done = self.lab.kubernetes.run("get", "gpunodepools", "-o", "name")
        assert done.code == 0, done.output
        return done.output.split()

    def autoscale(self) -> None:
        """An HPA of the user's, as there was one all along."""
        hpa = {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": NAME, "namespace": SPACE},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
                "minReplicas": 1,
                "maxReplicas": 12,
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
                    }
                ],
            },
        }
        done = self.lab.kubernetes.run("apply", "-f", "-", stdin=json.dumps(hpa))
        assert done.code == 0, done.output


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    """The page, done from top to bottom."""
    folder = tmp_path_factory.mktemp("install")
    (folder / "manifests").symlink_to(ROOT / "manifests")
    lab = Lab.up(tmp_path_factory.mktemp("install-lab"), ["kafka", "kubernetes", "kwok"])
    reader = Followed(lab, folder)
    stop, marks = threading.Event(), []
    try:
        (text,) = (block for block in blocks("yaml") if block.startswith("# scaler.yaml"))
        assert "kafka.kafka:9092" in text
        (folder / "scaler.yaml").write_text(text.replace("kafka.kafka:9092", lab.kafka.bootstrap), encoding="utf-8")
        load = LoadRun(
            lab.kafka.bootstrap, "prompts", Pattern(RATE, amplitude=0.0).make(3600, 5, 0), partitions=PARTITIONS
        )
        load.write_past(120.0)
        begin_behind(lab.kafka.bootstrap, "prompts", "chat", PARTITIONS)
        deploy(lab)
        marks.append(consumers(lab, folder))
        sending = threading.Thread(target=load.run, args=(stop,), daemon=True)
        sending.start()
        for command in COMMANDS:
            if command.startswith(LEFT_OUT):
                continue
            reader.before(command)
            reader.done[command] = reader.type(command)
            assert reader.done[command].code == 0, f"{command}\n{reader.done[command].output}\n{reader.log()[-1500:]}"
            reader.after(command)
        yield reader
    finally:
        stop.set()
        reader.end_controller()
        for mark in marks:
            end(mark, 20.0)
        lab.down()


def deploy(lab: Lab) -> None:
    """The service that is there before Lagcast."""
    labels = {"app": NAME}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "server", "image": "model-server"}]}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": SPACE},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod},
    }
    lab.kwok.add_nodes(2, 0)
    for arguments, text in ((["create", "namespace", SPACE], None), (["apply", "-f", "-"], json.dumps(deployment))):
        done = lab.kubernetes.run(*arguments, stdin=text)
        assert done.code == 0, done.output


def consumers(lab: Lab, folder: Path) -> Mark:
    """A real consumer for each of the service's Ready pods."""
    config = {
        "app": NAME,
        "namespace": SPACE,
        "bootstrap": lab.kafka.bootstrap,
        "topic": "prompts",
        "group": "chat",
        "kubeconfig": lab.kubernetes.admin_kubeconfig,
        "service_time": {"kind": "fixed", "seconds": SERVICE},
        "results": str(folder / "results.csv"),
    }
    (folder / "runner.json").write_text(json.dumps(config), encoding="utf-8")
    command = [sys.executable, "-m", "simulations.lab.pod_runner", "--config", str(folder / "runner.json")]
    return spawn(command, log=folder / "runner.log", directory=folder)


def test_every_command_of_the_page_was_typed(followed: Followed) -> None:
    typed = set(followed.done)
    assert {c for c in COMMANDS if c not in typed and not c.startswith(LEFT_OUT)} == set()
    assert len(typed) > 15
    assert "Traceback" not in followed.log()


def test_installing_and_recommending_change_nothing(followed: Followed) -> None:
    assert followed.seen["while it recommends"] == 1


def test_what_it_shows_reads_well(followed: Followed) -> None:
    shown = next(done for command, done in followed.done.items() if command.endswith("get predictivescalers"))
    assert {"TARGET", "MODE", "DESIRED", "READY", "REASON"} <= set(shown.output.split())
    assert "Recommend" in shown.output
    assert "chat" in followed.done["kubectl lagcast status"].output


def test_uninstalling_puts_everything_back(followed: Followed) -> None:
    assert followed.seen["minimum put back"] == 1
    assert followed.seen["marks"] == []
    assert followed.replicas() >= followed.seen["count before"], "the target keeps its count"


def test_no_pool_is_stuck_and_what_they_raised_is_put_back(followed: Followed) -> None:
    assert followed.seen["pools after their deletion"] == ([], 0), "by the controller"
    assert followed.seen["stuck"] == ["gpunodepool.lagcast.io/left"], "nobody was there who would let it go"
    assert followed.seen["pools after the release"] == ([], 0)


def test_nothing_is_left_and_no_namespace_is_stuck(followed: Followed) -> None:
    names = followed.lab.kubernetes.run(
        "get", "crd,clusterrole,clusterrolebinding,priorityclass,namespace", "-o", "name"
    )
    assert names.code == 0
    assert [line for line in names.output.splitlines() if "lagcast" in line] == []
    done = followed.lab.kubernetes.run("delete", "namespace", SPACE, "--timeout=60s", timeout=90)
    assert done.code == 0, done.output


def test_the_kustomization_of_the_page_renders_with_its_image(followed: Followed) -> None:
    (text,) = (block for block in blocks("yaml") if block.startswith("# lagcast/kustomization.yaml"))
    own = followed.folder / "lagcast"
    own.mkdir()
    (own / "kustomization.yaml").write_text(text, encoding="utf-8")
    done = followed.type("kubectl kustomize lagcast")
    assert done.code == 0, done.output
    images = {
        container["image"]
        for item in yaml.safe_load_all(done.output)
        if item["kind"] == "Deployment"
        for container in item["spec"]["template"]["spec"]["containers"]
    }
    assert images == {"registry.example.com/lagcast:0.1.0"}


def test_the_controller_ended(followed: Followed) -> None:
    assert followed.seen["controller ended when told"], "it had ended before"
    assert ports.is_free(PORT)
