"""What is read from a pod's JSON."""

from __future__ import annotations

from typing import Any

import pytest

from scaler.observe.pods import (
    DELETION_COST,
    MARKED,
    leaving,
    newest_template,
    read_pod,
    trim_pod,
    unix,
    unscheduled_since,
)


def item(**more: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "uid": "u",
            "name": "chat-1",
            "creationTimestamp": "2027-01-15T08:00:00Z",
            "labels": {"pod-template-hash": "abc"},
            **more.get("metadata", {}),
        },
        "spec": more.get("spec", {"containers": [{"name": "w", "image": "w:1"}]}),
        "status": more.get("status", {"phase": "Running"}),
    }


def condition(kind: str, status: str, at: str) -> dict[str, str]:
    return {"type": kind, "status": status, "lastTransitionTime": at}


def test_a_pod_that_was_just_created() -> None:
    pod = read_pod(item(status={}))
    assert (pod.created, pod.scheduled, pod.ready) == (1_800_000_000.0, None, None)
    assert pod.counts
    assert pod.template == "abc"


def test_times_are_those_of_conditions_that_hold() -> None:
    conditions = [
        condition("PodScheduled", "True", "2027-01-15T08:00:02Z"),
        condition("Ready", "True", "2027-01-15T08:01:00Z"),
    ]
    pod = read_pod(item(status={"conditions": conditions}))
    assert (pod.scheduled, pod.ready) == (1_800_000_002.0, 1_800_000_060.0)
    conditions[1]["status"] = "False"
    assert read_pod(item(status={"conditions": conditions})).ready is None


def test_a_condition_without_a_time_is_not_a_time_of_zero() -> None:
    pod = read_pod(item(status={"conditions": [{"type": "PodScheduled", "status": "True"}]}))
    assert pod.scheduled is None


def test_a_pod_is_on_its_way_out_until_it_should_be_gone_for_a_while() -> None:
    stays = read_pod(item())
    ending = read_pod(item(metadata={"deletionTimestamp": "2027-01-15T08:01:00Z"}))  # its grace period included
    ended = read_pod(item(metadata={"deletionTimestamp": "2027-01-15T08:01:00Z"}, status={"phase": "Succeeded"}))
    end = 1_800_000_060.0
    assert leaving(end - 20.0, [stays, ending, ended]) == 1
    assert leaving(end + 30.0, [stays, ending, ended]) == 1
    assert leaving(end + 31.0, [stays, ending, ended]) == 0, "as on a node that is lost"
    assert not ending.counts


def test_a_pod_that_no_node_takes_is_told_when_a_scheduler_has_had_its_time() -> None:
    bound = condition("PodScheduled", "True", "2027-01-15T08:00:02Z")
    waits, stands = read_pod(item()), read_pod(item(status={"conditions": [bound]}))
    named = read_pod(item(spec={"nodeName": "gpu-1"}))
    created = 1_800_000_000.0
    assert unscheduled_since(created + 30.0, [waits, stands, named]) == ()
    assert unscheduled_since(created + 31.0, [waits, stands, named]) == (created,)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_is_no_replica(phase: str) -> None:
    assert not read_pod(item(status={"phase": phase})).counts


def test_a_pod_being_deleted_is_no_replica() -> None:
    pod = read_pod(item(metadata={"deletionTimestamp": "2027-01-15T08:05:00Z"}))
    assert pod.terminating
    assert not pod.counts


def test_restarts_are_seen() -> None:
    statuses = [{"restartCount": 0}, {"restartCount": 2}]
    assert read_pod(item(status={"containerStatuses": statuses})).restarted
    assert not read_pod(item(status={"containerStatuses": statuses[:1]})).restarted


def test_the_template_without_a_label_is_what_makes_the_containers() -> None:
    def template(labels: dict[str, str], **spec: Any) -> str:
        return read_pod(item(metadata={"labels": labels}, spec=spec)).template

    one = {"name": "w", "image": "w:1"}
    assert template({"controller-revision-hash": "r7"}, containers=[one]) == "r7"
    assert template({"rollouts-pod-template-hash": "5f"}, containers=[one]) == "5f"
    plain = template({}, containers=[one])
    # What the API server and the scheduler fill in is not part of the template.
    filled = {**one, "volumeMounts": [{"name": "kube-api-access-x7"}]}
    assert template({}, containers=[filled], nodeName="gpu-3") == plain
    assert template({}, containers=[{**one, "image": "w:2"}]) != plain
    assert template({}, containers=[{**one, "resources": {"limits": {"cpu": "2"}}}]) != plain
    assert template({}, containers=[one], initContainers=[one]) != plain


def test_the_newest_template_is_that_of_the_newest_pod() -> None:
    old = read_pod(item())
    new = read_pod(item(metadata={"creationTimestamp": "2027-01-15T08:00:01Z", "labels": {"pod-template-hash": "def"}}))
    assert newest_template([new, old]) == "def"
    assert newest_template([]) is None


def test_times_with_fractions_and_zones() -> None:
    assert unix("2027-01-15T08:00:00.250000Z") == 1_800_000_000.25
    assert unix("2027-01-15T09:00:00+01:00") == 1_800_000_000.0


def test_what_is_no_pod_is_refused() -> None:
    with pytest.raises((KeyError, ValueError)):
        read_pod({"metadata": {"name": "x"}})


@pytest.mark.parametrize("labels", [{"pod-template-hash": "abc"}, {"app": "chat"}, None])
def test_what_is_trimmed_is_not_read(labels: dict[str, str] | None) -> None:
    annotations = {DELETION_COST: "3", MARKED: "3", "long": "x" * 1000}
    container = {"name": "w", "image": "w:1", "env": [{"name": "PASSWORD", "value": "secret"}]}
    whole = item(
        metadata={"labels": labels, "annotations": annotations, "managedFields": ["x" * 1000]},
        spec={"containers": [container], "nodeName": "n1", "volumes": ["x" * 1000]},
        status={
            "phase": "Running",
            "conditions": [condition("PodScheduled", "True", "2027-01-15T08:00:02Z")],
            "containerStatuses": [{"restartCount": 2, "image": "x" * 1000}],
        },
    )
    trimmed = trim_pod(whole)
    assert read_pod(trimmed) == read_pod(whole)
    assert trimmed["metadata"]["labels"] == labels
    assert len(str(trimmed)) < 700
    assert ("secret" in str(trimmed)) is (labels is None or "pod-template-hash" not in labels)


def test_what_is_no_pod_cannot_be_trimmed() -> None:
    with pytest.raises(KeyError):
        trim_pod({"kind": "Pod"})
