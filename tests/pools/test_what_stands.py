"""What nothing is known of, and what is held, is taken as it stands: a new controller's memory, a service that
cannot be read, one that is paused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from forecasting.errors import NotReady
from forecasting.forecaster import Paths
from forecasting.series import Arrivals
from scaler.api.predictive_scaler import PredictiveScaler
from scaler.plan.policy import PredictivePolicy
from scaler.plan.service import Service
from scaler.pools.groups import Member
from scaler.predictive import MakePredictive
from tests.plan.loop import Foresight
from tests.pools.made import START, TICK, Bench, pool, scaler


class Late(Foresight):
    """A forecaster whose history is being read for the first ``blind`` s."""

    blind = 60.0

    def __init__(self, load: Callable[[float], float], step: float) -> None:
        super().__init__(load, step, 0.03)
        self.since: float | None = None

    def update(self, arrivals: Arrivals) -> None:
        super().update(arrivals)
        self.since = arrivals.end if self.since is None else self.since

    def paths(self, steps: int, count: int, rng: np.random.Generator, out: Paths | None = None) -> Paths:
        if self.origin is None or self.since is None or self.origin - self.since < self.blind:
            raise NotReady("its history is being read")
        return super().paths(steps, count, rng, out)


class MakeLate(MakePredictive):
    def __init__(self, load: Callable[[float], float]) -> None:
        super().__init__()
        self._load = load

    def together(self, members: Sequence[Member]) -> PredictivePolicy:
        def late(service: Service) -> Late:
            return Late(lambda t: self._load(t - START), service.step)

        return PredictivePolicy([member.service for member in members], late)


@pytest.mark.parametrize("nodes", [4, 7])
def test_a_new_controller_gives_up_no_pod_and_no_node_before_its_forecast_is_there(
    bench: Callable[..., Bench], nodes: int
) -> None:
    """It finds 32 pods on four nodes, and perhaps three that are empty yet, for the morning that the one before it
    foresaw: the present needs 11 pods."""

    def load(t: float) -> float:
        return 10.0 if t < 300.0 else 50.0

    b = bench({"chat": load}, pool(), nodes=nodes, replicas=32, make_policy=MakeLate(load))
    pods = []
    for _ in range(20):
        b.tick()
        pods.append(len(b.cluster.pods_of(b.target("chat"))))
    assert b.cluster.counts == [] or min(count for _, count in b.cluster.counts) >= nodes
    b.run(20)
    assert min(pods) >= 32
    assert all(count >= 4 for _, count in b.cluster.counts)
    assert sum(b._left["chat"]) < 10.0 * TICK


@pytest.mark.slow
def test_what_it_found_goes_when_it_is_not_needed(bench: Callable[..., Bench]) -> None:
    b = bench({"chat": lambda t: 10.0}, pool(), nodes=4, replicas=32, make_policy=MakeLate(lambda t: 10.0))
    b.run(240)
    assert len(b.cluster.pods_of(b.target("chat"))) < 16
    assert b.cluster.count <= 2


def paused(name: str) -> PredictiveScaler:
    spec = scaler(name).model_dump(by_alias=True, mode="json", exclude_none=True)
    spec["metadata"]["annotations"] = {"lagcast.io/paused": "true"}
    return PredictiveScaler.model_validate(spec)


def of_another_topic(name: str, mode: str) -> PredictiveScaler:
    spec = scaler(name, mode=mode).model_dump(by_alias=True, mode="json", exclude_none=True)
    spec["spec"]["kafka"]["topic"] = "typo"
    return PredictiveScaler.model_validate(spec)


@pytest.mark.parametrize("mode", ["Enforce", pytest.param("Recommend", marks=pytest.mark.slow)])
def test_a_service_that_cannot_be_read_does_not_stop_the_others(bench: Callable[..., Bench], mode: str) -> None:
    loads: dict[str, Callable[[float], float]] = {"a": lambda t: 12.0 if t < 600.0 else 50.0, "b": lambda t: 4.0}
    b = bench(loads, pool(), nodes=3, replicas=8, resources=[scaler("a"), of_another_topic("b", mode)])
    rows = [b.tick() for _ in range(160)]
    assert max(count for _, count in b.cluster.counts) >= 5
    assert sum(b._left["a"]) < 10.0 * TICK, "it is served in the end"
    assert len(b.cluster.pods_of(b.target("b"))) == 8, "of it nothing is known"
    last = rows[-1]
    assert last is not None
    assert last.decision is not None
    assert last.decision.unknown == 1


@pytest.mark.slow
def test_while_a_service_cannot_be_read_no_node_is_given_up(bench: Callable[..., Bench]) -> None:
    loads: dict[str, Callable[[float], float]] = {"a": lambda t: 40.0 if t < 600.0 else 4.0, "b": lambda t: 4.0}
    b = bench(loads, pool(), nodes=4, replicas=16, resources=[scaler("a"), of_another_topic("b", "Enforce")])
    b.run(240)
    counts = [4, *(count for _, count in b.cluster.counts)]
    assert counts == sorted(counts)


@pytest.mark.parametrize("most", [4, pytest.param(12, marks=pytest.mark.slow)])
def test_no_node_is_bought_and_nobody_makes_way_for_who_is_paused(bench: Callable[..., Bench], most: int) -> None:
    """b has two pods, whatever its plan asks for; its load comes to need 24. a needs one node and a half."""
    loads: dict[str, Callable[[float], float]] = {"a": lambda t: 16.0, "b": lambda t: 2.0 if t < 1200.0 else 40.0}
    of_pool = {"nodes": {"min": 1, "max": most}}
    b = bench(loads, pool(**of_pool), nodes=2, replicas=2, resources=[scaler("a"), paused("b")])
    pods = []
    for _ in range(320):
        b.tick()
        pods.append(len(b.cluster.pods_of(b.target("a"))))
    assert max(count for _, count in b.cluster.counts) <= 3
    assert len(b.cluster.pods_of(b.target("b"))) == 2
    assert min(pods[60:]) >= 9, "as many as its load needs, and some"
    asked = [row.decision.desired for row in b.controller.rows.values() if row.decision.desired != pods[-1]]
    assert asked == [pytest.approx(24, abs=8)], "its own plan is made as if there were room"


def test_nodes_come_ahead_of_pods_that_are_recommended(bench: Callable[..., Bench]) -> None:
    """An autoscaler of the user's own may scale by what is recommended."""
    b = bench({"a": lambda t: 50.0}, pool(), resources=[scaler("a", mode="Recommend")])
    b.run(60)
    assert b.cluster.count >= 4


def test_while_the_load_of_a_service_is_not_known_no_node_is_given_up_though_it_is_foreseen(
    bench: Callable[..., Bench],
) -> None:
    """b cannot be read from 1,500 s on; its forecast goes on. a comes to need less."""

    def load(t: float) -> float:
        return 30.0 if t < 1200.0 else 4.0

    b = bench({"a": load, "b": lambda t: 10.0}, pool(), nodes=5, replicas=16, make_policy=MakeLate(load))
    b.run(100)
    before, at = b.cluster.count, len(b.cluster.counts)
    b.broker.delete_topic("b")
    unknown = []
    for _ in range(20):
        b.controller.tick()
        b.clock.advance(TICK)
        b.cluster.advance(b.clock.now())
        (row,) = b.controller.pool_rows.values()
        assert row.decision is not None
        unknown.append(row.decision.unknown)
    assert all(count >= before for _, count in b.cluster.counts[at:])
    assert min(unknown[2:]) >= 1
