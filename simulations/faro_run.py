"""One run of Faro's evaluation: ten services that share some CPUs, under any group policy of the catalog.

What the published setting leaves open is read in the artifact's own simulator, not fitted (CHOSEN): there a replica
serves its requests one after the other and is given them in turn, all of a service wait in one queue, a service begins
with one replica and changes one at a time, refusals count in the mean latency, and a request that exceeds the total is
forgotten. READINGS holds the other plausible answers, one at a time, to show how much each matters.

Left out of it: a router of 4.6 ms each way through which a service's requests and answers pass one by one (its time
without its queue is the reading "router"); a CPU that was given up stays taken for 30 to 35 s, and the same service
has it back in 3 s instead of 35.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from scaler.plan.service import Service
from simulations.faro_input import MINUTE, Jobs, arrivals, faro_folder, read_jobs
from simulations.policies.catalog import entry
from simulations.request_level.record import measures, together
from simulations.request_level.run import simulate_requests
from simulations.request_level.setting import Discipline, RequestService, RequestSetting
from simulations.service_times import Lognormal
from simulations.setting import Between, Shared

SEEDS = (24, 32, 40, 42, 62)
TOTALS = (32, 36)
WITHIN = 0.720  # s, at each request; a refused request is a miss
TICK = 10.0  # s
MOST = 100  # replicas of one service
COLD_START = 35.0  # s
SERVICE_TIME = Lognormal(0.0793, 0.0686, 0.4225)
ROUTER = 0.00459  # s that the artifact's router takes for a request, and again for its answer, on average


@dataclass(frozen=True, slots=True)
class FaroReading:
    """How the setting is understood. ``why`` says what of it the published text leaves open."""

    why: str
    discipline: Discipline = Discipline.SERIAL
    slots: int = 4
    queue_bound: int = 50
    replicas: int = 1  # of each service, at the start
    cold_start: float = COLD_START
    overhead: float = 0.0
    drops_seen: bool = True
    options: Mapping[str, str] = field(default_factory=dict)  # of the policy


CHOSEN = FaroReading(
    "1 CPU serves its 4 requests one after the other; 50 wait for the service as a whole; one replica each at the "
    "start; one change at a time; a refusal counts, at once answered, in the mean latency that the policy sees"
)
READINGS: dict[str, FaroReading] = {
    "chosen": CHOSEN,
    "sharing": replace(CHOSEN, why="the 4 requests share the CPU equally", discipline=Discipline.SHARING),
    "parallel": replace(CHOSEN, why="the 4 requests each run at full speed", discipline=Discipline.PARALLEL),
    "one-slot": replace(CHOSEN, why="a replica holds only the request that it serves", slots=1),
    "queue-52": replace(CHOSEN, why="refused when over 50 wait, beside one in the dispatcher's hand", queue_bound=52),
    "queue-by-replica": replace(CHOSEN, why="each replica has a queue of 50 of its own", slots=54, queue_bound=0),
    "router": replace(CHOSEN, why="the router's 4.6 ms there and back count in the latency", overhead=2 * ROUTER),
    "drops-unseen": replace(CHOSEN, why="the mean latency is of served requests only", drops_seen=False),
    "overlapping": replace(CHOSEN, why="one more every 30 s, whatever starts", options={"one_at_a_time": "false"}),
    "no-cold-start": replace(CHOSEN, why="a replica serves as soon as it is asked for", cold_start=0.0),
    "three-at-start": replace(CHOSEN, why="the total is split evenly at the start", replicas=3),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FaroRun:
    """What is run: a name of READINGS, and the policy with its options as on the command line."""

    policy: str
    total: int
    seed: int
    reading: str = "chosen"
    options: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        return f"{self.policy}, {self.total} CPUs, seed {self.seed}, reading {self.reading}"


@dataclass(frozen=True, slots=True)
class FaroResult:
    """What a run came to. Shares of requests; latency in s, of those served."""

    run: FaroRun
    requests: int
    missed: float  # of all requests
    missed_by_job: float  # mean of the jobs' shares
    refused: float
    mean: float
    p99: float
    replicas: float  # mean, paid from the grant
    changes: int


def faro_setting(jobs: Jobs, total: int, seed: int, reading: FaroReading = CHOSEN) -> RequestSetting:
    """The setting; what the policy is told of a service is what a user could measure of it."""
    services = tuple(
        RequestService(
            Service(
                uid=name,
                within=WITHIN,
                share=0.99,
                min_replicas=1,
                max_replicas=MOST,
                service_rate=1 / SERVICE_TIME.mean,
                service_time=SERVICE_TIME.mean,
                lead_time=reading.cold_start,
                tick=TICK,
                step=60.0,
                scale_in_hold=300.0,
            ),
            SERVICE_TIME,
            Shared(MOST),  # policies keep to the number of partitions; here is no such limit
            slots=reading.slots,
            discipline=reading.discipline,
            queue_bound=reading.queue_bound,
            overhead=reading.overhead,
            lead_time=Between(reading.cold_start, reading.cold_start),
            replicas=reading.replicas,
            window=30.0,
            drops_seen=reading.drops_seen,
        )
        for name in jobs.names
    )
    return RequestSetting(services, TICK, total, seed)


def run_faro(job: FaroRun, progress: Callable[[float], None] | None = None) -> FaroResult:
    """Run it. Raises BadSeries for the benchmark's files, ConfigError for policy and options, BadSetting."""
    jobs = read_jobs(faro_folder() / "jobs.jsonl")
    reading = READINGS[job.reading]
    setting = faro_setting(jobs, job.total, job.seed, reading)
    make = entry(job.policy).make({**reading.options, **dict(job.options)})
    policy = make([one.service for one in setting.services])
    times = arrivals(jobs, job.seed)
    # The last minute's arrivals may run into the next one: they count, so the run goes on to them.
    seconds = max([len(jobs.counts) * MINUTE, *(float(one[-1]) for one in times if len(one))])
    record = simulate_requests(setting, times, policy, seconds=seconds, progress=progress)
    pooled = together(record)
    return FaroResult(
        job,
        pooled.requests,
        pooled.missed,
        float(np.mean([m.missed for m in measures(record)])),
        pooled.refused / pooled.requests,
        pooled.mean,
        pooled.p99,
        pooled.mean_replicas,
        pooled.changes,
    )
