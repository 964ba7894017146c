"""The policy that plans ahead: one planner for each service, and their state as bytes."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from forecasting.fitting import Fitter, InPlace
from forecasting.forecaster import Forecaster
from scaler.plan.answer import Room
from scaler.plan.decision import GroupDecision, Policy, PoolDecision
from scaler.plan.observation import GroupObservation
from scaler.plan.planner import ServicePlanner
from scaler.plan.pooled import PooledPlan
from scaler.plan.service import Service
from scaler.plan.settings import NodeSettings, PlanSettings

KIND = "lagcast.PredictivePolicy"
VERSION = 23


class PredictivePolicy:
    """Plans every service over the sample paths of its forecaster; fulfils :class:`scaler.plan.decision.Policy`.

    ``forecasters`` makes the forecaster of a service, or None: the same plan over the present level, without foresight.
    ``fitter`` runs their fits: without one, each step in which a fit is due takes as long as that.
    """

    def __init__(
        self,
        services: Sequence[Service],
        forecasters: Callable[[Service], Forecaster | None],
        settings: PlanSettings | None = None,
        fitter: Fitter | None = None,
    ) -> None:
        self._settings = settings or PlanSettings()
        self._fitter = fitter or InPlace()
        self._planners = {s.uid: ServicePlanner(s, forecasters(s), self._settings, self._fitter) for s in services}
        if len(self._planners) != len(services):
            raise ValueError("two services of a group have the same uid")
        self._pools = _pools(self._planners, self._settings.nodes)

    def step(self, now: float, observed: GroupObservation) -> GroupDecision:
        """One tick at unix time ``now``; a decision for each service that was observed, in that order.

        Raises KeyError for a service that the policy was not made for.
        """
        prepared = {}
        for one in observed.services:
            planner = self._planners[one.uid]
            pool = None if planner.service.pool is None else self._pools[planner.service.pool.uid]
            ahead = (0.0, 0.0) if pool is None else (pool.planner.looked, pool.planner.horizon)
            prepared[one.uid] = planner.prepare(now, one, *ahead)
        seen = [state for state in observed.pools if state.uid in self._pools]
        pooled = [self._pools[state.uid].step(now, state, prepared) for state in seen]
        wanted = {uid: count for one in pooled for uid, count in one.wanted.items()}
        spare = {uid for one in pooled for uid in one.spare}
        spare |= {uid for uid in prepared if self._planners[uid].service.pool is None}
        answers = {
            uid: self._planners[uid].answer(known, wanted.get(uid), uid in spare) for uid, known in prepared.items()
        }
        pools: list[PoolDecision] = []
        rooms: dict[str, Room] = {}
        for pool_answer in pooled:
            asked = {uid: self._planners[uid].asked(answers[uid]) for uid in pool_answer.uids}
            decision, room = pool_answer.rooms(asked)
            pools.append(decision)
            rooms |= room
        services = [self._planners[uid].bounded(answer, rooms.get(uid)) for uid, answer in answers.items()]
        return GroupDecision(tuple(services), tuple(pools))

    def take_over(self, old: Policy, uids: frozenset[str]) -> frozenset[str]:
        """Go on with what ``old`` learned of the services ``uids``, and of nodes, as far as they are declared the same
        but for their pool's limits; the services of which it did.
        """
        if not isinstance(old, PredictivePolicy) or old._settings != self._settings:
            return frozenset()
        taken = set()
        for uid in uids & self._planners.keys() & old._planners.keys():
            mine, before = self._planners[uid].service, old._planners[uid]
            if _same_plan(before.service, mine):
                before.service = mine
                before.fitted_by(self._fitter)
                self._planners[uid] = before
                taken.add(uid)
        nodes = {uid: plan.planner for uid, plan in old._pools.items()}
        self._pools = _pools(self._planners, self._settings.nodes)
        for uid, plan in self._pools.items():
            plan.take_over(nodes.get(uid))
        return frozenset(taken)

    def snapshot(self) -> bytes:
        """All state, forecasters included. To be restored only from where nobody else can write: it is a pickle."""
        return pickle.dumps((KIND, VERSION, (self._planners, self._pools)), protocol=5)

    def restore(self, saved: bytes) -> None:
        """Take over a snapshot of the same services. Raises ValueError for anything else, and changes nothing then."""
        made_for: dict[str, object] = {}
        planners, pools = self._planners, self._pools
        try:
            kind, version, state = pickle.loads(saved)  # noqa: S301 - see snapshot
            if (kind, version) == (KIND, VERSION):
                planners, pools = state
                made_for = {uid: (p.service, p.settings) for uid, p in planners.items()}
        except Exception as error:  # foreign bytes fail in any way
            raise ValueError("these bytes are no snapshot of a policy: start without one") from error
        if (kind, version) != (KIND, VERSION):
            raise ValueError(f"a snapshot of {kind!r} version {version}, not of {KIND!r} version {VERSION}")
        if made_for != {uid: (p.service, self._settings) for uid, p in self._planners.items()}:
            raise ValueError("the snapshot was made for other services or other settings: start without it")
        for planner in planners.values():
            planner.fitted_by(self._fitter)
        self._planners, self._pools = planners, pools


def _same_plan(old: Service, new: Service) -> bool:
    """Whether they differ in their pool's limits, and in whether they are paused, at most."""
    if (old.pool is None) != (new.pool is None):
        return False
    if replace(old, pool=None, paused=False) != replace(new, pool=None, paused=False):
        return False
    return old.pool is None or new.pool is None or old.pool.lead_time == new.pool.lead_time


def _pools(planners: Mapping[str, ServicePlanner], settings: NodeSettings) -> dict[str, PooledPlan]:
    """One plan for each pool that services declare. Raises ValueError when two declare one pool differently."""
    specs = {p.service.pool for p in planners.values() if p.service.pool is not None}
    if len({spec.uid for spec in specs}) != len(specs):
        raise ValueError("two services of a group declare the same pool with other values: they must be the same")
    return {
        spec.uid: PooledPlan(spec, {uid: p for uid, p in planners.items() if p.service.pool == spec}, settings)
        for spec in specs
    }
