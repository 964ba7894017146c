"""What every FloorWriter and every Finalizers has to do, whatever cluster is behind it.

Subclass the suites and give them a fixture ``world``.
"""

from __future__ import annotations

import abc
import itertools

import pytest

from scaler.act.floor import Autoscaler, Mark
from scaler.act.order import ScalerRef
from scaler.act.ports import Finalizers, FloorWriter
from scaler.errors import Conflict, Forbidden, TargetError, TargetNotFound, Unreachable
from scaler.kube import MANAGER
from scaler.observe.ports import TargetRef

NAMES = (f"chat-{number}" for number in itertools.count(1))
EXPIRES = 1_900_000_000.0
OWNER = "shop/chat/0b0d7c1e-3d8c-4a52-9d2f-1f8f6d1f1a11"


class World(abc.ABC):
    """One cluster, and the ports under test on it."""

    floors: FloorWriter
    finalizers: Finalizers
    namespace: str

    def target(self, name: str) -> TargetRef:
        return TargetRef("apps/v1", "Deployment", self.namespace, name)

    @abc.abstractmethod
    def hpa(self, least: int | None, most: int) -> Autoscaler:
        """A new HorizontalPodAutoscaler on a Deployment of its own name, as it is read."""

    @abc.abstractmethod
    def scaled_object(self, least: int | None, most: int | None) -> Autoscaler:
        """A new ScaledObject on a Deployment of its own name, as it is read."""

    @abc.abstractmethod
    def edit(self, found: Autoscaler, least: int, manager: str) -> None:
        """Somebody else sets the minimum."""

    @abc.abstractmethod
    def limit(self, found: Autoscaler, most: int) -> None:
        """Somebody else sets the maximum."""

    @abc.abstractmethod
    def remove(self, found: Autoscaler) -> None: ...

    @abc.abstractmethod
    def scaler(self) -> ScalerRef:
        """A new PredictiveScaler."""

    @abc.abstractmethod
    def has_finalizer(self, scaler: ScalerRef) -> bool: ...

    @abc.abstractmethod
    def delete(self, scaler: ScalerRef) -> None:
        """Ask for its deletion."""

    @abc.abstractmethod
    def stop(self) -> None:
        """The API server goes away."""

    @abc.abstractmethod
    def start(self) -> None:
        """The API server is back."""

    @abc.abstractmethod
    def refuse(self) -> None:
        """From here on the ports under test may do nothing."""

    def again(self, found: Autoscaler) -> Autoscaler:
        (now,) = [one for one in self.floors.autoscalers(self.namespace) if one.uid == found.uid]
        return now


class FloorConformance:
    """The suite of FloorWriters."""

    @pytest.fixture
    def world(self) -> World:
        raise NotImplementedError

    def test_what_is_read(self, world: World) -> None:
        hpa, scaled = world.hpa(2, 10), world.scaled_object(None, None)
        assert (hpa.least, hpa.most, hpa.mark, hpa.marks, hpa.ceiling) == (2, 10, None, (), 10)
        assert (scaled.least, scaled.most, scaled.ceiling, scaled.or_usual(scaled.least)) == (None, None, 100, 0)
        for one in (hpa, scaled):
            assert one.scales(world.target(one.name))
            assert not one.scales(world.target("another"))
            assert one.writer in (None, "kubectl", "tests")
            assert one.uid in [other.uid for other in world.floors.autoscalers("")]

    @pytest.mark.parametrize("kind", ["hpa", "scaled object", "scaled object without a minimum"])
    def test_raised_renewed_lowered_and_put_back(self, world: World, kind: str) -> None:
        before = None if "without" in kind else 2
        found = world.hpa(2, 10) if kind == "hpa" else world.scaled_object(before, 10)
        for value, expires in ((7, EXPIRES), (7, EXPIRES + 300.0), (4, EXPIRES + 600.0)):
            mark = Mark(OWNER, value, before, expires)
            world.floors.write(world.again(found), mark)
            now = world.again(found)
            assert (now.least, now.mark, now.untouched, now.own) == (value, mark, True, before)
            assert now.writer == MANAGER
        world.floors.restore(world.again(found))
        now = world.again(found)
        assert (now.least, now.mark, now.marks) == (before, None, ())
        world.floors.restore(now)
        assert world.again(found).marks == (), "nothing is written where there is no mark"

    def test_only_what_was_read_is_written_over(self, world: World) -> None:
        for found in (world.hpa(2, 10), world.scaled_object(2, 10)):
            world.edit(found, 3, "kubectl")
            with pytest.raises(Conflict):
                world.floors.write(found, Mark(OWNER, 7, 2, EXPIRES))
            assert world.again(found).least == 3
            world.floors.write(world.again(found), Mark(OWNER, 7, 3, EXPIRES))
            raised = world.again(found)
            world.edit(found, 5, "kubectl")
            with pytest.raises(Conflict):
                world.floors.write(raised, Mark(OWNER, 8, 3, EXPIRES))
            with pytest.raises(Conflict):
                world.floors.restore(raised)
            assert world.again(found).least == 5

    def test_two_that_raise_the_same_one_at_once(self, world: World) -> None:
        found = world.scaled_object(None, None)
        world.floors.write(found, Mark(OWNER, 7, None, EXPIRES))
        with pytest.raises(Conflict):
            world.floors.write(found, Mark("shop/other/uid", 9, None, EXPIRES))
        now = world.again(found)
        assert (now.least, now.mark and now.mark.owner) == (7, OWNER)

    def test_what_was_renewed_or_taken_over_since_is_not_put_back(self, world: World) -> None:
        found = world.hpa(2, 10)
        world.floors.write(found, Mark(OWNER, 7, 2, EXPIRES))
        for mark in (Mark(OWNER, 7, 2, EXPIRES + 300.0), Mark("shop/other/uid", 7, 2, EXPIRES + 300.0)):
            before = world.again(found)
            world.floors.write(before, mark)
            with pytest.raises(Conflict):
                world.floors.restore(before)
            assert world.again(found).mark == mark

    def test_what_somebody_has_set_since_is_left(self, world: World) -> None:
        found = world.hpa(2, 10)
        world.floors.write(found, Mark(OWNER, 7, 2, EXPIRES))
        world.edit(found, 5, "somebody")
        now = world.again(found)
        assert (now.untouched, now.own, now.writer) == (False, 5, "somebody")
        world.floors.restore(now)
        now = world.again(found)
        assert (now.least, now.marks) == (5, ())

    def test_a_maximum_that_was_lowered_bounds_what_is_put_back(self, world: World) -> None:
        found = world.hpa(6, 10)
        world.floors.write(found, Mark(OWNER, 8, 6, EXPIRES))
        world.floors.write(world.again(found), Mark(OWNER, 3, 6, EXPIRES))
        world.limit(found, 4)
        world.floors.restore(world.again(found))
        assert world.again(found).least == 4

    def test_one_that_is_gone(self, world: World) -> None:
        found = world.hpa(2, 10)
        world.remove(found)
        with pytest.raises(TargetNotFound):
            world.floors.write(found, Mark(OWNER, 7, 2, EXPIRES))

    def test_a_value_that_is_refused_is_no_conflict(self, world: World) -> None:
        found = world.hpa(2, 10)
        with pytest.raises(TargetError) as refused:
            world.floors.write(found, Mark(OWNER, 11, 2, EXPIRES))
        assert type(refused.value) is TargetError
        assert world.again(found).mark is None

    def test_without_rights(self, world: World) -> None:
        found = world.hpa(2, 10)
        world.refuse()
        with pytest.raises(Forbidden):
            world.floors.autoscalers(world.namespace)
        with pytest.raises(Forbidden):
            world.floors.write(found, Mark(OWNER, 7, 2, EXPIRES))

    def test_an_outage(self, world: World) -> None:
        found = world.hpa(2, 10)
        world.stop()
        try:
            with pytest.raises(Unreachable):
                world.floors.autoscalers(world.namespace)
            with pytest.raises(Unreachable):
                world.floors.write(found, Mark(OWNER, 7, 2, EXPIRES))
        finally:
            world.start()


class FinalizerConformance:
    """The suite of Finalizers."""

    @pytest.fixture
    def world(self) -> World:
        raise NotImplementedError

    def test_put_and_taken_off_as_often_as_asked(self, world: World) -> None:
        scaler = world.scaler()
        for _ in range(2):
            world.finalizers.put(scaler)
            assert world.has_finalizer(scaler)
        for _ in range(2):
            world.finalizers.take_off(scaler)
            assert not world.has_finalizer(scaler)

    def test_never_on_one_that_is_going(self, world: World) -> None:
        scaler = world.scaler()
        world.finalizers.put(scaler)
        world.delete(scaler)
        with pytest.raises(TargetNotFound):
            world.finalizers.put(scaler)
        world.finalizers.take_off(scaler)
        world.finalizers.take_off(scaler)
        with pytest.raises(TargetNotFound):
            world.finalizers.put(scaler)

    def test_another_of_that_name_is_another(self, world: World) -> None:
        scaler = world.scaler()
        other = ScalerRef(scaler.namespace, scaler.name, "another")
        with pytest.raises(TargetNotFound):
            world.finalizers.put(other)
        world.finalizers.put(scaler)
        world.finalizers.take_off(other)
        assert world.has_finalizer(scaler)
