"""What would have come of following every recommendation: a queue beside the real one."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from scaler.metrics.attainment import NOTHING, Attainment, Judged


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the newest decision says about serving: a count, and what it would be worth."""

    desired: int
    service_rate: float  # requests/s one ready replica serves
    lead_time: float  # s from asking for a replica until it serves
    most: int | None = None  # replicas that can be given work


class Followed:
    """Replicas asked for serve after the lead time and are paid for at once; those given back go at once.

    All partitions are one queue here and a rebalance costs nothing, and what is recommended answers to the real
    backlog, not to this one: an estimate. The arrivals are the real ones. It begins with what really ran, and with no
    request waiting.
    """

    def __init__(self, within: float, gap: float) -> None:
        self._gap = gap
        self._judge = Attainment(within, gap)
        self._before: tuple[float, float, float, float] | None = None  # unix s, offset, came, left
        self._paid = 0
        self._coming: deque[tuple[float, int]] = deque()  # unix s from which on these serve
        self._told: Capacity | None = None

    def step(self, time: float, arrived: float, running: int, told: Capacity | None) -> tuple[float, Judged]:
        """Take in a tick: messages so far, replicas that run now, and the newest decision.

        Returns the replica-seconds that following would have paid since the last tick, and its requests judged. Where
        the decision is not known (None), or was not for a long time, nothing is said, and it begins anew.
        """
        before = self._before
        if told is None:
            self._before = None
            return 0.0, NOTHING
        if before is None or not 0.0 < time - before[0] <= self._gap or arrived < before[1]:
            self._begin(time, arrived, running, told)
            return 0.0, NOTHING
        then, offset, came, left = before
        capacity = self._told or told
        served = self._work(then, time, capacity.most) * capacity.service_rate
        came += arrived - offset
        left = min(came, left + served)
        cost = self._paid * (time - then)
        self._before = (time, arrived, came, left)
        self._told = told
        self._ask(time, told)
        return cost, self._judge.step(time, np.array([came]), np.array([left]))

    def _begin(self, time: float, arrived: float, running: int, told: Capacity) -> None:
        self._coming.clear()
        self._paid = running
        self._told = told
        self._before = (time, arrived, 0.0, 0.0)
        self._judge.step(time, np.array([0.0]), np.array([0.0]))
        self._ask(time, told)

    def _work(self, start: float, end: float, most: int | None) -> float:
        """Replica-seconds of service between two times, of at most ``most`` replicas at once."""
        times = [start, *(at for at, _ in self._coming if start < at < end), end]
        total = 0.0
        for a, b in pairwise(times):
            serving = self._paid - sum(count for at, count in self._coming if at > a)
            total += min(serving, most if most is not None else math.inf) * (b - a)
        while self._coming and self._coming[0][0] <= end:
            self._coming.popleft()
        return total

    def _ask(self, time: float, told: Capacity) -> None:
        more = told.desired - self._paid
        self._paid = told.desired
        if more > 0:
            self._coming.append((time + told.lead_time, more))
            self._coming = deque(sorted(self._coming))
        while more < 0 and self._coming:  # what does not serve yet is given back first
            at, count = self._coming.pop()
            more += count
            if more > 0:
                self._coming.append((at, more))
