"""The compiled loops over paths to the last bit: what is left out or done in another order must not move a decision."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.plan import nodes_kernel as kernel
from scaler.plan.nodes_leads import Ahead
from scaler.plan.nodes_needed import Needed
from scaler.plan.paths import Futures
from scaler.plan.settings import NodeSettings
from tests.plan.nodes_cases import decide, futures, jump, need

SETTINGS = NodeSettings()


def busy(
    path: list[float], step: float, age: float, dt: float, k: int, middle: list[float], inverse: list[float], per: float
) -> float:
    """GPUs that one path keeps busy in a step of ``dt`` s, by the plain formula."""
    near, far = SETTINGS.near, SETTINGS.far

    def wider(j: int) -> float:
        place = min(max(((j + 0.5) * step - age - near) / (far - near), 0.0), 1.0)
        factor = SETTINGS.inflation_near + (SETTINGS.inflation_far - SETTINGS.inflation_near) * place
        return middle[j] + (path[j] - middle[j]) * factor if path[j] > middle[j] else path[j]

    begin, end = (age + k * dt) / step, (age + (k + 1) * dt) / step
    first = min(int(begin), len(middle) - 1)
    last = max(min(math.ceil(end - 1e-9) - 1, len(middle) - 1), first)
    rate = wider(first)
    if last > first:
        rate = rate * ((first + 1 - begin) / (end - begin)) + wider(last) * ((end - last) / (end - begin))
        for j in range(first + 1, last):
            rate += wider(j) * (1.0 / (end - begin))
    place = rate / per
    low = min(int(place), len(inverse) - 2)
    return inverse[low] + (inverse[low + 1] - inverse[low]) * min(place - low, 1.0)


@given(
    seed=st.integers(0, 2**32 - 1),
    step=st.sampled_from([5.0, 15.0, 60.0]),
    part=st.sampled_from([0.0, 0.3, 0.99]),
    dt=st.sampled_from([10.0, 15.0, 17.5, 60.0]),
    given_steps=st.integers(1, 60),
    looks=st.lists(st.integers(1, 40), min_size=1, max_size=3),
)
@settings(max_examples=40, deadline=None)
def test_gpus_are_those_of_the_plain_formula_however_far_somebody_looks_first(
    seed: int, step: float, part: float, dt: float, given_steps: int, looks: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    rates = np.exp(rng.normal(3.0, 1.0, (7, given_steps)))
    inverse = np.sort(rng.uniform(0, 60, 9))
    one = need(rates, 16, futures=futures(rates, step, part * step), most=40)
    ahead = Ahead(dt, 3, 10, 20, 25, 40, 300.0)
    needed = Needed([one], [inverse], ahead, SETTINGS)
    middle, per = np.sort(rates, axis=0)[3].tolist(), 40.0 / 8
    for steps in looks:
        made = needed.until(steps)[0, :, :steps].tolist()
        assert made == [
            [busy(path, step, part * step, dt, k, middle, inverse.tolist(), per) for k in range(steps)]
            for path in rates.tolist()
        ]


def test_fewer_paths_are_taken_again_with_medians_of_their_own() -> None:
    rng = np.random.default_rng(0)
    many, few = rng.uniform(1, 9, (5, 30)), rng.uniform(1, 9, (3, 30))
    inverse = np.array([0.0, 10.0])
    ahead = Ahead(15.0, 3, 10, 20, 25, 30, 300.0)
    both = [need(many, 5), need(few, 5, uid="two")]
    again = [both[0], need(few[[0, 1, 2, 0, 1]], 5, uid="two")]
    made, same = (Needed(needs, [inverse, inverse], ahead, SETTINGS).until(30) for needs in (both, again))
    assert made.tolist() == same.tolist()


def test_paths_that_go_on_longer_are_asked_for_where_somebody_looks_behind_their_end() -> None:
    rates = np.random.default_rng(1).uniform(1, 9, (5, 30))
    inverse, ahead, asked = np.array([0.0, 10.0]), Ahead(15.0, 3, 10, 20, 25, 30, 300.0), []

    def farther() -> Futures:
        asked.append(1)
        return futures(rates)

    whole = Needed([need(rates, 5)], [inverse], ahead, SETTINGS).until(30)
    short = need(rates, 5, futures=futures(rates[:, :16], farther=farther))
    drawn = Needed([short], [inverse], ahead, SETTINGS)
    assert drawn.until(12)[:, :, :16].tolist() == whole[:, :, :16].tolist()
    assert not asked
    for steps in (17, 30, 30):
        assert drawn.until(steps)[:, :, :steps].tolist() == whole[:, :, :steps].tolist()
    assert len(asked) == 1


def test_where_no_more_can_be_drawn_the_last_rate_goes_on() -> None:
    rates = np.random.default_rng(1).uniform(1, 9, (5, 16))
    inverse, ahead = np.array([0.0, 10.0]), Ahead(15.0, 3, 10, 20, 25, 30, 300.0)
    alone, failing = need(rates, 5), need(rates, 5, futures=futures(rates, farther=lambda: None))
    made, same = (Needed([one], [inverse], ahead, SETTINGS) for one in (alone, failing))
    assert made.until(8)[:, :, :8].tolist() == same.until(8)[:, :, :8].tolist()
    assert made.until(30).tolist() == same.until(30).tolist()


def test_nodes_are_ordered_for_what_is_late_over_the_paths_that_the_plan_goes_by() -> None:
    """Some forecasters draw other paths where they are to go on longer."""
    short, longer = jump(8.0, 60.0, 300.0, 600.0), jump(8.0, 12.0, 900.0)
    plan = decide(1, need(short, 8, futures=futures(short, farther=lambda: futures(longer))))
    same = decide(1, need(longer, 8))
    assert (plan.floor, plan.replicas, plan.ordered) == (same.floor, same.replicas, same.ordered) == (1, (8,), 0)


def late(needed: np.ndarray, services: np.ndarray, capacity: list[float], dt: float) -> float:
    """The price of the late work by the plain formula, no step left out."""
    total, steps = 0.0, len(capacity)
    for p in range(needed.shape[1]):
        left = services[:, kernel.BACKLOG].tolist()
        for k in range(steps):
            room, ahead = capacity[k] * dt, capacity[min(k + 1, steps - 1)]
            for s in range(len(services)):
                gpus = float(needed[s, p, k])
                rest = left[s] + gpus * dt - room
                if left[s] > 0.0 or gpus * dt > room:
                    room, left[s] = max(-rest, 0.0), max(rest, 0.0)
                    more = left[s] - ahead * float(services[s, kernel.SLACK])
                    if more > 0.0:
                        total += float(services[s, kernel.PRICE]) * min(more, gpus * dt)
                else:
                    room -= gpus * dt
                ahead = max(ahead - gpus, 0.0)
    return total / needed.shape[1]


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 3),
    waits=st.booleans(),
    scale=st.sampled_from([0.5, 0.9, 1.0, 1.5]),
)
@settings(max_examples=60, deadline=None)
def test_late_work_is_that_of_the_plain_formula_also_where_paths_are_passed_over(
    seed: int, count: int, waits: bool, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    needed = rng.uniform(0, 10 * scale / count, (count, 6, 12))
    capacity = rng.uniform(6, 12, 9)
    services = np.zeros((count, 5))
    services[:, kernel.BACKLOG] = rng.uniform(0, 50, count) * waits
    services[:, kernel.SLACK], services[:, kernel.PRICE] = rng.uniform(0, 20, count), rng.uniform(1, 30, count)
    assert kernel.late_cost(needed, services, capacity, 15.0) == late(needed, services, capacity.tolist(), 15.0)
