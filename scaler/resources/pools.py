"""The cluster's GpuNodePools and the controller: what is declared goes in before a tick, what was decided out after."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from scaler.act.nodepools.objects import Objects
from scaler.act.nodepools.pools import ProviderPools, writer_for
from scaler.api.crd import POOL
from scaler.api.gpu_node_pool import POOL_KIND, GpuNodePool
from scaler.api.predictive_scaler import API_VERSION
from scaler.api.status import PoolStatus, Refusal
from scaler.clock import Clock
from scaler.errors import where
from scaler.kube import Json, KubeClient
from scaler.observe.watch import Watches
from scaler.pools.endings import PoolEndings, PoolFinalizers
from scaler.pools.limits import enforced
from scaler.pools.row import PoolRow
from scaler.resources import pool_status
from scaler.resources.conditions import Lately
from scaler.resources.declared import Declared, Refused, Store
from scaler.resources.finalize import Both
from scaler.resources.writer import StatusWriter

log = logging.getLogger(__name__)

COLLECTION = f"/apis/{API_VERSION}/{POOL.plural}"


class ClusterPools:
    """Knows which pools are declared, and writes their statuses."""

    def __init__(self, client: KubeClient, watches: Watches, clock: Clock) -> None:
        """The watch, one of ``watches``, begins at once."""
        self._store: Store[GpuNodePool] = Store(POOL_KIND, GpuNodePool)
        self._counts = ProviderPools(client, clock)
        self._endings = PoolEndings(self._counts, PoolFinalizers(client))
        self._watch = watches.begin(COLLECTION, Both(self._store, self._endings))
        self._writer = StatusWriter(client, POOL)
        self._objects = Objects(client)
        self._refused: tuple[Refused, ...] = ()
        self._newest: dict[str, PoolStatus] = {}  # by uid; what the next one follows
        self._lately: dict[str, Lately] = {}  # by uid
        self._stuck: Mapping[str, tuple[Json, str]] = {}  # by uid: deletions that wait, and why
        self.pools: tuple[GpuNodePool, ...] = ()

    def settle(self, seconds: float) -> None:
        """Wait until it is known which there are, at most ``seconds``. A cluster without the definition has none."""
        self._watch.settle(seconds)

    def take(self) -> bool:
        """Take in what changed; whether anything did."""
        declared = self._store.take()
        if declared is None:
            return False
        refused = _refused(declared, self._objects)
        out = {one.place.uid for one in refused}
        pools = [one.resource for one in declared if one.resource is not None and one.place.uid not in out]
        self.pools = tuple(sorted(pools, key=lambda pool: pool.metadata.name))
        for one in refused:
            if one.text not in [before.text for before in self._refused]:
                log.error("%s %s is refused: %s", POOL_KIND, one.place.name, one.text)
        self._refused = refused
        self._remember(declared)
        return True

    def publish(self, rows: Mapping[str, PoolRow], now: float) -> None:
        """Write the statuses that are due at ``now`` (unix s), of the newest tick's ``rows``."""
        made = {}
        for uid, row in rows.items():
            before, lately = self._newest.get(uid) or PoolStatus(), self._lately.setdefault(uid, Lately())
            try:
                made[pool_status.place_of(row.resource)] = pool_status.of_row(row, before, now, lately)
            except Exception as error:  # noqa: BLE001 - one that has no status takes no other's away
                log.error("the status of %s cannot be made: %s; please report it", row.resource, where(error))
        for one in self._refused:
            before = self._newest.get(one.place.uid) or PoolStatus()
            made[one.place] = pool_status.of_refused(one, before, now)
        for item, why in self._stuck.values():
            place = pool_status.place_in(item)
            before = self._newest.get(place.uid) or pool_status.read(item.get("status") or {})
            made[place] = pool_status.of_ending(place, why, before, now)
        self._newest |= {place.uid: status for place, status in made.items()}
        self._writer.publish(made, now)

    def finish(self) -> None:
        """Put back the floors of pools that are being deleted, or name another provider now. For the leader alone."""
        self._stuck = self._endings.finish()

    def follow(self) -> None:
        """Another replica has written until now: what stands on the server is what the next statuses follow."""
        self._newest.clear()
        self._lately.clear()
        self._writer.forget()
        self._remember(self._store.known())

    def close(self) -> None:
        """End the writer; the watch is its owner's."""
        self._writer.close()

    def _remember(self, declared: tuple[Declared[GpuNodePool], ...]) -> None:
        uids = {one.place.uid for one in declared}
        self._newest = {uid: newest for uid, newest in self._newest.items() if uid in uids}
        self._lately = {uid: lately for uid, lately in self._lately.items() if uid in uids}
        for one in declared:
            if one.place.uid not in self._newest:
                found = pool_status.read(one.status)
                self._newest[one.place.uid] = found
                self._writer.stands(one.place.uid, found)


def _refused(declared: Sequence[Declared[GpuNodePool]], objects: Objects) -> tuple[Refused, ...]:
    """Pools that cannot be read, and those whose count an older one writes, too. Where both would mark it, the first
    one's mark keeps the second one off.
    """
    refused: list[Refused] = []
    first: dict[tuple[str, ...], tuple[GpuNodePool, bool]] = {}
    for one in sorted(declared, key=lambda d: (d.created, d.place.name)):
        pool = one.resource
        if pool is None:
            refused.append(Refused(one.place, Refusal.INVALID_SPEC, "; ".join(one.faults)))
        elif enforced(pool):
            writer = writer_for(pool.spec.provider, pool.metadata.name, objects)
            holder, marks = first.setdefault(writer.number, (pool, writer.marks))
            if holder is not pool and not (marks and writer.marks):
                said = f"spec.provider: found {writer.what}, which {holder} counts by; allowed: one pool an object"
                refused.append(Refused(one.place, Refusal.TARGET_TAKEN, said))
    return tuple(refused)
