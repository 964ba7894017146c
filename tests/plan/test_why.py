"""What a decision says of why its count is no lower: the scale-in hold, what was lately needed, or rule 5."""

from __future__ import annotations

import pytest

from scaler.explain.facts import facts
from scaler.explain.stages import explain
from scaler.plan.observation import ServiceObservation
from scaler.plan.prepared import Plan, Seen
from scaler.plan.reasons import Reason
from scaler.plan.why import kept_up_by, reasons_of
from tests.plan.loop import REAL, Loop, policy_for


@pytest.mark.parametrize(
    ("count", "answered", "need", "why"),
    [
        (10, 10, 10, ()),
        (12, 12, 10, (Reason.SCALE_IN_DELAYED,)),
        (12, 10, 12, (Reason.HELD_NEED,)),
        (12, 12, 12, (Reason.SCALE_IN_DELAYED,)),
        (14, 12, 11, (Reason.SCALE_IN_UNSAFE,)),
    ],
)
def test_what_kept_a_count_up_is_the_highest_of_what_did(
    count: int, answered: int, need: int, why: tuple[Reason, ...]
) -> None:
    assert kept_up_by(count, 10, answered, need) == why


@pytest.mark.slow
def test_what_was_lately_needed_is_named_when_it_holds_a_count_that_nothing_else_does() -> None:
    """After a fall from 60 to 20 requests/s, which was foreseen: the need of the last four lead times goes slowly."""
    seen: dict[float, ServiceObservation] = {}

    def load(t: float) -> float:
        return 60.0 if t - loop.start < 1800.0 else 20.0

    def keep(t: float, observed: ServiceObservation) -> ServiceObservation:
        seen[t] = observed
        return observed

    loop = Loop(REAL, policy_for(REAL, load, experiments=False), load, start_replicas=40, change=keep)
    loop.run(2700.0)
    after = [d for d in loop.decisions if d.time - loop.start > 1800.0 + REAL.scale_in_hold + REAL.tick]
    bound = [
        d
        for d in after
        if d.desired is not None
        and d.numbers.forecast_replicas is not None
        and max(d.numbers.forecast_replicas, d.numbers.floor_replicas or 0) < d.desired == d.numbers.held_replicas
    ]
    assert bound
    assert all(Reason.HELD_NEED in d.reasons for d in bound)
    one = bound[0]
    found = explain(facts(seen[one.time], one, REAL, namespace="n", name="x", target="Deployment/x", mode="Recommend"))
    (scale_in,) = (stage for stage in found.stages if stage.name == "scaleIn")
    assert one.desired in [q.value for q in scale_in.numbers if q.name == "lately needed"]
    assert "Nothing held" not in scale_in.sentence
    assert loop.decisions[-1].desired == loop.decisions[-1].numbers.forecast_replicas, "in the end it goes"


def decided(current: int, count: int, desired: int, source: Reason, *limits: Reason) -> tuple[Reason, ...]:
    seen = Seen((), (), None, 0.0, 0.0, None, 1.0, past=False, stuck=False, rebalancing=False)
    return reasons_of(current, count, desired, Plan(count, source, (), None, None, None, None), (), limits, seen)


def test_an_experiment_is_named_for_as_long_as_it_holds_the_count_down() -> None:
    assert decided(12, 11, 11, Reason.EXPERIMENT) == (Reason.EXPERIMENT,)
    assert decided(11, 11, 11, Reason.EXPERIMENT) == (Reason.EXPERIMENT,)
    assert decided(11, 11, 11, Reason.FORECAST) == (Reason.STEADY,)


@pytest.mark.parametrize(
    ("current", "count", "desired", "first"),
    [
        (7, 6, 12, Reason.SCHEDULED_MIN),  # the plan would have fewer
        (6, 8, 5, Reason.SCHEDULED_MIN),  # the plan would have more
        (7, 9, 7, Reason.SCHEDULED_MIN),
        (7, 7, 9, Reason.SCHEDULED_MIN),
        (7, 12, 9, Reason.FORECAST),  # less of what the plan would have
    ],
)
def test_a_limit_that_goes_the_other_way_than_the_plan_is_the_decisive_one(
    current: int, count: int, desired: int, first: Reason
) -> None:
    assert decided(current, count, desired, Reason.FORECAST, Reason.SCHEDULED_MIN)[0] is first
