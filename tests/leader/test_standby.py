"""A replica that does not lead observes, learns and decides, and changes nothing; it takes over with what it knows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scaler.controller import Row
from scaler.errors import NotLeader
from scaler.plan.reasons import Reason
from tests.controller.tick_bench import Bench, resource

SERIES = ("lagcast_desired_replicas", "lagcast_requests_due_total", "lagcast_scaler_info")


class Office(Bench):
    """A bench whose controller leads when it is told to."""

    def __init__(self, leads: bool, **wanted: int | Exception) -> None:
        super().__init__(dict(wanted))
        self.leads = leads
        self.noted: list[Row] = []
        self.controller._leads = lambda: self.leads
        self.controller._led = leads
        self.controller._note = self.noted.append
        self.controller.configure([resource(name) for name in wanted])

    def shown(self) -> set[str]:
        """Names of the series that belong to a scaler."""
        samples = (s for family in self.telemetry.registry.collect() for s in family.samples)
        return {sample.name for sample in samples if sample.labels.get("name")}

    def outcome(self) -> Reason:
        (row,) = self.controller.rows.values()
        return row.outcome.reason


@pytest.fixture
def office() -> Iterator[Callable[..., Office]]:
    made: list[Office] = []

    def make(leads: bool, **wanted: Any) -> Office:
        made.append(Office(leads, **wanted))
        return made[-1]

    yield make
    for one in made:
        one.pool.shutdown(wait=False)


def test_a_standby_decides_and_changes_nothing(office: Callable[..., Office]) -> None:
    b = office(False, chat=9)
    (row,) = b.controller.tick().values()
    assert (row.decision.current, row.decision.desired) == (4, 9)
    assert row.outcome.reason is Reason.STANDBY
    assert (b.cluster.written, b.cluster.events, b.noted) == ([], [], [])
    assert b.shown() == set()
    assert len(b.policies["chat"][0].seen) == 1, "it learns as the leader does"


def test_what_it_decided_last_is_carried_out_when_it_takes_over(office: Callable[..., Office]) -> None:
    b = office(False, chat=9)
    stop, wake = threading.Event(), threading.Event()
    ticks: list[int] = []

    def after_tick() -> None:
        ticks.append(len(b.policies["chat"][0].seen))
        if len(ticks) == 1:  # the lease is won between two ticks
            b.leads = True
            wake.set()
        else:
            stop.set()
            wake.set()

    b.controller.run(stop, after_tick=after_tick, wake=wake)
    assert ticks == [1, 1], "nothing was observed for it"
    assert [(w.before, w.after) for w in b.cluster.written] == [(4, 9)]
    assert b.outcome() is Reason.APPLIED
    assert len(b.cluster.events) == len(b.noted) == 1
    assert b.value("lagcast_patches_total", name="chat", outcome="Applied") == 1


def test_a_tick_is_as_long_as_ever_after_it(office: Callable[..., Office]) -> None:
    b = office(False, chat=4)
    stop, wake = threading.Event(), threading.Event()
    began = b.clock.now()

    def before_tick() -> None:
        seen = len(b.policies["chat"][0].seen)
        assert b.clock.now() - began == seen * 15.0
        if seen == 1:
            wake.set()
        if seen == 3:
            stop.set()

    b.controller.run(stop, before_tick=before_tick, wake=wake)


def test_a_leader_that_loses_takes_its_series_back(office: Callable[..., Office]) -> None:
    b = office(True, chat=9)
    b.controller.tick()
    assert set(SERIES) <= b.shown()
    b.leads = False
    b.controller.tick()
    assert b.outcome() is Reason.STANDBY
    assert b.shown() == set()
    b.leads = True
    b.controller.tick()
    assert set(SERIES) <= b.shown()


def test_one_that_loses_within_a_tick_changes_nothing_more(
    office: Callable[..., Office], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    b = office(True, chat=9)

    def refused(*_: Any) -> None:
        raise NotLeader("nothing was changed: this replica does not lead")

    monkeypatch.setattr(b.cluster, "write", refused)
    b.controller.tick()
    assert b.outcome() is Reason.STANDBY
    assert b.cluster.events == []
    assert b.value("lagcast_patches_total", name="chat", outcome="PatchFailed") == 0
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
