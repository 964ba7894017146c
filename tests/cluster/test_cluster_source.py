"""KubernetesCluster where the API server is odd: slow, silent, half broken."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scaler.clock import SystemClock
from scaler.kube import KubeClient
from scaler.observe.cluster import KubernetesCluster, Limits
from scaler.observe.ports import TargetRef
from scaler.observe.watch import Timings
from scaler.plan.observation import Freshness, Reading, ReplicaState
from scaler.plan.reasons import Reason
from tests.cluster.api_server import ApiServer, Asked, Json, Watched, event, listed, status
from tests.cluster.test_kube import APPS, CHAT
from tests.cluster.test_watch import Moved, eventually

QUICK = Timings(watch=2.0, silence=3.0, first_pause=0.02, longest_pause=0.05)
LIMITS = Limits(pass_time=0.5, answer=0.4, silence=25.0, broken=0.2, keep=60.0, workers=4)
NOW = 1_800_000_000.0


def pod(name: str, *, ready: bool = True, template: str = "t1", created: str = "08:00:00", **metadata: Any) -> Json:
    labels = {"pod-template-hash": template}
    conditions = [
        {"type": kind, "status": "True" if holds else "False", "lastTransitionTime": "2027-01-15T08:00:30Z"}
        for kind, holds in (("PodScheduled", True), ("Ready", ready))
    ]
    return {
        "metadata": {
            "name": name,
            "uid": name,
            "resourceVersion": "101",
            "creationTimestamp": f"2027-01-15T{created}Z",
            "labels": labels,
            **metadata,
        },
        "spec": {},
        "status": {"phase": "Running", "conditions": conditions},
    }


class World:
    """One Deployment whose scale and pods are served as told."""

    def __init__(self, api: ApiServer) -> None:
        self.api = api
        self.code = 200
        self.delay = 0.0
        self.slow: set[str] = set()
        self.scale: Json = {"spec": {"replicas": 2}, "status": {"selector": "app=chat"}}
        api.answer = self.answer
        api.lists = deque([listed([pod("a"), pod("b")])])

    def answer(self, asked: Asked) -> tuple[int, Any]:
        if asked.path == "/apis/apps/v1":
            return 200, APPS
        if asked.path.split("/")[-2] in self.slow:
            time.sleep(self.delay)
        return (200, self.scale) if self.code == 200 else (self.code, status(self.code, "no", details={"name": "chat"}))


@pytest.fixture
def world(api: ApiServer) -> World:
    return World(api)


@pytest.fixture
def cluster(world: World, client: KubeClient) -> Iterator[KubernetesCluster]:
    made = KubernetesCluster(client, SystemClock(), limits=LIMITS, timings=QUICK)
    yield made
    made.close()
    assert not [t.name for t in threading.enumerate() if t.name.startswith(("watch ", "scale"))]


@pytest.fixture
def read(cluster: KubernetesCluster) -> Callable[..., Reading[ReplicaState]]:
    return lambda now=NOW, target=CHAT: cluster.sample(now, [target])[target]


Read = Callable[..., Reading[ReplicaState]]


def value(reading: Reading[ReplicaState]) -> ReplicaState:
    assert reading.freshness is Freshness.FRESH, reading
    assert reading.value is not None
    return reading.value


def test_the_first_sample_is_whole(read: Read) -> None:
    assert read() == Reading(ReplicaState(2, 2, (), 0, "t1", False), NOW, Freshness.FRESH)


def test_pods_are_watched_by_the_selector_of_the_scale(world: World, read: Read, api: ApiServer) -> None:
    world.scale["status"]["selector"] = "app in (chat,chat2),tier!=x"
    read()
    assert api.listings()[0].query["labelSelector"] == "app in (chat,chat2),tier!=x"
    assert api.listings()[0].path == "/api/v1/namespaces/shop/pods"


def test_a_selector_that_changes_is_followed(world: World, read: Read, api: ApiServer) -> None:
    read()
    api.lists = deque([listed([pod("c")])])
    world.scale["status"]["selector"] = "app=other"
    assert value(read()).ready == 1
    assert api.listings()[-1].query["labelSelector"] == "app=other"


def test_an_empty_selector_never_means_all_pods(world: World, read: Read, api: ApiServer) -> None:
    world.scale["status"] = {"replicas": 2}
    reading = read()
    assert (reading.value, reading.freshness, reading.reason) == (
        None,
        Freshness.ABSENT,
        Reason.TARGET_WITHOUT_SCALE,
    )
    assert api.listings() == []


def test_what_counts(api: ApiServer, read: Read) -> None:
    items = [
        pod("ready"),
        pod("pending", ready=False, created="07:59:00"),
        pod("going", deletionTimestamp="2027-01-15T08:01:00Z"),
        pod("done"),
    ]
    items[3]["status"]["phase"] = "Succeeded"
    api.lists = deque([listed(items)])
    state = value(read())
    assert (state.ready, state.pending_since, state.terminating) == (1, (NOW - 60.0,), 1)


def test_two_templates_are_an_update_unless_the_old_pods_are_going(api: ApiServer, read: Read) -> None:
    api.lists = deque([listed([pod("a"), pod("b", template="t2", created="08:01:00")])])
    api.watches = deque([Watched([event("MODIFIED", pod("a", deletionTimestamp="2027-01-15T08:02:00Z"))], "hang")])
    state = read().value
    eventually(lambda: not value(read()).updating)
    assert state is not None
    assert value(read()).template == "t2"


def test_an_outage_hands_out_the_last_value_for_a_while(world: World, read: Read) -> None:
    before = value(read())
    world.code = 503
    stale = read(NOW + 59.0)
    assert (stale.value, stale.time, stale.freshness) == (before, NOW, Freshness.STALE)
    assert stale.reason is Reason.KUBERNETES_UNREACHABLE
    late = read(NOW + 61.0)
    assert (late.value, late.time, late.freshness) == (None, NOW + 61.0, Freshness.ERROR)
    world.code = 200
    assert value(read(NOW + 63.0)) == before


def test_an_answer_that_takes_too_long_is_no_answer_and_holds_nobody_up(
    world: World, cluster: KubernetesCluster
) -> None:
    world.slow, world.delay = {"slow"}, 1.5
    slow = TargetRef("apps/v1", "Deployment", "shop", "slow")
    began = time.monotonic()
    readings = cluster.sample(NOW, [slow, CHAT])
    assert time.monotonic() - began < 1.2
    assert readings[CHAT].fresh
    assert readings[slow].freshness is Freshness.ERROR
    assert readings[slow].reason is Reason.KUBERNETES_UNREACHABLE


def test_more_slow_targets_than_workers_end_in_time(world: World, cluster: KubernetesCluster) -> None:
    targets = [TargetRef("apps/v1", "Deployment", "shop", f"slow-{n}") for n in range(24)]
    world.slow, world.delay = {t.name for t in targets}, 0.3
    began = time.monotonic()
    readings = cluster.sample(NOW, targets)
    assert time.monotonic() - began < 1.3  # one after the other they would take 1.8 s
    assert set(readings) == set(targets)
    assert {r.freshness for r in readings.values()} <= {Freshness.FRESH, Freshness.ERROR}
    assert any(r.freshness is Freshness.ERROR for r in readings.values())


def test_pods_whose_watch_is_broken_are_not_fresh(world: World, api: ApiServer, read: Read) -> None:
    api.watches = deque([Watched(then="cut"), Watched(code=503, body=status(503, "no"))])
    before = value(read(time.time()))
    api.lists = deque([(503, status(503, "no"))])
    eventually(lambda: read(time.time()).freshness is Freshness.STALE)
    stale = read(time.time())
    assert stale.value == before
    assert stale.reason is Reason.KUBERNETES_UNREACHABLE
    api.lists, api.watches = deque([listed([pod("a")])]), deque([Watched(then="hang")])
    eventually(lambda: read(time.time()).fresh)
    assert value(read(time.time())).ready == 1


def test_pods_whose_watch_is_silent_are_not_fresh(client: KubeClient, world: World) -> None:
    limits = Limits(pass_time=0.5, answer=0.4, silence=0.2)
    cluster = KubernetesCluster(client, SystemClock(), limits=limits, timings=QUICK)
    assert cluster.sample(time.time(), [CHAT])[CHAT].fresh
    time.sleep(0.3)
    reading = cluster.sample(time.time(), [CHAT])[CHAT]
    assert (reading.freshness, reading.reason) == (Freshness.STALE, Reason.KUBERNETES_UNREACHABLE)
    assert reading.time < time.time() - 0.2
    assert "silent" in reading.detail
    cluster.close()


@pytest.mark.slow
def test_after_the_clock_was_set_back_a_contact_that_lies_ahead_is_not_believed(
    client: KubeClient, world: World
) -> None:
    clock, timings = Moved(), Timings(watch=2.0, silence=1.0, first_pause=0.02, longest_pause=0.05)
    cluster = KubernetesCluster(client, clock, limits=LIMITS, timings=timings)
    try:
        assert cluster.sample(clock.now(), [CHAT])[CHAT].fresh
        watch = cluster._pods.of(CHAT)
        assert watch is not None
        eventually(lambda: watch.state.following)  # it was heard of, and is quiet from now on
        clock.by = -3600.0
        reading = cluster.sample(clock.now(), [CHAT])[CHAT]
        assert (reading.freshness, reading.reason) == (Freshness.STALE, Reason.KUBERNETES_UNREACHABLE)
        eventually(lambda: cluster.sample(clock.now(), [CHAT])[CHAT].fresh)  # it was heard of again
    finally:
        cluster.close()


def test_pods_that_cannot_be_listed_are_not_zero(api: ApiServer, read: Read) -> None:
    api.lists = deque([(500, status(500, "broken"))])
    reading = read()
    assert (reading.value, reading.freshness) == (None, Freshness.ERROR)
    assert "broken" in reading.detail


def test_an_answer_without_sense_is_an_error_of_this_target_alone(
    world: World, cluster: KubernetesCluster, caplog: pytest.LogCaptureFixture
) -> None:
    original = world.api.answer
    world.api.answer = lambda asked: (200, {"resources": [{"kind": 3}]}) if "odd" in asked.path else original(asked)
    odd = TargetRef("odd.io/v1", "Odd", "shop", "x")
    readings = cluster.sample(NOW, [odd, CHAT])
    assert readings[CHAT].fresh
    assert readings[odd].value is None


def test_a_target_is_watched_once_however_often_it_is_named(api: ApiServer, cluster: KubernetesCluster) -> None:
    for _ in range(3):
        cluster.sample(NOW, [CHAT, CHAT])
    assert len(api.listings()) == 1


def test_a_target_no_longer_wanted_is_no_longer_watched(api: ApiServer, cluster: KubernetesCluster) -> None:
    cluster.sample(NOW, [CHAT])
    cluster.sample(NOW, [])
    eventually(lambda: not [t for t in threading.enumerate() if t.name.startswith("watch ")])
    assert cluster.lead_times(CHAT) == ()


def test_a_sample_of_nothing(cluster: KubernetesCluster) -> None:
    assert cluster.sample(NOW, []) == {}


def test_lead_times_before_any_sample(cluster: KubernetesCluster) -> None:
    cluster.asked(CHAT, 3, NOW)
    assert cluster.lead_times(CHAT) == ()


def test_a_pod_seen_becoming_ready_is_told(api: ApiServer, read: Read, cluster: KubernetesCluster) -> None:
    api.lists = deque([listed([pod("a", ready=False)])])
    api.watches = deque([Watched([event("MODIFIED", pod("a"))], "hang")])
    read()
    told: list[Any] = []
    eventually(lambda: told.extend(cluster.lead_times(CHAT)) or told)
    (lead,) = told
    assert (lead.pod, lead.created_to_scheduled, lead.scheduled_to_ready) == ("a", 30.0, 0.0)
    assert cluster.lead_times(CHAT) == ()


def test_closing_twice_is_harmless(cluster: KubernetesCluster) -> None:
    cluster.close()


def test_a_target_that_was_missed_for_a_moment_does_not_tell_its_pods_again(
    world: World, read: Read, cluster: KubernetesCluster
) -> None:
    assert read().fresh
    assert len(cluster.lead_times(CHAT)) == 2
    world.code = 404
    assert read().freshness is Freshness.ABSENT
    world.code = 200
    assert read().fresh
    assert cluster.lead_times(CHAT) == ()


@pytest.mark.slow
def test_watches_that_hang_do_not_add_up_when_it_closes(world: World, client: KubeClient, api: ApiServer) -> None:
    cluster = KubernetesCluster(client, SystemClock(), limits=LIMITS, timings=QUICK)
    targets = [TargetRef("apps/v1", "Deployment", "shop", f"chat-{n}") for n in range(4)]
    blocked = threading.Event()
    api.lists = deque([listed([])])
    take = api.take

    def hang(queue: Any) -> Any:
        if queue is api.watches:
            blocked.wait()
        return take(queue)

    api.take = hang  # type: ignore[method-assign]
    cluster.sample(NOW, targets)
    eventually(lambda: len(api.watched()) == 4)
    began = time.monotonic()
    cluster.close()
    assert time.monotonic() - began < 2.0
    blocked.set()
    eventually(lambda: not [t for t in threading.enumerate() if t.name.startswith("watch ")])


def test_an_api_server_that_starts_and_refuses_for_a_moment_is_asked_again_at_once(
    api: ApiServer, client: KubeClient, world: World
) -> None:
    slow = Timings(watch=2.0, silence=3.0, first_pause=30.0, longest_pause=30.0)
    cluster = KubernetesCluster(client, SystemClock(), limits=LIMITS, timings=slow)
    api.lists = deque([(403, status(403, "pods is forbidden")), listed([pod("a"), pod("b")])])
    refused = cluster.sample(NOW, [CHAT])[CHAT]
    assert (refused.freshness, refused.reason) == (Freshness.ERROR, Reason.FORBIDDEN)
    assert cluster.sample(NOW + 2.0, [CHAT])[CHAT].fresh
    cluster.close()
