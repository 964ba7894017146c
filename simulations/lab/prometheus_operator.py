"""The kinds of the Prometheus operator, without the operator: what they demand of an object is what can be checked."""

from __future__ import annotations

from pathlib import Path

from simulations.lab.programs import GO_FILES, Program, Progress, _copied, build, silent
from simulations.lab.requirements import GO

KINDS = ("podmonitors", "prometheusrules")
PROMETHEUS_OPERATOR = Program(
    "prometheus-operator",
    "0.85.0",
    GO_FILES,
    GO,
    (
        (
            "the Prometheus operator's CRDs",
            _copied(
                "github.com/prometheus-operator/prometheus-operator",
                *(f"example/prometheus-operator-crd/monitoring.coreos.com_{kind}.yaml" for kind in KINDS),
                download=True,
            ),
        ),
    ),
)


def definitions(progress: Progress = silent) -> Path:
    """The folder of the CRDs of KINDS, fetched once. Raises MissingProgram, BuildFailed."""
    return build(PROMETHEUS_OPERATOR, progress) / "bin"
