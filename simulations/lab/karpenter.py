"""Real Karpenter with its KWOK provider: it makes GPU nodes as a cloud would, after a delay, and KWOK plays them."""

from __future__ import annotations

from simulations.lab import ports
from simulations.lab.access import user_kubeconfig
from simulations.lab.cluster_api import install_kinds
from simulations.lab.kwok import GPU
from simulations.lab.part import Server, Site
from simulations.lab.programs import KARPENTER, SOURCES, Program, Progress
from simulations.lab.prometheus import answers_ok
from simulations.lab.requirements import Requirement

INSTANCE_TYPES = SOURCES / "karpenter" / "instance_types.json"
INSTANCE_TYPE = "lab-gpu-8"
GPUS = 8  # of a node of that type
GATES = "StaticCapacity=true,CapacityBuffer=true"
POOL_LABEL = "karpenter.sh/nodepool"
GROUP = "karpenter.kwok.sh"


class KarpenterPart:
    """Part "karpenter"."""

    name = "karpenter"
    needs: tuple[str, ...] = ("kubernetes", "kwok")
    port_names = ("karpenter-metrics", "karpenter-health")
    programs: tuple[Program, ...] = (KARPENTER,)
    requirements: tuple[Requirement, ...] = ()

    def prepare(self, site: Site, progress: Progress) -> None:
        """Its settings come with the package."""
        site.folder("karpenter")

    def servers(self, site: Site) -> tuple[Server, ...]:
        config = user_kubeconfig(site.directory / "kubernetes", "lab-admin")
        command = (
            str(KARPENTER.folder() / "bin" / "karpenter"),
            "--disable-leader-election",
            f"--feature-gates={GATES}",
            f"--instance-types-file-path={INSTANCE_TYPES}",
            # Both listen on all addresses, and cannot be told otherwise.
            f"--metrics-port={site.ports['karpenter-metrics']}",
            f"--health-probe-port={site.ports['karpenter-health']}",
        )
        url = f"http://{ports.HOST}:{site.ports['karpenter-health']}/readyz"
        return (
            Server(
                "karpenter",
                self.name,
                command,
                after=("kube-apiserver", "kwok"),
                env={"KUBECONFIG": str(config), "SYSTEM_NAMESPACE": "kube-system"},
                ready=lambda: answers_ok(url),
                first=lambda: install_kinds(
                    site.directory, KARPENTER
                ),  # it looks for them when it starts, and never again
            ),
        )

    def finish(self, site: Site, progress: Progress) -> None:
        """Nothing is left to do."""

    def endpoints(self, site: Site) -> dict[str, str]:
        return {"health": f"http://{ports.HOST}:{site.ports['karpenter-health']}/healthz"}


def node_class(name: str, lead_time: int) -> dict[str, object]:
    """A KWOKNodeClass whose nodes are there ``lead_time`` s after they were asked for."""
    return {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "KWOKNodeClass",
        "metadata": {"name": name},
        "spec": {"nodeRegistrationDelay": f"{lead_time}s"},
    }


def node_pool(name: str, node_class: str, replicas: int | None = None) -> dict[str, object]:
    """A NodePool of nodes with 8 GPUs each: with ``replicas`` a static one, without a dynamic one, which makes a node
    where a pod is pending and takes away what is empty.
    """
    requirements = [
        {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": [INSTANCE_TYPE]},
        {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
    ]
    spec: dict[str, object] = {
        "template": {
            "spec": {
                "requirements": requirements,
                "nodeClassRef": {"group": GROUP, "kind": "KWOKNodeClass", "name": node_class},
                "expireAfter": "Never",
            }
        },
        "disruption": {"consolidationPolicy": "WhenEmpty", "consolidateAfter": "5s"},
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": name}, "spec": spec}


def whole_node(pod: dict[str, object] | None = None) -> dict[str, object]:
    """A pod's spec that fills one node's GPUs; requests are stated, for a buffer's template is not defaulted."""
    resources = {"requests": {GPU: str(GPUS), "cpu": "1"}, "limits": {GPU: str(GPUS)}}
    return {"containers": [{"name": "hold", "image": "hold", "resources": resources}], **(pod or {})}
