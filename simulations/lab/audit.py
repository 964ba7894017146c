"""The API server's own record of what the controller changed and of who held its Lease, for tests to judge by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONTROLLER = "system:serviceaccount:lagcast-system:lagcast"
_CHANGES = ["create", "update", "patch", "delete"]

# What was asked and what became of it; for everything else nothing is written.
POLICY: Mapping[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "omitManagedFields": True,
    "rules": [
        {
            "level": "RequestResponse",
            "verbs": _CHANGES,
            "namespaces": ["lagcast-system"],
            "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}],
        },
        {"level": "RequestResponse", "verbs": _CHANGES, "users": [CONTROLLER]},
        {"level": "None"},
    ],
}


def write_policy(home: Path) -> None:
    """Into the folder of the control plane; JSON is YAML."""
    (home / "audit-policy.yaml").write_text(json.dumps(POLICY, indent=1), encoding="utf-8")


def flags(home: Path) -> tuple[str, ...]:
    """Of the API server: a line for each change, there before its answer is."""
    return (
        f"--audit-policy-file={home / 'audit-policy.yaml'}",
        f"--audit-log-path={log_file(home)}",
        "--audit-log-mode=blocking",
        "--audit-log-maxsize=50",
        "--audit-log-maxbackup=1",
    )


def log_file(home: Path) -> Path:
    """The record: a JSON object a line."""
    return home / "audit.log"
