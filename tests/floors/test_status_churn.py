"""Objects whose status is written all the time: that is no change of what was read, and holds up no floor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scaler.act.finalizer import path_of
from scaler.act.floor import Mark
from scaler.errors import Conflict
from tests.cluster.api_server import ApiServer, Asked
from tests.floors.conformance import EXPIRES, OWNER
from tests.floors.test_conformance import ServedWorld


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ServedWorld]:
    api = ApiServer()
    yield ServedWorld(api, tmp_path)
    api.close()


def stir(world: ServedWorld, path: str, times: int) -> list[Asked]:
    """Before each of the next ``times`` patches of ``path`` its status is written; the patches that came in."""
    answer, came = world.answer, []

    def stirred(asked: Asked) -> tuple[int, Any]:
        if (asked.method, asked.path) == ("PATCH", path):
            came.append(asked)
            if len(came) <= times:
                world.objects.kept[path]["metadata"]["resourceVersion"] += "0"
        return answer(asked)

    world.api.answer = stirred
    return came


def test_a_floor_is_raised_all_the_same(world: ServedWorld) -> None:
    found = world.hpa(2, 10)
    came = stir(world, world.path(found), 2)
    world.floors.write(found, Mark(OWNER, 7, 2, EXPIRES))
    assert (world.again(found).least, len(came)) == (7, 3)


def test_a_finalizer_is_put_on_all_the_same(world: ServedWorld) -> None:
    scaler = world.scaler()
    came = stir(world, path_of(scaler), 2)
    world.finalizers.put(scaler)
    assert (world.has_finalizer(scaler), len(came)) == (True, 3)


def test_it_is_not_tried_for_ever(world: ServedWorld) -> None:
    scaler = world.scaler()
    came = stir(world, path_of(scaler), 100)
    with pytest.raises(Conflict, match="again and again"):
        world.finalizers.put(scaler)
    assert len(came) < 10
