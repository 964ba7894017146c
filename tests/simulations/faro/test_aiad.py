"""Additive increase, additive decrease: when one is due, and who gets it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from scaler.errors import ConfigError
from scaler.plan.decision import Policy
from scaler.plan.observation import GroupObservation
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from simulations.policies.aiad import make

Observe = Callable[..., GroupObservation]
SERVICE = Service(
    uid="u",
    within=0.72,
    share=0.99,
    min_replicas=1,
    max_replicas=5,
    service_rate=6.0,
    service_time=0.15,
    lead_time=35.0,
    tick=10.0,
    step=60.0,
    scale_in_hold=300.0,
)
SLOW, FAST = 0.9, 0.5  # mean latency above and below the objective, 0.72 s


@pytest.fixture
def policy() -> Callable[..., Policy]:
    """``policy(options, uid, ...)``: at most 5 replicas each, ticks of 10 s."""

    def made(options: dict[str, str] | None = None, *uids: str) -> Policy:
        services = [replace(SERVICE, uid=uid) for uid in uids or ("u",)]
        return make(options or {})(services)

    return made


def desired(policy: Policy, observe: Observe, means: Sequence[float | None], count: int = 2) -> list[int | None]:
    """What it asks for at each of ``means``; what was asked for is ready at the next tick."""
    answers: list[int | None] = []
    for mean in means:
        decision = policy.step(0.0, observe([("u", mean, count, count)]))
        count = decision.services[0].desired or count
        answers.append(decision.services[0].desired)
    return answers


def test_one_more_after_three_slow_ticks_and_each_three_after(policy: Callable[..., Policy], observe: Observe) -> None:
    assert desired(policy(), observe, [SLOW] * 7) == [2, 2, 3, 3, 3, 4, 4]


def test_a_fast_tick_starts_the_count_anew(policy: Callable[..., Policy], observe: Observe) -> None:
    assert desired(policy(), observe, [SLOW, SLOW, FAST, SLOW, SLOW, SLOW]) == [2, 2, 2, 2, 2, 3]


def test_exactly_at_the_objective_is_not_above_it(policy: Callable[..., Policy], observe: Observe) -> None:
    assert desired(policy(), observe, [0.72] * 5) == [2] * 5


def test_one_fewer_after_sixty_fast_ticks_also_without_requests(
    policy: Callable[..., Policy], observe: Observe
) -> None:
    answers = desired(policy(), observe, [FAST] * 30 + [0.0] * 30 + [FAST] * 60)
    assert answers == [2] * 59 + [1] * 61  # one is the least


def test_what_is_not_known_neither_counts_nor_starts_anew(policy: Callable[..., Policy], observe: Observe) -> None:
    made = policy()
    assert desired(made, observe, [SLOW, SLOW, None, None]) == [2] * 4
    decision = made.step(0.0, observe([("u", None, 2, 2)])).services[0]
    assert decision.reasons[:2] == (Reason.INPUT_ERROR, Reason.STEADY)
    assert desired(made, observe, [SLOW]) == [3]


def test_never_above_the_service_s_own_limit(policy: Callable[..., Policy], observe: Observe) -> None:
    assert desired(policy(), observe, [SLOW] * 6, count=5) == [5] * 6


def test_what_is_due_while_one_is_on_its_way_is_lost(policy: Callable[..., Policy], observe: Observe) -> None:
    made = policy()
    on_its_way = observe([("u", SLOW, 3, 2)])
    answers = [made.step(0.0, on_its_way).services[0].desired for _ in range(3)]
    assert answers == [3, 3, 3]
    assert desired(made, observe, [SLOW] * 3, count=3) == [3, 3, 4]
    eager = policy({"one_at_a_time": "false"})
    assert [eager.step(0.0, on_its_way).services[0].desired for _ in range(3)] == [3, 3, 4]


def test_the_total_goes_to_the_services_in_their_order(policy: Callable[..., Policy], observe: Observe) -> None:
    made = policy(None, "a", "b", "c")
    rows = [(uid, SLOW, 2, 2) for uid in "abc"]
    for _ in range(2):
        made.step(0.0, observe(rows, empty=2))
    decision = made.step(0.0, observe(rows, empty=2))
    assert [d.desired for d in decision.services] == [3, 3, 2]
    assert decision.services[2].reasons[0] == Reason.MAX_REPLICAS
    assert decision.services[0].reasons[0] == Reason.NO_FORECAST
    assert decision.pools[0].floor is None


def test_a_replica_that_goes_makes_room_at_once(policy: Callable[..., Policy], observe: Observe) -> None:
    made = policy({"in_after": "30s"}, "a", "b")
    rows = [("a", SLOW, 2, 2), ("b", FAST, 2, 2)]
    for _ in range(2):
        made.step(0.0, observe(rows, empty=0))
    assert [d.desired for d in made.step(0.0, observe(rows, empty=0)).services] == [3, 1]


def test_without_a_total_everybody_gets_one(policy: Callable[..., Policy], observe: Observe) -> None:
    made = policy({"out_after": "10s"}, "a", "b")
    decision = made.step(0.0, observe([(uid, SLOW, 2, 2) for uid in "ab"]))
    assert [d.desired for d in decision.services] == [3, 3]


def test_a_restored_policy_goes_on(policy: Callable[..., Policy], observe: Observe) -> None:
    before, after = policy(), policy()
    desired(before, observe, [SLOW, SLOW])
    after.restore(before.snapshot())
    assert desired(after, observe, [SLOW]) == [3]
    with pytest.raises(ValueError, match="a snapshot of"):
        policy(None, "other").restore(before.snapshot())
    with pytest.raises(ValueError, match="not a snapshot of aiad"):
        after.restore(b"[]")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "1"}, "found option target; allowed: out_after, in_after, one_at_a_time"),
        ({"out_after": "0s"}, "out_after"),
        ({"one_at_a_time": "maybe"}, "allowed: true or false"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make(options)
