"""The policy as an object: snapshots, determinism, a forecaster that fails, services of a group."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from forecasting.errors import NotEnoughHistory
from forecasting.series import Arrivals, Series
from scaler.plan.decision import GroupDecision
from scaler.plan.observation import Freshness, GroupObservation, LeadTime, Reading
from scaler.plan.policy import KIND, VERSION, PredictivePolicy
from scaler.plan.reasons import Reason
from tests.plan.loop import LAB, REAL, Foresight, Loop, policy_for


def wave(t: float) -> float:
    return 20.0 + 15.0 * float(np.sin(t / 20.0))


def taped(seconds: float) -> list[tuple[float, GroupObservation]]:
    """Observations of a loop, to be given to other policies."""
    tape: list[tuple[float, GroupObservation]] = []
    loop = Loop(LAB, policy_for(LAB, wave), wave, change=lambda t, o: tape.append((t, GroupObservation((o,)))) or o)
    loop.run(seconds)
    return tape


TAPE = taped(120)


def play(policy: PredictivePolicy, tape: list[tuple[float, GroupObservation]]) -> list[GroupDecision]:
    return [policy.step(t, observed) for t, observed in tape]


def same(a: list[GroupDecision], b: list[GroupDecision]) -> bool:
    return [repr(one) for one in a] == [repr(one) for one in b]


def test_the_same_input_gives_the_same_decisions() -> None:
    assert same(play(policy_for(LAB, wave), TAPE), play(policy_for(LAB, wave), TAPE))


@pytest.mark.parametrize("at", [0, 1, 17, 40])
def test_a_restored_policy_decides_byte_for_byte_the_same(at: int) -> None:
    whole = policy_for(LAB, wave)
    play(whole, TAPE[:at])
    saved = whole.snapshot()
    other = policy_for(LAB, wave)
    play(other, TAPE[20:23])  # whatever it knew is replaced
    other.restore(saved)
    assert other.snapshot() == saved
    assert same(play(whole, TAPE[at:]), play(other, TAPE[at:]))


def test_a_restored_policy_is_not_tied_to_the_other() -> None:
    first = policy_for(LAB, wave)
    play(first, TAPE[:10])
    saved = first.snapshot()
    other = policy_for(LAB, wave)
    other.restore(saved)
    play(first, TAPE[10:])
    third = policy_for(LAB, wave)
    third.restore(saved)
    assert same(play(other, TAPE[10:]), play(third, TAPE[10:]))


@pytest.mark.parametrize(
    "saved",
    [
        b"",
        b"no pickle",
        pickle.dumps(3),
        pickle.dumps(("another", VERSION, {})),
        pickle.dumps((KIND, VERSION + 1, {})),
        pickle.dumps((KIND, VERSION, 3)),
        policy_for(REAL, wave).snapshot(),
        policy_for(replace(LAB, max_replicas=29), wave).snapshot(),
        policy_for(LAB, wave, inflation=2.0).snapshot(),
    ],
)
def test_foreign_snapshots_are_refused_and_change_nothing(saved: bytes) -> None:
    policy, untouched = policy_for(LAB, wave), policy_for(LAB, wave)
    play(policy, TAPE[:5])
    play(untouched, TAPE[:5])
    with pytest.raises(ValueError, match="snapshot"):
        policy.restore(saved)
    assert same(play(policy, TAPE[5:]), play(untouched, TAPE[5:]))


class Broken(Foresight):
    """Fails in one of its methods, from the tenth call on."""

    def __init__(self, where: str, answer: object = None) -> None:
        super().__init__(wave, LAB.step)
        self.where, self.answer, self.calls = where, answer, 0

    def _maybe(self, where: str) -> None:
        if where == self.where:
            self.calls += 1
            if self.calls > 10:
                raise ZeroDivisionError("a model that divides by zero")

    def update(self, arrivals: Arrivals) -> None:
        self._maybe("update")
        super().update(arrivals)
        if self.where == "step" and arrivals.end > TAPE[10][0]:
            self.step = 0.0

    def paths(self, steps, count, rng, out=None):
        self._maybe("paths")
        drawn = super().paths(steps, count, rng, out)
        if self.where == "answer":
            self.calls += 1
            if self.calls > 10:
                return drawn[:, :1] if self.answer is None else drawn * 0 + self.answer
        return drawn


class Muddled(Broken):
    """Does not know whether it is to be believed."""

    @property
    def trusted(self) -> bool:
        self._maybe("trusted")
        return True

    @property
    def demoted(self) -> bool:
        self._maybe("trusted")
        return False

    @property
    def why(self) -> str | None:
        return None


@pytest.mark.parametrize(
    "forecaster",
    [
        pytest.param(lambda: Muddled("trusted"), id="trusted and demoted raise"),
        pytest.param(lambda: Broken("update"), id="update raises"),
        pytest.param(lambda: Broken("paths"), id="paths raises"),
        pytest.param(lambda: Broken("answer"), id="wrong shape"),
        pytest.param(lambda: Broken("answer", np.nan), id="NaN"),
        pytest.param(lambda: Broken("answer", -1.0), id="negative"),
        pytest.param(lambda: Broken("answer", np.inf), id="infinite"),
        pytest.param(lambda: Broken("step"), id="no step"),
    ],
)
def test_a_forecaster_that_fails_leaves_a_reactive_plan(forecaster) -> None:
    policy = PredictivePolicy([LAB], lambda s: forecaster())
    loop = Loop(LAB, policy, wave, start_replicas=8)
    loop.run(160)
    late = loop.decisions[15:]
    assert all(Reason.NO_FORECAST in d.reasons for d in late)
    assert not any(Reason.FORECAST_DEMOTED in d.reasons for d in late), "there was none to be found wrong"
    assert all(d.numbers.forecast is None for d in late)
    assert all(d.desired is not None and d.desired >= 1 for d in late)
    assert loop.attainment(60) > 0.9


class Learner(Foresight):
    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(wave, LAB.step)
        self.error = error

    def fit(self, history: Series) -> None:
        if self.error is not None:
            raise self.error
        super().fit(history)

    @property
    def ready(self) -> bool:
        return self.fitted is not None


def with_history(at: int, reading: Reading[Series]) -> list[tuple[float, GroupObservation]]:
    tape = list(TAPE)
    t, observed = tape[at]
    tape[at] = (t, GroupObservation((replace(observed.services[0], history=reading),)))
    return tape


SERIES = Series(0.0, 60.0, np.full(100, 20.0))


def test_the_plan_is_reactive_until_history_arrives() -> None:
    tape = with_history(20, Reading(SERIES, 0.0, Freshness.FRESH))
    decisions = play(PredictivePolicy([LAB], lambda s: Learner()), tape)
    had = [Reason.NO_FORECAST not in d.services[0].reasons for d in decisions]
    assert had == [k >= 20 for k in range(len(tape))]
    forecast = decisions[30].services[0].numbers.forecast
    assert forecast is not None
    assert forecast.model == "foresight"
    assert forecast.p05 <= forecast.p50 <= forecast.p95 <= forecast.p99


@pytest.mark.parametrize("error", [NotEnoughHistory("two steps"), RuntimeError("no convergence"), MemoryError()])
def test_a_fit_that_fails_is_no_crash(error: Exception) -> None:
    tape = with_history(20, Reading(SERIES, 0.0, Freshness.FRESH))
    decisions = play(PredictivePolicy([LAB], lambda s: Learner(error)), tape)
    assert all(Reason.NO_FORECAST in d.services[0].reasons for d in decisions)


def test_a_missing_history_is_reported_and_holds_nothing_back() -> None:
    reading: Reading[Series] = Reading(None, 0.0, Freshness.ERROR, Reason.BROKER_UNREACHABLE, "no answer")
    decisions = play(policy_for(LAB, wave), with_history(20, reading))
    plain = play(policy_for(LAB, wave), TAPE)
    assert Reason.BROKER_UNREACHABLE in decisions[20].services[0].reasons
    assert [d.services[0].desired for d in decisions] == [d.services[0].desired for d in plain]


def test_a_group_is_decided_in_the_observations_order() -> None:
    services = [replace(LAB, uid=uid) for uid in ("a", "b")]
    policy = PredictivePolicy(services, lambda s: Foresight(wave, s.step))
    alone = policy_for(replace(LAB, uid="b"), wave)
    for t, observed in TAPE[:30]:
        one = observed.services[0]
        both = policy.step(t, GroupObservation((replace(one, uid="b"), replace(one, uid="a"))))
        assert [d.uid for d in both.services] == ["b", "a"]
        assert repr(both.services[0]) == repr(alone.step(t, GroupObservation((replace(one, uid="b"),))).services[0])
    with pytest.raises(KeyError):
        policy.step(0.0, GroupObservation((replace(TAPE[0][1].services[0], uid="c"),)))
    with pytest.raises(ValueError, match="same uid"):
        PredictivePolicy([LAB, LAB], lambda s: None)


def test_the_numbers_say_what_the_decision_was_made_of() -> None:
    numbers = play(policy_for(LAB, wave), TAPE)[-1].services[0].numbers
    assert numbers.arrival_rate is not None
    assert numbers.arrival_rate > 0
    assert numbers.backlog is not None
    assert numbers.time_lag is not None
    assert numbers.service_rate == pytest.approx(LAB.service_rate, rel=0.2)
    assert numbers.lead_time == pytest.approx(LAB.lead_time, abs=1)
    assert numbers.partitions == 48
    assert numbers.floor_replicas is not None
    assert numbers.forecast_replicas is not None
    assert numbers.forecast is not None
    assert numbers.forecast.at == numbers.lead_time


@pytest.mark.parametrize(("updating", "learned"), [(True, LAB.lead_time), (False, 31.0)])
def test_a_pod_of_a_rolling_update_teaches_no_lead_time_also_when_its_last_part_is_known_later(
    updating: bool, learned: float
) -> None:
    policy, loop = policy_for(LAB, None), Loop(LAB, policy_for(LAB, None), lambda t: 10.0)
    pods = [LeadTime(f"p{n}", 0.0, 0.0, 30.0, None, loop.now + n) for n in range(20)]
    whole = [replace(pod, ready_to_partitions=1.0) for pod in pods]
    lead_time = None
    for told, flag in ((pods, updating), ([], False), (whole, False), ([], False)):
        seen = loop.observe()
        assert seen.replicas.value is not None
        state = Reading(replace(seen.replicas.value, updating=flag), loop.now, Freshness.FRESH)
        one = replace(seen, replicas=state, lead_times=tuple(told))
        lead_time = policy.step(loop.now, GroupObservation((one,))).services[0].numbers.lead_time
        loop.now += LAB.tick
    assert lead_time == pytest.approx(learned, abs=3)


def test_what_was_late_before_a_replica_could_come_is_no_verdict_on_the_plan() -> None:
    """40 requests/s from the first second on, one replica of 10: all is late until the first one asked for serves."""
    policy = policy_for(LAB, lambda t: 40.0)
    loop = Loop(LAB, policy, lambda t: 40.0)
    loop.run(6.0)
    (planner,) = policy._planners.values()
    assert planner._lateness.counted == 0.0, "nothing counts yet"
    loop.run(60.0)
    assert planner._lateness.counted > 0.0
