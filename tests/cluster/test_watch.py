"""List and watch: what is asked for, and what happens when the answer is odd."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from scaler.clock import SystemClock
from scaler.errors import Forbidden, Unreachable
from scaler.kube import Json, KubeClient
from scaler.observe.watch import Timings, Watch
from tests.cluster.api_server import ApiServer, Watched, event, listed, status

PODS = "/api/v1/namespaces/shop/pods"
QUICK = Timings(watch=1.0, silence=0.6, first_pause=0.02, longest_pause=0.1)


def pod(name: str, version: str = "1") -> Json:
    return {"metadata": {"name": name, "uid": name, "resourceVersion": version}}


def bookmark(version: str) -> bytes:
    return event("BOOKMARK", {"metadata": {"resourceVersion": version}})


class Moved(SystemClock):
    """The machine's clock, set forward or back by ``by`` s."""

    by = 0.0

    def now(self) -> float:
        return super().now() + self.by


class Memory:
    """A handler that keeps names."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.lists = 0
        self.fail = False

    def listed(self, objects: Sequence[Json], at: float) -> None:
        self.lists += 1
        self.names = {o["metadata"]["name"] for o in objects}

    def changed(self, item: Json, at: float) -> None:
        if self.fail:
            self.fail = False
            raise KeyError("odd")
        self.names.add(item["metadata"]["name"])

    def removed(self, item: Json, at: float) -> None:
        self.names.discard(item["metadata"]["name"])


def eventually(true: Callable[[], Any], within: float = 10.0) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, "not within the time"
        time.sleep(0.005)


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def watch(client: KubeClient, memory: Memory) -> Iterator[Callable[..., Watch]]:
    made: list[Watch] = []

    def start(timings: Timings = QUICK) -> Watch:
        watch = Watch(
            client, PODS, memory, clock=SystemClock(), rng=random.Random(1), selector="app=chat", timings=timings
        )
        made.append(watch)
        watch.start()
        return watch

    yield start
    for one in made:
        one.close()
        assert not one.alive


def test_asks_for_bookmarks_with_a_version_and_a_time_limit(api: ApiServer, watch: Callable[..., Watch]) -> None:
    api.lists = deque([listed([], version="77")])
    watch()
    eventually(api.watched)
    assert api.watched()[0].query == {
        "labelSelector": "app=chat",
        "watch": "1",
        "allowWatchBookmarks": "true",
        "resourceVersion": "77",
        "timeoutSeconds": "1",
    }
    assert api.watched()[0].headers["Authorization"] == "Bearer secret-token"


def test_reads_all_pages(api: ApiServer, watch: Callable[..., Watch], memory: Memory) -> None:
    api.lists = deque([listed([pod("a")], more="next"), listed([pod("b")])])
    watch(replace(QUICK, page=1)).settle(5.0)
    assert memory.names == {"a", "b"}
    first, second = (a.query for a in api.listings()[:2])
    assert first == {"labelSelector": "app=chat", "limit": "1"}
    assert second == {"labelSelector": "app=chat", "limit": "1", "continue": "next"}


def test_an_expired_page_begins_the_list_anew(api: ApiServer, watch: Callable[..., Watch], memory: Memory) -> None:
    api.lists = deque([listed([pod("a")], more="next"), (410, status(410, "expired")), listed([pod("b")])])
    watch()
    eventually(lambda: memory.names == {"b"})


def test_follows_what_changes(api: ApiServer, watch: Callable[..., Watch], memory: Memory) -> None:
    api.lists = deque([listed([pod("a"), pod("b")])])
    lines = [event("ADDED", pod("c", "101")), event("DELETED", pod("a", "102")), event("MODIFIED", pod("b", "103"))]
    api.watches = deque([Watched(lines, "hang")])
    started = watch()
    eventually(lambda: memory.names == {"b", "c"})
    assert started.state.error is None
    assert started.state.synced


def test_an_event_cut_in_two_is_one_event(api: ApiServer, watch: Callable[..., Watch], memory: Memory) -> None:
    line = event("ADDED", pod("c", "101"))
    api.watches = deque([Watched([line[:20], line[20:]], "hang")])
    watch()
    eventually(lambda: memory.names == {"c"})


@pytest.mark.parametrize("then", ["end", "cut"])
def test_goes_on_where_it_was_after_the_end(
    api: ApiServer, watch: Callable[..., Watch], memory: Memory, then: str
) -> None:
    api.watches = deque([Watched([event("ADDED", pod("c", "150"))], then), Watched(then="hang")])
    watch()
    eventually(lambda: len(api.watched()) == 2)
    assert api.watched()[1].query["resourceVersion"] == "150"
    assert len(api.listings()) == 1
    assert memory.names == {"c"}


def test_a_bookmark_moves_the_version(api: ApiServer, watch: Callable[..., Watch], memory: Memory) -> None:
    api.watches = deque([Watched([bookmark("900")]), Watched(then="hang")])
    watch()
    eventually(lambda: len(api.watched()) == 2)
    assert api.watched()[1].query["resourceVersion"] == "900"
    assert memory.names == set()


@pytest.mark.parametrize(
    "gone",
    [
        Watched([event("ERROR", status(410, "too old resource version"))]),
        Watched(code=410, body=status(410, "too old resource version")),
    ],
)
def test_gone_is_listed_anew_at_once(
    api: ApiServer, watch: Callable[..., Watch], memory: Memory, gone: Watched
) -> None:
    api.lists = deque([listed([pod("a")]), listed([pod("b")], version="200")])
    api.watches = deque([gone, Watched(then="hang")])
    watch(replace(QUICK, first_pause=30.0, longest_pause=30.0))
    eventually(lambda: memory.names == {"b"})
    eventually(lambda: len(api.watched()) == 2)
    assert api.watched()[1].query["resourceVersion"] == "200"


def test_gone_each_time_does_not_spin(api: ApiServer, watch: Callable[..., Watch]) -> None:
    api.watches = deque([Watched([event("ERROR", status(410, "too old"))])])
    watch(replace(QUICK, first_pause=0.2, longest_pause=0.2))
    time.sleep(0.5)
    assert len(api.listings()) <= 7
    eventually(lambda: len(api.listings()) >= 2)


@pytest.mark.parametrize(
    "line",
    [b"{ this is no JSON\n", b"[]\n", b'{"type": "ADDED"}\n', b'{"type": "ADDED", "object": {"metadata": 3}}\n', b"\n"],
)
def test_a_line_that_is_no_event_means_listing_anew(
    api: ApiServer, watch: Callable[..., Watch], memory: Memory, line: bytes
) -> None:
    api.watches = deque([Watched([event("ADDED", pod("c", "101")), line], "hang"), Watched(then="hang")])
    watch()
    eventually(lambda: memory.lists == 2)


def test_an_object_the_handler_cannot_read_does_not_end_it(
    api: ApiServer, watch: Callable[..., Watch], memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    memory.fail = True
    api.watches = deque(
        [Watched([event("ADDED", pod("c", "101"))]), Watched([event("ADDED", pod("d", "102"))], "hang")]
    )
    watch()
    eventually(lambda: memory.lists == 2 and memory.names == {"d"})
    assert "unexpected" in caplog.text


def test_a_silent_connection_is_given_up(api: ApiServer, watch: Callable[..., Watch]) -> None:
    api.watches = deque([Watched([bookmark("120")], "hang")])
    watch(replace(QUICK, silence=0.15))
    eventually(lambda: len(api.watched()) >= 3)
    assert api.watched()[1].query["resourceVersion"] == "120"


def test_a_break_names_what_was_watched(
    api: ApiServer, watch: Callable[..., Watch], caplog: pytest.LogCaptureFixture
) -> None:
    api.watches = deque([Watched(then="cut"), Watched(then="hang")])
    watch()
    eventually(lambda: len(api.watched()) == 2)
    (record,) = [r for r in caplog.records if r.name == "scaler.observe.watch"]
    assert f"cannot watch {PODS}" in record.getMessage()


def test_a_line_without_end_is_given_up(
    api: ApiServer, watch: Callable[..., Watch], memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scaler.kube_stream.LONGEST_LINE", 1000)
    api.watches = deque([Watched([b"x" * 2000], "hang"), Watched([event("ADDED", pod("c", "101"))], "hang")])
    watch()
    eventually(lambda: memory.names == {"c"})


def test_a_server_that_ends_each_watch_at_once_is_not_stormed(api: ApiServer, watch: Callable[..., Watch]) -> None:
    api.watches = deque([Watched()])
    watch(replace(QUICK, first_pause=0.1, longest_pause=0.2))
    time.sleep(0.6)
    assert len(api.watched()) <= 9
    eventually(lambda: len(api.watched()) >= 2)


@pytest.mark.slow
def test_contact_stands_still_while_nothing_is_heard(api: ApiServer, watch: Callable[..., Watch]) -> None:
    started = watch()
    started.settle(5.0)
    eventually(api.watched)
    api.lists = deque([(503, status(503, "no leader"))])
    api.watches = deque([Watched(code=503, body=status(503, "no leader"))])
    eventually(lambda: isinstance(started.state.error, Unreachable))
    contact = started.state.contact
    time.sleep(0.2)
    assert started.state.contact == contact
    assert "no leader" in str(started.state.error)
    api.lists, api.watches = deque([listed([])]), deque([Watched(then="hang")])
    eventually(lambda: started.state.error is None and started.state.contact > contact)


def test_a_refusal_is_told_as_such(api: ApiServer, watch: Callable[..., Watch]) -> None:
    api.lists = deque([(403, status(403, 'pods is forbidden: User "x" cannot list resource "pods"'))])
    started = watch()
    started.settle(5.0)
    assert isinstance(started.state.error, Forbidden)
    assert not started.state.synced
    assert "cannot list" in str(started.state.error)


def test_lists_anew_now_and_then(api: ApiServer, watch: Callable[..., Watch], memory: Memory) -> None:
    api.watches = deque([Watched([bookmark("120")])])
    watch(replace(QUICK, resync=0.2, first_pause=0.01))
    eventually(lambda: memory.lists >= 3)


def test_lists_anew_also_after_the_clock_was_set_back(client: KubeClient, api: ApiServer, memory: Memory) -> None:
    api.watches = deque([Watched([bookmark("120")])])
    clock, timings = Moved(), replace(QUICK, resync=0.2, first_pause=0.01)
    watch = Watch(client, PODS, memory, clock=clock, rng=random.Random(1), selector="app=chat", timings=timings)
    watch.start()
    eventually(lambda: memory.lists >= 1)
    clock.by = -3600.0
    lists = memory.lists
    eventually(lambda: memory.lists >= lists + 2)
    watch.close()


def test_a_back_off_grows_up_to_its_limit_and_can_be_cut_short(client: KubeClient, api: ApiServer) -> None:
    pauses: list[float] = []

    class Recording:
        def now(self) -> float:
            return time.time()

        def wait(self, seconds: float, stop: threading.Event) -> bool:
            pauses.append(seconds)
            return stop.wait(0.01 if len(pauses) < 8 else 30.0)

    api.lists = deque([(500, status(500, "broken"))])
    watch = Watch(client, PODS, Memory(), clock=Recording(), rng=random.Random(7), timings=Timings())
    watch.start()
    eventually(lambda: len(pauses) == 8)
    for number, pause in enumerate(pauses):
        full = min(4.0, 0.25 * 2.0**number)
        assert 0.5 * full <= pause <= full
    assert len({p / min(4.0, 0.25 * 2.0**n) for n, p in enumerate(pauses)}) == 8  # jittered
    before = len(api.listings())
    watch.hurry()
    eventually(lambda: len(api.listings()) > before)
    watch.close()
    assert not watch.alive


@pytest.mark.parametrize("then", ["hang", "end"])
def test_closes_at_once(api: ApiServer, client: KubeClient, then: str) -> None:
    api.watches = deque([Watched(then=then)])
    timings = Timings(first_pause=30.0, longest_pause=30.0)
    watch = Watch(client, PODS, Memory(), clock=SystemClock(), rng=random.Random(1), timings=timings)
    watch.start()
    eventually(api.watched)
    time.sleep(0.05)
    began = time.monotonic()
    watch.close()
    assert time.monotonic() - began < 1.0
    assert not watch.alive


def test_closes_before_it_was_started(client: KubeClient) -> None:
    watch = Watch(client, PODS, Memory(), clock=SystemClock(), rng=random.Random(1))
    watch.close()
    assert not watch.alive
