"""Whoever changes something through the client passes the fence, twice, and the server's deadline with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from scaler.act.events import EventRecorder
from scaler.act.replicas import ScaleWriter
from scaler.errors import NotLeader
from scaler.kube import KubeClient, connect
from scaler.observe.ports import TargetRef
from tests.cluster.api_server import ApiServer, Asked, status

TARGET = TargetRef("apps/v1", "Deployment", "default", "chat")
SCALE = "/apis/apps/v1/namespaces/default/deployments/chat/scale"


@dataclass
class Gate:
    """Lets through as it is told, and notes what it was asked."""

    answers: list[bool] = field(default_factory=list)  # the last one is repeated
    asked: list[str] = field(default_factory=list)
    patience: float = 3.0

    @contextmanager
    def writing(self) -> Iterator[None]:
        self._ask("before")
        yield
        self.asked.append("after")

    def check(self) -> None:
        self._ask("content")

    def unsure(self) -> None:
        self.asked.append("unsure")

    def _ask(self, when: str) -> None:
        self.asked.append(when)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not answer:
            raise NotLeader("no")


@pytest.fixture
def api() -> Iterator[ApiServer]:
    made = ApiServer()
    made.answer = answer
    yield made
    made.close()


def answer(asked: Asked) -> tuple[int, Any]:
    if asked.path == "/apis/apps/v1":
        names = ("deployments", "deployments/scale")
        return 200, {"resources": [{"name": name, "kind": "Deployment", "namespaced": True} for name in names]}
    if asked.path.endswith("/horizontalpodautoscalers"):
        return 200, {"items": []}
    if asked.path == SCALE:
        return 200, {"metadata": {"uid": "u"}, "spec": {"replicas": 4}}
    return (201, {}) if asked.method == "POST" else (404, status(404, "not found"))


def client(api: ApiServer, tmp_path: Path, gate: Gate) -> KubeClient:
    return connect(api.kubeconfig(tmp_path)).fenced(gate, "replica-0_1234")


def changes(api: ApiServer) -> list[Asked]:
    return [asked for asked in api.asked if asked.method != "GET"]


def test_a_leader_patches_with_the_servers_deadline_and_its_name(api: ApiServer, tmp_path: Path) -> None:
    gate = Gate([True])
    ScaleWriter(client(api, tmp_path, gate)).write(TARGET, 4, 9)
    (patch,) = changes(api)
    assert (patch.method, patch.path, patch.query) == ("PATCH", SCALE, {"timeout": "3000ms"})
    assert patch.body[1] == {"op": "replace", "path": "/spec/replicas", "value": 9}
    assert patch.headers["User-Agent"] == "lagcast/replica-0_1234"
    assert gate.asked == ["before", "content", "after"]


@pytest.mark.parametrize("answers", [[False], [True, False]], ids=["before", "when only the content was left"])
def test_nobody_else_changes_anything(api: ApiServer, tmp_path: Path, answers: list[bool]) -> None:
    gate = Gate(answers)
    with pytest.raises(NotLeader):
        ScaleWriter(client(api, tmp_path, gate)).write(TARGET, 4, 9)
    time.sleep(0.1)
    assert [asked.body for asked in changes(api)] == [None] * (len(gate.asked) - 1), "no content, no change"


@pytest.mark.parametrize(
    ("code", "open_"),
    [(200, False), (409, False), (422, False), (429, False), (408, True), (500, True), (502, True), (504, True)],
)
def test_an_answer_that_does_not_say_what_became_of_it_leaves_it_open(
    api: ApiServer, tmp_path: Path, code: int, open_: bool
) -> None:
    api.answer = lambda asked: (code, status(code, "etcdserver: request timed out"))
    gate = Gate([True])
    client(api, tmp_path, gate).call("PATCH", SCALE, body={})
    assert gate.asked == ["before", "content", *["unsure"] * open_, "after"]
    gate.asked.clear()
    client(api, tmp_path, gate).call("GET", SCALE)
    assert gate.asked == [], "what is only read changes nothing"


def test_events_pass_it_too(api: ApiServer, tmp_path: Path) -> None:
    EventRecorder(client(api, tmp_path, Gate([False]))).event(TARGET, "Forecast", "4 -> 9", warning=False, now=1.7e9)
    assert changes(api) == []
    EventRecorder(client(api, tmp_path, Gate([True]))).event(TARGET, "Forecast", "4 -> 9", warning=False, now=1.7e9)
    assert [asked.method for asked in changes(api)] == ["POST"]


def test_reading_needs_no_leader(api: ApiServer, tmp_path: Path) -> None:
    gate = Gate([False])
    assert client(api, tmp_path, gate).scale("GET", TARGET).ok
    assert gate.asked == []


def test_the_plain_client_is_not_fenced(api: ApiServer, tmp_path: Path) -> None:
    plain = connect(api.kubeconfig(tmp_path))
    plain.fenced(Gate([False]))
    ScaleWriter(plain).write(TARGET, 4, 9)
    (patch,) = changes(api)
    assert patch.query == {}
    assert patch.headers["User-Agent"] == "lagcast"
