"""Who leads, as a state machine without I/O: what is read from the Lease goes in, what is to be written comes out.

Two rules make it safe. A leader counts its time from just before its renewal was sent, another replica counts from
after that renewal was read, each on its own steady clock; the leader stops ``deadline`` s after, and the other begins
no sooner than ``duration`` s after. And every write of the Lease demands the version that was read. Wall clocks are
written for people to read, and compared with nobody else's.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Times:
    """All in s. ``deadline + write`` must stay below ``duration``, by what a request may be under way."""

    duration: float = 15.0
    """A Lease that nobody renewed for so long may be taken."""
    deadline: float = 10.0
    """A leader that could not renew for so long leads no more."""
    retry: float = 2.0
    """From one look at the Lease, or renewal, to the next."""
    jitter: float = 0.2
    """At most so much of ``retry`` is added, at random, so that replicas do not ask in step."""
    write: float = 3.0
    """A change is begun only with so much of the deadline left, and the API server gives it up after that time."""
    request: float = 3.0
    """Longest wait for an answer about the Lease: a lost one must leave time for another."""

    def __post_init__(self) -> None:
        if not 0 < self.retry * (1 + self.jitter) < self.deadline - self.write:
            raise ValueError(f"retry {self.retry:g} s does not fit between write and deadline: {self}")
        if not self.deadline + self.write < self.duration:
            raise ValueError(f"deadline and write leave no room below the duration: {self}")


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant on both clocks: steady (s), and wall (unix s)."""

    elapsed: float
    wall: float


@dataclass(frozen=True, slots=True)
class Record:
    """A Lease. ``acquired`` and ``renewed`` (unix s, as its holder's wall clock said) are for people to read."""

    holder: str  # empty: released
    duration: float  # s, as its holder promises; 0: not said
    acquired: float | None
    renewed: float | None
    transitions: int
    version: str = ""  # as the API server gave it; empty: not there yet


class Election:
    """One replica's view. ``identity`` is this process's alone: one that was started anew is another."""

    def __init__(self, identity: str, times: Times) -> None:
        self.identity = identity
        self.times = times
        self._seen: Record | None = None
        self._seen_at: float | None = None  # steady s when what is seen was first seen; None: never looked
        self._held: Moment | None = None

    @property
    def held(self) -> Moment | None:
        """Just before the newest successful renewal was sent; None: another leads, nobody does, or it was released."""
        return self._held

    @property
    def holder(self) -> str:
        """Whose the Lease was when it was last seen; empty: nobody's."""
        return "" if self._seen is None else self._seen.holder

    @property
    def transitions(self) -> int:
        """How often it changed hands, as was last seen."""
        return 0 if self._seen is None else self._seen.transitions

    @property
    def mine(self) -> bool:
        """Whether this replica was its holder when it was last seen."""
        return self.holder == self.identity

    def saw(self, record: Record | None, at: float) -> None:
        """The Lease as it was read (None: there is none), at steady second ``at``, after the answer."""
        before = "" if self._seen is None else self._seen.version
        if self._seen_at is None and record is None:
            self._seen_at = float("-inf")  # there never was one: nobody leads
        elif self._seen_at is None or before != ("" if record is None else record.version):
            self._seen_at = at
        if record is None and self._seen is not None:
            # Deleted: its holder may lead for a while yet. Remembered without a version, that is: to be made anew.
            gone = self._seen
            record = Record(gone.holder, gone.duration, gone.acquired, gone.renewed, gone.transitions)
        self._seen = record
        if not self.mine:
            self._held = None

    def wish(self, now: Moment) -> Record | None:
        """What to write at ``now``, over the version that was last seen; None: it is another's."""
        seen, times = self._seen, self.times
        if self._seen_at is None:
            raise RuntimeError("look at the Lease first")
        if seen is None:
            return Record(self.identity, times.duration, now.wall, now.wall, 0)
        if self.mine:
            return Record(self.identity, times.duration, seen.acquired, now.wall, seen.transitions, seen.version)
        if self.wait(now.elapsed) > 0:
            return None
        return Record(self.identity, times.duration, now.wall, now.wall, seen.transitions + 1, seen.version)

    def wait(self, now: float) -> float:
        """s from steady second ``now`` until another's Lease may be taken; 0 when it may be, or is this replica's."""
        seen = self._seen
        if seen is None or not seen.holder or self.mine or self._seen_at is None:
            return 0.0
        return max(self._seen_at + (seen.duration or self.times.duration) - now, 0.0)

    def wrote(self, stored: Record, sent: Moment, at: float) -> None:
        """A wish was stored; ``sent``: just before it was sent; ``at``: steady second after the answer."""
        self._seen, self._seen_at = stored, at
        self._held = sent if self.mine else None

    def release(self, now: Moment) -> Record | None:
        """What to write so that another takes over at once; None when it is not this replica's."""
        self._held = None
        seen = self._seen
        if seen is None or not self.mine:
            return None
        return Record("", 1.0, now.wall, now.wall, seen.transitions, seen.version)


def left(held: Moment | None, now: Moment, deadline: float) -> float:
    """s for which a replica that renewed at ``held`` still leads; 0 or less: it does not.

    The clock that says more has passed is believed: a wall clock that is set right after the whole machine was paused
    from outside tells what no steady clock saw, and one that is set wrongly costs no more than a renewal.
    """
    if held is None:
        return 0.0
    return deadline - max(now.elapsed - held.elapsed, now.wall - held.wall)
