"""The controller's exceptions.

    LagcastError
    +-- ConfigError        a file or resource is wrong: refuse it whole, keep what runs (who read it)
    +-- TargetError        the target cannot be read or scaled
        +-- TargetNotFound, TargetWithoutScale, Forbidden    report on this scaler, go on with the others (the tick)
        +-- OwnedByAnother    as above: another autoscaler owns the count, or another scaler holds its floor
        +-- NoAutoscaler, SeveralAutoscalers    as above: there is not the one minimum that Floor mode could raise
        +-- ContestedTarget    somebody puts back what was written: write nothing for a while (the tick)
        +-- Unreachable    retry at the next tick (the tick)
            +-- Silent     there was no answer at all: ask nothing more in this tick, each would wait for as long
        +-- Conflict       somebody changed the count since it was read: decide anew at the next tick (the tick)
        +-- NotLeader      another replica leads, or may: nothing was sent; go on observing (the tick)

Sources (observe) raise none of these: they answer with a Reading that says what is wrong.
"""

from __future__ import annotations


class LagcastError(Exception):
    """Base of all errors that the controller raises on purpose. The message names the object and what to do."""


class ConfigError(LagcastError):
    """A configuration that cannot be used; names file, object, field, what was found and what is allowed."""


class TargetError(LagcastError):
    """A target that cannot be read or scaled."""


class TargetNotFound(TargetError):
    """The target does not exist."""


class TargetWithoutScale(TargetError):
    """The target's kind has no /scale subresource."""


class Forbidden(TargetError):
    """The controller's account may not do this."""


class OwnedByAnother(TargetError):
    """Another autoscaler owns the target's count."""


class NoAutoscaler(TargetError):
    """No autoscaler scales the target."""


class SeveralAutoscalers(TargetError):
    """More than one autoscaler scales the target."""


class ContestedTarget(TargetError):
    """Somebody else puts back what is written."""


class Unreachable(TargetError):
    """The API server, or what it asks itself (a webhook), did not do its work."""


class Silent(Unreachable):
    """The API server did not answer."""


class Conflict(TargetError):
    """The count on the server is no longer the one that was read."""


class NotLeader(TargetError):
    """This replica does not lead, or may not for long enough: a change was not sent."""


def where(error: BaseException) -> str:
    """Type and place of an unexpected error, without its text: a library's message may quote a secret."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = "" if frame is None else f" in {frame.tb_frame.f_globals.get('__name__')}:{frame.tb_lineno}"
    return f"{type(error).__name__}{place}"
