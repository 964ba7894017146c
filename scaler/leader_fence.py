"""What stands between a decision and the API server: a change goes out only while this replica leads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from scaler.clock import SteadyClock
from scaler.errors import NotLeader
from scaler.leader import Moment, Times, left


class LeaderFence:
    """A ``scaler.kube.Fence``. Closed until the first renewal; safe to share between threads."""

    def __init__(self, clock: SteadyClock, times: Times) -> None:
        self._clock = clock
        self._times = times
        self._held: Moment | None = None
        self._closed = False
        self._under_way = 0
        self._unsure_until = float("-inf")  # steady s; until then a change of which nothing is known may still be made
        self._changed = threading.Condition()

    @property
    def patience(self) -> float:
        """s after which the API server is to give a change up."""
        return self._times.write

    def moment(self) -> Moment:
        """Now, on both clocks."""
        return Moment(self._clock.elapsed(), self._clock.now())

    def holds(self, held: Moment | None) -> None:
        """The Lease was renewed by a request sent just after ``held``; None: this replica does not lead."""
        self._held = held

    def left(self) -> float:
        """s for which this replica still leads; 0: it does not."""
        return 0.0 if self._closed else max(left(self._held, self.moment(), self._times.deadline), 0.0)

    def leads(self) -> bool:
        """Whether this replica leads now."""
        return self.left() > 0

    def check(self) -> None:
        """Raises NotLeader unless a change that is begun now ends while this replica leads."""
        rest = self.left()
        if rest >= self._times.write:
            return
        if rest > 0:
            raise NotLeader(f"nothing was changed: the lease was not renewed, and runs out in {rest:.1f} s")
        raise NotLeader("nothing was changed: this replica does not lead")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around one change, to its answer. Raises NotLeader."""
        with self._changed:
            self.check()
            self._under_way += 1
        try:
            yield
        except NotLeader:  # its content was not sent
            raise
        except BaseException:
            self.unsure()
            raise
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def unsure(self) -> None:
        """A change has no answer, or one that says nothing: it may be on its way for as long as any may be, and begin
        the API server's deadline then. As with a leader that was lost, the others wait for that.
        """
        times = self._times
        self._unsure_until = self._clock.elapsed() + times.write + (times.duration - times.deadline)

    def close(self, seconds: float) -> bool:
        """Let nothing more out, and wait at most ``seconds`` for what is under way; whether all of it is known to have
        ended, so that another may lead at once.
        """
        with self._changed:
            self._closed = True
            ended = self._changed.wait_for(lambda: self._under_way == 0, seconds)
        return ended and self._clock.elapsed() >= self._unsure_until
