"""Floor mode: raised, renewed, lowered, clipped, put back, and never fought over."""

from __future__ import annotations

import pytest

from scaler.act.floor import LIFE, RENEW
from scaler.act.floor_mode import SETTLES
from scaler.act.order import ScalerRef
from scaler.observe.ports import TargetRef
from scaler.plan.reasons import Reason
from tests.floors.made import CHAT, START, TICK, WHO, Stage

OURS = "shop/chat"


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.floors.hpa(CHAT, "chat", 2, 20)
    return made


def test_the_minimum_follows_the_plan_and_never_falls_below_its_users(stage: Stage) -> None:
    seen = []
    for desired in (1, 9, 12, 12, 5, 2, 1):
        outcome = stage.tick(desired)
        assert outcome.floor == stage.floor()[0]
        seen.append((outcome.reason, *stage.floor()))
    assert seen == [
        (Reason.UNCHANGED, 2, None),
        (Reason.APPLIED, 9, OURS),
        (Reason.APPLIED, 12, OURS),
        (Reason.UNCHANGED, 12, OURS),
        (Reason.APPLIED, 5, OURS),
        (Reason.APPLIED, 2, None),  # as it was, without a mark
        (Reason.UNCHANGED, 2, None),
    ]
    assert stage.cluster.written == [], "the count itself is the autoscaler's"


def test_a_change_is_told_with_both_numbers(stage: Stage) -> None:
    assert stage.tick(9).detail.startswith("floor of HorizontalPodAutoscaler shop/chat 2 -> 9: Forecast; ")
    assert stage.tick(3).detail.startswith("floor of HorizontalPodAutoscaler shop/chat 9 -> 3: ")
    assert [event.reason for event in stage.cluster.events] == ["Forecast", "Forecast"]


def test_the_mark_says_whose_over_what_and_until_when(stage: Stage) -> None:
    stage.tick(9)
    mark = stage.floors.one("shop", "chat").mark
    assert mark is not None
    assert (mark.owner, mark.value, mark.before) == ("shop/chat/uid-1", 9, 2)
    assert mark.expires == START + LIFE
    stage.tick(11)
    assert stage.floors.one("shop", "chat").own == 2, "the value before is the user's, not the last floor"


def test_a_mark_is_renewed_well_before_its_end_and_not_at_every_tick(stage: Stage) -> None:
    ticks = int(2 * LIFE / TICK)
    for _ in range(ticks):
        assert stage.tick(9).reason in (Reason.APPLIED, Reason.UNCHANGED)
        mark = stage.floors.one("shop", "chat").mark
        assert mark is not None
        assert mark.expires - stage.now >= RENEW - 2 * TICK
    assert stage.floors.writes <= 1 + 2 * LIFE / (LIFE - RENEW)


def test_a_floor_that_is_renewed_is_no_change_to_tell(stage: Stage) -> None:
    stage.tick(9)
    stage.now += LIFE - RENEW + TICK
    assert stage.tick(9).reason is Reason.UNCHANGED
    assert stage.floors.writes == 2
    assert len(stage.cluster.events) == 1


def test_above_the_autoscalers_own_maximum_it_is_clipped_and_said(stage: Stage) -> None:
    outcome = stage.tick(30)
    assert stage.floor() == (20, OURS)
    assert (outcome.reason, outcome.limit) == (Reason.APPLIED, Reason.FLOOR_ABOVE_MAX)
    assert (
        "a floor of 30 is above spec.maxReplicas of HorizontalPodAutoscaler shop/chat, which is 20" in outcome.limited
    )
    assert stage.tick(30).limit is Reason.FLOOR_ABOVE_MAX, "as long as it is so"
    assert stage.tick(20).limit is None


def test_a_scaled_object_without_bounds() -> None:
    stage = Stage()
    stage.floors.scaled_object(CHAT, "chat", None, None)
    assert stage.tick(0).reason is Reason.UNCHANGED
    assert stage.tick(150).limit is Reason.FLOOR_ABOVE_MAX
    assert stage.floor() == (100, OURS), "KEDA's own default"
    stage.tick(0)
    assert stage.floor() == (None, None), "absent, as it was"


def test_without_a_decision_the_floor_stands_and_is_renewed(stage: Stage) -> None:
    stage.tick(9)
    for _ in range(int(2 * LIFE / TICK)):
        stage.tick(None, Reason.TARGET_UNKNOWN)
    mark = stage.floors.one("shop", "chat").mark
    assert mark is not None
    assert (mark.value, mark.expires > stage.now) == (9, True)


def test_a_floor_that_the_autoscaler_has_not_reached_is_not_lowered_by_the_count_that_is_still_seen(
    stage: Stage,
) -> None:
    stage.follows = False
    stage.tick(9)
    assert stage.tick(4, Reason.STEADY).reason is Reason.UNCHANGED, "4 is what was read, not what was asked for"
    stage.tick(12)
    for _ in range(int(SETTLES / TICK) - 1):
        stage.tick(4, Reason.STEADY)
        assert stage.floor() == (12, OURS)
    stage.tick(4, Reason.STEADY)
    assert stage.floor() == (4, OURS), "an autoscaler that never gets there does not hold it for ever"


@pytest.mark.parametrize("reason", [Reason.INPUT_ABSENT, Reason.INPUT_ERROR, Reason.CONSUMERS_NOT_PROGRESSING])
def test_a_count_that_is_held_for_want_of_inputs_lowers_no_floor(stage: Stage, reason: Reason) -> None:
    stage.follows = False
    stage.tick(9)
    for _ in range(100):
        stage.tick(4, reason)
        assert stage.floor() == (9, OURS)
    stage.follows = True
    stage.tick(9, reason)
    stage.tick(9, reason)
    stage.tick(4)
    assert stage.floor() == (4, OURS)


def test_the_finalizer_comes_before_the_first_raise(stage: Stage) -> None:
    assert stage.tick(1).reason is Reason.UNCHANGED
    assert stage.finalizers.on == set(), "nothing was raised: nothing waits"
    stage.finalizers.down = True
    assert stage.tick(9).reason is Reason.PATCH_FAILED
    assert stage.floor() == (2, None)
    stage.finalizers.down = False
    stage.tick(9)
    assert stage.finalizers.on == {WHO}


def test_nothing_is_raised_for_a_scaler_that_is_going(stage: Stage) -> None:
    stage.finalizers.going.add(WHO)
    assert stage.tick(9).reason is Reason.TARGET_NOT_FOUND
    assert stage.floor() == (2, None)


def test_where_the_target_is_gone_the_floor_is_put_back_and_the_finalizer_taken_off(stage: Stage) -> None:
    stage.tick(9)
    assert stage.tick(None, Reason.TARGET_NOT_FOUND).reason is Reason.TARGET_NOT_FOUND
    assert stage.floor() == (2, None)
    assert stage.finalizers.on == set()


def test_where_the_target_is_another_the_old_floor_is_put_back() -> None:
    stage = Stage()
    other = TargetRef("apps/v1", "Deployment", "shop", "other")
    stage.floors.hpa(CHAT, "chat", 2, 20)
    stage.tick(9)
    outcome = stage.tick(9, target=other)
    assert (stage.floor(), outcome.reason) == ((2, None), Reason.NO_AUTOSCALER)
    stage.floors.hpa(other, "other", 1, 20)
    stage.tick(9, target=other)
    assert stage.floor("other") == (9, OURS)


def test_no_autoscaler_and_several_are_named() -> None:
    stage = Stage()
    none = stage.tick(9)
    assert none.reason is Reason.NO_AUTOSCALER
    assert "Deployment shop/chat" in none.detail
    stage.floors.hpa(CHAT, "one", 1, 9)
    stage.floors.scaled_object(CHAT, "two", 1, 9)
    several = stage.tick(9)
    assert several.reason is Reason.SEVERAL_AUTOSCALERS
    assert "HorizontalPodAutoscaler shop/one and ScaledObject shop/two" in several.detail
    assert (stage.floor("one"), stage.floor("two")) == ((1, None), (1, None))


def test_another_scalers_floor_is_left_until_it_expires(stage: Stage) -> None:
    other = ScalerRef("shop", "other", "uid-2")
    stage.finalizers.there.add(other)
    stage.tick(9, who=other)
    refused = stage.tick(12)
    assert refused.reason is Reason.OWNED_BY_ANOTHER
    assert "PredictiveScaler shop/other" in refused.detail
    stage.now += LIFE
    assert stage.tick(12).reason is Reason.APPLIED
    assert stage.floor() == (12, OURS)
    assert stage.floors.one("shop", "chat").own == 2, "what was there before both"


def test_the_same_scaler_made_anew_takes_its_floor_over(stage: Stage) -> None:
    stage.tick(9)
    again = ScalerRef("shop", "chat", "uid-9")
    stage.finalizers.there.add(again)
    assert stage.tick(11, who=again).reason is Reason.APPLIED
    assert stage.floors.one("shop", "chat").own == 2


def test_a_minimum_that_its_user_changes_is_the_new_one_before(stage: Stage) -> None:
    stage.tick(9)
    stage.floors.edit("shop", "chat", "kubectl", 5)
    assert stage.tick(9).reason is Reason.APPLIED, "one hand edit is no contest"
    assert stage.floors.one("shop", "chat").own == 5
    stage.floors.edit("shop", "chat", "kubectl", 12)
    stage.tick(9)
    assert stage.floor() == (12, None), "more than is needed: nothing to raise"


def test_who_puts_it_back_three_times_is_named_and_left_to_win(stage: Stage) -> None:
    for _ in range(3):
        assert stage.tick(9).reason is Reason.APPLIED
        stage.floors.edit("shop", "chat", "argocd-controller", 2)
    writes = stage.floors.writes
    contested = [stage.tick(9) for _ in range(100)]
    assert {one.reason for one in contested} == {Reason.CONTESTED_TARGET}
    assert "'argocd-controller'" in contested[0].detail
    assert stage.floors.writes == writes
    assert [event.reason for event in stage.cluster.events if event.warning] == ["ContestedTarget"], "told once"
    stage.now += 1800.0
    assert stage.tick(9).reason is Reason.APPLIED, "it is tried again, after a long while"
    stage.floors.edit("shop", "chat", "argocd-controller", 2)
    assert stage.tick(9).reason is Reason.CONTESTED_TARGET, "and then once is enough"


def test_a_release_is_no_reversal(stage: Stage) -> None:
    for _ in range(5):
        assert stage.tick(9).reason is Reason.APPLIED
        stage.floors.restore(stage.floors.one("shop", "chat"))


def test_a_restart_knows_its_floor_by_the_mark(stage: Stage) -> None:
    stage.tick(9)
    stage.restart()
    assert stage.tick(9).reason is Reason.UNCHANGED
    stage.tick(4)
    assert stage.floor() == (4, OURS)
    stage.restart()
    stage.tick(1)
    assert stage.floor() == (2, None)


def test_an_outage_and_missing_rights(stage: Stage) -> None:
    stage.tick(9)
    stage.floors.down = True
    assert stage.tick(12).reason is Reason.PATCH_FAILED
    stage.floors.down, stage.floors.forbidden = False, True
    assert stage.tick(12).reason is Reason.FORBIDDEN
    stage.floors.forbidden = False
    assert stage.tick(12).reason is Reason.APPLIED


@pytest.mark.parametrize(
    ("annotations", "floor"),
    [
        ({"lagcast.io/paused": "true"}, 9),
        ({"lagcast.io/paused": "ja"}, 9),
        ({"lagcast.io/paused-replicas": "6"}, 6),
        ({"lagcast.io/paused-replicas": "1"}, 2),  # never below its user's own
        ({"lagcast.io/paused-replicas": "99"}, 20),
        ({"lagcast.io/paused-scale-in": "true"}, 9),
        ({}, 4),
    ],
)
def test_pauses_hold_the_floor(stage: Stage, annotations: dict[str, str], floor: int) -> None:
    stage.tick(9)
    stage.tick(4, annotations=annotations)
    assert stage.floor()[0] == floor
    for _ in range(int(LIFE / TICK)):
        stage.tick(4, annotations=annotations)
    mark = stage.floors.one("shop", "chat").mark
    assert stage.floor()[0] == floor
    assert mark is None or mark.expires > stage.now, "what is held does not expire"


def test_a_paused_scaler_raises_nothing(stage: Stage) -> None:
    assert stage.tick(9, annotations={"lagcast.io/paused": "true"}).reason is Reason.PAUSED
    assert stage.floor() == (2, None)
    stage.tick(9, annotations={"lagcast.io/paused-scale-in": "true"})
    assert stage.floor() == (9, OURS)


def test_a_mark_that_was_made_by_a_clock_that_was_ahead_is_put_right(stage: Stage) -> None:
    """It would outlive a dead controller by as much."""
    stage.now += 86_400.0
    stage.tick(9)
    stage.now = START + 60.0
    assert stage.tick(9).reason is Reason.UNCHANGED
    mark = stage.floors.one("shop", "chat").mark
    assert mark is not None
    assert mark.expires == START + 60.0 + LIFE
    writes = stage.floors.writes
    stage.now -= 30.0  # two replicas' clocks are never quite the same
    stage.tick(9)
    assert stage.floors.writes == writes
