"""GPU nodes and pods without a kubelet: KWOK plays both, and the real scheduler puts the pods on the nodes."""

from __future__ import annotations

import json
from pathlib import Path

from simulations.lab import ports
from simulations.lab.access import kubectl
from simulations.lab.errors import LabError
from simulations.lab.part import Server, Site
from simulations.lab.programs import KWOK, SOURCES, Program, Progress
from simulations.lab.prometheus import answers_ok
from simulations.lab.requirements import Requirement

# Annotations on a pod (write them on the pod template), each a Go duration such as "4s" or "1500ms".
READY_AFTER = "lagcast.io/lab-ready-after"  # least time from scheduled to Ready; none: at once
READY_BY = "lagcast.io/lab-ready-by"  # most; drawn evenly between the two; none: exactly READY_AFTER
GONE_AFTER = "lagcast.io/lab-gone-after"  # time from the delete request until the pod is gone; none: 1 s

GPU = "nvidia.com/gpu"
STAGES = SOURCES / "kwok" / "stages"


class KwokPart:
    """Part "kwok"."""

    name = "kwok"
    needs: tuple[str, ...] = ("kubernetes",)
    port_names = ("kwok",)
    programs: tuple[Program, ...] = (KWOK,)
    requirements: tuple[Requirement, ...] = ()

    def prepare(self, site: Site, progress: Progress) -> None:
        """Its settings are the stage files of the package."""
        site.folder("kwok")

    def servers(self, site: Site) -> tuple[Server, ...]:
        address = f"{ports.HOST}:{site.ports['kwok']}"
        command = (
            str(KWOK.folder() / "bin" / "kwok"),
            f"--kubeconfig={site.directory / 'kubernetes' / 'kwok.kubeconfig'}",
            *(f"--config={path}" for path in sorted(STAGES.glob("*.yaml"))),
            "--manage-all-nodes=true",
            "--node-lease-duration-seconds=0",  # heartbeats: see the stages
            f"--node-ip={ports.HOST}",
            "--cidr=10.64.0.0/16",
            f"--server-address={address}",
        )
        env = {"KWOK_WORKDIR": str(site.directory / "kwok")}  # else it reads the user's own settings
        ready = f"http://{address}/healthz"
        return (
            Server("kwok", self.name, command, after=("kube-apiserver",), env=env, ready=lambda: answers_ok(ready)),
        )

    def finish(self, site: Site, progress: Progress) -> None:
        """Nothing is left to do."""

    def endpoints(self, site: Site) -> dict[str, str]:
        return {"url": f"http://{ports.HOST}:{site.ports['kwok']}"}


def pod_annotations(ready_after: float, ready_by: float | None = None, gone_after: float = 1.0) -> dict[str, str]:
    """The annotations of a pod template for lead and drain times in seconds.

    Raises ValueError for a negative time, and for ``ready_by`` below ``ready_after``.
    """
    ready_by = ready_after if ready_by is None else ready_by
    if min(ready_after, gone_after) < 0 or ready_by < ready_after:
        raise ValueError(
            f"need 0 <= ready_after <= ready_by and gone_after >= 0: {ready_after}, {ready_by}, {gone_after}"
        )
    times = {READY_AFTER: ready_after, READY_BY: ready_by, GONE_AFTER: gone_after}
    return {name: f"{round(seconds * 1000)}ms" for name, seconds in times.items()}


def gpu_node(name: str, gpus: int) -> dict[str, object]:
    """A Node object with ``gpus`` GPUs and more processor and memory than pods of a lab ask for."""
    room = {"cpu": "64", "memory": "512Gi", "pods": "250", GPU: str(gpus)}
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "node.kubernetes.io/instance-type": f"lab-gpu-{gpus}",
        "type": "kwok",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "status": {"allocatable": room, "capacity": room},
    }


def add_nodes(directory: Path, count: int, gpus: int, prefix: str = "gpu") -> list[str]:
    """Make nodes ``prefix``-0 to ``prefix``-(count-1) with ``gpus`` GPUs each in the lab in ``directory``; their names.

    Nodes of these names that exist stay as they are. Raises LabError when the API server refuses.
    """
    names = [f"{prefix}-{number}" for number in range(count)]
    listed = {"apiVersion": "v1", "kind": "List", "items": [gpu_node(name, gpus) for name in names]}
    done = kubectl(directory, "apply", "--server-side", "-f", "-", stdin=json.dumps(listed))
    if done.code != 0:
        raise LabError(f"the nodes were refused: {done.output.strip()}")
    return names
