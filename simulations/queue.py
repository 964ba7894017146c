"""First-in first-out partitions served by consumers that share them, second by second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


class PartitionedQueue:
    """Messages waiting in each partition, and consumers that each serve ``rate`` requests/s.

    Partitions are split evenly by number, as range and cooperative sticky do for one topic: the first
    ``partitions % consumers`` consumers have one more. A consumer shares its second among its partitions by their
    backlog. A change of the number of consumers stops the group for ``pause`` seconds.
    """

    def __init__(self, partitions: int, rate: float, pause: float = 0.5) -> None:
        if partitions < 1 or rate <= 0:
            raise ValueError(f"a queue needs partitions >= 1 and rate > 0; found {partitions} and {rate}")
        self._rate = rate
        self._pause = pause
        self._waiting = np.zeros(partitions)
        self._consumers = 0
        self._owner = np.zeros(partitions, dtype=np.int64)

    @property
    def waiting(self) -> NDArray[np.float64]:
        """Messages in each partition that are not served yet, shape [partitions]."""
        return self._waiting

    def step(self, arrivals: NDArray[np.float64], consumers: int, seconds: float = 1.0) -> NDArray[np.float64]:
        """Let ``arrivals`` (messages, shape [partitions]) come in and ``consumers`` work; returns messages served."""
        working = seconds
        if consumers != self._consumers:
            working = max(seconds - self._pause, 0.0)
            self._consumers = consumers
            if consumers:
                self._owner = assignment(len(self._waiting), consumers)
        self._waiting = self._waiting + arrivals
        if consumers == 0:
            return np.zeros_like(self._waiting)
        members = min(consumers, len(self._waiting))
        load = np.bincount(self._owner, weights=self._waiting, minlength=members)
        share = np.minimum(1.0, self._rate * working / np.maximum(load, 1e-12))
        served = self._waiting * share[self._owner]
        self._waiting = self._waiting - served
        return served


def assignment(partitions: int, consumers: int) -> NDArray[np.int64]:
    """Number of the consumer that holds each partition, shape [partitions]; split evenly, in order."""
    members = min(consumers, partitions)
    each, more = divmod(partitions, members)
    return np.repeat(np.arange(members), [each + (c < more) for c in range(members)])


@dataclass(frozen=True, slots=True)
class Served:
    """What became of the requests of a run."""

    requests: float  # without those that at the end waited and were not yet too old: nobody knows of them
    late: float
    longest_time_lag: float  # s

    @property
    def attainment(self) -> float:
        """Share of requests that left within the objective; NaN without requests."""
        return 1.0 - self.late / self.requests if self.requests else float("nan")


def measure(
    arrived: NDArray[np.float64], served: NDArray[np.float64], within: float, service_time: float, seconds: float = 1.0
) -> Served:
    """Compare cumulative arrivals and service of each partition, both of shape [steps, partitions].

    First in, first out: the request that is the n-th to arrive is the n-th to leave. What arrived by ``a`` and has not
    been taken into service by ``a + within - service_time`` is late. What waits at the end and has not waited so long
    counts neither as late nor among the requests, as in :mod:`simulations.measures`.
    """
    come, gone = np.cumsum(arrived, axis=0), np.cumsum(served, axis=0)
    slack = int(max(within - service_time, 0.0) / seconds)  # down to whole steps: never kinder than the truth
    gone_later = np.vstack([gone[slack:], np.repeat(gone[-1:], min(slack, len(gone)), axis=0)])[: len(come)]
    over = np.maximum(come - gone_later, 0.0)  # of all that came by a step, what will not have left in time
    not_left = np.minimum(over, arrived)
    old = max(len(come) - slack, 0)  # steps whose requests the end finds too old, if it finds them
    late, undecided = not_left[:old].sum(), not_left[old:].sum()
    longest = float(time_lag(arrived, served, seconds).max(initial=0.0))
    return Served(float(arrived.sum() - undecided), float(late), longest)


def time_lag(arrived: NDArray[np.float64], served: NDArray[np.float64], seconds: float = 1.0) -> NDArray[np.float64]:
    """Age (s) of the oldest request that is not served at the end of each step, 0 when there is none; shape [steps]."""
    come, gone = np.cumsum(arrived, axis=0), np.cumsum(served, axis=0)
    steps = np.arange(len(come))
    oldest = np.array([np.searchsorted(come[:, p], gone[:, p] + 1e-6, side="right") for p in range(come.shape[1])]).min(
        axis=0
    )
    return np.where(oldest > steps, 0.0, (steps - oldest + 1) * seconds)
