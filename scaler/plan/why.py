"""The reasons of a decision: what the number came from, and what moved it or kept it up."""

from __future__ import annotations

from scaler.plan.prepared import Plan, Seen
from scaler.plan.reasons import Reason


def kept_up_by(count: int, wanted: int, answered: int, need: int) -> tuple[Reason, ...]:
    """What kept ``count`` above what was ``wanted``: ``answered``, the highest answer of the scale-in hold; ``need``,
    what was lately needed; or, above both, rule 5."""
    if count <= wanted:
        return ()
    if count > max(answered, need):
        return (Reason.SCALE_IN_UNSAFE,)
    return (Reason.HELD_NEED if need > answered else Reason.SCALE_IN_DELAYED,)


def reasons_of(
    current: int,
    count: int,
    desired: int,
    plan: Plan,
    held: tuple[Reason, ...],
    limits: tuple[Reason, ...],
    seen: Seen,
) -> tuple[Reason, ...]:
    """Everything that touched the number, the decisive one first; ``held``: what kept ``count`` up."""
    if held:
        first = held if count == current else (*held, plan.source)
    elif count == current and plan.source is not Reason.EXPERIMENT:  # the plan would have more
        first = (Reason.STEADY,)
    else:
        first = (plan.source,)
    # Also where the plan goes the other way.
    limited = bool(limits) and (count - current) * (desired - current) <= 0
    decisive = (*limits, *first) if limited else (*first, *limits)
    states = (Reason.CONSUMERS_NOT_PROGRESSING,) if seen.stuck else ()
    return unique((*decisive, *states, *seen.faults, *plan.notes, *seen.notes))


def unique(reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
    return tuple(dict.fromkeys(reasons))
