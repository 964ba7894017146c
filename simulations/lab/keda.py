"""Real KEDA, for the race: its operator and its metrics adapter beside the lab's control plane.

The HPA that a ScaledObject makes is the controller manager's, with the lab's compressed times (control_plane.py).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from simulations.lab import external_metrics, ports
from simulations.lab.access import kubectl, user_kubeconfig
from simulations.lab.control_plane import health
from simulations.lab.errors import StartFailed
from simulations.lab.part import Server, Site
from simulations.lab.programs import KEDA, Program, Progress
from simulations.lab.prometheus import answers_ok
from simulations.lab.requirements import Requirement

NAMESPACE = "keda"
# What the adapter and the operator show each other, under the names that they look for.
CERTIFICATES = {"ca.crt": "ca.crt", "server.crt": "tls.crt", "server.key": "tls.key"}


class KedaPart:
    """Part "keda"."""

    name = "keda"
    needs: tuple[str, ...] = ("kubernetes", "kafka")
    port_names = ("keda-operator", "keda-health", "keda-adapter", "keda-adapter-metrics")
    programs: tuple[Program, ...] = (KEDA,)
    requirements: tuple[Requirement, ...] = ()

    def prepare(self, site: Site, progress: Progress) -> None:
        keys, folder = site.directory / "kubernetes", site.folder("keda")
        for source, name in CERTIFICATES.items():
            shutil.copy(keys / source, folder / name)

    def servers(self, site: Site) -> tuple[Server, ...]:
        folder, keys = site.directory / "keda", site.directory / "kubernetes"
        config = user_kubeconfig(keys, "lab-admin")
        env = {
            "KUBECONFIG": str(config),
            "POD_NAMESPACE": NAMESPACE,
            "WATCH_NAMESPACE": "",  # all of them
            "KEDA_CLUSTER_OBJECT_NAMESPACE": NAMESPACE,  # else it reads a file that only a pod has
        }
        return (_operator(site, folder, env), _adapter(site, folder, keys, config, env))

    def finish(self, site: Site, progress: Progress) -> None:
        progress("giving KEDA its kinds")
        programs = KEDA.folder() / "bin"
        crds = [f"--filename={path}" for path in sorted(programs.glob("*.yaml"))]
        # The operator waits for its kinds; server-side, for they are too long for kubectl's own annotation.
        for arguments in (["apply", "--server-side", *crds], ["create", "namespace", NAMESPACE]):
            done = kubectl(site.directory, *arguments)
            if done.code != 0 and "AlreadyExists" not in done.output:
                raise StartFailed(f"kubectl {arguments[0]} for KEDA failed: {done.output.strip()}")
        external_metrics.register(site.directory, site.ports["keda-adapter"])

    def endpoints(self, site: Site) -> dict[str, str]:
        return {"adapter": f"https://{ports.HOST}:{site.ports['keda-adapter']}"}


def _operator(site: Site, folder: Path, env: dict[str, str]) -> Server:
    probe = f"{ports.HOST}:{site.ports['keda-health']}"
    command = (
        str(KEDA.folder() / "bin" / "keda-operator"),
        f"--cert-dir={folder}",
        "--enable-cert-rotation=false",
        "--enable-webhook-patching=false",
        "--enable-apiservice-patching=false",
        "--enable-prometheus-metrics=false",
        f"--metrics-service-bind-address={ports.HOST}:{site.ports['keda-operator']}",
        f"--health-probe-bind-address={probe}",
        "--zap-log-level=info",
    )
    url = f"http://{probe}/healthz"
    return Server("keda-operator", "keda", command, after=("kube-apiserver",), env=env, ready=lambda: answers_ok(url))


def _adapter(site: Site, folder: Path, keys: Path, config: Path, env: dict[str, str]) -> Server:
    port = site.ports["keda-adapter"]
    command = (
        str(KEDA.folder() / "bin" / "keda-adapter"),
        f"--bind-address={ports.HOST}",
        f"--secure-port={port}",
        f"--port={site.ports['keda-adapter-metrics']}",
        f"--cert-dir={folder}",
        f"--tls-cert-file={folder / 'tls.crt'}",
        f"--tls-private-key-file={folder / 'tls.key'}",
        f"--client-ca-file={folder / 'ca.crt'}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--lister-kubeconfig={config}",
        f"--metrics-service-address=localhost:{site.ports['keda-operator']}",
        "--stderrthreshold=ERROR",
    )
    url = f"https://{ports.HOST}:{port}/healthz"
    return Server(
        "keda-adapter",
        "keda",
        command,
        after=("kube-apiserver", "keda-operator"),
        env=env,
        ready=lambda: health(url, keys, client_certificate=True),
    )
