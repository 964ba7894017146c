"""Replica counts by watch against a real API server: fewer requests, nothing old called fresh."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from scaler.clock import SystemClock
from scaler.kube import KubeClient, connect
from scaler.observe.cluster import KubernetesCluster
from scaler.observe.ports import TargetRef
from scaler.plan.observation import Freshness
from scaler.plan.reasons import Reason
from tests.cluster.conformance import NAMES
from tests.lab.test_cluster import GROUP, LOOK_FOR_OWNERS, SCALE_RIGHTS, Administrator, LabWorld, admin
from tests.lab.test_proof import say

pytestmark = pytest.mark.lab

__all__ = ["admin"]  # the fixture

TICK = 2.0  # s
MANY = 50
GET_SCALES = [
    LOOK_FOR_OWNERS,
    {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["get", "patch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
]


class Counting:
    """Counts what a client sends: "scale" for /scale, "watch" for what keeps watches going."""

    def __init__(self, client: KubeClient, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: Counter[str] = Counter()
        send = client._send

        def counted(method: str, path: str, *more: Any) -> Any:
            self.sent["scale" if path.endswith("/scale") else "watch"] += 1
            return send(method, path, *more)

        monkeypatch.setattr(client, "_send", counted)

    def take(self) -> Counter[str]:
        taken, self.sent = self.sent, Counter()
        return taken


@pytest.fixture
def world(admin: Administrator, tmp_path: Path) -> Iterator[LabWorld]:
    made = LabWorld(admin, tmp_path)
    yield made
    made.close()


def vouching(world: LabWorld, *targets: TargetRef) -> None:
    """Sample until the watch vouches for the counts."""
    source, end = world.source, time.time() + 30
    assert isinstance(source, KubernetesCluster)
    while not all(source._counts._holds(t) for t in targets):
        source.sample(world.now(), list(targets))
        assert time.time() < end
        time.sleep(0.1)


def test_fifty_targets_cost_one_request_a_tick(
    admin: Administrator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stamp = int(time.time())
    targets = [admin.deploy(f"many-{n}-{stamp}", 0) for n in range(MANY)]
    clients = {
        "read": admin.account(tmp_path, "reader", GET_SCALES),
        "watched": connect(Path(admin.lab.kubernetes.controller_kubeconfig)),
    }
    figures = {}
    for name, client in clients.items():
        counting = Counting(client, monkeypatch)
        source = KubernetesCluster(client, SystemClock())
        try:
            for _ in range(4):  # the watches begin
                source.sample(time.time(), targets)
                time.sleep(TICK)
            counting.take()
            passes = []
            took = []
            for _ in range(4):
                began = time.monotonic()
                readings = source.sample(time.time(), targets)
                took.append(time.monotonic() - began)
                assert {r.value.desired for r in readings.values() if r.fresh and r.value} == {0}
                assert all(r.fresh for r in readings.values())
                passes.append(counting.take()["scale"])
                time.sleep(TICK)
            details = {r.detail[:31] for r in readings.values()}
        finally:
            source.close()
            client.close()
        figures[name] = passes
        say(capsys, f"{MANY} targets, counts {name}: {passes} GETs in 4 passes, a pass {min(took) * 1e3:.0f} ms")
        assert details == ({""} if name == "watched" else {"the replica count is read at ea"})
    assert figures["read"] == [MANY] * 4
    assert figures["watched"] == [1] * 4


def test_a_count_that_somebody_else_changed_is_seen_at_the_next_sample(world: LabWorld) -> None:
    target, other = world.ready(1), world.ready(1)
    vouching(world, target, other)
    for count in (3, 0, 2):
        world.set_replicas(target, count)
        time.sleep(0.1)
        readings = world.source.sample(world.now(), [target, other])
        assert readings[target].fresh
        assert readings[target].value is not None
        assert readings[target].value.desired == count
        vouching(world, target, other)


def test_our_own_count_is_seen_at_the_next_sample(world: LabWorld) -> None:
    target, other = world.ready(1), world.ready(1)
    vouching(world, target, other)
    for before, after in ((1, 3), (3, 2)):
        world.writer.write(target, before, after)
        world.source.asked(target, after, world.now())
        readings = world.source.sample(world.now(), [target, other])
        assert readings[target].value is not None
        assert readings[target].value.desired == after


def test_a_target_that_goes_and_comes_back_between_two_samples(world: LabWorld) -> None:
    target, other = world.ready(2), world.ready(1)
    vouching(world, target, other)
    world.remove(target)
    world.admin.deploy(target.name, 5)
    time.sleep(0.1)
    readings = world.source.sample(world.now(), [target, other])
    assert readings[target].value is not None
    assert readings[target].value.desired == 5


def test_a_custom_resource_is_watched_too(admin: Administrator, world: LabWorld, tmp_path: Path) -> None:
    scale = {
        "specReplicasPath": ".spec.size",
        "statusReplicasPath": ".status.size",
        "labelSelectorPath": ".status.selector",
    }
    admin.crd("Fleet", {"status": {}, "scale": scale})
    rights = [*SCALE_RIGHTS, {"apiGroups": [GROUP], "resources": ["fleets"], "verbs": ["list", "watch"]}]
    world.act_as(admin.account(tmp_path, "fleet-watcher", rights))
    stamp = int(time.time())
    one, two = (admin.custom("Fleet", f"seen-{next(NAMES)}-{stamp}", spec={"size": 1}) for _ in range(2))
    for fleet in (one, two):
        admin.merge(f"{world.path(fleet)}/status", {"status": {"size": 1, "selector": f"app={fleet.name}"}})
    vouching(world, one, two)
    admin.merge(world.path(one), {"spec": {"size": 4}})
    time.sleep(0.1)
    readings = world.source.sample(world.now(), [one, two])
    assert [readings[f].value.desired for f in (one, two) if readings[f].value] == [4, 1]  # type: ignore[union-attr]
    assert readings[one].detail == ""


def test_an_api_server_that_hangs_makes_every_count_stale_at_once(admin: Administrator, world: LabWorld) -> None:
    """Its connections stay open and nothing breaks: only that nobody answers tells."""
    one, two = world.ready(1), world.ready(1)
    vouching(world, one, two)
    port = int(admin.client.host.rpartition(":")[2])
    (server,) = {
        c.pid for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.laddr.port == port
    }
    psutil.Process(server).suspend()
    try:
        readings = world.source.sample(world.now(), [one, two])
        assert {(r.freshness, r.reason) for r in readings.values()} == {
            (Freshness.STALE, Reason.KUBERNETES_UNREACHABLE)
        }
    finally:
        psutil.Process(server).resume()
    for _ in range(2):
        time.sleep(TICK)
        readings = world.source.sample(world.now(), [one, two])
        if all(r.fresh for r in readings.values()):
            break
    assert all(r.fresh for r in readings.values()), readings
