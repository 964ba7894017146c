"""The tick: observe, decide, act, report. One object changes hands at each step."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from scaler.act.apply import Actor
from scaler.act.order import Order, Outcome, ScalerRef
from scaler.api.gpu_node_pool import GpuNodePool
from scaler.api.predictive_scaler import PredictiveScaler
from scaler.clock import SteadyClock
from scaler.errors import where
from scaler.explain.facts import Pool, pool_of
from scaler.explain.week import Week, remember
from scaler.observe.gather import Gatherer
from scaler.observe.watched import Watched, watched
from scaler.plan.decision import GroupDecision, Numbers, Policy, PoolDecision, ServiceDecision
from scaler.plan.observation import SET_BACK, GroupObservation, ServiceObservation
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from scaler.pools.groups import Group, TakesOver, arrange, planning_groups, say
from scaler.pools.pools import Pools
from scaler.pools.row import PoolRow, PoolSeen
from scaler.telemetry import Telemetry, Who

log = logging.getLogger(__name__)

MOST_AGE = 2.0  # ticks, of a decision that a new leader carries out
MakePolicy = Callable[[PredictiveScaler, Service], Policy]


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One scaler's tick from end to end, as the status page, the demo and the lab show it."""

    resource: PredictiveScaler
    observed: ServiceObservation
    decision: ServiceDecision
    outcome: Outcome
    last_week: float | None = None  # requests/s a week before the time at which a replica asked for now would serve
    alone: str = ""  # why it is planned without the pool that it names; empty: it names none, or is planned with it
    pool: Pool | None = None  # that it is planned on


@dataclass(frozen=True, slots=True, eq=False)
class _Scaler:
    resource: PredictiveScaler
    service: Service
    watched: Watched
    week: Week
    alone: str

    @property
    def who(self) -> Who:
        return Who(self.resource.metadata.namespace, self.resource.metadata.name)


@dataclass(frozen=True, slots=True, eq=False)
class _Planned:
    """Scalers that one policy decides for."""

    group: Group
    policy: Policy


class Controller:
    """Runs the scalers it is configured with. ``tick`` (s) is the time between decisions."""

    def __init__(
        self,
        gatherer: Gatherer,
        actor: Actor,
        make_policy: MakePolicy,
        telemetry: Telemetry,
        clock: SteadyClock,
        tick: float,
        note: Callable[[Row], None] | None = None,
        leads: Callable[[], bool] = lambda: True,
        pools: Pools | None = None,
    ) -> None:
        """``note`` is told each row in the tick, and must not block: the journal. ``leads`` says whether this replica
        carries decisions out; one that does not observes, learns and decides all the same, and shows no series of its
        scalers: those are the leader's. Without ``pools``, no pool of GPU nodes is planned.
        """
        self._gatherer = gatherer
        self._actor = actor
        self._make_policy = make_policy
        self._telemetry = telemetry
        self._clock = clock
        self._tick = tick
        telemetry.interval(tick)
        self._note = note
        self._leads = leads
        self._led = leads()  # at the newest tick
        self._pools = pools
        self._scalers: dict[str, _Scaler] = {}
        self._planned: dict[str, _Planned] = {}  # by the group's key
        self._declared: tuple[GpuNodePool, ...] = ()
        self._rows: Mapping[str, Row] = {}
        self._pool_rows: Mapping[str, PoolRow] = {}
        self._newest = -math.inf  # unix s, of the newest tick
        self._last_tick: float | None = None  # steady s

    @property
    def rows(self) -> Mapping[str, Row]:
        """The newest tick's rows by uid; a new object each tick, safe to read from another thread."""
        return self._rows

    @property
    def pool_rows(self) -> Mapping[str, PoolRow]:
        """The newest tick's pools by uid, as ``rows``."""
        return self._pool_rows

    @property
    def last_tick(self) -> float | None:
        """Second of the steady clock at which the newest tick ended; None before the first."""
        return self._last_tick

    @property
    def led(self) -> bool:
        """Whether this replica led at the newest tick."""
        return self._led

    def configure(self, resources: Sequence[PredictiveScaler], pools: Sequence[GpuNodePool] = ()) -> None:
        """Take over a new configuration. A scaler keeps its policy, and what it learned, unless its plan changed, or
        what it watches or scales: then its history is read again. Scalers on one of ``pools`` are planned together.
        Whatever a policy raises for a resource goes to the caller, and nothing has changed then.
        """
        able = self._pools is not None and planning_groups(self._make_policy) is not None
        groups = arrange(resources, pools, self._tick, together=able)
        planned = {group.key: self._plan(group) for group in groups}  # raises before anything has changed
        scalers: dict[str, _Scaler] = {}
        renewed: list[str] = []
        for one in planned.values():
            kept = self._learned(one)
            for member in one.group.members:
                uid = member.service.uid
                week = self._scalers[uid].week if uid in kept else Week()
                scalers[uid] = _Scaler(member.resource, member.service, watched(member.resource), week, member.alone)
                if uid not in kept:
                    renewed.append(uid)
        before = {s.who for s in self._scalers.values()}
        after = {s.who for s in scalers.values()}
        for who in before - after:
            self._telemetry.gone(who)
        for pool in {p.metadata.name for p in self._declared} - {p.metadata.name for p in pools}:
            self._telemetry.pools.gone(pool)
        for scaler in scalers.values() if self._led else ():
            self._telemetry.configured(scaler.who, scaler.resource, scaler.service)
        for uid in renewed:
            self._gatherer.look_back_again(uid)
        self._scalers, self._planned = scalers, planned
        self._actor.keep(scalers.keys())
        self._declared = tuple(pools) if self._pools is not None else ()

    def tick(self, stop: threading.Event | None = None) -> Mapping[str, Row]:
        """Observe, decide and act once for every scaler, or for those whose turn came before ``stop`` was set.

        Never raises for what a source or target answers.
        """
        now = self._clock.now()
        self._mind_the_clock(now)
        self._take_role(self._leads())
        groups = [one.group for one in self._planned.values()]
        if self._pools is not None:
            with _alone("asking for the pools' counts"):
                self._pools.begin(self._declared)
        observed = self._gatherer.gather(now, [s.watched for s in self._scalers.values()])
        pools = self._look(now, groups, observed)
        rows: dict[str, Row] = {}
        pool_rows: dict[str, PoolRow] = {}
        for one in self._planned.values():
            if stop is not None and stop.is_set():  # each patch may take a while
                break
            seen = tuple(observed[member.service.uid] for member in one.group.members)
            decided = _decide(one, seen, pools, now)
            if self._pools is not None and self._led:
                with _alone("marking the pods of %s", one.group.pool):
                    self._pools.vacate(one.group, decided)
            on = _pool_of(one.group, pools, decided)
            for member, decision in zip(one.group.members, decided.services, strict=True):
                if stop is not None and stop.is_set():
                    break
                scaler = self._scalers[member.service.uid]
                outcome = self._act(scaler, decision, now)
                rows[member.service.uid] = self._report(scaler, observed[member.service.uid], decision, outcome, on)
            for pool in decided.pools if one.group.key in pools else ():
                self._carry_out(one.group, pools[pool.uid], pool, now, pool_rows)
        for bare in self._declared:
            if bare.uid not in self._planned and bare.uid in pools:  # no scaler names it
                self._carry_out(Group(bare.uid, (), bare), pools[bare.uid], None, now, pool_rows)
        if self._pools is not None:
            with _alone("tidying up after the pools"):
                self._pools.tidy(groups, leads=self._led)
        self._rows, self._pool_rows = rows, pool_rows
        self._last_tick = self._clock.elapsed()
        return rows

    def run(
        self,
        stop: threading.Event,
        before_tick: Callable[[], None] = lambda: None,
        after_tick: Callable[[], None] = lambda: None,
        wake: threading.Event | None = None,
    ) -> None:
        """Tick until ``stop`` is set. A tick that is late is not made up for: the next one starts on its own time.

        ``wake`` tells that this replica may lead now: what it decided last is carried out at once. Who sets ``stop``
        sets it, too, and after it.
        """
        due = self._clock.now()
        while not stop.is_set():
            try:
                before_tick()
            except Exception as error:  # noqa: BLE001 - what runs goes on
                log.error("what is declared could not be taken over: %s; please report it", where(error))
            started = self._clock.elapsed()
            failed = False
            try:
                self.tick(stop)
                if not stop.is_set():  # else it is not the time for more requests
                    after_tick()
            except Exception as error:  # noqa: BLE001 - the next tick may be well again; if none is, /healthz says so
                log.error("the tick failed: %s; nothing more was changed in it; please report it", where(error))
                failed = True
            now = self._clock.now()
            self._telemetry.ticked(self._clock.elapsed() - started, now, failed)
            due = min(max(due + self._tick, now), now + self._tick)  # a clock that was set back stops nothing
            while self._clock.wait(min(due - self._clock.now(), self._tick), wake or stop) and not stop.is_set():
                if wake is not None:
                    wake.clear()
                self._take_over(stop, after_tick)

    def close(self) -> None:
        """Close every source."""
        self._gatherer.close()
        if self._pools is not None:
            self._pools.close()

    def _plan(self, group: Group) -> _Planned:
        """The group with its policy: the one that it has, if nothing has changed that its plan knows of."""
        old = self._planned.get(group.key)
        if old is not None and _services(old.group) == _services(group) and self._same(group) == set(_services(group)):
            return _Planned(group, old.policy)
        together = None if group.pool is None else planning_groups(self._make_policy)
        if together is not None:
            return _Planned(group, together.together(group.members))
        (member,) = group.members
        return _Planned(group, self._make_policy(member.resource, member.service))

    def _learned(self, new: _Planned) -> frozenset[str]:
        """The services of which the group's policy knows what was learned."""
        old = self._planned.get(new.group.key)
        if old is None:
            return frozenset()
        if old.policy is new.policy:
            return frozenset(_services(new.group))
        if new.group.pool is None or not isinstance(new.policy, TakesOver):
            return frozenset()
        return new.policy.take_over(old.policy, self._same(new.group))

    def _same(self, group: Group) -> frozenset[str]:
        """The services of a group that are run already, and whose subject is the same."""
        return frozenset(
            member.service.uid
            for member in group.members
            if (old := self._scalers.get(member.service.uid)) is not None
            and _same_subject(old, member.resource, watched(member.resource))
        )

    def _mind_the_clock(self, now: float) -> None:
        back, self._newest = self._newest - now, now
        if back > self._tick:
            log.warning(
                "the clock was set back by %.0f s; forecasts go on when it is where it was, or, where that is more "
                "than %.0f minutes ahead, after a fit on what was before now",
                back,
                SET_BACK / 60,
            )

    def _look(
        self, now: float, groups: Sequence[Group], observed: Mapping[str, ServiceObservation]
    ) -> Mapping[str, PoolSeen]:
        """What is seen of the pools; nothing when that fails, and then their groups are held."""
        if self._pools is None:
            return {}
        try:
            return self._pools.gather(now, self._declared, groups, observed)
        except Exception as error:  # noqa: BLE001 - the services that stand on no pool go on
            log.error("observing the pools failed: %s; their services are held; please report it", where(error))
            return {}

    def _carry_out(
        self, group: Group, seen: PoolSeen, decision: PoolDecision | None, now: float, rows: dict[str, PoolRow]
    ) -> None:
        """Carry a pool's decision out, and note it in ``rows``."""
        assert self._pools is not None  # noqa: S101 - else none was seen
        assert group.pool is not None  # noqa: S101 - as above
        with _alone("carrying out or reporting %s", group.pool):
            row = self._pools.carry_out(group.pool, seen, decision, now, leads=self._led, services=len(group.members))
            rows[group.pool.uid] = row
            old = self._pool_rows.get(group.pool.uid)
            before = None if old is None else old.decision
            if decision is not None and (before is None or before.reasons != decision.reasons):
                log.info("%s: %s", group.pool, ", ".join(decision.reasons))
            if self._led:
                self._telemetry.pools.decided(row)

    def _take_over(self, stop: threading.Event, after_tick: Callable[[], None]) -> None:
        """Carry out what a new leader decided at its newest tick. Nothing is observed for it: arrivals of an instant
        would tell nothing, and its patches test the counts that were read. One who slept decides anew first."""
        try:
            self._take_role(self._leads())
            last = self._last_tick
            if not self._led or last is None or self._clock.elapsed() - last > MOST_AGE * self._tick:
                return
            now = self._clock.now()  # one for all: who finds the API server silent is found to have
            rows = dict(self._rows)
            for uid, row in self._rows.items():
                scaler = self._scalers.get(uid)
                if scaler is None or stop.is_set() or row.outcome.reason is not Reason.STANDBY:
                    continue
                rows[uid] = replace(row, outcome=self._act(scaler, row.decision, now))
                self._shown(scaler, rows[uid])
            self._rows = rows
            pool_rows = dict(self._pool_rows)
            for uid, pool in self._pool_rows.items():
                planned = self._planned.get(uid)
                if planned is not None and not stop.is_set() and pool.outcome.reason is Reason.STANDBY:
                    self._carry_out(planned.group, pool.seen, pool.decision, now, pool_rows)
            self._pool_rows = pool_rows
            if not stop.is_set():
                after_tick()
        except Exception as error:  # noqa: BLE001 - as for a tick
            log.error("taking over failed: %s; it is decided anew at the next tick; please report it", where(error))

    def _take_role(self, leads: bool) -> None:
        if leads == self._led:
            return
        self._led = leads
        for scaler in self._scalers.values():
            if leads:
                self._telemetry.configured(scaler.who, scaler.resource, scaler.service)
            else:
                self._telemetry.gone(scaler.who)
        for pool in () if leads else self._declared:
            self._telemetry.pools.gone(pool.metadata.name)

    def _act(self, scaler: _Scaler, decision: ServiceDecision, now: float) -> Outcome:
        """Carry a decision out; a fault of ours in it leaves the other scalers alone."""
        if not self._led:
            return Outcome(Reason.STANDBY)
        try:
            return self._actor.apply(_order(scaler, decision, now))
        except Exception as error:  # noqa: BLE001 - as for the decision
            said = f"carrying the decision out failed: {where(error)}"
            log.error("%s/%s: %s; please report it", scaler.who.namespace, scaler.who.name, said)
            return Outcome(Reason.INTERNAL_ERROR, said)

    def _report(
        self, scaler: _Scaler, seen: ServiceObservation, decision: ServiceDecision, outcome: Outcome, on: Pool | None
    ) -> Row:
        row = Row(scaler.resource, replace(seen, history=None), decision, outcome, alone=scaler.alone, pool=on)
        with _alone("reporting %s/%s", scaler.who.namespace, scaler.who.name):
            row = replace(row, last_week=remember(scaler.week, seen, decision, scaler.service))
            self._say(scaler, decision)
        self._shown(scaler, row)
        return row

    def _shown(self, scaler: _Scaler, row: Row) -> None:
        """In the metrics and the journal, if this replica leads."""
        if row.outcome.reason is Reason.STANDBY:
            return
        with _alone("reporting %s/%s", scaler.who.namespace, scaler.who.name):
            self._telemetry.observed(scaler.who, row.observed, row.decision.time)
            self._telemetry.decided(scaler.who, row.observed, row.decision, row.outcome)
            if self._note is not None:
                self._note(row)

    def _say(self, scaler: _Scaler, decision: ServiceDecision) -> None:
        """Log a line when the reasons change, not at every tick."""
        old = self._rows.get(decision.uid)
        if old is None or old.decision.reasons != decision.reasons:
            log.info("%s/%s: %s", scaler.who.namespace, scaler.who.name, ", ".join(decision.reasons))


def _pool_of(group: Group, pools: Mapping[str, PoolSeen], decided: GroupDecision) -> Pool | None:
    """What is to be told of the pool that the group is planned on."""
    found = next((pool for pool in decided.pools if pool.uid in pools), None)
    if group.pool is None or found is None:
        return None
    return pool_of(group.pool.metadata.name, pools[found.uid].observation, found)


@contextmanager
def _alone(doing: str, *of: object) -> Iterator[None]:
    """A fault of ours in it is said, and leaves the other scalers and pools alone. ``doing``: with a %s for each
    ``of``."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not stop the others
        log.error("%s failed: %s; please report it", doing % of, where(error))


def _order(scaler: _Scaler, decision: ServiceDecision, now: float) -> Order:
    resource = scaler.resource
    who = ScalerRef(resource.metadata.namespace, resource.metadata.name, resource.uid)
    spec = resource.spec
    return Order(who, scaler.watched.target, spec.mode, decision, now, resource.pause, spec.replicas.max)


def _services(group: Group) -> Mapping[str, Service]:
    return {member.service.uid: member.service for member in group.members}


def _same_subject(old: _Scaler, resource: PredictiveScaler, new: Watched) -> bool:
    """Whether what was learned speaks of the new resource, too: offsets, rates and lead times are of one topic, group
    and target. How its cluster is reached (credentials), its latency source and its mode may differ.
    """
    before = old.watched
    return (
        (before.target, before.topic) == (new.target, new.topic)
        and before.kafka.bootstrap_servers == new.kafka.bootstrap_servers
        and old.resource.spec.forecast == resource.spec.forecast
        and old.resource.spec.planned_events == resource.spec.planned_events
    )


def _decide(
    one: _Planned, seen: Sequence[ServiceObservation], pools: Mapping[str, PoolSeen], now: float
) -> GroupDecision:
    """One policy's decision; a fault in it holds its group and leaves the others alone."""
    members, pool = one.group.members, one.group.pool
    try:
        told = () if pool is None else (pools[pool.uid].observation,)
        decided = one.policy.step(now, GroupObservation(tuple(seen), told))
        if len(decided.services) != len(members):
            raise ValueError("a decision for each service was asked for")
        return say(decided, members)
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not stop the other scalers
        whom = ", ".join(f"{m.resource.metadata.namespace}/{m.resource.metadata.name}" for m in members)
        log.error("deciding for %s failed: %s; its count is held; please report it", whom, where(error))
    services = []
    for service in seen:
        state = service.replicas.value
        current = state.desired if state is not None else None
        services.append(ServiceDecision(service.uid, now, current, current, (Reason.INTERNAL_ERROR,), Numbers()))
    held = () if pool is None else (PoolDecision(pool.uid, now, None, (Reason.INTERNAL_ERROR,)),)
    return GroupDecision(tuple(services), held)
