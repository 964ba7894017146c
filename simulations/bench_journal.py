"""What keeping a journal costs the controller's tick: `python -m simulations.bench_journal`.

The real controller and plan over stand-ins, in one process, under the same load, with and without a journal in turns.
CPU is counted, not time, so that a busy machine tells nearly the same. The rate is constant: what is noted is mostly
the row a minute, of all scalers in the same tick, so the mean over many ticks is what tells.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
from prometheus_client import CollectorRegistry

from scaler.act.apply import Actor
from scaler.act.finalizer import NoFinalizers
from scaler.api.predictive_scaler import PredictiveScaler
from scaler.clock import ManualClock
from scaler.controller import Controller, Row
from scaler.explain.stages import explain
from scaler.journal import Journal
from scaler.journal_rows import facts_of, noting
from scaler.observe.gather import Gatherer
from scaler.observe.histories import Histories
from scaler.observe.watched import PrometheusServer, watched
from scaler.predictive import make_policy
from scaler.standins.autoscalers import FakeFloors
from scaler.standins.broker import FakeBroker
from scaler.standins.cluster import FakeCluster
from scaler.telemetry import Telemetry

TICK = 15.0
PARTITIONS = 16


def _resource(name: str) -> PredictiveScaler:
    return PredictiveScaler.model_validate(
        {
            "apiVersion": "lagcast.io/v1alpha1",
            "kind": "PredictiveScaler",
            "metadata": {"name": name},
            "spec": {
                "target": {"name": name},
                "kafka": {"bootstrapServers": "one:9092", "topic": name, "consumerGroup": name},
                "objective": {"within": "10s", "share": "99%"},
                "replicas": {"min": 1, "max": 30, "serviceRate": "2"},
                "forecast": {"model": "none"},
            },
        }
    )


class _Bench:
    """So many scalers of one controller, each at 6 requests/s that 4 replicas serve."""

    def __init__(self, scalers: int, note: Callable[[Row], None] | None, pool: ThreadPoolExecutor) -> None:
        self._clock = ManualClock(1_800_000_000.0)
        self._broker = FakeBroker(self._clock)
        self._cluster = FakeCluster(lambda: 60.0, start=self._clock.now())
        self._names = [f"s{n}" for n in range(scalers)]
        resources = [_resource(name) for name in self._names]
        for resource in resources:
            self._broker.create_topic(resource.metadata.name, PARTITIONS)
            self._broker.join(resource.metadata.name)
            self._cluster.deploy(watched(resource).target, 4)
        self.controller = Controller(
            Gatherer(lambda _: self._broker, self._none, self._cluster, pool, Histories(pool), 60.0),
            Actor(self._cluster, self._cluster, self._cluster, FakeFloors(), NoFinalizers()),
            make_policy,
            Telemetry(CollectorRegistry()),
            self._clock,
            TICK,
            note,
        )
        self.controller.configure(resources)

    def _none(self, server: PrometheusServer) -> Any:
        raise AssertionError(server)

    def tick(self) -> float:
        """ms of CPU in one tick, the journal's thread included."""
        now = self._clock.now()
        for name in self._names:
            for partition in range(PARTITIONS):
                end = self._broker.produce(name, partition, now, 6)
                self._broker.commit(name, name, partition, end)
        self._clock.advance(TICK)
        self._cluster.advance(self._clock.now())
        begun = time.process_time()
        self.controller.tick()
        return 1000.0 * (time.process_time() - begun)


def measure(scalers: int, ticks: int, path: Path) -> dict[str, float]:
    """ms of CPU of a tick for each way of noting, and the microseconds of one row and one explanation."""
    once_a_minute, always = Journal(path), Journal(path.with_suffix(".all"))
    with ThreadPoolExecutor(4) as pool:
        ways = {
            "none": _Bench(scalers, None, pool),
            "once a minute": _Bench(scalers, noting(once_a_minute.note, TICK, 60.0), pool),
            "every tick": _Bench(scalers, noting(always.note, TICK, 0.0), pool),
        }
        for bench in ways.values():
            bench.tick()
        taken: dict[str, list[float]] = {name: [] for name in ways}
        order = list(ways)
        for _ in range(ticks):
            order = [*order[1:], order[0]]  # none has always the warmest caches
            for name in order:
                taken[name].append(ways[name].tick())
        row = next(iter(ways["none"].controller.rows.values()))
    once_a_minute.close()
    always.close()
    figures = {f"ms of a tick, journal {name}": statistics.mean(ms) for name, ms in taken.items()}
    figures["us to note a row"] = _micro(lambda: facts_of(row, TICK))
    facts = facts_of(row, TICK)
    figures["us to explain a row"] = _micro(lambda: explain(facts))
    return figures


def _micro(call: Callable[[], object], times: int = 300) -> float:
    begun = time.process_time()
    for _ in range(times):
        call()
    return 1e6 * (time.process_time() - begun) / times


@click.command()
@click.option("--scalers", default=50, show_default=True)
@click.option("--ticks", default=40, show_default=True)
def main(scalers: int, ticks: int) -> None:
    """Print the figures as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(scalers, ticks, Path(folder) / "journal.jsonl")
    click.echo(json.dumps({name: round(value, 3) for name, value in figures.items()}, indent=1))


if __name__ == "__main__":
    main()
