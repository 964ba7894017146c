"""The groups' assignors are asked for seldom, and what was told stays until something else is told."""

from __future__ import annotations

import logging
from collections.abc import Collection
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from scaler.clock import ManualClock
from scaler.observe.assignors import Assignors
from scaler.observe.kafka import _Pass
from scaler.observe.ports import GroupTopic

START, TICK = 1000.0, 15.0
REFUSED = KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED))


class Cluster:
    """Passes every ``TICK`` s over groups whose descriptions are answered between them."""

    def __init__(self) -> None:
        self.assignors = Assignors()
        self.now = START
        self.told: dict[str, str | KafkaException | None] = {}  # None: no members; not in it: no answer
        self.asked: list[tuple[float, str]] = []  # s after the start
        self.open: dict[str, Future[Any]] = {}

    def step(self, wanted: Collection[str], read: Collection[str] | None = None) -> list[str]:
        """One pass; the groups that it asked about."""
        self.assignors.begin(self.now, set(wanted))
        due = self.assignors.due(self.now, set(wanted if read is None else read))
        self.open = {group: Future() for group in due}
        self.assignors.asked(self.now, self.open)
        self.asked += [(self.now - START, group) for group in due]
        for group, future in self.open.items():
            answer = self.told.get(group, "never")
            if isinstance(answer, KafkaException):
                future.set_exception(answer)
            elif answer != "never":
                members = [] if answer is None else ["a member"]
                future.set_result(SimpleNamespace(members=members, partition_assignor=answer or "uniform"))
        self.now += TICK
        return due

    def name(self, group: str = "chat") -> str | None:
        return self.assignors.name(group)

    def held(self) -> int:
        """Entries of all that is known of groups."""
        known = (v for v in vars(self.assignors).values() if isinstance(v, dict | set | frozenset))
        return sum(len(v) for v in known)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_a_group_is_asked_about_once_a_minute_and_not_in_the_first_pass_that_reads_it(cluster: Cluster) -> None:
    cluster.told = {"chat": "range"}
    for _ in range(12):
        cluster.step(["chat"])
    # The answer is taken in at the pass after the question: a minute is counted from there.
    assert [at for at, _ in cluster.asked] == [15.0, 90.0, 165.0]


def test_an_answer_is_known_at_the_next_pass(cluster: Cluster) -> None:
    cluster.told = {"chat": "roundrobin"}
    names = []
    for _ in range(4):
        cluster.step(["chat"])
        names.append(cluster.name())
    assert names == [None, None, "roundrobin", "roundrobin"]
    cluster.told = {"chat": "cooperative-sticky"}
    for _ in range(8):
        cluster.step(["chat"])
    assert cluster.name() == "cooperative-sticky"


def test_many_groups_are_spread_over_the_passes_the_longest_due_first(cluster: Cluster) -> None:
    groups = [f"group-{k:02d}" for k in range(40)]
    cluster.told = dict.fromkeys(groups, "range")
    counts = [len(cluster.step(groups)) for _ in range(4)]
    assert counts == [0, 16, 16, 8]
    assert [group for _, group in cluster.asked] == groups
    for _ in range(20):
        assert len(cluster.step(groups)) <= 16
    times = [cluster.asked.count((at, group)) for at, group in cluster.asked]
    assert max(times) == 1
    asked = {group: sum(g == group for _, g in cluster.asked) for group in groups}
    assert max(asked.values()) - min(asked.values()) <= 1


def test_a_failure_puts_off_the_next_question_for_ten_minutes(cluster: Cluster) -> None:
    cluster.told = {"chat": REFUSED}
    for _ in range(90):
        cluster.step(["chat"])
    assert [at for at, _ in cluster.asked] == [15.0, 630.0, 1245.0]
    assert cluster.name() is None


def test_one_that_is_not_answered_is_asked_again_after_ten_minutes(cluster: Cluster) -> None:
    for _ in range(90):
        cluster.step(["chat"])
    assert [at for at, _ in cluster.asked] == [15.0, 615.0, 1215.0]


def test_a_failure_is_said_once_a_group(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    cluster.told = {"chat": REFUSED, "images": REFUSED}
    with caplog.at_level(logging.WARNING):
        for _ in range(200):
            cluster.step(["chat", "images"])
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert {text.split(":")[0] for text in said} == {"consumer group chat", "consumer group images"}
    assert all("(GROUP_AUTHORIZATION_FAILED)" in text and "even ranges" in text for text in said)


def test_what_was_told_stays_through_failures_and_is_said_to(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.told = {"chat": "roundrobin"}
    for _ in range(3):
        cluster.step(["chat"])
    cluster.told = {"chat": REFUSED}
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            cluster.step(["chat"])
    assert len(cluster.asked) > 1
    assert cluster.name() == "roundrobin"
    (record,) = caplog.records
    assert "taken to be split by 'roundrobin'" in record.getMessage()


def test_what_was_told_stays_when_no_member_is_left(cluster: Cluster) -> None:
    cluster.told = {"chat": "range"}
    for _ in range(3):
        cluster.step(["chat"])
    cluster.told = {"chat": None}
    for _ in range(20):
        cluster.step(["chat"])
    assert cluster.name() == "range", "what a broker tells of an empty group is its default"


def test_a_group_without_members_has_none(cluster: Cluster) -> None:
    cluster.told = {"chat": None}
    for _ in range(20):
        cluster.step(["chat"])
    assert cluster.name() is None
    assert len(cluster.asked) == 4


def test_after_an_outage_a_group_is_read_once_before_it_is_asked_about(cluster: Cluster) -> None:
    cluster.told = {"chat": "range"}
    for _ in range(3):
        cluster.step(["chat"])
    for _ in range(10):
        assert cluster.step(["chat"], read=[]) == []
        assert cluster.name() == "range"
    assert cluster.step(["chat"]) == []
    assert cluster.step(["chat"]) == ["chat"]


def test_a_pass_that_ends_early_has_read_nothing(cluster: Cluster) -> None:
    cluster.step(["chat"])
    cluster.assignors.begin(cluster.now, {"chat"})  # and no more: the cluster does not answer
    assert cluster.step(["chat"]) == []
    assert cluster.step(["chat"]) == ["chat"]


def test_ten_minutes_are_ten_minutes_also_where_a_pass_fails_in_them(cluster: Cluster) -> None:
    cluster.told = {"chat": REFUSED}
    for k in range(40):
        cluster.step(["chat"], read=[] if k % 7 == 6 else None)
    assert [at for at, _ in cluster.asked] == [15.0]


def test_a_group_that_is_no_longer_wanted_is_forgotten(cluster: Cluster) -> None:
    for k in range(500):
        name = f"group-{k}"
        cluster.told = {name: ("range", REFUSED)[k % 2]} if k % 3 else {}
        for _ in range(4):
            cluster.step([name])
    assert cluster.held() <= 6
    assert cluster.name("group-499") is None
    assert cluster.name("group-1") is None
    cluster.step([])
    cluster.step([])
    assert cluster.held() == 0


def test_a_clock_that_was_set_back_puts_nothing_off_for_longer(cluster: Cluster) -> None:
    cluster.told = {"chat": "range"}
    for _ in range(3):
        cluster.step(["chat"])
    cluster.now -= 86400.0
    before = len(cluster.asked)
    for _ in range(42):
        cluster.step(["chat"])
    assert len(cluster.asked) > before


def test_a_client_that_refuses_the_question_spoils_no_sample(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("no such name")

    client: Any = SimpleNamespace(admin=SimpleNamespace(describe_consumer_groups=refuse))
    assignors = Assignors()
    one = _Pass(client, ManualClock(START), START, 1.0, START, [GroupTopic("chat", "chat")], assignors)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assignors.begin(START, {"chat"})
            one._describe({"chat"})
    assert len(caplog.records) == 1
    assert "ValueError" in caplog.text
