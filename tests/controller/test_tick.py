"""The tick from end to end over the stand-ins: observe, decide, act, report."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from scaler.api.predictive_scaler import PredictiveScaler
from scaler.errors import Silent, Unreachable
from scaler.observe.ports import TargetRef
from scaler.observe.watched import watched
from scaler.plan.decision import GroupDecision
from scaler.plan.observation import Freshness, GroupObservation, Reading
from scaler.plan.reasons import Reason
from scaler.standins.broker import FakeBroker
from scaler.status import as_dict
from scaler.telemetry import Who
from tests.controller.tick_bench import Bench, resource


def test_enforce_patches_tells_and_counts(bench: Callable[..., Bench]) -> None:
    b = bench(chat=9)
    b.controller.configure([resource()])
    row = next(iter(b.controller.tick().values()))
    assert [(w.before, w.after) for w in b.cluster.written] == [(4, 9)]
    assert row.outcome.reason is Reason.APPLIED
    assert b.cluster.events[0].message.startswith("4 -> 9: ")
    assert "8 requests/s" in b.cluster.events[0].message
    assert b.value("lagcast_desired_replicas", name="chat") == 9
    assert b.value("lagcast_current_replicas", name="chat") == 4
    assert b.value("lagcast_patches_total", name="chat", outcome="Applied") == 1
    assert b.value("lagcast_input_status", name="chat", source="kafka", status="fresh") == 1


def test_recommend_is_the_default_and_changes_nothing(bench: Callable[..., Bench]) -> None:
    b = bench(chat=9)
    unset = resource().model_dump(by_alias=True, mode="json")
    del unset["spec"]["mode"]
    b.controller.configure([PredictiveScaler.model_validate(unset)])
    row = next(iter(b.controller.tick().values()))
    assert row.outcome.reason is Reason.RECOMMENDED
    assert b.cluster.written == []
    assert b.cluster.events == []
    assert b.value("lagcast_desired_replicas", name="chat") == 9


def test_a_count_that_stands_is_not_written_again(bench: Callable[..., Bench]) -> None:
    b = bench(chat=4)
    b.controller.configure([resource()])
    row = next(iter(b.controller.tick().values()))
    assert row.outcome.reason is Reason.UNCHANGED
    assert b.cluster.written == []


def test_somebody_else_changed_the_count_since_it_was_read(bench: Callable[..., Bench]) -> None:
    b = bench(chat=9)
    b.controller.configure([resource()])
    policy = b.policies["chat"][0]
    step = policy.step

    def meddle(now: float, observed: GroupObservation) -> GroupDecision:
        b.cluster.set_replicas(watched(resource()).target, 6)
        return step(now, observed)

    policy.step = meddle  # type: ignore[method-assign]
    row = next(iter(b.controller.tick().values()))
    assert row.outcome.reason is Reason.CONFLICT
    assert b.cluster.written == []
    assert b.value("lagcast_patches_total", name="chat", outcome="Conflict") == 1


def test_a_fault_in_one_policy_holds_that_scaler_and_leaves_the_others(
    bench: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    b = bench(bad=ValueError("hunter2"), good=9)
    b.controller.configure([resource("bad"), resource("good")])
    rows = {r.resource.metadata.name: r for r in b.controller.tick().values()}
    assert rows["bad"].decision.reason is Reason.INTERNAL_ERROR
    assert rows["bad"].decision.desired == rows["bad"].decision.current == 4
    assert rows["good"].outcome.reason is Reason.APPLIED
    assert "Traceback" not in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("fault", "source", "status", "reason"),
    [
        ("broker", "kafka", "error", "BrokerUnreachable"),
        ("topic", "kafka", "absent", "TopicNotFound"),
        ("group", "kafka", "absent", "GroupNotFound"),
        ("cluster", "kubernetes", "error", "KubernetesUnreachable"),
        ("target", "kubernetes", "absent", "TargetNotFound"),
        ("forbidden", "kubernetes", "error", "Forbidden"),
        ("scale", "kubernetes", "absent", "TargetWithoutScale"),
    ],
)
def test_a_missing_source_is_in_metrics_and_status_and_stops_nothing(
    bench: Callable[..., Bench], fault: str, source: str, status: str, reason: str
) -> None:
    b = bench(chat=9)
    target = watched(resource()).target
    if fault == "broker":
        b.broker.down = True
    elif fault == "topic":
        b.broker.delete_topic("topic-chat")
    elif fault == "group":
        b.broker = FakeBroker(b.clock)
        b.broker.create_topic("topic-chat", 4)
    elif fault == "cluster":
        b.cluster.down = True
    elif fault == "target":
        b.cluster.remove(target)
    elif fault == "forbidden":
        b.cluster.forbidden = True
    else:
        b.cluster.remove(target)
        b.cluster.add_without_scale(target)
    b.controller.configure([resource()])
    row = next(iter(b.controller.tick().values()))
    assert b.value("lagcast_input_status", name="chat", source=source, status=status) == 1
    assert b.value("lagcast_input_status", name="chat", source=source, status="fresh") == 0
    shown = as_dict(row, b.clock.now())["inputs"][source]
    assert (shown["status"], shown["reason"]) == (status, reason)
    assert len(shown["detail"]) > 10


def test_a_scaler_keeps_its_policy_unless_its_plan_changed(bench: Callable[..., Bench]) -> None:
    b = bench(chat=9)
    b.controller.configure([resource(mode="Recommend")])
    b.controller.configure([resource(mode="Enforce")])
    assert len(b.policies["chat"]) == 1
    b.controller.configure([resource(max=20)])
    assert len(b.policies["chat"]) == 2


def test_series_of_a_scaler_that_is_gone_go_away(bench: Callable[..., Bench]) -> None:
    b = bench(a=9, b=9)
    b.controller.configure([resource("a"), resource("b")])
    b.controller.tick()
    b.controller.configure([resource("b")])
    b.controller.tick()
    names = {s.labels.get("name") for m in b.telemetry.registry.collect() for s in m.samples}
    assert "a" not in names
    assert "b" in names


def test_counters_are_born_at_zero(bench: Callable[..., Bench]) -> None:
    b = bench(chat=4)
    b.controller.configure([resource()])
    assert b.value("lagcast_patches_total", name="chat", outcome="PatchFailed") == 0


def test_numbers_that_are_not_known_are_nan_not_zero(bench: Callable[..., Bench]) -> None:
    b = bench(chat=4)
    b.controller.configure([resource()])
    b.controller.tick()
    backlog = b.value("lagcast_backlog_messages", name="chat")
    assert backlog is not None
    assert math.isnan(backlog)


def test_the_loop_ticks_on_its_own_clock_until_stopped(bench: Callable[..., Bench]) -> None:
    b = bench(chat=4)
    b.controller.configure([resource()])
    stop, times = threading.Event(), []

    def before() -> None:
        times.append(b.clock.now())
        if len(times) == 4:
            stop.set()

    b.controller.run(stop, before)
    assert times == [1000.0, 1015.0, 1030.0, 1045.0]
    assert b.controller.last_tick == 1045.0


def test_a_clock_that_is_set_back_delays_no_tick(bench: Callable[..., Bench]) -> None:
    b = bench(chat=4)
    b.controller.configure([resource()])
    stop, waits = threading.Event(), []
    wait = b.clock.wait

    def measured(seconds: float, until: threading.Event) -> bool:
        waits.append(seconds)
        return wait(seconds, until)

    def before() -> None:
        if len(waits) == 2:
            b.clock._now -= 3600.0
        if len(waits) == 4:
            stop.set()

    b.clock.wait = measured  # type: ignore[method-assign]
    b.controller.run(stop, before)
    assert max(waits) <= 15.0


def test_a_policy_that_is_made_anew_is_handed_the_history_again(bench: Callable[..., Bench]) -> None:
    b = bench(chat=4)

    def told() -> bool:
        until = time.monotonic() + 5
        while not any(one.services[0].history is not None for one in b.policies["chat"][-1].seen):
            if time.monotonic() > until:
                return False
            b.controller.tick()
        return True

    b.controller.configure([resource()])
    assert told()
    b.controller.configure([resource(max=20)])
    assert told()
    handed = [one for policy in b.policies["chat"] for one in policy.seen if one.services[0].history is not None]
    assert len(handed) == 2, "once for each policy"


def test_the_age_of_a_source_that_is_away_grows(bench: Callable[..., Bench]) -> None:
    b = bench(chat=4)
    b.controller.configure([resource()])
    b.controller.tick()
    b.broker.down = True
    b.clock.advance(45.0)
    b.controller.tick()
    assert b.value("lagcast_input_age_seconds", name="chat", source="kafka") == 45.0


def test_the_age_of_what_was_never_read_is_not_known(bench: Callable[..., Bench]) -> None:
    b = bench(chat=4)
    b.broker.down = True
    b.controller.configure([resource()])
    b.controller.tick()
    age = b.value("lagcast_input_age_seconds", name="chat", source="kafka")
    assert age is not None
    assert math.isnan(age)


def test_a_source_that_is_no_longer_configured_leaves_no_series(bench: Callable[..., Bench]) -> None:
    b = bench(chat=4)
    b.controller.configure([resource()])
    seen = next(iter(b.controller.tick().values())).observed
    who = Who("default", "chat")
    b.telemetry.observed(who, replace(seen, latency=Reading(None, 1000.0, Freshness.ABSENT)), 1000.0)
    assert b.value("lagcast_input_status", name="chat", source="prometheus", status="absent") == 1
    b.telemetry.observed(who, seen, 1015.0)
    assert b.value("lagcast_input_status", name="chat", source="prometheus", status="absent") is None
    assert b.value("lagcast_input_age_seconds", name="chat", source="prometheus") is None


def test_an_api_server_that_goes_silent_is_waited_for_once_a_tick(bench: Callable[..., Bench]) -> None:
    b = bench(a=9, b=9)
    b.controller.configure([resource("a"), resource("b")])
    tried = []

    def silent(target: TargetRef, current: int, desired: int) -> None:
        tried.append(target.name)
        raise Silent("no answer within 3 s")

    b.cluster.write = silent  # type: ignore[method-assign]
    outcomes = [row.outcome.reason for row in b.controller.tick().values()]
    assert outcomes == [Reason.PATCH_FAILED] * 2
    assert tried == ["a"]
    b.clock.advance(15.0)
    b.controller.tick()
    assert tried == ["a", "a"], "the next tick tries again"


def test_an_answer_that_one_target_gets_holds_up_no_other(bench: Callable[..., Bench]) -> None:
    """As where a webhook of one namespace is down: HTTP 500, at once."""
    b = bench(a=9, b=9)
    b.controller.configure([resource("a"), resource("b")])
    write = b.cluster.write

    def refused(target: TargetRef, current: int, desired: int) -> None:
        if target.name == "a":
            raise Unreachable("failed calling webhook (HTTP 500)")
        write(target, current, desired)

    b.cluster.write = refused  # type: ignore[method-assign]
    outcomes = [row.outcome.reason for row in b.controller.tick().values()]
    assert outcomes == [Reason.PATCH_FAILED, Reason.APPLIED]


def test_beside_another_autoscaler_it_decides_and_writes_nothing(bench: Callable[..., Bench]) -> None:
    b = bench(chat=9)
    b.controller.configure([resource()])
    b.cluster.own(watched(resource()).target, "HorizontalPodAutoscaler default/chat")
    row = next(iter(b.controller.tick().values()))
    assert row.outcome.reason is Reason.OWNED_BY_ANOTHER
    assert "HorizontalPodAutoscaler default/chat" in row.outcome.detail
    assert b.cluster.written == []
    assert b.value("lagcast_patches_total", name="chat", outcome="OwnedByAnother") == 1


def test_a_stop_is_not_kept_waiting_by_the_scalers_whose_turn_has_not_come(bench: Callable[..., Bench]) -> None:
    b = bench(a=9, b=9, c=9)
    b.controller.configure([resource("a"), resource("b"), resource("c")])
    stop, write = threading.Event(), b.cluster.write

    def slow(target: TargetRef, current: int, desired: int) -> None:
        stop.set()  # the signal comes while the first patch is under way
        write(target, current, desired)

    b.cluster.write = slow  # type: ignore[method-assign]
    b.controller.run(stop)
    assert len(b.cluster.written) == 1
    assert [row.outcome.reason for row in b.controller.rows.values()] == [Reason.APPLIED]
