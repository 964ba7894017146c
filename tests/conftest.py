"""For the whole run: which tests are `slow`, and what becomes of those marked `lab`.

Lab tests need real servers; without them they are skipped, and the last line says so.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from scaler.kube import KubeClient
    from tests.cluster.api_server import ApiServer

# At its import it compiles 38 grammars, 2 s in each process, for a format (IRI) that nothing here has. jsonschema,
# which the Kubernetes client imports where it is installed, does without it.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

# Their failures are to show values, too.
pytest.register_assert_rewrite(
    "tests.observe.offset_suite", "tests.observe.latency_suite", "tests.nodepools.conformance", "forecasting.testing"
)

MISSING = pytest.StashKey[str]()  # why lab tests cannot run; empty when they can
# Whole commands, days of load, libraries' fits, processes and clusters that are started and killed: folders, files, or
# tests, where faster ones of their file see the same behaviour.
SLOW = (
    "cli/test_demo_command.py",
    "cli/test_plugin.py",
    "cli/test_shell.py",
    "explain/test_docs.py",
    "explain/test_process.py",
    "explain/test_simulated.py",
    "floors/test_overlay.py",
    "forecasting/direct/test_feedback.py",
    "forecasting/direct/test_learning.py::test_a_daily_wave_is_followed_not_held",
    "forecasting/direct/test_learning.py::test_a_long_silence_of_the_source_falls_back_to_the_newest_level",
    "forecasting/direct/test_learning.py::test_paths_scatter_as_counts_do",
    "forecasting/direct/test_learning.py::test_refit_on_what_is_kept_learns_the_updates",
    "forecasting/direct/test_learning.py::test_the_ring_forgets_and_origins_that_left_it_are_not_drawn",
    "forecasting/direct/test_learning.py::test_wild_hours_make_wide_paths_and_calm_hours_narrow_ones",
    "forecasting/direct/test_size.py",
    "forecasting/models/test_conformance.py",
    "forecasting/models/test_guard.py",
    "forecasting/models/test_own_season.py::test_weekends_are_not_weekdays",
    "forecasting/models/test_own_season.py::test_what_comes_on_some_days_of_the_week_is_foreseen_on_those",
    "forecasting/models/test_real_load_of_libraries.py",
    "forecasting/models/test_same_as_the_library.py",
    "forecasting/test_calendar_time.py::test_nine_stays_nine[1792890000.0",
    "forecasting/test_calibration.py::test_a_true_law_is_found_calibrated_gaps_left_out_and_refits_made",
    "forecasting/test_competition_strays.py::test_ranks_of_a_sound_model_are_uniform",
    "forecasting/test_competition_told.py::test_what_is_near_is_heard_whenever_the_clock_ticks",
    "forecasting/test_competition_trust.py",
    "forecasting/test_events_edges.py::test_it_has_that_part_of_the_events_size",
    "forecasting/test_periods.py::test_spikes_and_waves_of_schedules",
    "forecasting/test_periods_real_load.py",
    "forecasting/test_real_load.py",
    "forecasting/test_sparse_and_noisy_load.py",
    "lab_cli/test_lab_commands.py::test_a_missing_program_is_one_sentence",
    "lab_cli/test_lab_parts.py",
    "lab_cli/test_lab_processes.py",
    "lab_cli/test_lab_skip_line.py",
    "load/test_generator.py::test_noise_has_mean_one_and_the_dispersion_that_is_computed",
    "load/test_race.py::test_the_command_fails_where_the_simulated_keda_is_too_far",
    "manifests/test_schemas.py",
    "observe/test_kafka_process.py",
    "plan/test_lateness.py::test_a_plan_that_drains_what_it_began_with_in_time",
    "plan/test_lateness.py::test_what_is_due_while_a_backlog_that_stood_is_drained",
    "plan/test_learning_in_the_loop.py",
    "plan/test_named_models.py::test_what_comes_live_is_remembered_for_a_week_however_little_is_read_back",
    "plan/test_scenarios.py::test_steady_noisy_load_does_not_flap[service1",
    "plan/test_scenarios.py::test_steady_noisy_load_does_not_flap[service2",
    "planned/test_forecasts.py::test_it_survives_a_pickle_and_a_refit",
    "pools/test_full.py::test_an_outage_is_no_time_in_which_nothing_was_needed",
    "pools/test_full.py::test_while_nodes_boot_nobody_makes_way_for_pods_that_wait_for_them",
    "pools/test_loop.py",
    "pools/test_lost_nodes.py::test_a_device_plugin_that_starts_again_costs_nobody_a_pod",
    "pools/test_lost_nodes.py::test_a_drain_that_waits_for_its_pods_has_a_node_ordered_for_them",
    "process/",
    "refits/test_background.py::test_a_copy_that_is_fitted_elsewhere_foresees_the_same",
    "refits/test_controllers_pool.py",
    "refits/test_fit_pool.py",
    "refits/test_long_holes.py::test_a_forecast_comes_no_later_than_without_a_history",
    "refits/test_set_back.py::test_no_decision_waits_for_a_fit",
    "simulations/bound/test_whole.py::test_stopped_at_once_it_still_has_a_schedule_and_says_what_is_proven[nodes",
    "simulations/commands/",
    "simulations/comparing/test_what_a_job_depends_on.py",
    "simulations/executors/",
    "simulations/faro/test_command.py",
    "simulations/requests/test_theory.py",
    "simulations/scenarios/test_scenarios.py::test_the_reference_cells_most_replicas",
    "simulations/test_pooled_policy.py",
    "simulations/test_reference_cells.py",
    "simulations/tuning/",
)
CANNOT = "the lab cannot run: "
REQUIRED = "LAGCAST_LAB"  # "required": a lab test that cannot run fails


def why_no_lab(config: pytest.Config) -> str:
    """What must be installed for the lab tests, found out once a run; empty when nothing is missing."""
    if MISSING not in config.stash:
        try:
            from simulations.lab.lab import what_is_missing
        except ImportError as error:
            config.stash[MISSING] = f"the extra `lab` is not installed: {error}"
        else:
            config.stash[MISSING] = "; ".join(what_is_missing())
    return config.stash[MISSING]


def place(path: Path) -> str:
    """Of a file in this folder; empty for another."""
    here = Path(__file__).parent
    return str(path.relative_to(here)) if path.is_relative_to(here) else ""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import what ``-m "not lab and not slow"`` leaves out anyway: that takes each worker many seconds."""
    asked, found = str(config.option.markexpr), place(collection_path)
    if " or " in asked or "(" in asked:
        return None
    left_out = asked.split(" and ")
    starts = (("not lab", ("lab/test_",)), ("not slow", SLOW))
    return True if any(mark in left_out and found.startswith(names) for mark, names in starts) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if f"{place(item.path)}::{item.name}".startswith(SLOW):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """What was imported stays: the garbage collector need not look through it again and again (5 % of the time)."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("lab") is None:
        return
    reason = why_no_lab(item.config)
    if not reason:
        return
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(f"{REQUIRED}=required, but the lab cannot run: {reason}", pytrace=False)
    pytest.skip(f"{CANNOT}{reason}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    result = yield  # the summary line of pytest itself comes in here
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped: dict[str, list[str]] = {}  # reason -> test files
    for report in reporter.stats.get("skipped", ()) if reporter is not None else ():
        if "lab" in report.keywords:
            reason = str(report.longrepr[2]).removeprefix("Skipped: ").removeprefix(CANNOT)
            skipped.setdefault(reason, []).append(Path(report.nodeid.partition("::")[0]).name)
    for reason, files in skipped.items():
        names = ", ".join(sorted(set(files)))
        reporter.write_line(f"lab tests skipped: {len(files)} in {names} ({reason})")
    return result


@pytest.fixture
def api() -> Iterator[ApiServer]:
    """A server that speaks the API server's protocol."""
    from tests.cluster.api_server import ApiServer

    server = ApiServer()
    yield server
    server.close()


@pytest.fixture
def client(api: ApiServer, tmp_path: Path) -> Iterator[KubeClient]:
    """A client of it."""
    from scaler.kube import connect

    made = connect(api.kubeconfig(tmp_path), timeout=1.0)
    yield made
    made.close()
