"""Who watches which pods: each target its own, or all targets of a namespace together where they are many.

A watch is a thread and a TLS connection, about 0.13 MB. The rights are the same: RBAC knows namespaces, no selectors.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scaler.kube import Json
from scaler.observe.lead_times import LeadTimes
from scaler.observe.pods import Pod, read_pod, trim_pod
from scaler.observe.ports import TargetRef
from scaler.observe.selectors import Selector, parse
from scaler.observe.watch import Watch, Watches
from scaler.plan.observation import LeadTime

MANY = 8  # targets of a namespace: from so many on they share one watch, of all of its pods


class PodStore:
    """The pods of one target, as a watch tells them: its own, whose handler this is, or one that is shared."""

    def __init__(self) -> None:
        self.lead_times = LeadTimes()
        self._pods: dict[str, Pod] = {}
        self._lock = threading.Lock()

    def listed(self, objects: Sequence[Json], at: float) -> None:
        self.hold([read_pod(item) for item in objects])

    def changed(self, item: Json, at: float) -> None:
        self.put(read_pod(item), at)

    def removed(self, item: Json, at: float) -> None:
        self.drop(item["metadata"]["uid"])

    def hold(self, found: Sequence[Pod]) -> None:
        """These, and no others."""
        pods = {pod.uid: pod for pod in found}
        with self._lock:
            for uid in self._pods.keys() - pods.keys():
                self.lead_times.gone(uid)
            self._pods = pods
            for pod in pods.values():
                self.lead_times.see(pod, None)

    def put(self, pod: Pod, at: float) -> None:
        """One that is new, or has changed, as was heard at unix s ``at``."""
        with self._lock:
            self._pods[pod.uid] = pod
            self.lead_times.see(pod, at)

    def drop(self, uid: str) -> None:
        with self._lock:
            self._pods.pop(uid, None)
            self.lead_times.gone(uid)

    def asked(self, before: int, replicas: int, at: float) -> None:
        with self._lock:
            self.lead_times.asked(before, replicas, at)

    def take(self) -> tuple[LeadTime, ...]:
        with self._lock:
            return self.lead_times.take()

    def pods(self) -> list[Pod]:
        with self._lock:
            return list(self._pods.values())


@dataclass(frozen=True, slots=True, eq=False)
class _Member:
    selector: Selector
    store: PodStore


class _Namespace:
    """Handler of a watch of all pods of a namespace: hands each to the targets whose selectors match its labels."""

    def __init__(self) -> None:
        self._members: dict[TargetRef, _Member] = {}
        self._by_label: dict[tuple[str, str] | None, dict[TargetRef, _Member]] = defaultdict(dict)
        self._pods: dict[str, tuple[Pod, Mapping[str, str]]] | None = None  # None: not listed yet
        self._of: dict[str, set[TargetRef]] = {}  # by the pod's uid: whose it is
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._members)

    def join(self, ref: TargetRef, selector: Selector, store: PodStore) -> None:
        """From now on ``store`` is told of the pods that match; and now of those that are there."""
        with self._lock:
            member = self._members[ref] = self._by_label[selector.label][ref] = _Member(selector, store)
            if self._pods is None:
                return
            mine = [pod for pod, labels in self._pods.values() if selector.matches(labels)]
            for pod in mine:
                self._of.setdefault(pod.uid, set()).add(ref)
            member.store.hold(mine)

    def leave(self, ref: TargetRef) -> None:
        with self._lock:
            member = self._members.pop(ref)
            del self._by_label[member.selector.label][ref]
            for whose in self._of.values():
                whose.discard(ref)

    def listed(self, objects: Sequence[Json], at: float) -> None:
        pods = {pod.uid: (pod, labels) for pod, labels in map(_labelled, objects)}
        with self._lock:
            self._pods = pods
            self._of = {uid: self._whose(labels) for uid, (_, labels) in pods.items()}
            found: dict[TargetRef, list[Pod]] = {ref: [] for ref in self._members}
            for uid, whose in self._of.items():
                for ref in whose:
                    found[ref].append(pods[uid][0])
            for ref, member in self._members.items():
                member.store.hold(found[ref])

    def changed(self, item: Json, at: float) -> None:
        pod, labels = _labelled(item)
        with self._lock:
            if self._pods is not None:
                self._pods[pod.uid] = pod, labels
            whose = self._whose(labels)
            for ref in self._of.get(pod.uid, set()) - whose:  # its labels have changed
                self._members[ref].store.drop(pod.uid)
            self._of[pod.uid] = whose
            for ref in whose:
                self._members[ref].store.put(pod, at)

    def removed(self, item: Json, at: float) -> None:
        uid = item["metadata"]["uid"]
        with self._lock:
            if self._pods is not None:
                self._pods.pop(uid, None)
            for ref in self._of.pop(uid, ()):
                self._members[ref].store.drop(uid)

    def _whose(self, labels: Mapping[str, str]) -> set[TargetRef]:
        """Those whose selector matches; looked up by the one label that most selectors ask for."""
        return {
            ref
            for label in (None, *labels.items())
            for ref, member in self._by_label.get(label, {}).items()
            if member.selector.matches(labels)
        }


def _labelled(item: Json) -> tuple[Pod, Mapping[str, str]]:
    return read_pod(item), item["metadata"].get("labels") or {}


@dataclass(frozen=True, slots=True)
class _Shared:
    watch: Watch
    handler: _Namespace


@dataclass(frozen=True, slots=True)
class _Followed:
    text: str  # the selector
    store: PodStore
    watch: Watch
    shared: bool


class PodWatches:
    """Begins and ends the watches of pods. Not for several threads at once."""

    def __init__(self, watches: Watches, many: int = MANY) -> None:
        self._watches = watches
        self._many = many
        self._followed: dict[TargetRef, _Followed] = {}
        self._shared: dict[str, _Shared] = {}  # by namespace
        self._selectors: dict[str, Selector | None] = {}

    def arrange(self, stores: Mapping[TargetRef, tuple[str, PodStore]]) -> None:
        """See that the pods of these targets, by selector and store of each, are watched, and no others.

        An empty selector would match every pod of the namespace: it is not watched.
        """
        self._selectors = {text: self._selectors.get(text) or parse(text) for text, _ in stores.values() if text}
        readable = defaultdict[str, dict[TargetRef, Selector]](dict)
        for ref, (text, _) in stores.items():
            if (selector := self._selectors.get(text)) is not None:
                readable[ref.namespace][ref] = selector
        # Fewer go on together: one that is not found for a moment is not to begin all the others' watches anew.
        many = [of for space, of in readable.items() if len(of) >= self._from(space)]
        together = {ref: selector for of in many for ref, selector in of.items()}
        for ref, followed in list(self._followed.items()):
            text, store = stores.get(ref, ("", None))
            if (text, store) != (followed.text, followed.store) or (ref in together) is not followed.shared:
                self._end(ref)
        for ref, (text, store) in stores.items():
            if not text or ref in self._followed:
                continue
            if ref in together:
                self._followed[ref] = _Followed(text, store, self._join(ref, together[ref], store), shared=True)
            else:
                watch = self._watches.begin(_pods(ref.namespace), store, selector=text, trim=trim_pod)
                self._followed[ref] = _Followed(text, store, watch, shared=False)
        for namespace, one in list(self._shared.items()):
            if not len(one.handler):
                self._watches.end(self._shared.pop(namespace).watch)

    def of(self, ref: TargetRef) -> Watch | None:
        """The watch that tells of the target's pods."""
        followed = self._followed.get(ref)
        return None if followed is None else followed.watch

    def _from(self, namespace: str) -> int:
        """From how many targets on they are watched together."""
        return self._many // 2 if namespace in self._shared else self._many

    def _join(self, ref: TargetRef, selector: Selector, store: PodStore) -> Watch:
        shared = self._shared.get(ref.namespace)
        if shared is None:
            handler = _Namespace()
            shared = _Shared(self._watches.begin(_pods(ref.namespace), handler, trim=trim_pod), handler)
            self._shared[ref.namespace] = shared
        shared.handler.join(ref, selector, store)
        return shared.watch

    def _end(self, ref: TargetRef) -> None:
        followed = self._followed.pop(ref)
        if followed.shared:
            self._shared[ref.namespace].handler.leave(ref)
        else:
            self._watches.end(followed.watch)


def _pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"
