"""Replicas that run the real elector on clocks of their own, over one Lease, in time that only moves here.

Each replica is a thread, of which one at a time runs: whenever it waits or asks, the others go on up to then. So a
process can be stopped, killed or left without an answer at any point at which it touches the world.
"""

from __future__ import annotations

import heapq
import itertools
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from scaler.errors import Conflict, Unreachable
from scaler.leader import Election, Record, Times
from scaler.leader_fence import LeaderFence
from scaler.leader_lease import Elector, Told

REQUEST = 3.0  # s that a client waits


@dataclass(frozen=True)
class Api:
    """How the API server answers: s to the store and s back, each between two; what is lost; when it is away."""

    slowest: float = 0.0
    lost: float = 0.0  # share of requests without an answer, of which half were done
    away: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Host:
    """A process and the machine that it is on. Times are true s."""

    starts: float = 0.0
    dies: float = float("inf")
    stopped: tuple[tuple[float, float], ...] = ()  # SIGSTOP and SIGCONT
    rate: float = 1.0  # of its steady clock
    wall: tuple[tuple[float, float], ...] = ()  # (from when on, s that its wall clock is wrong)


class Ended(BaseException):
    """The process is no more."""


@dataclass
class World:
    """The true time, the Lease, and whose turn it is."""

    seed: int
    api: Api = field(default_factory=Api)
    now: float = 0.0
    lease: Record | None = None
    history: list[tuple[float, str]] = field(default_factory=list)  # when whose it became
    replicas: list[Replica] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.versions = itertools.count(1)
        self.due: list[tuple[float, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.turn = threading.Semaphore(0)

    def at(self, time: float, what: Callable[[], None]) -> None:
        heapq.heappush(self.due, (time, next(self.order), what))

    def add(self, name: str, host: Host) -> Replica:
        made = Replica(self, name, host)
        self.replicas.append(made)
        self.at(host.starts, made.go_on)
        return made

    def run(self, until: float, look: Callable[[], None] = lambda: None) -> None:
        """Let time pass; ``look`` is called after each event."""
        while self.due and self.due[0][0] <= until:
            time, _, what = heapq.heappop(self.due)
            self.now = max(self.now, time)
            what()
            look()
        self.now = until
        look()

    def end(self) -> None:
        for replica in self.replicas:
            replica.kill()

    def leaders(self) -> list[str]:
        return [replica.name for replica in self.replicas if replica.fence.leads()]

    def store(self, record: Record) -> Record:
        """As the API server does: over the version that was read, or none."""
        stands = "" if self.lease is None else self.lease.version
        if record.version != stands:
            raise Conflict(f"{stands} stands, not {record.version}")
        if self.lease is None or self.lease.holder != record.holder:
            self.history.append((self.now, record.holder))
        self.lease = replace(record, version=str(next(self.versions)))
        return self.lease


class Replica:
    """One process; it is its own clock and its own connection."""

    def __init__(self, world: World, name: str, host: Host) -> None:
        self.world, self.name, self.host = world, name, host
        times = Times()
        self.fence = LeaderFence(self, times)
        self.changes: list[tuple[float, bool]] = []
        self.errors = 0
        told = Told(lambda leads: self.changes.append((world.now, leads)), self._failed)
        self.elector = Elector(self, Election(name, times), self.fence, self, random.Random(world.seed), told)
        self.resigning = False
        self._turn = threading.Semaphore(0)
        self._dead = False
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    # --- its life

    def go_on(self) -> None:
        """Its turn, up to where it next waits for the world; later, if it is stopped."""
        if self._dead:
            return
        now = self.world.now
        if now >= self.host.dies:
            self._dead = True
        for begun, ended in self.host.stopped:
            if begun <= now < ended and not self._dead:
                self.world.at(ended, self.go_on)
                return
        self._turn.release()
        self.world.turn.acquire()

    def kill(self) -> None:
        if self._thread.is_alive():
            self._dead = True
            self._turn.release()
            self.world.turn.acquire()
        self._thread.join()

    def sleep(self, seconds: float) -> None:
        """So many true s."""
        self.world.at(self.world.now + seconds, self.go_on)
        self.world.turn.release()
        self._turn.acquire()
        if self._dead:
            raise Ended

    def _live(self) -> None:
        self._turn.acquire()
        try:
            while not self._dead and not self.resigning:
                self.elector.round()
                self.sleep(self.elector.pause() / self.host.rate)
            if self.resigning:
                self.elector.resign()
        except Ended:
            pass
        finally:
            self._dead = True
            self.world.turn.release()

    def _failed(self) -> None:
        self.errors += 1

    # --- its clock

    def elapsed(self) -> float:
        return 1e6 + self.world.now * self.host.rate

    def now(self) -> float:
        wrong = [by for since, by in self.host.wall if since <= self.world.now]
        return 1.7e9 + self.world.now + (wrong[-1] if wrong else 0.0)

    def wait(self, seconds: float, stop: threading.Event) -> bool:
        raise AssertionError("the thread is not the elector's own")

    # --- its Lease

    def read(self) -> Record | None:
        found: list[Record | None] = []
        self._ask(lambda: found.append(self.world.lease))
        return found[0]

    def write(self, record: Record, within: float | None = None) -> Record:
        done: list[Record | Conflict] = []

        def store() -> None:
            try:
                done.append(self.world.store(record))
            except Conflict as conflict:
                done.append(conflict)

        self._ask(store)
        if isinstance(done[0], Conflict):
            raise done[0]
        return done[0]

    def _ask(self, what: Callable[[], None]) -> None:
        """There, perhaps late or never, and back; a client that gave up does not keep the server from doing it."""
        world = self.world
        there, back = (world.rng.uniform(0.0, world.api.slowest) for _ in range(2))
        lost = world.rng.random() < world.api.lost
        self.sleep(0.0)
        away = any(begun <= world.now < ended for begun, ended in world.api.away)
        answered: list[bool] = []

        def arrive() -> None:
            what()
            answered.append(True)

        if not away and not (lost and world.rng.random() < 0.5):
            world.at(world.now + there, arrive)
        if away or lost or there + back > REQUEST:
            self.sleep(REQUEST)
            raise Unreachable("no answer")
        self.sleep(there + back)
        assert answered
