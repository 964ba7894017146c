"""One service's queue and all its arrays: made from the setting and the load, run by the compiled kernel."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from simulations.kernel import assignment, latency, queue
from simulations.kernel.draws import Stream, normal_quantiles, stream, uniform
from simulations.kernel.pods import JOINED, NEVER
from simulations.kernel.shown import MINUTE, show
from simulations.record import LatencyHistogram
from simulations.setting import Load, Partitioned, ServiceSetting

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_RING = 256  # s of arrivals that are remembered at first; it grows with the oldest request that waits
_BLOCK = 512  # observations whose offsets are allocated at once
_AROUND = 60  # s before and after a gap whose means the offsets are carried over it with


class ServiceQueue:
    """A queue that is run in whole seconds. ``stopped``: seconds in which nothing is served, shape [seconds]."""

    def __init__(self, index: int, setting: ServiceSetting, load: Load, seed: int, stopped: Flags) -> None:
        split = isinstance(setting.queue, Partitioned)
        partitions = setting.queue.partitions if split else 1
        self._index, self._setting = index, setting
        self._seed = stream(seed, Stream.SPLIT, index)
        self.arrivals = np.ascontiguousarray(load.arrivals, dtype=np.float64)
        self.filled = carried_over(self.arrivals)
        self._stopped = stopped
        self.columns = np.zeros((3, len(self.arrivals)))
        self._ring = np.zeros((_RING, partitions))
        self._parts = np.zeros((queue.PART_ROWS, partitions))
        self._parts[queue.SHARE] = shares(setting)
        self._parts[queue.PART] = parts_of_rest(self._parts[queue.SHARE])
        self._parts[queue.PHASE] = [uniform(stream(seed, Stream.COMMIT, index), p) for p in range(partitions)]
        self._places = np.zeros((queue.PLACE_ROWS, partitions + 1), np.int64)
        self._places[queue.OWNER] = assignment.NOBODY
        self._members = np.zeros((2, setting.service.max_replicas + setting.replicas + 64), np.int64)
        self._bins, self._bounds = np.zeros((2, latency.BINS + 1)), latency.edges()
        self._normals = normal_quantiles()
        self._real = np.array(
            [setting.rate, setting.time, setting.service.within - setting.time, setting.rebalance.pause, 0.0]
        )
        even = float(np.ptp(self._parts[queue.SHARE])) == 0.0
        assignor = setting.queue.assignor if isinstance(setting.queue, Partitioned) else None
        self.assignor: str | None = None if assignor is None else assignor.value  # by Kafka's name
        code = 0 if assignor is None else assignment.CODE[assignor]
        how = queue.PROTOCOL[setting.rebalance.protocol]
        self._whole = np.array([not split, code, how, even, 0, 0, 0, -1, 0, NEVER], np.int64)
        self._curves, self._base = self._past(load)
        self.numbers = np.arange(setting.queue.partitions)
        self.begin = np.zeros(setting.queue.partitions, np.int64)
        self._block = np.empty((0, 2, 0), np.int64)
        self._row = 0
        self._unserved: float | None = None
        for pod in range(setting.replicas):
            queue.change_members(self._members, pod, JOINED, 0, 0)
        queue.rebalance(0.0, self._parts, self._places, self._members, self._whole)

    def _past(self, load: Load) -> tuple[Floats, Ints]:
        """Cumulative curves of the time before the run, at the history's newest rate, and the offsets at its begin."""
        share = self._parts[queue.SHARE]
        needed = self._setting.scrape_delay + MINUTE + self._setting.commit_interval + self._setting.time
        window = power_of_two(math.ceil(needed) + MINUTE)
        rate = total = 0.0
        if load.history is not None:
            known = load.history.rates[~np.isnan(load.history.rates)]
            rate = float(known[-1]) if len(known) else 0.0
            total = float(known.sum()) * load.history.step
        curves = np.zeros((2, window, len(share)))
        before = -np.arange(window)
        curves[:, before % window] = before[None, :, None] * (rate * share)[None, None, :]
        return curves, np.ceil((total + rate * window) * share).astype(np.int64)

    def run(self, first: int, last: int, events: Ints, count: int) -> None:
        """The seconds ``first`` to ``last``; ``events``: the first ``count`` rows, from the fleet."""
        while first < last:
            first = queue.serve(
                first,
                last,
                self._index,
                self._seed,
                self.arrivals,
                self.filled,
                self._stopped,
                self.columns,
                self._ring,
                self._curves,
                self._parts,
                self._places,
                self._members,
                events,
                count,
                self._bins,
                self._bounds,
                self._normals,
                self._real,
                self._whole,
            )
            if first < last:
                self._remember_longer(first)

    def _remember_longer(self, second: int) -> None:
        old = self._ring
        self._ring = np.zeros((2 * len(old), old.shape[1]))
        kept = np.arange(max(second - len(old), 0), second)
        self._ring[kept % len(self._ring)] = old[kept % len(old)]

    def make_room(self, members: int) -> None:
        """Let the group hold so many members."""
        needed = members + int(self._members[queue.WHO, 0]) + 2  # the dead are members, too
        if needed > self._members.shape[1]:
            self._members = np.hstack((self._members, np.zeros((2, needed), np.int64)))

    def offsets(self, at: float) -> tuple[Ints, Ints, float]:
        """(end, committed) of the partitions ``at`` seconds into the run, and all that was served by then."""
        if self._row == len(self._block):
            self._block, self._row = np.empty((_BLOCK, 2, len(self.numbers)), np.int64), 0
        rows = self._block[self._row]
        self._row += 1
        served = show(
            at, self._setting.commit_interval, self._curves, self._parts, self._base, rows, self._real, self._whole
        )
        return rows[0], rows[1], served

    @property
    def rebalances(self) -> int:
        """Seconds in which the membership changed."""
        return int(self._whole[queue.REBALANCES])

    @property
    def waiting(self) -> Floats:
        """Requests in each partition that are not in service yet, shape [partitions], or [1] of a shared queue."""
        return np.array(self._parts[queue.WAITING])

    @property
    def owners(self) -> Ints:
        """Number of the pod that holds each partition, -1 where none does."""
        return np.array(self._places[queue.OWNER, : self._parts.shape[1]])

    def finish(self, second: int) -> tuple[LatencyHistogram, float, float]:
        """The latencies of the whole run, what still waits, and what of it may be in time; then it runs no more."""
        unserved, undecided = queue.left_late(
            second, self._ring, self._parts, self._places, self.columns, self._bins, self._real
        )
        return LatencyHistogram(self._bounds, latency.requests(self._bins, self._bounds)), unserved, undecided


def power_of_two(least: int) -> int:
    """The smallest power of two that is at least ``least``: rings of that length are indexed by a mask."""
    return 1 << (least - 1).bit_length()


def shares(setting: ServiceSetting) -> Floats:
    """Each partition's share of the arrivals; of a shared queue one share of all."""
    if not isinstance(setting.queue, Partitioned):
        return np.ones(1)
    weights = setting.queue.weights
    if weights is None:
        return np.full(setting.queue.partitions, 1.0 / setting.queue.partitions)
    return np.array(weights) / sum(weights)


def parts_of_rest(of_all: Floats) -> Floats:
    """Each partition's part of what it and those after it get: 1 for the last one that gets any."""
    rest = np.cumsum(of_all[::-1])[::-1]
    parts = np.divide(of_all, rest, out=np.ones_like(rest), where=rest > 0)
    last = int(np.flatnonzero(of_all)[-1])
    parts[last:] = 1.0
    return np.asarray(np.minimum(parts, 1.0))


def carried_over(arrivals: Floats) -> Floats:
    """What the offsets grow by: the arrivals, and over a gap a line between the rates around it.

    A gap without it would read as no load to whoever takes the difference of two offsets across it.
    """
    unknown = np.isnan(arrivals)
    if not unknown.any():
        return arrivals
    filled = arrivals.copy()
    if unknown.all():
        filled[:] = 0.0
        return filled
    at = np.flatnonzero(np.diff(np.concatenate(([False], unknown, [False])).astype(np.int8)))
    for begin, end in zip(at[::2].tolist(), at[1::2].tolist(), strict=True):
        before, after = arrivals[max(begin - _AROUND, 0) : begin], arrivals[end : end + _AROUND]
        left = float(np.nanmean(before)) if (~np.isnan(before)).any() else math.nan
        right = float(np.nanmean(after)) if (~np.isnan(after)).any() else math.nan
        left, right = (right if math.isnan(left) else left), (left if math.isnan(right) else right)
        filled[begin:end] = np.linspace(left, right, end - begin)
    return filled
