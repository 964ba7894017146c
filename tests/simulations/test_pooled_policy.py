"""Services on a pool of GPU nodes under the policy itself: nodes ahead of the pods, none given up in the dark."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from scaler.plan.decision import GroupDecision
from scaler.plan.nodes import NodePlanner
from scaler.plan.nodes_need import PoolSpec
from scaler.plan.observation import Freshness, GroupObservation, Reading
from scaler.plan.policy import PredictivePolicy
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from scaler.plan.settings import PlanSettings
from simulations.record import Record
from simulations.run import simulate
from simulations.setting import Between, Fault, FaultKind, Load, NodePool, ServiceSetting, Setting, Shared
from tests.plan.loop import Foresight

START = 1_000_000_020.0
POOL = PoolSpec("gpus", 8, 300.0)
Rate = Callable[[float], float]


def service(uid: str) -> Service:
    return Service(uid, 10.0, 0.99, 1, 64, 2.0, 0.2, 360.0, 15.0, 15.0, 60.0, pool=POOL)


def spike(low: float, high: float, start: float, end: float) -> Rate:
    return lambda t: high if start <= t - START < end else low


class Counted(Foresight):
    """How many steps were drawn at each time of asking."""

    def __init__(self, load: Rate, step: float, sigma: float) -> None:
        super().__init__(load, step, sigma)
        self.drawn: list[int] = []

    def paths(self, steps: int, count: int, rng: np.random.Generator, out: np.ndarray | None = None) -> np.ndarray:
        self.drawn.append(steps)
        return super().paths(steps, count, rng, out)


class Watched:
    """A policy whose decisions are kept, and whose pools are not known from ``blind_from`` (unix s) on."""

    def __init__(self, policy: PredictivePolicy, blind_from: float) -> None:
        self._policy = policy
        self._blind_from = blind_from
        self.decisions: list[GroupDecision] = []

    def step(self, now: float, observed: GroupObservation) -> GroupDecision:
        if now >= self._blind_from:
            unknown = Reading(None, now, Freshness.ERROR)
            observed = replace(observed, pools=tuple(replace(pool, state=unknown) for pool in observed.pools))
        self.decisions.append(self._policy.step(now, observed))
        return self.decisions[-1]


def watched(
    loads: dict[str, Rate],
    seconds: int,
    *,
    known: bool,
    faults: tuple[Fault, ...] = (),
    forecasters: list[Counted] | None = None,
    believed: float = 2.0,
    most: int | None = None,
    enforced: bool = False,
    blind_from: float = math.inf,
    **planned: float,
) -> tuple[Record, list[GroupDecision]]:
    """``believed``: requests/s that a replica, which serves 2, is declared to serve. The pool has ``most`` nodes, and
    is not known from ``blind_from`` (s) on."""
    pool = replace(POOL, max_nodes=most, enforced=enforced)
    services = {uid: replace(service(uid), pool=pool) for uid in loads}
    settings = tuple(
        ServiceSetting(one, 2.0, 0.2, Shared(1000), Between(60.0, 60.0), replicas=int(loads[uid](START) / believed) + 1)
        for uid, one in services.items()
    )
    rng = np.random.default_rng(0)
    arrivals = tuple(
        Load(START, rng.poisson([rate(START + t) for t in range(seconds)]).astype(np.float64))
        for rate in loads.values()
    )
    setting = Setting(settings, NodePool("gpus", 8, Between(240.0, 300.0), 600.0), 15.0, 0, faults)
    made = [Counted(loads[one.service.uid], 15.0, 0.03) for one in settings]
    if forecasters is not None:
        forecasters += made
    by_uid = dict(zip(loads, made, strict=True))
    declared = [replace(one, service_rate=believed) for one in services.values()]
    plan = PlanSettings(**planned)  # type: ignore[arg-type]
    policy = PredictivePolicy(declared, lambda s: by_uid[s.uid] if known else None, plan)
    seen = Watched(policy, START + blind_from)
    return simulate(setting, arrivals, seen, name="lagcast"), seen.decisions


def run(loads: dict[str, Rate], seconds: int, **options: Any) -> Record:
    record, _ = watched(loads, seconds, **options)
    return record


def decided_alike(
    loads: dict[str, Rate], seconds: int, patch: pytest.MonkeyPatch, faults: tuple[Fault, ...] = ()
) -> tuple[Record, list[Counted], list[Counted]]:
    """A run in which paths are drawn on when somebody looks, its forecasters, and those of one in which they are drawn
    at once; both decide the same."""
    some: list[Counted] = []
    every: list[Counted] = []
    looked = run(loads, seconds, known=True, faults=faults, forecasters=some)
    with patch.context() as patched:
        patched.setattr(NodePlanner, "looked", NodePlanner.horizon)
        everything = run(loads, seconds, known=True, faults=faults, forecasters=every)
    assert looked.pool is not None
    assert everything.pool is not None
    assert looked.pool.asked.tolist() == everything.pool.asked.tolist()
    for one, other in zip(looked.services, everything.services, strict=True):
        assert one.desired.tolist() == other.desired.tolist()
    return looked, some, every


def late(record: Record) -> float:
    return sum(float(np.nansum(one.late)) for one in record.services)


def test_a_foreseen_spike_finds_its_nodes() -> None:
    load = {"chat": spike(20.0, 90.0, 1800.0, 2700.0)}
    seen, blind = (run(load, 4500, known=known) for known in (True, False))
    assert seen.pool is not None
    assert int(seen.pool.ready[1800]) * 8 >= 45, "nodes for the spike's replicas, ready as it begins"
    assert int(seen.services[0].ready[1800]) >= 45
    assert late(seen) < 0.01 * 900 * 90
    assert late(blind) > 10 * late(seen) + 100
    assert int(seen.pool.ready[4499]) <= 3, "given back when it is over"


def test_two_services_that_take_turns_share_nodes() -> None:
    """One is high while the other is low: together they never need what both would keep for themselves."""

    def wave(shift: float) -> Rate:
        return lambda t: 50.0 + 40.0 * float(np.sin(2 * np.pi * (t - START) / 3600.0 + shift))

    both = {"a": wave(0.0), "b": wave(np.pi)}
    together = run(both, 7200, known=True)
    alone = [run({uid: rate}, 7200, known=True) for uid, rate in both.items()]
    assert together.pool is not None
    separate = sum(float(one.pool.asked.sum()) for one in alone if one.pool is not None)
    assert float(together.pool.asked.sum()) < 0.95 * separate


def test_nothing_is_given_up_while_the_nodes_or_the_offsets_are_unknown() -> None:
    load = {"chat": spike(90.0, 20.0, 1200.0, 9e9)}  # it falls in the middle of an outage
    for kind in (FaultKind.API_DOWN, FaultKind.BROKER_DOWN):
        record = run(load, 4200, known=True, faults=(Fault(kind, 1100.0, 900.0),))
        assert record.pool is not None
        pods = record.services[0].ready  # an empty node goes by its autoscaler's own rule
        assert int(pods[1100:1999].min()) >= int(pods[1100]), kind
        assert int(pods[4199]) < int(pods[1100]), "and two lead times afterwards they are"


def test_one_pool_is_one_pool() -> None:
    other = replace(service("b"), pool=replace(POOL, size=4))
    with pytest.raises(ValueError, match="same pool"):
        PredictivePolicy([service("a"), other], lambda s: None)


def test_a_restored_policy_goes_on_with_its_pool() -> None:
    policy, other = (PredictivePolicy([service("chat")], lambda s: None) for _ in range(2))
    saved = policy.snapshot()
    other.restore(saved)
    assert other.snapshot() == saved


def test_paths_that_are_drawn_on_when_somebody_looks_decide_as_those_that_were_drawn_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loads = {"a": spike(20.0, 70.0, 1200.0, 2100.0), "b": spike(30.0, 10.0, 1500.0, 9e9)}
    for some in (loads, {"a": loads["a"]}):
        _, made, at_once = decided_alike(some, 3600, monkeypatch)
        assert {len(f.drawn) for f in at_once} == {239}, "once a tick, from the second on"
    # Alone it looks behind a new node's lead time only where something would be late.
    (alone,), (whole,) = made, at_once
    near, far = min(alone.drawn), max(whole.drawn)
    assert near < 0.7 * far
    assert alone.drawn.count(far) < 0.5 * len(whole.drawn)
    assert far in alone.drawn, "the spike"


def test_an_outage_ends_no_forecast_that_still_knows_of_what_nodes_are_ordered_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However far ahead was looked before it: a spike of which the forecast knows finds nodes that were ordered when
    the newest arrivals were older than a node takes to come."""
    load = {"chat": spike(20.0, 70.0, 1000.0, 9e9)}
    outage = (Fault(FaultKind.BROKER_DOWN, 60.0, 840.0),)
    looked, _, _ = decided_alike(load, 1200, monkeypatch, outage)
    assert looked.pool is not None
    assert int(looked.pool.asked[899]) * 8 >= 35, "while nothing new is known"


def tried_at(loads: dict[str, Rate], **options: Any) -> list[GroupDecision]:
    """What is decided in an hour in which experiments need not wait, and replicas serve twice what was declared."""
    options = {"enforced": True, "patience": 0.0, **options}
    _, decisions = watched(loads, 3600, known=True, believed=1.0, **options)
    return decisions


def tries(decisions: list[GroupDecision]) -> int:
    return sum(Reason.EXPERIMENT in one.reasons for decision in decisions for one in decision.services)


def test_an_experiment_gives_up_nothing_while_the_nodes_are_unknown() -> None:
    load: dict[str, Rate] = {"chat": lambda t: 40.0}
    begun = next(k for k, one in enumerate(tried_at(load)) if tries([one])) + 1
    decisions = tried_at(load, blind_from=begun * 15.0)
    assert tries(decisions[:begun]) > 0
    assert tries(decisions[begun:]) == 0
    counts = [decision.services[0].desired or 0 for decision in decisions[begun - 2 :]]
    assert counts[1] < counts[0], "it had just begun"
    assert counts[1:] == sorted(counts[1:])


def test_nothing_is_tried_out_on_a_full_pool_where_another_would_take_what_is_given_up() -> None:
    loads: dict[str, Rate] = {"a": lambda t: 10.0, "b": lambda t: 60.0}
    assert tries(tried_at(loads, most=10)) > 0
    assert tries(tried_at(loads, most=9)) == 0, "b has need of what a does not"


def test_nothing_is_tried_out_on_nodes_that_another_takes_away() -> None:
    load: dict[str, Rate] = {"chat": lambda t: 40.0}
    assert tries(tried_at(load, enforced=False)) == 0


@pytest.mark.slow
def test_a_rate_declared_at_half_is_found_once_the_patience_is_over() -> None:
    """Filled nodes never have a backlog by themselves, and twice as many of them were kept for good."""
    load, hours = {"chat": lambda t: 40.0}, 3
    knew, waits, tried = (
        run(load, hours * 3600, known=True, enforced=True, **options)
        for options in ({}, {"believed": 1.0, "patience": 86_400.0}, {"believed": 1.0})
    )

    def nodes(record: Record, hour: int) -> float:
        assert record.pool is not None
        return float(record.pool.asked[hour * 3600 :].mean())

    assert waits.services[0].desired.tolist()[:120] == tried.services[0].desired.tolist()[:120]
    assert nodes(waits, 2) >= 1.5 * nodes(knew, 2), "for as long as nothing is tried out"
    assert nodes(tried, 2) <= 1.1 * nodes(knew, 2)
    assert late(tried) <= 0.01 * 40.0 * hours * 3600
