"""What the policy is shown of a queue: offsets that are as old as the scrape, and commits that lag behind the work."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from simulations.kernel.queue import ARRIVED, COMMITTED, PHASE, SERVED, SHARED, TIME

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MINUTE = 60


@compiled
def show(
    at: float,
    commit_interval: float,
    curves: Floats,
    parts: Floats,
    base: Ints,
    offsets: Ints,
    real: Floats,
    whole: Ints,
) -> float:
    """Write end and committed ``offsets``, shape [2, partitions], as they were ``at`` seconds into the run.

    Returns all that was served by then.

    Partitioned: each partition was last committed at its consumer's last multiple of the interval, up to what had
    *left* by then. Shared: what is seen as lag is the backlog, and the last minute's mean arrivals for as long as a
    request is in service and, on average, not yet committed (half an interval); the sums are dealt out evenly.
    """
    partitions = curves.shape[2]
    served = 0.0
    for p in range(partitions):
        served += _value(curves, SERVED, p, at)
    end, committed = offsets[0], offsets[1]
    if whole[SHARED]:
        arrived = _value(curves, ARRIVED, 0, at)
        mean = (arrived - _value(curves, ARRIVED, 0, at - MINUTE)) / MINUTE
        total = base[0] + math.floor(arrived + 1e-6)
        done = base[0] + math.floor(served - mean * (real[TIME] + commit_interval / 2.0) + 1e-6)
        whole[COMMITTED] = max(whole[COMMITTED], done)
        shown = len(end)
        for p in range(shown):
            end[p] = (total + p) // shown
            committed[p] = (whole[COMMITTED] + p) // shown
        return served
    for p in range(partitions):
        last = at
        if commit_interval > 0.0:
            phase = parts[PHASE, p] * commit_interval
            last = math.floor((at - phase) / commit_interval) * commit_interval + phase
        end[p] = base[p] + math.floor(_value(curves, ARRIVED, p, at) + 1e-6)
        committed[p] = base[p] + math.floor(_value(curves, SERVED, p, last - real[TIME]) + 1e-6)
    return served


@compiled
def _value(curves: Floats, which: int, p: int, at: float) -> float:
    """A cumulative curve at a time between whole seconds; the ring holds what is before the run's begin, too."""
    mask = curves.shape[1] - 1
    low = math.floor(at)
    part = at - low
    value: float = curves[which, low & mask, p]
    if part > 0.0:
        value += part * (curves[which, (low + 1) & mask, p] - value)
    return value
