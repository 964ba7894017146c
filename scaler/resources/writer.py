"""Statuses on their way to the API server, beside the tick and never in it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from urllib.parse import quote

from scaler.api.crd import SCALER, Kind
from scaler.api.predictive_scaler import API_VERSION
from scaler.api.status import PoolStatus, ScalerStatus
from scaler.errors import TargetError, TargetNotFound, Unreachable, where
from scaler.kube import MERGE_PATCH, KubeClient, failure
from scaler.resources.declared import Place
from scaler.resources.status import Written, due, patch

log = logging.getLogger(__name__)

COLLECTION = f"/apis/{API_VERSION}/{SCALER.plural}"  # of all namespaces

AnyStatus = ScalerStatus | PoolStatus
Batch = Sequence[tuple[Place, AnyStatus]]


class StatusWriter:
    """Writes what is due, one batch at a time; what could not be written is due again."""

    def __init__(self, client: KubeClient, kind: Kind = SCALER) -> None:
        """``kind`` of the objects."""
        self._client = client
        self._kind = kind
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="status")
        self._written: dict[str, Written] = {}
        self._going: Future[Sequence[tuple[str, Written]]] | None = None
        self._said = ""  # once, not at every tick

    def knows(self, uid: str) -> bool:
        """Whether it is known what stands on the server for this object."""
        return uid in self._written

    def stands(self, uid: str, status: AnyStatus) -> None:
        """``status`` was read from the server; when it was written is not known."""
        self._written.setdefault(uid, Written(status, float("-inf")))

    def forget(self) -> None:
        """Somebody else has written since: what stands is told anew."""
        self._written.clear()
        self._going = None

    def publish(self, statuses: Mapping[Place, AnyStatus], now: float) -> None:
        """Take over the newest status of every object, and begin to write those that are due at ``now`` (unix s)."""
        if self._going is not None:
            if not self._going.done():
                return  # the API server is slow: what is newest then is written then
            going, self._going = self._going, None
            self._written |= dict(going.result())
        uids = {place.uid for place in statuses}
        self._written = {uid: written for uid, written in self._written.items() if uid in uids}
        batch = [
            (place, status) for place, status in statuses.items() if due(self._written.get(place.uid), status, now)
        ]
        if batch:
            self._going = self._pool.submit(self._write, batch, now)

    def settle(self, seconds: float) -> None:
        """Wait until the batch that is under way has been written, at most ``seconds``."""
        if self._going is not None:
            self._going.exception(seconds)

    def close(self) -> None:
        """Begin no other write, and wait for none."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _write(self, batch: Batch, now: float) -> Sequence[tuple[str, Written]]:
        done = []
        for place, status in batch:
            try:
                self._put(place, status)
            except Unreachable as away:
                self._say(str(away))
                break  # each would wait for as long again
            except TargetNotFound:
                continue  # it was deleted meanwhile: the watch will say so
            except TargetError as refused:
                self._say(str(refused))
                continue
            except Exception as error:  # noqa: BLE001 - one that cannot be written keeps no other from it
                said = f"the status of {self._kind.kind} {place.name} cannot be written: {where(error)}"
                self._say(f"{said}; please report it")
                continue
            done.append((place.uid, Written(status, now)))
        if len(done) == len(batch):
            self._said = ""
        return done

    def _put(self, place: Place, status: AnyStatus) -> None:
        kind, name = self._kind, quote(place.name, safe="")
        scope = f"/namespaces/{quote(place.namespace, safe='')}" if kind.namespaced else ""
        path = f"/apis/{API_VERSION}{scope}/{kind.plural}/{name}/status"
        answer = self._client.call("PATCH", path, body=patch(place, status), content_type=MERGE_PATCH)
        if not answer.ok:
            raise failure(
                answer, f"write the status of {kind.kind} {f'{place.namespace}/' * kind.namespaced}{place.name}"
            )

    def _say(self, text: str) -> None:
        log.log(logging.DEBUG if text == self._said else logging.WARNING, "%s", text)
        self._said = text
