"""A pool of GPU nodes and the services on it: nodes ordered ahead, kept while they pay, and shared.

Nodes are what is paid for, so every node that is kept is filled with pods. Nodes are ordered by what all services come
to need together when a node can serve (their paths are added before any quantile), pods stand on them by what each
needs within a pod's lead time. Scaling in empties nodes: the pods' deletion costs send away those of the emptiest one,
and the pool's floor falls only with the nodes that are empty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scaler.plan import nodes_kernel as kernel
from scaler.plan.nodes_divide import FullPool, pods_of, with_nodes
from scaler.plan.nodes_full import Division
from scaler.plan.nodes_leads import Ahead, Leads, quantile
from scaler.plan.nodes_need import PoolPlan, PoolSpec, ServiceNeed
from scaler.plan.nodes_needed import Needed, at_once
from scaler.plan.nodes_placed import Placed, Placement
from scaler.plan.nodes_present import Inverses, PresentNeeds, read
from scaler.plan.nodes_share import Claim, Late, Shares, nodes_to_keep, nothing_late
from scaler.plan.observation import Freshness, PoolObservation, PoolState
from scaler.plan.paths import quantiles
from scaler.plan.reasons import Reason
from scaler.plan.settings import NodeSettings

Floats = NDArray[np.float64]
Counts = tuple[int, ...]  # of each service

_FAULT = {
    Freshness.STALE: Reason.INPUT_STALE,
    Freshness.ABSENT: Reason.INPUT_ABSENT,
    Freshness.ERROR: Reason.INPUT_ERROR,
}
_NOTHING: Floats = np.zeros(1)
_NO_PODS: Floats = np.empty((0, 2))
_NO_NODES: Floats = np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class _Tick:
    """One tick's inputs in GPUs, the least patient service first."""

    state: PoolState
    needs: Sequence[ServiceNeed]
    ahead: Ahead
    placed: Placed
    standing: list[int]  # pods of each service that have a node
    booting: Floats  # s: ages of the nodes that are on their way, the oldest first
    needed: Needed
    inverses: list[Floats]
    per_service: Floats
    bounds: list[tuple[int, int, int]]  # least, floor, most of each service
    gpus: int  # that the most pods of all services take
    most: int  # nodes
    size: int  # GPUs of a node that pods can fill
    shut: bool  # pods wait though GPUs may look free, as on a cordoned node, or too few on each

    @property
    def paid(self) -> int:
        return self.state.ready + len(self.booting)


class NodePlanner:
    """Decides for one pool. Owns its state; no clock, no randomness."""

    def __init__(self, pool: PoolSpec, tick: float, settings: NodeSettings | None = None) -> None:
        """``tick`` in s."""
        self.pool = pool
        self.settings = settings or NodeSettings()
        self._leads = Leads(pool, tick, self.settings)
        self._placement = Placement()
        self._present = PresentNeeds()
        self._inverses = Inverses()
        self._full = FullPool(self.settings)
        self._looked = 0  # steps, at the last tick
        self._ready: int | None = None  # nodes, at the last tick
        self._came = 0.0  # unix s at which there last were more

    @property
    def looked(self) -> float:
        """Seconds ahead that the services' paths should reach at once: as far as the last tick looked, and until a new
        node serves at least."""
        ahead = self._leads.ahead
        return min(max(at_once(ahead.node, ahead), self._looked), ahead.end) * ahead.dt

    @property
    def horizon(self) -> float:
        """Seconds ahead that the services' paths should be able to reach; beyond their end the last rate goes on."""
        return self._leads.ahead.end * self._leads.ahead.dt

    def take_over(self, old: NodePlanner) -> None:
        """Go on with what ``old`` learned and held, if a node is declared the same."""
        if (old.pool.size, old.pool.lead_time) == (self.pool.size, self.pool.lead_time):
            self._leads.take_over(old._leads)
            self._present, self._full = old._present, old._full
            self._ready, self._came = old._ready, old._came

    @property
    def lead_time(self) -> float:
        """s from asked for to Ready: 95 % of the nodes take no longer, as far as is learned."""
        return self._leads.node_surely

    def step(self, now: float, observed: PoolObservation, needs: Sequence[ServiceNeed]) -> PoolPlan:
        """One tick at unix time ``now``; ``needs`` of all services on the pool. Never raises for what a source does."""
        self._leads.learn_nodes(now, observed.lead_times)
        serving = _serving(needs)  # as they are, not as they fill nodes
        needs = [_filling(need, self.pool.size) for need in needs]
        state = observed.state.value
        if not observed.state.fresh or state is None:
            # Rule 1: nothing is known of the nodes, so nothing is given up.
            fault = _FAULT.get(observed.state.freshness, Reason.INPUT_ERROR)
            counts = tuple(max(need.current, need.least, need.known) for need in needs)
            why = (fault,) if observed.state.reason is None else (fault, observed.state.reason)
            return PoolPlan(None, counts, why, division=self._undivided(needs))
        if not needs:
            return PoolPlan(state.occupied + len(state.pending_since), (), (Reason.STEADY,), 0)
        order = sorted(range(len(needs)), key=lambda i: (needs[i].slack, -needs[i].price))
        tick = self._take_in(now, state, [needs[i] for i in order])
        if self._ready is not None and state.ready > self._ready:
            self._came = now
        self._ready = state.ready
        capacity = self._capacity(tick)
        claims = with_nodes(tick.needs, self._claims(tick, 0, tick.ahead.idle), state.ready * tick.size)
        shares = Shares(claims, self._late(tick, capacity[1]))
        floor, replicas, reasons, kept, ordered = self._plan(now, tick, capacity[0], shares)
        self._looked = tick.needed.made
        place = [order.index(i) for i in range(len(needs))]
        counts = tuple([replicas[i] for i in place])
        waiting = tuple([tick.needs[i].current - tick.standing[i] for i in place])
        missing = self._missing(now, state)
        if missing:  # no service gets what does not come
            shares = Shares(shares.claims, self._late(tick, np.zeros_like(capacity[1])))
        if serving > state.ready * self.pool.size:
            # Rule 1: pods serve on nodes that are not told of, or not as Ready. None of them is given up for it.
            counts = tuple([max(count, n.current) for count, n in zip(counts, needs, strict=True)])
            division = self._undivided(needs)
            reasons = (*reasons, Reason.NODES_UNSEEN)
        else:
            division = self._division(now, tick, place, shares, missing)
        fits = division is None or division.fits([max(min(n.asked, n.most), n.least) for n in needs])
        none_comes = division is not None and division.total <= state.ready * tick.size
        if division is not None and not fits and (none_comes or state.ready >= tick.most):
            # What each service asks for is known before its own rules, and does it not fit, the nodes are shared by
            # what was worth most over a while.
            counts = division.divided(division.most)
        spare = self.pool.enforced and fits and not any(waiting)  # else an emptied node goes by another's rule
        node = tick.ahead.node
        middle, high = quantiles(_peaks(tick.needed.until(node), node - 1, node), (0.5, 0.95))
        needed = middle, high
        return PoolPlan(
            floor, counts, reasons, kept, ordered, needed=needed, waiting=waiting, spare=spare, division=division
        )

    # --- a full pool

    def _missing(self, now: float, state: PoolState) -> int:
        """Nodes on their way that do not come, as where a cloud has no GPUs left: after ``overdue`` lead times without
        any that became Ready. Where nodes come for pending pods only, those have to go on waiting for them.
        """
        if not self.pool.enforced:
            return 0
        lasts = self.settings.overdue * self._leads.node_surely
        return sum([now - max(since, self._came) > lasts for since in state.pending_since])

    def _division(self, now: float, tick: _Tick, place: Sequence[int], made: Shares, missing: int) -> Division | None:
        """In the order of ``place``, from the shares that the pool's own plan goes by; None where it has no most.
        ``missing`` nodes do not come, and so would none that were ordered now. What serves there is room for."""
        if self.pool.max_nodes is None:
            return None
        paid = tick.state.ready + len(tick.state.pending_since)
        total = (paid - missing if missing else max(self.pool.max_nodes, paid)) * tick.size
        total = max(total, _serving(tick.needs))
        return self._full.division(
            now,
            [tick.needs[i] for i in place],
            [made.claims[i] for i in place],
            lambda s, counts: made.late(place[s], counts),
            total,
            tick.ahead.pod * tick.ahead.dt,
        )

    def _undivided(self, needs: Sequence[ServiceNeed]) -> Division | None:
        """While the nodes are not known: nobody gives up a pod, and what the most nodes have left is shared."""
        if self.pool.max_nodes is None or not needs:
            return None
        gpus, current, least, most = pods_of(needs)
        least = tuple(max(pair) for pair in zip(least, current, strict=True))
        most = tuple(max(pair) for pair in zip(least, most, strict=True))
        claims = [
            Claim(need.gpus, low, need.known, high, need.weight, quantile(need.leads, 0.95), np.zeros(1), need.current)
            for need, low, high in zip(needs, least, most, strict=True)
        ]
        total = self.pool.max_nodes * _usable(self.pool.size, gpus)
        return Division(Shares(claims, nothing_late), gpus, current, least, most, total, move=False)

    # --- what is known

    def _take_in(self, now: float, state: PoolState, needs: Sequence[ServiceNeed]) -> _Tick:
        self._leads.learn_pods([need.leads for need in needs])
        ahead, size = self._leads.ahead, _usable(self.pool.size, [need.gpus for need in needs])
        room, gpus = state.ready * size, 0
        inverses, rows, bounds = [], [], []
        for need in needs:
            room -= need.gpus * need.ready
            inverses.append(self._inverses.of(need))
            most_pods = max(need.most, need.least)
            bounds.append((need.least, need.known, most_pods))
            gpus += most_pods * need.gpus
            # In the order of the kernel's columns.
            backlog, serving = need.backlog * need.gpus / need.rate, min(need.ready, need.current)
            rows.append((backlog, need.slack, need.price * need.rate, need.gpus, serving))
        placed = self._placement.follow(now, room, needs)
        standing = [min(n.ready, n.current) + len(ages) for n, ages in zip(needs, placed.ages, strict=True)]
        most = -(-gpus // size)
        if self.pool.max_nodes is not None:
            most = min(most, self.pool.max_nodes)
        booting = self._booting(now, state, placed, most, size)
        needed, per_service = Needed(needs, inverses, ahead, self.settings), np.array(rows, np.float64)
        # One that waits for longer than a node takes waits for something else.
        lately = now - self._leads.node_surely
        shut = any(since >= lately for need in needs for since in need.unscheduled_since)
        return _Tick(
            state,
            needs,
            ahead,
            placed,
            standing,
            booting,
            needed,
            inverses,
            per_service,
            bounds,
            gpus,
            most,
            size,
            shut,
        )

    def _booting(self, now: float, state: PoolState, placed: Placed, most: int, size: int) -> Floats:
        """Rule 3: nodes on their way, those that an autoscaler has yet to ask for included: pods wait for them."""
        if not (state.pending_since or placed.waiting):
            return _NO_NODES
        ages = [max(now - since, 0.0) for since in state.pending_since]
        waits = [(since, gpus) for since, gpus in placed.waiting if now - since <= self._leads.node_surely]
        missing = -(-sum(gpus for _, gpus in waits) // size) - len(ages)
        missing = min(missing, most - state.ready - len(ages))
        if missing > 0:
            ages += [max(now - waits[-1][0], 0.0)] * missing
        return np.array(sorted(ages, reverse=True), np.float64)

    # --- the answer

    def _plan(
        self, now: float, tick: _Tick, capacity: Floats, shares: Shares
    ) -> tuple[int, Counts, tuple[Reason, ...], int, int]:
        """The floor, replicas in the tick's order, reasons, nodes kept and ordered; ``capacity``: GPUs that serve,
        [steps]."""
        size, ahead, state, needs = tick.size, tick.ahead, tick.state, tick.needs
        now_needs, later_needs = self._present_needs(now, tick, capacity)
        guaranteed = 0
        for need, (least, floor, _) in zip(needs, tick.bounds, strict=True):
            guaranteed += max(least, floor) * need.gpus
        ordered, late = self._order(tick, capacity)
        missed = late > 0.0 and late > float(self._tolerated(tick, ahead.node).sum())
        if missed:
            # Late whatever is ordered: no node saves anything by itself, and the plan would give up. What most paths
            # need when new nodes come is still known.
            usual = float(np.median(_peaks(tick.needed.until(ahead.node), ahead.first, ahead.node)))
            ordered = max(ordered, min(math.ceil(usual / size - 1e-9), tick.most) - tick.paid)
        present = -(-max(guaranteed, math.ceil(later_needs - 1e-9)) // size)
        lacking = max(min(present, tick.most) - tick.paid, 0)
        reason = Reason.REACTIVE_FLOOR if lacking > ordered else Reason.FORECAST
        ordered = max(ordered, lacking)
        stays = -(-max(guaranteed, math.ceil(now_needs - 1e-9)) // size)
        # Of all: no more are emptied while those that are have yet to go, so that what was held falls slowly.
        released = max(math.ceil(self.settings.release * state.ready), self.settings.release_least)
        stays = max(stays, state.ready - released)
        kept, counts = self._keep(tick, shares, state.ready if ordered else stays)
        # Where nodes come for pending pods only, the pods of those that are on their way have to be there, too.
        replicas = counts if self.pool.enforced else self._fill(tick, kept + len(tick.booting) + ordered, counts)
        floor = max(state.occupied, kept) + len(tick.booting) + ordered
        reasons = [reason if ordered or kept < state.occupied else Reason.STEADY]
        full = tick.most == self.pool.max_nodes and tick.paid + ordered >= tick.most
        if full and (missed or present > tick.most):
            reasons.append(Reason.POOL_FULL)
        # What is held stays asked for, also where it has to wait for a node.
        replicas = tuple([max(pair) for pair in zip(replicas, [need.least for need in needs], strict=True)])
        return floor, replicas, tuple(reasons), kept, ordered

    def _order(self, tick: _Tick, capacity: Floats) -> tuple[int, float]:
        """Nodes that are worth their price, and the price of the work that is late with them."""
        ahead = tick.ahead
        if kernel.late_cost(tick.needed.until(ahead.node), tick.per_service, capacity, ahead.dt) <= 0.0:  # as a rule
            return 0, 0.0
        # Again over the paths that go on longer: not of every forecaster are they the same up to here.
        return kernel.nodes_to_order(
            tick.needed.until(ahead.end),
            tick.per_service,
            capacity,
            ahead.first,
            ahead.end,
            tick.paid,
            tick.most,
            float(tick.size),
            ahead.dt,
            self._leads.node_mean + self.pool.idle,
            self.settings.overlap,
            self.settings.wait,
            self.settings.reach,
            self._leads.nodes,
            self._leads.pods.all,
        )

    def _capacity(self, tick: _Tick) -> Floats:
        """GPUs that serve in each step, [2, steps], see the kernel."""
        serving, starting, pods = 0, 0, []
        for need, ages in zip(tick.needs, tick.placed.ages, strict=True):
            serving += need.gpus * min(need.ready, need.current)
            starting += need.gpus * len(ages)
            pods += [(need.gpus, age) for age in ages.tolist()]
        free = 0 if tick.shut else max(tick.state.ready * tick.size - serving - starting, 0)
        base = np.empty((2, tick.ahead.node))
        kernel.standing_capacity(
            tick.ahead.dt,
            float(serving),
            float(free),
            np.array(pods, np.float64) if pods else _NO_PODS,
            tick.booting,
            float(tick.size),
            float(tick.gpus),
            self._leads.nodes,
            self._leads.pods.all,
            base,
        )
        return base

    def _present_needs(self, now: float, tick: _Tick, capacity: Floats) -> tuple[float, float]:
        """Rule 4, GPUs: the newest level goes on, and the backlog is drained, the present one (what goes acts at once)
        and what is left of it when a new node serves, by when a burst's peak is no level any more: the last minute's
        mean. The largest of the last ``held_leads`` lead times.
        """
        s = self.settings
        level = sum([read(inverse, _share(need)) for need, inverse in zip(tick.needs, tick.inverses, strict=True)])
        backlog = float(np.add.reduce(tick.per_service[:, kernel.BACKLOG]))
        left = kernel.left_over(backlog, self._present.level(now, level, s.lately), capacity, tick.ahead.dt)
        served, hold = s.present * level, s.held_leads * tick.ahead.surely
        return self._present.largest(now, served + backlog / s.drain, served + left / s.drain, hold)

    def _keep(self, tick: _Tick, shares: Shares, least: int) -> tuple[int, tuple[int, ...]]:
        """Nodes that stay filled, and the pods on them."""
        ahead, counts, kept = tick.ahead, tick.standing, tick.state.ready
        if least < kept:
            peak = _peaks(tick.needed.until(ahead.idle), 0, ahead.idle)
            window, tolerated = ahead.pod * ahead.dt, self._tolerated(tick, ahead.pod).tolist()
            kept = nodes_to_keep(shares, counts, tick.state, least, tick.size, window, peak, tolerated)
        room = kept * tick.size
        if kept == tick.state.ready:  # what serves there is room for, also on nodes that were just lost
            room = max(room, _serving(tick.needs))
        return kept, shares.divide(room, counts, move=True)

    def _late(self, tick: _Tick, coming: Floats) -> Late:
        """The price of a service's late work by its pods; ``coming``: GPUs on nodes that boot, [steps]."""
        ahead, parts = tick.ahead, list[Floats]()

        def late(service: int, counts: Sequence[int]) -> list[float]:
            if not parts:  # most ticks ask for none
                parts.extend(self._parts(tick, coming))
            lates = np.empty(len(counts))
            kernel.late_alone(
                service,
                np.array(counts),
                tick.needed.until(ahead.pod),
                tick.per_service,
                tick.placed.ages[service],
                parts[service],
                ahead.dt,
                self._leads.pods.each[service],
                lates,
            )
            made: list[float] = lates.tolist()
            return made

        return late

    def _parts(self, tick: _Tick, coming: Floats) -> list[Floats]:
        """Of what serves on nodes that boot, which is nobody's yet: each service has its part by what it needs."""
        soon = coming[: tick.ahead.pod]
        if len(tick.booting) == 0:
            return [soon] * len(tick.needs)
        work = kernel.mean_work(tick.needed.until(tick.ahead.pod), tick.ahead.pod)
        return list(soon * (work / np.maximum(work.sum(axis=0), 1e-9)))

    def _fill(self, tick: _Tick, nodes: int, counts: Sequence[int]) -> tuple[int, ...]:
        """Replicas that fill ``nodes``, those that wait for a node included; at least ``counts``, which have one."""
        claims = self._claims(tick, tick.ahead.first, tick.ahead.end, counts)
        shares = Shares(claims, nothing_late)  # on a node that boots they change no lateness yet
        filled = shares.divide(nodes * tick.size, [need.current for need in tick.needs], move=False)
        pairs = list(zip(counts, tick.standing, strict=True))
        # What is only guaranteed, as to a service of which nothing is known, takes nothing: it waits for its nodes.
        if not any(n > max(stands, need.least) for (n, stands), need in zip(pairs, tick.needs, strict=True)):
            return filled
        # A GPU changes hands now. The first pods that go are those without a node: who gives one up keeps none of them.
        return tuple([count if count < stands else n for n, (count, stands) in zip(filled, pairs, strict=True)])

    def _claims(self, tick: _Tick, first: int, last: int, held: Sequence[int] | None = None) -> list[Claim]:
        """With the peaks of the steps [first, last); each service has ``held`` pods at least, even above its most."""
        shared = len(tick.needs) > 1  # else one gets all
        held = held or [0] * len(tick.needs)
        claims = []
        for s, (need, stands, (least, floor, most)) in enumerate(
            zip(tick.needs, tick.standing, tick.bounds, strict=True)
        ):
            least_held, most_held = max(least, held[s]), max(most, held[s])
            # Of all steps, which most pools look at next, see `_fill`.
            peak = _peaks(tick.needed.until(tick.ahead.end)[s : s + 1], first, last) if shared else _NOTHING
            lead = self._leads.pods.surely[s]
            claims.append(Claim(need.gpus, least_held, floor, most_held, need.weight, lead, peak, stands))
        return claims

    def _tolerated(self, tick: _Tick, steps: int) -> Floats:
        """The price, [S], of the late work that the objectives allow in so many steps."""
        shares = np.array([max(1.0 - need.share, 0.0) for need in tick.needs])
        work = kernel.mean_work(tick.needed.until(steps), steps).sum(axis=1) * tick.ahead.dt
        tolerated: Floats = shares * work * tick.per_service[:, kernel.PRICE]
        return tolerated


def _serving(needs: Sequence[ServiceNeed]) -> int:
    """GPUs of the pods that serve."""
    return sum([need.gpus * min(need.ready, need.current) for need in needs])


def _filling(need: ServiceNeed, size: int) -> ServiceNeed:
    """With the GPUs of its pods' parts of a node that they fill: of five of eight nobody else has the other three."""
    pods = size // need.gpus
    filled = need.gpus if pods == 0 or size % pods else size // pods
    return need if filled == need.gpus else replace(need, gpus=filled)


def _usable(size: int, gpus: Sequence[int]) -> int:
    """GPUs of a node of ``size`` that pods fill, whichever of the services' pods they are; a pod that fits on no node
    fills none."""
    return min([size // one * one or size for one in gpus])


def _peaks(needed: Floats, first: int, last: int) -> Floats:
    """The most GPUs that each path needs in the steps [first, last), for all of the services together."""
    peaks = np.empty(needed.shape[1])
    kernel.peaks(needed, first, last, peaks)
    return peaks


def _share(need: ServiceNeed) -> float:
    """The newest level over what the most replicas give."""
    return min(need.level / max(need.highest, 1e-9), 1.0)
