"""A pool that has all its nodes: the controller, the plan and the writes are the real ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pytest

from scaler.api.predictive_scaler import PredictiveScaler
from scaler.explain.explanation import StageName
from scaler.explain.stages import explain
from scaler.journal_rows import facts_of
from scaler.observe.ports import GroupTopic
from scaler.plan.observation import Freshness, Reading, TopicOffsets
from scaler.plan.policy import PredictivePolicy
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from scaler.pools.groups import Member
from scaler.predictive import MakePredictive
from tests.plan.loop import Foresight
from tests.pools.made import START, TICK, Bench, Load, pool, scaler

GPUS = 24  # three nodes
RATE = 24.0  # requests/s of a replica
LEAD = "8m"  # as it is here: a node's 7, and a pod's 1


def service(name: str, weight: float = 1.0, least: int = 1, lead: str = "7m") -> PredictiveScaler:
    made = scaler(name, weight=str(weight)).model_dump(by_alias=True, mode="json", exclude_none=True)
    made["spec"]["replicas"] |= {"min": least, "serviceRate": str(int(RATE)), "leadTime": lead}
    return PredictiveScaler.model_validate(made)


def paused(of: PredictiveScaler) -> PredictiveScaler:
    made = of.model_dump(by_alias=True, mode="json", exclude_none=True)
    made["metadata"]["annotations"] = {"lagcast.io/paused": "true"}
    return PredictiveScaler.model_validate(made)


class Foreseen(MakePredictive):
    """Each service's forecaster knows its load."""

    def __init__(self, loads: Mapping[str, Load]) -> None:
        super().__init__()
        self._loads = loads

    def together(self, members: Sequence[Member]) -> PredictivePolicy:
        names = {member.service.uid: member.resource.metadata.name for member in members}

        def foresight(of: Service) -> Foresight:
            return Foresight(lambda t: self._loads[names[of.uid]](t - START), of.step, 0.03)

        return PredictivePolicy([member.service for member in members], foresight)


def full(
    bench: Callable[..., Bench],
    loads: dict[str, Load],
    *services: PredictiveScaler,
    replicas: int = 10,
    most: int = GPUS // 8,
    foreseen: bool = False,
) -> Bench:
    made = pool(nodes={"min": 1, "max": most})
    policy = Foreseen(loads) if foreseen else None
    return bench(loads, made, nodes=GPUS // 8, replicas=replicas, resources=services, rate=RATE, make_policy=policy)


def lost(b: Bench, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker tells of that topic no more."""
    read = b.broker._read

    def away(now: float, one: GroupTopic) -> Reading[TopicOffsets]:
        if one.topic == topic:
            return Reading(None, now, Freshness.ERROR, Reason.BROKER_UNREACHABLE, "its broker does not answer")
        return read(now, one)

    monkeypatch.setattr(b.broker, "_read", away)


def needs(pods: float) -> Load:
    return lambda t: pods * RATE


def desired(b: Bench) -> tuple[int, ...]:
    found = {row.resource.metadata.name: row.decision.desired for row in b.controller.rows.values()}
    return tuple(found[name] or 0 for name in b.loads)


def ready(b: Bench) -> tuple[int, ...]:
    return tuple(b.cluster.ready(b.target(name)) for name in b.loads)


@pytest.mark.parametrize("weights", [(10.0, 1.0), pytest.param((1.0, 10.0), marks=pytest.mark.slow)])
def test_the_heavy_one_has_what_it_needs_and_no_more_is_asked_for_than_fits(
    bench: Callable[..., Bench], weights: tuple[float, float]
) -> None:
    """Both need 16 of 24."""
    made = [service(name, weight) for name, weight in zip("ab", weights, strict=True)]
    b = full(bench, {"a": needs(16), "b": needs(16)}, *made)
    for _ in range(50):
        b.tick()
        assert sum(desired(b)) <= GPUS
    heavy = weights.index(10.0)
    assert ready(b)[heavy] == 16
    assert ready(b)[1 - heavy] == 8
    assert b.waited["a"][-1] == b.waited["b"][-1] == 0
    light = next(row for row in b.controller.rows.values() if row.resource.metadata.name == "ab"[1 - heavy])
    assert Reason.POOL_FULL in light.decision.reasons[:2], "after Partitions, which bound it first"
    told = explain(facts_of(light, TICK))
    assert "GPU pool has all the nodes" in told.stage(StageName.LIMITS).sentence
    assert ("room in the pool", 8) in [(q.name, q.value) for q in told.stage(StageName.LIMITS).numbers]
    assert "gives it 8 replicas" in told.stage(StageName.DEMAND).sentence
    nodes = told.stage(StageName.NODES)
    assert "keeps 3 of 3 Ready nodes" in nodes.sentence
    assert Reason.POOL_FULL in [one.code for one in nodes.reasons]


@pytest.mark.slow
def test_a_minimum_comes_before_another_ones_need(bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.pools.made.PARTITIONS", 960)  # of 32, more than 16 replicas serve no more than 16 do
    b = full(bench, {"a": needs(1), "b": needs(30)}, service("a"), service("b"), replicas=1)
    b.run(40)
    assert ready(b)[0] < 8
    b.controller.configure([service("a", least=8), service("b")], [pool(nodes={"min": 1, "max": 3})])
    b.run(20)
    assert ready(b) == (8, 16)


def test_minimums_that_do_not_fit_together_are_asked_for_and_no_more(bench: Callable[..., Bench]) -> None:
    b = full(bench, {"a": needs(20), "b": needs(20)}, service("a", least=14), service("b", least=14))
    b.run(20)
    assert desired(b) == (14, 14)


def noisy(means: tuple[float, float], noise: float, ticks: int, seed: int = 1) -> dict[str, Load]:
    """Loads that need ``means`` replicas, ``noise`` (share) more or less at each tick."""
    rng, wanted = np.random.default_rng(seed), np.array(means)[:, None]
    drawn = np.maximum(np.round(rng.normal(wanted, noise * wanted, (2, ticks)) * RATE), 0.0)

    def load(mine: np.ndarray) -> Load:
        return lambda t: float(mine[int(t // TICK)])

    return {name: load(mine) for name, mine in zip("ab", drawn, strict=True)}


@pytest.mark.parametrize(
    ("partitions", "need", "noise", "seed"),
    [
        *(pytest.param(960, *how, 1, marks=pytest.mark.slow) for how in ((13.0, 0.05), (12.0, 0.02), (14.0, 0.1))),
        pytest.param(960, 20.0, 0.1, 1, marks=pytest.mark.slow),
        pytest.param(32, 14.0, 0.2, 1, marks=pytest.mark.slow),
        (32, 11.0, 0.1, 1),
        *(pytest.param(32, 11.0, 0.1, seed, marks=pytest.mark.slow) for seed in (2, 3, 4, 5, 6)),
    ],
)
def test_two_that_want_the_last_gpu_do_not_take_turns(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, partitions: int, need: float, noise: float, seed: int
) -> None:
    """Half an hour, of 24 GPUs. With 32 partitions only 8, 11, 16 and 32 replicas differ in what they give."""
    monkeypatch.setattr("tests.pools.made.PARTITIONS", partitions)
    b = full(bench, noisy((need, need), noise, 160, seed), service("a", lead=LEAD), service("b", lead=LEAD))
    b.run(40)
    counts = [desired(b)]
    for _ in range(120):
        b.tick()
        counts.append(desired(b))
        assert sum(counts[-1]) <= GPUS
    moves = [after[0] > before[0] for before, after in pairwise(counts) if before != after]
    assert len(moves) <= 4
    assert sum(one != other for one, other in pairwise(moves)) <= 1, "and hardly any back"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 5])
def test_pods_that_only_together_serve_more_do_not_go_where_they_do_not_all_fit(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Both need 10 of 24: 11 replicas serve that, up to 15 no more, 9 only what 8 do."""
    monkeypatch.setattr("tests.pools.made.PARTITIONS", 32)
    b = full(bench, noisy((10.0, 10.0), 0.1, 280, seed), service("a", lead=LEAD), service("b", lead=LEAD))
    b.run(40)
    for _ in range(240):
        b.tick()
        assert min(ready(b)) >= 11


def moves_to(before: tuple[float, float], after: tuple[float, float], ticks: int) -> dict[str, Load]:
    """Another load from tick 80 on."""
    old, new = noisy(before, 0.05, 80), noisy(after, 0.05, 80 + ticks)

    def load(name: str) -> Load:
        return lambda t: (old if t < 80 * TICK else new)[name](t)

    return {name: load(name) for name in "ab"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after", "takes"),
    [((13.0, 13.0), (13.0, 1.0), 18), ((5.0, 12.0), (10.0, 12.0), 11), ((8.0, 12.0), (16.0, 12.0), 11)],
)
def test_gpus_change_hands_where_the_load_does(
    bench: Callable[..., Bench],
    monkeypatch: pytest.MonkeyPatch,
    before: tuple[float, float],
    after: tuple[float, float],
    takes: int,
) -> None:
    """The other has next to no load any more, or its own need doubles: within four lead times of a pod."""
    monkeypatch.setattr("tests.pools.made.PARTITIONS", 960)
    b = full(bench, moves_to(before, after, 20), service("a"), service("b"))
    b.run(80)
    assert ready(b)[0] < takes
    b.run(16)
    assert ready(b)[0] >= takes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after", "within"), [((4.0, 16.0), (16.0, 4.0), 15), ((13.0, 5.0), (9.0, 11.0), 25)]
)
def test_gpus_follow_a_load_that_is_another_for_good(
    bench: Callable[..., Bench],
    monkeypatch: pytest.MonkeyPatch,
    before: tuple[float, float],
    after: tuple[float, float],
    within: int,
) -> None:
    """20 of 24 are needed. It is seen for a lead time, and in one more they serve: and then they stay."""
    monkeypatch.setattr("tests.pools.made.PARTITIONS", 960)
    b = full(bench, moves_to(before, after, 100), service("a", lead=LEAD), service("b", lead=LEAD))
    b.run(80 + within)
    for _ in range(100 - within):
        b.tick()
        assert all(n >= need for n, need in zip(ready(b), after, strict=True))


@pytest.mark.slow
def test_who_works_off_a_backlog_does_not_take_what_another_needs(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """26 of 24 were needed for 20 minutes, and one was late with much: now it needs next to nothing, the other still
    its 13."""
    monkeypatch.setattr("tests.pools.made.PARTITIONS", 960)
    b = full(bench, moves_to((13.0, 13.0), (13.0, 1.0), 140), service("a", lead=LEAD), service("b", lead=LEAD))
    b.run(80)
    for _ in range(140):
        b.tick()
        assert ready(b)[0] >= 13


@pytest.mark.slow
def test_nodes_that_do_not_come_are_not_shared_out(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cloud has no GPUs left for the nodes 4 to 6, until one comes after 20 minutes; both need 16 of 24."""
    monkeypatch.setattr("tests.pools.made.PARTITIONS", 960)
    leads = iter([1200.0])
    b = bench(
        {"a": needs(16), "b": needs(16)},
        pool(nodes={"min": 1, "max": 6}),
        nodes=GPUS // 8,
        replicas=10,
        resources=[service("a", 10.0), service("b")],
        rate=RATE,
        node_lead_time=lambda: next(leads, math.inf),
    )
    b.run(50)
    assert ready(b) == (16, 8)
    assert sum(desired(b)) > GPUS, "twice their lead time has not passed"
    b.run(20)
    assert sum(desired(b)) == GPUS
    assert ready(b)[0] > 16, "what waits of the heavy one's is served by the other's"
    row = b.tick()
    assert row is not None
    assert row.nodes == 6, "those that are on their way stay asked for, and count"
    b.run(14)
    assert sum(desired(b)) > GPUS + 8, "one came, and so may the others"


@pytest.mark.parametrize("how", ["paused", pytest.param("dark", marks=pytest.mark.slow)])
def test_nobody_makes_way_for_pods_that_no_node_has_of_who_is_paused_or_not_known(
    bench: Callable[..., Bench], how: str
) -> None:
    """Somebody scales b to 60 when it is paused or its topic is away."""
    b = full(bench, {"a": needs(14), "b": needs(2)}, service("a"), service("b"), replicas=12)
    b.run(40)
    if how == "paused":
        b.controller.configure([service("a"), paused(service("b"))], [pool(nodes={"min": 1, "max": 3})])
    else:
        b.broker.delete_topic("b")
    b.cluster.set_replicas(b.target("b"), 60)
    for _ in range(40):
        b.controller.tick()
        b.clock.advance(TICK)
        b.cluster.advance(b.clock.now())
        assert b.cluster.replicas(b.target("a")) >= 14
        assert b.cluster.replicas(b.target("b")) == 60
    assert sum(ready(b)) == GPUS, "what is free is theirs"


@pytest.mark.parametrize("foreseen", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_nobody_makes_way_for_what_an_outage_raises_another_to(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, foreseen: bool
) -> None:
    """Its forecast may go on meanwhile."""
    made = service("b").model_dump(by_alias=True, mode="json", exclude_none=True)
    made["spec"]["fallback"] = {"policy": "static", "replicas": 20, "after": "30s"}
    raised = PredictiveScaler.model_validate(made)
    b = full(bench, {"a": needs(14), "b": needs(2)}, service("a"), raised, replicas=12, foreseen=foreseen)
    b.run(40)
    lost(b, "b", monkeypatch)
    for _ in range(40):
        b.tick()
        assert b.cluster.replicas(b.target("a")) >= 14
    assert b.cluster.replicas(b.target("b")) == 20, "asked for all the same"


def test_while_nodes_boot_nobody_makes_way_for_pods_that_wait_for_them(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody scales b to 30 when its topic is away. The other needs 16 for half a minute of every two, and 8
    between."""
    monkeypatch.setattr("tests.pools.made.PARTITIONS", 960)

    def bursts(t: float) -> float:
        return (16.0 if t // TICK % 8 < 2 else 8.0) * RATE

    b = full(bench, {"a": bursts, "b": needs(2)}, service("a"), service("b"), replicas=12, most=6, foreseen=True)
    b.run(40)
    lost(b, "b", monkeypatch)
    b.cluster.set_replicas(b.target("b"), 30)
    for _ in range(19):
        b.tick()
        assert b.waited["b"][-1] > 0
        assert b.cluster.replicas(b.target("a")) >= 15
        assert b._left["a"].sum() <= 4.0 * TICK * RATE, "in time"


@pytest.mark.parametrize("how", ["foreseen", "unready", "stuck"])
def test_an_outage_is_no_time_in_which_nothing_was_needed(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The others want 12 each. When its inputs are back a keeps the 8 that it needs; also where its pods were not Ready
    meanwhile, or read nothing."""
    monkeypatch.setattr("tests.pools.made.PARTITIONS", 960)
    loads = {"a": needs(7.5), "b": needs(12), "c": needs(12)}
    b = full(bench, loads, *(service(name) for name in loads), replicas=8, foreseen=how == "foreseen")
    b.run(24)
    assert ready(b)[0] == 8
    with monkeypatch.context() as outage:
        if how == "stuck":
            serving = b.cluster.ready
            outage.setattr(b.cluster, "ready", lambda of: 0 if of == b.target("a") else serving(of))
        else:
            lost(b, "a", outage)
        if how == "unready":
            for pod in b.cluster.pods(b.target("a")):
                outage.setattr(pod, "ready_at", math.inf)
        b.run(24)
    for _ in range(4):
        b.tick()
        assert desired(b)[0] >= 8


@pytest.mark.slow
def test_nothing_is_taken_from_who_is_not_known(bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster is away: the heavy one cannot take what the other holds."""
    monkeypatch.setattr("tests.pools.made.PARTITIONS", 960)  # of 32, 20 replicas serve no more than 16 do
    now = [8.0]
    b = full(bench, {"a": lambda t: now[0] * RATE, "b": needs(12)}, service("a", 10.0), service("b"))
    b.run(20)
    held = ready(b)
    b.cluster.down = True
    now[0] = 20.0
    b.run(10)
    b.cluster.down = False
    assert ready(b) == held
    b.run(30)
    assert ready(b)[0] >= 20, "and takes it when they are known again"
