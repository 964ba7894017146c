"""Floor mode: the minimum of the autoscaler that scales the target is raised to the desired count, and lowered with it.

The autoscaler goes on scaling above it, by its own metrics; below it, it would scale in what is about to be needed.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from scaler.act.contest import Contests
from scaler.act.floor import LIFE, RENEW, Autoscaler, Mark, scaled
from scaler.act.modes import leave_to_the_other
from scaler.act.order import Order, Outcome, ScalerRef
from scaler.act.ports import Finalizers, FloorWriter
from scaler.act.text import because
from scaler.api.pause import PAUSED, PAUSED_REPLICAS
from scaler.errors import NoAutoscaler, OwnedByAnother, SeveralAutoscalers
from scaler.kube import MANAGER
from scaler.observe.ports import TargetRef
from scaler.plan.reasons import Reason

SLACK = 60.0  # s by which the clocks of two replicas may differ
SETTLES = 120.0  # s in which an autoscaler has brought its target up to a new minimum: some of its syncs
_HOLDING = frozenset(  # the count is held as it is read
    {
        Reason.INPUT_ABSENT,
        Reason.INPUT_STALE,
        Reason.INPUT_ERROR,
        Reason.CONSUMERS_NOT_PROGRESSING,
        Reason.REBALANCING,
        Reason.ROLLING_UPDATE,
        Reason.TOPIC_RECREATED,
        Reason.INTERNAL_ERROR,
    }
)


def mark_of(scaler: ScalerRef) -> str:
    """How a floor names its owner."""
    return f"{scaler.namespace}/{scaler.name}/{scaler.uid}"


@dataclass(frozen=True, slots=True)
class _Seen:
    """The autoscalers of one namespace in one tick."""

    at: float
    by_target: Mapping[tuple[str, str, str], list[Autoscaler]]
    by_owner: Mapping[str, list[Autoscaler]]


def _seen(at: float, autoscalers: Iterable[Autoscaler]) -> _Seen:
    """In a namespace of hundreds, each is looked at once."""
    by_target: dict[tuple[str, str, str], list[Autoscaler]] = {}
    by_owner: dict[str, list[Autoscaler]] = {}
    for one in autoscalers:
        by_target.setdefault(one.target, []).append(one)
        if one.mark is not None:
            by_owner.setdefault(one.mark.owner, []).append(one)
    return _Seen(at, by_target, by_owner)


class Floor:
    """Keeps one floor a scaler."""

    def __init__(self, floors: FloorWriter, finalizers: Finalizers, contests: Contests | None = None) -> None:
        self._floors = floors
        self._finalizers = finalizers
        self._contests = contests or Contests()
        # By namespace: one list for all its scalers in a tick. What is written meanwhile is nobody else's.
        self._seen: dict[str, _Seen] = {}

    def at_once(self, order: Order) -> Outcome | None:
        """Never: a floor may have to be renewed, lowered, or put back."""
        return None

    def act(self, order: Order) -> Outcome:
        there = self._there(order)
        ours = mark_of(order.scaler)
        gone = Reason.TARGET_NOT_FOUND in order.decision.reasons
        scaling = [] if gone else there.by_target.get(scaled(order.target), [])
        for one in there.by_owner.get(ours, ()):  # also where the target, or its autoscaler, was another one before
            if one not in scaling:
                self._restore(order, one)
        if gone:
            self._finalizers.take_off(order.scaler)  # there is nothing left to put back
            return Outcome(Reason.TARGET_NOT_FOUND, f"{order.target} is not there: no floor is kept for it")
        found = _only(scaling, order.target)
        _leave_to_owner(found, ours, order.now)
        mine = found.mark if found.mark is not None and found.mark.owner == ours else None
        self._look_for_reversals(order, found, mine)
        return self._keep_floor(order, found, mine)

    def keep(self, uids: Container[str]) -> None:
        """Forget the scalers that are gone; their floors are released by whoever takes their finalizers off."""
        self._contests.keep(uids)
        self._seen.clear()

    def _keep_floor(self, order: Order, found: Autoscaler, mine: Mark | None) -> Outcome:
        own = found.or_usual(found.own)
        held = mine.value if mine is not None and found.untouched else own
        asked = order.wanted
        if order.pause.everything or asked is None:  # what stands is neither raised nor lowered
            asked = held
        if order.pause.replicas is None and (order.pause.scale_in or _not_to_be_lowered(order, held, mine)):
            asked = max(asked, held)
        floor = max(min(asked, found.ceiling), own)
        limit, limited = _limit(found, asked)
        if floor == own:
            if mine is None:
                return self._unchanged(order, found, own, limit, limited)
            leave_to_the_other(self._contests, order, str(found))
            self._restore(order, found)
            if held == own:  # its user has set it since: only the mark went
                return self._unchanged(order, found, own, limit, limited)
            said = f"floor of {found} {held} -> {own}: {_why(order)}"
            return Outcome(Reason.APPLIED, said, limit, limited, floor=own)
        settled = mine is not None and found.untouched and mine.value == floor
        # Further ahead than it was ever put: by a clock that was wrong, and it would outlive us for as long.
        if settled and mine is not None and RENEW <= mine.expires - order.now <= LIFE + SLACK:
            return self._unchanged(order, found, floor, limit, limited)
        leave_to_the_other(self._contests, order, str(found))
        if mine is None:  # from here on a deletion waits for the floor to be put back
            self._finalizers.put(order.scaler)
        self._floors.write(found, Mark(mark_of(order.scaler), floor, found.own, order.now + LIFE))
        self._contests.wrote(order.scaler.uid, str(found), floor, order.now)
        if settled:
            return self._unchanged(order, found, floor, limit, limited)
        current = order.decision.current
        count = floor if current is not None and current < floor else None  # the autoscaler brings it there
        said = f"floor of {found} {held} -> {floor}: {_why(order)}"
        return Outcome(Reason.APPLIED, said, limit, limited, count, floor)

    def _unchanged(self, order: Order, found: Autoscaler, floor: int, limit: Reason | None, limited: str) -> Outcome:
        paused = order.pause.everything or order.pause.replicas is not None
        reason = Reason.PAUSED if paused else Reason.UNCHANGED
        return Outcome(reason, f"the floor of {found} is {floor}", limit, limited, floor=floor)

    def _look_for_reversals(self, order: Order, found: Autoscaler, mine: Mark | None) -> None:
        uid, where, now_is = order.scaler.uid, str(found), found.or_usual(found.least)
        if mine is not None and not found.untouched:
            # The mark remembers what was written, also over a restart.
            suspect = self._contests.suspect(uid, where, now_is) or not self._contests.knows(uid, where)
        else:
            suspect = self._contests.suspect(uid, where, now_is)
        if not suspect:
            return
        if found.writer == MANAGER:  # `lagcast release`, here or on expiry
            self._contests.blameless(uid)
        else:
            self._contests.reversed(uid, where, found.writer or "", order.now)

    def _there(self, order: Order) -> _Seen:
        namespace = order.target.namespace
        there = self._seen.get(namespace)
        if there is None or there.at != order.now:
            there = self._seen[namespace] = _seen(order.now, self._floors.autoscalers(namespace))
        return there

    def _restore(self, order: Order, found: Autoscaler) -> None:
        self._floors.restore(found)
        self._contests.blameless(order.scaler.uid)  # from here on the value is its user's


def _only(found: Sequence[Autoscaler], target: TargetRef) -> Autoscaler:
    """The one autoscaler of the target. Raises NoAutoscaler or SeveralAutoscalers."""
    if not found:
        raise NoAutoscaler(
            f"no HorizontalPodAutoscaler or ScaledObject scales {target}, so there is no minimum to raise: make one, "
            "or set this scaler's mode to Enforce"
        )
    if len(found) > 1:
        named = " and ".join(str(one) for one in sorted(found, key=str))
        raise SeveralAutoscalers(f"{target} is scaled by {named}: no minimum is raised; delete all but one of them")
    return found[0]


def _leave_to_owner(found: Autoscaler, ours: str, now: float) -> None:
    """Raises OwnedByAnother while another scaler's floor stands. One that has expired, or was the same scaler's before
    it was made anew, is taken over, and with it what was there before.
    """
    mark = found.mark
    if mark is None or mark.owner == ours or mark.expires <= now or mark.scaler == ours.rpartition("/")[0]:
        return
    raise OwnedByAnother(
        f"the floor of {found} is held by PredictiveScaler {mark.scaler}: delete that one, or release it with "
        f"`lagcast release {mark.scaler}`"
    )


def _not_to_be_lowered(order: Order, held: int, mine: Mark | None) -> bool:
    """While the autoscaler has not yet brought the target up to the floor, the plan holds and lowers by the count that
    it still sees, which is less than what was asked for.
    """
    current = order.decision.current
    if mine is None or current is None or current >= held:
        return False
    written = mine.expires - LIFE
    return order.now - written < SETTLES or not _HOLDING.isdisjoint(order.decision.reasons)


def _limit(found: Autoscaler, asked: int) -> tuple[Reason | None, str]:
    if asked <= found.ceiling:
        return None, ""
    field = found.fields.most
    return Reason.FLOOR_ABOVE_MAX, (
        f"a floor of {asked} is above spec.{field} of {found}, which is {found.ceiling}: the floor is {found.ceiling}; "
        "raise it there if the cluster can hold more"
    )


def _why(order: Order) -> str:
    if order.pause.replicas is not None:
        return PAUSED_REPLICAS
    return PAUSED if order.pause.everything else because(order.decision)
