"""How etcd, the API server, the controller manager and the scheduler are started, and how each tells that it serves."""

from __future__ import annotations

import functools
import ssl
import urllib.error
import urllib.request
from pathlib import Path

from simulations.lab import audit, ports
from simulations.lab.access import program, tokens, user_kubeconfig
from simulations.lab.certificates import SERVER_NAME
from simulations.lab.part import Server, Site

# The HPA's times in the lab's compressed time, in which a tick of 2 s stands for one of 15 s: 15 s and 5 minutes.
HPA_SYNC = 2.0  # s
HPA_STABILIZATION = 40.0  # s, downscale, of an HPA that says nothing else


def control_plane(site: Site, home: Path) -> tuple[Server, ...]:
    """The four servers; ``home`` is the lab's folder for Kubernetes, with keys and kubeconfigs."""
    return (_etcd(site, home), _apiserver(site, home), *_followers(site, home))


def _etcd(site: Site, home: Path) -> Server:
    client, peer = (f"{ports.HOST}:{site.ports[name]}" for name in ("etcd", "etcd-peer"))
    command = (
        program("etcd"),
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
    return Server("etcd", "kubernetes", command, ready=lambda: health(url, home, client_certificate=True))


def _apiserver(site: Site, home: Path) -> Server:
    port = site.ports["kube-apiserver"]
    command = (
        program("kube-apiserver"),
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
        # Servers of aggregated APIs (metrics) are told who asks in headers that they trust because of this certificate.
        f"--requestheader-client-ca-file={home / 'ca.crt'}",
        f"--requestheader-allowed-names={SERVER_NAME}",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={home / 'server.crt'}",
        f"--proxy-client-key-file={home / 'server.key'}",
        "--profiling=false",
        *audit.flags(home),
    )
    url = f"https://{ports.HOST}:{port}/readyz"
    token = tokens(home)["lab-admin"]
    return Server(
        "kube-apiserver",
        "kubernetes",
        command,
        ready=lambda: health(url, home, token=token),
        after=("etcd",),
        grace=1.0,  # it would wait for watches to end by themselves, and everything it knows is in etcd
    )


def _followers(site: Site, home: Path) -> tuple[Server, ...]:
    """The controller manager and the scheduler; alone, so without an election (which would end them in an outage)."""

    def follower(name: str, *more: str, page: str, says: str = "") -> Server:
        port = site.ports[name]
        command = (
            program(name),
            f"--kubeconfig={user_kubeconfig(home, 'system:' + name)}",
            f"--bind-address={ports.HOST}",
            f"--secure-port={port}",
            f"--tls-cert-file={home / 'server.crt'}",
            f"--tls-private-key-file={home / 'server.key'}",
            "--leader-elect=false",
            "--profiling=false",
            *more,
        )
        url = f"https://{ports.HOST}:{port}/{page}"
        ready = functools.partial(health, url, home, says=says)
        return Server(name, "kubernetes", command, after=("kube-apiserver",), ready=ready)

    return (
        follower(
            "kube-controller-manager",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={home / 'sa.key'}",
            f"--root-ca-file={home / 'ca.crt'}",
            # The outage tests stop the API server for 30 s; nodes must not be given up for that.
            "--node-monitor-grace-period=120s",
            # It makes some 40 accounts and tokens when it starts: 5 s at the default of 20 requests a second.
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            f"--horizontal-pod-autoscaler-sync-period={HPA_SYNC:g}s",
            f"--horizontal-pod-autoscaler-downscale-stabilization={HPA_STABILIZATION:g}s",
            page="healthz?verbose",  # ok from the first moment; the controllers are listed when they run
            says="replicaset-controller",
        ),
        follower(
            "kube-scheduler",
            # With it a pod that preempts can wait out five minutes though its victims are gone: kubernetes#141694.
            "--feature-gates=SchedulerAsyncPreemption=false",
            page="readyz",
        ),
    )


def health(
    url: str, home: Path, *, token: str | None = None, client_certificate: bool = False, says: str = ""
) -> str | None:
    """None when ``url`` answers with success and the text ``says``; else what it did instead."""
    context = ssl.create_default_context(cafile=str(home / "ca.crt"))
    if client_certificate:
        context.load_cert_chain(home / "server.crt", home / "server.key")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})  # noqa: S310
    try:
        with opener.open(request, timeout=2) as answer:
            return None if says in answer.read().decode(errors="replace") else f"{url} does not say {says!r} yet"
    except urllib.error.HTTPError as error:
        with error:
            return f"{url} answers {error.code}: {error.read(300).decode(errors='replace').strip()}"
    except OSError as error:
        return f"{url}: {error}"
