"""Who wrote a field last."""

from __future__ import annotations

from typing import Any

from scaler.act.managers import last_writer

COUNT = ("spec", "replicas")


def item(*entries: tuple[str, str, dict[str, Any]]) -> dict[str, Any]:
    managed = [{"manager": manager, "time": time, "fieldsV1": fields} for manager, time, fields in entries]
    return {"metadata": {"managedFields": managed}}


OWNED = {"f:spec": {"f:replicas": {}}}
OTHER = {"f:spec": {"f:template": {"f:spec": {}}}}


def test_the_one_that_owns_the_field_is_named_and_nobody_else() -> None:
    found = item(("kubectl", "2026-01-02T00:00:00Z", OTHER), ("lagcast", "2026-01-01T00:00:00Z", OWNED))
    assert last_writer(found, COUNT) == "lagcast"
    assert last_writer(found, ("spec", "minReplicas")) is None


def test_of_several_the_newest_and_of_us_and_another_the_other() -> None:
    old, new = ("argocd", "2026-01-01T00:00:00Z", OWNED), ("flux", "2026-01-02T00:00:00Z", OWNED)
    assert last_writer(item(old, new), COUNT) == "flux"
    assert last_writer(item(old, ("lagcast", "2026-01-03T00:00:00Z", OWNED)), COUNT) == "argocd"


def test_objects_that_say_nothing() -> None:
    assert last_writer({}, COUNT) is None
    assert (
        last_writer({"metadata": {"managedFields": [{"manager": "x"}, {"fieldsV1": {"f:spec": "odd"}}]}}, COUNT) is None
    )
