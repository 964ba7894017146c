"""The kernel against queueing theory: what the formulas say, computed here from the formulas alone, within 2 %.

Runs are as long as it takes for 2 % to be about three standard errors of what is measured, which is why no load is
above 0.75: at 0.85 and 16 servers that would be thirty million requests.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from simulations.request_level.setting import Discipline
from simulations.request_level.station import Station
from simulations.service_times import Exponential, Fixed, Lognormal, ServiceTime
from simulations.setting import Partitioned

Served = tuple[Station, NDArray[np.float64]]
WITHIN = 0.02


@pytest.fixture
def poisson(station: Callable[..., Station]) -> Callable[..., Served]:
    """``poisson(rate, count, time, servers)``: a station that served them all, and each one's wait (NaN: refused)."""

    def run(rate: float, count: int, time: ServiceTime, servers: int, **true: object) -> Served:
        arrivals = np.cumsum(np.random.default_rng(11).exponential(1 / rate, count))
        made = station(arrivals, time, replicas=servers, seed=12, **true)
        made.advance(math.inf)
        return made, made.begun - arrivals

    return run


def erlang_c(servers: int, load: float) -> float:
    """Probability that one waits in M/M/c at ``load`` = rate / service rate (Erlang 1917; Gross & Harris 2.3)."""
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(load**k / math.factorial(k) for k in range(servers)) + last)


@pytest.mark.parametrize(("servers", "busy", "count"), [(1, 0.5, 600_000), (4, 0.7, 2_000_000), (10, 0.7, 2_000_000)])
def test_m_m_c_mean_wait_and_its_tail(poisson: Callable[..., Served], servers: int, busy: float, count: int) -> None:
    rate = busy * servers  # service rate 1
    _, wait = poisson(rate, count, Exponential(1.0), servers)
    waits = erlang_c(servers, rate)
    spare = servers - rate
    assert float(wait.mean()) == pytest.approx(waits / spare, rel=WITHIN)
    # P(wait > t) = C exp(-(c mu - lambda) t)
    assert float((wait > 0).mean()) == pytest.approx(waits, rel=WITHIN)
    later = math.log(2) / spare
    assert float((wait > later).mean()) == pytest.approx(waits / 2, rel=WITHIN)


@pytest.mark.parametrize(("busy", "count"), [(0.5, 400_000), (0.75, 1_500_000)])
def test_m_g_1_mean_wait_is_pollaczek_khinchine(poisson: Callable[..., Served], busy: float, count: int) -> None:
    location, scale, shape = 0.0793, 0.0686, 0.4225
    mean = location + scale * math.exp(shape**2 / 2)
    second = mean**2 + scale**2 * (math.exp(shape**2) - 1) * math.exp(shape**2)
    rate = busy / mean
    _, wait = poisson(rate, count, Lognormal(location, scale, shape), 1)
    assert float(wait.mean()) == pytest.approx(rate * second / (2 * (1 - busy)), rel=WITHIN)


def m_d_c_wait(servers: int, rate: float, seconds: float) -> float:
    """Mean wait in M/D/c, exactly (Crommelin 1932; Tijms, A First Course in Stochastic Models, 9.6.2).

    Whoever is in service at t has left by t + D, and nobody who was not: n(t + D) = max(n(t) - c, 0) + arrivals in D.
    The stationary law of n solves that; the queue's mean length over the rate is the wait (Little).
    """
    states = 40 * servers + 100
    load = rate * seconds
    log_poisson = -load + np.arange(states) * math.log(load) - np.array([math.lgamma(k + 1) for k in range(states)])
    poisson = np.exp(log_poisson)
    after = np.zeros((states, states))
    for n in range(states):
        stay = max(n - servers, 0)
        after[n, stay:] = poisson[: states - stay]
    system = np.vstack([after.T - np.eye(states), np.ones(states)])
    law = np.linalg.lstsq(system, np.append(np.zeros(states), 1.0), rcond=None)[0]
    return float((np.maximum(np.arange(states) - servers, 0) * law).sum()) / rate


def test_m_d_1_is_known_in_closed_form() -> None:
    assert m_d_c_wait(1, 0.8, 1.0) == pytest.approx(0.8 / (2 * 0.2), rel=1e-6)


@pytest.mark.parametrize(("servers", "busy", "count"), [(2, 0.7, 1_000_000), (4, 0.75, 2_000_000)])
def test_m_d_c_mean_wait(poisson: Callable[..., Served], servers: int, busy: float, count: int) -> None:
    seconds = 0.25
    rate = busy * servers / seconds
    _, wait = poisson(rate, count, Fixed(seconds), servers)
    assert float(wait.mean()) == pytest.approx(m_d_c_wait(servers, rate, seconds), rel=WITHIN)


@pytest.mark.parametrize(("servers", "bound", "load"), [(1, 3, 0.9), (4, 6, 4.4), (3, 0, 2.0)])
def test_m_m_c_k_refuses_as_the_birth_and_death_process_says(
    poisson: Callable[..., Served], servers: int, bound: int, load: float
) -> None:
    """p_n is proportional to load^n / (n! up to c, then c! c^(n-c)); an arrival is refused in state c + bound."""
    weights = [1.0]
    for n in range(1, servers + bound + 1):
        weights.append(weights[-1] * load / min(n, servers))
    made, wait = poisson(load, 300_000, Exponential(1.0), servers, queue_bound=bound)
    refused = np.isnan(wait)
    assert float(refused.mean()) == pytest.approx(weights[-1] / sum(weights), rel=WITHIN)
    assert (made.left[refused] == made.arrivals[refused]).all()


@pytest.mark.parametrize("time", [Exponential(1.0), Lognormal(0.5, 0.3, 1.0)])
def test_sharing_depends_on_the_mean_only(poisson: Callable[..., Served], time: ServiceTime) -> None:
    """M/G/1 processor sharing: E[time in it] = E[service] / (1 - busy), whatever the law (Kleinrock, vol. 2, 4.4)."""
    rate = 0.6 / time.mean
    made, _ = poisson(rate, 500_000, time, 1, slots=120, discipline=Discipline.SHARING)
    inside = made.left - made.arrivals
    assert float(inside.mean()) == pytest.approx(time.mean / 0.4, rel=WITHIN)


def test_partitions_with_a_replica_each_are_so_many_m_m_1(poisson: Callable[..., Served]) -> None:
    """Split by chance over partitions, each with its own replica: four M/M/1 queues."""
    rate, servers = 0.6, 4
    _, wait = poisson(rate * servers, 1_000_000, Exponential(1.0), servers, queue=Partitioned(4))
    assert float(wait.mean()) == pytest.approx(0.6 / 0.4, rel=WITHIN)


def test_littles_law(station: Callable[..., Station]) -> None:
    """Mean number in the system, looked at from outside, is the rate of those let in times their time in it."""
    count, rate, servers = 200_000, 3.4, 4
    arrivals = np.cumsum(np.random.default_rng(3).exponential(1 / rate, count))
    made = station(arrivals, Exponential(1.0), replicas=servers, queue_bound=12, seed=4)
    looks = np.arange(0.0, float(arrivals[-1]), 2.7)
    inside = []
    for look in looks:
        made.advance(float(look))
        inside.append(made.waiting + made.held)
    made.advance(math.inf)
    let_in = ~np.isnan(made.begun)
    time_inside = float((made.left - made.arrivals)[let_in].mean())
    let_in_rate = float(let_in.sum()) / float(arrivals[-1])
    assert float(np.mean(inside)) == pytest.approx(let_in_rate * time_inside, rel=WITHIN)
