"""Each provider of GPU nodes through the whole controller, in its own account: raised, shown, put back, let go.

One controller, one API server with the real kinds of Karpenter and Cluster API, and a service on each pool. Whoever
would make the nodes does not run: what he is told is what is looked at.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from scaler.act.finalizer import FINALIZER
from scaler.act.nodepools.marks import BEFORE, OWNER, VALUE
from scaler.api.gpu_node_pool import GpuNodePool
from scaler.api.predictive_scaler import API_VERSION, KIND
from simulations.lab.cluster_api import install_kinds
from simulations.lab.lab import Lab
from simulations.lab.programs import CLUSTER_API, KARPENTER, build
from tests.lab.floors_world import Administrator, lagcast
from tests.lab.nodepool_world import GROUP, POOLS, LabWorld, prepare
from tests.lab.test_bad_input import Feed, deployment
from tests.lab.test_crd_status import SPEC, Cluster
from tests.manifests.checked_in import ROOT
from tests.nodepools.conformance import MARKED, PROVIDERS, ours

pytestmark = pytest.mark.lab

NAME = "fleet"
START = 1  # nodes
LEAST = 4  # that 8 requests/s need at 2 a replica, whose 8 GPUs take a whole node


def called(provider: str) -> str:
    """The name of its pool, of its object, and of the service on it."""
    return provider.lower().replace(" ", "-")


@dataclass
class Fleet:
    """The controller, and a pool for each provider."""

    lab: Lab
    admin: Administrator
    cluster: Cluster
    releaser: Path  # the kubeconfig of the CronJob's account
    worlds: dict[str, LabWorld]
    pools: dict[str, GpuNodePool] = field(default_factory=dict)  # by name

    def declare(self, provider: str, name: str) -> None:
        """A pool over an object of its own that states START, and a service on it."""
        self.pools[name] = self.worlds[provider].made(START, name)
        self.admin.make("/apis/apps/v1/namespaces/default/deployments", deployment(name))
        kafka = {"bootstrapServers": self.lab.kafka.bootstrap, "topic": NAME, "consumerGroup": NAME}
        spec = {**SPEC, "target": {"name": name}, "kafka": kafka, "gpu": {"pool": name, "perReplica": 8}}
        scaler = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}
        self.admin.make(f"/apis/{API_VERSION}/namespaces/default/predictivescalers", scaler)

    def number(self, provider: str, name: str) -> int:
        return self.worlds[provider].number(self.pools[name])

    def marks(self, provider: str, name: str) -> dict[str, str]:
        return ours(self.worlds[provider].noted(self.pools[name]))

    def item(self, name: str) -> dict[str, Any]:
        return self.admin.get(f"{POOLS}/{name}")

    def status(self, name: str) -> dict[str, Any]:
        return dict(self.item(name).get("status") or {})

    def finalizers(self, name: str) -> list[str]:
        return list(self.item(name)["metadata"].get("finalizers") or ())

    def until(self, is_so: Callable[[], object], what: str) -> None:
        self.cluster.until(is_so, what)

    def until_raised(self, provider: str, name: str) -> None:
        self.until(lambda: self.number(provider, name) >= LEAST, f"{name} is asked for four nodes")

    def shown(self, provider: str, name: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        """What its object states, the status that shows just that, and the marks beside it: all of one moment."""
        found: list[tuple[int, dict[str, Any], dict[str, str]]] = []

        def still() -> bool:
            before = self.number(provider, name)
            found[:] = [(before, self.status(name), self.marks(provider, name))]
            return found[0][1].get("desiredNodes") == before == self.number(provider, name)

        self.until(still, f"{name} shows what its object states")
        return found[0]

    def release(self, *arguments: str) -> list[dict[str, Any]]:
        """As the CronJob's account."""
        return list(json.loads(lagcast("release", *arguments, "-o", "json", kubeconfig=self.releaser)))


def release_account(admin: Administrator, folder: Path) -> Path:
    """The account of release-cronjob.yaml with its rights, without the CronJob."""
    text = (ROOT / "manifests" / "base" / "release-cronjob.yaml").read_text(encoding="utf-8")
    items = [item for item in yaml.safe_load_all(text) if item["kind"] != "CronJob"]
    whole = {"apiVersion": "v1", "kind": "List", "items": items}
    admin.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(whole))
    return admin.account(folder, "lagcast-system", "lagcast-release")


@pytest.fixture(scope="module")
def fleet(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp(NAME)
    for program in (KARPENTER, CLUSTER_API):
        build(program)
        install_kinds(lab.directory, program)
    client = prepare(lab, folder)
    admin = Administrator(lab)
    worlds = {provider: LabWorld(provider, client) for provider in PROVIDERS}
    for world in worlds.values():
        world.admin = admin.client
    feed = Feed(lab.kafka.bootstrap, NAME)
    feed.make(10)
    feed.start()
    made = Fleet(lab, admin, Cluster(lab, folder), release_account(admin, folder), worlds)
    try:
        for provider in PROVIDERS:
            made.declare(provider, called(provider))
        yield made
    finally:
        made.cluster.close()
        lab.kubernetes.run("delete", "lease", "lagcast", "-n", "lagcast-system", "--ignore-not-found")  # it was killed
        feed.stop()
        names = list(made.pools)
        for name in names:
            lab.kubernetes.run("patch", "gpunodepool", name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        for kind in ("predictivescaler", "gpunodepool", "deployment"):
            lab.kubernetes.run("delete", kind, *names, "--ignore-not-found", "--wait=false")
        for program in (KARPENTER, CLUSTER_API):
            lab.kubernetes.run("delete", "-f", str(program.folder() / "bin"), "--ignore-not-found", "--wait=false")
        lab.kubernetes.run("delete", "crd", f"nodegroups.{GROUP}", "--ignore-not-found", "--wait=false")
        lab.kubernetes.run("delete", "namespace", "fleet", "inference", "--ignore-not-found", "--wait=false")
        client.close()
        admin.client.close()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_it_is_raised_shown_and_put_back_when_its_pool_is_deleted(fleet: Fleet, provider: str) -> None:
    name, marked = called(provider), provider in MARKED
    fleet.until_raised(provider, name)
    raised, status, held = fleet.shown(provider, name)
    assert (status["services"], status["maxNodes"]) == (1, 12)
    assert {"Ready": "True", "Paused": "False"}.items() <= {
        c["type"]: c["status"] for c in status["conditions"]
    }.items()
    if marked:
        assert (held[OWNER], held[VALUE], held[BEFORE]) == (f"GpuNodePool/{name}", str(raised), str(START))
    else:
        assert held == {}
    assert fleet.finalizers(name) == ([FINALIZER] if marked else [])
    fleet.admin.kubectl("delete", "gpunodepool", name, "--timeout=20s")
    left = fleet.number(provider, name)
    if marked:
        assert left == START
    else:
        assert left >= LEAST, "a count of nodes that is ours stays, as that of a target does"
    if provider != "placeholderPods":  # whose mark stood on the pool
        assert fleet.marks(provider, name) == {}
    time.sleep(1.2)  # two ticks
    assert fleet.number(provider, name) == left, "nobody raises it any more"


def test_another_object_is_raised_in_the_place_of_the_one_before(fleet: Fleet) -> None:
    fleet.declare("integerField", "moved")
    first = fleet.pools["moved"]
    fleet.until_raised("integerField", "moved")
    world = fleet.worlds["integerField"]
    fleet.pools["next"] = world.made(START, "next")
    fleet.admin.kubectl("delete", "gpunodepool", "next")  # its object is what is wanted
    patch = {"spec": {"provider": {"integerField": {"name": "next"}}}}
    fleet.admin.kubectl("patch", "gpunodepool", "moved", "--type=merge", "-p", json.dumps(patch))
    fleet.until_raised("integerField", "next")
    fleet.until(lambda: world.number(first) == START and ours(world.noted(first)) == {}, "the old one is put back")
    fleet.admin.kubectl("delete", "gpunodepool", "moved", "--timeout=20s")
    assert fleet.number("integerField", "next") == START


def test_the_columns(fleet: Fleet) -> None:
    fleet.declare("capacityBuffer", "shown")
    fleet.until_raised("capacityBuffer", "shown")
    number = 0
    while number != fleet.number("capacityBuffer", "shown"):  # it may be changed between two looks
        number, _, _ = fleet.shown("capacityBuffer", "shown")
        header, line = fleet.admin.kubectl("get", "gpunodepools", "shown").splitlines()
    names = ["NAME", "MODE", "MIN", "MAX", "CURRENT", "DESIRED", "NODES", "PENDING", "READY", "REASON", "AGE"]
    assert header.split() == names
    cells = dict(zip(names, line.split(), strict=True))
    assert (cells["MODE"], cells["MIN"], cells["MAX"], cells["READY"]) == ("Enforce", "0", "12", "True")
    assert cells["DESIRED"] == str(number)
    wide = fleet.admin.kubectl("get", "gpunodepools", "shown", "-o", "wide").splitlines()[0]
    assert all(name in wide for name in ("GPUS", "EMPTY", "LEAD TIME", "COST", "LAST SCALE"))


def test_without_the_controller_all_is_put_back_by_the_release_account(fleet: Fleet) -> None:
    names = {provider: f"left-{called(provider)}" for provider in MARKED}
    for provider, name in names.items():
        fleet.declare(provider, name)
    for provider, name in names.items():
        fleet.until_raised(provider, name)
        assert fleet.finalizers(name) == [FINALIZER]
    fleet.cluster.process.kill()
    fleet.cluster.process.wait()
    back = {line["owner"]: line["value"] for line in fleet.release("--all") if line["floor"] is not None}
    for provider, name in names.items():
        assert back[f"GpuNodePool/{name}"] == START
        assert (fleet.number(provider, name), fleet.marks(provider, name)) == (START, {})
        assert fleet.finalizers(name) == [], "a deletion waits for nobody"


def test_the_controllers_account_could_do_all_that_it_did(fleet: Fleet) -> None:
    log = fleet.cluster.log.read_text(encoding="utf-8")
    for word in ("forbidden", "Traceback", "please report it"):
        assert word not in log
