"""A spike that returns needs three more GPU nodes: with Lagcast's pool they are Ready before it, and no pod waits.

Real Karpenter makes the nodes, the real scheduler places the pods, and real consumers serve a real topic. Beside it,
at the same time and with the same load, the same service without a pool: nodes come for its pending pods.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from scaler.api.crd import documents
from scaler.observe.pods import unix
from simulations.lab.karpenter import GPUS, POOL_LABEL, node_class, node_pool
from simulations.lab.lab import Lab
from simulations.lab.measure import Measured
from simulations.lab.ports import free_port
from simulations.lab.process import Mark, end, spawn
from simulations.lab.scenario import Scenario, ScenarioSpec
from simulations.traces import Spike
from tests.lab.test_dashboards import RUN, Prometheus, chosen, fill
from tests.manifests.checked_in import ROOT, dashboards

pytestmark = pytest.mark.lab

NODE_LEAD = 25  # s, for 190 at a tick of 15 s
DECLARED = 30  # s: and what Karpenter, kubelet and a tick add to it
PROMPT = 3.0  # s; stamps are whole seconds, and a pod that has room has a node within two
LATE = 10.0  # s: a tick, the watch of nodes, and the write of the status
SPIKE = Spike(every=120.0, at=90.0, length=25.0, height=6.0)
PLANNED = ScenarioSpec(
    name="pool-chat",
    spike=SPIKE,
    policy=None,
    most=16,
    gpus=2,
    nodes={POOL_LABEL: "gpus"},
    node_lead_time=DECLARED,
    pool="gpus",
)
ALONE = ScenarioSpec(
    name="alone-chat",
    spike=SPIKE,
    policy=None,
    most=16,
    gpus=2,
    nodes={POOL_LABEL: "dynamic"},
    node_lead_time=DECLARED,
)
POOL = {
    "apiVersion": "lagcast.io/v1alpha1",
    "kind": "GpuNodePool",
    "metadata": {"name": "gpus"},
    "spec": {
        "provider": {"karpenter": {"nodePool": "gpus"}},
        "node": {
            "gpus": GPUS,
            "replicas": GPUS // PLANNED.gpus,
            "selector": {POOL_LABEL: "gpus"},
            "leadTime": f"{DECLARED}s",
            "idle": "20s",
            "costPerHour": "30",
        },
        "nodes": {"min": 1, "max": 8},
        "budget": {"gpus": 40},
        "mode": "Enforce",
    },
}


@dataclass(frozen=True)
class Leg:
    """What became of one of the two services."""

    waits: list[float]  # s of each new pod from created to having a node
    served: Measured


@dataclass
class Run:
    """The whole of it."""

    url: str
    begins: float = 0.0  # unix s of the spike
    nodes: list[tuple[float, int, int]] = field(default_factory=list)  # unix s, Ready nodes of each of the two pools
    rows: list[dict[str, dict[str, Any]]] = field(default_factory=list)  # the statuses, by name
    legs: dict[str, Leg] = field(default_factory=dict)
    statuses: list[tuple[float, dict[str, Any]]] = field(default_factory=list)  # unix s, what the pool's status said
    status: dict[str, Any] = field(default_factory=dict)  # in the middle of the spike
    events: list[str] = field(default_factory=list)
    columns: str = ""  # then
    log: str = ""
    boards: Prometheus | None = None

    def ready(self, which: int, at: float) -> int:
        """Ready nodes of one pool at unix s ``at``."""
        return [look[which + 1] for look in self.nodes if look[0] <= at][-1]


@dataclass(frozen=True)
class Kubectl:
    """Of one lab. What is refused fails the test."""

    lab: Lab

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        done = self.lab.kubernetes.run(*arguments, stdin=stdin)
        assert done.code == 0, done.output
        return str(done.output)

    def apply(self, *items: Any) -> None:
        self(
            "apply", "--server-side", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        )

    def items(self, kind: str, selector: str) -> list[dict[str, Any]]:
        return list(json.loads(self("get", kind, "-l", selector, "-o", "json"))["items"])

    def ready_nodes(self, pool: str) -> int:
        items = self.items("nodes", f"{POOL_LABEL}={pool}")
        conditions = [{c["type"]: c["status"] for c in item["status"].get("conditions") or ()} for item in items]
        return sum(one.get("Ready") == "True" for one in conditions)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A lab of its own: Karpenter acts on everybody's pods."""
    folder = tmp_path_factory.mktemp("pools")
    with ExitStack() as parts:
        lab = Lab.up(folder / "lab", ["kafka", "kubernetes", "kwok", "prometheus", "karpenter"])
        parts.callback(lab.down)
        yield whole_run(lab, folder, parts)


def whole_run(lab: Lab, folder: Path, parts: ExitStack) -> Run:
    kubectl = Kubectl(lab)
    prepare(kubectl)
    made = Run(f"http://127.0.0.1:{free_port()}")
    chat, alone = Scenario(lab, folder, PLANNED), Scenario(lab, folder, ALONE)
    for scenario in (chat, alone):
        scenario._deploy()  # their first nodes come now, so that the past of both ends just before the load goes on
    begun = time.time()
    for scenario in (chat, alone):
        parts.enter_context(scenario)
        scenario.send()
    kubectl.apply(POOL, chat._resource(), alone._resource())
    log = folder / "controller.log"
    mark = controller(lab, folder, made.url, log)
    stopped = parts.enter_context(ExitStack())
    stopped.callback(end, mark, 20.0)
    target = Path(lab.prometheus.file_sd) / "lagcast-pools.json"
    target.write_text(json.dumps([{"targets": [made.url.removeprefix("http://")]}]), encoding="utf-8")
    made.begins = chat.next_spike()
    last = max(made.begins, alone.next_spike()) + SPIKE.length
    while (now := time.time()) < last + PLANNED.within + 5.0:
        made.nodes.append((now, kubectl.ready_nodes("gpus"), kubectl.ready_nodes("dynamic")))
        rows = requests.get(f"{made.url}/status", timeout=5).json()
        made.rows.append({row["name"]: row for row in rows})
        status = json.loads(kubectl("get", "gpunodepool", "gpus", "-o", "json")).get("status", {})
        made.statuses.append((now, status))
        if not made.status and now >= made.begins + SPIKE.length / 2:
            made.status = status
            made.columns = kubectl("get", "gpunodepool,predictivescaler", "-A", "-o", "wide")
        time.sleep(0.5)
    for scenario in (chat, alone):
        name = scenario.spec.name
        spike = scenario.next_spike() - SPIKE.every
        made.legs[name] = Leg(waits(kubectl.items("pods", f"app={name}"), begun), scenario.measured(spike, last))
    found = json.loads(kubectl("get", "events", "-o", "json", "--field-selector", "involvedObject.kind=GpuNodePool"))
    made.events = [item["message"] for item in found["items"]]
    made.boards = Prometheus(lab.prometheus.url, time.time())
    stopped.close()
    made.log = log.read_text(encoding="utf-8")
    return made


def prepare(kubectl: Kubectl) -> None:
    """Lagcast's kinds and rights, and two pools of Karpenter's: a static one of one node, and a dynamic one."""
    for document in documents().values():
        kubectl("apply", "--server-side", "-f", "-", stdin=document)
    kubectl("apply", "-f", str(ROOT / "manifests" / "base" / "providers.yaml"))
    kubectl.apply(
        node_class("gpu", NODE_LEAD),
        node_pool("gpus", "gpu", 1),
        node_pool("dynamic", "gpu"),
    )


def controller(lab: Lab, folder: Path, url: str, log: Path) -> Mark:
    """`lagcast run` on the cluster's objects, with its own ServiceAccount; ready."""
    command = [sys.executable, "-W", "error", "-m", "scaler.cli", "run", "--tick", "2s"]
    command += ["--listen", url.removeprefix("http://"), "--kubeconfig", lab.kubernetes.controller_kubeconfig]
    mark = spawn(command, log=log, directory=folder)
    eventually(lambda: requests.get(f"{url}/readyz", timeout=2).status_code == 200, log)
    return mark


def eventually(what: Callable[[], object], log: Path, patience: float = 60.0) -> None:
    until = time.monotonic() + patience
    while True:
        try:
            if what():
                return
        except requests.RequestException:
            pass
        assert time.monotonic() < until, log.read_text(encoding="utf-8")[-2000:]
        time.sleep(0.2)


def waits(pods: list[dict[str, Any]], since: float) -> list[float]:
    """Of the pods created since then: s from created to scheduled; for one that still waits, until now."""
    found = []
    for pod in pods:
        created = unix(pod["metadata"]["creationTimestamp"])
        if created < since:
            continue
        placed = [c for c in pod["status"].get("conditions") or () if c["type"] == "PodScheduled"]
        there = bool(placed) and placed[0]["status"] == "True"
        when = datetime.fromisoformat(placed[0]["lastTransitionTime"]).timestamp() if there else time.time()
        found.append(when - created)
    return found


def test_the_spike_finds_its_nodes_and_no_pod_waits_for_a_gpu(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    planned, alone = run.legs[PLANNED.name], run.legs[ALONE.name]
    ready = [run.ready(which, run.begins) for which in (0, 1)]
    with capsys.disabled():
        for name, leg, nodes in (("Lagcast's pool", planned, ready[0]), ("nodes for pending pods", alone, ready[1])):
            waited = [wait for wait in leg.waits if wait > PROMPT]
            print(  # noqa: T201 - the figures that this test is for
                f"\n  {name}: {nodes} nodes Ready as the spike began; of {len(leg.waits)} new pods {len(waited)} waited"
                f" for a GPU, {max(leg.waits, default=0.0):.0f} s at most; in time {leg.served.attainment or 0.0:.1%}"
                f" of {leg.served.requests} requests",
                end="",
            )
    assert run.ready(0, run.nodes[0][0]) == 1
    assert ready[0] >= 4, "three more than in calm, before the spike"
    assert len(planned.waits) >= 9, "what the spike needs does not fit on the first node"
    assert max(planned.waits) <= PROMPT
    assert max(alone.waits) > NODE_LEAD / 2, "without Lagcast's nodes the same spike does wait"
    assert planned.served.attainment is not None
    assert planned.served.attainment >= 0.9
    assert max(nodes for _, nodes, _ in run.nodes) <= 5, "the budget is 40 GPUs"
    assert "please report it" not in run.log, run.log[-2000:]


def test_the_status_says_what_was_seen_and_decided_while_the_spike_lasts(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\n{run.columns}", end="")  # noqa: T201 - as an operator sees it
    conditions = {c["type"]: (c["status"], c["reason"]) for c in run.status["conditions"]}
    assert conditions["Ready"] == ("True", "Deciding")
    assert conditions["Paused"][0] == "False"
    assert run.status["services"] == 1
    assert run.status["maxNodes"] == 5
    names = ("readyNodes", "currentNodes", "desiredNodes")
    told = [(at, *(status[name] for name in names)) for at, status in run.statuses if status.keys() >= set(names)]
    # Not at any one moment: near the spike's end fewer may be wanted.
    assert any(ready >= 4 for _, ready, _, _ in told), told
    assert any(current == desired >= 4 for _, _, current, desired in told), told
    for at, ready, _, _ in told:
        # It was read after the look at the nodes that began then, and before the next, whenever that was.
        later = min((when for when, _, _ in run.nodes if when > at), default=at)
        lately = [nodes for when, nodes, _ in run.nodes if at - LATE <= when <= max(at + PROMPT, later)]
        assert not lately or min(lately) <= ready <= max(lately), (at - run.begins, ready, lately)
    assert NODE_LEAD <= float(run.status["leadTime"].removesuffix("s")) <= NODE_LEAD + 15
    assert run.boards is not None
    (learned,) = run.boards.values('lagcast_node_lead_time_seconds_count{pool="gpus"}', instant=True)
    assert learned >= 3, "of each node that was asked for"
    assert "lastScaleTime" in run.status
    assert any(said.startswith("1 -> ") for said in run.events), run.events


def test_every_panels_queries_of_the_pools_board_return_data(run: Run) -> None:
    assert run.boards is not None
    board = dashboards()["lagcast-pools"]
    values = chosen(board, run.boards, None)
    empty = []
    for panel in board["panels"]:
        for asked in panel.get("targets", []):
            query = fill(asked["expr"], values)
            found = run.boards.values(query, instant=asked["instant"])
            if not any(math.isfinite(value) for value in found):
                empty.append(f"{panel['title']}: {query} -> {found[:3]}")
    assert not empty, f"over {RUN:.0f} s:\n" + "\n".join(empty)
