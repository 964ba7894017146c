"""List and watch of one collection, kept current by one thread.

The list is paged; the watch asks for bookmarks, so that its resource version stays young, and ends after some
seconds on the server's side, so that a connection that died silently is noticed within a read timeout. What breaks
is begun anew after an exponential back-off with jitter; a resource version that is too old (410 Gone), or a line
that is no event, means listing anew; so does the periodic resync.
"""

from __future__ import annotations

import json
import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from scaler.clock import Clock
from scaler.errors import Forbidden, TargetError, TargetNotFound, Unreachable
from scaler.kube import WHOLE, Answer, Content, Expired, Json, KubeClient, failure
from scaler.kube_stream import Stream

log = logging.getLogger(__name__)


class Handler(Protocol):
    """Is told what the collection holds. Called by the watch's thread only; ``at`` is the time of arrival (unix s)."""

    def listed(self, objects: Sequence[Json], at: float) -> None:
        """The whole collection: what is not among ``objects`` is gone."""
        ...

    def changed(self, item: Json, at: float) -> None:
        """One object is new or has changed."""
        ...

    def removed(self, item: Json, at: float) -> None:
        """One object is gone."""
        ...


@dataclass(frozen=True, slots=True)
class Timings:
    """All in seconds."""

    watch: float = 15.0  # the server ends a watch after this: bounds how long a dead one goes unnoticed
    silence: float = 20.0  # client's read timeout; above ``watch``, or every quiet watch would break
    answer: float = 5.0  # for a page of a list, and for the headers of a watch
    resync: float = 300.0  # list anew, in case an event was lost
    first_pause: float = 0.25  # back-off: first pause, doubled each time ...
    longest_pause: float = 4.0  # ... up to this: an API server that is back is seen within a few seconds
    refused: float = 60.0  # pause after a refusal that only a change of rights or of the API ends, unless hurried
    page: int = 500  # objects, not seconds: items of one page of a list


@dataclass(frozen=True, slots=True)
class WatchState:
    """How far what the handler was told can be trusted."""

    synced: bool  # the collection has been listed once
    contact: float  # unix s of the last sign of life from the server; -inf before the first
    error: TargetError | None  # why it is broken at the moment; None while it runs
    following: bool = False  # its stream is open: what happens now is heard

    def silent(self, now: float) -> float:
        """Seconds without a sign of life. A contact that lies ahead, because the clock was set back, tells as little
        as one that is as long ago; the next one is not far.
        """
        return abs(now - self.contact)


def whole(item: Json) -> Json:
    """All of it."""
    return item


class Watch:
    """Keeps ``handler`` current with the collection at ``path`` from ``start()`` until ``close()``."""

    def __init__(
        self,
        client: KubeClient,
        path: str,
        handler: Handler,
        *,
        clock: Clock,
        rng: random.Random,
        selector: str = "",
        content: Content = WHOLE,
        timings: Timings | None = None,
        trim: Callable[[Json], Json] = whole,
    ) -> None:
        """``selector`` is a label selector; ``rng`` is this watch's own. ``trim`` leaves of each listed object what the
        handler needs: a list is handed over when its last page is there."""
        self._client = client
        self._content = content
        self._trim = trim
        self._path = path
        self._handler = handler
        self._clock = clock
        self._rng = rng
        self._selector: dict[str, str | int] = {"labelSelector": selector} if selector else {}
        self._timings = timings or Timings()
        self._doing = f"watch {path}"
        self._lock = threading.Lock()
        self._state = WatchState(synced=False, contact=float("-inf"), error=None)
        self._stream: Stream | None = None
        self._version = ""  # empty: list anew
        self._failures = 0
        self._stop = threading.Event()
        self._wake = threading.Event()  # ends a back-off: stop or hurry
        self._settled = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch {path}", daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    @property
    def path(self) -> str:
        return self._path

    @property
    def state(self) -> WatchState:
        with self._lock:
            return self._state

    @property
    def alive(self) -> bool:
        """Its thread has not ended yet."""
        return self._thread.is_alive()

    def settle(self, seconds: float) -> None:
        """Wait until the first try, or the one that ``hurry`` began, has succeeded or failed, at most ``seconds``."""
        self._settled.wait(max(seconds, 0.0))

    def hurry(self) -> None:
        """The server was just seen to answer: cut a back-off short."""
        with self._lock:
            if self._state.error is not None and not self._stop.is_set():
                self._settled.clear()
                self._wake.set()

    def stop(self) -> None:
        """Tell the thread to end, and return at once."""
        with self._lock:
            self._stop.set()
            stream = self._stream
        self._wake.set()
        self._settled.set()
        if stream is not None:
            stream.interrupt()

    def close(self, wait: float = 1.0) -> None:
        """Stop, and wait for the thread to end, at most ``wait`` s (it is a daemon, and ends with its request)."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join(max(wait, 0.0))

    def _run(self) -> None:
        relist_at = float("-inf")
        while not self._stop.is_set():
            try:
                longest = self._clock.now() + 1.1 * self._timings.resync
                relist_at = min(relist_at, longest)  # the clock may have been set back
                if not self._version or self._clock.now() >= relist_at:
                    self._list()
                    relist_at = self._clock.now() + self._timings.resync * self._rng.uniform(0.9, 1.1)
                self._follow()
            except Expired as expired:
                self._version = ""
                if self._failures:  # the list's own version was refused: do not spin
                    self._pause(expired)
                else:
                    self._failures = 1
            except TargetError as broken:
                self._pause(broken)
            except Exception as odd:
                # An object that the handler cannot read must not end the watch for good.
                if not self._stop.is_set():
                    log.exception("%s: unexpected", self._doing)
                self._version = ""
                self._pause(Unreachable(f"cannot {self._doing}: unexpected {type(odd).__name__}; it is tried again"))

    def _list(self) -> None:
        objects: list[Json] = []
        query: dict[str, str | int] = {**self._selector, "limit": self._timings.page}
        while not self._stop.is_set():
            page = self._client.get(
                self._path,
                f"list {self._path}",
                query=query,
                accept=self._content.listed,
                read_timeout=self._timings.answer,
            )
            objects += map(self._trim, page.get("items") or ())
            about: Mapping[str, str] = page.get("metadata") or {}
            if not about.get("continue"):
                at = self._clock.now()
                if self._stop.is_set():  # its objects are another watch's by now
                    return
                self._handler.listed(objects, at)
                self._version = str(about.get("resourceVersion", ""))
                self._alive(synced=True)
                return
            query["continue"] = about["continue"]

    def _follow(self) -> None:
        """One watch request, until the server ends it."""
        began = self._clock.now()
        told = 0
        query: dict[str, str | int] = {
            **self._selector,
            "watch": 1,
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": max(1, round(self._timings.watch)),
        }
        version, self._version = self._version, ""  # a watch that cannot be opened: list anew, the version may be why
        timings = self._timings
        stream = self._client.stream(
            self._path,
            self._doing,
            query=query,
            accept=self._content.watched,
            read_timeout=timings.answer,
            silence=timings.silence,
        )
        self._version = version
        with self._lock:
            self._stream = stream
            stopped = self._stop.is_set()
        try:
            self._alive(following=True)
            if stopped:
                return
            for line in stream.lines():
                if self._stop.is_set():
                    return
                self._event(line)
                told += 1
                self._failures = 0
                self._alive(following=True)
        finally:
            with self._lock:
                self._stream = None
                self._state = replace(self._state, following=False)
            stream.close()
        if not told and self._clock.now() - began < min(1.0, self._timings.watch / 2):
            raise Unreachable(f"cannot {self._doing}: the server ends it at once; it is tried again")
        self._failures = 0
        self._alive()

    def _event(self, line: bytes) -> None:
        """Hand one line on. Raises Expired for 410, Unreachable for a line that is no event."""
        try:
            event = json.loads(line)
            kind, item = event["type"], event["object"]
            if kind == "ERROR":
                self._version = ""
                raise failure(Answer(int(item.get("code", 500)), item), self._doing)
            version = str(item["metadata"]["resourceVersion"])
        except (ValueError, KeyError, TypeError, AttributeError):
            self._version = ""
            raise Unreachable(f"cannot {self._doing}: a line is no event; the collection is listed anew") from None
        at = self._clock.now()
        if kind in ("ADDED", "MODIFIED"):
            self._handler.changed(item, at)
        elif kind == "DELETED":
            self._handler.removed(item, at)
        self._version = version  # a BOOKMARK brings nothing else

    def _alive(self, *, synced: bool = False, following: bool = False) -> None:
        with self._lock:
            self._state = WatchState(self._state.synced or synced, self._clock.now(), None, following)
            if self._state.synced:
                self._settled.set()

    def _pause(self, error: TargetError) -> None:
        with self._lock:
            known = self._state.error is not None
            self._state = WatchState(self._state.synced, self._state.contact, error)
            self._settled.set()
        if self._stop.is_set():
            return
        log.log(logging.DEBUG if known else logging.WARNING, "%s", error)
        timings = self._timings
        pause = min(timings.longest_pause, timings.first_pause * 2.0 ** min(self._failures, 30))
        if isinstance(error, Forbidden | TargetNotFound):
            pause = max(pause, timings.refused)
        self._failures += 1
        self._clock.wait(pause * self._rng.uniform(0.5, 1.0), self._wake)
        if not self._stop.is_set():
            self._wake.clear()


class Watches:
    """All watches of one adapter: begun and ended one by one, closed together. Not for several threads at once."""

    def __init__(self, client: KubeClient, clock: Clock, rng: random.Random, timings: Timings | None = None) -> None:
        """``rng`` seeds the jitter of each watch's back-off."""
        self._client = client
        self._clock = clock
        self._rng = rng
        self._timings = timings
        self._running: list[Watch] = []
        self._ended: list[Watch] = []

    def begin(
        self,
        path: str,
        handler: Handler,
        *,
        selector: str = "",
        content: Content = WHOLE,
        trim: Callable[[Json], Json] = whole,
    ) -> Watch:
        """A watch that has been started."""
        rng = random.Random(self._rng.getrandbits(64))
        watch = Watch(
            self._client,
            path,
            handler,
            clock=self._clock,
            rng=rng,
            selector=selector,
            content=content,
            timings=self._timings,
            trim=trim,
        )
        self._running.append(watch)
        watch.start()
        return watch

    def end(self, watch: Watch) -> None:
        """Tell it to end, and do not wait for it."""
        watch.stop()
        self._running.remove(watch)
        self._ended = [w for w in self._ended if w.alive] + [watch]

    def close(self, wait: float) -> None:
        """End all, and wait for their threads, together at most ``wait`` s; they are daemons."""
        until = self._clock.now() + wait
        for watch in self._running:
            watch.stop()
        for watch in self._running + self._ended:
            watch.close(until - self._clock.now())
        self._running, self._ended = [], []
