"""Every object of the manifests, as it is checked in, fits the API's schema; our own fit our models."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from scaler.api.objects import parse
from tests.manifests.checked_in import ROOT

MANIFESTS = ROOT / "manifests"
VERSION = "1.36"
# Kinds whose schema is not the API server's own. Those of the Prometheus operator: tests/lab/test_manifests.py.
OTHERS = {
    "kustomize.config.k8s.io/v1beta1": {"Kustomization"},
    "kustomize.config.k8s.io/v1alpha1": {"Component"},
    "kind.x-k8s.io/v1alpha4": {"Cluster"},
    "monitoring.coreos.com/v1": {"PodMonitor", "PrometheusRule"},
    "keda.sh/v1alpha1": {"ScaledObject"},  # tests/lab/test_floors.py
    "karpenter.sh/v1": {"NodePool"},  # these three: examples of tests/lab/test_nodepools.py
    "cluster.x-k8s.io/v1beta2": {"MachineDeployment"},
    "autoscaling.x-k8s.io/v1beta1": {"CapacityBuffer"},
}
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def objects() -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted((*MANIFESTS.rglob("*.yaml"), *MANIFESTS.rglob("Kustomization"))):
        for item in yaml.load_all(path.read_text(encoding="utf-8"), Loader=LOADER):
            if isinstance(item, dict) and "kind" in item and "apiVersion" in item:
                yield path.relative_to(MANIFESTS), item


ALL = list(objects())


def named(value: object) -> str:
    return f"{value['kind']}-{value['metadata']['name']}" if isinstance(value, dict) else str(value)


@pytest.mark.parametrize(
    ("path", "item"),
    [(path, item) for path, item in ALL if item["kind"] not in OTHERS.get(item["apiVersion"], ())],
    ids=named,
)
def test_an_object_fits_its_schema(path: Path, item: dict[str, Any]) -> None:
    if item["apiVersion"].startswith("lagcast.io/"):
        assert parse(item).faults == ()
    else:
        kubernetes_validate.validate(item, VERSION, strict=True)


def test_a_field_that_there_is_not_is_found() -> None:
    (item,) = (
        item for _, item in ALL if item["kind"] == "PodDisruptionBudget" and item["metadata"]["name"] == "lagcast"
    )
    with pytest.raises(kubernetes_validate.ValidationError, match="maxUnavailible"):
        kubernetes_validate.validate({**item, "spec": {**item["spec"], "maxUnavailible": 1}}, VERSION, strict=True)


def test_every_file_is_part_of_something() -> None:
    """A manifest that no kustomization names would never be applied."""
    listed = {
        posixpath.normpath((path.parent / name).as_posix())
        for path, item in ALL
        if item["kind"] in ("Kustomization", "Component")
        for name in item.get("resources", [])
    }
    for path, item in ALL:
        if item["kind"] not in ("Kustomization", "Component", "Cluster") and path.parts[0] != "examples":
            assert path.as_posix() in listed, f"no kustomization has {path}"
