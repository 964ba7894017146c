"""Many targets of one namespace: one watch of all its pods, and each sees its own, as with a watch of its own."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest

from scaler.clock import SystemClock
from scaler.kube import KubeClient
from scaler.observe.cluster import KubernetesCluster, Limits
from scaler.observe.pod_watches import MANY
from scaler.observe.ports import TargetRef
from scaler.plan.observation import Freshness
from scaler.plan.reasons import Reason
from tests.cluster.api_server import ApiServer, Asked, Json, Watched, event, listed, status
from tests.cluster.test_cluster_source import NOW, QUICK, pod
from tests.cluster.test_kube import APPS
from tests.cluster.test_watch import eventually

LIMITS = Limits(pass_time=10.0, answer=5.0, broken=0.2)  # on a busy machine, too, all are known at the first sample


def target(k: int, namespace: str = "shop") -> TargetRef:
    return TargetRef("apps/v1", "Deployment", namespace, f"s{k}")


def of(k: int, name: str, *, ready: bool = True, **more: Any) -> Json:
    made = pod(name, ready=ready, **more)
    made["metadata"]["labels"] = {"app": f"s{k}", "pod-template-hash": "t1"}
    return made


class Shop:
    """Deployments s0, s1 ... whose selectors are ``app=s0`` and so on, unless ``selectors`` says another one."""

    def __init__(self, api: ApiServer) -> None:
        self.selectors: dict[str, str] = {}
        api.answer = self.answer
        api.lists = deque([listed([of(0, "a"), of(0, "b"), of(1, "c"), of(99, "foreign")])])

    def answer(self, asked: Asked) -> tuple[int, Any]:
        if asked.path == "/apis/apps/v1":
            return 200, APPS
        name = asked.path.split("/")[-2]
        return 200, {"spec": {"replicas": 2}, "status": {"selector": self.selectors.get(name, f"app={name}")}}


@pytest.fixture
def shop(api: ApiServer) -> Shop:
    return Shop(api)


@pytest.fixture
def cluster(shop: Shop, client: KubeClient) -> Iterator[KubernetesCluster]:
    made = KubernetesCluster(client, SystemClock(), limits=LIMITS, timings=QUICK)
    yield made
    made.close()


TARGETS = [target(k) for k in range(MANY)]


def ready(cluster: KubernetesCluster, targets: list[TargetRef] = TARGETS) -> list[int | None]:
    """Of each target; None where it is not known."""
    readings = cluster.sample(NOW, targets)
    return [r.value.ready if r.fresh and r.value is not None else None for r in map(readings.__getitem__, targets)]


def test_many_targets_share_one_watch_and_each_sees_its_own_pods(api: ApiServer, cluster: KubernetesCluster) -> None:
    assert ready(cluster)[:3] == [2, 1, 0]
    assert [asked.query.get("labelSelector") for asked in api.listings()] == [None]
    eventually(api.watched)
    assert len(api.watched()) == 1
    assert [lead.pod for lead in cluster.lead_times(TARGETS[1])] == ["c"]
    assert [one.name for one in cluster.pods_of(TARGETS[1])] == ["c"]


def test_a_few_have_a_watch_each(api: ApiServer, cluster: KubernetesCluster) -> None:
    targets = [*TARGETS[1:], target(0, "elsewhere")]
    ready(cluster, targets)
    eventually(lambda: len(api.listings()) == MANY)
    assert all(asked.query["labelSelector"].startswith("app=s") for asked in api.listings())


def test_events_go_to_whom_the_pod_belongs(api: ApiServer, cluster: KubernetesCluster) -> None:
    events = [
        event("ADDED", of(2, "new", ready=False)),
        event("MODIFIED", of(2, "new")),
        event("MODIFIED", of(3, "c")),  # its label was changed: from the second to the fourth
        event("DELETED", of(0, "a")),
        event("DELETED", of(99, "foreign")),
    ]
    api.watches = deque([Watched(events, "hang")])
    eventually(lambda: ready(cluster)[:5] == [1, 0, 1, 1, 0])
    assert [lead.pod for lead in cluster.lead_times(TARGETS[2])] == ["new"]


def test_who_comes_later_is_told_what_is_there_and_who_goes_is_told_no_more(
    api: ApiServer, cluster: KubernetesCluster
) -> None:
    ready(cluster)
    assert ready(cluster, [*TARGETS, target(99)])[-1] == 1
    assert len(api.listings()) == 1
    assert ready(cluster)[:2] == [2, 1]
    assert cluster.pods_of(target(99)) == ()


def test_from_one_way_to_the_other_nothing_is_told_twice(api: ApiServer, cluster: KubernetesCluster) -> None:
    api.lists = deque([listed([of(0, "a")])])
    assert ready(cluster, TARGETS[:2])[0] == 1
    assert [lead.pod for lead in cluster.lead_times(TARGETS[0])] == ["a"]
    assert ready(cluster)[0] == 1
    assert api.listings()[-1].query.get("labelSelector") is None
    assert ready(cluster, TARGETS[:2])[0] == 1
    assert api.listings()[-1].query.get("labelSelector") is not None
    assert cluster.lead_times(TARGETS[0]) == ()


def test_who_comes_back_after_a_pass_that_failed_is_told_its_pods(
    api: ApiServer, cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ready(cluster)[0] == 2
    with monkeypatch.context() as broken:
        broken.setattr(cluster._pods, "arrange", lambda stores: None)
        ready(cluster, TARGETS[1:])
    assert ready(cluster)[0] == 2


def test_one_that_is_not_there_for_a_moment_begins_no_watch_anew(api: ApiServer, cluster: KubernetesCluster) -> None:
    assert ready(cluster)[0] == 2
    assert ready(cluster, TARGETS[1:])[0] == 1
    assert ready(cluster)[:2] == [2, 1]
    assert len(api.listings()) == 1


def test_a_selector_that_only_the_server_can_read_keeps_its_own_watch(
    api: ApiServer, shop: Shop, cluster: KubernetesCluster
) -> None:
    shop.selectors["s7"] = "cpu>3"
    more = [*TARGETS, target(8)]
    assert ready(cluster, more)[:2] == [2, 1]
    eventually(lambda: len(api.listings()) == 2)
    assert {asked.query.get("labelSelector") for asked in api.listings()} == {None, "cpu>3"}


def test_a_selector_that_changes_is_followed_without_another_list(
    api: ApiServer, shop: Shop, cluster: KubernetesCluster
) -> None:
    assert ready(cluster)[5] == 0
    shop.selectors["s5"] = "app in (s1,s99)"
    api.target_watches = deque([Watched(then="cut")])
    eventually(lambda: ready(cluster)[5] == 2)
    assert len(api.listings()) == 1


def test_while_the_watch_is_broken_none_is_fresh(api: ApiServer, cluster: KubernetesCluster) -> None:
    api.watches = deque([Watched(then="cut"), Watched(code=503, body=status(503, "no"))])
    assert ready(cluster)[0] == 2
    api.lists = deque([(503, status(503, "no"))])

    def stale() -> bool:
        readings = cluster.sample(time.time(), TARGETS).values()
        return all(r.freshness is Freshness.STALE and r.reason is Reason.KUBERNETES_UNREACHABLE for r in readings)

    eventually(stale)
    api.lists, api.watches = deque([listed([of(0, "a")])]), deque([Watched(then="hang")])
    eventually(lambda: ready(cluster)[:2] == [1, 0])
