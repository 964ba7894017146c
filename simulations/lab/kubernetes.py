"""The Kubernetes control plane: etcd, API server, controller manager and scheduler, with authentication on."""

from __future__ import annotations

import datetime
import json
import secrets
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

from simulations.lab import interrupts, ports
from simulations.lab.certificates import write_all, write_secret
from simulations.lab.errors import LabError, StartFailed
from simulations.lab.part import Server, Site
from simulations.lab.process import Finished, run
from simulations.lab.programs import KUBERNETES, SOURCES, Program, Progress
from simulations.lab.requirements import Requirement

NAMESPACE = "lagcast-system"
ACCOUNT = "lagcast"
TOKEN_LIFE = "8760h"  # noqa: S105 (a duration): longer than any lab runs
PATIENCE = 60.0  # s

# Who may log in with a token: user name -> group. Those without one have the rights that Kubernetes gives their name.
USERS = {
    "lab-admin": "system:masters",
    "system:kube-controller-manager": "",
    "system:kube-scheduler": "",
    "kwok": "system:masters",  # it plays the kubelets of all nodes
}


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
        tokens = _tokens(home)
        for user in USERS:
            write_kubeconfig(_user_kubeconfig(home, user), _url(site), home / "ca.crt", user, tokens[user])

    def servers(self, site: Site) -> tuple[Server, ...]:
        home = site.directory / "kubernetes"
        return (_etcd(site, home), _apiserver(site, home), *_followers(site, home))

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
        write_kubeconfig(home / "controller.kubeconfig", _url(site), home / "ca.crt", ACCOUNT, token.output.strip())

    def endpoints(self, site: Site) -> dict[str, str]:
        home = site.directory / "kubernetes"
        return {
            "server": _url(site),
            "admin_kubeconfig": str(_user_kubeconfig(home, "lab-admin")),
            "controller_kubeconfig": str(home / "controller.kubeconfig"),
            "kubectl": str(KUBERNETES.folder() / "bin" / "kubectl"),
        }


def kubectl(directory: Path, *arguments: str, stdin: str | None = None, timeout: float = 60.0) -> Finished:
    """Run kubectl as the administrator of the lab in ``directory``."""
    program = str(KUBERNETES.folder() / "bin" / "kubectl")
    config = _user_kubeconfig(directory / "kubernetes", "lab-admin")
    # The cache would be in the home folder, and would remember another lab's kinds.
    options = ["--kubeconfig", str(config), "--cache-dir", str(directory / "kubernetes" / "kubectl-cache")]
    return run([program, *options, *arguments], directory=directory, stdin=stdin, timeout=timeout)


def rbac_manifest() -> Path:
    """The controller's account and rights: manifests/base/rbac.yaml of the checkout, or its copy in the package."""
    for path in (Path(__file__).parents[2] / "manifests" / "base" / "rbac.yaml", SOURCES / "rbac.yaml"):
        if path.is_file():
            return path
    raise LabError("manifests/base/rbac.yaml is not there: run the lab from a checkout")


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


def _url(site: Site) -> str:
    return f"https://{ports.HOST}:{site.ports['kube-apiserver']}"


def _user_kubeconfig(home: Path, user: str) -> Path:
    return home / f"{user.removeprefix('system:')}.kubeconfig"


def _tokens(home: Path) -> dict[str, str]:
    """Token of each user, made once; the API server reads the same file."""
    path = home / "tokens.csv"
    if not path.exists():
        lines = [f'{secrets.token_urlsafe(32)},{user},{user},"{group}"\n' for user, group in USERS.items()]
        write_secret(path, "".join(lines).encode())
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    return {row[1]: row[0] for row in rows}


def _program(name: str) -> str:
    return str(KUBERNETES.folder() / "bin" / name)


def _etcd(site: Site, home: Path) -> Server:
    client, peer = (f"{ports.HOST}:{site.ports[name]}" for name in ("etcd", "etcd-peer"))
    command = (
        _program("etcd"),
        "--name=lab",
        f"--data-dir={home / 'etcd'}",
        f"--listen-client-urls=https://{client}",
        f"--advertise-client-urls=https://{client}",
        f"--listen-peer-urls=http://{peer}",
        f"--initial-advertise-peer-urls=http://{peer}",
        f"--initial-cluster=lab=http://{peer}",
        "--client-cert-auth",  # its data hold every secret: only the API server may come in
        f"--trusted-ca-file={home / 'ca.crt'}",
        f"--cert-file={home / 'server.crt'}",
        f"--key-file={home / 'server.key'}",
        "--unsafe-no-fsync",  # survives the end of the process, not of the machine: enough for a lab
        "--log-level=warn",
    )
    url = f"https://{client}/health"
    return Server("etcd", "kubernetes", command, ready=lambda: _healthy(url, home, client_certificate=True))


def _apiserver(site: Site, home: Path) -> Server:
    port = site.ports["kube-apiserver"]
    command = (
        _program("kube-apiserver"),
        f"--etcd-servers=https://{ports.HOST}:{site.ports['etcd']}",
        f"--etcd-cafile={home / 'ca.crt'}",
        f"--etcd-certfile={home / 'server.crt'}",
        f"--etcd-keyfile={home / 'server.key'}",
        f"--bind-address={ports.HOST}",
        f"--advertise-address={ports.HOST}",
        f"--secure-port={port}",
        "--endpoint-reconciler-type=none",  # no pod ever calls it, and loopback is no endpoint
        f"--tls-cert-file={home / 'server.crt'}",
        f"--tls-private-key-file={home / 'server.key'}",
        "--anonymous-auth=false",
        f"--token-auth-file={home / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        f"--service-account-key-file={home / 'sa.pub'}",
        f"--service-account-signing-key-file={home / 'sa.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.96.0.0/24",
        "--profiling=false",
    )
    url = f"https://{ports.HOST}:{port}/readyz"
    token = _tokens(home)["lab-admin"]
    return Server(
        "kube-apiserver",
        "kubernetes",
        command,
        ready=lambda: _healthy(url, home, token=token),
        after=("etcd",),
        grace=1.0,  # it would wait for watches to end by themselves, and everything it knows is in etcd
    )


def _followers(site: Site, home: Path) -> tuple[Server, ...]:
    """The controller manager and the scheduler; alone, so without an election (which would end them in an outage)."""

    def follower(name: str, *more: str) -> Server:
        port = site.ports[name]
        command = (
            _program(name),
            f"--kubeconfig={_user_kubeconfig(home, 'system:' + name)}",
            f"--bind-address={ports.HOST}",
            f"--secure-port={port}",
            f"--tls-cert-file={home / 'server.crt'}",
            f"--tls-private-key-file={home / 'server.key'}",
            "--leader-elect=false",
            "--profiling=false",
            *more,
        )
        url = f"https://{ports.HOST}:{port}/healthz"
        return Server(name, "kubernetes", command, after=("kube-apiserver",), ready=lambda: _healthy(url, home))

    return (
        follower(
            "kube-controller-manager",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={home / 'sa.key'}",
            f"--root-ca-file={home / 'ca.crt'}",
            # The outage tests stop the API server for 30 s; nodes must not be given up for that.
            "--node-monitor-grace-period=120s",
        ),
        follower("kube-scheduler"),
    )


def _healthy(url: str, home: Path, *, token: str | None = None, client_certificate: bool = False) -> str | None:
    """None when ``url`` answers with success; else what it did instead."""
    context = ssl.create_default_context(cafile=str(home / "ca.crt"))
    if client_certificate:
        context.load_cert_chain(home / "server.crt", home / "server.key")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})  # noqa: S310
    try:
        with opener.open(request, timeout=2):
            return None
    except urllib.error.HTTPError as error:
        with error:
            return f"{url} answers {error.code}: {error.read(300).decode(errors='replace').strip()}"
    except OSError as error:
        return f"{url}: {error}"
