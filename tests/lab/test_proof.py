"""The whole path on real servers: ahead of a spike that returns, safe in outages, calm before stuck consumers."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from simulations.lab.lab import Lab
from simulations.lab.measure import Measured
from simulations.lab.scenario import Scenario, ScenarioSpec

pytestmark = pytest.mark.lab

AFTER = 10.0  # s behind a spike in which its backlog still leaves
# KEDA as installed, its periods shrunk like everything else here: a tick of 2 s stands for one of 15.
PEER: Mapping[str, Any] = {"policy": "keda_lag", "options": {"time_scale": "0.1333"}}


def say(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        print(f"\n  {text}", end="", flush=True)  # noqa: T201 - the figures that this test is for


def spike(lab: Lab, folder: Path, spec: ScenarioSpec) -> tuple[Measured, list[dict[str, Any]], float]:
    """One spike under ``spec``'s policy: what became of its requests, the controller's rows, and when it began."""
    assert spec.spike is not None
    with Scenario(lab, folder, spec) as running:
        running.send()
        begins = running.next_spike()
        if begins - time.time() < 30:  # the controller is to see calm load first
            begins += spec.spike.every
        ends = begins + spec.spike.length
        rows = list(running.watch(ends + AFTER))
        assert running.runs("controller")
        assert running.end("controller") < 5.0, "SIGTERM must stop the controller within 5 s"
        return running.measured(begins, ends), rows, begins


def shown(name: str, m: Measured) -> str:
    attained = "none" if m.attainment is None else f"{m.attainment:.2%}"
    p99 = "-" if m.latency_p99 is None else f"{m.latency_p99:.2f} s"
    return f"{name}: {attained} of {m.requests} requests of the spike in time, p99 {p99}, lag up to {m.longest_lag}"


def test_replicas_are_ready_before_a_spike_that_returns_and_the_lag_rule_does_worse(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, rows, begins = spike(lab, tmp_path, ScenarioSpec(name="ahead"))
    say(capsys, shown("lagcast", ours))
    theirs, peer_rows, peer_begins = spike(lab, tmp_path, ScenarioSpec(name="behind", **PEER))
    say(capsys, shown("KEDA's lag rule", theirs))

    def ready_at(seen: list[dict[str, Any]], at: float) -> int:
        return max(r["numbers"]["ready"] for r in seen if at - 3.0 <= r["looked"] <= at)

    spec = ScenarioSpec(name="ahead")
    assert spec.spike is not None
    needed = spec.mean * spec.spike.height / spec.service_rate
    say(capsys, f"ready as the spike begins: lagcast {ready_at(rows, begins)}, KEDA {ready_at(peer_rows, peer_begins)}")
    assert ready_at(rows, begins) >= needed
    assert ours.attainment is not None
    assert ours.attainment >= 0.99
    assert theirs.attainment is not None
    assert theirs.attainment < ours.attainment


def test_outages_scale_nothing_in_and_are_over_within_two_ticks(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outage = 30.0
    spec = ScenarioSpec(name="outage", spike=None, mean=25.0, past=300.0, replicas=8, scale_in_hold=8.0)
    with Scenario(lab, tmp_path, spec) as running, collected(running) as seen:
        running.send()
        list(running.watch(time.time() + 20))
        for source, server in (
            ("kafka", lab.kafka),
            ("prometheus", lab.prometheus),
            ("kubernetes", lab.kubernetes),
        ):
            before = next(r for r in running.watch(time.time() + 10) if r["inputs"][source]["status"] == "fresh")
            server.stop()
            stopped = time.time()
            try:
                rows = list(running.watch(stopped + outage))
                metrics_say_missing(running, source)
                away = time.time()
            finally:
                server.start()
            if source == "prometheus":
                scraped(lab, spec.name)
            back = time.time()
            missing = [r for r in rows if r["inputs"][source]["status"] != "fresh"]
            assert missing, f"an outage of {source} for {outage:.0f} s was not noticed"
            noticed = missing[0]["looked"] - stopped
            # What was decided before it was noticed was decided on fresh readings.
            known = [r for r in seen if before["looked"] <= r["looked"] < missing[0]["looked"]]
            known = [r for r in known if r["inputs"][source]["status"] == "fresh"]
            held = min(r[count] for r in [before, *known] for count in ("current", "desired"))
            lowest = min(r["desired"] for r in missing if r["desired"] is not None)
            assert lowest >= held, f"scaled in while {source} was missing"
            assert replicas(running) >= held
            fresh = next(
                r["looked"] for r in running.watch(back + 30, every=0.2) if r["inputs"][source]["status"] == "fresh"
            )
            say(
                capsys,
                f"{source}: noticed after {noticed:.1f} s, replicas {held} -> {lowest},"
                f" fresh {fresh - back:.1f} s after it was back",
            )
            assert fresh - back <= 2 * spec.tick + 1.0, "two ticks, and one look"
            assert running.metric("lagcast_input_status", source=source, status="fresh") == 1
            list(running.watch(time.time() + 10))  # the others settle before the next one goes
            # The first ticks with the source back, which may come before its start is known to be complete.
            after = [r for r in seen if r["looked"] >= away]
            again = next(k for k, r in enumerate(after) if r["inputs"][source]["status"] == "fresh")
            ticks = list({r["time"]: (r["current"], r["desired"]) for r in after[again:]}.values())[:3]
            assert len(ticks) == 3, after
            assert all(desired >= current for current, desired in ticks), f"scaled in when {source} was back: {ticks}"
        assert running.runs("controller")
        assert "Traceback" not in running.log("controller")


@contextlib.contextmanager
def collected(running: Scenario) -> Iterator[list[dict[str, Any]]]:
    """The controller's rows, looked at all the while."""
    rows: list[dict[str, Any]] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            rows.extend(running.watch(time.time() + 0.1, every=0.2))  # one look

    looking = threading.Thread(target=look, name="rows", daemon=True)
    looking.start()
    try:
        yield rows
    finally:
        done.set()
        looking.join()


def metrics_say_missing(running: Scenario, source: str) -> None:
    """Wait until exactly one status of the source is set, and it is not "fresh"; a look may come within a tick."""
    until = time.time() + 5
    while True:
        said = {
            status: running.metric("lagcast_input_status", source=source, status=status)
            for status in ("fresh", "stale", "absent", "error")
        }
        if said["fresh"] == 0 and list(said.values()).count(0) == 3 and list(said.values()).count(1) == 1:
            return
        assert time.time() < until, f"the metrics say of {source}, which is away: {said}"
        time.sleep(0.2)


def scraped(lab: Lab, app: str) -> None:
    """Wait until a Prometheus that was started again has scraped the pods twice: before, it has nothing to tell."""
    since, query = time.time(), f'min(count_over_time(inference_latency_seconds_count{{app="{app}"}}[3s]))'
    while True:
        answer = requests.get(f"{lab.prometheus.url}/api/v1/query", params={"query": query}, timeout=5).json()
        if any(float(r["value"][1]) >= 2 for r in answer["data"]["result"]):
            return
        assert time.time() - since < 30, "Prometheus never scraped again"
        time.sleep(0.2)


def replicas(running: Scenario) -> int:
    """The count in the Deployment itself, as the API server has it."""
    name = running.spec.name
    return int(running.lab.kubernetes.run("get", "deployment", name, "-o", "jsonpath={.spec.replicas}").output)


def test_the_metrics_say_which_source_is_missing(lab: Lab, tmp_path: Path) -> None:
    spec = ScenarioSpec(name="missing", spike=None, past=240.0)
    with Scenario(lab, tmp_path, spec) as running:
        running.send()
        list(running.watch(time.time() + 5))
        lab.prometheus.stop()
        try:
            until = time.time() + 10
            while running.metric("lagcast_input_status", source="prometheus", status="error") != 1:
                assert time.time() < until, "the metric never said so"
                time.sleep(0.5)
            assert running.metric("lagcast_input_status", source="kafka", status="fresh") == 1
            assert running.metric("lagcast_reason", reason="PrometheusUnreachable") == 1
        finally:
            lab.prometheus.start()


def test_consumers_that_stop_committing_are_held_not_multiplied(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ScenarioSpec(name="stuck", spike=None, past=240.0, replicas=4)
    with Scenario(lab, tmp_path, spec) as running:
        running.send()
        list(running.watch(time.time() + 10))
        before = running.status()
        running.signal("runner", signal.SIGUSR1)
        rows = list(running.watch(time.time() + 40))
        said = [r for r in rows if "ConsumersNotProgressing" in r["reasons"]]
        assert said, [r["reasons"] for r in rows[-5:]]
        backlog = rows[-1]["numbers"]["backlog"]
        say(
            capsys,
            f"stuck: backlog {backlog:.0f}, replicas {before['current']} -> {rows[-1]['current']},"
            f" said after {said[0]['looked'] - rows[0]['looked']:.1f} s",
        )
        assert backlog > 100
        held = {r["desired"] for r in said}
        assert len(held) == 1, f"the count moved while nothing progressed: {held}"
        assert held.pop() <= before["current"] + 2
        running.signal("runner", signal.SIGUSR2)
        rows = list(running.watch(time.time() + 45))
        assert "ConsumersNotProgressing" not in rows[-1]["reasons"], "freed consumers are load again"
        assert rows[-1]["numbers"]["backlog"] < backlog


def test_an_event_with_numbers_is_on_the_target(lab: Lab, tmp_path: Path) -> None:
    spec = ScenarioSpec(name="event", spike=None, past=240.0, replicas=1, mean=20.0)
    with Scenario(lab, tmp_path, spec) as running:
        running.send()
        until = time.time() + 40
        while not (events := [e for e in running.events() if "->" in e["message"]]):
            assert time.time() < until, running.log("controller")
            time.sleep(1)
        assert events[0]["message"].startswith("1 -> ")
        assert "requests/s" in events[0]["message"]


def test_recommend_changes_nothing(lab: Lab, tmp_path: Path) -> None:
    spec = ScenarioSpec(name="recommend", spike=None, past=240.0, replicas=1, mean=20.0, mode="Recommend")
    with Scenario(lab, tmp_path, spec) as running:
        running.send()
        rows = list(running.watch(time.time() + 20))
        assert any(r["outcome"]["reason"] == "Recommended" for r in rows)
        assert max(r["desired"] for r in rows) > 1
        assert replicas(running) == 1
        assert not [e for e in running.events() if "->" in e["message"]]
