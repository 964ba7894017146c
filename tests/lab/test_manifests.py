"""The kustomizations as kubectl renders them: each object fits its schema, and the real API server takes them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from scaler.api.objects import parse
from simulations.lab.lab import Lab
from simulations.lab.process import run
from simulations.lab.programs import KUBERNETES
from simulations.lab.prometheus_operator import definitions
from tests.manifests.checked_in import ROOT

pytestmark = pytest.mark.lab

OVERLAYS = ("base", "overlays/prometheus", "overlays/prometheus-operator", "overlays/demo", "kind")
SYSTEM = "lagcast-system"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def rendered(folder: str) -> list[dict[str, Any]]:
    """What `kubectl kustomize` makes of a folder of manifests."""
    kubectl = KUBERNETES.folder() / "bin" / "kubectl"
    done = run([str(kubectl), "kustomize", str(ROOT / "manifests" / folder)], directory=ROOT)
    assert done.code == 0, done.output
    return [item for item in yaml.load_all(done.output, Loader=LOADER) if item]


@pytest.fixture(scope="module")
def operator(lab: Lab) -> Iterator[dict[tuple[str, str], dict[str, Any]]]:
    """The Prometheus operator's kinds, known to the API server; the schema of each."""
    folder = definitions()
    done = lab.kubernetes.run("apply", "--server-side", "-f", str(folder))
    assert done.code == 0, done.output
    lab.kubernetes.run("wait", "--for=condition=Established", "-f", str(folder), "--timeout=30s")
    found = {}
    for path in folder.glob("*.yaml"):
        definition = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)["spec"]
        for version in definition["versions"]:
            key = f"{definition['group']}/{version['name']}", definition["names"]["kind"]
            found[key] = version["schema"]["openAPIV3Schema"]
    yield found
    lab.kubernetes.run("delete", "-f", str(folder), "--wait=false")


@pytest.mark.parametrize("folder", OVERLAYS)
def test_what_is_rendered_fits_the_schemas(
    lab: Lab, operator: dict[tuple[str, str], dict[str, Any]], folder: str
) -> None:
    import jsonschema

    items = rendered(folder)
    kinds = {item["kind"] for item in items}
    assert {"Deployment", "CustomResourceDefinition", "ClusterRole", "NetworkPolicy"} <= kinds
    seen = [
        (item["apiVersion"], item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"])
        for item in items
    ]
    assert len(seen) == len(set(seen))
    for item in items:
        key = item["apiVersion"], item["kind"]
        if key in operator:
            # Not validate(), which would first read patterns in Go's dialect that the objects do not use.
            assert list(jsonschema.Draft202012Validator(operator[key]).iter_errors(item)) == []
        elif item["apiVersion"].startswith("lagcast.io/"):
            assert parse(item).faults == ()
        else:
            kubernetes_validate.validate(item, "1.36", strict=True)


@pytest.mark.parametrize("folder", [name for name in OVERLAYS if name != "base"])
def test_the_api_server_takes_an_overlay(lab: Lab, operator: object, folder: str) -> None:
    """Checked by the real server, field by field, and not kept; what needs a kind that is not there yet is left out."""
    for item in rendered(folder):
        space = item["metadata"].get("namespace")
        if item["apiVersion"].startswith("lagcast.io/"):
            continue
        if space not in (None, "default"):
            lab.kubernetes.run("create", "namespace", space)
        options = ("--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict")
        done = lab.kubernetes.run("apply", *options, "-f", "-", stdin=json.dumps(item))
        assert done.code == 0, (item["kind"], item["metadata"]["name"], done.output)


def test_the_base_is_installed_and_its_pods_are_restricted_ones(lab: Lab) -> None:
    base = str(ROOT / "manifests" / "base")
    # Both nodes are there first: a pod goes to the only node that it finds.
    nodes = [f"node/{name}" for name in lab.kwok.add_nodes(2, 0, prefix="plain")]
    done = lab.kubernetes.run("wait", "--for=condition=Ready", *nodes, "--timeout=60s", timeout=90)
    assert done.code == 0, done.output
    done = lab.kubernetes.run("apply", "--server-side", "--force-conflicts", "-k", base)
    assert done.code == 0, done.output
    assert "Warning" not in done.output, "PodSecurity's restricted profile has something to say"
    try:
        until = time.monotonic() + 60
        while (pods := placed(lab)) is None:
            assert time.monotonic() < until, lab.kubernetes.run("describe", "pods", "-n", SYSTEM).output[-3000:]
            time.sleep(1)
        assert len(pods) == 2, "one of the two replicas is not admitted"
        assert len(set(pods)) == 2, f"both replicas are on one node: {pods}"
        while expected_pods(lab) != 2:
            assert time.monotonic() < until, "the budget does not count both replicas"
            time.sleep(1)
        done = lab.kubernetes.run("rollout", "status", "deployment/lagcast", "-n", SYSTEM, "--timeout=50s")
        assert done.code == 0, done.output
        # Now that no controller writes to any of them: what changes between kubectl's two looks is a difference, too.
        again = lab.kubernetes.run("diff", "--server-side", "--force-conflicts", "-k", base)
        assert again.code == 0, f"applied twice it is not the same:\n{again.output}"
    finally:
        mine = ("deployment,pdb,cronjob", "-n", SYSTEM, "-l", "app.kubernetes.io/part-of=lagcast")
        done = lab.kubernetes.run("delete", *mine)
        assert done.code == 0, done.output
        lab.kubernetes.run("delete", *nodes, "--wait=false")


def expected_pods(lab: Lab) -> int:
    """What the budget counts, by its controller, which comes to it after the pods are there."""
    budget = json.loads(lab.kubernetes.run("get", "pdb", "lagcast", "-n", SYSTEM, "-o", "json").output)
    return int(budget.get("status", {}).get("expectedPods", 0))


def placed(lab: Lab) -> list[str] | None:
    """The nodes of the controller's pods, once both are there."""
    selector = "app.kubernetes.io/component=controller"
    pods = json.loads(lab.kubernetes.run("get", "pods", "-n", SYSTEM, "-l", selector, "-o", "json").output)["items"]
    nodes = [pod["spec"].get("nodeName") for pod in pods]
    return nodes if len(nodes) == 2 and all(nodes) else None


def discovered(name: str, labels: dict[str, str]) -> dict[str, Any]:
    """A pod as Prometheus' discovery tells it, for one that is built without it, as Debian's is."""
    meta = {f"__meta_kubernetes_pod_label_app_kubernetes_io_{key}": value for key, value in labels.items()}
    meta |= {"__meta_kubernetes_pod_name": name, "__meta_kubernetes_pod_container_port_name": "http"}
    return {"targets": [f"{name}:8080"], "labels": meta}


def test_prometheus_reads_the_scrape_configuration_and_the_rules(tmp_path: Path) -> None:
    maps = {i["metadata"]["name"]: i["data"] for i in rendered("overlays/prometheus") if i["kind"] == "ConfigMap"}
    (tmp_path / "lagcast.rules.yaml").write_text(maps["lagcast-rules"]["lagcast.rules.yaml"], encoding="utf-8")
    # This Prometheus may be too old to include files of jobs, so the job stands in its own.
    config = yaml.safe_load(maps["lagcast-prometheus"]["lagcast.scrape.yaml"]) | {"rule_files": ["lagcast.rules.yaml"]}
    (job,) = config["scrape_configs"]
    assert job["honor_labels"] is True
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod", "namespaces": {"names": [SYSTEM]}}]
    job["static_configs"] = [
        discovered("lagcast-a", {"name": "lagcast", "component": "controller"}),
        discovered("lagcast-release-b", {"name": "lagcast", "component": "release"}),
        discovered("grafana-c", {"name": "grafana"}),
    ]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    done = run(["promtool", "check", "config", "prometheus.yml"], directory=tmp_path)
    assert done.code == 0, done.output
    assert "FAILED" not in done.output
    done = run(
        ["promtool", "check", "service-discovery", "--timeout=5s", "prometheus.yml", "lagcast"], directory=tmp_path
    )
    assert done.code == 0, done.output
    kept = [found["labels"] for found in json.loads(done.output) if found.get("labels")]
    assert [(labels["pod"], labels["instance"]) for labels in kept] == [("lagcast-a", "lagcast-a:8080")]
