"""From asking for a node to its being Ready. Pure: times are handed in.

Nobody tells which node answers which request: the oldest request is answered by the node that appears first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from scaler.observe.nodes import Node

MOST_NODES = 15_000  # that a cluster can have; a field that says more is no count of nodes

LONGEST = 6 * 3600.0  # s; a longer way is that of another node


@dataclass(slots=True)
class _Ask:
    at: float  # unix s
    seen: bool  # the pool's count was seen to rise: else it may have been asked for long before


@dataclass(slots=True)
class _Way:
    since: float  # unix s at which the node was asked for, as far as is known; of one that is Ready: now
    seen: bool
    told: bool = False


class NodeWays:
    """Follows the nodes of one pool; each node's lead time is told once."""

    def __init__(self) -> None:
        self._asks: deque[_Ask] = deque()  # for nodes that do not exist yet, the oldest first
        self._ways: dict[str, _Way] | None = None  # by uid
        self._floor = 0  # nodes that the pool was told to keep, at the last step
        self._wrote: float | None = None  # unix s of our own write since the last step
        self._before = 0.0

    def asked(self, at: float) -> None:
        """Lagcast raised the pool's count at unix time ``at``."""
        self._wrote = at

    def step(self, now: float, nodes: Sequence[Node], ready: frozenset[str], floor: int) -> tuple[float, ...]:
        """Take in the pool's ``nodes`` at unix time ``now``, which of them (uids) are Ready, and the count that it was
        told to keep; s from asked for to Ready of those that became Ready since the last step.
        """
        floor = min(floor, MOST_NODES)  # whatever stands in the field
        first = self._ways is None
        known = self._ways or {}
        there = sum(node.uid in known for node in nodes)
        rose = not first and floor > self._floor
        at = self._wrote if rose and self._wrote is not None else now
        missing = floor - (len(nodes) if first else there)
        self._asks.extend(_Ask(at, rose) for _ in range(missing - len(self._asks)))
        self._ways = {}
        for node in sorted(nodes, key=lambda n: (n.created, n.name)):
            self._ways[node.uid] = known.get(node.uid) or self._begun(node, first)
        while len(self._asks) > max(floor - len(nodes), 0):
            self._asks.pop()
        told = []
        for node in nodes:
            way = self._ways[node.uid]
            if node.uid not in ready:
                continue
            since, way.since = way.since, now  # one that is lost is on its way from when it was
            if way.told:
                continue
            way.told = True
            # The second that the kubelet stamped, unless its GPUs came later: it was not Ready at the last step.
            stamp = now if node.ready is None else node.ready + 0.5
            took = min(max(stamp, self._before), now) - since
            if way.seen and 0 <= took <= LONGEST:
                told.append(took)
        self._floor, self._wrote, self._before = floor, None, now
        return tuple(told)

    def pending(self, nodes: Sequence[Node], ready: frozenset[str]) -> tuple[float, ...]:
        """Unix s at which each node was asked for that is not Ready, as of the last step, ascending."""
        ways = self._ways or {}
        booting = [ways[node.uid].since for node in nodes if node.uid not in ready and node.uid in ways]
        return tuple(sorted(booting + [ask.at for ask in self._asks]))

    def since(self, node: Node) -> float | None:
        """Unix s at which a node was asked for, or was last Ready; None for one that was not there at the last step."""
        way = (self._ways or {}).get(node.uid)
        return None if way is None else way.since

    def _begun(self, node: Node, first: bool) -> _Way:
        if first or not self._asks:  # found, or made for somebody else's pods
            return _Way(node.created, seen=False)
        ask = self._asks.popleft()
        return _Way(min(ask.at, node.created + 1.0), ask.seen)
