"""The cluster's scalers and the controller: what is declared goes in before a tick, what was decided out after it."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from pathlib import PurePosixPath

from scaler.act.finalizer import ClusterFinalizers
from scaler.act.floors import KubernetesFloors
from scaler.api.gpu_node_pool import POOL_KIND
from scaler.api.predictive_scaler import PredictiveScaler, to_service
from scaler.api.status import ScalerStatus
from scaler.clock import Clock
from scaler.controller import Controller, MakePolicy, Row
from scaler.errors import ConfigError, LagcastError, TargetNotFound, where
from scaler.kube import KubeClient
from scaler.observe.watch import Timings, Watches
from scaler.pools.groups import arrange, planning_groups
from scaler.resources import status
from scaler.resources.conditions import Lately
from scaler.resources.credentials import CREDENTIALS
from scaler.resources.declared import Choice, Declared, Place, Refused, ScalerStore, choose, place_of
from scaler.resources.finalize import Both, Endings, Finalizing
from scaler.resources.pools import ClusterPools
from scaler.resources.writer import COLLECTION, StatusWriter
from scaler.telemetry import Telemetry

log = logging.getLogger(__name__)

TIMINGS = Timings(refused=10.0)  # definitions are often installed just after the controller
FIRST_LIST = 5.0  # s to wait for it before the first tick; then the scalers come when they come
CLOSE_TIME = 1.0  # s


class ClusterScalers:
    """Keeps a controller configured with the PredictiveScalers of all namespaces, and writes their statuses."""

    def __init__(
        self,
        client: KubeClient,
        controller: Controller,
        make_policy: MakePolicy,
        telemetry: Telemetry,
        clock: Clock,
        tick: float,
        timings: Timings = TIMINGS,
        credentials: PurePosixPath = CREDENTIALS,
    ) -> None:
        """``tick`` (s) is the controller's; the watch begins at once. ``credentials``: see ``choose``."""
        self._credentials = credentials
        self._controller = controller
        self._make_policy = make_policy
        self._telemetry = telemetry
        self._clock = clock
        self._tick = tick
        self._store = ScalerStore()
        self._watches = Watches(client, clock, random.Random(), timings)
        self._endings = Endings()
        self._watch = self._watches.begin(COLLECTION, Both(self._store, self._endings))
        self._finalizing = Finalizing(KubernetesFloors(client), ClusterFinalizers(client))
        self._writer = StatusWriter(client)
        self._pools = ClusterPools(client, self._watches, clock)
        self._run: tuple[PredictiveScaler, ...] = ()
        self._refused: tuple[Refused, ...] = ()
        self._newest: dict[str, ScalerStatus] = {}  # by uid; what the next one follows
        self._lately: dict[str, Lately] = {}  # by uid
        self._led = controller.led
        self._unfinished = False  # what is declared could not be taken over, or not all of it: once more
        self._left_out: Mapping[str, str] = {}  # pools that could not be planned: name -> why
        telemetry.config_ok.set(1)

    @property
    def missing(self) -> str | None:
        """Why it is not known which scalers there are; None when it is."""
        state = self._watch.state
        if state.synced:
            return None
        if isinstance(state.error, TargetNotFound):
            return f"{state.error}: are the definitions installed? `lagcast crd | kubectl apply --server-side -f -`"
        return str(state.error or "the PredictiveScalers have not been listed yet")

    def take_over(self) -> tuple[PredictiveScaler, ...]:
        """Configure the controller with what is known after a while; the scalers that are run."""
        self._watch.settle(FIRST_LIST)
        self._pools.settle(FIRST_LIST)
        try:
            self.before_tick()
        except Exception as error:  # noqa: BLE001 - it is tried again before each tick; not to start would not help
            log.error("taking the scalers over failed: %s; it is tried again; please report it", where(error))
        return self._run

    def before_tick(self) -> None:
        """Configure the controller anew if a scaler or a pool was made, changed or deleted."""
        unfinished, self._unfinished = self._unfinished, True  # first: what was taken is not handed over again
        taken, pools = self._store.take(), self._pools.take()
        if taken is None and not pools and not unfinished:
            self._unfinished = False
            return
        declared = self._store.known() if taken is None else taken
        choice = self._configure(choose(declared, self._credentials))
        news = set(choice.refused) - set(self._refused)
        for one in sorted(news, key=lambda r: (r.place.namespace, r.place.name)):
            log.error("%s/%s is not run: %s: %s", one.place.namespace, one.place.name, one.reason, one.text)
        self._telemetry.config_errors.inc(len(news))
        self._telemetry.config_ok.set(0 if choice.refused else 1)
        self._run, self._refused = choice.run, choice.refused
        self._remember(declared)
        self._unfinished = bool(self._left_out)
        if taken is not None or pools or not self._unfinished:
            log.info("%d scalers are run, %d are not", len(choice.run), len(choice.refused))

    def after_tick(self) -> None:
        """Where this replica leads: put back the floors of scalers that are to go, and say in the statuses what the
        newest tick decided, where that is due."""
        led, self._led = self._led, self._controller.led
        if not self._led:
            return
        self._finalizing.finish(self._endings.waiting())
        try:
            self._pools.finish()
        except Exception as error:  # noqa: BLE001 - the statuses are written all the same
            log.error("putting back what pools raised failed: %s; it is tried again; please report it", where(error))
        if not led:  # what the leader before has written is what the first ones follow
            self._newest.clear()
            self._lately.clear()
            self._writer.forget()
            self._remember(self._store.known())
            self._pools.follow()
        now = self._clock.now()
        made = {}
        for row in self._controller.rows.values():
            try:
                place, made_of = self._of(row, now)
            except Exception as error:  # noqa: BLE001 - one that has no status takes no other's away
                log.error("the status of %s cannot be made: %s; please report it", row.resource, where(error))
                continue
            made[place] = made_of
        made |= {one.place: status.of_refused(one, self._before(one.place), now) for one in self._refused}
        self._newest |= {place.uid: one for place, one in made.items()}
        self._writer.publish(made, now)
        self._pools.publish(self._controller.pool_rows, now)

    def close(self) -> None:
        """End the watch and the writer."""
        self._watches.close(CLOSE_TIME)
        self._writer.close()
        self._pools.close()

    def _of(self, row: Row, now: float) -> tuple[Place, ScalerStatus]:
        place = place_of(row.resource)
        return place, status.of_row(row, self._before(place), now, self._lately.setdefault(place.uid, Lately()))

    def _before(self, place: Place) -> ScalerStatus:
        return self._newest.get(place.uid) or ScalerStatus()

    def _remember(self, declared: tuple[Declared[PredictiveScaler], ...]) -> None:
        """What stands on the server is what the first status follows; what is gone is forgotten."""
        uids = {one.place.uid for one in declared}
        self._newest = {uid: newest for uid, newest in self._newest.items() if uid in uids}
        self._lately = {uid: lately for uid, lately in self._lately.items() if uid in uids}
        for one in declared:
            if one.place.uid not in self._newest:
                found = status.read(one.status)
                self._newest[one.place.uid] = found
                self._writer.stands(one.place.uid, found)

    def _configure(self, choice: Choice) -> Choice:
        pools = self._pools.pools
        try:
            self._controller.configure(choice.run, pools)
        except Exception:  # noqa: BLE001 - a policy may refuse a resource in any way; it must not stop the others
            choice = choice.without(self._policy_refuses(choice.run))
        else:
            self._left_out = {}
            return choice
        out: Mapping[str, str] = {}
        try:
            self._controller.configure(choice.run, pools)
        except Exception as error:  # noqa: BLE001 - as above: each alone was not refused
            out = self._configure_without(choice.run, where(error))
        for pool in sorted(name for name, text in out.items() if self._left_out.get(name) != text):
            log.error(
                "%s %s is left out, and its scalers are planned alone: %s; it is tried again; please report it",
                POOL_KIND,
                pool,
                out[pool],
            )
        self._left_out = out
        return choice

    def _configure_without(self, resources: tuple[PredictiveScaler, ...], error: str) -> Mapping[str, str]:
        """Configure without the pools that cannot be planned, or, where that is not it, without any; name -> why."""
        pools = self._pools.pools
        if out := self._cannot_be_planned(resources):
            try:
                self._controller.configure(resources, tuple(pool for pool in pools if pool.metadata.name not in out))
            except Exception as other:  # noqa: BLE001 - there is another fault
                error = where(other)
            else:
                return out
        self._controller.configure(resources)
        return {pool.metadata.name: error for pool in pools}

    def _cannot_be_planned(self, resources: tuple[PredictiveScaler, ...]) -> Mapping[str, str]:
        """Name -> why, of each pool whose scalers get no policy together."""
        said: dict[str, str] = {}
        maker = planning_groups(self._make_policy)
        if maker is None:
            return said
        for pool in self._pools.pools:
            try:
                for group in arrange(resources, (pool,), self._tick, together=True):
                    if group.pool is not None:
                        maker.together(group.members)
            except Exception as error:  # noqa: BLE001 - as above
                said[pool.metadata.name] = where(error)
        return said

    def _policy_refuses(self, resources: tuple[PredictiveScaler, ...]) -> Mapping[str, str]:
        """uid -> what the policy says, of each that it refuses."""
        said = {}
        for resource in resources:
            try:
                self._make_policy(resource, to_service(resource, self._tick))
            except ConfigError as error:
                said[resource.uid] = str(error)
            except Exception as error:  # noqa: BLE001 - as above
                said[resource.uid] = str(error) if isinstance(error, LagcastError) else where(error)
        return said
