"""How long a replica takes from the patch to serving: learned from pods, begun with what was declared."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaler.plan.observation import LeadTime

Floats = NDArray[np.float64]
PARTS = ("patch_to_created", "created_to_scheduled", "scheduled_to_ready", "ready_to_partitions")
NODE = PARTS.index("created_to_scheduled")  # the node's part; the others are the pod's
FREAK = 4.0  # times what is usual, beyond which a pod that was held up (an image, a secret) tells nothing more
USUAL = 0.75  # share of the pods that take no longer than what is usual
ROOM = 5.0  # s from created to scheduled, at most, where a node has room: a scheduler takes less than one


class HeldUp:
    """What a way counts for at most, so that one that was held up for hours tells little of the next. What ends while
    that way's bound has yet to pass was held up with it, and has the same."""

    def __init__(self) -> None:
        self._most, self._from = math.inf, -math.inf  # s, and since when (unix s)

    def most(self, at: float, longest: float, usual: float) -> float:
        """s, for ways that end ``at`` (unix s), the longest of which took ``longest`` s; ``usual``: the bound by what
        came before."""
        if not self._from <= at < self._from + self._most:
            self._most, self._from = usual, at if longest > usual else -math.inf
        return self._most


@dataclass(frozen=True, slots=True, eq=False)
class Distribution:
    """Durations that were seen, each as likely as another."""

    points: Floats  # s, ascending; at least one. Do not write
    _found: dict[float, float] = field(init=False, repr=False, default_factory=dict)  # quantiles that were asked for

    def quantile(self, q: float) -> float:
        """The duration (s) that a share ``q`` does not exceed; above 0."""
        found = self._found.get(q)
        if found is None:
            index = min(max(math.ceil(q * len(self.points)) - 1, 0), len(self.points) - 1)
            found = self._found[q] = max(float(self.points[index]), 1e-3)
        return found

    def over(self, age: float, after: Floats) -> Floats:
        """Share of what has lasted for ``age`` s that is over ``after`` more seconds; shape of after.

        What lasts longer than everything seen is given another median: it is late, but still on its way.
        """
        alive = int((self.points > age).sum())
        if alive == 0:
            return (after >= self.quantile(0.5)).astype(np.float64)
        done = np.searchsorted(self.points, age + after, side="right")
        share: Floats = (done - (len(self.points) - alive)) / alive
        return np.clip(share, 0.0, 1.0)


class _Seen(NamedTuple):
    pod: tuple[str, float]  # name, and when it became Ready: a StatefulSet's names come again
    parts: tuple[float, ...]  # s; NaN: not seen

    @property
    def joined(self) -> bool:
        """Also its last part was seen."""
        return not math.isnan(self.parts[-1])


class LeadTimes:
    """The distributions of lead times: of the last ``size`` pods, and of the declared value as ``prior`` pods that the
    first real ones replace one by one.

    Pods that had to wait for a node and pods that did not are two kinds. Their mixture is ``total``, what an order
    takes as a rule; ``pod`` is the way where a node has room; ``node`` is the wait where none has.
    """

    def __init__(self, declared: float, prior: int, size: int, join: float = 0.0) -> None:
        """``declared`` and ``join`` in s; ``join`` stands for the part from Ready to holding partitions, until one is
        seen. Raises ValueError for a declared lead time that is not above 0.
        """
        if not declared > 0:
            raise ValueError(f"a lead time is above 0 s, not {declared}")
        self._declared = declared
        self._prior = max(prior, 1)
        self._seen: deque[_Seen] = deque(maxlen=max(size, 1))
        self._join = join
        self._held_up = HeldUp()
        self.total = self.pod = Distribution(np.full(self._prior, declared))
        self.node: Distribution | None = None  # None: no pod was seen to wait
        self.waited = 0.0  # share of the pods that waited for a node

    @property
    def points(self) -> Floats:
        """The lead times (s, ascending) of the mixture; at least one. Do not write."""
        return self.total.points

    def quantile(self, q: float) -> float:
        """The lead time (s) that a share ``q`` of the replicas does not exceed; above 0."""
        return self.total.quantile(q)

    def ready_share(self, age: float, after: Floats) -> Floats:
        """Share of replicas of ``age`` (s since they were asked for) that serve ``after`` more seconds; shape of after.

        Conditional on not serving yet. A replica that is older than every one seen is given another median lead time.
        """
        return self.total.over(age, after)

    def part(self, name: str) -> Distribution | None:
        """One of PARTS by itself; None when it was never seen. Made when asked for."""
        k = PARTS.index(name)
        seconds = sorted(one.parts[k] for one in self._seen if not math.isnan(one.parts[k]))
        return Distribution(np.array(seconds)) if seconds else None

    def learn(self, pods: Iterable[LeadTime]) -> None:
        """Take in pods that became Ready. A part that was not seen is filled with that part's median, so that a pod
        whose patch nobody saw does not make the lead time look short; parts that cannot be are not seen.

        A pod that is told again, now with the time from Ready to holding partitions, takes its earlier place.
        """
        added = [_Seen((pod.pod, pod.ready_at), self._bounded(pod.ready_at, _parts(pod))) for pod in pods]
        added = [one for one in added if not all(map(math.isnan, one.parts))]
        for one in added:
            self._take(one)
        if added:
            self._refresh()

    def _bounded(self, at: float, parts: tuple[float, ...]) -> tuple[float, ...]:
        """A pod, Ready at ``at`` (unix s), counts for at most FREAK times what is usual, as where its image was away
        for hours, and so do those that come with it. Pods that take longer by now are followed, step by step.
        """
        way = sum(part for k, part in enumerate(parts) if k != NODE and not math.isnan(part))
        most = self._held_up.most(at, way, FREAK * max(self.pod.quantile(USUAL), self._declared))
        if way <= most:
            return parts
        return tuple(part if k == NODE else part * most / way for k, part in enumerate(parts))

    def _take(self, one: _Seen) -> None:
        if one.joined:
            for k, known in enumerate(self._seen):
                if known.pod == one.pod and not known.joined:
                    self._seen[k] = one
                    return
        self._seen.append(one)

    def _refresh(self) -> None:
        seen = np.array([one.parts for one in self._seen])
        waited = seen[:, NODE] > ROOM
        with_room = seen.copy()
        with_room[waited, NODE] = np.nan  # how long it would have taken had there been room: as the others
        self.total = self._distribution(_filled(seen, self._join).sum(axis=1))
        self.pod = self._distribution(_filled(with_room, self._join).sum(axis=1)) if waited.any() else self.total
        self.node = Distribution(np.sort(seen[waited, NODE])) if waited.any() else None
        self.waited = float(waited.mean())

    def _distribution(self, seconds: Floats) -> Distribution:
        prior = np.full(max(self._prior - len(seconds), 0), self._declared)
        return Distribution(np.sort(np.concatenate([seconds, prior])))


def _filled(seen: Floats, join: float) -> Floats:
    """Parts [pods, parts] with the median of each part where it was not seen."""
    known = ~np.isnan(seen)
    unseen = dict.fromkeys(PARTS, 0.0) | {PARTS[-1]: join}
    medians = [
        float(np.median(seen[known[:, k], k])) if known[:, k].any() else unseen[part] for k, part in enumerate(PARTS)
    ]
    return np.where(known, seen, medians)


def _parts(pod: LeadTime) -> tuple[float, ...]:
    return tuple(_seconds(getattr(pod, name)) for name in PARTS)


def _seconds(part: float | None) -> float:
    return part if part is not None and math.isfinite(part) and part >= 0 else math.nan
