"""Replica counts by watch: when /scale is read, when not, and that an old count is never handed out as new."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from scaler.clock import SystemClock
from scaler.errors import Forbidden, TargetError, TargetNotFound, Unreachable
from scaler.kube import Json, KubeClient
from scaler.observe.cluster import KubernetesCluster
from scaler.observe.ports import TargetRef
from scaler.plan.observation import Freshness
from scaler.plan.reasons import Reason
from tests.cluster.api_server import ApiServer, Asked, Watched, event, listed, status
from tests.cluster.test_cluster_source import LIMITS, QUICK, pod
from tests.cluster.test_kube import APPS
from tests.cluster.test_watch import Moved, eventually

NAMES = ("a", "b", "c")
TARGETS = [TargetRef("apps/v1", "Deployment", "shop", name) for name in NAMES]
COLLECTION = "/apis/apps/v1/namespaces/shop/deployments"


def deployment(name: str, version: int = 1) -> Json:
    return {"metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}}


class Shop:
    """Three Deployments; their scales are answered as told."""

    def __init__(self, api: ApiServer) -> None:
        self.api = api
        self.counts = dict.fromkeys(NAMES, 2)
        self.failing: dict[str, int] = {}  # HTTP code by name
        self.more = threading.Event()  # lets the target watch go on with ``later``
        self.later: list[bytes] = []
        api.answer = self.answer
        api.lists = deque([listed([pod("p")])])
        api.target_lists = deque([listed([deployment(n) for n in NAMES], version="10")])

    def answer(self, asked: Asked) -> tuple[int, Any]:
        if asked.path == "/apis/apps/v1":
            return 200, APPS
        name = asked.path.split("/")[-2]
        code = self.failing.get(name, 200)
        if code != 200:
            return code, status(code, f"no {name}", details={"name": name})
        return 200, {"spec": {"replicas": self.counts[name]}, "status": {"selector": f"app={name}"}}

    def reads(self) -> Counter[str]:
        """GETs of each target's /scale since the last call."""
        asked, self.api.asked = self.api.asked, []
        return Counter(a.path.split("/")[-2] for a in asked if a.path.endswith("/scale"))

    def tell(self, *lines: bytes) -> None:
        """What the watch of the targets tells next; call it before the first sample."""
        self.api.target_watches = deque([_Waiting(self.more, list(lines))])


class _Waiting(Watched):
    """A watch whose lines come when an event is set."""

    def __init__(self, go: threading.Event, lines: list[bytes]) -> None:
        super().__init__(then="hang")
        self.go, self.told = go, lines

    @property  # type: ignore[override]
    def lines(self) -> Iterator[bytes]:
        self.go.wait(10)
        yield from self.told

    @lines.setter
    def lines(self, value: object) -> None: ...


@pytest.fixture
def shop(api: ApiServer) -> Shop:
    return Shop(api)


@pytest.fixture
def cluster(shop: Shop, client: KubeClient) -> Iterator[KubernetesCluster]:
    made = KubernetesCluster(client, SystemClock(), limits=LIMITS, timings=QUICK)
    yield made
    shop.more.set()
    made.close()
    assert not [t.name for t in threading.enumerate() if t.name.startswith(("watch ", "scale"))]


@pytest.fixture
def desired(cluster: KubernetesCluster) -> Callable[[], list[int | None]]:
    def sample() -> list[int | None]:
        readings = cluster.sample(time.time(), TARGETS)
        return [
            readings[t].value.desired if readings[t].fresh and readings[t].value is not None else None for t in TARGETS
        ]

    return sample


def settled(cluster: KubernetesCluster, shop: Shop) -> None:
    """Sample until the watch vouches: one GET a pass."""

    def quiet() -> bool:
        shop.reads()
        cluster.sample(time.time(), TARGETS)
        return sum(shop.reads().values()) == 1

    eventually(quiet)


Desired = Callable[[], list[int | None]]


def test_one_read_a_pass_in_turn_vouches_for_targets_that_did_not_change(
    shop: Shop, cluster: KubernetesCluster, desired: Desired
) -> None:
    settled(cluster, shop)
    seen: Counter[str] = Counter()
    for _ in range(6):
        assert desired() == [2, 2, 2]
        reads = shop.reads()
        assert sum(reads.values()) == 1
        seen += reads
    assert seen == Counter(dict.fromkeys(NAMES, 2))


def test_one_watch_of_metadata_serves_all_targets_of_a_kind(
    shop: Shop, cluster: KubernetesCluster, desired: Desired, api: ApiServer
) -> None:
    desired()
    eventually(lambda: [a for a in api.asked if a.path == COLLECTION and a.query.get("watch")])
    listing, watching = (a for a in api.asked if a.path == COLLECTION)
    assert "as=PartialObjectMetadataList;" in listing.headers["Accept"]
    assert "as=PartialObjectMetadata;" in watching.headers["Accept"]
    assert (watching.query["allowWatchBookmarks"], watching.query["resourceVersion"]) == ("true", "10")


@pytest.mark.parametrize("kind", ["MODIFIED", "DELETED"])
def test_a_target_that_changed_is_read_at_the_next_pass(
    shop: Shop, cluster: KubernetesCluster, desired: Desired, kind: str
) -> None:
    shop.tell(event(kind, deployment("b", 12)))
    settled(cluster, shop)
    shop.counts["b"] = 7
    shop.more.set()
    eventually(lambda: cluster._counts._version(TARGETS[1]) != ("uid-b", "1"))
    assert desired() == [2, 7, 2]
    assert shop.reads()["b"] == 1


def test_a_bookmark_is_no_change(shop: Shop, cluster: KubernetesCluster, desired: Desired) -> None:
    shop.tell(event("BOOKMARK", {"metadata": {"resourceVersion": "50"}}))
    settled(cluster, shop)
    shop.more.set()
    time.sleep(0.05)
    assert desired() == [2, 2, 2]
    assert sum(shop.reads().values()) == 1


def test_our_own_patch_is_read_at_the_next_pass_before_the_watch_tells(
    shop: Shop, cluster: KubernetesCluster, desired: Desired
) -> None:
    settled(cluster, shop)
    for target, name in zip(TARGETS, NAMES, strict=True):
        shop.counts[name] = 5
        cluster.asked(target, 5, time.time())
    assert desired() == [5, 5, 5]


def test_when_the_server_stops_answering_nothing_is_fresh_although_the_watches_are_quiet(
    shop: Shop, cluster: KubernetesCluster
) -> None:
    settled(cluster, shop)
    shop.failing = dict.fromkeys(NAMES, 503)
    readings = cluster.sample(time.time(), TARGETS)
    assert {(r.freshness, r.reason) for r in readings.values()} == {(Freshness.STALE, Reason.KUBERNETES_UNREACHABLE)}
    shop.failing = {}
    shop.counts = dict.fromkeys(NAMES, 4)
    assert [r.value.desired for r in cluster.sample(time.time(), TARGETS).values() if r.value and r.fresh] == [4, 4, 4]


@pytest.mark.parametrize("code", [404, 403, 503])
def test_one_that_cannot_be_read_does_not_make_the_others_old(
    shop: Shop, cluster: KubernetesCluster, desired: Desired, code: int
) -> None:
    settled(cluster, shop)
    shop.failing = {"b": code}
    for _ in range(4):  # it is its turn to vouch once among these
        one, _, three = desired()
        assert (one, three) == (2, 2)
    assert desired()[1] is None
    shop.failing = {}
    assert desired() == [2, 2, 2]


@pytest.mark.parametrize("end", ["cut", "end"])
def test_a_watch_that_broke_vouches_for_nothing(
    shop: Shop, cluster: KubernetesCluster, desired: Desired, api: ApiServer, end: str
) -> None:
    waiting = _Waiting(shop.more, [])
    waiting.then = end
    api.target_watches = deque([waiting, Watched(code=503, body=status(503, "no"))])
    settled(cluster, shop)
    api.target_lists = deque([(503, status(503, "no"))])
    shop.more.set()
    eventually(lambda: cluster._counts._version(TARGETS[0]) is None)
    shop.reads()
    assert desired() == [2, 2, 2]
    assert shop.reads() == Counter(dict.fromkeys(NAMES, 1))
    api.target_lists = deque([listed([deployment(n) for n in NAMES])])
    api.target_watches = deque([Watched(then="hang")])
    settled(cluster, shop)


def test_a_watch_that_is_silent_vouches_for_nothing(shop: Shop, client: KubeClient) -> None:
    limits = replace(LIMITS, silence=0.3)
    cluster = KubernetesCluster(client, SystemClock(), limits=limits, timings=QUICK)
    try:
        settled(cluster, shop)
        time.sleep(0.4)
        shop.reads()
        cluster.sample(time.time(), TARGETS)
        assert shop.reads() == Counter(dict.fromkeys(NAMES, 1))
    finally:
        cluster.close()


def test_a_watch_whose_last_contact_lies_ahead_vouches_for_nothing(shop: Shop, client: KubeClient) -> None:
    clock = Moved()
    cluster = KubernetesCluster(client, clock, limits=LIMITS, timings=QUICK)
    try:
        settled(cluster, shop)
        clock.by = -3600.0
        shop.reads()
        cluster.sample(clock.now(), TARGETS)
        assert shop.reads() == Counter(dict.fromkeys(NAMES, 1))
    finally:
        cluster.close()


@pytest.mark.slow
def test_where_a_pass_is_too_short_for_all_each_comes_to_its_turn(shop: Shop, client: KubeClient) -> None:
    limits = replace(LIMITS, workers=1, pass_time=0.15)
    cluster = KubernetesCluster(client, SystemClock(), limits=limits, timings=QUICK)
    answer = shop.answer

    def slow(asked: Asked) -> tuple[int, Any]:
        if asked.path.endswith("/scale"):
            time.sleep(0.1)
        return answer(asked)

    shop.api.answer = slow
    try:
        for _ in range(6):
            cluster._counts.read(TARGETS, limits.pass_time)
        assert set(shop.reads()) == set(NAMES)
    finally:
        cluster.close()


def test_a_change_between_question_and_answer_is_read_again(
    shop: Shop, cluster: KubernetesCluster, desired: Desired
) -> None:
    """The watch tells of a change while the answer, still the old one, is on its way."""
    shop.tell(event("MODIFIED", deployment("a", 12)))
    settled(cluster, shop)
    answer = shop.answer

    def crossing(asked: Asked) -> tuple[int, Any]:
        old = answer(asked)
        shop.more.set()
        eventually(lambda: cluster._counts._version(TARGETS[0]) != ("uid-a", "1"))
        shop.counts["a"] = 9
        return old

    shop.api.answer = crossing
    cluster.asked(TARGETS[0], 9, time.time())
    assert desired()[0] == 2
    shop.api.answer = answer
    assert desired()[0] == 9


@pytest.mark.parametrize("where", ["list", "watch"])
def test_a_kind_that_may_not_be_watched_is_read_at_each_pass_and_says_so_once(
    shop: Shop, cluster: KubernetesCluster, desired: Desired, api: ApiServer, caplog: Any, where: str
) -> None:
    refused = status(403, 'deployments.apps is forbidden: User "x" cannot watch resource "deployments"')
    if where == "list":
        api.target_lists = deque([(403, refused)])
    else:
        api.target_watches = deque([Watched(code=403, body=refused)])
    with caplog.at_level(logging.INFO):
        desired()
        eventually(lambda: cluster._counts.note(TARGETS[0]))
        for _ in range(3):
            shop.reads()
            assert desired() == [2, 2, 2]
            assert shop.reads() == Counter(dict.fromkeys(NAMES, 1))
    reading = cluster.sample(time.time(), TARGETS)[TARGETS[0]]
    assert reading.fresh
    assert "read at each tick" in reading.detail
    assert "grant it" in reading.detail
    said = [r for r in caplog.records if r.name == "scaler.observe.counts"]
    assert len(said) == 1
    assert "Deployment in namespace shop" in said[0].getMessage()
    tries = [a for a in api.asked if a.path == COLLECTION]
    assert len(tries) <= 2, "a refusal is not asked again at every tick"


def test_a_target_that_is_no_longer_wanted_ends_its_watch(shop: Shop, cluster: KubernetesCluster) -> None:
    settled(cluster, shop)
    cluster.sample(time.time(), [])
    eventually(lambda: not [t for t in threading.enumerate() if t.name.startswith("watch ")])
    shop.counts["a"] = 3
    assert [r.value.desired for r in cluster.sample(time.time(), TARGETS[:1]).values() if r.value] == [3]


def test_the_error_of_each_kind_is_kept(shop: Shop, cluster: KubernetesCluster) -> None:
    """Counts itself hands on the reason, so that the reading can say what to do."""
    expected: dict[int, type[TargetError]] = {404: TargetNotFound, 403: Forbidden, 503: Unreachable}
    for code, error in expected.items():
        shop.failing = {"a": code}
        assert type(cluster._counts.read(TARGETS, 1.0)[TARGETS[0]]) is error
