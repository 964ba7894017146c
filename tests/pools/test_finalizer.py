"""Lagcast's finalizer on a GpuNodePool, over the client: the object belongs to no namespace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scaler.act.finalizer import FINALIZER
from scaler.kube import KubeClient
from scaler.pools.endings import PoolFinalizers, pool_ref
from tests.cluster.api_server import ApiServer
from tests.floors.served import Objects
from tests.pools.made import pool

PATH = "/apis/lagcast.io/v1alpha1/gpunodepools/h100"


@pytest.fixture
def objects(api: ApiServer) -> Iterator[Objects]:
    served = Objects()
    api.answer = served.answer
    return served


def test_it_is_put_on_and_taken_off(objects: Objects, client: KubeClient) -> None:
    made = pool()
    objects.put(PATH, {"metadata": {"uid": made.uid}})
    finalizers = PoolFinalizers(client)
    finalizers.put(pool_ref(made))
    assert objects.kept[PATH]["metadata"]["finalizers"] == [FINALIZER]
    finalizers.take_off(pool_ref(made))
    assert not objects.kept[PATH]["metadata"].get("finalizers")
