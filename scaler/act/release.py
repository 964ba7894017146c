"""Floors put back: all of one scaler's, those that have expired, or all that there are.

Everything that is needed stands on the autoscalers themselves, so the controller need not run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scaler.act.floor import Autoscaler
from scaler.act.ports import FloorWriter
from scaler.errors import Conflict, NotLeader, Silent, TargetError, TargetNotFound

TRIES = 3  # an autoscaler that somebody changes at the same moment is read again


@dataclass(frozen=True, slots=True)
class Released:
    """One floor that was put back, or (``fault``) could not be."""

    found: Autoscaler
    fault: str = ""

    @property
    def after(self) -> int | None:
        """The minimum that is left; None where the field is."""
        found = self.found
        return found.least if found.own is None or found.own == found.least else min(found.own, found.ceiling)

    @property
    def note(self) -> str:
        """What a reader would not expect, in words."""
        if self.fault:
            return self.fault
        if self.found.broken:
            return "its mark cannot be read: the value is left as it is, check it"
        if not self.found.untouched:
            return "somebody has set another value since, which is left as it is"
        return ""


Wanted = Callable[[Autoscaler], bool]


def of_scaler(uid: str) -> Wanted:
    """The floors of one PredictiveScaler, by its uid."""
    return lambda found: found.mark is not None and found.mark.uid == uid


def of_name(namespace: str, name: str) -> Wanted:
    """The floors of the PredictiveScaler of this name, also of one that was there before it."""
    return lambda found: found.mark is not None and found.mark.scaler == f"{namespace}/{name}"


def expired(now: float) -> Wanted:
    """The floors that nobody has renewed by ``now`` (unix s), and those whose mark cannot be read any more."""
    return lambda found: found.broken or (found.mark is not None and found.mark.expires <= now)


def all_floors(found: Autoscaler) -> bool:
    """Every floor."""
    return bool(found.marks)


def release(floors: FloorWriter, namespace: str, wanted: Wanted) -> list[Released]:
    """Put back every floor of a namespace ("": of all) that is ``wanted``; one that cannot be stops no other.

    Raises Forbidden when the autoscalers cannot be listed, Unreachable then, Silent when the
    server goes away, NotLeader.
    """
    found = [one for one in floors.autoscalers(namespace) if one.marks and wanted(one)]
    return [_restore(floors, one, wanted) for one in found]


def _restore(floors: FloorWriter, found: Autoscaler, wanted: Wanted) -> Released:
    fault = ""
    for _ in range(TRIES):
        try:
            floors.restore(found)
        except TargetNotFound:
            return Released(found)  # it is gone, and its floor with it
        except Conflict as conflict:
            again = [one for one in floors.autoscalers(found.namespace) if one.uid == found.uid]
            if not again or not again[0].marks or not wanted(again[0]):
                return Released(found)  # it is gone, or was renewed
            found, fault = again[0], str(conflict)
        except (Silent, NotLeader):
            raise
        except TargetError as refused:
            return Released(found, str(refused))
        else:
            return Released(found)
    return Released(found, fault)
