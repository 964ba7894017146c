"""Cluster API's kinds, without its controllers: the API server judges what is written to a MachineDeployment."""

from __future__ import annotations

import time
from pathlib import Path

from simulations.lab import interrupts
from simulations.lab.access import kubectl
from simulations.lab.errors import StartFailed
from simulations.lab.part import Server, Site
from simulations.lab.programs import CLUSTER_API, Program, Progress
from simulations.lab.requirements import Requirement

PATIENCE = 30.0  # s


def install_kinds(directory: Path, program: Program) -> None:
    """Give the lab in ``directory`` the CRDs that were built with ``program``, and wait until they are served.

    Raises StartFailed.
    """
    files = ("-f", str(program.folder() / "bin"))
    until = time.monotonic() + PATIENCE
    for arguments in (("apply", "--server-side", *files), ("wait", "--for=condition=Established", *files)):
        # One that has just been made has no conditions yet, which kubectl does not wait for.
        while (done := kubectl(directory, *arguments)).code != 0 and "accessor error" in done.output:
            if time.monotonic() > until:
                break
            interrupts.pause(0.2)
        if done.code != 0:
            raise StartFailed(f"kubectl {arguments[0]} for {program.name} failed: {done.output.strip()}")
    names = kubectl(directory, "get", *files, "-o", "name").output.split()
    await_kinds(directory, *(name.partition("/")[2] for name in names if name.startswith("customresourcedefinition")))


def await_kinds(directory: Path, *names: str) -> None:
    """Wait until objects of each kind can be listed; ``names`` are those of the CRDs, as nodepools.karpenter.sh.

    Established is not enough: the first who asks for a kind after that may be told that its storage is being made.
    Raises StartFailed.
    """
    kinds = ",".join(names)
    until = time.monotonic() + PATIENCE
    while (done := kubectl(directory, "get", kinds, "--all-namespaces", "-o", "name")).code != 0:
        if time.monotonic() > until:
            raise StartFailed(f"kubectl get {kinds} failed: {done.output.strip()}")
        interrupts.pause(0.2)


class ClusterApiPart:
    """Part "cluster-api"."""

    name = "cluster-api"
    needs: tuple[str, ...] = ("kubernetes",)
    port_names: tuple[str, ...] = ()
    programs: tuple[Program, ...] = (CLUSTER_API,)
    requirements: tuple[Requirement, ...] = ()

    def prepare(self, site: Site, progress: Progress) -> None:
        """Nothing but its kinds is needed."""

    def servers(self, site: Site) -> tuple[Server, ...]:
        return ()

    def finish(self, site: Site, progress: Progress) -> None:
        progress("giving Cluster API its kinds")
        install_kinds(site.directory, CLUSTER_API)

    def endpoints(self, site: Site) -> dict[str, str]:
        return {"group": "cluster.x-k8s.io"}
