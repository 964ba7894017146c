"""What replicas can serve: the service rate of one, and how the partitions' split among consumers limits many."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from scaler.plan.progress import Progress

Floats = NDArray[np.float64]


class ServiceRate:
    """Requests/s that one ready replica serves, averaged over the work that saturated replicas were seen to do."""

    def __init__(self, declared: float, memory: float, change: float, bounds: float) -> None:
        if not declared > 0:
            raise ValueError(f"a service rate is above 0 requests/s, not {declared}")
        self.rate = declared
        self._low, self._high = declared / bounds, declared * bounds
        self._memory = memory  # s of saturated work
        self._change = change

    def learn(self, progress: Progress, ready: int) -> bool:
        """Take in an interval in which ``ready`` replicas served throughout; False when they were not saturated.

        The caller leaves out intervals with a change of membership, a rolling update or stuck consumers, and those in
        which no message is old: work that is done but not yet committed looks like a backlog, too, and what is consumed
        then is what arrives.
        """
        if not saturated(progress, ready, self.rate):
            return False
        working = min(ready, len(progress.consumed))
        seen = float(progress.consumed.sum()) / (progress.seconds * working)
        seen = min(max(seen, self.rate / self._change), self.rate * self._change)
        weight = -math.expm1(-progress.seconds / self._memory)
        rate = math.exp(math.log(self.rate) * (1 - weight) + math.log(seen) * weight)
        self.rate = min(max(rate, self._low), self._high)
        return True


def saturated(progress: Progress, ready: int, rate: float) -> bool:
    """Whether every consumer surely had work throughout an interval.

    Who holds which partition is not observed; consumers are taken to hold even ranges. Each must have had half of what
    it could serve in the interval waiting at either end, so that what a hot partition piles up does not speak for all.
    """
    partitions = len(progress.consumed)
    if ready < 1 or partitions == 0 or progress.recreated:
        return False
    starts = range_starts(partitions, min(ready, partitions))
    least = rate * progress.seconds / 2
    ends = (progress.backlog_before, progress.backlog_after)
    return all(float(np.add.reduceat(end, starts).min()) >= least for end in ends)


def range_starts(partitions: int, consumers: int) -> NDArray[np.int64]:
    """Where each consumer's range of partitions begins; the first hold one more where it does not come out even."""
    sizes = np.full(consumers, partitions // consumers)
    sizes[: partitions % consumers] += 1
    starts: NDArray[np.int64] = np.cumsum(sizes) - sizes
    return starts


def utilisation(rate: float, slack: float, late_share: float, least: float) -> float:
    """The share of a replica's rate that may be planned for, in [least, 1].

    A replica with its own partitions is a queue of its own. With Poisson arrivals and service of a constant length the
    wait's tail falls as exp(-2 (1 - u) rate t) (Kingman's heavy-traffic bound, arrival variation 1, service 0); u is
    what leaves ``late_share`` beyond ``slack`` seconds.
    """
    if slack <= 0:
        return least
    return min(max(1.0 + math.log(late_share) / (2.0 * rate * slack), least), 1.0)


class PartitionSplit:
    """How many replicas' worth of service r consumers can give.

    Consumers hold contiguous, even ranges of partitions (what the range and cooperative-sticky assignors come to). The
    consumer with the largest share s of the arrivals limits: r of them keep up with 1 / s replicas' worth. Shares are
    learned from arrivals, drawn towards an even split as far as counting noise explains the differences.
    """

    def __init__(self, most: int, memory: float, change: float) -> None:
        self._most = max(most, 1)
        self._memory = memory  # s
        self._change = change
        self._counts: Floats = np.zeros(0)
        self._shares: Floats = np.zeros(0)
        self._table: Floats = np.arange(self._most + 1, dtype=np.float64)

    @property
    def partitions(self) -> int | None:
        """None while the topic has not been seen."""
        return len(self._shares) or None

    @property
    def table(self) -> Floats:
        """``table[r]`` is what r replicas can give, in replicas; shape [most + 1]. Do not write."""
        return self._table

    def learn(self, arrived: Floats, seconds: float) -> None:
        """Take in arrivals per partition (messages in ``seconds``)."""
        if len(arrived) == 0:
            return
        if len(arrived) != len(self._counts):
            self._counts = np.zeros(len(arrived))
        self._counts = self._counts * math.exp(-seconds / self._memory) + arrived
        shares = shrunk_shares(self._counts)
        if len(shares) != len(self._shares) or np.abs(shares - self._shares).max() > self._change / len(shares):
            self._shares = shares
            self._table = usable_table(shares, self._most)

    def known(self, partitions: int) -> None:
        """The topic has this many partitions, before any arrivals were seen: an even split."""
        if partitions and partitions != len(self._counts):
            self._counts = np.zeros(partitions)
            self._shares = np.full(partitions, 1.0 / partitions)
            self._table = usable_table(self._shares, self._most)

    @property
    def cap(self) -> int | None:
        """The smallest count that gives all that the partitions let replicas give; None where ``most`` comes first."""
        top = int(np.argmax(self._table >= self._table[-1] * (1 - 1e-9)))
        return top if len(self._shares) > 0 and (top < self._most or len(self._shares) <= self._most) else None

    def usable(self, replicas: Floats) -> Floats:
        """Replicas' worth of service of (fractional) ``replicas``, by linear interpolation; the shape of replicas."""
        given: Floats = np.interp(replicas, np.arange(len(self._table)), self._table)
        return given

    def least(self, needed: float) -> int:
        """The smallest count that gives ``needed`` replicas' worth; above ``most`` when none does."""
        count = int(np.searchsorted(self._table, needed - 1e-9))
        return count if count <= self._most else max(count, math.ceil(needed))


def usable_table(shares: Floats, most: int) -> Floats:
    """``table[r]`` for r in 0..most: 1 / (the largest consumer's share of the arrivals). ``shares`` sum to 1."""
    partitions = len(shares)
    table = np.zeros(most + 1)
    for r in range(1, min(most, partitions) + 1):
        table[r] = 1.0 / np.add.reduceat(shares, range_starts(partitions, r)).max()
    table[min(most, partitions) + 1 :] = table[min(most, partitions)]
    # A smaller group that happens to be split better is not held against a larger one: assignors differ in that.
    running: Floats = np.maximum.accumulate(table)
    return running


def shrunk_shares(counts: Floats) -> Floats:
    """Shares of the arrivals per partition, shrunk to even as far as Poisson noise explains the spread.

    The weight of the observed shares is signal / (signal + noise), with signal the variance beyond the mean count and
    beyond three standard errors of that estimate (empirical Bayes, James and Stein).
    """
    n = len(counts)
    even = np.full(n, 1.0 / n)
    total = float(counts.sum())
    if n == 1 or total <= 0:
        return even
    mean = total / n
    signal = float(counts.var(ddof=1)) - mean * (1.0 + 3.0 * math.sqrt(2.0 / (n - 1)))
    weight = max(signal, 0.0) / (max(signal, 0.0) + mean)
    shares: Floats = even + weight * (counts / total - even)
    shares /= shares.sum()
    return shares
