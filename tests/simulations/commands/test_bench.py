"""`lagcast bench`: what it refuses, what it writes, and that it goes on. The runs themselves are made up here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from simulations.commands.bench import bench
from tests.simulations.commands.conftest import document
from tests.simulations.comparing.test_bench import MadeUp

Call = Callable[..., Result]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--trace", "nowhere"), "--trace: found nowhere; allowed: azfunc_diurnal, "),
        (("--share", "1"), "--share: found 1.0; allowed: more than 0, less than 1"),
        (("--scenario", "pool", "--trace", "worldcup98"), "--scenario, --trace: found no cell of both"),
        (("--slower", "0"), "--slower"),
        (("--slower", "2", "--days", "6"), "--days 6 --slower 2: ask one of them at a time"),
        (("--slower", "2", "--report"), "--report: not with --days or --slower"),
    ],
)
def test_wrong_usage(call: Call, options: tuple[str, ...], said: str) -> None:
    result = call(bench, *options)
    assert result.exit_code == 2
    assert said in result.stderr


def test_what_is_printed_is_written_and_a_second_call_runs_nothing(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = MadeUp(10_000)
    monkeypatch.setattr("simulations.commands.bench.make_executor", lambda *given: executor)
    page = tmp_path / "docs" / "page.md"
    what = ("--scenario", "pods", "--trace", "azfunc_diurnal", "--seeds", 2, "--out", tmp_path / "out", "--write", page)
    found = document(call(bench, *what, "-o", "json"))
    assert [(cell["trace"], cell["seed"]) for cell in found["cells"]] == [("azfunc_diurnal", 0), ("azfunc_diurnal", 1)]
    assert found == json.loads((tmp_path / "out" / "bench.json").read_text())
    text = page.read_text()
    assert all(f"{value}" in text for table in found["tables"].values() for row in table for value in row.values())
    ran = len(executor.ran)
    assert ran > 0
    assert document(call(bench, *what, "-o", "json")) == found
    assert len(executor.ran) == ran


@pytest.mark.parametrize(
    ("options", "titled", "tables"),
    [
        (
            ("--days", "2"),
            "Declared 99 %, 2 scored days a trace",
            ["b", "b, days", "b, each day", "where it is not ahead"],
        ),
        (("--slower", "2"), "Declared 99 %, lead times times 2", ["g", "g, cells", "where it is not ahead"]),
        (("--share", "0.999"), "Declared 99.9 %", None),
    ],
)
def test_each_question_has_its_own_section_and_its_own_figures(
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    titled: str,
    tables: list[str] | None,
) -> None:
    monkeypatch.setattr("simulations.commands.bench.make_executor", lambda *given: MadeUp(10_000))
    monkeypatch.setattr("simulations.bench_days.scored_days", lambda trace, count: (8, 11)[:count])
    page, out = tmp_path / "page.md", tmp_path / "out"
    page.write_text("# Mine\n")
    what = ("--scenario", "pods", "--trace", "azfunc_diurnal", "--seeds", 1, "--out", out, "--write", page)
    document(call(bench, *what, "-o", "json"))
    before = page.read_text()
    result = call(bench, *what, *options, "-o", "json")
    found = document(result)
    after = page.read_text()
    assert after.startswith(before)
    assert f"## {titled}\n\nMade by `lagcast bench " in after.removeprefix(before)
    assert tables is None or list(found["tables"]) == tables
    assert len(list(out.glob("*.json"))) == 2
    assert f"figures of every run: {out / f'bench{options[0]}{options[1]}.json'}" in result.stderr
    document(call(bench, *what, *options, "-o", "json"))
    assert page.read_text() == after


def test_how_long_it_takes_is_said_at_the_start(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulations.commands.bench.make_executor", lambda *given: MadeUp(10_000))
    what = ("--scenario", "pods", "--trace", "azfunc_diurnal", "--out", tmp_path)
    # Of each seed 16 s of Lagcast, 4 s and a sweep of 16 s without forecasts, 12 s of sweeps, the bound; the past once.
    assert call(bench, *what, "--seeds", 2).stderr.startswith("about 2 minutes on 1 worker, on cores that nobody")
    assert "about" not in call(bench, *what, "--seeds", 2).stderr  # all of it is known


def test_a_page_that_is_broken_is_said_before_anything_runs(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = MadeUp(10_000)
    monkeypatch.setattr("simulations.commands.bench.make_executor", lambda *given: executor)
    page = tmp_path / "page.md"
    page.write_text("<!-- begin bench -->\n")
    result = call(bench, "--seeds", 1, "--out", tmp_path / "out", "--write", page)
    assert result.exit_code == 2
    assert "the page's section 'bench': found 1 begins and 0 ends" in result.stderr
    assert not executor.ran


def test_a_report_of_the_first_seed_of_each_cell(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr("simulations.commands.bench.make_executor", lambda *given: MadeUp(10_000))
    monkeypatch.setattr("simulations.commands.bench.write_cell", lambda result, parameters, path: asked.append(path))
    what = ("--scenario", "pods", "--trace", "azfunc_diurnal", "--seeds", 2, "--out", tmp_path, "--report")
    assert call(bench, *what).exit_code == 0
    assert asked == [tmp_path / "pods-azfunc_diurnal-9-0.html"]
