"""What replicas can serve: the service rate of one, and how the partitions' split among consumers limits many."""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from scaler.plan.observation import LatencySample
from scaler.plan.partition_shares import moved, shrunk_shares
from scaler.plan.plateau import Plateau
from scaler.plan.progress import Progress
from scaler.plan.saturation import ROUND_ROBIN, busy, held_by
from scaler.plan.service_time import ServiceTimes

Floats = NDArray[np.float64]

_DECLARED = 0.35  # deviation of log(rate): a declared rate is wrong by more than a factor of two one time in twenty
_KNOWN = 0.05  # what remains of it in the long run when saturated work is seen
_LAW = 0.1  # of the utilisation law with a declared concurrency
_AT_ONCE = 4.0  # times the declared concurrency, above which what is told to be in service cannot be
_SURE = 0.15  # up to here a rate counts as known
_UNSURE = 0.2  # and here not yet
_SHORT, _LONG = 8.0, 300.0  # memories of the service time and of how it rises with the load, in memories of the rate
_SHOWN = 0.93  # part of what a queue's length says that is taken over: an error on the high side costs late requests
_WORK = 3.0  # s of it, at least, that wait for a consumer which is not without any for long
_MOST = 2 / 3  # of the consumers have such work: what they serve is no matter of a few hot partitions
_CLEAR = 0.1  # less than is believed: for some of it they may have been without
_ALIKE = 0.9  # of as many replicas' worth as there are consumers: all of them have their part of the load
_VISIBLE = 0.75  # utilisation from which on a queue tells it
_QUEUE = 0.12  # deviation of log(rate) when the queue is as long as the rate says
_CALM = 2.4  # of those that work without a backlog must last before it is evidence
_POISSON = 1e-9  # messages: what the dispersion begins with
_DISPERSION = 0.98  # of it is kept at each interval
_CALM_SERVED = 20.0  # requests of each replica in that time, at least
BALANCED = frozenset({"sticky", "cooperative-sticky", "uniform"})  # Kafka's, the last a broker's (KIP-848)
_DEALT = 4096  # partitions handed out at random, over all random splits: the more there are, the less each split errs


class ServiceRate:
    """Requests/s that one ready replica serves, with its uncertainty.

    The belief is log-normal: of rate x service time, the requests that a replica comes to serve at a time. With a
    latency histogram the service time is known, and a change of it is one of the rate; without, the belief is of the
    rate itself. Five kinds of evidence, each O(1): saturated work says what the rate is (a Kalman filter's step; in
    the long run a mean over ``memory`` s of such work); so does a group that serves the same whatever arrives; work
    without a backlog, what it is at least; the utilisation law with a declared ``concurrency``, what it is as long as
    saturated work has not been seen: it stands in for what was declared as far as the load comes near that
    concurrency, or varied enough to tell how requests slow each other; and backlogs after experiments, what it is not.
    """

    def __init__(
        self, declared: float, memory: float, change: float, bounds: float, concurrency: float | None = None
    ) -> None:
        if not declared > 0:
            raise ValueError(f"a service rate is above 0 requests/s, not {declared}")
        self._low, self._high = declared / bounds, declared * bounds
        self._memory = memory
        self._change = math.log(change)
        self._concurrency = concurrency
        self._declared = declared
        self._mean, self._variance = 0.0, _DECLARED**2  # of log(rate x service time / declared)
        self._times = ServiceTimes(_SHORT * memory, _LONG * memory)
        self._alone = 1.0  # s: the service time that the rate is told by
        self._timed = False
        self._saturated = False  # saturated work was seen: the law is no longer needed
        self._calm = _Calm()
        self._plateau = Plateau()
        self._least = 0.0  # requests/s that a replica was seen to serve without a backlog
        self._in_hand = math.inf  # s of work, the least that was in a backlog beyond its queue: not yet committed
        self._untried = declared  # requests/s as believed without what was tried out
        self.rate = declared
        self.spread = _DECLARED  # standard deviation of log(rate)
        self._settle()

    @property
    def cautious(self) -> float:
        """requests/s that a replica serves with 95 % certainty, or was seen to serve."""
        return max(self.rate * math.exp(-1.645 * self.spread), min(self._least, self.rate))

    @property
    def service_time(self) -> float | None:
        """s that a request takes in a replica at light load, by the latency histogram; None: not known."""
        return self._alone if self._timed else None

    @property
    def sure(self) -> bool:
        """Whether the rate is known well enough: nothing need be tried out."""
        return self.spread <= _SURE

    def learn(
        self, progress: Progress, ready: int, before: float = 0.0, after: float = 0.0, assignor: str | None = None
    ) -> bool:
        """Take in an interval in which ``ready`` replicas served throughout; False when they were not saturated, nor
        most of them and served clearly less than is believed: near their rate some are without work at any moment.

        So many messages may have been served ``before`` and committed in it, or served in it and committed ``after``.
        ``assignor``: as Kafka names it; None: not known.

        The caller leaves out intervals with a change of membership, a rolling update or stuck consumers, and those in
        which no message is old: work that is done but not yet committed looks like a backlog, too, and what is consumed
        then is what arrives.
        """
        of = min(ready, len(progress.consumed))
        working, consumed = busy(progress, ready, self.rate, self.rate * progress.seconds / 2, assignor)
        most = math.inf  # requests/s that tell something
        if working < of and self._law() is None:
            most = self.rate * (1.0 - _CLEAR)
            least = self.rate * min(self._in_hand + _WORK, progress.seconds / 2)
            working, consumed = busy(progress, ready, self.rate, least, assignor, spread=True)
        if working == 0 or working < (of if most == math.inf else _MOST * of):
            return False
        before, after = before * (working / of), after * (working / of)
        share = progress.seconds * working
        # Where what is believed may be what was served, it is not contradicted.
        seen = min(max(self.rate, (consumed - before) / share), (consumed + after) / share)
        if seen > most:
            return False
        unclear = after if seen <= self.rate else before
        self._plateau.clear()
        self._saw(seen, progress.seconds, unclear / max(consumed, 1.0))
        return True

    def learn_limit(self, progress: Progress, ready: int, uncommitted: float, worth: float | None = None) -> bool:
        """Take in an interval, as :meth:`learn`, in which too little waited for that; False when it says nothing. Up to
        ``uncommitted`` s of work, if always seen, are not taken for a queue. ``worth``: what the consumers can give by
        the partitions' split, in replicas; where some can give less than the others, what all serve tells of none.

        What all serve together does not follow what arrives: see :class:`~scaler.plan.plateau.Plateau`.
        """
        consumers = min(ready, len(progress.consumed))
        if consumers < 1 or (worth is not None and worth < _ALIKE * consumers):
            self._plateau.clear()
            return False
        told = self._plateau.add(progress, consumers, min(uncommitted, self._in_hand))
        if told is None:
            return False
        served, seconds = told
        self._saw(served / consumers, seconds, 0.0)
        return True

    def _saw(self, seen: float, seconds: float, unclear: float) -> None:
        """Saturated work of so many ``seconds``: each replica ``seen`` to serve so many requests/s, of which so large a
        part is ``unclear``."""
        off = math.log(max(seen, 1e-300)) - math.log(self.rate)
        surprise = abs(off) > self._change
        off = min(max(off, -self._change), self._change)
        noise = _KNOWN**2 * self._memory / seconds + unclear**2
        gain = self._variance / (self._variance + noise)
        gain = max(gain, -math.expm1(-seconds / self._memory))
        # From the rate in use, also where that was the law's: what is seen is off from what was planned with.
        self._mean = self._in_use() + gain * off
        if self._timed:  # seen at the newest service time: what the mean of it has yet to follow is in it already
            before, self._alone = self._alone, self._times.follow(gain)
            self._mean += math.log(self._alone / before)
        self._saturated = True
        if not surprise:  # what is still off by more is not known any better
            self._variance = max(self._variance * (1.0 - gain), _KNOWN**2)
        self._least = min(self._least, seen)
        self._calm.clear()
        self._settle()
        self._untried = self.rate

    def learn_time(self, sample: LatencySample, ready: int, seconds: float) -> bool:
        """Take in a window of the latency histogram, ``seconds`` after the last one; not while pods are exchanged.

        False when it says nothing, as with more in service than replicas serve at a time by far: it is in other units
        than s, or counts what waits.
        """
        if self._impossible(sample, ready) or not self._times.learn(sample, ready, seconds):
            return False
        if not self._times.settled or self._times.alone is None:
            return True
        if not self._timed:  # what was believed of the rate holds at the first service time that is seen
            self._timed = True
            self._mean += math.log(self._times.alone)
        else:
            # What it was seen to serve, and was believed to, was at the old service time.
            slower = self._times.alone / self._alone * math.exp(-self._times.rebased)
            self._least /= slower
            self._untried /= slower
            self._mean += self._times.rebased
        self._times.rebased = 0.0
        self._alone = self._times.alone
        self._settle()
        return True

    def _impossible(self, sample: LatencySample, ready: int) -> bool:
        """Whether more was in service than ``ready`` replicas serve at a time by far; a request's time counts as a
        whole where it ends."""
        if self._concurrency is None or not (sample.count and sample.sum):
            return False
        lasted = max(sample.window, sample.sum / sample.count)
        return sample.sum > _AT_ONCE * self._concurrency * max(ready, 1) * lasted

    def learn_calm(
        self, progress: Progress, worth: float, uncommitted: float, utilised: float = 1.0, carried: float = 0.0
    ) -> bool:
        """Take in an interval in which all that came was served in time, by ``worth`` replicas' worth of consumers.

        A replica serves what it was seen to serve; below 1, ``utilised`` says that it is tried out how much more that
        is: at a load near its rate a queue would have built up. Q messages wait on average at the utilisation u with
        Q = v u^2 / (1 - u) (Kingman; v is half of the arrivals' dispersion, 0.5 when they are Poisson, and service
        always takes as long). No less than ``utilised`` is read out of it. A queue that can be seen tells the rate,
        down to what was believed before anything was tried. Up to ``uncommitted`` s of work, if always seen, are not
        taken for a queue. So many messages may be ``carried`` into the interval: served before, by others perhaps, and
        committed in it. True when the rate was raised.
        """
        calm = self._calm
        calm.add(progress, worth, carried)
        if calm.seconds < _CALM * self._memory or calm.served < _CALM_SERVED * worth:
            return False
        load, backlog = calm.served / (calm.seconds * worth), calm.backlog / worth
        v = min(max(calm.dispersion, 0.02), 1.0) / 2
        calm.clear()
        self._least = max(self._least, load)
        waiting = max(backlog - load * min(uncommitted, self._in_hand), 0.0)
        baseline = math.isfinite(self._in_hand)
        usual = min(load / self.rate, 0.99)
        expected = v * usual**2 / (1.0 - usual)
        self._in_hand = min(self._in_hand, max(backlog - expected, 0.0) / load)
        busy = (math.sqrt(waiting**2 + 4.0 * v * waiting) - waiting) / (2.0 * v)
        shown = load
        if busy >= _VISIBLE and waiting >= load * uncommitted:
            # Only down: one queue for all replicas, or one that has had no time to build up, is shorter than that.
            told = min(max(load / busy, self._untried), self.rate)
            self._see(math.log(told / self.rate))
        elif utilised < 1.0 and baseline and not self.sure:
            shown = max(load, load / max(busy, utilised) * _SHOWN)
        raised = shown > self.rate * 1.01
        if raised:
            self._mean = math.log(shown / self.rate) + self._in_use()
        self._settle()
        return raised

    def refute(self, served: float) -> bool:
        """Each replica had a backlog and served so many requests/s, hardly more: what experiments were taken to show
        beyond that, and nobody served, is taken back. True when that was something.

        Much less than was served without a backlog tells of consumers that stood still.
        """
        most = max(served, self._untried, self._least)
        if served < self._least * (1.0 - _KNOWN) or most >= self.rate:
            return False
        self._mean = self._in_use() + math.log(most / self.rate)
        self._settle()
        return True

    def _see(self, off: float) -> None:
        """A queue says that log(rate) is ``off`` from what is believed. One for all replicas says too much: it makes
        nothing sure that was only tried out."""
        gain = self._variance / (self._variance + _QUEUE**2)
        tried = self.rate > self._untried * (1.0 + _KNOWN)
        least = min(self._variance, _UNSURE**2) if tried else _KNOWN**2
        self._mean = self._in_use() + gain * off
        self._variance = max(self._variance * (1.0 - gain), least)
        self._settle()

    def waited(self) -> None:
        """There was a backlog in the interval: it tells nothing of work without one."""
        self._calm.clear()

    def disturbed(self) -> None:
        """The interval was none to learn from: a change of membership, consumers that stand still."""
        self._calm.clear()
        self._plateau.clear()

    def renew(self) -> None:
        """Another pod template (model, hardware): the old estimate is where the new one starts from."""
        self._mean, self._variance = self._in_use(), _DECLARED**2
        self._saturated = False
        self._times.renew()
        self._calm.clear()
        self._plateau.clear()
        self._least = 0.0
        self._settle()
        self._untried = self.rate

    def _in_use(self) -> float:
        return math.log(self.rate * self._alone / self._declared)

    def _settle(self) -> None:
        mean, deviation = self._mean, math.sqrt(self._variance)
        law = self._law()
        if law is not None and not self._saturated:
            told, doubt = law
            part = self._variance / (self._variance + doubt**2)
            # With more requests beside it none is quicker: above what the law says no belief holds.
            mean = told + (1.0 - part) * min(mean - told, 0.0)
            deviation = min(deviation, math.hypot(_LAW, doubt * math.sqrt(part)))
        rate = self._declared * math.exp(mean) / self._alone
        self.rate = min(max(rate, self._low, min(self._least, self._high)), self._high)
        self.spread = deviation

    def _law(self) -> tuple[float, float] | None:
        """log(rate x service time) by the utilisation law, what is served at a time over how much longer it takes then,
        and the deviation of how much longer that is, at a load that was not seen."""
        c = self._concurrency
        if c is None or not self._timed:
            return None
        beyond = math.log(max(c / max(self._times.load, 1.0), 1.0))
        return math.log(c / (1.0 + self._times.slope * c) / self._declared), 0.5 * beyond * self._times.doubt


class _Calm:
    """What was served, and what waited, in the intervals since the last disturbance."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None  # s, messages that arrived in the last interval
        self._squares, self._means = _POISSON, _POISSON  # of the dispersion; it is not cleared
        self.clear()

    def clear(self) -> None:
        self.seconds = self.served = self._waited = self._worth = 0.0

    @property
    def dispersion(self) -> float:
        """Variance over mean of the messages that arrive in an interval, trends left out: half the squared steps."""
        return self._squares / self._means

    @property
    def backlog(self) -> float:
        """Messages, mean over the time."""
        return self._waited / self.seconds

    def add(self, progress: Progress, worth: float, carried: float) -> None:
        if abs(worth - self._worth) > 0.05 * worth:
            self.clear()
            self._worth = worth
        if self.seconds == 0.0:
            self.served = -carried
        self.seconds += progress.seconds
        self.served += progress.served
        waiting = progress.waiting_before + progress.waiting
        self._waited += waiting / 2 * progress.seconds
        came, last = progress.arrivals or 0.0, self._last
        if last is not None and abs(last[0] - progress.seconds) < 0.1 * progress.seconds:
            self._squares = _DISPERSION * self._squares + (came - last[1]) ** 2 / 2
            self._means = _DISPERSION * self._means + came
        self._last = progress.seconds, came


class PartitionSplit:
    """How many replicas' worth of service r consumers can give.

    The consumer with the largest share s of the arrivals limits: r of them keep up with 1 / s replicas' worth, the mean
    of s where several splits are as likely (what waits takes a time in proportion to s to drain). Which partitions a
    consumer holds follows from the group's assignor (``usable_table``). Shares are learned from arrivals, drawn towards
    an even split as far as counting noise explains the differences.
    """

    def __init__(self, most: int, memory: float, change: float) -> None:
        self._most = max(most, 1)
        self._memory = memory  # s
        self._change = change
        self._assignor: str | None = None
        self._counts: Floats = np.zeros(0)
        self._shares: Floats = np.zeros(0)
        self._table: Floats = np.arange(self._most + 1, dtype=np.float64)
        self._worth: list[float] = self._table.tolist()  # the same: single numbers are found in it five times as fast
        self._cap: int | None = None

    @property
    def partitions(self) -> int | None:
        """None while the topic has not been seen."""
        return len(self._shares) or None

    @property
    def assignor(self) -> str | None:
        """By Kafka's name, as last told; None: never."""
        return self._assignor

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
        change = self._change / len(arrived)
        keep = math.exp(-seconds / self._memory)
        if moved(self._counts, arrived, keep, self._shares, change):
            self._use(shrunk_shares(self._counts))

    def known(self, partitions: int) -> None:
        """The topic has this many partitions, before any arrivals were seen: an even split."""
        if partitions and partitions != len(self._counts):
            self._counts = np.zeros(partitions)
            self._use(np.full(partitions, 1.0 / partitions))

    def assigned_by(self, assignor: str | None) -> None:
        """The group splits its partitions by the assignor of this name; None tells nothing new."""
        if assignor is None or assignor == self._assignor:
            return
        self._assignor = assignor
        if len(self._shares) > 0:
            self._use(self._shares)

    def _use(self, shares: Floats) -> None:
        self._shares = shares
        self._table = usable_table(shares, self._most, self._assignor)
        self._worth = self._table.tolist()
        top = int(np.argmax(self._table >= self._table[-1] * (1 - 1e-9)))
        self._cap = top if len(shares) > 0 and (top < self._most or len(shares) <= self._most) else None

    @property
    def cap(self) -> int | None:
        """The smallest count that gives all that the partitions let replicas give; None where ``most`` comes first."""
        return self._cap

    def worth(self, replicas: int) -> float:
        """What so many replicas can give, in replicas."""
        return self._worth[min(replicas, self._most)]

    def useful(self, replicas: int) -> int:
        """The smallest count that gives as much as so many."""
        return bisect_left(self._worth, self.worth(replicas) * (1.0 - 1e-9))

    def usable(self, replicas: Floats) -> Floats:
        """Replicas' worth of service of (fractional) ``replicas``, by linear interpolation; the shape of replicas."""
        given: Floats = np.interp(replicas, np.arange(len(self._table)), self._table)
        return given

    def least(self, needed: float) -> int:
        """The smallest count that gives ``needed`` replicas' worth; above ``most`` when none does."""
        count = bisect_left(self._worth, needed - 1e-9)
        return count if count <= self._most else max(count, math.ceil(needed))


def usable_table(shares: Floats, most: int, assignor: str | None = None) -> Floats:
    """``table[r]`` for r in 0..most: 1 / (the largest consumer's share of the arrivals). ``shares`` sum to 1.

    ``assignor``, as Kafka names it: "roundrobin" deals partitions out in turn; those in ``BALANCED`` hold each consumer
    to an even number of partitions, but which ones depends on who came and left before: the mean over random splits.
    Any other, and None, has even, contiguous ranges, of which the first hold one more, as "range" does for each topic.
    """
    orders = np.arange(len(shares))[None]
    # Of partitions that are all alike it makes no difference which are held together.
    if assignor in BALANCED and len(shares) > 0 and shares.min() < shares.max():
        splits = max(_DEALT // len(shares), 4)
        orders = np.random.default_rng(0).permuted(np.repeat(orders, splits, axis=0), axis=1)
    return _usable(shares[orders], most, assignor == ROUND_ROBIN)


@compiled
def _usable(orders: Floats, most: int, round_robin: bool) -> Floats:
    """The table where each row of ``orders``, shape [splits, partitions], is one that shares are handed out in."""
    splits, partitions = orders.shape
    table = np.zeros(most + 1)
    for r in range(1, most + 1):
        # A smaller group that happens to be split better is not held against a larger one: assignors differ in that.
        table[r] = table[r - 1]
        if r <= partitions:
            largest = 0.0
            for k in range(splits):
                largest += _largest(orders[k], r, round_robin)
            table[r] = max(table[r], splits / largest)
    return table


@compiled
def _largest(shares: Floats, consumers: int, round_robin: bool) -> float:
    """The largest share of the arrivals that one of ``consumers`` has."""
    partitions, largest, first = len(shares), 0.0, 0
    for c in range(consumers):
        held = held_by(partitions, consumers, c)
        step = consumers if round_robin else 1
        begin = c if round_robin else first
        share = 0.0
        for k in range(held):
            share += shares[begin + k * step]
        first += held
        largest = max(largest, share)
    return largest
