"""All pods and nodes of a run and their arrays: made from the setting, run by the compiled kernel."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from simulations.kernel import pods as kernel
from simulations.kernel.draws import Stream, stream, uniform
from simulations.setting import SESSION_TIMEOUT, Removal, ScaleIn, Setting

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_EVENT_COLUMNS = 6


class Fleet:
    """Pods of every service and the nodes that they share. Times are seconds of the run."""

    def __init__(self, setting: Setting, seconds: int) -> None:
        self._setting = setting
        pool = setting.pool
        count = len(setting.services)
        rows = sum(s.service.max_replicas + s.replicas for s in setting.services) + 16
        self._pods = np.zeros((rows, kernel.POD_COLUMNS), np.int64)
        self._services = np.zeros((count, kernel.SERVICE_COLUMNS), np.int64)
        self._services[:, kernel.WEIGHT] = [s.weight for s in setting.services]
        self._nodes = np.zeros((rows if pool else 1, kernel.NODE_COLUMNS), np.int64)
        self._node_leads = np.zeros(2 * len(self._nodes), np.int64)
        self._events = np.zeros((4 * rows, _EVENT_COLUMNS), np.int64)
        self.ready = np.zeros((count, seconds), np.int64)
        self.pending = np.zeros((count, seconds), np.int64)
        self.pool = np.zeros((3, seconds if pool else 0), np.int64)
        leads = [s.lead_time for s in setting.services] + [pool.lead_time if pool else setting.services[0].lead_time]
        self._leads = np.array([(lead.low, lead.high) for lead in leads])
        pods = [stream(setting.seed, Stream.POD, k) for k in range(count)]
        self._seeds = np.array([*pods, stream(setting.seed, Stream.NODE)], np.uint64)
        self._faults = stream(setting.seed, Stream.FAULT)
        self._fault = 0
        self._told = 0
        self._whole = np.zeros(kernel.WHOLE, np.int64)
        self._whole[kernel.NEXT] = kernel.NEVER
        self._whole[kernel.GROWN] = -kernel.NEVER
        if pool is not None:
            self._whole[kernel.SIZE], self._whole[kernel.IDLE] = pool.size, math.ceil(pool.idle)
            self._whole[kernel.VACATE] = pool.scale_in is ScaleIn.EMPTIEST
            self._whole[kernel.MOST] = kernel.NEVER if pool.max_nodes is None else pool.max_nodes
            if pool.removal is Removal.CLUSTER_AUTOSCALER:
                self._whole[kernel.SCALE_DOWN_DELAY] = math.ceil(pool.idle)
        kernel.start(
            np.array([s.replicas for s in setting.services]),
            self._pods,
            self._nodes,
            self._services,
            self._whole,
        )

    def resize(self, second: int, service: int, count: int) -> None:
        """Ask for ``count`` pods of a service, from ``second`` on."""
        change = count - self.count(service)
        if change:
            self._make_room(max(change, 0))
            kernel.resize(second, service, change, self._pods, self._nodes, self._services, self._events, self._whole)

    def keep(self, second: int, floor: int | None, vacate: bool) -> None:
        """Keep at least ``floor`` nodes (None: as many as before); ``vacate``: scale in from the emptiest node."""
        pool = self._setting.pool
        self._whole[kernel.VACATE] = vacate or (pool is not None and pool.scale_in is ScaleIn.EMPTIEST)
        if floor is not None and floor != self._whole[kernel.FLOOR]:
            self._whole[kernel.FLOOR] = floor
            self._whole[kernel.NEXT] = min(int(self._whole[kernel.NEXT]), second)
            self._make_room(0, floor)

    def run(self, first: int, last: int) -> None:
        """The seconds ``first`` to ``last``."""
        kernel.pass_seconds(
            first,
            last,
            self._pods,
            self._nodes,
            self._services,
            self._events,
            self._node_leads,
            self.ready,
            self.pending,
            self.pool,
            self._leads,
            self._seeds,
            self._whole,
        )

    def lose_node(self, second: int, detected_after: float) -> bool:
        """One Ready node goes, and its pods are made anew after ``detected_after`` (s); False when there is none."""
        self._make_room(0)
        anew = second + math.ceil(detected_after)
        out = second + math.ceil(min(detected_after, SESSION_TIMEOUT))
        return kernel.lose_node(
            second, self._draw(), anew, out, self._pods, self._nodes, self._services, self._events, self._whole
        )

    def crash_pod(self, second: int, service: int, detected_after: float) -> bool:
        """One serving pod starts anew; its group misses it after ``detected_after`` (s). False when none serves."""
        self._make_room(0)
        out = second + math.ceil(detected_after)
        lead = self._setting.services[service].lead_time
        wait = lead.low + (lead.high - lead.low) * self._draw()
        return kernel.crash_pod(
            second, service, self._draw(), wait, out, self._pods, self._services, self._events, self._whole
        )

    def _draw(self) -> float:
        self._fault += 1
        return float(uniform(self._faults, self._fault))

    def _make_room(self, more_pods: int, nodes: int = 0) -> None:
        """Grow the tables before they are full: twice what is there and is asked for."""
        there = int(self._whole[kernel.PODS])
        if there + more_pods > len(self._pods):
            self._pods = _grown(self._pods, 2 * (there + more_pods))
        if self._setting.pool is not None:
            # Each waiting pod may need a node of its own beside those that are there.
            needed = int(self._whole[kernel.ROWS]) + there + more_pods + nodes
            if needed > len(self._nodes):
                self._nodes = _grown(self._nodes, 2 * needed)
                self._node_leads = _grown(self._node_leads, 4 * needed)
        needed = int(self._whole[kernel.EVENTS]) + 4 * (there + more_pods)
        if needed > len(self._events):
            self._events = _grown(self._events, 2 * needed)

    def count(self, service: int) -> int:
        """Pods of a service: asked for, and so paid."""
        return int(self._services[service, kernel.COUNT])

    def up(self, service: int) -> int:
        """Pods of a service that serve."""
        return int(self._services[service, kernel.UP_NOW])

    def pending_since(self, service: int) -> tuple[int, ...]:
        """When each pod that does not serve yet was created (s)."""
        there = self._pods[: int(self._whole[kernel.PODS])]
        mine = (there[:, kernel.SERVICE] == service) & (there[:, kernel.STATE] != kernel.SERVING)
        return tuple(there[mine, kernel.ASKED].tolist())

    @property
    def changes(self) -> int:
        """Grows whenever a pod or a node changes its state."""
        return int(self._whole[kernel.CHANGES])

    @property
    def events(self) -> Ints:
        """What became of pods, at least since the last tick: rows of the columns in kernel.queue, in order of time."""
        return self._events

    @property
    def happened(self) -> int:
        """Rows of ``events`` that count."""
        return int(self._whole[kernel.EVENTS])

    @property
    def node_leads(self) -> tuple[float, ...]:
        """Seconds from asked for to Ready of the nodes that got Ready since the last ``tell``."""
        return tuple(float(s) for s in self._node_leads[: int(self._whole[kernel.LEADS])])

    def arrive(self, second: int) -> None:
        """Let what is due at ``second`` happen before somebody looks."""
        if self._whole[kernel.NEXT] <= second:
            kernel.settle(
                second,
                self._pods,
                self._nodes,
                self._services,
                self._events,
                self._node_leads,
                self._leads,
                self._seeds,
                self._whole,
            )

    @property
    def untold(self) -> Ints:
        """The rows of ``events`` since the last ``tell``."""
        return self._events[self._told : self.happened]

    def tell(self, second: int) -> None:
        """All has been told: begin a new list, but for what happened at ``second``, which no queue has seen yet."""
        happened = self.happened
        if happened:
            kept = self._events[:happened][self._events[:happened, 0] >= second]
            self._events[: len(kept)] = kept
            self._whole[kernel.EVENTS] = self._told = len(kept)
        self._whole[kernel.LEADS] = 0

    @property
    def floor(self) -> int:
        """Nodes that are kept at least."""
        return int(self._whole[kernel.FLOOR])

    @property
    def nodes(self) -> Ints:
        """The nodes' rows that are in use or were, of the columns in kernel.pods."""
        return self._nodes[: int(self._whole[kernel.ROWS])]

    @property
    def pods(self) -> Ints:
        """The pods' rows, oldest first, of the columns in kernel.pods."""
        return self._pods[: int(self._whole[kernel.PODS])]


def _grown(table: Ints, rows: int) -> Ints:
    more = np.zeros((rows - len(table), *table.shape[1:]), np.int64)
    return np.concatenate((table, more))
