"""The Kubernetes control plane: etcd, API server, controller manager and scheduler, with authentication on."""

from __future__ import annotations

import datetime
import time
from pathlib import Path

from simulations.lab import audit, interrupts
from simulations.lab.access import USERS, kubectl, program, server_url, tokens, user_kubeconfig, write_kubeconfig
from simulations.lab.certificates import write_all
from simulations.lab.control_plane import control_plane
from simulations.lab.errors import LabError, StartFailed
from simulations.lab.part import Server, Site
from simulations.lab.programs import KUBERNETES, SOURCES, Program, Progress
from simulations.lab.requirements import Requirement

NAMESPACE = "lagcast-system"
ACCOUNT = "lagcast"
TOKEN_LIFE = "8760h"  # noqa: S105 (a duration): longer than any lab runs
PATIENCE = 60.0  # s


class KubernetesPart:
    """Part "kubernetes"."""

    name = "kubernetes"
    needs: tuple[str, ...] = ()
    port_names = ("etcd", "etcd-peer", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
    programs: tuple[Program, ...] = (KUBERNETES,)
    requirements: tuple[Requirement, ...] = ()

    def prepare(self, site: Site, progress: Progress) -> None:
        home = site.folder("kubernetes")
        write_all(home, datetime.datetime.now(tz=datetime.UTC))
        audit.write_policy(home)
        token_of = tokens(home)
        for user in USERS:
            write_kubeconfig(user_kubeconfig(home, user), server_url(site), home / "ca.crt", user, token_of[user])

    def servers(self, site: Site) -> tuple[Server, ...]:
        home = site.directory / "kubernetes"
        return control_plane(site, home)

    def finish(self, site: Site, progress: Progress) -> None:
        progress("giving the controller its account")
        home = site.directory / "kubernetes"
        manifest = rbac_manifest()
        until = time.monotonic() + PATIENCE
        while True:
            done = kubectl(site.directory, "apply", "--server-side", "--force-conflicts", "-f", str(manifest))
            if done.code == 0:
                break
            if time.monotonic() > until:
                raise StartFailed(f"{manifest} could not be applied: {done.output.strip()}")
            interrupts.pause(0.5)
        life = f"--duration={TOKEN_LIFE}"
        token = kubectl(site.directory, "create", "token", ACCOUNT, "-n", NAMESPACE, life)
        if token.code != 0:
            raise StartFailed(f"no token for {NAMESPACE}/{ACCOUNT}: {token.output.strip()}")
        write_kubeconfig(
            home / "controller.kubeconfig", server_url(site), home / "ca.crt", ACCOUNT, token.output.strip()
        )

    def endpoints(self, site: Site) -> dict[str, str]:
        home = site.directory / "kubernetes"
        return {
            "server": server_url(site),
            "admin_kubeconfig": str(user_kubeconfig(home, "lab-admin")),
            "controller_kubeconfig": str(home / "controller.kubeconfig"),
            "kubectl": program("kubectl"),
        }


def rbac_manifest() -> Path:
    """The controller's account and rights: manifests/base/rbac.yaml of the checkout, or its copy in the package."""
    for path in (Path(__file__).parents[2] / "manifests" / "base" / "rbac.yaml", SOURCES / "rbac.yaml"):
        if path.is_file():
            return path
    raise LabError("manifests/base/rbac.yaml is not there: run the lab from a checkout")
