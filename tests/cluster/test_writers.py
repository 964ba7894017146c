"""Patches and Events as they go over the wire, and what happens when they are refused."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from scaler.act.events import EventLimits, EventRecorder
from scaler.act.replicas import ScaleWriter
from scaler.errors import Conflict, Forbidden, OwnedByAnother, TargetError, TargetNotFound, Unreachable
from scaler.kube import KubeClient
from scaler.observe.ports import TargetRef
from tests.cluster.api_server import ApiServer, Asked, Json, status
from tests.cluster.test_kube import APPS, CHAT, SCALE

EVENTS = "/apis/events.k8s.io/v1/namespaces/shop/events"
OWNERS = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"
SCALED_OBJECTS = "/apis/keda.sh/v1alpha1/namespaces/shop/scaledobjects"
UNTESTED = status(422, "the server rejected our request due to an error in our request", details={})


class Scales:
    """Serves one Deployment's scale; patches get the answers in turn."""

    def __init__(self, api: ApiServer, spec: Json, *patches: tuple[int, Any]) -> None:
        self.spec = spec
        self.patches = list(patches)
        self.sent: list[Asked] = []
        self.owners: tuple[int, Any] = (200, {"items": []})
        self.scaled_objects: tuple[int, Any] = (404, status(404, "the server could not find the requested resource"))
        api.answer = self.answer

    def answer(self, asked: Asked) -> tuple[int, Any]:
        if asked.path == "/apis/apps/v1":
            return 200, APPS
        if asked.path == OWNERS:
            return self.owners
        if asked.path == SCALED_OBJECTS:
            return self.scaled_objects
        assert asked.path == SCALE
        if asked.method == "GET":
            return 200, {"metadata": {"uid": "u-1"}, "spec": self.spec}
        self.sent.append(asked)
        return self.patches.pop(0)


def test_the_patch_tests_the_old_count(api: ApiServer, client: KubeClient) -> None:
    scales = Scales(api, {"replicas": 4}, (200, {}))
    ScaleWriter(client).write(CHAT, 4, 9)
    (sent,) = scales.sent
    assert sent.body == [
        {"op": "test", "path": "/spec/replicas", "value": 4},
        {"op": "replace", "path": "/spec/replicas", "value": 9},
    ]
    assert sent.headers["Content-Type"] == "application/json-patch+json"


def autoscaler(called: str, **ref: str) -> Json:
    return {"metadata": {"name": called, "namespace": "shop"}, "spec": {"scaleTargetRef": ref}}


@pytest.mark.parametrize("version", ["apps/v1", "apps/v1beta2"])
def test_a_target_of_an_autoscaler_is_not_written(api: ApiServer, client: KubeClient, version: str) -> None:
    scales = Scales(api, {"replicas": 4})
    owner = autoscaler("keda-hpa-chat", apiVersion=version, kind=CHAT.kind, name=CHAT.name)
    scales.owners = (200, {"items": [owner]})
    with pytest.raises(OwnedByAnother, match=r"keda-hpa-chat.*Recommend"):
        ScaleWriter(client).write(CHAT, 4, 9)
    assert scales.sent == []


@pytest.mark.parametrize(
    "owners",
    [
        (404, status(404, "the server could not find the requested resource")),
        (200, {"items": [autoscaler("other", apiVersion="apps/v1", kind=CHAT.kind, name="other")]}),
        (200, {"items": [autoscaler("set", apiVersion="apps/v1", kind="StatefulSet", name=CHAT.name)]}),
        (200, {"items": [autoscaler("group", apiVersion="other.io/v1", kind=CHAT.kind, name=CHAT.name)]}),
    ],
)
def test_autoscalers_of_others_are_no_concern(api: ApiServer, client: KubeClient, owners: tuple[int, Any]) -> None:
    scales = Scales(api, {"replicas": 4}, (200, {}))
    scales.owners = owners
    ScaleWriter(client).write(CHAT, 4, 9)
    assert len(scales.sent) == 1


def test_a_target_of_a_scaled_object_is_not_written_and_that_one_is_named(api: ApiServer, client: KubeClient) -> None:
    scales = Scales(api, {"replicas": 4})
    scales.scaled_objects = (200, {"items": [autoscaler("chat", name=CHAT.name)]})  # KEDA's default is a Deployment
    made = autoscaler("keda-hpa-chat", apiVersion="apps/v1", kind=CHAT.kind, name=CHAT.name)
    made["metadata"]["ownerReferences"] = [{"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "chat"}]
    scales.owners = (200, {"items": [made]})
    with pytest.raises(OwnedByAnother, match="by ScaledObject shop/chat;"):
        ScaleWriter(client).write(CHAT, 4, 9)
    assert scales.sent == []


def test_without_knowing_the_owners_nothing_is_written(api: ApiServer, client: KubeClient) -> None:
    scales = Scales(api, {"replicas": 4})
    scales.owners = (403, status(403, "forbidden"))
    with pytest.raises(Forbidden, match="HorizontalPodAutoscalers"):
        ScaleWriter(client).write(CHAT, 4, 9)
    assert scales.sent == []


def test_from_zero_the_patch_tests_that_no_count_is_there(api: ApiServer, client: KubeClient) -> None:
    scales = Scales(api, {}, (200, {}))
    ScaleWriter(client).write(CHAT, 0, 3)
    assert scales.sent[0].body == [
        {"op": "test", "path": "/spec", "value": {}},
        {"op": "add", "path": "/spec/replicas", "value": 3},
    ]


def test_from_a_zero_that_is_written_out(api: ApiServer, client: KubeClient) -> None:
    scales = Scales(api, {"replicas": 0}, (422, UNTESTED), (200, {}))
    ScaleWriter(client).write(CHAT, 0, 3)
    assert scales.sent[1].body[0] == {"op": "test", "path": "/spec/replicas", "value": 0}


@pytest.mark.parametrize("refusal", [(422, UNTESTED), (409, status(409, "the object has been modified"))])
def test_another_count_is_a_conflict_with_both_numbers(
    api: ApiServer, client: KubeClient, refusal: tuple[int, Any]
) -> None:
    Scales(api, {"replicas": 7}, refusal)
    with pytest.raises(Conflict, match="Deployment shop/chat has 7 replicas, not the 4"):
        ScaleWriter(client).write(CHAT, 4, 9)


def test_a_change_at_the_same_moment_is_a_conflict_too(api: ApiServer, client: KubeClient) -> None:
    Scales(api, {"replicas": 4}, (409, status(409, "the object has been modified")))
    with pytest.raises(Conflict, match="same moment"):
        ScaleWriter(client).write(CHAT, 4, 9)


def test_a_count_that_the_server_refuses_is_no_conflict(api: ApiServer, client: KubeClient) -> None:
    Scales(api, {"replicas": 4}, (422, status(422, "spec.replicas: must be at most 5")))
    with pytest.raises(TargetError, match=r"from 4 to 9: spec\.replicas: must be at most 5") as refused:
        ScaleWriter(client).write(CHAT, 4, 9)
    assert type(refused.value) is TargetError


@pytest.mark.parametrize(
    ("code", "error"), [(404, TargetNotFound), (429, Unreachable), (500, Unreachable), (503, Unreachable)]
)
def test_other_refusals(api: ApiServer, client: KubeClient, code: int, error: type[TargetError]) -> None:
    Scales(api, {"replicas": 4}, (code, status(code, "no", details={"name": "chat"})))
    with pytest.raises(error, match="Deployment shop/chat"):
        ScaleWriter(client).write(CHAT, 4, 9)


class EventServer:
    """Serves scales and takes Events."""

    def __init__(self, api: ApiServer) -> None:
        self.api = api
        self.code = 201
        self.series_code = 200
        self.scale_code = 200
        api.answer = self.answer

    def answer(self, asked: Asked) -> tuple[int, Any]:
        if asked.path == "/apis/apps/v1":
            return 200, APPS
        if asked.path.endswith("/scale"):
            return self.scale_code, {"metadata": {"uid": "u-1"}, "spec": {"replicas": 1}}
        assert asked.path.startswith(EVENTS)
        code = self.code if asked.method == "POST" else self.series_code
        return code, {} if code < 300 else status(code, "refused")

    def of(self, method: str) -> list[Asked]:
        return [a for a in self.api.asked if a.method == method]


@pytest.fixture
def server(api: ApiServer) -> EventServer:
    return EventServer(api)


Say = Callable[..., None]


@pytest.fixture
def recorder(client: KubeClient) -> EventRecorder:
    return EventRecorder(client, "lagcast-0", EventLimits(burst=5, refill=30.0, pause=5.0))


def say(recorder: EventRecorder, now: float, message: str = "4 -> 9", target: TargetRef = CHAT) -> None:
    recorder.event(target, "Applied", message, warning=False, now=now)


def test_an_event_is_complete(server: EventServer, recorder: EventRecorder) -> None:
    recorder.event(CHAT, "PatchFailed", "4 -> 9: 312 requests/s", warning=True, now=1_800_000_000.25)
    (sent,) = server.of("POST")
    assert sent.path == EVENTS
    name = sent.body.pop("metadata")
    assert name["namespace"] == "shop"
    assert name["name"].startswith("chat.")
    assert sent.body == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "eventTime": "2027-01-15T08:00:00.250000Z",
        "reportingController": "lagcast.io/controller",
        "reportingInstance": "lagcast-0",
        "action": "Scale",
        "reason": "PatchFailed",
        "type": "Warning",
        "note": "4 -> 9: 312 requests/s",
        "regarding": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "namespace": "shop",
            "name": "chat",
            "uid": "u-1",
        },
    }


def test_the_same_again_is_counted_on_and_the_uid_asked_once(server: EventServer, recorder: EventRecorder) -> None:
    for number in range(3):
        say(recorder, 100.0 + number)
    assert len(server.of("POST")) == 1
    assert [a.body["series"]["count"] for a in server.of("PATCH")] == [2, 3]
    assert server.of("PATCH")[0].headers["Content-Type"] == "application/merge-patch+json"
    assert len([a for a in server.of("GET") if a.path.endswith("/scale")]) == 1


def test_another_text_or_ten_minutes_make_a_new_one(server: EventServer, recorder: EventRecorder) -> None:
    say(recorder, 100.0)
    say(recorder, 101.0, "9 -> 4")
    say(recorder, 701.0)
    names = {a.body["metadata"]["name"] for a in server.of("POST")}
    assert len(names) == 3


def test_one_that_is_gone_from_the_server_is_made_anew(server: EventServer, recorder: EventRecorder) -> None:
    say(recorder, 100.0)
    server.series_code = 404
    say(recorder, 101.0)
    assert len(server.of("POST")) == 2


def test_a_burst_is_bounded_for_each_target_and_refilled(server: EventServer, recorder: EventRecorder) -> None:
    for number in range(9):
        say(recorder, 100.0, f"{number}")
    assert len(server.of("POST")) == 5
    say(recorder, 100.0, "other", TargetRef("apps/v1", "Deployment", "shop", "images"))
    assert len(server.of("POST")) == 6
    say(recorder, 131.0, "later")
    say(recorder, 131.0, "too soon")
    assert len(server.of("POST")) == 7


def test_an_outage_is_logged_once_and_does_not_slow_the_tick(
    server: EventServer, recorder: EventRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    server.code = 503
    say(recorder, 100.0, "a")
    say(recorder, 102.0, "b")  # not even tried
    say(recorder, 106.0, "c")
    assert len(server.of("POST")) == 2
    warnings = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "Deployment shop/chat" in warnings[0].getMessage()
    server.code = 201
    say(recorder, 112.0, "d")
    server.code = 503
    say(recorder, 113.0, "e")
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 2


@pytest.mark.parametrize("code", [403, 422])
def test_a_refused_event_is_dropped(server: EventServer, recorder: EventRecorder, code: int) -> None:
    server.code = code
    say(recorder, 100.0, "a")
    server.code = 201
    say(recorder, 101.0, "b")
    assert [a.body["note"] for a in server.of("POST")] == ["a", "b"]


def test_memory_is_bounded(server: EventServer, client: KubeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaler.act.events.REMEMBERED", 3)
    recorder = EventRecorder(client, "lagcast-0", EventLimits(burst=100))
    for number in range(8):
        say(recorder, 100.0, f"{number}")
    say(recorder, 100.0, "7")
    say(recorder, 100.0, "0")  # forgotten: made anew
    assert len(server.of("PATCH")) == 1
    assert len(server.of("POST")) == 9


def test_an_event_after_a_clock_that_ran_backwards(server: EventServer, recorder: EventRecorder) -> None:
    say(recorder, 100.0, "a")
    say(recorder, 50.0, "b")
    assert len(server.of("POST")) == 2


def test_an_outage_is_not_taken_for_somebody_who_puts_the_count_back(api: ApiServer, client: KubeClient) -> None:
    """Three of them within an hour would pause the scaler."""
    answers = [(503, status(503, "no")), (429, status(429, "later")), (403, status(403, "no")), (200, {"items": []})]
    api.answer = lambda asked: (200, APPS) if asked.path == "/apis/apps/v1" else answers[0]
    for _ in range(2):
        with pytest.raises(Unreachable, match="look who wrote the count of"):
            ScaleWriter(client).last_writer(CHAT)
        answers.pop(0)
    while answers:
        assert ScaleWriter(client).last_writer(CHAT) is None
        answers.pop(0)


def test_events_go_on_when_a_clock_was_set_back_after_an_outage(server: EventServer, recorder: EventRecorder) -> None:
    server.code = 503
    say(recorder, 7200.0, "a")
    server.code = 201
    say(recorder, 7204.0, "b")  # not even tried
    say(recorder, 100.0, "c")
    assert [a.body["note"] for a in server.of("POST")] == ["a", "c"]
