"""Pods and GPU nodes, second by second: ordered, pending, serving, removed. Services may share the nodes.

A pod waits for a node with room (without a pool it needs none), then serves after its lead time. Nodes are ordered for
pods that fit neither on what is Ready nor on what is on its way, and to keep the floor; they go when they have been
empty for a while. Pods take the fullest node that has room (bin packing, as GPU clusters are set up).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from simulations.kernel.draws import uniform

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Seeds = NDArray[np.uint64]

# Columns of ``pods``, int64 [pods, columns], in order of creation; times are seconds of the run.
SERVICE, STATE, ASKED, SCHEDULED, READY, NODE, NUMBER, RANK = range(8)
POD_COLUMNS = 8
WAITING, STARTING, LOST, SERVING = range(4)  # in the order in which a scale-in takes them
# Columns of ``nodes``, int64 [nodes, columns]; a row is used again.
N_STATE, N_ASKED, N_READY, N_USED, N_PODS, N_EMPTY, N_NUMBER, N_ROOM = range(8)
NODE_COLUMNS = 8
FREE, BOOTING, UP = range(3)
# Columns of ``services``, int64 [services, columns].
COUNT, UP_NOW, MADE, WEIGHT = range(4)
SERVICE_COLUMNS = 4
# ``whole``, int64.
PODS, NEXT, GROWN, FLOOR, ORDERED, SIZE, IDLE, SCALE_DOWN_DELAY = range(8)
MOST, VACATE, EVENTS, LEADS, CHANGES, ROWS, NODES_MADE = range(8, 15)
WHOLE = 15
# What an event says of a pod, its sign. Of one that died the column ASKED says when its group takes it for gone.
JOINED, LEFT, DIED = 1, -1, -2
# Rows of ``pool``, int64 [rows, seconds].
PAID, NODES_UP, NODES_EMPTY = range(3)

NEVER = 1 << 60
NO_NODE = -1


@compiled
def start(replicas: Ints, pods: Ints, nodes: Ints, services: Ints, whole: Ints) -> None:
    """Begin with so many serving pods of each service, on as few nodes as hold them."""
    for service in range(len(replicas)):
        weight = services[service, WEIGHT]
        for _ in range(replicas[service]):
            i = whole[PODS]
            pods[i, SERVICE], pods[i, STATE], pods[i, NODE] = service, SERVING, NO_NODE
            pods[i, NUMBER] = services[service, MADE]
            services[service, MADE] += 1
            services[service, COUNT] += 1
            services[service, UP_NOW] += 1
            whole[PODS] += 1
            if whole[SIZE] == 0:
                continue
            n = 0
            while n < whole[ROWS] and nodes[n, N_USED] + weight > whole[SIZE]:
                n += 1
            if n == whole[ROWS]:
                nodes[n, N_STATE], nodes[n, N_EMPTY], nodes[n, N_NUMBER] = UP, NEVER, whole[NODES_MADE]
                whole[ROWS] += 1
                whole[NODES_MADE] += 1
                whole[ORDERED] += 1
            pods[i, NODE] = n
            nodes[n, N_USED] += weight
            nodes[n, N_PODS] += 1


@compiled
def pass_seconds(
    first: int,
    last: int,
    pods: Ints,
    nodes: Ints,
    services: Ints,
    events: Ints,
    node_leads: Ints,
    ready: Ints,  # [services, seconds]
    pending: Ints,  # [services, seconds]
    pool: Ints,
    leads: Floats,  # [services + 1, 2], low and high; the last row is the nodes'
    seeds: Seeds,  # [services + 1]
    whole: Ints,
) -> None:
    """Run the seconds ``first`` to ``last``: write the columns by second, and an event for each pod that got ready."""
    s = first
    while s < last:
        if s >= whole[NEXT]:
            settle(s, pods, nodes, services, events, node_leads, leads, seeds, whole)
        until = min(max(whole[NEXT], s + 1), last)
        for k in range(len(services)):
            up, missing = services[k, UP_NOW], services[k, COUNT] - services[k, UP_NOW]
            for t in range(s, until):
                ready[k, t], pending[k, t] = up, missing
        if whole[SIZE] > 0:
            paid = up_nodes = empty = 0
            for n in range(whole[ROWS]):
                paid += nodes[n, N_STATE] != FREE
                up_nodes += nodes[n, N_STATE] == UP
                empty += nodes[n, N_STATE] == UP and nodes[n, N_PODS] == 0
            for t in range(s, until):
                pool[PAID, t], pool[NODES_UP, t], pool[NODES_EMPTY, t] = paid, up_nodes, empty
        s = until


@compiled
def settle(
    s: int,
    pods: Ints,
    nodes: Ints,
    services: Ints,
    events: Ints,
    node_leads: Ints,
    leads: Floats,
    seeds: Seeds,
    whole: Ints,
) -> None:
    """Let happen what is due at second ``s``, and note when the next thing is."""
    for n in range(whole[ROWS]):
        if nodes[n, N_STATE] == BOOTING and nodes[n, N_READY] <= s:
            nodes[n, N_STATE], nodes[n, N_EMPTY] = UP, s
            node_leads[whole[LEADS]] = s - nodes[n, N_ASKED]
            whole[LEADS] += 1
            whole[CHANGES] += 1
    _make_anew(s, pods, nodes, services, events, whole)
    waiting = _schedule(s, pods, nodes, services, leads, seeds, whole)
    for i in range(whole[PODS]):
        if pods[i, STATE] == STARTING and pods[i, READY] <= s:
            pods[i, STATE] = SERVING
            services[pods[i, SERVICE], UP_NOW] += 1
            _tell(s, pods[i], JOINED, events, whole)
    if whole[SIZE] > 0:
        _remove_nodes(s, nodes, whole)
        _order_nodes(s, waiting, pods, nodes, services, leads, seeds, whole)
    _look_ahead(pods, nodes, whole)


@compiled
def resize(
    s: int,
    service: int,
    change: int,
    pods: Ints,
    nodes: Ints,
    services: Ints,
    events: Ints,
    whole: Ints,
) -> None:
    """Create ``change`` pods of a service at second ``s``, or remove as many when it is negative."""
    whole[NEXT] = min(whole[NEXT], s)
    whole[CHANGES] += 1
    for _ in range(max(change, 0)):
        i = whole[PODS]
        pods[i, SERVICE], pods[i, STATE], pods[i, ASKED] = service, WAITING, s
        pods[i, SCHEDULED] = pods[i, READY] = NEVER
        pods[i, NODE], pods[i, NUMBER] = NO_NODE, services[service, MADE]
        whole[PODS] += 1
        services[service, MADE] += 1
        services[service, COUNT] += 1
    if change < 0:
        _rank(service, pods, nodes, whole)
        for _ in range(-change):
            _delete(s, _first_to_go(service, pods, whole), pods, nodes, services, events, whole)


@compiled
def lose_node(
    s: int,
    draw: float,
    anew: int,
    out: int,
    pods: Ints,
    nodes: Ints,
    services: Ints,
    events: Ints,
    whole: Ints,
) -> bool:
    """Take one Ready node away at second ``s``, chosen by ``draw``. False: there is none.

    Its pods serve no more, and are made anew at second ``anew``; their groups take them for gone at second ``out``.
    """
    up = 0
    for n in range(whole[ROWS]):
        up += nodes[n, N_STATE] == UP
    if up == 0:
        return False
    chosen, lost = int(draw * up), NO_NODE
    for n in range(whole[ROWS]):
        if nodes[n, N_STATE] == UP:
            if chosen == 0:
                lost = n
            chosen -= 1
    for i in range(whole[PODS]):
        if pods[i, NODE] == lost:
            if pods[i, STATE] == SERVING:
                services[pods[i, SERVICE], UP_NOW] -= 1
                _tell_death(s, pods[i], out, events, whole)
            pods[i, STATE], pods[i, NODE], pods[i, READY] = LOST, NO_NODE, anew
    nodes[lost, N_STATE] = FREE
    whole[ORDERED] -= 1
    whole[NEXT] = min(whole[NEXT], s)
    whole[CHANGES] += 1
    return True


@compiled
def _make_anew(s: int, pods: Ints, nodes: Ints, services: Ints, events: Ints, whole: Ints) -> None:
    """Pods of lost nodes that are taken for gone by second ``s`` go, and as many new ones are created."""
    again = np.zeros(len(services), np.int64)
    i = whole[PODS] - 1
    while i >= 0:
        if pods[i, STATE] == LOST and pods[i, READY] <= s:
            again[pods[i, SERVICE]] += 1
            _delete(s, i, pods, nodes, services, events, whole)
        i -= 1
    for k in range(len(services)):
        if again[k] > 0:
            resize(s, k, again[k], pods, nodes, services, events, whole)


@compiled
def crash_pod(
    s: int,
    service: int,
    which: float,
    lead: float,
    out: int,
    pods: Ints,
    services: Ints,
    events: Ints,
    whole: Ints,
) -> bool:
    """Let one serving pod, chosen by the draw ``which``, start anew in its place. False: none serves.

    Its group takes the consumer that died for gone at second ``out``.
    """
    up = services[service, UP_NOW]
    if up == 0:
        return False
    chosen = int(which * up)
    for i in range(whole[PODS]):
        if pods[i, SERVICE] == service and pods[i, STATE] == SERVING:
            if chosen == 0:
                _tell_death(s, pods[i], out, events, whole)
                pods[i, STATE], pods[i, READY] = STARTING, max(math.ceil(s + lead), s + 1)
                pods[i, SCHEDULED] = NEVER  # from here on it is a restart, of which no lead time is told
                services[service, UP_NOW] -= 1
                whole[NEXT] = min(whole[NEXT], s)
                whole[CHANGES] += 1
                return True
            chosen -= 1
    return False


@compiled
def _tell(s: int, pod: Ints, sign: int, events: Ints, whole: Ints) -> None:
    e = whole[EVENTS]
    events[e, 0], events[e, 1], events[e, 2], events[e, 3] = s, pod[SERVICE], pod[NUMBER], sign
    events[e, 4], events[e, 5] = pod[ASKED], pod[SCHEDULED]
    whole[EVENTS] += 1
    whole[CHANGES] += 1


@compiled
def _tell_death(s: int, pod: Ints, out: int, events: Ints, whole: Ints) -> None:
    _tell(s, pod, DIED, events, whole)
    events[whole[EVENTS] - 1, 4] = out


@compiled
def _rank(service: int, pods: Ints, nodes: Ints, whole: Ints) -> None:
    """Who goes first at a scale-in, the smallest rank: as the ReplicaSet controller sorts the pods it deletes.

    Without a node, then not ready, then the lowest deletion cost, then those on the node with the most pods of the
    same set, then the newest. Ranks are taken once for a scale-in, as there. ``VACATE``: deletion costs are set, from
    the emptiest node (fewest GPUs used, the newest of equals) to the fullest.
    """
    alike = np.zeros(len(nodes), np.int64)
    for i in range(whole[PODS]):
        if pods[i, SERVICE] == service and pods[i, NODE] != NO_NODE:
            alike[pods[i, NODE]] += 1
    for i in range(whole[PODS]):
        n = pods[i, NODE]
        rank = 0
        if n != NO_NODE:
            rank = nodes[n, N_USED] * (1 << 30) - nodes[n, N_NUMBER] if whole[VACATE] else -alike[n]
        pods[i, RANK] = pods[i, STATE] * (1 << 50) + rank


@compiled
def _first_to_go(service: int, pods: Ints, whole: Ints) -> int:
    best = -1
    for i in range(whole[PODS]):
        if pods[i, SERVICE] == service and (best < 0 or pods[i, RANK] <= pods[best, RANK]):
            best = i
    return best


@compiled
def _delete(s: int, i: int, pods: Ints, nodes: Ints, services: Ints, events: Ints, whole: Ints) -> None:
    service, n = pods[i, SERVICE], pods[i, NODE]
    services[service, COUNT] -= 1
    if pods[i, STATE] == SERVING:
        services[service, UP_NOW] -= 1
        _tell(s, pods[i], LEFT, events, whole)
    if n != NO_NODE:
        nodes[n, N_USED] -= services[service, WEIGHT]
        nodes[n, N_PODS] -= 1
        if nodes[n, N_PODS] == 0:
            nodes[n, N_EMPTY] = s
    for k in range(i, whole[PODS] - 1):
        for c in range(POD_COLUMNS):
            pods[k, c] = pods[k + 1, c]
    whole[PODS] -= 1
    whole[NEXT] = min(whole[NEXT], s)


@compiled
def _schedule(s: int, pods: Ints, nodes: Ints, services: Ints, leads: Floats, seeds: Seeds, whole: Ints) -> int:
    """Give each waiting pod a node, the oldest pod first; returns how many still wait."""
    waiting = 0
    for i in range(whole[PODS]):
        if pods[i, STATE] != WAITING:
            continue
        service = pods[i, SERVICE]
        if whole[SIZE] > 0:
            best = NO_NODE
            for n in range(whole[ROWS]):
                fits = nodes[n, N_STATE] == UP and nodes[n, N_USED] + services[service, WEIGHT] <= whole[SIZE]
                if fits and (best == NO_NODE or nodes[n, N_USED] > nodes[best, N_USED]):
                    best = n
            if best == NO_NODE:
                waiting += 1
                continue
            pods[i, NODE] = best
            nodes[best, N_USED] += services[service, WEIGHT]
            nodes[best, N_PODS] += 1
        low, high = leads[service, 0], leads[service, 1]
        lead = low + (high - low) * uniform(seeds[service], pods[i, NUMBER])
        pods[i, STATE], pods[i, SCHEDULED], pods[i, READY] = STARTING, s, math.ceil(s + lead)
    return waiting


@compiled
def _remove_nodes(s: int, nodes: Ints, whole: Ints) -> None:
    """Take away what has been empty for long enough, the longest empty first, down to the floor."""
    if s < whole[GROWN] + whole[SCALE_DOWN_DELAY]:
        return
    while whole[ORDERED] > whole[FLOOR]:
        goes = NO_NODE
        for n in range(whole[ROWS]):
            idle = nodes[n, N_STATE] == UP and nodes[n, N_PODS] == 0 and nodes[n, N_EMPTY] + whole[IDLE] <= s
            if idle and (goes == NO_NODE or nodes[n, N_EMPTY] < nodes[goes, N_EMPTY]):
                goes = n
        if goes == NO_NODE:
            return
        nodes[goes, N_STATE] = FREE
        whole[ORDERED] -= 1


@compiled
def _order_nodes(
    s: int, waiting: int, pods: Ints, nodes: Ints, services: Ints, leads: Floats, seeds: Seeds, whole: Ints
) -> None:
    """Order nodes for waiting pods that do not fit on those that are on their way, and up to the floor."""
    while whole[ORDERED] < min(whole[FLOOR], whole[MOST]):
        _order(s, nodes, leads, seeds, whole)
    if waiting == 0:
        return
    for n in range(whole[ROWS]):
        nodes[n, N_ROOM] = whole[SIZE] if nodes[n, N_STATE] == BOOTING else 0
    for i in range(whole[PODS]):
        if pods[i, STATE] != WAITING:
            continue
        weight = services[pods[i, SERVICE], WEIGHT]
        best = NO_NODE
        for n in range(whole[ROWS]):
            if nodes[n, N_ROOM] >= weight and (best == NO_NODE or nodes[n, N_ROOM] < nodes[best, N_ROOM]):
                best = n
        if best == NO_NODE and whole[ORDERED] < whole[MOST]:
            best = _order(s, nodes, leads, seeds, whole)
            nodes[best, N_ROOM] = whole[SIZE]
        if best != NO_NODE:
            nodes[best, N_ROOM] -= weight


@compiled
def _order(s: int, nodes: Ints, leads: Floats, seeds: Seeds, whole: Ints) -> int:
    n = 0
    while n < whole[ROWS] and nodes[n, N_STATE] != FREE:
        n += 1
    whole[ROWS] = max(whole[ROWS], n + 1)
    low, high = leads[-1, 0], leads[-1, 1]
    lead = low + (high - low) * uniform(seeds[-1], whole[NODES_MADE])
    nodes[n, N_STATE], nodes[n, N_ASKED], nodes[n, N_READY] = BOOTING, s, max(math.ceil(s + lead), s + 1)
    nodes[n, N_USED] = nodes[n, N_PODS] = 0
    nodes[n, N_EMPTY], nodes[n, N_NUMBER] = NEVER, whole[NODES_MADE]
    whole[NODES_MADE] += 1
    whole[ORDERED] += 1
    whole[GROWN] = s
    whole[CHANGES] += 1
    return n


@compiled
def _look_ahead(pods: Ints, nodes: Ints, whole: Ints) -> None:
    due = NEVER
    for i in range(whole[PODS]):
        if pods[i, STATE] == STARTING or pods[i, STATE] == LOST:
            due = min(due, pods[i, READY])
    for n in range(whole[ROWS]):
        if nodes[n, N_STATE] == BOOTING:
            due = min(due, nodes[n, N_READY])
        elif nodes[n, N_STATE] == UP and nodes[n, N_PODS] == 0 and whole[ORDERED] > whole[FLOOR]:
            due = min(due, max(nodes[n, N_EMPTY] + whole[IDLE], whole[GROWN] + whole[SCALE_DOWN_DELAY]))
    whole[NEXT] = due
