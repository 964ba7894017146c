"""The /scale of each target, read again when the target's watch says that it changed.

Which path of an object holds its count differs by kind, and only /scale knows it. So the watch of a kind, one for each
namespace, shared by all its targets, does not bring the count: it says when there may be another one. What was read
last holds until the object's version moves or we patch it. While the watch is broken or silent, and for a kind that may
not be watched, it is read at each pass.

A watch cannot say that the server still answers now. So each pass also reads one target that did not change, in turn;
the server takes it from its store, and that answer vouches for those that were not read.
"""

from __future__ import annotations

import concurrent.futures
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scaler.clock import Clock
from scaler.errors import TargetError, Unreachable
from scaler.kube import METADATA, Json, KubeClient, failure
from scaler.observe.ports import TargetRef
from scaler.observe.watch import Watch, Watches

log = logging.getLogger(__name__)

Answers = dict[TargetRef, Json | TargetError]
Version = tuple[str, str]  # uid and resource version
Collection = tuple[str, str, str]  # apiVersion, kind, namespace


class Versions:
    """Handler of one kind's watch in one namespace: the version of each object by name."""

    def __init__(self) -> None:
        self._known: dict[str, Version] = {}  # replaced or changed one entry at a time: readers need no lock

    def listed(self, objects: Sequence[Json], at: float) -> None:
        self._known = {item["metadata"]["name"]: _version(item) for item in objects}

    def changed(self, item: Json, at: float) -> None:
        self._known[item["metadata"]["name"]] = _version(item)

    def removed(self, item: Json, at: float) -> None:
        self._known.pop(item["metadata"]["name"], None)

    def of(self, name: str) -> Version | None:
        return self._known.get(name)


@dataclass(frozen=True, slots=True)
class _Last:
    """What was read last, and which version the watch showed before it was asked: it is at least as new as that."""

    scale: Json
    version: Version | None
    turn: int  # number of the pass that read it


@dataclass(frozen=True, slots=True)
class _Watched:
    watch: Watch
    versions: Versions


class Counts:
    """Answers of /scale for any number of targets. One thread reads at a time; ``changed`` may come from another."""

    def __init__(
        self, client: KubeClient, clock: Clock, watches: Watches, *, answer: float, silence: float, workers: int
    ) -> None:
        """``answer``: s for one GET; ``silence``: s without a sign of life after which a watch is no longer believed;
        ``workers``: GETs at the same time."""
        self._client = client
        self._clock = clock
        self._watches = watches
        self._answer = answer
        self._silence = silence
        self._last: dict[TargetRef, _Last] = {}
        self._patched: deque[TargetRef] = deque()  # filled by any thread
        self._watched: dict[Collection, _Watched] = {}
        self._said: set[Collection] = set()
        self._asked: dict[TargetRef, int] = {}  # number of the pass in which the server was last asked for it
        self._turn = 0
        self._workers = concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="scale")

    def read(self, wanted: Iterable[TargetRef], limit: float) -> Answers:
        """The /scale of each as it is now, or why it is not known; within ``limit`` s."""
        began = self._clock.now()
        wanted = list(dict.fromkeys(wanted))
        self._forget(wanted)
        self._turn += 1
        known = [ref for ref in wanted if self._holds(ref)]
        voucher = min(known, key=lambda ref: self._last[ref].turn, default=None)
        rest = [ref for ref in known if ref != voucher]
        answers = self._ask([ref for ref in wanted if ref not in rest], limit)
        if voucher is not None and isinstance(answers[voucher], TargetError):  # of this one alone, or of all: ask them
            answers |= self._ask(rest, min(limit - (self._clock.now() - began), limit))
        else:
            answers |= {ref: self._last[ref].scale for ref in rest}
        for ref, answer in answers.items():
            if not isinstance(answer, TargetError):
                self._follow(ref)
        return {ref: answers[ref] for ref in wanted}

    def changed(self, ref: TargetRef) -> None:
        """We patched it: read it at the next pass, whether or not the watch has told by then."""
        self._patched.append(ref)

    def note(self, ref: TargetRef) -> str:
        """Why the target's count is not watched; empty when it is, or when the watch is only broken for now."""
        watched = self._watched.get(_collection(ref))
        error = None if watched is None else watched.watch.state.error
        if error is None or isinstance(error, Unreachable):
            return ""
        return f"the replica count is read at each tick, not watched: {error}"

    def close(self) -> None:
        """End the threads; the watches are the caller's to close."""
        self._workers.shutdown(wait=True, cancel_futures=True)

    def _ask(self, refs: list[TargetRef], limit: float) -> Answers:
        refs = sorted(refs, key=lambda ref: self._asked.get(ref, 0))  # those first whose turn did not come
        versions = {ref: self._version(ref) for ref in refs}  # before they are asked
        asked = {ref: self._workers.submit(self._scale, ref) for ref in refs}
        concurrent.futures.wait(asked.values(), timeout=max(limit, 0.0))
        self._asked |= {ref: self._turn for ref, answer in asked.items() if not answer.cancel()}
        answers = {ref: _outcome(answer) for ref, answer in asked.items()}
        for ref, answer in answers.items():
            if isinstance(answer, TargetError):
                self._last.pop(ref, None)
            else:
                self._last[ref] = _Last(answer, versions[ref], self._turn)
        return answers

    def _scale(self, ref: TargetRef) -> Json:
        answer = self._client.scale("GET", ref, read_timeout=self._answer)
        if not answer.ok:
            raise failure(answer, f"read the scale of {ref}")
        return answer.body

    def _holds(self, ref: TargetRef) -> bool:
        """What was read last is still the newest that the watch tells of, and the watch can be believed."""
        last, version = self._last.get(ref), self._version(ref)
        return last is not None and version is not None and last.version == version

    def _version(self, ref: TargetRef) -> Version | None:
        watched = self._watched.get(_collection(ref))
        if watched is None:
            return None
        state = watched.watch.state
        if not state.following or state.silent(self._clock.now()) > self._silence:
            return None
        return watched.versions.of(ref.name)

    def _follow(self, ref: TargetRef) -> None:
        """See that the target's kind is watched."""
        collection = _collection(ref)
        try:
            path = self._client.resource(ref.api_version, ref.kind).collection(ref.namespace)
        except TargetError:  # the kind has just gone: its /scale tells at the next pass
            return
        watched = self._watched.get(collection)
        if watched is not None and watched.watch.path == path:
            if isinstance(watched.watch.state.error, Unreachable):  # the server has just answered
                watched.watch.hurry()
            elif (note := self.note(ref)) and collection not in self._said:
                self._said.add(collection)
                log.warning("%s in namespace %s: %s", ref.kind, ref.namespace, note)
            return
        if watched is not None:  # its CRD was made anew under another plural
            self._watches.end(watched.watch)
        versions = Versions()
        self._watched[collection] = _Watched(self._watches.begin(path, versions, content=METADATA), versions)

    def _drain(self) -> Iterable[TargetRef]:
        while self._patched:
            yield self._patched.popleft()

    def _forget(self, wanted: Sequence[TargetRef]) -> None:
        self._asked = {ref: self._asked[ref] for ref in wanted if ref in self._asked}
        for ref in {*(self._last.keys() - set(wanted)), *self._drain()}:
            self._last.pop(ref, None)
        for collection in self._watched.keys() - {_collection(ref) for ref in wanted}:
            self._watches.end(self._watched.pop(collection).watch)


def _collection(ref: TargetRef) -> Collection:
    return ref.api_version, ref.kind, ref.namespace


def _version(item: Json) -> Version:
    metadata = item["metadata"]
    return str(metadata.get("uid", "")), str(metadata["resourceVersion"])


def _outcome(answer: concurrent.futures.Future[Json]) -> Json | TargetError:
    if not answer.done() or answer.cancelled():
        return Unreachable("the API server did not answer in time; it is tried again")
    try:
        return answer.result()
    except TargetError as error:
        return error
    except Exception as odd:
        log.exception("an answer of the API server cannot be read")
        return Unreachable(f"an answer of the API server cannot be read ({type(odd).__name__})")
