"""Which consumers had work throughout an interval: what they served is what a replica serves."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from scaler.plan.progress import Progress

Floats = NDArray[np.float64]

ROUND_ROBIN = "roundrobin"
_COMMITS = 4.0  # messages of a consumer that always has work, in an interval


def saturated(progress: Progress, ready: int, rate: float, assignor: str | None = None) -> bool:
    """Whether every consumer had work throughout an interval, as far as can be told: half of what it could serve in the
    interval was waiting at either end, so that what a hot partition piles up does not speak for all."""
    working, _ = busy(progress, ready, rate, rate * progress.seconds / 2, assignor)
    return working > 0 and working == min(ready, len(progress.consumed))


def busy(
    progress: Progress, ready: int, rate: float, least: float, assignor: str | None = None, spread: bool = False
) -> tuple[int, float]:
    """Consumers with ``least`` messages waiting at either end of an interval, and what they served in it.

    Not those that committed nothing where, at ``rate`` requests/s each, at least ``_COMMITS`` messages were to be
    expected, and all together committed at least half of what came: they commit seldom, and their work looks like a
    backlog.

    Who holds which partition is not observed: every r-th one where the group's ``assignor`` is "roundrobin", else even
    ranges. ``spread``: something waited in half of a consumer's partitions.
    """
    partitions = len(progress.consumed)
    if ready < 1 or partitions == 0 or progress.recreated:
        return 0, 0.0
    # Where only the count is balanced, ranges are one holding of many. The worst of them, that a consumer has nothing
    # but the coldest partitions, would teach nothing where some are cold: a rate declared too high would stay.
    seen = progress.backlog_before, progress.backlog_after, progress.consumed
    part = 0.5 if spread else 0.0
    came = math.inf if progress.arrivals is None else progress.arrivals
    must_commit = rate * progress.seconds >= _COMMITS and 2.0 * progress.served >= came
    working, served = _busy(*seen, min(ready, partitions), assignor == ROUND_ROBIN, least, part, must_commit)
    return int(working), float(served)


@compiled
def _busy(
    before: Floats,
    after: Floats,
    consumed: Floats,
    consumers: int,
    round_robin: bool,
    least: float,
    part: float,
    must_commit: bool,
) -> tuple[int, float]:
    """How many consumers have ``least`` messages waiting ``before``, and ``after``, in the partitions they hold, some
    in a ``part`` of these, and what they consumed; not those who consumed nothing where they ``must_commit``. Messages
    are whole: in any order they add up to the same."""
    first, working, served = 0, 0, 0.0
    for c in range(consumers):
        held = held_by(len(before), consumers, c)
        step = consumers if round_robin else 1
        begin = c if round_robin else first
        left_before = left = own = 0.0
        waiting = 0
        for k in range(begin, begin + held * step, step):
            left_before += before[k]
            left += after[k]
            own += consumed[k]
            waiting += int(before[k] > 0.0 and after[k] > 0.0)
        if left_before >= least and left >= least and waiting >= part * held and not (must_commit and own <= 0.0):
            working += 1
            served += own
        first += held
    return working, served


@compiled
def held_by(partitions: int, consumers: int, c: int) -> int:
    """How many partitions consumer ``c`` holds; the first hold one more where it does not come out even."""
    return partitions // consumers + (1 if c < partitions % consumers else 0)
