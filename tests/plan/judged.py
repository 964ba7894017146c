"""A policy in a closed loop, each of whose decisions is held against the rules that never bend (design, section 5).

Of the thirteen these can be seen there: 1, 3, 4, 5, 7, 8 and 13. What is checked is told by the observation and by what
the decision says of itself; what the present needs is found anew here, at the rate that is believed.
"""

from __future__ import annotations

import math
from collections import deque

from scaler.plan.decision import GroupDecision, Policy, ServiceDecision
from scaler.plan.observation import Freshness, GroupObservation, ServiceObservation
from scaler.plan.reasons import Reason
from scaler.plan.service import Service

LIMITS = {Reason.MAX_REPLICAS, Reason.SCALE_OUT_LIMIT, Reason.PARTITIONS}
FAULTS = {
    Freshness.STALE: Reason.INPUT_STALE,
    Freshness.ABSENT: Reason.INPUT_ABSENT,
    Freshness.ERROR: Reason.INPUT_ERROR,
}
HOLDS = {Reason.CONSUMERS_NOT_PROGRESSING, Reason.REBALANCING, Reason.ROLLING_UPDATE, Reason.TOPIC_RECREATED}
DRAIN = 60.0  # s: an objective that is shorter drains no faster
UNCOMMITTED = 1.0  # s of work that is served and not yet committed
MINUTE = 60.0
ORDERED = 1.5  # times the level that is ordered at most, with a backlog to drain beside it


class Judged:
    """Of one service, of which the policy was told ``service``, and whose partitions get alike much."""

    def __init__(self, service: Service, policy: Policy) -> None:
        self.service, self.policy = service, policy
        self.offsets: tuple[float, float, float] | None = None  # unix s, messages that arrived, that were committed
        self.partitions = 0
        self.came: deque[tuple[float, float]] = deque()  # s, messages: of the newest intervals
        self.still = 0.0  # s without a commit, although there was a backlog and somebody to serve it
        self.checked: dict[str, int] = {}  # how often each rule had something to say

    def step(self, now: float, observed: GroupObservation) -> GroupDecision:
        decided = self.policy.step(now, observed)
        for seen, decision in zip(observed.services, decided.services, strict=True):
            self._judge(seen, decision)
        return decided

    def snapshot(self) -> bytes:
        return self.policy.snapshot()

    def restore(self, saved: bytes) -> None:
        self.policy.restore(saved)

    def _judge(self, seen: ServiceObservation, decision: ServiceDecision) -> None:
        self._take_in(seen)
        self._missing(seen, decision)
        current, desired = decision.current, decision.desired
        if current is None or desired is None or not seen.replicas.fresh:
            return
        self._pending(seen, decision, current, desired)
        self._present(seen, decision, current, desired)
        self._given_back(decision, current, desired)
        self._limits(decision, current, desired)
        self._progress(seen, decision, current, desired)

    def _counts(self, rule: str) -> None:
        self.checked[rule] = self.checked.get(rule, 0) + 1

    def _take_in(self, seen: ServiceObservation) -> None:
        offsets, state = seen.offsets, seen.replicas.value
        if not offsets.fresh or offsets.value is None:
            return
        self.partitions = len(offsets.value.partitions)
        end, done = float(offsets.value.end.sum()), float(offsets.value.committed.sum())
        if self.offsets is not None:
            at, came, committed = self.offsets
            self.came.append((offsets.time - at, end - came))
            free = state is None or state.ready < 1 or end - done < 1 or done > committed
            self.still = 0.0 if free else self.still + offsets.time - at
        self.offsets = offsets.time, end, done

    @property
    def level(self) -> float | None:
        """requests/s, over the window that the plan takes for the present."""
        s = self.service
        window = max(s.tick, min(s.within, s.lead_time / 2, MINUTE))
        seconds = count = 0.0
        for span, came in reversed(self.came):
            if seconds > 0 and seconds + span > window * 1.001:
                break
            seconds, count = seconds + span, count + came
        return count / seconds if seconds > 0 else None

    def _least(self, needed: float) -> int:
        """The smallest count that gives ``needed`` replicas' worth, of partitions that are all alike."""
        each = math.floor(self.partitions / needed + 1e-6) if needed > 0 else self.partitions
        return math.ceil(self.partitions / each) if each > 0 else math.ceil(needed)

    def _missing(self, seen: ServiceObservation, decision: ServiceDecision) -> None:
        """Rule 1."""
        faults = {r.freshness for r in (seen.offsets, seen.replicas, seen.latency) if r is not None and not r.fresh}
        if not faults:
            return
        self._counts("missing")
        assert {FAULTS[fault] for fault in faults} <= set(decision.reasons)
        assert Reason.EXPERIMENT not in decision.reasons
        assert decision.desired is None or decision.desired >= (decision.current or 0), "nothing is taken in the dark"

    def _pending(self, seen: ServiceObservation, decision: ServiceDecision, current: int, desired: int) -> None:
        """Rule 3."""
        state, numbers, level = seen.replicas.value, decision.numbers, self.level
        assert state is not None
        assert numbers.pending == max(current - state.ready, 0)
        if desired <= current or not numbers.pending or level is None:
            return
        self._counts("pending")
        # If what is on its way did not count, it would come on top of what is needed.
        rate, drain = numbers.planned_rate or math.nan, max(self.service.within, DRAIN)
        short = max(level - state.ready * (numbers.service_rate or math.nan), 0.0)
        left = (numbers.backlog or 0.0) + short * (numbers.lead_time or math.nan)
        assert desired <= max(self._least((ORDERED * level + left / drain) / rate), current), (decision, level)

    def _present(self, seen: ServiceObservation, decision: ServiceDecision, current: int, desired: int) -> None:
        """Rule 4, at the rate that is believed; a lower count acts at once, and the backlog is the present one."""
        numbers, level = decision.numbers, self.level
        if not seen.offsets.fresh or level is None or self.still > 0:
            return
        self._counts("present")
        rate = numbers.service_rate or math.nan
        assert numbers.floor_replicas is not None
        least = max(numbers.floor_replicas, self._least(level / rate))
        if desired < current:
            waiting = max((numbers.backlog or 0.0) - level * UNCOMMITTED, 0.0)
            least = max(least, self._least((level + waiting / max(self.service.within, DRAIN)) / rate))
        assert desired >= least or LIMITS & set(decision.reasons), (decision, level, least)

    def _given_back(self, decision: ServiceDecision, current: int, desired: int) -> None:
        """Rule 5. An experiment is judged by rule 4 alone: it is there to find out what paths at the believed rate say
        wrongly."""
        if desired >= current or Reason.EXPERIMENT in decision.reasons:
            return
        self._counts("given back")
        late = decision.numbers.late_share
        assert late is not None
        assert late <= 1.0 - self.service.share + 1e-9 or LIMITS & set(decision.reasons), decision

    def _limits(self, decision: ServiceDecision, current: int, desired: int) -> None:
        """Rules 7 and 8."""
        s, useful, partitions = self.service, decision.numbers.useful_replicas, decision.numbers.partitions
        assert s.min_replicas <= desired <= s.max_replicas
        assert s.max_scale_out is None or desired <= current + s.max_scale_out
        assert s.max_scale_in is None or desired >= current - s.max_scale_in
        for most in (useful, partitions):
            assert most is None or desired <= max(most, current, s.min_replicas)

    def _progress(self, seen: ServiceObservation, decision: ServiceDecision, current: int, desired: int) -> None:
        """Rule 13."""
        s = self.service
        if HOLDS & set(decision.reasons):
            self._counts("held")
            assert desired >= current
        if self.still > 0:
            assert desired >= current, "too early to give one of them up"
        if self.still >= max(4.0 * s.tick, 4.0 * s.service_time, 10.0) and seen.offsets.fresh:
            self._counts("stuck")
            assert Reason.CONSUMERS_NOT_PROGRESSING in decision.reasons
            assert desired == current
