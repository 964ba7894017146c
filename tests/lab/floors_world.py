"""Floors on the real API server: somebody with all rights, and the objects that the shared suites are about."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from scaler.act.finalizer import FINALIZER, ClusterFinalizers
from scaler.act.floor import Autoscaler
from scaler.act.floors import KubernetesFloors
from scaler.act.order import ScalerRef
from scaler.kube import MERGE_PATCH, KubeClient, connect
from simulations.lab.lab import Lab
from tests.configuration.objects import GOOD
from tests.floors.conformance import NAMES, World

NAMESPACE = "floor-tests"
SCALED_OBJECTS = "scaledobjects.keda.sh"


def stand_in_definition() -> dict[str, Any]:
    """A ScaledObject's, as far as it matters here, where KEDA's own is not built."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": SCALED_OBJECTS},
        "spec": {
            "group": "keda.sh",
            "scope": "Namespaced",
            "names": {"kind": "ScaledObject", "plural": "scaledobjects", "singular": "scaledobject"},
            "versions": [{"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def lagcast(*arguments: str, kubeconfig: Path | str, code: int = 0) -> str:
    """What the command prints on stdout; it has to end with ``code``."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "scaler.cli", *arguments, "--kubeconfig", str(kubeconfig)],
        capture_output=True, text=True, timeout=60, check=False, env=os.environ.copy(),
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


class Administrator:
    """Somebody with all rights, who says under which name something is written."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.client = connect(Path(lab.kubernetes.admin_kubeconfig))

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        done = self.lab.kubernetes.run(*arguments, stdin=stdin)
        assert done.code == 0, done.output
        return str(done.output)

    def make(self, path: str, body: dict[str, Any], manager: str = "kubectl") -> dict[str, Any]:
        answer = self.client.call("POST", path, query={"fieldManager": manager}, body=body)
        assert answer.ok, answer
        return answer.body

    def merge(self, path: str, body: dict[str, Any], manager: str = "kubectl") -> None:
        query = {"fieldManager": manager}
        answer = self.client.call("PATCH", path, query=query, body=body, content_type=MERGE_PATCH)
        assert answer.ok, answer

    def get(self, path: str) -> dict[str, Any]:
        return self.client.get(path, f"read {path}")

    def account(self, folder: Path, namespace: str, name: str) -> Path:
        """The kubeconfig of a ServiceAccount that is there."""
        token = self.kubectl("create", "token", name, "-n", namespace, "--duration=2h").strip()
        config = yaml.safe_load(Path(self.lab.kubernetes.admin_kubeconfig).read_text())
        config["users"][0]["user"] = {"token": token}
        file = folder / f"{name}.kubeconfig"
        file.write_text(json.dumps(config))
        return file


class LabWorld(World):
    namespace = NAMESPACE

    def __init__(self, admin: Administrator, folder: Path) -> None:
        self.admin, self.folder = admin, folder
        self.act_as(connect(Path(admin.lab.kubernetes.controller_kubeconfig)))

    def act_as(self, client: KubeClient) -> None:
        self.floors, self.finalizers = KubernetesFloors(client), ClusterFinalizers(client)

    def make(self, version: str, kind: str, plural: str, spec: dict[str, Any], **more: Any) -> str:
        name = f"{next(NAMES)}-{time.monotonic_ns()}"
        spec = {k: v for k, v in spec.items() if v is not None} | {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
        }
        body = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": {**spec, **more}}
        self.admin.make(f"/apis/{version}/namespaces/{NAMESPACE}/{plural}", body)
        return name

    def read(self, name: str) -> Autoscaler:
        return next(one for one in self.floors.autoscalers(NAMESPACE) if one.name == name)

    def hpa(self, least: int | None, most: int) -> Autoscaler:
        spec = {"minReplicas": least, "maxReplicas": most}
        return self.read(self.make("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", spec))

    def scaled_object(self, least: int | None, most: int | None) -> Autoscaler:
        spec = {"minReplicaCount": least, "maxReplicaCount": most}
        triggers = [{"type": "cron", "metadata": {"timezone": "UTC"}}]
        return self.read(self.make("keda.sh/v1alpha1", "ScaledObject", "scaledobjects", spec, triggers=triggers))

    def path(self, found: Autoscaler) -> str:
        return f"/apis/{found.fields.api_version}/namespaces/{NAMESPACE}/{found.fields.plural}/{found.name}"

    def edit(self, found: Autoscaler, least: int, manager: str) -> None:
        self.admin.merge(self.path(found), {"spec": {found.fields.least: least}}, manager)

    def limit(self, found: Autoscaler, most: int) -> None:
        self.admin.merge(self.path(found), {"spec": {found.fields.most: most}})

    def remove(self, found: Autoscaler) -> None:
        assert self.admin.client.call("DELETE", self.path(found)).ok

    def scaler(self) -> ScalerRef:
        name = f"{next(NAMES)}-{time.monotonic_ns()}"
        body = {**GOOD, "metadata": {"name": name}, "spec": {**GOOD["spec"], "target": {"name": name}}}
        made = self.admin.make(f"/apis/lagcast.io/v1alpha1/namespaces/{NAMESPACE}/predictivescalers", body)
        return ScalerRef(NAMESPACE, name, made["metadata"]["uid"])

    def scaler_path(self, scaler: ScalerRef) -> str:
        return f"/apis/lagcast.io/v1alpha1/namespaces/{NAMESPACE}/predictivescalers/{scaler.name}"

    def has_finalizer(self, scaler: ScalerRef) -> bool:
        return FINALIZER in self.admin.get(self.scaler_path(scaler))["metadata"].get("finalizers", [])

    def delete(self, scaler: ScalerRef) -> None:
        assert self.admin.client.call("DELETE", self.scaler_path(scaler)).ok

    def stop(self) -> None:
        self.admin.lab.kubernetes.stop()

    def start(self) -> None:
        self.admin.lab.kubernetes.start()

    def refuse(self) -> None:
        answer = self.admin.client.call(
            "POST", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", body={"metadata": {"name": "nobody"}}
        )
        assert answer.ok or answer.code == 409
        self.act_as(connect(self.admin.account(self.folder, NAMESPACE, "nobody")))
