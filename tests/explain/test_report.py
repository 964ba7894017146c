"""`lagcast report`: what following would have cost and missed, worked by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from scaler.cli.report import report
from scaler.explain.facts import Facts
from scaler.explain.following import reports
from scaler.journal import line
from scaler.plan.decision import Numbers
from scaler.plan.observation import Freshness, Reading, TopicOffsets
from tests.explain.made import NOW, NUMBERS, observation, tick

STEP = 15.0


def row(k: int, end: float, committed: float, current: int, desired: int, name: str = "chat") -> Facts:
    """The ``k``-th tick: one partition, 2 requests/s a replica, a lead time of 60 s."""
    one = np.zeros(1, np.int64)
    seen = TopicOffsets(one, one + int(end), one, one + int(committed))
    numbers = replace(NUMBERS, service_rate=2.0, lead_time=60.0, useful_replicas=None, partitions=100)
    return tick(
        observation(offsets=Reading(seen, NOW + STEP * k, Freshness.FRESH)),
        name=name,
        mode="Recommend",
        time=NOW + STEP * k,
        current=current,
        desired=desired,
        numbers=numbers,
    )


def course(rate: float, served: float, current: int, desired: int, ticks: int = 240) -> list[Facts]:
    """An hour at ``rate`` requests/s, of which ``served`` are done."""
    return [row(k, rate * STEP * k, served * STEP * k, current, desired) for k in range(ticks + 1)]


def test_following_would_have_been_in_time_at_more_cost() -> None:
    (one,) = reports(course(rate=10.0, served=4.0, current=2, desired=6))
    assert (one.hours, one.rows, one.grain) == (1.0, 241, 15.0)
    assert (one.start, one.end) == (NOW, NOW + 3600.0)
    ran, followed = one.as_it_ran, one.followed
    assert ran.replica_hours == pytest.approx(2.0)
    assert followed.replica_hours == pytest.approx(6.0)
    # 36,000 requests came, those of the last 10 s are not judged; 4 of 10 a second are done, ever later.
    assert ran.due == pytest.approx(35_900)
    assert ran.attainment is not None
    assert ran.attainment < 0.01
    # 2 replicas for 60 s, then 6: 6 requests/s pile up to 360, and 2 a second are worked off, which takes 180 s.
    assert followed.due == pytest.approx(35_900)
    assert followed.late == pytest.approx(1650, rel=0.1)
    assert (ran.below, ran.above) == (1.0, 0.0), "10 requests/s need 5 replicas"
    assert (followed.below, followed.above) == (0.0, 1.0)


def test_following_the_count_that_stands_is_what_happened() -> None:
    (one,) = reports(course(rate=10.0, served=10.0, current=5, desired=5))
    assert one.as_it_ran == one.followed
    assert one.as_it_ran.attainment == 1.0
    assert (one.as_it_ran.below, one.as_it_ran.above) == (0.0, 0.0)


def test_a_policy_that_learns_no_rate_is_followed_at_the_declared_one() -> None:
    rows = course(rate=10.0, served=10.0, current=5, desired=5, ticks=9)
    bare = [replace(one, decision=replace(one.decision, numbers=Numbers())) for one in rows]
    (one,) = reports(bare)
    assert one.followed == one.as_it_ran
    assert one.followed.replica_hours == pytest.approx(5 * 9 * STEP / 3600)


def test_changes_are_counted() -> None:
    rows = [row(k, 150.0 * k, 150.0 * k, 5, 5 + (k % 4 == 0)) for k in range(9)]
    (one,) = reports(rows)
    assert one.as_it_ran.changes == 0
    assert one.followed.changes == 4


def test_a_count_is_paid_for_from_the_row_that_has_it() -> None:
    counts = (2, 6, 6)
    (one,) = reports([row(k, 0, 0, count, 8) for k, count in enumerate(counts)])
    assert one.as_it_ran.replica_hours == pytest.approx((2 + 6) * STEP / 3600)
    assert one.as_it_ran.changes == 1
    assert one.followed.replica_hours == pytest.approx((8 + 8) * STEP / 3600)


def test_an_outage_is_left_out() -> None:
    rows = course(10.0, 10.0, 5, 5, ticks=40)
    late = [row(k + 4000, 1e6 + 150.0 * k, 1e6 + 150.0 * k, 5, 5) for k in range(41)]
    (one,) = reports([*rows, *late])
    assert one.hours == pytest.approx(1200 / 3600)
    assert one.as_it_ran.replica_hours == pytest.approx(5 * 1200 / 3600)
    assert one.as_it_ran.due == pytest.approx(2 * (6000 - 100), rel=0.02), "those of the outage are not judged"


def test_what_is_not_known_is_not_counted() -> None:
    away = observation(offsets=Reading(None, NOW, Freshness.ERROR))
    rows = [tick(away, time=NOW + STEP * k, current=None, desired=None) for k in range(5)]
    (one,) = reports(rows)
    assert one.as_it_ran.replica_hours == one.followed.replica_hours == 0.0
    assert one.as_it_ran.attainment is None
    assert one.as_it_ran.below is None


def test_every_scaler_on_its_own() -> None:
    mixed = [row(k, 0, 0, 1, 1, name) for k in range(3) for name in ("b", "a")]
    assert [(one.name, one.rows) for one in reports(mixed)] == [("b", 3), ("a", 3)]


# --- the command


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"".join(line(one) for one in course(10.0, 4.0, 2, 6)))
    return path


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(report, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_the_table(journal: Path) -> None:
    shown = call("--journal", journal)
    assert shown.exit_code == 0
    text = " ".join(shown.stdout.replace("│", " ").split())
    for part in ("prod/chat", "as it ran 2.0 35900", "followed 6.0 35900", "100.0%"):
        assert part in text, part
    assert "prod/chat: 1.0 h known from 2027-01-15 08:00:00 UTC" in shown.stderr


def test_json_of_a_part(journal: Path) -> None:
    shown = call("chat", "--journal", journal, "--since", "30m", "--until", "10m", "-o", "json")
    (one,) = json.loads(shown.stdout)
    assert one["hours"] == pytest.approx(1 / 3)
    assert one["start"] == NOW + 1800
    assert one["followed"]["replica_hours"] == pytest.approx(2.0)
    assert one["as_it_ran"]["attainment"] is not None


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("mail", "--journal", "J"), 1, "no row of mail fits"),
        (("--journal", "J", "--since", "2030-01-01"), 1, "no row fits"),
        (("--journal", "J.none", "--since", "1h"), 1, "no such file"),
        ((), 2, "Missing option '--journal'"),
    ],
)
def test_what_cannot_be_shown_is_said(journal: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    result = call(*(a.replace("J", str(journal)) if a.startswith("J") else a for a in arguments))
    assert result.exit_code == code
    assert result.stdout == ""
    assert said in result.stderr
