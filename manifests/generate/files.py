"""Every generated file: its path in the repository, and its text."""

from __future__ import annotations

import json
from typing import Any

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from manifests.generate import alerts, controller, forecast, overview, pools, service
from scaler.metrics import reference

MADE_BY = "# Made by `make generate` from manifests/generate; change it there and make it again.\n"
SIDECAR = {"grafana_dashboard": "1"}  # what the sidecar of Grafana's Helm chart looks for, by default
NAMESPACE = "lagcast-system"


def dashboards() -> list[Dashboard]:
    """All dashboards, as the list of them is to be read."""
    makers = (overview.overview, service.service, forecast.forecast, pools.pools, controller.controller)
    return [make() for make in makers]


def files() -> dict[str, str]:
    """All of them."""
    made = {"docs/metrics.md": reference.render()}
    for board in dashboards():
        made[f"manifests/dashboards/{board.uid}.yaml"] = MADE_BY + _yaml(config_map(board))
    made["manifests/dashboards/kustomization.yaml"] = _kustomization([f"{board.uid}.yaml" for board in dashboards()])
    made["manifests/alerts/lagcast.rules.yaml"] = MADE_BY + _yaml(alerts.rules())
    made["manifests/alerts/prometheusrule.yaml"] = MADE_BY + _yaml(alerts.prometheus_rule(NAMESPACE))
    made["manifests/alerts/kustomization.yaml"] = _kustomization(["prometheusrule.yaml"])
    made["manifests/overlays/prometheus/rules.yaml"] = MADE_BY + _yaml(_rules_map())
    return made


def _kustomization(resources: list[str]) -> str:
    kind = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    return MADE_BY + _yaml(kind | {"resources": resources})


def config_map(board: Dashboard) -> dict[str, Any]:
    """A dashboard as the ConfigMap that Grafana's sidecar loads."""
    text = json.dumps(board, cls=JSONEncoder, indent=1) + "\n"
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": board.uid, "namespace": NAMESPACE, "labels": SIDECAR},
        "data": {f"{board.uid}.json": text},
    }


def _rules_map() -> dict[str, Any]:
    """The rules as the ConfigMap that a Prometheus without its operator mounts."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "lagcast-rules", "namespace": NAMESPACE},
        "data": {"lagcast.rules.yaml": _yaml(alerts.rules())},
    }


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as they are, so that a change of a dashboard reads as one."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _yaml(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)
