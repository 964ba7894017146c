"""The last part of a lead time, Ready to holding partitions, from when the pod was seen to serve.

Kafka itself could be asked who holds what, but such a request that is under way when a broker goes can end the process
(librdkafka issues 4605 and 5040), and it does not know groups of the newer protocol. A pod's own counter of served
requests tells the same, of any client: it begins to rise when there is a partition to serve. Between two scrapes the
beginning is found by going back from the first count at the pace of the scrapes after it, so that the answer is
better than the scrape interval; where it is not good enough, the part stays unknown. Pure: times are handed in.

Limits. A metric that lacks the label ``pod``, no load, or another clock than the pods' at Prometheus: not learned.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from scaler.observe.ports import Served
from scaler.plan.observation import LeadTime

LONGEST = 180.0  # s after Ready; one that serves nothing until then had nothing to serve
SURE = 5.0  # s by which an answer may be off; a worse one is none
MOST = 50  # pods of a service that are followed at once, the newest
SPAN = LONGEST + 60.0  # s of samples that are looked at


@dataclass(frozen=True, slots=True)
class Verdict:
    """``seconds`` from Ready to holding partitions; None: it will not be known better by waiting."""

    seconds: float | None


def join_time(ready_at: float, samples: Sequence[Served]) -> Verdict | None:
    """What the samples tell of a pod that became Ready at unix time ``ready_at``; None: not yet."""
    first = next((k for k, one in enumerate(samples) if one.requests > 0), None)
    if first is None:
        return None
    seen = samples[first]
    if seen.time <= ready_at:
        return Verdict(0.0)  # it joined, and served, before it was Ready
    later = samples[first + 1 :]
    if not later:
        return None
    last = later[min(len(later), 3) - 1]
    if any(b.requests < a.requests for a, b in itertools.pairwise(samples)):
        return Verdict(None)  # it was started again
    if last.requests == seen.requests:  # it served a little, and stopped
        return Verdict(None) if len(later) >= 3 else None
    gap = (last.time - seen.time) / (last.requests - seen.requests)  # s between two requests
    # Nothing had been finished at the scrape before, so that the first was at most just being served.
    least = max(ready_at, samples[first - 1].time - gap if first else -math.inf)
    # Half a request more is under way at a scrape, on the average.
    began = min(max(seen.time - (seen.requests + 0.5) * gap, least), seen.time)
    error = min(seen.time - least, gap * (1.0 + math.sqrt(seen.requests)))
    return Verdict(began - ready_at if error <= SURE else None)


@dataclass(slots=True)
class Joins:
    """Pods by service whose lead time lacks its last part."""

    _open: dict[str, dict[str, LeadTime]] = field(default_factory=dict)

    def follow(self, uid: str, told: Iterable[LeadTime], now: float) -> None:
        """Take up pods that became Ready just now."""
        pods = self._open.setdefault(uid, {})
        pods |= {one.pod: one for one in told if one.ready_to_partitions is None}
        late = [name for name, one in pods.items() if now - one.ready_at > LONGEST]
        for name in late + [n for n in pods if n not in late][: max(0, len(pods) - len(late) - MOST)]:
            del pods[name]

    def pods(self, uid: str) -> tuple[str, ...]:
        """Names of the pods to look for."""
        return tuple(self._open.get(uid, ()))

    def learn(self, uid: str, served: Mapping[str, Sequence[Served]]) -> tuple[LeadTime, ...]:
        """The lead times that are whole now, each told once."""
        pods = self._open.get(uid, {})
        whole = []
        for name, samples in served.items():
            verdict = join_time(pods[name].ready_at, samples) if name in pods else None
            if verdict is not None:
                lead = pods.pop(name)
                if verdict.seconds is not None:
                    whole.append(replace(lead, ready_to_partitions=verdict.seconds))
        return tuple(whole)

    def forget(self, kept: Iterable[str]) -> None:
        """Services that are no longer there."""
        for uid in self._open.keys() - set(kept):
            del self._open[uid]
