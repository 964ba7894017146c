"""What the controller imports before it is ready: nothing heavy that it does not use."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("statsmodels", "prophet", "cmdstanpy", "statsforecast")
CONTROLLER = """
import json, sys
import scaler.cli.run, scaler.act.events, scaler.act.replicas, scaler.observe.cluster, scaler.observe.kafka
import scaler.kube, scaler.predictive, forecasting.models.level_season, forecasting.models.seasonal_naive
import forecasting.competition_default
from kubernetes.client.configuration import Configuration
from kubernetes.client.rest import RESTClientObject
from kubernetes.config.kube_config import load_kube_config
from kubernetes.config.incluster_config import load_incluster_config
"""
SHOW = "\nprint(json.dumps(sorted(sys.modules)))"


def modules(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code + SHOW], capture_output=True, text=True, timeout=60, check=True)
    loaded: list[str] = json.loads(done.stdout)
    return loaded


@pytest.fixture(scope="module")
def loaded() -> list[str]:
    return modules(CONTROLLER)


@pytest.mark.parametrize("package", [*HEAVY, "pandas", "matplotlib", "prometheus_api_client", "simulations"])
def test_the_controller_does_not_import(loaded: list[str], package: str) -> None:
    assert [m for m in loaded if m == package or m.startswith(f"{package}.")] == []


def test_of_scipy_only_what_numba_looks_for_is_loaded(loaded: list[str]) -> None:
    assert len([m for m in loaded if m == "scipy" or m.startswith("scipy.")]) < 20, "all of it is 40 MB"


def test_kubernetes_models_are_not_loaded(loaded: list[str]) -> None:
    models = [m for m in loaded if m.startswith("kubernetes.client.models.") or m.startswith("kubernetes.client.api.")]
    assert len(models) < 20, "all of them are 115 MB"


def test_the_shell_imports_no_command(loaded: list[str]) -> None:
    del loaded
    shell = modules("import json, sys, scaler.cli.main")
    assert not [m for m in shell if m.startswith(("numpy", "confluent_kafka", "kubernetes", "simulations", "requests"))]
