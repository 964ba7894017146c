"""Enforce beside people and tools that change the count, and its pauses."""

from __future__ import annotations

import pytest

from scaler.act.contest import Contests, Patience
from scaler.api.predictive_scaler import Mode
from scaler.kube import MANAGER
from scaler.plan.reasons import Reason
from tests.floors.made import CHAT, TICK, Stage


@pytest.fixture
def stage() -> Stage:
    return Stage(Mode.ENFORCE)


def test_a_single_hand_edit_is_the_new_current_count(stage: Stage) -> None:
    stage.tick(9)
    stage.cluster.set_replicas(CHAT, 6)
    assert stage.tick(9).reason is Reason.APPLIED
    assert [(w.before, w.after) for w in stage.cluster.written] == [(4, 9), (6, 9)]


def test_a_count_that_is_put_back_three_times_is_left_alone_for_long(stage: Stage) -> None:
    for _ in range(3):
        assert stage.tick(9).reason is Reason.APPLIED
        stage.cluster.set_replicas(CHAT, 4, "flux")
    for _ in range(int(1800 / TICK)):
        outcome = stage.tick(9)
        assert outcome.reason is Reason.CONTESTED_TARGET
        assert "the field manager 'flux'" in outcome.detail
    assert stage.cluster.replicas(CHAT) == 4
    assert stage.tick(9).reason is Reason.APPLIED
    stage.cluster.set_replicas(CHAT, 4, "flux")
    assert [stage.tick(9).reason for _ in range(int(3600 / TICK))] == [Reason.CONTESTED_TARGET] * 240, "twice as long"


def test_edits_far_apart_are_no_contest(stage: Stage) -> None:
    for _ in range(8):
        assert stage.tick(9).reason is Reason.APPLIED
        stage.now += 2000.0
        stage.cluster.set_replicas(CHAT, 4)


def test_a_count_that_was_read_before_our_own_write_came_through_is_no_reversal(stage: Stage) -> None:
    for count in range(10, 20):
        stage.tick(count)
        stage.cluster._deployments[CHAT].replicas = 4  # what the watch still says
        assert stage.cluster.last_writer(CHAT) == MANAGER
        assert stage.tick(count).reason is Reason.APPLIED


def test_such_a_reading_does_not_hide_who_puts_the_count_back(stage: Stage) -> None:
    for _ in range(3):
        stage.tick(9)
        real, stage.cluster.replicas = stage.cluster.replicas, lambda _: 4  # type: ignore[method-assign,assignment]
        assert stage.tick(9).reason is Reason.CONFLICT, "the watch is late"
        stage.cluster.replicas = real  # type: ignore[method-assign]
        stage.cluster.set_replicas(CHAT, 4, "flux")
    assert stage.tick(9).reason is Reason.CONTESTED_TARGET


def test_all_is_forgiven_after_a_quiet_time() -> None:
    contests = Contests(Patience(reversals=2, window=100.0, pause=10.0, longest=40.0))
    now = 0.0
    pauses = []
    for _ in range(4):
        while contests.contested("u", "x", now) is None:
            contests.wrote("u", "x", 9, now)
            contests.reversed("u", "x", "flux", now)
            now += 1.0
        found = contests.contested("u", "x", now)
        assert found is not None
        pauses.append(round(found[1] - now) + 1)
        now = found[1]
    assert pauses == [10, 20, 40, 40]
    now += 100.0
    contests.wrote("u", "x", 9, now)
    contests.reversed("u", "x", "flux", now)
    assert contests.contested("u", "x", now) is None, "one again is one"


def test_scalers_that_are_gone_are_forgotten(stage: Stage) -> None:
    stage.cluster.own(CHAT, "HorizontalPodAutoscaler shop/chat")
    stage.tick(9)
    assert stage.actor._said
    stage.actor.keep({"another"})
    assert stage.actor._said == {}


def test_a_failure_is_logged_once(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.cluster.own(CHAT, "HorizontalPodAutoscaler shop/chat")
    for _ in range(3):
        assert stage.tick(9).reason is Reason.OWNED_BY_ANOTHER
    assert len([r for r in caplog.records if "HorizontalPodAutoscaler shop/chat" in r.message]) == 1


@pytest.mark.parametrize(
    ("annotations", "desired", "count", "reason"),
    [
        ({}, 9, 9, Reason.APPLIED),
        ({"lagcast.io/paused": "true"}, 9, 4, Reason.PAUSED),
        ({"lagcast.io/paused": "false"}, 9, 9, Reason.APPLIED),
        ({"lagcast.io/paused": "True"}, 9, 4, Reason.PAUSED),  # not understood: nothing is changed
        ({"lagcast.io/paused-replicas": "7"}, 9, 7, Reason.APPLIED),
        ({"lagcast.io/paused-replicas": "0"}, 9, 0, Reason.APPLIED),  # below min: a person says so
        ({"lagcast.io/paused-replicas": "4"}, 9, 4, Reason.PAUSED),
        ({"lagcast.io/paused-replicas": "31"}, 9, 30, Reason.APPLIED),  # never above max
        ({"lagcast.io/paused-replicas": "seven"}, 9, 4, Reason.PAUSED),
        ({"lagcast.io/paused-replicas": "7", "lagcast.io/paused": "true"}, 9, 4, Reason.PAUSED),
        ({"lagcast.io/paused-scale-in": "true"}, 2, 4, Reason.PAUSED),
        ({"lagcast.io/paused-scale-in": "true"}, 9, 9, Reason.APPLIED),
        ({"lagcast.io/paused-scale-in": "true", "lagcast.io/paused-replicas": "2"}, 9, 2, Reason.APPLIED),
    ],
)
def test_pauses(stage: Stage, annotations: dict[str, str], desired: int, count: int, reason: Reason) -> None:
    assert stage.tick(desired, annotations=annotations).reason is reason
    assert stage.cluster.replicas(CHAT) == count


def test_recommend_changes_nothing_whatever_is_annotated() -> None:
    stage = Stage(Mode.RECOMMEND)
    for asked in ({}, {"lagcast.io/paused-replicas": "7"}):
        assert stage.tick(9, annotations=asked).reason is Reason.RECOMMENDED
    assert (stage.cluster.written, stage.floors.writes) == ([], 0)


def test_after_a_pause_that_was_longer_than_the_window_once_is_enough() -> None:
    contests = Contests(Patience(reversals=3, window=100.0, pause=200.0, longest=1000.0))
    for now in (0.0, 1.0, 2.0):
        contests.wrote("u", "x", 9, now)
        contests.reversed("u", "x", "flux", now)
    assert contests.contested("u", "x", 201.0) == ("flux", 202.0)
    assert contests.contested("u", "x", 202.0) is None
    contests.wrote("u", "x", 9, 202.0)
    contests.reversed("u", "x", "flux", 203.0)
    assert contests.contested("u", "x", 204.0) == ("flux", 603.0)
    assert contests.contested("u", "another object", 204.0) is None


def test_a_pause_is_no_longer_than_it_was_meant_to_be_after_a_clock_was_set_back() -> None:
    contests = Contests()
    for _ in range(3):
        contests.wrote("u", "chat", 9, 86_400.0)
        contests.reversed("u", "chat", "argocd", 86_400.0)
    assert contests.contested("u", "chat", 86_400.0) == ("argocd", 88_200.0)
    assert contests.contested("u", "chat", 0.0) == ("argocd", 1_800.0)
    assert contests.contested("u", "chat", 1_799.0) is not None
    assert contests.contested("u", "chat", 1_800.0) is None
