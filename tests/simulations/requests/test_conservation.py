"""What must hold whatever happens: no request is lost or made up, and how time is cut changes nothing."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulations.request_level.setting import Discipline
from simulations.request_level.station import Pod, Station
from simulations.service_times import ByBatch
from simulations.setting import Partitioned, Shared

MakeStation = Callable[..., Station]
FAST = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass(frozen=True)
class Case:
    """Requests, a way to serve them, and what is done to the replicas: (after s, how many more or fewer)."""

    arrivals: tuple[float, ...]
    work: tuple[float, ...]
    true: dict[str, object]
    changes: tuple[tuple[float, int], ...]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    count = draw(st.integers(1, 60))
    # Whole tenths, so that things happen at the same instant.
    gaps = draw(st.lists(st.integers(0, 8), min_size=count, max_size=count))
    arrivals = tuple(float(a) / 10 for a in np.cumsum(gaps))
    work = tuple(draw(st.lists(st.integers(1, 30), min_size=count, max_size=count)))
    queue = draw(
        st.sampled_from([Shared(), Shared(3), Partitioned(1), Partitioned(5), Partitioned(3, weights=(1, 0, 2))])
    )
    true: dict[str, object] = {
        "queue": queue,
        "replicas": draw(st.integers(0, 4)),
        "queue_bound": draw(st.sampled_from([None, 0, 1, 4])),
    }
    if draw(st.booleans()):
        true["slots"] = draw(st.integers(1, 4))
        true["discipline"] = draw(st.sampled_from(list(Discipline)))
    changes = draw(st.lists(st.tuples(st.integers(0, 20), st.integers(-3, 3)), max_size=8))
    return Case(arrivals, tuple(w / 10 for w in work), true, tuple((w / 5, n) for w, n in changes))


def play(made: Station, case: Case, cuts: Sequence[float] = ()) -> list[tuple[int, int, int, int, int]]:
    """Run it; returns (arrived, served, refused, waiting, held) after each step. ``cuts``: more places to stop at."""
    now, served, refused, rows = 0.0, 0, 0, []
    stops = []
    for after, more in case.changes:
        now += after
        insort(stops, (now, more))
    for at in cuts:
        insort(stops, (at, 0))
    for at, more in [*stops, (math.inf, 0)]:
        answers, _ = made.advance(at)
        served, refused = served + answers.served, refused + answers.refused
        rows.append((int(made.arrived.sum()), served, refused, made.waiting, made.held))
        for _ in range(more):
            made.start(Pod(at, at, at + 1.3))
        made.stop(min(max(-more, 0), made.granted))
    return rows


@FAST
@given(cases())
def test_what_arrived_was_served_or_refused_or_is_still_there(station: MakeStation, case: Case) -> None:
    made = station(case.arrivals, list(case.work), **case.true)
    for arrived, served, refused, waiting, held in play(made, case):
        assert arrived == served + refused + waiting + held
    begun, left = made.begun, made.left
    assert int((~np.isnan(begun) & ~np.isnan(left)).sum()) == served
    assert int((np.isnan(begun) & ~np.isnan(left)).sum()) == refused
    assert made.gone.sum() == served + refused
    assert made.started.sum() == served + held
    if made.ready:
        assert waiting == held == 0
    done = ~np.isnan(begun)
    assert (begun[done] >= np.array(case.arrivals)[done]).all()
    # Nobody is served faster than its own work takes.
    assert (left[done] - begun[done] >= np.array(case.work)[done] - 1e-9).all()


@FAST
@given(cases(), st.lists(st.floats(0, 30), max_size=12))
def test_how_time_is_cut_changes_nothing(station: MakeStation, case: Case, cuts: list[float]) -> None:
    whole, cut = (station(case.arrivals, list(case.work), **case.true) for _ in range(2))
    play(whole, case)
    play(cut, case, cuts)
    np.testing.assert_array_equal(whole.begun, cut.begun)
    np.testing.assert_array_equal(whole.left, cut.left)


def by_hand(arrivals: Sequence[float], work: Sequence[float], servers: int, bound: int | None) -> list[float]:
    """When each leaves, NaN where it is refused: each takes the server that is free first."""
    free = [0.0] * servers
    begins: list[float] = []
    left = []
    for at, seconds in zip(arrivals, work, strict=True):
        waiting = sum(1 for begin in begins if begin > at)
        if bound is not None and waiting >= bound and free[0] > at:
            left.append(math.nan)
            continue
        begin = max(at, free.pop(0))
        begins.append(begin)
        insort(free, begin + seconds)
        left.append(begin + seconds)
    return left


@FAST
@given(cases(), st.integers(1, 5))
def test_the_same_as_a_list_of_free_times(station: MakeStation, case: Case, servers: int) -> None:
    bound = case.true["queue_bound"]
    assert bound is None or isinstance(bound, int)
    made = station(case.arrivals, list(case.work), replicas=servers, queue_bound=bound)
    made.advance(math.inf)
    expected = by_hand(case.arrivals, case.work, servers, bound)
    np.testing.assert_allclose(np.where(np.isnan(made.begun), np.nan, made.left), expected, rtol=0, atol=1e-9)


@FAST
@given(cases(), st.integers(1, 6))
def test_batches_lose_nothing_and_never_exceed_their_size(station: MakeStation, case: Case, most: int) -> None:
    time = ByBatch(np.array([1.0, 6.0]), np.array([0.4, 1.4]), batch=most)
    true = {name: value for name, value in case.true.items() if name not in ("slots", "discipline")}
    made = station(case.arrivals, time, **true)
    for arrived, served, refused, waiting, held in play(made, case):
        assert arrived == served + refused + waiting + held
    done = ~np.isnan(made.begun)
    sizes = np.round((made.left[done] - made.begun[done] - 0.4) / 0.2) + 1
    assert ((sizes >= 1) & (sizes <= most)).all()
