"""A few requests, followed by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from simulations.errors import BadSetting
from simulations.request_level.setting import Discipline, RequestSetting
from simulations.request_level.station import Answers, Pod, Station
from simulations.service_times import ByBatch, Exponential, Fixed, Lognormal
from simulations.setting import Between, Partitioned

MakeStation = Callable[..., Station]
NEVER = math.nan


def test_one_server_first_in_first_out(station: MakeStation) -> None:
    made = station([0.0, 0.5, 3.0], [1.0, 1.0, 1.0])
    answers, _ = made.advance(math.inf)
    assert made.begun.tolist() == [0.0, 1.0, 3.0]
    assert made.left.tolist() == [1.0, 2.0, 4.0]
    assert answers == Answers(served=3, latency=1.0 + 1.5 + 1.0, refused=0)


def test_two_at_once_where_there_are_two_slots(station: MakeStation) -> None:
    made = station([0.0, 0.1, 0.2], [1.0, 0.5, 1.0], slots=2)
    made.advance(math.inf)
    assert made.left.tolist() == pytest.approx([1.0, 0.6, 1.6])


def test_a_serial_replica_takes_in_more_than_it_serves(station: MakeStation) -> None:
    made = station([0.0, 0.1, 0.2], [1.0, 0.5, 1.0], slots=2, discipline=Discipline.SERIAL, queue_bound=1)
    made.advance(0.15)
    assert (made.held, made.waiting) == (2, 0)
    made.advance(math.inf)
    assert made.begun.tolist() == pytest.approx([0.0, 1.0, 1.5])
    assert made.left.tolist() == pytest.approx([1.0, 1.5, 2.5])


def test_sharing_divides_the_speed(station: MakeStation) -> None:
    """Alone to 1.0 (1 s of work done), then both at half speed: the second's 1 s is done at 3, the first's 3 s at 4."""
    made = station([0.0, 1.0], [3.0, 1.0], slots=2, discipline=Discipline.SHARING)
    made.advance(math.inf)
    assert made.left.tolist() == pytest.approx([4.0, 3.0])
    assert made.begun.tolist() == [0.0, 1.0]


def test_sharing_among_three(station: MakeStation) -> None:
    """Three at a third of the speed: 0.9 s each by 0.9 x 3 = 2.7; then two with 0.3 and 0.6 s left: 3.3; then 3.6."""
    made = station([0.0, 0.0, 0.0], [0.9, 1.2, 1.5], slots=3, discipline=Discipline.SHARING)
    made.advance(math.inf)
    assert made.left.tolist() == pytest.approx([2.7, 3.3, 3.6])


def test_a_newcomer_delays_those_it_shares_with_and_nobody_else(station: MakeStation) -> None:
    """The first replica is due at 1.0, with the third request in it at 1.5; the second is done at 1.2 all the same.

    So the fourth, at 1.3, has the second replica to itself. The third has done 0.5 s of its 2 s when the first leaves.
    """
    made = station(
        [0.0, 0.0, 0.5, 1.3], [1.0, 1.2, 2.0, 1.0], slots=2, discipline=Discipline.SHARING, replicas=2, queue_bound=0
    )
    made.advance(math.inf)
    assert made.left.tolist() == pytest.approx([1.5, 1.2, 3.0, 2.3])


def test_replicas_are_asked_in_turn(station: MakeStation) -> None:
    """Two serial replicas of two slots: requests 0 and 2 share the first, 1 and 3 the second."""
    made = station(
        [0.0, 0.1, 0.2, 0.3], [5.0, 1.0, 1.0, 1.0], slots=2, discipline=Discipline.SERIAL, replicas=2, queue_bound=0
    )
    made.advance(math.inf)
    assert made.left.tolist() == pytest.approx([5.0, 1.1, 6.0, 2.1])


def test_a_full_queue_refuses(station: MakeStation) -> None:
    made = station([0.0, 0.1, 0.2, 0.3, 1.05], [1.0] * 5, queue_bound=2)
    answers, _ = made.advance(0.5)
    assert (made.held, made.waiting) == (1, 2)
    assert answers == Answers(served=0, latency=0.0, refused=1)
    made.advance(math.inf)
    np.testing.assert_array_equal(np.isnan(made.begun), [False, False, False, True, False])
    assert made.left.tolist() == pytest.approx([1.0, 2.0, 3.0, 0.3, 4.0])
    assert made.gone.tolist() == [5]
    assert made.started.tolist() == [4]


def test_what_makes_room_at_the_same_instant_comes_first(station: MakeStation) -> None:
    made = station([0.0, 1.0], [1.0, 1.0], queue_bound=0)
    made.advance(math.inf)
    assert made.left.tolist() == [1.0, 2.0]


def test_a_batch_is_what_waits_and_takes_the_time_of_its_size(station: MakeStation) -> None:
    """1 s for one, 0.2 s more for each other; at most 3 together."""
    sizes = ByBatch(np.array([1.0, 3.0]), np.array([1.0, 1.4]), batch=3)
    made = station([0.0, 0.1, 0.2, 0.3, 0.4], sizes)
    made.advance(math.inf)
    assert made.begun.tolist() == pytest.approx([0.0, 1.0, 1.0, 1.0, 2.4])
    assert made.left.tolist() == pytest.approx([1.0, 2.4, 2.4, 2.4, 3.4])


def test_a_late_replica_takes_what_waits_when_it_is_ready(station: MakeStation) -> None:
    made = station([0.0, 0.1, 0.2], [10.0, 1.0, 1.0])
    pod = Pod(asked=0.5, granted=0.5, ready_at=4.0)
    made.advance(0.5)
    made.start(pod)
    assert (made.granted, made.ready, made.pending_since) == (2, 1, (0.5,))
    assert made.advance(4.0)[1] == ()
    assert made.advance(4.5)[1] == (pod,)
    assert (made.granted, made.ready, made.pending_since) == (2, 2, ())
    made.advance(math.inf)
    assert made.left.tolist() == pytest.approx([10.0, 5.0, 6.0])


def test_a_stopped_replica_finishes_what_it_holds(station: MakeStation) -> None:
    made = station([0.0, 0.1, 0.2, 0.3], [2.0, 3.0, 1.0, 1.0], replicas=2)
    made.advance(0.5)
    made.stop(1)  # the newer one, which serves request 1
    assert (made.ready, made.draining, made.granted) == (1, 1, 1)
    made.advance(3.5)
    assert made.draining == 0
    made.advance(math.inf)
    assert made.left.tolist() == pytest.approx([2.0, 3.1, 3.0, 4.0])


def test_those_that_do_not_serve_yet_are_stopped_first(station: MakeStation) -> None:
    made = station([0.0], [1.0], replicas=1)
    made.start(Pod(0.0, 0.0, 5.0))
    made.stop(1)
    assert made.advance(10.0)[1] == ()
    assert (made.ready, made.granted) == (1, 1)


def test_without_a_replica_everything_waits(station: MakeStation) -> None:
    made = station([0.0, 1.0], [1.0, 1.0], replicas=0)
    made.advance(math.inf)
    assert np.isnan(made.left).all()
    assert made.waiting == 2


def test_rows_of_many_replicas(station: MakeStation) -> None:
    """More replicas than there are rows at first, started while others serve."""
    made = station([0.0] * 30, [1.0] * 30, replicas=5)
    made.advance(0.5)
    for _ in range(25):
        made.start(Pod(0.5, 0.5, 0.5))
    made.advance(math.inf)
    assert made.left.tolist() == [1.0] * 5 + [1.5] * 25


def test_partitions_go_to_their_replica_only(station: MakeStation) -> None:
    """All of the load is in partition 0 of 2: the second replica has nothing to do."""
    queue = Partitioned(2, weights=(1.0, 0.0))
    made = station([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], queue=queue, replicas=2)
    made.advance(math.inf)
    assert made.left.tolist() == [1.0, 2.0, 3.0]
    assert made.arrived.tolist() == [3, 0]


def test_waiting_requests_move_with_their_partition_also_to_an_idle_replica(station: MakeStation) -> None:
    queue = Partitioned(2, weights=(0.0, 1.0))
    made = station([0.0, 0.1, 0.2], [5.0, 1.0, 1.0], queue=queue, replicas=2)
    made.advance(1.0)
    made.stop(1)  # the one that has partition 1, and serves request 0
    made.advance(math.inf)
    assert made.begun.tolist() == [0.0, 1.0, 2.0]
    assert made.left.tolist() == [5.0, 2.0, 3.0]


def test_a_replica_that_comes_takes_over_partitions_and_what_waits_in_them(station: MakeStation) -> None:
    queue = Partitioned(2, weights=(0.0, 1.0))
    made = station([0.0, 0.1], [5.0, 1.0], queue=queue, replicas=1)
    made.start(Pod(0.0, 0.0, 2.0))
    made.advance(math.inf)
    assert made.left.tolist() == [5.0, 3.0]


@pytest.mark.parametrize(
    ("arrivals", "said"),
    [
        ([0.0, 2.0, 1.0], "arrivals of u: found 1.0 at place 2; allowed: times in ascending order"),
        ([0.0, math.nan], "found nan at place 1; allowed: finite times"),
        ([-1.0], "found -1.0 at place 0; allowed: finite times of at least 0 s"),
        ([math.inf], "found inf at place 0"),
    ],
)
def test_arrivals_that_cannot_be_are_named(station: MakeStation, arrivals: list[float], said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        station(arrivals, [1.0] * 3)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"slots": 0}, "slots: found 0; allowed: at least 1"),
        ({"queue_bound": -1}, "queue_bound: found -1"),
        ({"overhead": -0.1}, "overhead: found -0.1"),
        ({"replicas": -1}, "replicas: found -1"),
        ({"window": 0.0}, "window: found 0.0"),
    ],
)
def test_a_service_that_cannot_be_is_refused(
    service: Callable[..., object], wrong: dict[str, object], said: str
) -> None:
    with pytest.raises(BadSetting, match=said):
        service([1.0], **wrong)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Fixed(0.0), "seconds: found 0.0; allowed: more than 0 s"),
        (lambda: Fixed(-1.0), "seconds: found -1.0"),
        (lambda: Fixed(math.nan), "seconds: found nan"),
        (lambda: Exponential(0.0), "mean: found 0.0"),
        (lambda: Lognormal(-0.1, 1.0, 1.0), "location: found -0.1"),
        (lambda: Lognormal(0.0, 0.0, 1.0), "scale: found 0.0"),
        (lambda: Lognormal(0.0, 1.0, -1.0), "shape: found -1.0"),
        (lambda: ByBatch(np.array([1.0, 2.0]), np.array([1.0]), 1), "sizes: found"),
        (lambda: ByBatch(np.array([2.0, 1.0]), np.array([1.0, 1.0]), 1), "above 0 and ascending"),
        (lambda: ByBatch(np.array([1.0, 2.0]), np.array([1.0, 0.0]), 1), r"seconds: found \[1.0, 0.0\]"),
        (lambda: ByBatch(np.array([1.0]), np.array([1.0]), 0), "batch: found 0; allowed: at least 1"),
    ],
)
def test_a_service_time_that_cannot_be_is_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        make()


def test_a_run_that_cannot_be_is_refused(service: Callable[..., object]) -> None:
    one = service([1.0], replicas=3, lead_time=Between(1.0, 2.0))
    with pytest.raises(BadSetting, match="total: found 2; allowed: at least what is there at the start, 3"):
        RequestSetting((one,), 10.0, total=2)  # type: ignore[arg-type]
    with pytest.raises(BadSetting, match="each uid once"):
        RequestSetting((one, one), 10.0)  # type: ignore[arg-type]
    with pytest.raises(BadSetting, match=r"window of u: found 30.0; allowed: whole ticks of 20 s"):
        RequestSetting((one,), 20.0)  # type: ignore[arg-type]
    with pytest.raises(BadSetting, match=r"tick of u: found 10.0; allowed: the run's tick, 15 s"):
        RequestSetting((one,), 15.0)  # type: ignore[arg-type]
    with pytest.raises(BadSetting, match=r"tick: found inf"):
        RequestSetting((one,), math.inf)  # type: ignore[arg-type]
    with pytest.raises(BadSetting, match=r"slots: found 2; allowed: 1 where the service time is by batch"):
        service(ByBatch(np.array([1.0]), np.array([1.0]), batch=1), slots=2)


def test_queues_that_become_one_are_merged_in_order_of_arrival(station: MakeStation) -> None:
    arrivals = [k / 10 for k in range(12)]
    made = station(arrivals, [5.0] * 12, queue=Partitioned(2), replicas=2)
    made.advance(2.0)
    assert min(made.arrived - made.gone) >= 3  # both queues hold some
    made.stop(1)
    made.advance(math.inf)
    assert made.begun[made.begun > 2.0].tolist() == [5.0 * k for k in range(1, 11)]
