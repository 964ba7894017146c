"""A simulation's journal is the controller's: the same rows, explained and reported by the same commands."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from scaler.cli.explain import explain
from scaler.cli.report import report
from scaler.explain.facts import Facts
from scaler.journal_read import read
from scaler.plan.reasons import Reason
from simulations.commands.simulate import simulate
from tests.simulations.commands.conftest import RESOURCE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half an hour after two and a half of history: 10 requests/s, then 20; the journal and the run's figures."""
    made = tmp_path_factory.mktemp("simulated")
    (made / "chat.yaml").write_text(RESOURCE)
    rows = [f"{60 * k},{1200 if k % 60 >= 45 else 600}" for k in range(180)]
    (made / "chat__60s.csv").write_text("\n".join(["t_s,value", *rows]) + "\n")
    options = ["--config", made / "chat.yaml", "--score", "30m", "--journal", made / "journal.jsonl"]
    done = CliRunner().invoke(simulate, [str(a) for a in (made / "chat__60s.csv", *options, "-o", "json")])
    assert done.exit_code == 0, done.output
    assert f"journal: {made / 'journal.jsonl'}" in done.stderr
    (made / "run.json").write_text(done.stdout)
    return made


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[Facts]:
    broken: list[str] = []
    found = list(read(folder / "journal.jsonl", broken.append))
    assert broken == []
    return found


def test_changes_and_each_minute_are_noted(rows: list[Facts]) -> None:
    times = [row.decision.time for row in rows]
    assert times[0] == 9000.0
    gaps = [b - a for a, b in pairwise(times)]
    assert min(gaps) == 15.0
    assert max(gaps) == 60.0
    changed = [row for row in rows if row.decision.desired != row.decision.current]
    assert changed
    assert {row.outcome for row in changed} == {Reason.APPLIED}
    assert {row.mode for row in rows} == {"Simulated"}


def test_a_row_of_it_is_explained(folder: Path) -> None:
    asked = ["chat", "-n", "prod", "--journal", str(folder / "journal.jsonl"), "--at", "9800"]
    text = CliRunner().invoke(explain, asked)
    assert text.exit_code == 0, text.output
    assert "prod/chat (Deployment/chat, Simulated) at second 9" in text.stdout
    document = json.loads(CliRunner().invoke(explain, [*asked, "-o", "json"]).stdout)
    assert document["time"] <= 9800
    numbers = {n["name"]: n["value"] for stage in document["stages"] for n in stage["numbers"]}
    assert numbers["arrival rate"] == pytest.approx(10, rel=0.5)
    assert numbers["HPA"] == pytest.approx(5, abs=2)
    assert numbers["last week"] is None, "its history is two hours long"


def test_its_report_agrees_with_the_run_itself(folder: Path) -> None:
    (run,) = json.loads((folder / "run.json").read_text())["services"]
    shown = CliRunner().invoke(report, ["--journal", str(folder / "journal.jsonl"), "-o", "json"])
    (one,) = json.loads(shown.stdout)
    hours = one["hours"] / 0.5  # the last row is up to a minute before the end
    assert one["as_it_ran"]["replica_hours"] == pytest.approx(run["replica_hours"] * hours, rel=0.05)
    assert one["followed"]["replica_hours"] == pytest.approx(one["as_it_ran"]["replica_hours"], rel=0.05)
    assert one["as_it_ran"]["due"] == pytest.approx(run["requests"] * hours, rel=0.05)
    assert one["as_it_ran"]["attainment"] == pytest.approx(run["attainment"], abs=0.02)


def test_a_cell_of_the_benchmark_and_an_interrupted_run_leave_no_half_a_file(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text("the old one\n")
    bad = ["--scenario", "pods", "--trace", "none-such", "--journal", str(tmp_path / "journal.jsonl")]
    assert CliRunner().invoke(simulate, bad).exit_code != 0
    assert [path.name for path in tmp_path.iterdir()] == ["journal.jsonl"]
    assert (tmp_path / "journal.jsonl").read_text() == "the old one\n"
