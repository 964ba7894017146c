"""Lead times from the pods' own timestamps, in their parts. Pure: times are handed in.

The API server writes whole seconds: an event stamped s happened in [s, s + 1). Where the watch was there to see it, the
time of arrival narrows that down to the watch's own delay; else the middle of the second is taken, so that a part
is within 1 s and has no bias. (The two mixed, with a watch that is late by up to a second: within 1.5 s.)
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from scaler.observe.pods import Pod
from scaler.plan.observation import LeadTime

LONGEST = 3600.0  # s; a longer way is a pod that was Ready before, and not a lead time
PROMPT = 0.25  # s that news of an event usually takes at most to arrive, and a writer to note when it asked
ASKS_KEPT = 32
UNREAD_KEPT = 1000  # lead times nobody fetched


@dataclass(slots=True)
class _Ask:
    at: float
    left: int  # pods that this ask still explains


@dataclass(slots=True)
class _Way:
    """What is known of one pod on its way."""

    created: float
    slack: float  # s by which ``created`` may be too early
    scheduled: float | None
    told: bool
    listed: bool  # first found in a list: what was before is not known


class LeadTimes:
    """Learns the lead times of one target's pods; each pod is told once."""

    def __init__(self, longest: float = LONGEST) -> None:
        """``longest``: s from created to Ready above which a pod that was found Ready is not believed."""
        self._longest = longest
        self._asks: deque[_Ask] = deque(maxlen=ASKS_KEPT)
        self._ways: dict[str, _Way] = {}
        self._untold: deque[LeadTime] = deque(maxlen=UNREAD_KEPT)

    def asked(self, before: int, replicas: int, at: float) -> None:
        """The target was patched from ``before`` to ``replicas`` at unix time ``at``."""
        self._asks.append(_Ask(at, max(0, replicas - before)))

    def see(self, pod: Pod, arrived: float | None) -> None:
        """A pod as it is now; ``arrived``: unix s of the watch event, None when it was found in a list."""
        if pod.finished or pod.terminating:
            return
        way = self._ways.get(pod.uid)
        if way is None:
            # A pod found after restarts has been Ready before, for all that is known.
            created = _moment(pod.created, arrived)
            told = arrived is None and pod.restarted
            way = _Way(created, PROMPT if created == arrived else 0.5, None, told, listed=arrived is None)
            self._ways[pod.uid] = way
        if way.scheduled is None and pod.scheduled is not None:
            way.scheduled = max(_moment(pod.scheduled, arrived), way.created)
        if pod.ready is None or way.told:
            return
        way.told = True
        ready = max(_moment(pod.ready, arrived), way.scheduled or way.created)
        if ready - way.created > self._longest and way.listed:  # it may have been Ready before
            return
        self._untold.append(
            LeadTime(
                pod=pod.name,
                patch_to_created=self._since_ask(way),
                created_to_scheduled=None if way.scheduled is None else way.scheduled - way.created,
                # Where no scheduler left its mark, this part holds the whole way, so that the total is right.
                scheduled_to_ready=ready - (way.created if way.scheduled is None else way.scheduled),
                ready_to_partitions=None,
                ready_at=ready,
            )
        )

    def gone(self, uid: str) -> None:
        """The pod is no more."""
        self._ways.pop(uid, None)

    def take(self) -> tuple[LeadTime, ...]:
        """Lead times since the last call, in order of being seen."""
        taken = tuple(self._untold)
        self._untold.clear()
        return taken

    def _since_ask(self, way: _Way) -> float | None:
        """Time from the newest ask before the pod's creation, if that ask was for this many pods."""
        ask = next((a for a in reversed(self._asks) if a.at <= way.created + way.slack), None)
        if ask is None or ask.left <= 0:
            return None  # nobody asked: a pod that was replaced, or another writer
        ask.left -= 1
        return max(0.0, way.created - ask.at)


def _moment(stamp: float, arrived: float | None) -> float:
    """Best guess of when an event stamped ``stamp`` (whole second) happened."""
    if arrived is not None and stamp <= arrived < stamp + 1.0:
        return arrived
    return stamp + 0.5
