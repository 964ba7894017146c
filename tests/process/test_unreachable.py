"""Nothing answers: the controller is ready, goes on ticking, and says what is missing and what to do."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.process.controller_process import TOKEN, ControllerProcess, scaler

REMEDIES = {
    "kafka": ("BrokerUnreachable", "check spec.kafka.bootstrapServers"),
    "prometheus": ("PrometheusUnreachable", "check the URL"),
    "kubernetes": ("KubernetesUnreachable", "https://127.0.0.1:9"),
}


def test_it_goes_on_ticking(missing: ControllerProcess) -> None:
    def ticks() -> float:
        return missing.metric("lagcast_tick_seconds_count") or 0.0

    before = ticks()
    missing.until(lambda: ticks() >= before + 3, "three more ticks")


@pytest.mark.parametrize("source", REMEDIES)
def test_the_status_names_the_missing_source_and_a_remedy(missing: ControllerProcess, source: str) -> None:
    reason, remedy = REMEDIES[source]
    missing.until(lambda: missing.status()[0]["inputs"][source]["reason"] == reason, f"{source} is missing")
    row = missing.status()[0]
    assert row["inputs"][source]["status"] == "error"
    assert remedy in row["inputs"][source]["detail"]
    assert reason in row["reasons"]
    assert row["current"] is None
    assert row["desired"] is None, "what was never read is not decided on"


@pytest.mark.parametrize("source", REMEDIES)
def test_the_metrics_name_the_missing_source(missing: ControllerProcess, source: str) -> None:
    missing.until(lambda: missing.metric("lagcast_reason", reason=REMEDIES[source][0]) == 1, f"{source} is missing")
    assert missing.metric("lagcast_input_status", source=source, status="error") == 1
    assert missing.metric("lagcast_input_status", source=source, status="fresh") == 0
    age = missing.metric("lagcast_input_age_seconds", source=source)
    assert age is not None
    assert math.isnan(age), "no value, so no age"
    assert missing.metric("lagcast_patches_total", outcome="Applied") == 0


def test_no_traceback_and_no_secret(missing: ControllerProcess) -> None:
    missing.until(lambda: (missing.metric("lagcast_tick_seconds_count") or 0) >= 3, "three ticks")
    seen = missing.log + missing.metrics() + str(missing.status())
    assert "Traceback" not in seen
    assert "InternalError" not in seen
    assert TOKEN not in seen


def test_the_log_says_it_once(missing: ControllerProcess) -> None:
    missing.until(lambda: (missing.metric("lagcast_tick_seconds_count") or 0) >= 3, "three ticks")
    assert missing.log.count("default/chat: TargetUnknown") <= 2, "a line when the reasons change, not at each tick"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly_within_5_s(start: Callable[..., ControllerProcess], number: int) -> None:
    running = start(scaler()).ready()
    code, took = running.stop(number)
    assert code == 0
    assert took < 5.0
    assert "Traceback" not in running.log
    assert running.log.rstrip().endswith("stopped")


def test_a_name_that_is_looked_up_without_end_does_not_hold_up_the_stop(
    start: Callable[..., ControllerProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import socket, time\n"
        "look_up = socket.getaddrinfo\n"
        "def hanging(host, *rest, **more):\n"
        "    return time.sleep(60) if host == 'hangs.example' else look_up(host, *rest, **more)\n"
        "socket.getaddrinfo = hanging\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    running = start(scaler(latency={"prometheus": "http://hangs.example:9090", "selector": 'app="chat"'})).ready()
    running.until(lambda: running.status()[0]["inputs"]["prometheus"]["status"] == "error", "it was asked")
    code, took = running.stop()
    assert code == 0
    assert took < 5.0
    assert running.log.rstrip().endswith("stopped")


def test_a_replica_that_cannot_reach_the_lease_is_a_standby_and_ends_as_soon(
    start: Callable[..., ControllerProcess],
) -> None:
    running = start(scaler(), more=["--leader-elect"]).ready()
    running.until(lambda: (running.metric("lagcast_lease_errors_total") or 0) >= 1, "it has asked for the lease")
    assert running.metric("lagcast_leader") == 0
    assert running.status()[0]["outcome"]["reason"] == "Standby"
    assert "the API server https://127.0.0.1:9 does not answer" in running.log
    code, took = running.stop(signal.SIGTERM)
    assert (code, "Traceback" in running.log) == (0, False)
    assert took < 5.0


def test_without_an_election_it_leads(missing: ControllerProcess) -> None:
    assert missing.metric("lagcast_leader") == 1


def at_warm_up(does: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is started from now on does this, too, when it warms up."""
    (folder / "sitecustomize.py").write_text(
        "import sys, time, numpy\n"
        "full = numpy.full\n"
        "def odd(*given, **more):\n"
        "    if sys._getframe(1).f_globals.get('__name__') == 'scaler.warm':\n"
        f"        {does}\n"
        "    return full(*given, **more)\n"
        "numpy.full = odd\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_a_signal_while_it_starts_is_heeded_at_once(
    start: Callable[..., ControllerProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Functions that are compiled, where no folder keeps them, take much longer than the 5 s."""
    at_warm_up("print('compiling', file=sys.stderr, flush=True); time.sleep(60)", tmp_path, monkeypatch)
    starting = start(scaler(), more=["--leader-elect"])
    starting.until(lambda: "compiling" in starting.log, "it warms up")
    code, took = starting.stop()
    assert code == 0
    assert took < 5.0
    assert "Traceback" not in starting.log
    assert "standing for Lease" not in starting.log
    assert starting.log.rstrip().endswith("stopped")


def test_a_scaler_that_cannot_be_warmed_up_with_stops_no_start(
    start: Callable[..., ControllerProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_warm_up("raise ValueError('hunter2')", tmp_path, monkeypatch)
    running = start(scaler()).ready()
    assert "warming up with PredictiveScaler default/chat failed: ValueError in " in running.log
    assert "hunter2" not in running.log
