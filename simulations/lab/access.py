"""Who may come into the lab's API server: tokens, kubeconfigs, and kubectl as the administrator."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from simulations.lab import ports
from simulations.lab.certificates import write_secret
from simulations.lab.part import Site
from simulations.lab.process import Finished, run
from simulations.lab.programs import KUBERNETES

# Who may log in with a token: user name -> group. Those without one have the rights that Kubernetes gives their name.
USERS = {
    "lab-admin": "system:masters",
    "system:kube-controller-manager": "",
    "system:kube-scheduler": "",
    "kwok": "system:masters",  # it plays the kubelets of all nodes
}


def kubectl(directory: Path, *arguments: str, stdin: str | None = None, timeout: float = 60.0) -> Finished:
    """Run kubectl as the administrator of the lab in ``directory``."""
    program = str(KUBERNETES.folder() / "bin" / "kubectl")
    config = user_kubeconfig(directory / "kubernetes", "lab-admin")
    # The cache would be in the home folder, and would remember another lab's kinds.
    options = ["--kubeconfig", str(config), "--cache-dir", str(directory / "kubernetes" / "kubectl-cache")]
    return run([program, *options, *arguments], directory=directory, stdin=stdin, timeout=timeout)


def write_kubeconfig(path: Path, server: str, authority: Path, user: str, token: str) -> None:
    """Write a kubeconfig that logs in at ``server`` with a token."""
    cluster = {"server": server, "certificate-authority": str(authority)}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user, "namespace": "default"}}],
        "current-context": "lab",
    }
    write_secret(path, json.dumps(content, indent=2).encode())  # JSON is YAML


def server_url(site: Site) -> str:
    """Where the API server listens."""
    return f"https://{ports.HOST}:{site.ports['kube-apiserver']}"


def user_kubeconfig(home: Path, user: str) -> Path:
    """The kubeconfig of one of USERS; ``home`` is the lab's folder for Kubernetes."""
    return home / f"{user.removeprefix('system:')}.kubeconfig"


def tokens(home: Path) -> dict[str, str]:
    """Token of each user, made once; the API server reads the same file."""
    path = home / "tokens.csv"
    if not path.exists():
        lines = [f'{secrets.token_urlsafe(32)},{user},{user},"{group}"\n' for user, group in USERS.items()]
        write_secret(path, "".join(lines).encode())
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    return {row[1]: row[0] for row in rows}


def program(name: str) -> str:
    """Where one of the built programs is."""
    return str(KUBERNETES.folder() / "bin" / name)
