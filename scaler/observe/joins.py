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
STAMP = 1.0  # s by which a pod's creation is known


@dataclass(frozen=True, slots=True)
class Verdict:
    """``seconds`` from Ready to holding partitions; None: it will not be known better by waiting."""

    seconds: float | None


def join_time(ready_at: float, samples: Sequence[Served], created: float = -math.inf) -> Verdict | None:
    """What the samples tell of a pod that became Ready at unix time ``ready_at``; None: not yet.

    Those from before ``created`` (unix s) are of an earlier pod of the same name, as a StatefulSet has them.
    """
    samples = [one for one in samples if one.time >= created + STAMP]
    first = next((k for k, one in enumerate(samples) if one.requests > 0), None)
    if first is None:
        return None
    seen = samples[first]
    if any(b.requests < a.requests for a, b in itertools.pairwise(samples)):
        return Verdict(None)  # it was started again
    if seen.time <= ready_at:
        return Verdict(0.0)  # it joined, and served, before it was Ready
    later = samples[first + 1 :]
    if not later:
        return None
    last = later[min(len(later), 3) - 1]
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
            lead = pods.get(name)
            verdict = join_time(lead.ready_at, samples, _created(lead)) if lead is not None else None
            if lead is not None and verdict is not None:
                del pods[name]
                if verdict.seconds is not None:
                    whole.append(replace(lead, ready_to_partitions=verdict.seconds))
        return tuple(whole)

    def forget(self, kept: Iterable[str]) -> None:
        """Services that are no longer there."""
        for uid in self._open.keys() - set(kept):
            del self._open[uid]


def _created(lead: LeadTime) -> float:
    """Unix s; minus infinity where it is not known."""
    parts = [one for one in (lead.created_to_scheduled, lead.scheduled_to_ready) if one is not None]
    return lead.ready_at - sum(parts) if parts else -math.inf
