"""The controller's tick, with the real plan over stand-ins: what is noted, and that noting harms nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from prometheus_client import CollectorRegistry

from scaler.act.apply import Actor
from scaler.act.finalizer import NoFinalizers
from scaler.api.predictive_scaler import PredictiveScaler
from scaler.clock import ManualClock
from scaler.controller import Controller, Row
from scaler.explain.explanation import StageName
from scaler.explain.facts import Facts
from scaler.explain.stages import explain
from scaler.journal_rows import facts_of, noting
from scaler.observe.gather import Gatherer
from scaler.observe.histories import Histories
from scaler.observe.watched import watched
from scaler.plan.reasons import Reason
from scaler.predictive import make_policy
from scaler.standins.autoscalers import FakeFloors
from scaler.standins.broker import FakeBroker
from scaler.standins.cluster import FakeCluster
from scaler.telemetry import Telemetry
from tests.simulations.commands.conftest import RESOURCE

TICK = 15.0
PARTITIONS = 30


class Bench:
    """One scaler, served by 4 replicas of 2 requests/s each; requests come at a rate that the test chooses."""

    def __init__(self, note: Callable[[Row], None]) -> None:
        self.resource = PredictiveScaler.model_validate(yaml.safe_load(RESOURCE + "  mode: Enforce\n"))
        self.clock = ManualClock(1_800_000_000.0)
        self.broker = FakeBroker(self.clock)
        self.broker.create_topic("prompts", PARTITIONS)
        self.broker.join("chat")
        self.cluster = FakeCluster(lambda: 60.0, start=self.clock.now())
        self.target = watched(self.resource).target
        self.cluster.deploy(self.target, 4)
        self.pool = ThreadPoolExecutor(2)
        self.controller = Controller(
            Gatherer(lambda _: self.broker, self._none, self.cluster, self.pool, Histories(self.pool), 5.0),
            Actor(self.cluster, self.cluster, self.cluster, FakeFloors(), NoFinalizers()),
            make_policy,
            Telemetry(CollectorRegistry()),
            self.clock,
            TICK,
            note,
        )
        self.controller.configure([self.resource])

    def _none(self, url: str) -> object:
        raise AssertionError(url)

    def tick(self, rate: float) -> Row:
        """A tick's time with ``rate`` requests/s, all of them served; then the tick."""
        now = self.clock.now()
        for partition in range(PARTITIONS):
            end = self.broker.produce("prompts", partition, now, round(rate * TICK / PARTITIONS))
            self.broker.commit("chat", "prompts", partition, end)
        self.clock.advance(TICK)
        self.cluster.advance(self.clock.now())
        return next(iter(self.controller.tick().values()))


@pytest.fixture
def noted() -> list[Facts]:
    return []


@pytest.fixture
def bench(noted: list[Facts]) -> Iterator[Bench]:
    made = Bench(noting(noted.append, TICK, 60.0))
    yield made
    made.pool.shutdown()


def test_what_is_noted_is_what_the_newest_row_explains(bench: Bench, noted: list[Facts]) -> None:
    row = bench.tick(6.0)
    assert noted == [facts_of(row, TICK)]
    told = explain(noted[0])
    assert (told.namespace, told.name, told.target) == ("prod", "chat", "Deployment/chat")
    assert told.desired == row.decision.desired
    assert told.outcome is row.outcome.reason


def test_a_quiet_scaler_is_noted_once_a_minute_and_a_change_at_once(bench: Bench, noted: list[Facts]) -> None:
    for _ in range(12):
        bench.tick(6.0)
    quiet = [row.decision.time for row in noted[-2:]]
    assert quiet[1] - quiet[0] == 60.0
    before = len(noted)
    row = bench.tick(40.0)
    assert row.outcome.reason is Reason.APPLIED
    assert len(noted) == before + 1
    last = explain(noted[-1])
    numbers = {q.name: q.value for q in last.stage(StageName.LOAD).numbers}
    assert numbers["arrival rate"] == pytest.approx(40.0, rel=0.05)


def test_the_week_is_kept_with_the_scaler_and_goes_with_its_subject(bench: Bench) -> None:
    bench.tick(6.0)
    assert bench.tick(6.0).last_week is None
    bench.clock.advance(7 * 86_400.0 + 50.0)
    assert bench.tick(6.0).last_week == pytest.approx(6.0, rel=0.1)
    bench.controller.configure([bench.resource])
    assert bench.tick(6.0).last_week is not None, "the same resource keeps it"
    spec = bench.resource.spec
    other = bench.resource.model_copy(
        update={"spec": spec.model_copy(update={"kafka": spec.kafka.model_copy(update={"topic": "others"})})}
    )
    bench.controller.configure([other])
    assert bench.tick(6.0).last_week is None, "another topic's past says nothing"


def test_a_note_that_fails_leaves_the_decision_and_its_patch(caplog: pytest.LogCaptureFixture) -> None:
    def fails(row: Row) -> None:
        raise RuntimeError("hunter2")

    bench = Bench(fails)
    bench.tick(6.0)
    row = bench.tick(40.0)
    bench.pool.shutdown()
    assert row.outcome.reason is Reason.APPLIED
    assert row.decision.desired == bench.cluster.replicas(bench.target)
    assert "please report it" in caplog.text
    assert "hunter2" not in caplog.text
