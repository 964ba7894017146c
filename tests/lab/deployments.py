"""Deployments of the lab's played pods, for tests of its servers and of its pods."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from simulations.lab.kwok import GPU
from simulations.lab.lab import Lab


def eventually(fetch: Callable[[], object], wanted: object, within: float) -> float:
    """Seconds until ``fetch`` gives ``wanted``; fails when it does not ``within`` that many."""
    begin = time.monotonic()
    while (got := fetch()) != wanted:
        assert time.monotonic() - begin < within, f"{got!r} in place of {wanted!r} after {within} s"
        time.sleep(0.1)
    return time.monotonic() - begin


def deployment(name: str, replicas: int, annotations: dict[str, str], gpus: int = 1) -> str:
    container = {"name": "worker", "image": "none", "resources": {"limits": {GPU: str(gpus)}}}
    template = {
        "metadata": {"labels": {"app": name}, "annotations": annotations},
        "spec": {"containers": [container]},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec})


def ready_replicas(lab: Lab, name: str) -> int:
    done = lab.kubernetes.run("get", "deployment", name, "-o", "jsonpath={.status.readyReplicas}")
    assert done.code == 0, done.output
    return int(done.output or 0)
