"""Argo's kind Rollout, without its controller: what its /scale shows, and what it takes, is what can be checked."""

from __future__ import annotations

from simulations.lab.programs import GO_FILES, Program, _copied
from simulations.lab.requirements import GO

ARGO_ROLLOUTS = Program(
    "argo-rollouts",
    "1.9.0",
    GO_FILES,
    GO,
    (
        (
            "the CRD of Argo's Rollout",
            _copied("github.com/argoproj/argo-rollouts", "manifests/crds/rollout-crd.yaml", download=True),
        ),
    ),
)
