"""What cannot start says why in one sentence; what can be read again is."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.process.controller_process import TOKEN, ControllerProcess, kubeconfig, run_to_end, scaler


def written(folder: Path, **spec: object) -> Path:
    path = folder / "scalers.yaml"
    path.write_text(yaml.safe_dump(scaler(**spec)), encoding="utf-8")
    return path


def test_a_wrong_configuration_names_file_object_and_field(tmp_path: Path) -> None:
    path = written(tmp_path, replicas={"min": 9, "max": 4, "serviceRate": "2"})
    code, said = run_to_end("--config", str(path))
    assert code == 2
    assert str(path) in said
    assert "PredictiveScaler default/chat" in said
    assert "spec.replicas.max" in said
    assert "found 4" in said
    assert "at least min, which is 9" in said
    assert "Traceback" not in said


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    code, said = run_to_end("--config", str(tmp_path / "none.yaml"))
    assert code == 2
    assert str(tmp_path / "none.yaml") in said
    assert len(said.strip().splitlines()) == 1


def test_a_wrong_address(tmp_path: Path) -> None:
    code, said = run_to_end("--config", str(written(tmp_path)), "--listen", "8080")
    assert code == 2
    assert "write HOST:PORT" in said


def test_an_unknown_policy_lists_those_there_are(tmp_path: Path) -> None:
    code, said = run_to_end("--config", str(written(tmp_path)), "--policy", "magic")
    assert code == 2
    assert "lagcast" in said
    assert "rate_and_lag" in said


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = run_to_end(
            "--config", str(written(tmp_path)), "--kubeconfig", str(kubeconfig(tmp_path)), "--listen", address
        )
    assert code == 1
    assert said.strip().splitlines() == [
        f"Error: cannot listen on {address}: Address already in use; choose another --listen HOST:PORT"
    ]


def test_an_unreadable_kubeconfig(tmp_path: Path) -> None:
    bad = tmp_path / "kubeconfig"
    bad.write_text(f"users: [{{name: u, user: {{token: {TOKEN}}}}}\nclusters: [", encoding="utf-8")
    code, said = run_to_end("--config", str(written(tmp_path)), "--kubeconfig", str(bad), "--listen", "127.0.0.1:0")
    assert code == 1
    assert str(bad) in said
    assert "Traceback" not in said
    assert TOKEN not in said
    assert len(said.strip().splitlines()) == 1


def test_a_changed_file_is_taken_up_and_a_broken_one_keeps_what_runs(start: Callable[..., ControllerProcess]) -> None:
    running = start(scaler("one")).ready()

    def names() -> list[str]:
        return [row["name"] for row in running.status()]

    running.until(lambda: names() == ["one"], "one scaler")
    running.write(scaler("one"), scaler("two"))
    running.until(lambda: names() == ["one", "two"], "a second scaler")
    assert running.metric("lagcast_config_valid") == 1
    assert running.metric("lagcast_patches_total", name="two", outcome="Applied") == 0, "counters begin at zero"

    running.write(scaler("one"), scaler("two", mode="Whenever"))
    running.until(lambda: running.metric("lagcast_config_valid") == 0, "the broken file is refused")
    assert names() == ["one", "two"]
    assert running.metric("lagcast_config_errors_total") == 1
    assert "spec.mode" in running.log
    assert "the running configuration is kept" in running.log

    running.write(scaler("two"))
    running.until(lambda: names() == ["two"], "the mended file is taken up")
    assert running.metric("lagcast_config_valid") == 1
    assert running.metric("lagcast_desired_replicas", name="one") is None, "its series are gone with it"
    assert running.metric("lagcast_config_errors_total") == 1

    running.config.unlink()
    running.until(lambda: running.metric("lagcast_config_valid") == 0, "a file that is gone is noticed")
    assert names() == ["two"]
    code, _ = running.stop()
    assert code == 0
    assert "Traceback" not in running.log
