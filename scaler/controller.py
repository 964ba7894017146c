"""The tick: observe, decide, act, report. One object changes hands at each step."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from scaler.act.apply import Actor
from scaler.act.order import Order, Outcome, ScalerRef
from scaler.api.predictive_scaler import PredictiveScaler, to_service
from scaler.clock import Clock
from scaler.errors import where
from scaler.explain.week import Week, remember
from scaler.observe.gather import Gatherer
from scaler.observe.watched import Watched, watched
from scaler.plan.decision import Numbers, Policy, ServiceDecision
from scaler.plan.observation import GroupObservation, ServiceObservation
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from scaler.telemetry import Telemetry, Who

log = logging.getLogger(__name__)

MakePolicy = Callable[[PredictiveScaler, Service], Policy]


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One scaler's tick from end to end, as the status page, the demo and the lab show it."""

    resource: PredictiveScaler
    observed: ServiceObservation
    decision: ServiceDecision
    outcome: Outcome
    last_week: float | None = None  # requests/s a week before the time at which a replica asked for now would serve


@dataclass(frozen=True, slots=True, eq=False)
class _Scaler:
    resource: PredictiveScaler
    service: Service
    watched: Watched
    policy: Policy
    week: Week

    @property
    def who(self) -> Who:
        return Who(self.resource.metadata.namespace, self.resource.metadata.name)


class Controller:
    """Runs the scalers it is configured with. ``tick`` (s) is the time between decisions."""

    def __init__(
        self,
        gatherer: Gatherer,
        actor: Actor,
        make_policy: MakePolicy,
        telemetry: Telemetry,
        clock: Clock,
        tick: float,
        note: Callable[[Row], None] | None = None,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        """``note`` is told each row in the tick, and must not block: the journal. ``leads`` says whether this replica
        carries decisions out; one that does not observes, learns and decides all the same, and shows no series of its
        scalers: those are the leader's.
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
        self._scalers: dict[str, _Scaler] = {}
        self._rows: Mapping[str, Row] = {}
        self._last_tick: float | None = None

    @property
    def rows(self) -> Mapping[str, Row]:
        """The newest tick's rows by uid; a new object each tick, safe to read from another thread."""
        return self._rows

    @property
    def last_tick(self) -> float | None:
        """Unix time at which the newest tick ended; None before the first."""
        return self._last_tick

    @property
    def led(self) -> bool:
        """Whether this replica led at the newest tick."""
        return self._led

    def configure(self, resources: Sequence[PredictiveScaler]) -> None:
        """Take over a new configuration. A scaler keeps its policy, and what it learned, unless its plan changed, or
        what it watches or scales: then its history is read again. Whatever a policy raises for a resource goes to the
        caller, and nothing has changed then.
        """
        scalers = {}
        renewed = []
        for resource in resources:
            service = to_service(resource, self._tick)
            old = self._scalers.get(resource.uid)
            new = watched(resource)
            if old is not None and old.service == service and _same_subject(old, resource, new):
                policy, week = old.policy, old.week
            else:
                policy, week = self._make_policy(resource, service), Week()
                renewed.append(resource.uid)
            scalers[resource.uid] = _Scaler(resource, service, new, policy, week)
        before = {s.who for s in self._scalers.values()}
        after = {s.who for s in scalers.values()}
        for who in before - after:
            self._telemetry.gone(who)
        for scaler in scalers.values() if self._led else ():
            self._telemetry.configured(scaler.who, scaler.resource, scaler.service)
        for uid in renewed:
            self._gatherer.look_back_again(uid)
        self._scalers = scalers
        self._actor.keep(scalers.keys())

    def tick(self, stop: threading.Event | None = None) -> Mapping[str, Row]:
        """Observe, decide and act once for every scaler, or for those whose turn came before ``stop`` was set.

        Never raises for what a source or target answers.
        """
        now = self._clock.now()
        self._take_role(self._leads())
        observed = self._gatherer.gather(now, [s.watched for s in self._scalers.values()])
        rows = {}
        for uid, scaler in self._scalers.items():
            if stop is not None and stop.is_set():  # each patch may take a while
                break
            seen = observed[uid]
            decision = _decide(scaler, seen, now)
            outcome = self._act(scaler, decision, now)
            rows[uid] = self._report(scaler, seen, decision, outcome)
        self._rows = rows
        self._last_tick = self._clock.now()
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
            before_tick()
            started = self._clock.now()
            failed = False
            try:
                self.tick(stop)
                after_tick()
            except Exception as error:  # noqa: BLE001 - the next tick may be well again; if none is, /healthz says so
                log.error("the tick failed: %s; nothing more was changed in it; please report it", where(error))
                failed = True
            now = self._clock.now()
            self._telemetry.ticked(now - started, now, failed)
            due = min(max(due + self._tick, now), now + self._tick)  # a clock that was set back stops nothing
            while self._clock.wait(due - self._clock.now(), wake or stop) and not stop.is_set():
                if wake is not None:
                    wake.clear()
                self._take_over(stop, after_tick)

    def close(self) -> None:
        """Close every source."""
        self._gatherer.close()

    def _take_over(self, stop: threading.Event, after_tick: Callable[[], None]) -> None:
        """Carry out what a new leader decided at its newest tick. Nothing is observed for it: arrivals of an instant
        would tell nothing, and its patches test the counts that were read."""
        try:
            self._take_role(self._leads())
            if not self._led:
                return
            rows = dict(self._rows)
            for uid, row in self._rows.items():
                scaler = self._scalers.get(uid)
                if scaler is None or stop.is_set() or row.outcome.reason is not Reason.STANDBY:
                    continue
                rows[uid] = replace(row, outcome=self._act(scaler, row.decision, self._clock.now()))
                self._show(scaler, rows[uid])
            self._rows = rows
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

    def _report(self, scaler: _Scaler, seen: ServiceObservation, decision: ServiceDecision, outcome: Outcome) -> Row:
        row = Row(scaler.resource, replace(seen, history=None), decision, outcome)
        try:
            row = replace(row, last_week=remember(scaler.week, seen, decision, scaler.service))
            self._say(scaler, decision)
            self._show(scaler, row)
        except Exception as error:  # noqa: BLE001 - a number that cannot be shown stops no scaler
            who = scaler.who
            log.error("reporting %s/%s failed: %s; please report it", who.namespace, who.name, where(error))
        return row

    def _show(self, scaler: _Scaler, row: Row) -> None:
        """In the metrics and the journal, if this replica leads."""
        if row.outcome.reason is Reason.STANDBY:
            return
        self._telemetry.observed(scaler.who, row.observed, row.decision.time)
        self._telemetry.decided(scaler.who, row.observed, row.decision, row.outcome)
        if self._note is not None:
            self._note(row)

    def _say(self, scaler: _Scaler, decision: ServiceDecision) -> None:
        """Log a line when the reasons change, not at every tick."""
        old = self._rows.get(decision.uid)
        if old is None or old.decision.reasons != decision.reasons:
            log.info("%s/%s: %s", scaler.who.namespace, scaler.who.name, ", ".join(decision.reasons))


def _order(scaler: _Scaler, decision: ServiceDecision, now: float) -> Order:
    resource = scaler.resource
    who = ScalerRef(resource.metadata.namespace, resource.metadata.name, resource.uid)
    spec = resource.spec
    return Order(who, scaler.watched.target, spec.mode, decision, now, resource.pause, spec.replicas.max)


def _same_subject(old: _Scaler, resource: PredictiveScaler, new: Watched) -> bool:
    """Whether what was learned speaks of the new resource, too: offsets, rates and lead times are of one topic, group
    and target. How its cluster is reached (credentials), its latency source and its mode may differ.
    """
    before = old.watched
    return (
        (before.target, before.topic) == (new.target, new.topic)
        and before.kafka.bootstrap_servers == new.kafka.bootstrap_servers
        and old.resource.spec.forecast == resource.spec.forecast
    )


def _decide(scaler: _Scaler, seen: ServiceObservation, now: float) -> ServiceDecision:
    """One policy's decision; a fault in it holds this scaler and leaves the others alone."""
    try:
        return scaler.policy.step(now, GroupObservation((seen,))).services[0]
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not stop the other scalers
        who = scaler.who
        log.error(
            "deciding for %s/%s failed: %s; its count is held; please report it", who.namespace, who.name, where(error)
        )
        state = seen.replicas.value
        current = state.desired if state is not None else None
        return ServiceDecision(scaler.service.uid, now, current, current, (Reason.INTERNAL_ERROR,), Numbers())
