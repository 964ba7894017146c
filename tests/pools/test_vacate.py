"""Pods that go first leave whole nodes empty, and nobody else's mark is touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from scaler.observe.pods import Pod
from scaler.pools.vacate import FIRST, Mark, Tenant, marks


def pod(name: str, node: str | None, *, ready: bool = True, cost: str | None = None, ours: bool = False) -> Pod:
    return Pod(
        uid=f"uid-{name}",
        name=name,
        created=0.0,
        scheduled=None,
        ready=1.0 if ready else None,
        ends=None,
        finished=False,
        restarted=False,
        template="t",
        node=node,
        deletion_cost=cost,
        marked=cost if ours else None,
    )


def on(name: str, **nodes: int) -> list[Pod]:
    return [pod(f"{name}-{node}-{i}", node) for node, count in nodes.items() for i in range(count)]


def marked(tenants: Sequence[Tenant]) -> dict[str, int]:
    """Pods on each node that are marked to go."""
    node = {p.name: p.node for t in tenants for p in t.pods}
    return dict(Counter(str(node[mark.pod]) for mark in marks(tenants) if mark.cost is not None))


def test_the_emptiest_node_goes_first_and_no_pod_more_than_leaves() -> None:
    pods = on("chat", a=8, b=3, c=8)
    assert marked([Tenant("ml", pods, 1, 3)]) == {"b": 3}
    assert marked([Tenant("ml", pods, 1, 7)]) == {"b": 3, "a": 4}
    costs = [mark.cost for mark in marks([Tenant("ml", pods, 1, 7)])]
    assert costs == [FIRST] * 3 + [FIRST + 1] * 4


def test_a_node_on_which_another_service_stays_is_hard_to_empty() -> None:
    chat, embed = Tenant("ml", on("chat", a=2, b=4), 1, 4), Tenant("ml", on("embed", a=3, c=5), 1, 0)
    assert marked([chat, embed]) == {"b": 4}
    both = Tenant("ml", on("embed", a=3, c=5), 1, 3)
    assert marked([replace(chat, leaving=2), both]) == {"a": 5}


def test_pods_that_do_not_serve_yet_are_deleted_anyway() -> None:
    pods = [*on("chat", a=4), pod("new", "b", ready=False), pod("waits", None, ready=False)]
    assert marked([Tenant("ml", pods, 1, 2)]) == {}
    assert marked([Tenant("ml", pods, 1, 3)]) == {"a": 1}


def test_a_mark_is_put_back_when_its_pod_stays_and_a_users_cost_is_left_alone() -> None:
    pods = [pod("kept", "a", cost="-1000", ours=True), pod("users", "a", cost="7"), pod("bare", "b")]
    assert marks([Tenant("ml", pods, 1, 0)]) == (Mark("ml", "kept", "uid-kept", None),)
    assert {mark.pod: mark.cost for mark in marks([Tenant("ml", pods, 1, 3)])} == {"bare": FIRST, "kept": FIRST + 1}
    changed = replace(pods[0], deletion_cost="5")  # by a user, after we had marked it
    assert marks([Tenant("ml", [changed], 1, 0)]) == ()


def test_what_is_marked_already_is_not_written_again() -> None:
    pods = on("chat", a=2, b=1)
    (mark,) = marks([Tenant("ml", pods, 1, 1)])
    pods[-1] = replace(pods[-1], deletion_cost=str(mark.cost), marked=str(mark.cost))
    assert marks([Tenant("ml", pods, 1, 1)]) == ()


@given(
    counts=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=6),
    leaving=st.tuples(st.integers(0, 30), st.integers(0, 30)),
)
def test_exactly_those_that_leave_are_marked_and_at_most_one_node_a_service_is_emptied_in_part(
    counts: list[tuple[int, int]], leaving: tuple[int, int]
) -> None:
    names = [f"n{i}" for i in range(len(counts))]
    tenants = [
        Tenant("ml", on(who, **dict(zip(names, (c[k] for c in counts), strict=True))), 1, leaving[k])
        for k, who in enumerate(("chat", "embed"))
    ]
    written = marks(tenants)
    for tenant in tenants:
        theirs = {p.name: p for p in tenant.pods}
        gone = [theirs[mark.pod] for mark in written if mark.pod in theirs]
        assert len(gone) == min(tenant.leaving, len(tenant.pods))
        there, took = Counter(p.node for p in tenant.pods), Counter(p.node for p in gone)
        assert sum(took[node] < there[node] for node in took) <= 1
