"""What every ClusterSource, ReplicaWriter and EventWriter has to do, whatever cluster is behind it.

Subclass :class:`ClusterConformance` and give it a fixture ``world``. A world makes the cluster's side of the story;
it may run on real or on made-up time.
"""

from __future__ import annotations

import abc
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from scaler.act.ports import EventWriter, ReplicaWriter
from scaler.errors import (
    Conflict,
    Forbidden,
    OwnedByAnother,
    TargetError,
    TargetNotFound,
    TargetWithoutScale,
    Unreachable,
)
from scaler.kube import MANAGER
from scaler.observe.ports import ClusterSource, TargetRef
from scaler.plan.observation import Freshness, Reading, ReplicaState
from scaler.plan.reasons import Reason


@dataclass(frozen=True)
class Told:
    """One Event as a reader finds it."""

    reason: str
    message: str
    warning: bool
    count: int


class World(abc.ABC):
    """One cluster, and the ports under test on it."""

    source: ClusterSource
    writer: ReplicaWriter
    events: EventWriter
    lead: float  # s from created to Ready of the deployed pods, about
    tick: float  # s between samples
    patience: float  # s in which whatever is awaited has happened

    @abc.abstractmethod
    def now(self) -> float: ...

    @abc.abstractmethod
    def wait(self, seconds: float) -> None:
        """Let time pass."""

    @abc.abstractmethod
    def deploy(self, replicas: int) -> TargetRef:
        """A new Deployment of a name of its own; its pods may still be coming up."""

    @abc.abstractmethod
    def missing(self) -> TargetRef:
        """A Deployment that does not exist."""

    @abc.abstractmethod
    def without_scale(self) -> TargetRef:
        """An object that exists, of a kind without /scale."""

    @abc.abstractmethod
    def set_replicas(self, target: TargetRef, replicas: int) -> None:
        """Another writer sets the count."""

    @abc.abstractmethod
    def own(self, target: TargetRef, autoscaler: str) -> None:
        """A HorizontalPodAutoscaler of that name scales the target from here on."""

    @abc.abstractmethod
    def roll(self, target: TargetRef) -> None:
        """Change the pod template."""

    @abc.abstractmethod
    def remove(self, target: TargetRef) -> None: ...

    @abc.abstractmethod
    def stop(self) -> None:
        """The API server goes away."""

    @abc.abstractmethod
    def start(self) -> None:
        """The API server is back."""

    @abc.abstractmethod
    def refuse(self) -> None:
        """From here on the ports under test may do nothing."""

    @abc.abstractmethod
    def told(self, target: TargetRef) -> list[Told]:
        """The Events on a target."""

    def read(self, target: TargetRef) -> Reading[ReplicaState]:
        return self.source.sample(self.now(), [target])[target]

    def state(self, target: TargetRef) -> ReplicaState:
        reading = self.read(target)
        assert reading.freshness is Freshness.FRESH, reading
        assert reading.value is not None
        return reading.value

    def until(self, target: TargetRef, wanted: Callable[[ReplicaState], bool]) -> ReplicaState:
        """Sample each tick until the state is as wanted."""
        end = self.now() + self.patience
        while True:
            state = self.state(target)
            if wanted(state):
                return state
            assert self.now() < end, f"not within {self.patience} s; at last {state}"
            self.wait(self.tick)

    def ready(self, replicas: int) -> TargetRef:
        """A Deployment all of whose pods are Ready, whose lead times were fetched."""
        target = self.deploy(replicas)
        self.until(target, lambda s: s.ready == replicas and s.desired == replicas)
        self.source.lead_times(target)
        return target


class ClusterConformance:
    """The suite."""

    @pytest.fixture
    def world(self) -> World:
        raise NotImplementedError

    def test_counts_what_is_ready(self, world: World) -> None:
        state = world.state(world.ready(2))
        assert (state.desired, state.ready, state.pending_since, state.terminating) == (2, 2, (), 0)
        assert state.template
        assert not state.updating

    def test_a_target_that_does_not_exist_is_absent(self, world: World) -> None:
        reading = world.read(world.missing())
        assert (reading.value, reading.freshness) == (None, Freshness.ABSENT)
        assert reading.reason is Reason.TARGET_NOT_FOUND
        assert world.missing().name in reading.detail

    def test_a_target_without_scale_is_absent(self, world: World) -> None:
        reading = world.read(world.without_scale())
        assert (reading.value, reading.freshness) == (None, Freshness.ABSENT)
        assert reading.reason is Reason.TARGET_WITHOUT_SCALE
        assert "/scale" in reading.detail

    def test_each_target_gets_its_own_reading(self, world: World) -> None:
        one, two, missing = world.ready(1), world.ready(2), world.missing()
        readings = world.source.sample(world.now(), [two, missing, one])
        assert set(readings) == {one, two, missing}
        counts = {target: reading.value.ready for target, reading in readings.items() if reading.value}
        assert counts == {one: 1, two: 2}

    def test_pods_on_their_way_are_pending_until_ready(self, world: World) -> None:
        target = world.ready(1)
        asked = world.now()
        world.writer.write(target, 1, 4)
        assert world.state(target).desired == 4
        state = world.until(target, lambda s: len(s.pending_since) == 3)
        assert state.ready == 1
        assert all(asked - 1.5 <= since <= world.now() for since in state.pending_since)
        state = world.until(target, lambda s: s.ready == 4)
        assert state.pending_since == ()
        assert not state.updating

    def test_each_pod_tells_its_lead_time_once(self, world: World) -> None:
        target = world.ready(1)
        asked = world.now()
        world.writer.write(target, 1, 3)
        world.source.asked(target, 3, asked)
        world.until(target, lambda s: s.ready == 3)
        told = world.source.lead_times(target)
        assert len({t.pod for t in told}) == len(told) == 2
        for lead in told:
            assert lead.patch_to_created is not None
            assert 0.0 <= lead.patch_to_created < 2.5
            assert lead.created_to_scheduled is not None
            assert lead.scheduled_to_ready is not None
            assert lead.ready_to_partitions is None
            assert lead.total == pytest.approx(world.lead, abs=2.5)
            assert asked <= lead.ready_at <= world.now() + 0.5
        world.wait(world.tick)
        world.state(target)
        assert world.source.lead_times(target) == ()

    def test_pods_that_were_there_teach_too(self, world: World) -> None:
        target = world.deploy(2)
        world.until(target, lambda s: s.ready == 2)
        told = world.source.lead_times(target)
        assert len(told) == 2
        assert [lead.patch_to_created for lead in told] == [None, None]
        assert all(lead.total == pytest.approx(world.lead, abs=2.5) for lead in told)

    def test_pods_of_another_writer_have_no_patch_of_ours(self, world: World) -> None:
        target = world.ready(1)
        world.set_replicas(target, 2)
        world.until(target, lambda s: s.ready == 2)
        assert [lead.patch_to_created for lead in world.source.lead_times(target)] == [None]

    def test_scales_in(self, world: World) -> None:
        target = world.ready(3)
        world.writer.write(target, 3, 1)
        assert world.until(target, lambda s: s.ready == 1 and s.terminating == 0).desired == 1

    def test_scales_from_and_to_zero(self, world: World) -> None:
        target = world.ready(0)
        template = world.state(target).template
        world.writer.write(target, 0, 3)
        known = world.until(target, lambda s: s.ready == 3).template
        assert known != template
        world.writer.write(target, 3, 0)
        state = world.until(target, lambda s: s.ready == 0 and s.terminating == 0)
        assert (state.desired, state.pending_since) == (0, ())
        assert state.template == known  # no pods is not another template

    def test_the_same_count_again_changes_nothing(self, world: World) -> None:
        target = world.ready(2)
        world.writer.write(target, 2, 2)
        assert world.state(target).desired == 2

    @pytest.mark.parametrize(("read", "found"), [(2, 4), (0, 2), (2, 0)])
    def test_never_writes_over_somebody_else(self, world: World, read: int, found: int) -> None:
        target = world.ready(read)
        world.set_replicas(target, found)
        with pytest.raises(Conflict, match=target.name):
            world.writer.write(target, read, 3)
        assert world.state(target).desired == found

    def test_a_count_that_another_autoscaler_owns_is_left_alone(self, world: World) -> None:
        target, other = world.ready(2), world.ready(1)
        world.own(target, "somebody")
        with pytest.raises(OwnedByAnother, match="somebody"):
            world.writer.write(target, 2, 3)
        assert world.state(target).desired == 2
        world.writer.write(other, 1, 2)
        assert world.state(other).desired == 2

    def test_a_count_that_cannot_be_is_refused(self, world: World) -> None:
        target = world.ready(1)
        with pytest.raises(TargetError, match="-1") as refused:
            world.writer.write(target, 1, -1)
        assert not isinstance(refused.value, Conflict)
        assert world.state(target).desired == 1

    def test_who_wrote_the_count_last_is_known(self, world: World) -> None:
        target = world.ready(1)
        world.writer.write(target, 1, 2)
        assert world.writer.last_writer(target) == MANAGER
        world.set_replicas(target, 3)
        assert world.writer.last_writer(target) == "kubectl"
        world.writer.write(target, 3, 1)
        assert world.writer.last_writer(target) == MANAGER
        assert world.writer.last_writer(world.missing()) is None

    def test_a_write_names_what_is_wrong_with_the_target(self, world: World) -> None:
        with pytest.raises(TargetNotFound, match=world.missing().name):
            world.writer.write(world.missing(), 1, 2)
        with pytest.raises(TargetWithoutScale, match="/scale"):
            world.writer.write(world.without_scale(), 1, 2)

    def test_an_account_without_rights(self, world: World) -> None:
        target = world.ready(1)
        world.refuse()
        reading = world.read(target)
        assert (reading.value, reading.freshness, reading.reason) == (None, Freshness.ERROR, Reason.FORBIDDEN)
        assert "forbidden" in reading.detail
        with pytest.raises(Forbidden, match=target.name):
            world.writer.write(target, 1, 2)
        world.events.event(target, "Applied", "1 -> 2: no right to say so", warning=False, now=world.now())

    def test_a_rolling_update_is_seen_from_begin_to_end(self, world: World) -> None:
        target = world.ready(2)
        before = world.state(target).template
        world.roll(target)
        assert world.until(target, lambda s: s.updating).template != before
        after = world.until(target, lambda s: not s.updating and s.ready == 2 and s.terminating == 0)
        assert after.template != before

    def test_a_target_that_goes_and_comes_back(self, world: World) -> None:
        target = world.ready(1)
        world.remove(target)
        end = world.now() + world.patience
        while (reading := world.read(target)).freshness is not Freshness.ABSENT:
            assert world.now() < end, reading
            world.wait(world.tick)
        assert reading.reason is Reason.TARGET_NOT_FOUND

    def test_a_target_no_longer_wanted_is_forgotten(self, world: World) -> None:
        target, other = world.ready(1), world.ready(1)
        world.source.sample(world.now(), [other])
        assert world.state(target).ready == 1

    def test_an_outage_is_stale_then_an_error_then_over(self, world: World) -> None:
        target, unknown = world.ready(2), world.deploy(1)
        before = world.read(target)
        world.stop()
        try:
            world.wait(world.tick)
            outage = world.source.sample(world.now(), [target, unknown])
            reading = outage[target]
            assert (reading.value, reading.time) == (before.value, before.time)
            assert (reading.freshness, reading.reason) == (Freshness.STALE, Reason.KUBERNETES_UNREACHABLE)
            assert outage[unknown].freshness is Freshness.ERROR
            with pytest.raises(Unreachable):
                world.writer.write(target, 2, 3)
            world.events.event(target, "Applied", "2 -> 3: nobody hears it", warning=False, now=world.now())
            later = world.source.sample(world.now() + 120.0, [target, unknown])
            assert {(r.value, r.freshness) for r in later.values()} == {(None, Freshness.ERROR)}
        finally:
            world.start()
        recovered = [reading]
        for _ in range(2):
            recovered.append(world.source.sample(world.now(), [target])[target])
            if recovered[-1].fresh:
                break
            world.wait(2.0)
        assert recovered[-1].fresh, recovered
        assert recovered[-1].value == before.value
        world.writer.write(target, 2, 3)
        world.until(target, lambda s: s.ready == 3)

    def test_an_event_can_be_read_on_its_target(self, world: World) -> None:
        target, other = world.ready(1), world.ready(1)
        world.events.event(target, "Applied", "4 -> 9: 312 requests/s in 95 s", warning=False, now=world.now())
        world.events.event(target, "PatchFailed", "4 -> 9: refused", warning=True, now=world.now())
        told = sorted(world.told(target), key=lambda t: t.reason)
        assert [replace(t, count=1) for t in told] == [
            Told("Applied", "4 -> 9: 312 requests/s in 95 s", False, 1),
            Told("PatchFailed", "4 -> 9: refused", True, 1),
        ]
        assert world.told(other) == []


NAMES = itertools.count(1)
