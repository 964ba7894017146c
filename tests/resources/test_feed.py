"""Scalers of a cluster go into the controller, and their statuses out: against a server that speaks the protocol."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from scaler.api.predictive_scaler import PredictiveScaler
from scaler.errors import ConfigError
from scaler.kube import KubeClient
from scaler.observe.watch import Timings
from scaler.plan.decision import GroupDecision, Numbers
from scaler.plan.observation import GroupObservation
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from scaler.resources.feed import ClusterScalers
from tests.cluster.api_server import ApiServer, Asked, Watched, event, listed, status
from tests.controller.tick_bench import Bench, Fixed, resource

FAST = Timings(first_pause=0.01, longest_pause=0.02, refused=0.02)


def item(name: str, *, generation: int = 1, uid: str = "", **spec: Any) -> dict[str, Any]:
    """The scaler that the bench knows under this name, as the API server hands it over."""
    made = resource(name, **spec).model_dump(by_alias=True, mode="json", exclude_none=True)
    made["metadata"] |= {"uid": uid or f"uid-{name}", "generation": generation, "namespace": "default"}
    made["metadata"] |= {"creationTimestamp": "2024-01-01T00:00:00Z", "resourceVersion": "101"}
    return made


class Moving(Fixed):
    """A policy whose arrival rate is told."""

    rate = 8.0

    def step(self, now: float, observed: GroupObservation) -> GroupDecision:
        (decision,) = super().step(now, observed).services
        return GroupDecision((replace(decision, numbers=Numbers(arrival_rate=self.rate)),))


class World:
    """A bench whose controller is fed from the server."""

    def __init__(self, api: ApiServer, client: KubeClient, *names: str) -> None:
        self.api = api
        self.bench = Bench(dict.fromkeys(names, 9))
        self.bench.controller._make_policy = self.make
        self.policies: dict[str, Moving] = {}
        self.patched: deque[Asked] = deque()
        self.refuse: Callable[[Asked], tuple[int, Any] | None] = lambda _: None
        api.answer = self.answer
        self.feed = ClusterScalers(
            client, self.bench.controller, self.make, self.bench.telemetry, self.bench.clock, 15.0, FAST
        )

    def make(self, scaler: PredictiveScaler, service: Service) -> Fixed:
        made = self.policies[scaler.metadata.name] = Moving(service.uid, 9)
        return made

    def answer(self, asked: Asked) -> tuple[int, Any]:
        refused = self.refuse(asked)
        if refused is not None:
            return refused
        self.patched.append(asked)
        return 200, {}

    def tick(self, seconds: float = 15.0) -> None:
        self.feed.before_tick()
        self.bench.controller.tick()
        self.feed.after_tick()
        self.feed._writer.settle(30.0)
        self.bench.clock.advance(seconds)

    def written(self) -> dict[str, dict[str, Any]]:
        """What was written since the last call: path's name -> status."""
        made = {asked.path.split("/")[-2]: asked.body["status"] for asked in self.patched}
        self.patched.clear()
        return made

    def until(self, is_so: Callable[[], object]) -> None:
        end = time.monotonic() + 3.0
        while not is_so():
            assert time.monotonic() < end
            time.sleep(0.005)

    def running(self) -> set[str]:
        self.feed.before_tick()
        return {row.resource.metadata.name for row in self.bench.controller.tick().values()}


@pytest.fixture
def world(api: ApiServer, client: KubeClient) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def make(*items: dict[str, Any], names: tuple[str, ...] = ("a", "b"), watched: Watched | None = None) -> World:
        api.target_lists = deque([listed(list(items))])
        api.target_watches = deque([watched or Watched(then="hang"), Watched(then="hang")])
        made.append(World(api, client, *names))
        made[-1].feed.take_over()
        return made[-1]

    yield make
    for one in made:
        one.feed.close()


def condition(said: dict[str, Any], kind: str) -> dict[str, Any]:
    (one,) = [c for c in said["conditions"] if c["type"] == kind]
    return dict(one)


def test_all_namespaces_are_watched_and_what_is_declared_is_run(world: Callable[..., World], api: ApiServer) -> None:
    w = world(item("a"), item("b"))
    assert w.running() == {"a", "b"}
    asked = [a for a in api.asked if not a.query.get("watch")]
    kinds = ("predictivescalers", "gpunodepools")
    assert {a.path for a in asked} == {f"/apis/lagcast.io/v1alpha1/{kind}" for kind in kinds}
    w.until(lambda: [a for a in api.asked if a.query.get("allowWatchBookmarks") == "true"])
    assert w.feed.missing is None


def test_one_that_is_made_or_deleted_later_is_taken_up(world: Callable[..., World]) -> None:
    lines = [event("ADDED", item("b")), event("DELETED", item("a"))]
    w = world(item("a"), watched=Watched(lines, then="hang"))
    w.until(lambda: w.running() == {"b"})
    assert w.bench.telemetry.config_ok._value.get() == 1


def test_the_status_goes_to_the_status_and_names_the_object(world: Callable[..., World]) -> None:
    w = world(item("a", generation=7))
    w.tick()
    (asked,) = w.patched
    assert asked.method == "PATCH"
    assert asked.path == "/apis/lagcast.io/v1alpha1/namespaces/default/predictivescalers/a/status"
    assert asked.headers["Content-Type"] == "application/merge-patch+json"
    assert asked.body["metadata"] == {"uid": "uid-a"}
    said = w.written()["a"]
    assert (said["observedGeneration"], said["currentReplicas"], said["desiredReplicas"]) == (7, 4, 9)
    assert condition(said, "Ready")["status"] == "True"
    assert condition(said, "Ready")["observedGeneration"] == 7


def test_an_unchanged_status_is_not_written_again_and_numbers_once_a_minute(world: Callable[..., World]) -> None:
    w = world(item("a", mode="Recommend"))
    counts = []
    for tick in range(12):
        w.policies["a"].rate = 8.0 + 10 * tick
        w.tick()
        counts.append(len(w.written()))
    assert sum(counts) == 3, counts  # at once, and after 60 s and 120 s
    assert counts[0] == 1


def test_a_new_desired_count_is_written_at_once(world: Callable[..., World]) -> None:
    w = world(item("a", mode="Recommend"))
    w.tick()
    w.written()
    w.policies["a"].wanted = 12
    w.tick()
    assert w.written()["a"]["desiredReplicas"] == 12


def test_what_stands_on_the_server_is_what_the_first_status_follows(world: Callable[..., World]) -> None:
    w = world(item("a", mode="Recommend"))
    w.tick()
    before = {k: v for k, v in w.written()["a"].items() if v is not None}
    again = world({**item("a", mode="Recommend"), "status": before})
    again.bench.clock.advance(600)
    again.tick()
    assert again.written() == {}, "a restart of the controller rewrites nothing that is still so"


def test_what_could_not_be_written_is_written_later_and_said_once(
    world: Callable[..., World], caplog: pytest.LogCaptureFixture
) -> None:
    w = world(item("a"))
    w.refuse = lambda _: (403, status(403, "predictivescalers/status is forbidden"))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            w.tick()
    assert [r.message for r in caplog.records if "forbidden" in r.message] == [
        "cannot write the status of PredictiveScaler default/a: predictivescalers/status is forbidden; "
        "grant it to the controller's role"
    ]
    w.refuse = lambda _: None
    w.tick()
    assert w.written().keys() == {"a"}


def test_one_status_that_is_refused_stops_no_other(world: Callable[..., World]) -> None:
    w = world(item("a"), item("b"))
    w.refuse = lambda asked: (422, status(422, "no")) if "/a/" in asked.path else None
    w.tick()
    assert w.written().keys() == {"b"}


def test_refused_ones_stop_no_other_and_say_so(world: Callable[..., World], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        w = world({**item("a"), "spec": {}}, item("b"))
        w.tick()
        w.tick()
    said = w.written()
    assert condition(said["a"], "Ready")["reason"] == "InvalidSpec"
    assert said["a"]["reason"] == "InvalidSpec"
    assert said["b"]["desiredReplicas"] == 9
    assert len([r for r in caplog.records if "default/a is not run: InvalidSpec" in r.message]) == 1
    assert w.bench.telemetry.config_ok._value.get() == 0
    assert w.bench.telemetry.config_errors._value.get() == 1


@pytest.mark.parametrize(
    ("error", "text"),
    [(ConfigError("policy x: no batches"), "policy x: no batches"), (ValueError("hunter2"), "ValueError")],
)
def test_one_that_the_policy_refuses_stops_no_other(
    world: Callable[..., World], error: Exception, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = World.make

    def refuse(self: World, scaler: PredictiveScaler, service: Service) -> Fixed:
        if scaler.metadata.name == "a":
            raise error
        return make(self, scaler, service)

    monkeypatch.setattr(World, "make", refuse)
    w = world(item("a"), item("b"))
    w.tick()
    said = w.written()
    assert condition(said["a"], "Ready")["reason"] == "PolicyRefused"
    assert condition(said["a"], "Ready")["message"].startswith(text)
    assert "hunter2" not in str(said)
    assert said["b"]["desiredReplicas"] == 9


def test_a_paused_one_is_decided_and_nothing_is_changed(world: Callable[..., World]) -> None:
    paused = item("a")
    paused["metadata"]["annotations"] = {"lagcast.io/paused": "true"}
    w = world(paused)
    w.tick()
    said = w.written()["a"]
    assert (said["desiredReplicas"], condition(said, "Paused")["status"]) == (9, "True")
    assert w.bench.cluster.written == []
    assert [row.outcome.reason for row in w.bench.controller.rows.values()] == [Reason.PAUSED]


def test_definitions_that_are_missing_are_said_and_waited_for(
    world: Callable[..., World], api: ApiServer, client: KubeClient
) -> None:
    api.target_lists = deque([(404, status(404, "the server could not find the requested resource"))])
    w = World(api, client, "a")
    try:
        assert w.feed.take_over() == ()
        assert w.feed.missing is not None
        assert "lagcast crd | kubectl apply" in w.feed.missing
        w.tick()
        api.target_lists = deque([listed([item("a")])])
        w.until(lambda: w.running() == {"a"})
        assert w.feed.missing is None
    finally:
        w.feed.close()


def test_an_api_server_that_is_away_takes_no_scaler_away(world: Callable[..., World], api: ApiServer) -> None:
    api.target_watches = deque([Watched(then="cut")])
    w = world(item("a"), watched=Watched(then="cut"))
    api.target_lists = deque([(500, status(500, "etcd is away"))])
    for _ in range(5):
        time.sleep(0.02)
        assert w.running() == {"a"}


def test_only_a_leader_writes_statuses_and_a_new_one_goes_on_from_what_stands(world: Callable[..., World]) -> None:
    w = world(item("a"))
    w.bench.controller._leads = lambda: False
    w.tick()
    assert w.written() == {}
    since = {"lastScaleTime": "2024-05-05T05:05:05Z", "reason": "Forecast"}
    w.feed._store.changed(item("a") | {"status": since}, 1.0)  # the leader of then wrote it
    w.bench.controller._leads = lambda: True
    w.bench.cluster.written.clear()
    w.bench.wanted["a"] = 4
    w.policies["a"].wanted = 4  # nothing to scale
    w.tick()
    assert w.written()["a"]["lastScaleTime"] == "2024-05-05T05:05:05Z"


def test_one_that_waits_for_its_floor_is_let_go(world: Callable[..., World]) -> None:
    going = item("a", mode="Floor")
    going["metadata"] |= {"finalizers": ["lagcast.io/floor"], "deletionTimestamp": "2024-01-02T00:00:00Z"}
    w = world(going, item("b"))
    path = "/apis/lagcast.io/v1alpha1/namespaces/default/predictivescalers/a"
    w.refuse = lambda asked: (200, going) if (asked.method, asked.path) == ("GET", path) else None
    w.tick()
    looked = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
    asked = [a for a in w.patched if a.path in (looked, path)]
    assert [(a.method, a.path) for a in asked] == [("GET", looked), ("PATCH", path)], "its floor first"
    assert asked[1].body == [
        {"op": "test", "path": "/metadata/uid", "value": "uid-a"},
        {"op": "test", "path": "/metadata/finalizers", "value": ["lagcast.io/floor"]},
        {"op": "remove", "path": "/metadata/finalizers"},
    ]


def test_a_status_that_cannot_be_written_keeps_no_other_from_it_and_is_tried_again(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    w = world(item("a"), item("b"))
    put = w.feed._writer._put

    def broken(place: Any, made: Any) -> None:
        if place.name == "a":
            raise ValueError("hunter2")
        put(place, made)

    monkeypatch.setattr(w.feed._writer, "_put", broken)
    w.tick()
    assert w.written().keys() == {"b"}
    w.tick()
    assert "the status of PredictiveScaler a cannot be written: ValueError in " in caplog.text
    assert "hunter2" not in caplog.text
    monkeypatch.setattr(w.feed._writer, "_put", put)
    w.tick()
    assert "a" in w.written()


def test_a_batch_that_ended_in_a_fault_of_ours_is_not_waited_for_for_ever(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    w = world(item("a"))
    with monkeypatch.context() as patched:
        patched.setattr(w.feed._writer, "_write", lambda batch, now: 1 / 0)
        w.tick()
    with pytest.raises(ZeroDivisionError):
        w.tick()
    w.tick()
    assert "a" in w.written()


def test_a_status_that_cannot_be_made_takes_no_others_away(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    w = world(item("a"), item("b"))
    make = w.feed._of

    def broken(row: Any, now: float) -> Any:
        if row.resource.metadata.name == "a":
            raise ValueError("hunter2")
        return make(row, now)

    monkeypatch.setattr(w.feed, "_of", broken)
    w.tick()
    assert w.written().keys() == {"b"}
    assert "hunter2" not in caplog.text


def test_what_pools_raised_and_cannot_be_put_back_keeps_no_status(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    w = world(item("a"))
    monkeypatch.setattr(w.feed._pools, "finish", lambda: 1 / 0)
    w.tick()
    assert "a" in w.written()


def test_what_could_not_be_taken_over_is_tried_again_and_lets_it_start(
    world: Callable[..., World], api: ApiServer, client: KubeClient, caplog: pytest.LogCaptureFixture
) -> None:
    api.target_lists = deque([listed([item("a")])])
    w = World(api, client, "a")
    configure = w.bench.controller.configure
    try:
        w.bench.controller.configure = lambda *_: 1 / 0  # type: ignore[method-assign]
        assert w.feed.take_over() == ()
        assert "taking the scalers over failed: ZeroDivisionError" in caplog.text
        w.bench.controller.configure = configure  # type: ignore[method-assign]
        assert w.running() == {"a"}, "though nothing has changed since"
    finally:
        w.feed.close()


def test_scalers_are_not_lost_where_the_pools_could_not_be_taken(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    w = world(item("a"))
    w.feed._store.changed(item("b"), 1.0)
    with monkeypatch.context() as patched:
        patched.setattr(w.feed._pools, "take", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            w.feed.before_tick()
    assert w.running() == {"a", "b"}, "though nothing has changed since"
