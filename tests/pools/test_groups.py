"""Scalers on one pool are planned together, the others alone; a fault holds its own group and no other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from scaler.api.predictive_scaler import PredictiveScaler
from scaler.plan.decision import GroupDecision, Numbers, Policy, PoolDecision, ServiceDecision
from scaler.plan.observation import GroupObservation
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from scaler.pools.groups import Member, arrange
from tests.pools.made import START, Bench, pool, scaler


class Wanting:
    """Wants the same counts always; remembers what it was shown."""

    def __init__(
        self, services: Sequence[Service], wanted: int, nodes: int | None, reasons: tuple[Reason, ...]
    ) -> None:
        self.services, self.wanted, self.nodes, self.reasons = services, wanted, nodes, reasons
        self.seen: list[GroupObservation] = []
        self.taken: frozenset[str] = frozenset()
        self.fault: Exception | None = None

    def step(self, now: float, observed: GroupObservation) -> GroupDecision:
        self.seen.append(observed)
        if self.fault is not None:
            raise self.fault
        services = []
        for one in observed.services:
            current = None if one.replicas.value is None else one.replicas.value.desired
            services.append(ServiceDecision(one.uid, now, current, self.wanted, (Reason.FORECAST,), Numbers()))
        pools = tuple(PoolDecision(p.uid, now, self.nodes, self.reasons) for p in observed.pools)
        return GroupDecision(tuple(services), pools)

    def take_over(self, old: Policy, uids: frozenset[str]) -> frozenset[str]:
        assert isinstance(old, Wanting)
        self.taken = uids & {service.uid for service in old.services}
        return self.taken

    def snapshot(self) -> bytes:
        return b""

    def restore(self, saved: bytes) -> None: ...


class Maker:
    """Makes and remembers policies."""

    def __init__(
        self, wanted: int = 6, nodes: int | None = 3, reasons: tuple[Reason, ...] = (Reason.FORECAST,)
    ) -> None:
        self.wanted, self.nodes, self.reasons = wanted, nodes, reasons
        self.alone: dict[str, Wanting] = {}
        self.groups: list[Wanting] = []

    def __call__(self, resource: PredictiveScaler, service: Service) -> Policy:
        made = self.alone[resource.metadata.name] = Wanting([service], self.wanted, self.nodes, self.reasons)
        return made

    def together(self, members: Sequence[Member]) -> Policy:
        self.groups.append(Wanting([m.service for m in members], self.wanted, self.nodes, self.reasons))
        return self.groups[-1]


LOADS = {"chat": lambda t: 4.0, "embed": lambda t: 4.0, "bare": lambda t: 4.0}


def still(bench: Callable[..., Bench], maker: object) -> Bench:
    b = bench(LOADS, make_policy=maker)
    b.controller.configure([scaler("chat"), scaler("embed"), scaler("bare", None)], [pool()])
    return b


def test_one_group_for_each_pool_and_one_for_each_other_scaler() -> None:
    resources = [scaler("chat", perReplica=2, weight="3"), scaler("bare", None), scaler("embed"), scaler("far", "a100")]
    groups = arrange(resources, [pool()], 15.0, together=True)
    assert [[m.resource.metadata.name for m in g.members] for g in groups] == [["chat", "embed"], ["bare"], ["far"]]
    chat = groups[0].members[0].service
    assert chat.pool is not None
    assert (chat.gpus, chat.weight, chat.pool.size, chat.pool.lead_time, chat.pool.max_nodes) == (2, 3.0, 8, 420.0, 12)
    assert groups[2].members[0].alone.startswith("spec.gpu.pool: there is no GpuNodePool a100")
    assert groups[1].members[0].alone == ""
    (wide,) = arrange([scaler("wide", perReplica=9)], [pool()], 15.0, together=True)
    assert "spec.gpu.perReplica: found 9; allowed: at most the GPUs of a node" in wide.members[0].alone
    (other,) = arrange([scaler("chat")], [pool()], 15.0, together=False)
    assert "plans no pools" in other.members[0].alone


def test_a_group_is_shown_its_services_and_its_pool(bench: Callable[..., Bench]) -> None:
    maker = Maker()
    b = still(bench, maker)
    b.tick()
    (group,) = maker.groups
    (seen,) = group.seen
    assert len(seen.services) == 2
    assert seen.pools[0].state.value is not None
    assert (seen.pools[0].state.value.ready, seen.pools[0].state.value.floor) == (2, 2)
    assert maker.alone["bare"].seen[0].pools == ()
    assert b.cluster.count == 3
    said = [(str(e.target), e.reason, e.message) for e in b.cluster.events if e.target.kind == "GpuNodePool"]
    assert said == [("GpuNodePool h100", "Forecast", "2 -> 3 nodes")]
    assert {row.decision.desired for row in b.controller.rows.values()} == {6}


def test_a_fault_of_one_groups_policy_holds_that_group_only(
    bench: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    maker = Maker()
    b = still(bench, maker)
    maker.groups[0].fault = ValueError("hunter2")
    row = b.tick()
    found = {r.resource.metadata.name: r.decision.desired for r in b.controller.rows.values()}
    assert found == {"chat": 4, "embed": 4, "bare": 6}
    assert row is not None
    assert row.decision is not None
    assert (row.nodes, row.decision.reasons) == (None, (Reason.INTERNAL_ERROR,))
    assert b.cluster.counts == []
    assert "deciding for default/chat, default/embed failed" in caplog.text
    assert "hunter2" not in caplog.text


def test_who_is_planned_without_its_pool_says_so(bench: Callable[..., Bench]) -> None:
    b = bench(LOADS, make_policy=Maker())
    b.controller.configure([scaler("chat", "a100")], [pool()])
    b.tick()
    (row,) = b.controller.rows.values()
    assert row.decision.reasons == (Reason.FORECAST, Reason.POOL_UNKNOWN)
    assert row.alone.startswith("spec.gpu.pool: there is no GpuNodePool a100")
    assert row.decision.desired == 6
    assert b.cluster.counts == [], "a pool that no scaler names is left as it is"


def test_a_full_pool_is_named_with_its_limit_by_pool_and_services(bench: Callable[..., Bench]) -> None:
    b = bench(LOADS, make_policy=Maker(reasons=(Reason.FORECAST, Reason.POOL_FULL)))
    b.controller.configure([scaler("chat")], [pool(budget={"gpus": 40})])
    row = b.tick()
    assert row is not None
    assert row.decision is not None
    assert row.decision.reasons == (Reason.FORECAST, Reason.POOL_FULL, Reason.GPU_BUDGET)
    (service,) = b.controller.rows.values()
    assert service.decision.reasons == (Reason.FORECAST, Reason.POOL_FULL)


def test_a_standby_writes_no_pool_and_marks_no_pod_and_a_takeover_carries_out_what_it_decided(
    bench: Callable[..., Bench],
) -> None:
    leads = [False]
    b = bench(LOADS, make_policy=Maker(wanted=3), leads=lambda: leads[0])
    b.controller.configure([scaler("chat"), scaler("embed")], [pool()])
    row = b.tick()
    assert row is not None
    assert (row.outcome.reason, row.nodes) == (Reason.STANDBY, 3)
    assert (b.cluster.counts, b.cluster.marked) == ([], 0)
    assert b.value("lagcast_pool_ready_nodes") is None, "the leader shows them"
    leads[0] = True
    b.controller._take_over(threading.Event(), lambda: None)
    assert [count for _, count in b.cluster.counts] == [3]
    assert next(iter(b.controller.pool_rows.values())).outcome.reason is Reason.APPLIED
    assert b.value("lagcast_pool_ready_nodes") == 2


def test_what_was_learned_outlives_another_budget_and_another_neighbour(bench: Callable[..., Bench]) -> None:
    maker = Maker()
    b = still(bench, maker)
    first = maker.groups[0]
    b.controller.configure([scaler("chat"), scaler("embed"), scaler("bare", None)], [pool()])
    assert maker.groups == [first], "nothing has changed"
    b.controller.configure([scaler("chat"), scaler("embed"), scaler("bare", None)], [pool(budget={"gpus": 24})])
    assert maker.groups[1].taken == {scaler("chat").uid, scaler("embed").uid}
    b.controller.configure([scaler("chat"), scaler("bare")], [pool(budget={"gpus": 24})])
    assert maker.groups[2].taken == {scaler("chat").uid}, "bare was planned alone before"


def test_a_refused_configuration_changes_nothing(bench: Callable[..., Bench]) -> None:
    maker = Maker()
    b = still(bench, maker)

    def refuse(*_: Any) -> Policy:
        raise ValueError("no")

    maker.together = refuse  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="no"):
        b.controller.configure([scaler("chat")], [pool(budget={"gpus": 24})])
    b.tick()
    assert len(b.controller.rows) == 3


def test_the_real_policy_goes_on_with_its_planners(bench: Callable[..., Bench]) -> None:
    b = bench({"chat": lambda t: 4.0, "embed": lambda t: 4.0}, pool(), node_lead_time=lambda: 100.0)
    b.run(3)
    policy = next(iter(b.controller._planned.values())).policy
    learned = dict(policy._planners)  # type: ignore[attr-defined]
    b.controller.configure([scaler("chat"), scaler("embed", weight="2")], [pool(nodes={"min": 1, "max": 5})])
    new = next(iter(b.controller._planned.values())).policy
    assert new is not policy
    assert new._planners[scaler("chat").uid] is learned[scaler("chat").uid]  # type: ignore[attr-defined]
    assert new._planners[scaler("embed").uid] is not learned[scaler("embed").uid]  # type: ignore[attr-defined]
    plan = new._pools["GpuNodePool/h100"]  # type: ignore[attr-defined]
    assert plan.planner.pool.max_nodes == 5
    b.run(2)
    assert b.clock.now() > START
