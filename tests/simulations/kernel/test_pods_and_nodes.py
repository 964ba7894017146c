"""Pods and GPU nodes: when they come, where they go, who leaves first, and what is paid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulations.cluster import Cluster
from simulations.kernel import pods as column
from simulations.measures import measure, node_hours
from simulations.run import simulate
from simulations.setting import Between, NodePool, Removal, ScaleIn
from tests.simulations.kernel.cases import Scripted, drive, load, one, setting_of

FEW = settings(max_examples=20, deadline=None)


def pool(size: int = 4, lead: float = 100.0, idle: float = 60.0, **more: object) -> NodePool:
    return NodePool("gpus", size, Between(lead, lead), idle, **more)  # type: ignore[arg-type]


def used(cluster: Cluster) -> list[int]:
    """Pods on each Ready node."""
    rows = cluster.fleet.nodes
    return rows[rows[:, column.N_STATE] == column.UP, column.N_PODS].tolist()


def test_a_pod_is_paid_from_the_request_and_serves_after_its_lead_time() -> None:
    setting = setting_of((one(lead_time=Between(20.0, 20.0), replicas=1),), tick=10.0)
    policy = Scripted([1, 3, 3, 3, 0])
    record = simulate(setting, [load([0.0] * 60)], policy, name="x")
    (service,) = record.services
    assert service.ready.tolist() == [1] * 30 + [3] * 10 + [0] * 20
    assert service.pending.tolist() == [0] * 10 + [2] * 20 + [0] * 30
    (row,) = measure(record)
    assert row.replica_hours == pytest.approx((10 * 1 + 30 * 3) / 3600)
    assert row.pending_replica_hours == pytest.approx(40 / 3600)
    assert row.cost == row.gpu_hours == row.replica_hours
    state = policy.seen[2].services[0].replicas.value
    assert state is not None
    assert (state.desired, state.ready, state.pending_since) == (3, 1, (1_000_010.0,) * 2)
    (lead, _), ready_at = policy.seen[3].services[0].lead_times, 1_000_030.0
    assert (lead.created_to_scheduled, lead.scheduled_to_ready, lead.ready_at) == (0.0, 20.0, ready_at)


def test_a_pods_lead_time_begins_when_a_node_has_room_for_it() -> None:
    # 4 on one node; 6 more want two nodes, which take 100 s, and then their 20 s.
    setting = setting_of((one(lead_time=Between(20.0, 20.0), replicas=4),), pool(), tick=10.0)
    policy = Scripted([10])
    record = simulate(setting, [load([0.0] * 200)], policy, name="x")
    (service,) = record.services
    assert service.ready.tolist() == [4] * 120 + [10] * 80
    assert record.pool is not None
    assert record.pool.asked.tolist() == [3] * 200
    assert record.pool.ready.tolist() == [1] * 100 + [3] * 100
    assert [t for t, seen in enumerate(policy.seen) if seen.services[0].lead_times] == [12]
    assert {lead.total for seen in policy.seen for lead in seen.services[0].lead_times} == {120.0}
    assert policy.seen[5].pools[0].state.value.pending_since == (1_000_000.0,) * 2
    assert [t for t, seen in enumerate(policy.seen) if seen.pools[0].lead_times] == [10]


def test_pods_that_do_not_fit_any_more_wait_for_good_when_the_pool_is_full() -> None:
    setting = setting_of((one(replicas=4),), pool(max_nodes=2), tick=10.0)
    record = simulate(setting, [load([0.0] * 300)], Scripted([11]), name="x")
    assert record.services[0].ready[-1] == 8
    assert record.pool.asked.max() == 2


def test_scale_in_takes_waiting_pods_first_then_the_newest_on_the_fullest_node() -> None:
    setting = setting_of((one(replicas=9),), pool(lead=1000.0), tick=10.0)
    # 4, 4, 1; seven more fit three, four wait: those go first, then the newest of a full node.
    policy = Scripted([9, 16, 12, 12, 10])
    looks: list[list[int]] = []
    drive(Cluster(setting, (load([0.0] * 50),)), policy, lambda cluster: looks.append(used(cluster)))
    assert looks == [[4, 4, 1], [4, 4, 4], [4, 4, 4], [4, 4, 4], [4, 4, 2]]


def test_the_replica_set_spreads_its_deletions_and_deletion_costs_empty_a_node() -> None:
    left = {}
    for how, vacate in ((ScaleIn.FULLEST, False), (ScaleIn.EMPTIEST, False), (ScaleIn.FULLEST, True)):
        setting = setting_of((one(replicas=9),), pool(scale_in=how), tick=10.0)
        cluster = drive(Cluster(setting, (load([0.0] * 20),)), Scripted([9, 7], vacate=vacate))
        left[how, vacate] = used(cluster)
    assert left[ScaleIn.FULLEST, False] == [4, 2, 1]
    assert left[ScaleIn.EMPTIEST, False] == left[ScaleIn.FULLEST, True] == [4, 3, 0]


def test_vacate_holds_for_the_very_decision_that_says_it() -> None:
    cluster = Cluster(setting_of((one(replicas=9),), pool(), tick=10.0), (load([0.0] * 40),))
    for count, vacate in ((9, False), (7, True), (7, False)):
        policy = Scripted([count], vacate=vacate)
        cluster.apply(policy.step(cluster.now, cluster.observe()))
        cluster.advance()
    assert used(cluster) == [4, 3, 0]


def test_an_idle_node_goes_under_karpenter_and_under_cluster_autoscaler_not_soon_after_growth() -> None:
    def asked(removal: Removal) -> list[int]:
        # Two full nodes; a third is ordered at 10 s; at 40 s all but four pods go, and two nodes are empty. The floor
        # orders a fourth at 80 s, Ready at 100 s.
        setting = setting_of((one(replicas=8),), pool(removal=removal, lead=20.0, idle=60.0), tick=10.0)
        policy = Scripted([8, 12, 12, 12, 4], [None] * 8 + [4, 0], vacate=True)
        made = drive(Cluster(setting, (load([0.0] * 200),)), policy).pool()
        assert made is not None
        return made.asked.tolist()

    grown = [2] * 10 + [3] * 70 + [4] * 20
    assert asked(Removal.KARPENTER) == grown + [2] * 60 + [1] * 40
    assert asked(Removal.CLUSTER_AUTOSCALER) == grown + [4] * 40 + [2] * 20 + [1] * 40


def test_a_floor_orders_nodes_ahead_and_keeps_them() -> None:
    setting = setting_of((one(replicas=1),), pool(lead=20.0, idle=30.0), tick=10.0)
    policy = Scripted([1], floors=[None, 3, 3, 3, None, None, None, None, None, None, 1])
    record = simulate(setting, [load([0.0] * 200)], policy, name="x")
    assert record.pool.asked.tolist() == [1] * 10 + [3] * 90 + [1] * 100
    assert record.pool.ready.tolist() == [1] * 30 + [3] * 70 + [1] * 100
    assert record.pool.empty.tolist() == [0] * 30 + [2] * 70 + [0] * 100
    assert policy.seen[5].pools[0].state.value.floor == 3
    assert node_hours(record) == pytest.approx((10 + 270 + 100) / 3600)
    assert measure(record)[0].gpu_hours == pytest.approx(4 * (10 + 270 + 100) / 3600)


@FEW
@given(
    counts=st.lists(st.integers(0, 12), min_size=2, max_size=12),
    floors=st.lists(st.one_of(st.none(), st.integers(0, 4)), min_size=1, max_size=12),
    weights=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    how=st.sampled_from(ScaleIn),
    removal=st.sampled_from(Removal),
    most=st.one_of(st.none(), st.integers(2, 5)),
)
def test_nodes_are_never_overfull_and_what_is_paid_is_the_sum_of_their_lives(
    counts: list[int],
    floors: list[int | None],
    weights: tuple[int, int],
    how: ScaleIn,
    removal: Removal,
    most: int | None,
) -> None:
    nodes = NodePool("gpus", 3, Between(5.0, 30.0), 20.0, removal, 1.0, most, how)
    services = tuple(
        one(uid=f"s{k}", weight=w, lead_time=Between(3.0, 20.0), replicas=1) for k, w in enumerate(weights)
    )
    lives: dict[int, int] = {}  # number of the node: seconds seen

    def look(cluster: Cluster) -> None:
        rows = cluster.fleet.nodes
        there = rows[rows[:, column.N_STATE] != column.FREE]
        for number in there[:, column.N_NUMBER].tolist():
            lives[number] = lives.get(number, 0) + 1
        if most is not None:
            assert len(there) <= most
        load_of: dict[int, int] = {}
        for pod in cluster.fleet.pods:
            if pod[column.STATE] == column.WAITING:
                assert pod[column.NODE] == column.NO_NODE
                continue
            node = int(pod[column.NODE])
            assert rows[node, column.N_STATE] == column.UP
            load_of[node] = load_of.get(node, 0) + weights[pod[column.SERVICE]]
        for node in range(len(rows)):
            if rows[node, column.N_STATE] != column.FREE:
                assert rows[node, column.N_USED] == load_of.get(node, 0) <= 3

    class EveryTen(Scripted):
        """One tick is a second; the script's next line comes every ten."""

        def step(self, now, observed):  # type: ignore[no-untyped-def]
            at = len(self.seen) // 10
            self._now = counts[at % len(counts)], floors[at % len(floors)]
            self._counts, self._floors = [self._now[0]], [self._now[1]]
            return super().step(now, observed)

    cluster = Cluster(setting_of(services, nodes, tick=1.0), (load([0.0] * 150),) * 2)
    made = drive(cluster, EveryTen([0]), look).pool()
    assert made is not None
    assert int(made.asked.sum()) == sum(lives.values())
    assert (made.empty <= made.ready).all()
    assert (made.ready <= made.asked).all()
    columns = cluster.columns()
    script = np.repeat([counts[k % len(counts)] for k in range(15)], 10)
    for service in columns:
        assert (service.ready + service.pending == script).all()
