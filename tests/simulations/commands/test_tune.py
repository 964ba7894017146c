"""`lagcast tune`: a resource that is written back, a study that survives a kill, what is refused."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import Result

from scaler.api.config import load as load_config
from simulations.commands.tune import tune
from tests.simulations.commands.conftest import document

Call = Callable[..., Result]
TRIALS = 6


@pytest.fixture
def arguments(load: Path, resource: Path) -> list[Any]:
    fields = ("--field", "replicas.scaleInHold", "--field", "forecast.model", "--field", "objective.share")
    return [load, "--config", resource, "--score", "10m", *fields, "--margin", 0, "--workers", 1, "-o", "json"]


def test_a_chosen_point_is_a_resource_that_the_controller_reads(
    call: Call, arguments: list[Any], resource: Path, tmp_path: Path
) -> None:
    result = call(tune, *arguments, "--trials", 3, "--out", tmp_path / "out")
    found = document(result)
    assert [one["trial"] for one in found["trials"]] == [0, 1, 2]
    # The first trial is the resource as it is.
    assert found["trials"][0]["objective.share"] == "99%"
    assert found["trials"][0]["replicas.scaleInHold"] == "1m"
    assert found["trials"][0]["forecast.model"] == "auto"
    (tuned,) = load_config(tmp_path / "out" / "tuned.yaml")
    (before,) = load_config(resource)
    chosen = found["trials"][found["chosen"]]
    assert str(tuned.spec.objective.share) == chosen["objective.share"]
    assert str(tuned.spec.replicas.scale_in_hold) == chosen["replicas.scaleInHold"]
    assert tuned.spec.forecast.model == chosen["forecast.model"]
    assert tuned.spec.kafka == before.spec.kafka
    fit = [one for one in found["trials"] if one["attainment"] >= 0.99]
    assert chosen["gpu_hours"] == min(one["gpu_hours"] for one in fit)
    assert (tmp_path / "out" / "tune.png").read_bytes().startswith(b"\x89PNG")


def test_a_command_that_was_killed_loses_nothing(call: Call, arguments: list[Any], tmp_path: Path) -> None:
    whole = document(call(tune, *arguments, "--trials", TRIALS, "--out", tmp_path / "whole"))
    out = tmp_path / "killed"
    script = "from simulations.commands.tune import tune; tune()"
    words = [str(a) for a in (*arguments, "--trials", TRIALS, "--out", out)]
    with subprocess.Popen([sys.executable, "-c", script, *words], stdout=subprocess.DEVNULL) as process:
        while _done(out / "tune.db") < 2:
            assert process.poll() is None, "the command ended before it could be killed"
            time.sleep(0.02)
        process.kill()
    assert 2 <= _done(out / "tune.db") < TRIALS
    resumed = document(call(tune, *arguments, "--trials", TRIALS, "--out", out))
    assert resumed == whole


def _done(database: Path) -> int:
    """How many trials are complete; 0 before the tables are there."""
    if not database.exists():
        return 0
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        (count,) = connection.execute("SELECT COUNT(*) FROM trials WHERE state = 'COMPLETE'").fetchone()
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()
    return int(count)


class Rates(BaseHTTPRequestHandler):
    """A Prometheus where 10 requests/s came at all times."""

    def do_GET(self) -> None:
        asked = {name: float(value[0].rstrip("s")) for name, value in parse_qs(urlsplit(self.path).query).items()
                 if name in ("start", "end", "step")}  # fmt: skip
        times = range(int(asked["start"]), int(asked["end"]) + 1, int(asked["step"]))
        result = [{"metric": {}, "values": [[at, "10"] for at in times]}]
        body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


def test_a_study_of_prometheus_load_goes_on_with_what_was_read(
    call: Call, arguments: list[Any], tmp_path: Path
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Rates) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = ["--from-prometheus", "--prometheus", f"http://127.0.0.1:{server.server_port}", "--query", "sum(x)"]
        run = [*source, *arguments[1:], "--out", tmp_path / "out"]
        assert len(document(call(tune, *run, "--trials", 1))["trials"]) == 1
        server.shutdown()
    resumed = call(tune, *run, "--trials", 2)
    assert len(document(resumed)["trials"]) == 2
    assert "load: as it was read before" in resumed.stderr
    run[run.index("sum(x)")] = "sum(y)"
    other = call(tune, *run, "--trials", 2)
    assert other.exit_code == 2
    assert "found the load of query sum(x), 7800 s, now query sum(y), 7800 s; choose another --out" in other.stderr


def test_a_study_of_other_data_is_refused(call: Call, arguments: list[Any], load: Path, tmp_path: Path) -> None:
    out = ("--trials", 1, "--out", tmp_path / "out")
    call(tune, *arguments, *out)
    load.write_text(load.read_text().replace(",1200", ",1100"))
    result = call(tune, *arguments, *out)
    assert result.exit_code == 1
    assert "study prod/chat was made for something else (data: found" in result.stderr
    assert "choose another --study or --storage" in result.stderr


def test_no_trial_that_keeps_the_share_is_an_error_and_the_trials_are_shown(
    call: Call, arguments: list[Any], tmp_path: Path
) -> None:
    result = call(tune, *arguments, "--service-rate", 0.1, "--trials", 1, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "no trial of 1 attained 99%" in result.stderr
    assert json.loads(result.stdout)["chosen"] is None
    assert not (tmp_path / "out" / "tuned.yaml").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--field", "replicas.mood"], "field: found replicas.mood; allowed: objective.share, replicas.scaleInHold"),
        (["--storage", "nosuch://x"], "cannot be opened"),
        (["--scenario", "pods", "--trace", "azfunc_diurnal"], "--scenario: found with `lagcast tune`"),
    ],
)
def test_wrong_usage(call: Call, arguments: list[Any], options: list[str], said: str, tmp_path: Path) -> None:
    result = call(tune, *arguments, *options, "--out", tmp_path / "out")
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert "Traceback" not in result.stderr
