"""`lagcast backtest`: a table, rows and a picture of models on a known load; what is wrong is said in a line."""

from __future__ import annotations

import csv
import importlib.util
import io
import re
import shlex
import threading
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from forecasting.backtest_models import MODELS, About
from forecasting.errors import NotEnoughHistory
from forecasting.forecaster import Forecaster
from simulations.commands.backtest import backtest
from tests.simulations.commands.conftest import document
from tests.simulations.commands.test_tune import Rates

Call = Callable[..., Result]
DOCS = (Path(__file__).parents[3] / "docs" / "backtesting.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line)[2:] for line in DOCS.splitlines() if line.startswith("lagcast backtest ")]
SHORT = ("--score", "1h", "--history", "10h", "--season", "1h")


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """Half a day that goes up and down each hour, in Poisson counts a minute."""
    rates = 600 * (1.5 + np.sin(2 * np.pi * np.arange(720) / 60))
    counts = np.random.default_rng(0).poisson(rates)
    path = tmp_path / "chat__60s.csv"
    path.write_text("\n".join(["t_s,value", *(f"{60 * k},{n}" for k, n in enumerate(counts))]) + "\n")
    return path


def test_rows_of_each_model_and_horizon(call: Call, day: Path, tmp_path: Path) -> None:
    result = call(backtest, day, *SHORT, "--out", tmp_path, "-o", "json")
    rows = document(result)["rows"]
    assert [(r["model"], r["horizon"]) for r in rows[:4]] == [("competition", h) for h in (60, 300, 600, 1800)]
    assert {r["model"] for r in rows} == {"competition", "direct", "level-season", "seasonal-naive", "naive"}
    by = {(r["model"], r["horizon"]): r for r in rows}
    # A wave of an hour: ten minutes ahead the newest level is wrong by half the amplitude, a model of it by its noise.
    assert by["level-season", 600]["times_naive"] < 0.6
    assert by["level-season", 600]["mase"] < 0.5
    assert by["naive", 600]["times_naive"] == 1
    assert abs(by["level-season", 600]["bias"]) < 0.1
    assert 0.5 < by["level-season", 600]["covered_0.9"] <= 1
    assert by["competition", 600]["trusted"] is not None
    assert by["naive", 600]["fit_seconds"] >= 0
    assert (tmp_path / "backtest.png").read_bytes().startswith(b"\x89PNG")
    assert "100 %" in result.stderr
    again = document(call(backtest, day, *SHORT, "--out", tmp_path, "-o", "json"))["rows"]
    assert [r["pinball"] for r in again] == [r["pinball"] for r in rows]


def test_table_and_csv(call: Call, day: Path, tmp_path: Path) -> None:
    words = (day, *SHORT, "--model", "naive", "--horizon", "5m", "--out", tmp_path)
    shown = call(backtest, *words)
    assert shown.exit_code == 0, shown.output
    assert "PINBALL" in shown.stdout
    assert re.search(r"naive +│ 5m ", shown.stdout)
    assert "origins over" in shown.stderr
    (row,) = csv.DictReader(io.StringIO(call(backtest, *words, "-o", "csv").stdout))
    assert float(row["horizon"]) == 300


def test_a_library_s_fit_is_stopped_and_said(call: Call, day: Path, tmp_path: Path) -> None:
    words = (day, *SHORT, "--model", "naive", "--model", "ets", "--horizon", "5m", "--out", tmp_path, "-o", "json")
    rows = document(call(backtest, *words))["rows"]
    assert rows[1]["model"] == "ets"
    late = call(backtest, *words, "--fit-limit", "1ms")
    assert late.exit_code == 0
    assert "ets: TimedOut" in late.stderr


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra ``models`` and Prophet are not installed."""
    there = importlib.util.find_spec
    gone = ("statsforecast", "prophet")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in gone else there(name))


@pytest.mark.usefixtures("bare")
def test_of_all_models_those_without_their_library_are_left_out(
    call: Call, day: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("competition", "direct", "ets", "sarimax", "unobserved"):  # which take their time
        monkeypatch.setitem(MODELS, name, MODELS["naive"])
    result = call(backtest, day, *SHORT, "--model", "all", "--horizon", "5m", "--out", tmp_path, "-o", "json")
    assert result.exit_code == 0, result.output
    assert {row["model"] for row in document(result)["rows"]} == set(MODELS) - {"auto-ets", "mstl", "prophet"}
    said = result.stderr.splitlines()
    assert said[:3] == [
        "left out: the model auto-ets needs statsforecast, which is not installed: pip install 'lagcast[models]'",
        "left out: the model mstl needs statsforecast, which is not installed: pip install 'lagcast[models]'",
        "left out: the model prophet needs prophet, which is not installed: pip install 'prophet'",
    ]


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("others", [("naive",), ("all",), ()])
def test_a_model_that_was_named_is_refused_at_once_without_its_library(
    others: tuple[str, ...], call: Call, day: Path, tmp_path: Path
) -> None:
    words = [word for name in (*others, "prophet") for word in ("--model", name)]
    result = call(backtest, day, *SHORT, *words, "--out", tmp_path)
    assert result.exit_code == 1
    assert "prophet needs prophet, which is not installed: pip install 'prophet'" in result.stderr
    assert "origins" not in result.stderr, "nothing was run"


def short_of_history(about: About) -> Forecaster:
    raise NotEnoughHistory("two weeks are needed")


@pytest.mark.parametrize("output", ["table", "json", "csv"])
def test_a_model_that_cannot_learn_is_a_row_without_figures(
    output: str, call: Call, day: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "direct", short_of_history)
    words = (day, *SHORT, "--model", "direct", "--model", "naive", "--horizon", "5m", "--out", tmp_path)
    result = call(backtest, *words, "-o", output)
    assert result.exit_code == 0, result.output
    assert "direct: two weeks are needed\n" in result.stderr
    assert "too long nothing came" not in result.stderr
    if output == "json":
        short, naive = document(result)["rows"]
        assert (short["model"], short["pinball"], short["fit_seconds"], short["origins"]) == ("direct", None, None, 0)
        assert naive["pinball"] > 0
    elif output == "table":
        assert re.search(r"direct +│ 5m +│ - ", result.stdout)


def test_where_no_model_can_learn_each_says_why(
    call: Call, day: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("direct", "naive"):
        monkeypatch.setitem(MODELS, name, short_of_history)
    result = call(backtest, day, *SHORT, "--model", "direct", "--model", "naive", "--out", tmp_path)
    assert result.exit_code == 2
    assert "load: direct: two weeks are needed\nload: naive: two weeks are needed\n" in result.stderr


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ((), "load: nothing is known of its last 3600 s, which are scored"),
        ((719,), "load: at no origin there is both a forecast and something known to compare it to"),
    ],
)
def test_where_nothing_can_be_scored_it_is_an_error(
    known: tuple[int, ...], said: str, call: Call, day: Path, tmp_path: Path
) -> None:
    lines = day.read_text().splitlines()
    for minute in set(range(660, 720)) - set(known):
        lines[minute + 1] = f"{60 * minute},"
    day.write_text("\n".join(lines) + "\n")
    result = call(backtest, day, *SHORT, "--model", "naive", "--horizon", "5m", "--out", tmp_path)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert not (tmp_path / "backtest.png").exists()


def test_a_log_of_requests_is_tried_in_the_steps_in_which_it_is_foreseen(
    call: Call, resource: Path, tmp_path: Path
) -> None:
    times = np.sort(np.random.default_rng(0).uniform(0, 4 * 3600, 20_000))
    log = tmp_path / "requests.csv"
    log.write_text("time\n" + "\n".join(f"{t:.3f}" for t in times.tolist()) + "\n")
    words = (
        log,
        "--score",
        "1h",
        "--history",
        "3h",
        "--model",
        "naive",
        "--horizon",
        "5m",
        "--out",
        tmp_path,
        "-o",
        "json",
    )
    assert document(call(backtest, *words))["step"] == 15
    resource.write_text(resource.read_text().replace("season: 1h", "season: 1h, step: 30s"))
    assert document(call(backtest, *words, "--config", resource))["step"] == 30
    assert document(call(backtest, *words, "--step", "5s"))["step"] == 5


def test_what_a_resource_plans_and_no_model_is_told_is_named(
    call: Call, resource: Path, day: Path, tmp_path: Path
) -> None:
    words = (day, *SHORT, "--model", "naive", "--out", tmp_path, "--config", resource)
    assert "without the resource's" not in call(backtest, *words).stderr
    text = resource.read_text()
    zone = "season: 1h, timeZone: Asia/Tokyo, holidays: [{date: 2026-05-01}]"
    resource.write_text(text.replace("season: 1h", zone))
    said = "models are tried as they learn, without the resource's forecast.timeZone, forecast.holidays\n"
    assert said in call(backtest, *words).stderr


@pytest.mark.parametrize("season", ["1m", "30s"])
def test_a_resource_s_season_that_is_not_two_steps_of_the_load_is_told_to_no_model(
    season: str, call: Call, resource: Path, day: Path, tmp_path: Path
) -> None:
    resource.write_text(resource.read_text().replace("season: 1h", f"season: {season}"))
    words = (*SHORT[:4], "--model", "level-season", "--model", "competition", "--out", tmp_path, "-o", "json")
    result = call(backtest, day, *words, "--horizon", "5m", "--config", resource)
    assert {row["model"] for row in document(result)["rows"]} == {"level-season", "competition"}
    said = f"no model is told the season, {60 if season == '1m' else 30} s: it is not two steps of 60 s\n"
    assert said in result.stderr


def test_prometheus_and_the_resource_s_season_and_lead_time(call: Call, resource: Path, tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Rates) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        words = ("--config", resource, "--from-prometheus", "--prometheus", url, "--query", "sum(x)")
        result = call(
            backtest,
            *words,
            "--score",
            "1h",
            "--history",
            "4h",
            "--model",
            "competition",
            "--out",
            tmp_path,
            "-o",
            "json",
        )
        server.shutdown()
    found = document(result)
    assert found["rows"][0]["bias"] == pytest.approx(0, abs=0.1)
    assert found["rows"][0]["trusted"] == 1  # nothing is worse than the newest level of a constant


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_commands_of_the_docs_run(words: list[str], call: Call, resource: Path, day: Path, tmp_path: Path) -> None:
    """From Kafka and Prometheus: as far as the address where nobody is; tests/lab reads a real topic."""
    given = [str(day) if word == "chat__60s.csv" else str(resource) if word == "chat.yaml" else word for word in words]
    if "--from-prometheus" in given:
        given += ["--prometheus", "http://127.0.0.1:1"]
    if "--from-kafka" in given or "--from-prometheus" in given:
        result = call(backtest, *given, "--out", tmp_path)
        assert result.exit_code == 1
        assert "127.0.0.1:1" in result.stderr
        return
    models = ["--model", "naive", "--model", "ets"] if "all" in given else []
    given = [word for word in given if models == [] or word not in ("--model", "all")]
    result = call(backtest, *given, *models, *SHORT, "--out", tmp_path)
    assert result.exit_code == 0, result.output


WRONG: dict[str, tuple[list[str], str]] = {
    "no load": ([], "load: found none; allowed: exactly one of FILE, --from-kafka, --from-prometheus"),
    "two loads": (["DAY", "--from-kafka"], "load: found FILE and --from-kafka; allowed: exactly one"),
    "no resource": (["--from-kafka"], "--config: found nothing; needed with --from-kafka"),
    "a query for a file": (["DAY", "--query", "x"], "--query: found with FILE; allowed: only with --from-prometheus"),
    "a horizon below a step": (["DAY", "--horizon", "10s"], "horizons: found 10 s; allowed: at least one step"),
    "too much scored": (
        ["DAY", "--score", "24h"],
        "load: found 720 steps of 60 s; needed: the 86400 s that are scored",
    ),
    "a finer step": (["DAY", "--step", "10s"], "--step: found 10 s; allowed: at least the load's own, 60 s"),
    "a broken season": (
        ["DAY", *SHORT[:4], "--season", "90s"],
        "--season: found 90 s; allowed: two or more whole steps",
    ),
    "an unknown model": (["DAY", "--model", "oracle"], "'oracle' is not one of"),
    "no file": (["nowhere.csv"], "nowhere.csv"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(case: str, call: Call, day: Path, tmp_path: Path) -> None:
    words, said = WRONG[case]
    result = call(backtest, *[str(day) if word == "DAY" else word for word in words], "--out", tmp_path)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert "Traceback" not in result.output
