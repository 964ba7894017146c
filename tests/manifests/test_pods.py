"""What every pod of the manifests must be, and that what selects the controller's pods does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from scaler.cli.run import run
from tests.manifests.checked_in import ROOT

MANIFESTS = ROOT / "manifests"


def objects(*folders: str) -> list[dict[str, Any]]:
    """The objects of the files in these folders, without what they are made into."""
    paths = [path for folder in folders for path in sorted((MANIFESTS / folder).rglob("*.yaml"))]
    items = (item for path in paths for item in yaml.safe_load_all(path.read_text(encoding="utf-8")))
    return [item for item in items if isinstance(item, dict) and "metadata" in item]


def templates(items: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each pod template, and whose it is."""
    for item in items:
        name = f"{item['kind']}/{item['metadata']['name']}"
        if item["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
            yield name, item["spec"]["template"]
        elif item["kind"] == "CronJob":
            yield name, item["spec"]["jobTemplate"]["spec"]["template"]


EVERY = list(templates(objects("base", "overlays", "kind")))
BASE = objects("base")


def controller() -> dict[str, Any]:
    (template,) = (template for name, template in templates(BASE) if name == "Deployment/lagcast")
    return template


@pytest.mark.parametrize(("name", "template"), EVERY, ids=[name for name, _ in EVERY])
def test_a_pod_has_no_rights_that_it_does_not_need(name: str, template: dict[str, Any]) -> None:
    pod = template["spec"]
    assert isinstance(pod.get("automountServiceAccountToken"), bool), "it says whether it needs a token"
    outer = pod["securityContext"]
    assert outer["runAsNonRoot"] is True
    assert outer["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        inner = container["securityContext"]
        assert inner["allowPrivilegeEscalation"] is False, container["name"]
        assert inner["readOnlyRootFilesystem"] is True, container["name"]
        assert inner["capabilities"] == {"drop": ["ALL"]}, container["name"]
        assert {"memory"} <= container["resources"]["requests"].keys(), container["name"]
        assert {"memory"} <= container["resources"]["limits"].keys(), container["name"]
        assert ":latest" not in container["image"]
    for volume in pod.get("volumes", []):
        assert "hostPath" not in volume
        if "emptyDir" in volume:
            assert "sizeLimit" in volume["emptyDir"], volume["name"]


def test_only_who_asks_the_api_server_has_a_token() -> None:
    tokens = {
        name: t["spec"].get("serviceAccountName") for name, t in EVERY if t["spec"]["automountServiceAccountToken"]
    }
    assert tokens["Deployment/lagcast"] == "lagcast"
    assert None not in tokens.values(), "a token of the namespace's default account is of no use"


def test_what_selects_the_controller_does() -> None:
    labels = controller()["metadata"]["labels"].items()
    (deployment,) = (item for item in BASE if item["kind"] == "Deployment")
    selectors = {
        "Deployment": deployment["spec"]["selector"]["matchLabels"],
        "Service": next(i for i in BASE if i["kind"] == "Service")["spec"]["selector"],
        "PodDisruptionBudget": next(i for i in BASE if i["kind"] == "PodDisruptionBudget")["spec"]["selector"][
            "matchLabels"
        ],
        "NetworkPolicy": next(i for i in BASE if i["kind"] == "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        "PodMonitor": next(i for i in objects("overlays") if i["kind"] == "PodMonitor")["spec"]["selector"][
            "matchLabels"
        ],
    }
    for constraint in controller()["spec"]["topologySpreadConstraints"]:
        selectors[constraint["topologyKey"]] = constraint["labelSelector"]["matchLabels"]
    apart = controller()["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    for term in (wish["podAffinityTerm"] for wish in apart):
        selectors[f"apart by {term['topologyKey']}"] = term["labelSelector"]["matchLabels"]
    assert "apart by kubernetes.io/hostname" in selectors
    for kind, selector in selectors.items():
        assert selector.items() <= labels, kind


def test_ports_that_are_named_are_there() -> None:
    (container,) = controller()["spec"]["containers"]
    names = {port["name"] for port in container["ports"]}
    probes = [container[kind]["httpGet"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert {probe["path"] for probe in probes} == {"/healthz", "/readyz"}
    assert {probe["port"] for probe in probes} <= names
    service = next(i for i in BASE if i["kind"] == "Service")
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= names
    monitor = next(i for i in objects("overlays") if i["kind"] == "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in names
    assert endpoint["honorLabels"] is True


def test_the_command_line_is_one_that_lagcast_takes() -> None:
    (container,) = controller()["spec"]["containers"]
    command, *arguments = container["args"]
    assert command == "run"
    context = run.make_context("run", list(arguments))
    host, _, port = context.params["listen"].rpartition(":")
    assert host == "0.0.0.0"
    assert int(port) == container["ports"][0]["containerPort"]


def test_there_are_two_and_one_may_be_away() -> None:
    (deployment,) = (item for item in BASE if item["kind"] == "Deployment")
    (budget,) = (item for item in BASE if item["kind"] == "PodDisruptionBudget")
    assert deployment["spec"]["replicas"] == 2
    assert budget["spec"]["maxUnavailable"] == 1


def test_the_network_policy_lets_through_what_is_observed() -> None:
    (policy,) = (item for item in BASE if item["kind"] == "NetworkPolicy")

    def passes(port: int, protocol: str = "TCP") -> bool:
        return any(
            allowed["protocol"] == protocol and allowed["port"] <= port <= allowed.get("endPort", allowed["port"])
            for rule in policy["spec"]["egress"]
            for allowed in rule["ports"]
        )

    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert all(passes(port) for port in (443, 6443, 9092, 9093, 9094, 9090, 53))
    assert passes(53, "UDP")
    assert not any(passes(port) for port in (22, 80, 2379, 5432, 10250))
