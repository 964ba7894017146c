"""Which pods are to go first when services on a pool scale in, so that whole nodes become empty. Pure.

A ReplicaSet deletes pods without a node and those that are not Ready first; of the others the one with the lowest
``pod-deletion-cost``, and without costs one of those on the fullest node. So the pods on the nodes that are nearest to
being empty get a negative cost, a node at a time; who stays loses it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scaler.observe.pods import Pod

FIRST = -1000
"""Cost of the pods on the node that is emptied first; each further node's is one more."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """One service's pods on a pool. ``leaving`` of them are to go at its next patch; ``gpus`` of one."""

    namespace: str
    pods: Sequence[Pod]
    gpus: int
    leaving: int


@dataclass(frozen=True, slots=True)
class Mark:
    """One pod's deletion cost is to be ``cost``; None: as it was before Lagcast wrote one."""

    namespace: str
    pod: str
    uid: str
    cost: int | None


def marks(tenants: Sequence[Tenant]) -> tuple[Mark, ...]:
    """What is to be written, the pods of the node that is emptied first before the others; those that are to be put
    back come last. A cost that somebody else wrote is left alone.
    """
    wanted = _costs(tenants)
    change, back = [], []
    for tenant in tenants:
        for pod in tenant.pods:
            ours = pod.marked is not None and pod.deletion_cost == pod.marked
            if pod.terminating or pod.finished or (pod.deletion_cost is not None and not ours):
                continue
            cost = wanted.get(pod.uid)
            if cost is None and ours:
                back.append(Mark(tenant.namespace, pod.name, pod.uid, None))
            elif cost is not None and pod.deletion_cost != str(cost):
                change.append(Mark(tenant.namespace, pod.name, pod.uid, cost))
    change.sort(key=lambda mark: (mark.cost or 0, mark.namespace, mark.pod))
    return (*change, *back)


def _costs(tenants: Sequence[Tenant]) -> Mapping[str, int]:
    """Pod uid -> its cost, for those that are to go."""
    # The controller takes those first that do not serve yet: they need no cost, and the others are so many fewer.
    left = [max(t.leaving - sum(p.counts and p.ready is None for p in t.pods), 0) for t in tenants]
    serving = [[p for p in t.pods if p.counts and p.ready is not None and p.node] for t in tenants]
    on: dict[str, Counter[int]] = {}
    for number, pods in enumerate(serving):
        for pod in pods:
            on.setdefault(str(pod.node), Counter())[number] += 1
    costs: dict[str, int] = {}
    rank = 0
    while any(left) and on:
        node = min(on, key=lambda name: _hardness(name, on[name], left, tenants))
        leaving = {n: min(count, left[n]) for n, count in on.pop(node).items()}
        for number, count in leaving.items():
            for pod in _youngest(serving[number], node)[:count]:
                costs[pod.uid] = FIRST + rank
            left[number] -= count
        rank += any(leaving.values())
    return costs


def _hardness(name: str, on: Counter[int], left: Sequence[int], tenants: Sequence[Tenant]) -> tuple[int, int, str]:
    """How hard a node is to empty: GPUs of pods that would stay on it, then GPUs of all; its name where equal."""
    stay = sum(max(count - left[n], 0) * tenants[n].gpus for n, count in on.items())
    return stay, sum(count * tenants[n].gpus for n, count in on.items()), name


def _youngest(pods: Iterable[Pod], node: str) -> list[Pod]:
    return sorted((p for p in pods if p.node == node), key=lambda p: (-p.created, p.name))
