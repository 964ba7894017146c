"""Which pods get a worker, and when it is taken away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from simulations.lab.pod_runner import PodFollower, read_config


class Recorder:
    """Keeps what it was told, as Workers would."""

    def __init__(self) -> None:
        self.running: set[str] = set()
        self.started: list[str] = []

    def start_pod(self, pod: str) -> None:
        if pod not in self.running:
            self.started.append(pod)
        self.running.add(pod)

    def stop_pod(self, pod: str) -> None:
        self.running.discard(pod)


def pod(name: str, *, ready: bool = True, deleted: bool = False, phase: str = "Running") -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "uid": f"uid-{name}", "creationTimestamp": "2026-01-01T00:00:00Z"}
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:01:00Z"
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-01-01T00:00:30Z"}
    return {"metadata": metadata, "status": {"phase": phase, "conditions": [condition]}}


def test_a_pod_has_a_worker_while_it_is_ready_and_not_being_deleted() -> None:
    workers = Recorder()
    follower = PodFollower(workers)
    follower.changed(pod("a", ready=False), 0.0)
    assert workers.running == set()
    follower.changed(pod("a"), 0.0)
    follower.changed(pod("a"), 0.0)
    assert workers.running == {"a"}
    follower.changed(pod("a", ready=False), 0.0)
    assert workers.running == set()
    follower.changed(pod("a"), 0.0)
    follower.changed(pod("a", deleted=True), 0.0)
    assert workers.running == set()
    assert workers.started == ["a", "a"]


def test_a_pod_that_ended_has_no_worker() -> None:
    workers = Recorder()
    PodFollower(workers).changed(pod("a", phase="Failed"), 0.0)
    assert workers.running == set()


def test_a_removed_pod_loses_its_worker_even_if_its_deletion_was_never_seen() -> None:
    workers = Recorder()
    follower = PodFollower(workers)
    follower.changed(pod("a"), 0.0)
    follower.removed(pod("a"), 0.0)
    assert workers.running == set()


def test_a_new_list_stops_what_vanished_meanwhile_and_starts_what_came() -> None:
    workers = Recorder()
    follower = PodFollower(workers)
    follower.listed([pod("a"), pod("b"), pod("c", ready=False)], 0.0)
    assert workers.running == {"a", "b"}
    follower.listed([pod("b"), pod("c"), pod("d", deleted=True)], 1.0)
    assert workers.running == {"b", "c"}
    follower.listed([], 2.0)
    assert workers.running == set()


def test_the_configuration_names_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "runner.json"
    with pytest.raises(click.ClickException, match=r"runner\.json: cannot be read"):
        read_config(path)
    path.write_text('{"app": "chat", "session": 1, "colour": "red"}')
    with pytest.raises(click.ClickException) as refused:
        read_config(path)
    for part in ("runner.json", "colour: ", "session: ", "topic: Field required", "service_time: Field required"):
        assert part in str(refused.value)
    path.write_text("{")
    with pytest.raises(click.ClickException, match="file: Invalid JSON"):
        read_config(path)
