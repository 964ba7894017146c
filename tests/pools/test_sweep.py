"""Deletion costs go with the scaler or the pool that they were written for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from scaler.errors import Forbidden
from scaler.kube import KubeClient
from scaler.observe.pods import DELETION_COST, MARKED
from scaler.pools.sweep import PAGES, Sweep
from tests.cluster.api_server import ApiServer, Asked, listed, status
from tests.floors.served import patched
from tests.pools.made import Bench, pool, scaler
from tests.pools.test_groups import LOADS, Maker


def item(name: str, cost: str | None = "-1000", marked: str | None = "-1000") -> dict[str, Any]:
    noted = {"team": "ml", DELETION_COST: cost, MARKED: marked}
    annotations = {key: value for key, value in noted.items() if value is not None}
    return {"metadata": {"namespace": "ml", "name": name, "uid": f"uid-{name}", "annotations": annotations}}


class Pods:
    """Pods on a server; the annotations that are left, by name."""

    def __init__(self, api: ApiServer, *items: dict[str, Any]) -> None:
        self.kept = {one["metadata"]["name"]: one for one in items}
        api.answer = self.answer

    def answer(self, asked: Asked) -> tuple[int, Any]:
        name = asked.path.rpartition("/")[2]
        self.kept[name] = patched(self.kept[name], asked.body)
        return 200, self.kept[name]

    def left(self) -> dict[str, dict[str, str]]:
        return {name: one["metadata"]["annotations"] for name, one in self.kept.items()}


def test_ours_are_taken_off_and_nobody_elses(api: ApiServer, client: KubeClient) -> None:
    items = (item("gone"), item("stays"), item("users", "7"), item("other", "7", None), item("bare", None))
    pods = Pods(api, *items)
    api.lists = deque([listed(list(items))])
    assert Sweep(client).step({"ml"}, {"uid-stays"})
    assert api.listings()[0].path == "/api/v1/namespaces/ml/pods"
    assert pods.left() == {
        "gone": {"team": "ml"},
        "stays": {"team": "ml", DELETION_COST: "-1000", MARKED: "-1000"},
        "users": {"team": "ml", DELETION_COST: "7"},  # its user has set another since
        "other": {"team": "ml", DELETION_COST: "7"},
        "bare": {"team": "ml"},
    }


def test_many_pods_are_looked_at_a_part_at_a_time(api: ApiServer, client: KubeClient) -> None:
    Pods(api)
    api.lists = deque([listed([], more=str(page)) for page in range(PAGES + 2)] + [listed([])])
    sweep = Sweep(client)
    assert [sweep.step({""}, ()), sweep.step({""}, ())] == [False, True]
    assert len(api.listings()) == PAGES + 3
    assert {asked.path for asked in api.listings()} == {"/api/v1/pods"}
    assert api.listings()[1].query["continue"] == "0"


def test_a_fault_begins_it_anew(api: ApiServer, client: KubeClient) -> None:
    Pods(api)
    api.lists = deque([listed([], more="1"), (403, status(403, "no pods")), listed([])])
    sweep = Sweep(client)
    with pytest.raises(Forbidden):
        sweep.step({""}, ())
    assert sweep.step({""}, ())
    assert "continue" not in api.listings()[-1].query


def marked(b: Bench) -> int:
    return sum(pod.marked is not None for name in LOADS for pod in b.cluster.pods_of(b.target(name)))


@pytest.mark.parametrize("goes", ["scaler", "pool", "its name of the pool"])
def test_costs_go_with_the_scaler_or_the_pool(bench: Callable[..., Bench], goes: str) -> None:
    b = bench(LOADS, make_policy=Maker(wanted=4))
    scalers = [scaler("chat"), scaler("embed"), scaler("bare", None)]
    b.controller.configure(scalers, [pool()])
    b.tick()
    b.cluster._costs = {pod.name: -1000 for name in ("chat", "embed") for pod in b.cluster.pods_of(b.target(name))}
    left = {
        "scaler": ([scalers[1], scalers[2]], [pool()]),
        "pool": (scalers, []),
        "its name of the pool": ([scaler("chat", None), *scalers[1:]], [pool()]),
    }
    b.controller.configure(*left[goes])
    b.tick()
    assert marked(b) == 0


def test_who_begins_to_lead_looks_once_and_a_standby_never(bench: Callable[..., Bench]) -> None:
    leads = [False]
    b = bench(LOADS, make_policy=Maker(wanted=4), leads=lambda: leads[0])
    b.controller.configure([scaler("chat")], [pool()])
    b.cluster._costs = {pod.name: -1000 for pod in b.cluster.pods_of(b.target("bare"))}
    b.tick()
    assert marked(b) == 4
    leads[0] = True
    b.tick()
    assert marked(b) == 0
    b.cluster._costs = {pod.name: -1000 for pod in b.cluster.pods_of(b.target("bare"))}
    b.tick()
    assert marked(b) == 4, "nothing went meanwhile: no list of all pods at each tick"
