"""What every provider has to do behind the port NodePools, whatever server keeps its object.

Subclass :class:`NodePoolConformance` and give it a fixture ``world``.
"""

from __future__ import annotations

import abc
import dataclasses
import datetime
from typing import Any

import pytest

from scaler.act.nodepools.marks import BEFORE, EXPIRES, FIELD, LIFE, OWNER, VALUE
from scaler.act.nodepools.pools import ProviderPools
from scaler.act.nodepools.ports import Held
from scaler.act.nodepools.release import release
from scaler.api.gpu_node_pool import GpuNodePool
from scaler.clock import ManualClock
from scaler.errors import Conflict, OwnedByAnother, TargetNotFound
from scaler.kube import KubeClient
from scaler.plan.observation import Freshness
from scaler.plan.reasons import Reason

START = 1_790_000_000.0  # unix s
MARKED = ("capacityBuffer", "machineDeployment autoscaled", "placeholderPods", "integerField")
UNMARKED = ("karpenter", "machineDeployment")
PROVIDERS = MARKED + UNMARKED


def held(pool: GpuNodePool) -> Held:
    """What it may have raised by the provider that it names."""
    return Held(pool.metadata.name, pool.uid, pool.spec.provider)


def pool(provider: dict[str, Any], name: str = "h100") -> GpuNodePool:
    """A GpuNodePool as a user declares it."""
    spec = {
        "provider": provider,
        "node": {"gpus": 8, "replicas": 8, "selector": {"pool": name}},
        "nodes": {"min": 0, "max": 12},
        "mode": "Enforce",
    }
    body = {"apiVersion": "lagcast.io/v1alpha1", "kind": "GpuNodePool", "metadata": {"name": name}, "spec": spec}
    return GpuNodePool.model_validate(body)


@dataclasses.dataclass
class World(abc.ABC):
    """A server with one provider's objects."""

    provider: str
    kube: KubeClient
    clock: ManualClock = dataclasses.field(default_factory=lambda: ManualClock(START))

    def __post_init__(self) -> None:
        self.pools = ProviderPools(self.kube, self.clock, LIFE)

    @abc.abstractmethod
    def made(self, number: int, name: str = "h100") -> GpuNodePool:
        """A pool whose object exists, with that number; the pool's own object exists, too."""

    @abc.abstractmethod
    def missing(self) -> GpuNodePool:
        """A pool whose object does not exist."""

    @abc.abstractmethod
    def another(self, pool: GpuNodePool) -> GpuNodePool:
        """A second pool that names the same object."""

    @abc.abstractmethod
    def number(self, pool: GpuNodePool) -> int:
        """What stands there."""

    @abc.abstractmethod
    def change(self, pool: GpuNodePool, number: int) -> None:
        """Another writer writes it."""

    @abc.abstractmethod
    def noted(self, pool: GpuNodePool) -> dict[str, str]:
        """All annotations of the object on which the mark stands."""

    @property
    def marked(self) -> bool:
        return self.provider in MARKED


def ours(noted: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in noted.items() if name.startswith("lagcast.io/")}


def told(time: float) -> str:
    return datetime.datetime.fromtimestamp(time, tz=datetime.UTC).isoformat().replace("+00:00", "Z")


class NodePoolConformance:
    def test_the_number_that_stands_there_is_the_floor(self, world: World) -> None:
        reading = world.pools.floor(world.made(2))
        assert (reading.value, reading.freshness, reading.time) == (2, Freshness.FRESH, START)

    def test_up_down_and_up_again(self, world: World) -> None:
        made = world.made(2)
        for current, desired in ((2, 5), (5, 3), (3, 4)):
            world.pools.write(made, current, desired)
            assert world.number(made) == desired
            assert world.pools.floor(made).value == desired

    def test_down_to_none_but_a_floor_not_below_what_its_user_has_set(self, world: World) -> None:
        made = world.made(2)
        world.pools.write(made, 2, 5)
        world.pools.write(made, 5, 0)
        own = 2 if world.marked else 0
        assert (world.number(made), world.pools.floor(made).value, world.pools.least(made)) == (own, own, own)
        assert ours(world.noted(made)) == {}
        world.pools.write(made, own, 0)  # there is no mark now
        assert world.number(made) == own
        world.pools.write(made, own, 4)
        assert world.pools.floor(made).value == 4
        assert world.pools.least(made) == own

    def test_what_its_user_lowers_is_what_a_floor_is_not_below_from_there_on(self, world: World) -> None:
        made = world.made(2)
        world.pools.write(made, 2, 5)
        world.change(made, 1)
        assert world.pools.floor(made).value == 1
        world.pools.write(made, 1, 4)
        assert world.pools.floor(made).value == 4
        world.pools.write(made, 4, 0)
        assert world.number(made) == (1 if world.marked else 0)

    def test_what_changed_since_it_was_read_is_left_alone(self, world: World) -> None:
        made = world.made(2)
        world.change(made, 4)
        with pytest.raises(Conflict, match=r"4, not the 2"):
            world.pools.write(made, 2, 7)
        assert world.number(made) == 4

    def test_an_object_that_is_not_there_is_absent_and_not_zero(self, world: World) -> None:
        missing = world.missing()
        reading = world.pools.floor(missing)
        assert (reading.value, reading.freshness) == (None, Freshness.ABSENT)
        assert reading.reason is Reason.TARGET_NOT_FOUND
        with pytest.raises(TargetNotFound):
            world.pools.write(missing, 0, 3)
        world.pools.release(held(missing))

    def test_a_raised_number_is_marked_until_it_is_back(self, world: World) -> None:
        made = world.made(2)
        before = world.noted(made)
        world.pools.write(made, 2, 5)
        if world.marked:
            marked = ours(world.noted(made))
            assert marked.pop(FIELD)
            assert marked == {OWNER: "GpuNodePool/h100", VALUE: "5", BEFORE: "2", EXPIRES: told(START + LIFE)}
            world.pools.write(made, 5, 6)
            assert world.noted(made)[BEFORE] == "2"
            world.pools.write(made, 6, 2)
        assert ours(world.noted(made)) == {}
        assert world.noted(made).keys() == before.keys()

    def test_the_mark_is_renewed_when_a_third_of_its_life_is_over(self, world: World) -> None:
        made = world.made(2)
        world.pools.write(made, 2, 5)
        if not world.marked:
            return
        for after, expires in ((0.3 * LIFE, LIFE), (0.4 * LIFE, 1.4 * LIFE)):
            world.clock.advance(START + after - world.clock.now())
            assert world.pools.floor(made).value == 5
            world.pools.write(made, 5, 5)
            assert ours(world.noted(made))[EXPIRES] == told(START + expires)
            assert world.number(made) == 5

    def test_a_mark_of_a_clock_that_was_ahead_is_written_anew(self, world: World) -> None:
        """Else it would stand raised for as long after the controller is gone."""
        made = world.made(2)
        world.pools.write(made, 2, 5)
        if not world.marked:
            return
        for behind, renewed in ((50.0, False), (3600.0, True)):
            leader = ProviderPools(world.kube, ManualClock(START - behind))
            assert leader.floor(made).value == 5
            leader.write(made, 5, 5)
            assert ours(world.noted(made))[EXPIRES] == told(START + LIFE - behind * renewed)

    def test_release_puts_back_what_was_there(self, world: World) -> None:
        made = world.made(2)
        world.pools.write(made, 2, 5)
        world.pools.release(held(made))
        assert world.number(made) == (2 if world.marked else 5)  # nobody else would take a count of ours
        assert ours(world.noted(made)) == {}
        world.pools.release(held(made))
        assert world.number(made) == (2 if world.marked else 5)

    def test_a_dead_controller_leaves_nothing_raised(self, world: World) -> None:
        made = world.made(2)
        world.pools.write(made, 2, 5)
        assert release(world.kube, expired_only=True, now=START + LIFE - 1) == []
        assert world.number(made) == 5
        done = release(world.kube, expired_only=True, now=START + LIFE)
        if not world.marked:
            assert done == []
            return
        (line,) = done
        assert (line.owner, line.held, line.value, line.fault) == ("GpuNodePool/h100", 5, 2, "")
        assert world.number(made) == 2
        assert ours(world.noted(made)) == {}
        assert release(world.kube, expired_only=False, now=START + LIFE) == []

    def test_what_others_set_since_is_theirs(self, world: World) -> None:
        made = world.made(2)
        world.pools.write(made, 2, 5)
        world.change(made, 6)
        release(world.kube, expired_only=True, now=START + LIFE)
        assert world.number(made) == 6
        assert ours(world.noted(made)) == {}
        world.pools.write(made, 6, 7)
        world.change(made, 8)
        world.pools.release(held(made))
        assert world.number(made) == 8
        assert ours(world.noted(made)) == {}

    def test_all_is_released_before_its_time(self, world: World) -> None:
        made = world.made(2)
        world.pools.write(made, 2, 5)
        done = release(world.kube, expired_only=False, now=START)
        assert [line.held for line in done] == ([5] if world.marked else [])
        assert world.number(made) == (2 if world.marked else 5)

    def test_one_object_belongs_to_one_pool(self, world: World) -> None:
        made = world.made(2)
        world.pools.write(made, 2, 5)
        if not world.marked or world.provider == "placeholderPods":  # nothing on the object says whose it is
            return
        other = world.another(made)
        with pytest.raises(OwnedByAnother, match="GpuNodePool/h100"):
            world.pools.write(other, 5, 7)
        assert world.pools.floor(other).value == 5
        with pytest.raises(OwnedByAnother, match="GpuNodePool/h100"):
            world.pools.write(other, 5, 5)  # also where nothing would be written
        world.pools.release(held(other))
        assert world.number(made) == 5
