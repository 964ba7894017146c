"""Tuning: a killed study ends as an unbroken one, another's study is refused, the choice keeps its margin."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest

from scaler.clock import ManualClock, SystemClock
from simulations.errors import BadStudy
from simulations.tune import Search, Trial, choose, open_study, results, tune
from tests.simulations.tuning import study as made_up
from tests.simulations.tuning.study import BATCH

TRIALS = 3 * BATCH + 1


def url(folder: Path, name: str) -> str:
    return f"sqlite:///{folder / name}.db"


def seen(where: str) -> list[tuple[int, dict[str, Any], float, float]]:
    trials = results(open_study(where, "made-up", made_up.ABOUT))
    return [(t.number, t.values, t.attainment, t.gpu_hours) for t in trials]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, dict[str, Any], float, float]]:
    where = url(tmp_path_factory.mktemp("study"), "unbroken")
    made_up.run_study(where, TRIALS)
    return seen(where)


@pytest.mark.parametrize("killed_at", [1, BATCH + 1])
def test_a_study_that_was_killed_ends_as_an_unbroken_one(tmp_path: Path, unbroken: list[Any], killed_at: int) -> None:
    where = url(tmp_path, "killed")
    command = [sys.executable, "-m", "tests.simulations.tuning.study", where, str(TRIALS), "0.05"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == killed_at:
                process.kill()
                break
    before = seen(where)
    assert killed_at <= len(before) < TRIALS
    left = [t for t in optuna.load_study(storage=where, study_name="made-up").trials if not t.state.is_finished()]
    assert left, "the kill was to leave trials undone"
    made_up.run_study(where, TRIALS)
    assert seen(where)[: len(before)] == before
    assert seen(where) == unbroken


def test_a_kill_between_the_trials_of_a_batch_being_stored_changes_nothing(
    tmp_path: Path, unbroken: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = url(tmp_path, "torn")
    add, count = optuna.Study.add_trial, 0

    def stop_at_the_third(study: optuna.Study, trial: Any) -> None:
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt
        add(study, trial)

    with monkeypatch.context() as patched:
        patched.setattr(optuna.Study, "add_trial", stop_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            made_up.run_study(where, TRIALS)
    made_up.run_study(where, TRIALS)
    assert seen(where) == unbroken


def test_the_number_of_workers_and_a_pause_change_nothing(tmp_path: Path, unbroken: list[Any]) -> None:
    where = url(tmp_path, "wide")
    made_up.run_study(where, 2, width=4)
    made_up.run_study(where, TRIALS, width=4)
    assert seen(where) == unbroken


def test_two_processes_share_a_study(tmp_path: Path) -> None:
    where = url(tmp_path, "shared")
    open_study(where, "made-up", made_up.ABOUT)
    command = [sys.executable, "-m", "tests.simulations.tuning.study", where, str(TRIALS), "0.02"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    assert len(seen(where)) >= TRIALS


def test_a_trial_that_another_process_just_took_is_left_to_it(tmp_path: Path) -> None:
    """It runs, and its owner's name is not written yet."""
    where = url(tmp_path, "taken")
    study = open_study(where, "made-up", made_up.ABOUT)
    ran: list[dict[str, Any]] = []
    taken: list[optuna.Trial] = []

    def run(batch: Sequence[dict[str, Any]], done: Callable[[int, tuple[float, float]], None]) -> None:
        ran.extend(batch)
        if not taken:
            taken.append(open_study(where, "made-up", made_up.ABOUT).ask())
        elif len(ran) == 2:
            open_study(where, "made-up", made_up.ABOUT).tell(taken[0].number, [0.5, 1.0])
        for place, values in enumerate(batch):
            done(place, made_up.objective(values))

    tune(study, Search(made_up.SPACE, made_up.FIRST, BATCH, 7, 1, BATCH), run, SystemClock())
    assert len(ran) == BATCH - 1
    assert dict(taken[0].params) not in ran


def test_a_trial_that_another_process_took_too_and_ended_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = url(tmp_path, "ended")
    study = open_study(where, "made-up", made_up.ABOUT)
    ran: list[dict[str, Any]] = []

    def ask() -> optuna.Trial:
        asked = optuna.Study.ask(study)
        if asked.number == 1:
            open_study(where, "made-up", made_up.ABOUT).tell(asked.number, [0.5, 1.0])
        return asked

    def run(batch: Sequence[dict[str, Any]], done: Callable[[int, tuple[float, float]], None]) -> None:
        ran.extend(batch)
        for place, values in enumerate(batch):
            done(place, made_up.objective(values))

    monkeypatch.setattr(study, "ask", ask)
    tune(study, Search(made_up.SPACE, made_up.FIRST, BATCH, 7, 1, BATCH), run, ManualClock(0.0))
    assert len(ran) == BATCH - 1
    assert seen(where)[1][2:] == (0.5, 1.0)


def test_a_failed_trial_is_made_up_for(tmp_path: Path) -> None:
    where = url(tmp_path, "failed")
    study = open_study(where, "made-up", made_up.ABOUT)
    failed = optuna.trial.TrialState.FAIL
    study.add_trial(optuna.create_trial(state=failed, params=made_up.FIRST, distributions=made_up.SPACE))
    made_up.run_study(where, BATCH)
    assert len(seen(where)) == BATCH


def test_the_first_trial_is_what_stands_in_the_resource(unbroken: list[Any]) -> None:
    assert unbroken[0][1] == made_up.FIRST
    assert len({tuple(values.values()) for _, values, _, _ in unbroken}) == TRIALS


def test_the_sampler_learns(unbroken: list[Any]) -> None:
    """levelSeason is cheaper at any other value: it is tried more often once a batch is known."""
    models = [values["model"] for _, values, _, _ in unbroken[BATCH:]]
    assert models.count("levelSeason") > len(models) / 2


@pytest.mark.parametrize(
    ("field", "value"), [("version", "2.0"), ("data", "other"), ("policy", "static"), ("space", "x"), ("seed", 8)]
)
def test_a_study_for_something_else_is_refused(tmp_path: Path, field: str, value: Any) -> None:
    where = url(tmp_path, "other")
    open_study(where, "made-up", made_up.ABOUT)
    with pytest.raises(BadStudy, match=rf"study made-up was made for something else \({field}: found .*, now {value}"):
        open_study(where, "made-up", dataclasses.replace(made_up.ABOUT, **{field: value}))


def test_a_study_that_we_did_not_make_is_refused(tmp_path: Path) -> None:
    where = url(tmp_path, "foreign")
    foreign = optuna.create_study(storage=where, study_name="made-up", directions=["maximize", "minimize"])
    foreign.add_trial(optuna.create_trial(values=[1.0, 2.0]))
    with pytest.raises(BadStudy, match="was not made by `lagcast tune`"):
        open_study(where, "made-up", made_up.ABOUT)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "half.db").write_bytes(b"half a file" * 100)
    with pytest.raises(BadStudy, match=r"half.db: cannot be opened"):
        open_study(url(tmp_path, "half"), "made-up", made_up.ABOUT)


def trial(number: int, attainment: float, hours: float) -> Trial:
    return Trial(number, {}, attainment, hours, best=True)


def test_the_cheapest_with_the_margin_is_chosen() -> None:
    trials = [trial(0, 0.9901, 80.0), trial(1, 0.9921, 90.0), trial(2, 0.9921, 95.0), trial(3, 0.999, 120.0)]
    assert choose(trials, 0.99, 0.2) == trials[1]  # at most 0.8 % late
    assert choose(trials, 0.99, 0.0) == trials[0]
    assert choose(trials, 0.999, 0.0) == trials[3]
    assert choose(trials, 0.999, 0.2) is None
