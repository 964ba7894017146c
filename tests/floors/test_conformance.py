"""The stand-ins, and the adapters over a server that keeps objects, pass the same suite as the real API server does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scaler.act.finalizer import FINALIZER, ClusterFinalizers, path_of
from scaler.act.floor import HPA, Autoscaler
from scaler.act.floors import KubernetesFloors
from scaler.act.order import ScalerRef
from scaler.kube import Json, connect
from scaler.standins.autoscalers import FakeFinalizers, FakeFloors
from tests.cluster.api_server import ApiServer, Asked, status
from tests.floors.conformance import NAMES, FinalizerConformance, FloorConformance, World
from tests.floors.served import HPAS, SCALED_OBJECTS, Objects


class FakeWorld(World):
    namespace = "shop"

    def __init__(self) -> None:
        self.floors = self.fake = FakeFloors()
        self.finalizers = self.marks = FakeFinalizers()

    def hpa(self, least: int | None, most: int) -> Autoscaler:
        name = next(NAMES)
        self.fake.hpa(self.target(name), name, least, most)
        return self.fake.one(self.namespace, name)

    def scaled_object(self, least: int | None, most: int | None) -> Autoscaler:
        name = next(NAMES)
        self.fake.scaled_object(self.target(name), name, least, most)
        return self.fake.one(self.namespace, name)

    def edit(self, found: Autoscaler, least: int, manager: str) -> None:
        self.fake.edit(found.namespace, found.name, manager, least)

    def limit(self, found: Autoscaler, most: int) -> None:
        known = self.fake.one(found.namespace, found.name)
        self.fake.edit(found.namespace, found.name, known.writer or "", known.least, most)

    def remove(self, found: Autoscaler) -> None:
        self.fake.remove(found.namespace, found.name)

    def scaler(self) -> ScalerRef:
        made = ScalerRef("shop", next(NAMES), "uid")
        self.marks.there.add(made)
        return made

    def has_finalizer(self, scaler: ScalerRef) -> bool:
        return scaler in self.marks.on

    def delete(self, scaler: ScalerRef) -> None:
        self.marks.going.add(scaler)

    def stop(self) -> None:
        self.fake.down = self.marks.down = True

    def start(self) -> None:
        self.fake.down = self.marks.down = False

    def refuse(self) -> None:
        self.fake.forbidden = True


class ServedWorld(World):
    namespace = "shop"

    def __init__(self, api: ApiServer, folder: Path) -> None:
        self.objects, self.api = Objects(), api
        self.down = self.forbidden = False
        for collection in (HPAS, SCALED_OBJECTS):
            self.objects.serve(collection.format("shop"))
        api.answer = self.answer
        client = connect(api.kubeconfig(folder), timeout=1.0)
        self.floors, self.finalizers = KubernetesFloors(client), ClusterFinalizers(client)

    def answer(self, asked: Asked) -> tuple[int, Json]:
        if self.down:
            return 503, status(503, "the server is away")
        if asked.path == "/apis/keda.sh/v1alpha1":
            return 200, {"resources": [{"name": "scaledobjects", "kind": "ScaledObject", "namespaced": True}]}
        if self.forbidden:
            return 403, status(403, "horizontalpodautoscalers is forbidden")
        if "/namespaces/" not in asked.path:  # of all namespaces: there is just the one
            version, _, plural = asked.path.rpartition("/")
            asked = Asked(asked.method, f"{version}/namespaces/shop/{plural}", asked.query, asked.headers, asked.body)
        before = self.objects.kept.get(asked.path)
        code, body = self.objects.answer(asked)
        if asked.method == "PATCH" and before is not None and code == 200:
            spec = body.get("spec") or {}
            if spec.get("minReplicas", 0) > spec.get("maxReplicas", 10**9):
                self.objects.kept[asked.path] = before
                return 422, status(422, "spec.maxReplicas: must be greater than or equal to minReplicas")
            if body["metadata"].get("deletionTimestamp") and not body["metadata"].get("finalizers"):
                del self.objects.kept[asked.path]
        return code, body

    def make(self, collection: str, spec: Json, field: str, manager: str = "kubectl") -> Autoscaler:
        name = next(NAMES)
        spec = {k: v for k, v in spec.items() if v is not None}
        spec["scaleTargetRef"] = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
        self.objects.put(f"{collection.format('shop')}/{name}", {"spec": spec}, manager, field)
        return next(one for one in self.floors.autoscalers("shop") if one.name == name)

    def hpa(self, least: int | None, most: int) -> Autoscaler:
        return self.make(HPAS, {"minReplicas": least, "maxReplicas": most}, "minReplicas")

    def scaled_object(self, least: int | None, most: int | None) -> Autoscaler:
        field = "minReplicaCount" if least is not None else ""
        return self.make(SCALED_OBJECTS, {"minReplicaCount": least, "maxReplicaCount": most}, field)

    def path(self, found: Autoscaler) -> str:
        return f"{(HPAS if found.fields is HPA else SCALED_OBJECTS).format('shop')}/{found.name}"

    def edit(self, found: Autoscaler, least: int, manager: str) -> None:
        item = self.objects.kept[self.path(found)]
        field = found.fields.least
        self.objects.put(self.path(found), {**item, "spec": {**item["spec"], field: least}}, manager, field)

    def limit(self, found: Autoscaler, most: int) -> None:
        item = self.objects.kept[self.path(found)]
        self.objects.put(self.path(found), {**item, "spec": {**item["spec"], found.fields.most: most}})

    def remove(self, found: Autoscaler) -> None:
        del self.objects.kept[self.path(found)]

    def scaler(self) -> ScalerRef:
        made = ScalerRef("shop", next(NAMES), "uid")
        self.objects.put(path_of(made), {"metadata": {"uid": "uid"}})
        return made

    def has_finalizer(self, scaler: ScalerRef) -> bool:
        return FINALIZER in (self.objects.kept[path_of(scaler)]["metadata"].get("finalizers") or ())

    def delete(self, scaler: ScalerRef) -> None:
        self.objects.kept[path_of(scaler)]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    def stop(self) -> None:
        self.down = True

    def start(self) -> None:
        self.down = False

    def refuse(self) -> None:
        self.forbidden = True


@pytest.fixture(params=["stand-in", "served"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "stand-in":
        yield FakeWorld()
        return
    api = ApiServer()
    yield ServedWorld(api, tmp_path)
    api.close()


class TestFloors(FloorConformance):
    @pytest.fixture
    def world(self, world: World) -> World:
        return world


class TestFinalizers(FinalizerConformance):
    @pytest.fixture
    def world(self, world: World) -> World:
        return world
