"""Executors: results in order, the same numbers wherever they are made, failures that name their job."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from scaler.plan.service import Service
from simulations.compare import Job, Work
from simulations.errors import BadSetting
from simulations.executor import Executor, JobFailed, make_executor
from simulations.setting import Between, Load, Partitioned, ServiceSetting, Setting
from tests.simulations.executors import jobs

SEEDS = (5, 3, 11, 3, 7, 2)
NAMED = "seed {}".format


@pytest.fixture(scope="module", params=["here", "local", "ray"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    kind = request.param
    if kind == "ray" and importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed: pip install 'lagcast[ray]'")
    with make_executor("ray" if kind == "ray" else "local", 1 if kind == "here" else 2) as made:
        yield made


def test_results_come_in_order_and_do_not_depend_on_where_they_are_made(executor: Executor) -> None:
    ended: dict[int, float] = {}
    results = executor.map(jobs.Draw(1000), SEEDS, done=lambda place, result: ended.update({place: result[0]}))
    expected = [jobs.Draw(1000)(seed)[0] for seed in SEEDS]
    assert [number for number, _ in results] == expected
    assert [ended[place] for place in range(len(SEEDS))] == expected


def test_a_simulated_run_is_the_same_everywhere(executor: Executor) -> None:
    service = Service(
        uid="chat",
        within=10.0,
        share=0.99,
        min_replicas=1,
        max_replicas=20,
        service_rate=2.0,
        service_time=0.2,
        lead_time=60.0,
        tick=15.0,
        step=60.0,
        scale_in_hold=300.0,
    )
    setting = Setting((ServiceSetting(service, 2.0, 0.2, Partitioned(40), Between(30.0, 60.0), replicas=5),), seed=4)
    load = Load(0.0, np.random.default_rng(1).poisson(10 + 8 * np.sin(np.arange(900) / 150)).astype(np.float64))
    swept = (Job("hpa_rate", (("utilization", "0.8"),)), Job("rate_and_lag"), Job("lagcast_reactive"))
    outcomes = executor.map(Work(setting, (load,)), swept, name=lambda job: job.name)
    assert [repr(o) for o in outcomes] == [repr(Work(setting, (load,))(job)) for job in swept]
    assert len({o.gpu_hours for o in outcomes}) == len(swept)


def test_two_workers_take_part(executor: Executor) -> None:
    processes = {process for _, process in executor.map(jobs.Draw(10), range(12))}
    if type(executor).__name__ == "Here":
        assert processes == {os.getpid()}
    else:
        assert len(processes) == 2
        assert os.getpid() not in processes


def test_it_says_how_many_jobs_run_side_by_side(executor: Executor) -> None:
    assert executor.width == (1 if type(executor).__name__ == "Here" else 2)


def test_a_job_that_fails_is_named(executor: Executor) -> None:
    with pytest.raises(JobFailed, match=r"^seed 3: rate: found 0; allowed: more than 0 requests/s$"):
        executor.map(jobs.refuse, range(6), name=NAMED)


def test_a_fault_in_a_job_says_where_it_is(executor: Executor) -> None:
    with pytest.raises(JobFailed, match=r"^seed 0: internal error: ZeroDivisionError.*; please report it$"):
        executor.map(jobs.break_down, [1, 2, 0], name=NAMED)


def test_it_works_on_after_a_failure(executor: Executor) -> None:
    assert executor.map(jobs.refuse, [1, 2], name=NAMED) == [1, 2]


def test_what_it_starts_listens_on_loopback_only(executor: Executor) -> None:
    executor.map(jobs.refuse, [1, 2])
    started = psutil.Process().children(recursive=True)
    listening = [one.laddr for process in started for one in process.net_connections("inet") if one.status == "LISTEN"]
    assert {address.ip.removeprefix("::ffff:") for address in listening} <= {"127.0.0.1", "::1"}
    assert listening or type(executor).__name__ != "RayExecutor"


def test_no_jobs_no_results(executor: Executor) -> None:
    assert executor.map(jobs.refuse, []) == []


def test_a_worker_that_dies_is_told_and_the_next_jobs_run() -> None:
    with make_executor("local", 2) as executor:
        with pytest.raises(JobFailed, match=r"a worker process died .*jobs were not done, the first of them seed"):
            executor.map(jobs.die, range(6), name=NAMED)
        assert executor.map(jobs.die, [0, 1], name=NAMED) == [0, 1]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_process_that_started_them(tmp_path: Path, how: signal.Signals) -> None:
    files = [tmp_path / name for name in ("one", "two")]
    script = (
        "import sys\nfrom simulations.executor import make_executor\nfrom tests.simulations.executors import jobs\n"
        "if __name__ == '__main__':\n    make_executor('local', 2).map(jobs.wait_long, sys.argv[1:])\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, *map(str, files)]) as process:
        until = time.monotonic() + 60
        while not all(file.exists() and file.read_text() for file in files):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        workers = [psutil.Process(int(file.read_text())) for file in files]
        process.send_signal(how)
    _, alive = psutil.wait_procs(workers, timeout=10)
    for one in alive:
        one.kill()
    assert not alive


@pytest.mark.parametrize(
    ("kind", "workers", "address", "said"),
    [
        ("local", 0, None, "workers: found 0; allowed: at least 1"),
        ("cloud", 2, None, "executor: found 'cloud'; allowed: local, ray"),
        ("local", 2, "127.0.0.1:1", "ray address: found 127.0.0.1:1 with executor local; allowed: only with executor"),
    ],
)
def test_a_wrong_executor_is_refused(kind: str, workers: int, address: str | None, said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        make_executor(kind, workers, address)
