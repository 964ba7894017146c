"""What the cluster declares, and which of it is run."""

from __future__ import annotations

from scaler.api.status import Refusal
from scaler.resources.declared import Choice, Declared, ScalerStore, choose
from tests.resources.made import item

AT = 0.0


def taken(store: ScalerStore) -> dict[str, Declared]:
    declared = store.take()
    assert declared is not None
    return {one.place.name: one for one in declared}


def stored(*items: dict[str, object]) -> ScalerStore:
    store = ScalerStore()
    store.listed(list(items), AT)
    return store


def choice(*items: dict[str, object]) -> Choice:
    return choose(taken(stored(*items)).values())


def test_nothing_is_known_before_the_first_list_and_an_empty_one_is_news() -> None:
    store = ScalerStore()
    assert store.take() is None
    store.listed([], AT)
    assert store.take() == ()
    assert store.take() is None


def test_made_changed_and_deleted() -> None:
    store = stored(item("a"))
    assert taken(store).keys() == {"a"}
    store.changed(item("b"), AT)
    assert taken(store).keys() == {"a", "b"}
    store.changed(item("b", generation=2, spec__replicas__max=20), AT)
    resource = taken(store)["b"].resource
    assert resource is not None
    assert resource.spec.replicas.max == 20
    store.removed(item("a"), AT)
    assert taken(store).keys() == {"b"}
    store.listed([item("c")], AT)
    assert taken(store).keys() == {"c"}


def test_a_status_that_we_wrote_ourselves_is_no_news() -> None:
    store = stored(item("a"))
    store.take()
    store.changed(item("a", status={"reason": "Steady"}), AT)
    assert store.take() is None


def test_an_annotation_is_news_though_it_is_no_generation() -> None:
    store = stored(item("a"))
    store.take()
    store.changed(item("a", metadata__annotations={"lagcast.io/paused": "true"}), AT)
    resource = taken(store)["a"].resource
    assert resource is not None
    assert resource.pause.everything


def test_one_that_is_being_deleted_is_gone() -> None:
    store = stored(item("a"), item("b", metadata__deletionTimestamp="2024-01-01T00:00:00Z"))
    assert taken(store).keys() == {"a"}
    store.changed(item("a", metadata__deletionTimestamp="2024-01-01T00:00:00Z"), AT)
    assert store.take() == ()


def test_one_that_was_made_anew_under_its_name_is_another() -> None:
    store = stored(item("a"))
    store.take()
    store.removed(item("a"), AT)
    store.changed(item("a", metadata__uid="uid-new"), AT)
    assert taken(store)["a"].place.uid == "uid-new"


def test_the_status_is_the_newest_one_that_was_seen() -> None:
    store = stored(item("a", status={"reason": "Steady"}))
    store.changed(item("a", generation=2, status={"reason": "Forecast"}), AT)
    assert taken(store)["a"].status == {"reason": "Forecast"}
    store.changed(item("a", generation=2, status={"reason": "MaxReplicas"}), AT)
    assert store.take() is None, "a status alone is no news"
    assert store.known()[0].status == {"reason": "MaxReplicas"}, "but a new leader asks for it"


def test_what_can_be_run_is_run_in_the_order_of_names() -> None:
    made = choice(item("b"), item("a"))
    assert [one.metadata.name for one in made.run] == ["a", "b"]
    assert made.refused == ()


def test_one_that_the_models_refuse_stops_no_other() -> None:
    made = choice(item("a", spec__replicas__max=0), item("b"))
    assert [one.metadata.name for one in made.run] == ["b"]
    (refused,) = made.refused
    assert (refused.place.name, refused.reason) == ("a", Refusal.INVALID_SPEC)
    assert "spec.replicas.max: found the number 0" in refused.text


def test_of_two_on_one_target_the_older_is_run() -> None:
    young = item("a", created="2024-01-02T00:00:00Z", spec__target={"name": "shared"})
    old = item("z", created="2024-01-01T00:00:00Z", spec__target={"name": "shared", "apiVersion": "apps/v1beta1"})
    made = choice(young, old)
    assert [one.metadata.name for one in made.run] == ["z"]
    (refused,) = made.refused
    assert (refused.place.name, refused.reason) == ("a", Refusal.TARGET_TAKEN)
    assert "PredictiveScaler default/z" in refused.text


def test_one_that_is_refused_takes_no_target() -> None:
    old = item("a", created="2023-01-01T00:00:00Z", spec__target={"name": "shared"}, spec__replicas__max=0)
    made = choice(old, item("b", created="2024-01-01T00:00:00Z", spec__target={"name": "shared"}))
    assert [one.metadata.name for one in made.run] == ["b"]


def test_what_a_policy_refuses_is_taken_out() -> None:
    made = choice(item("a"), item("b")).without({"uid-a": "no batches"})
    assert [one.metadata.name for one in made.run] == ["b"]
    (refused,) = made.refused
    assert (refused.place.name, refused.reason, refused.text) == ("a", Refusal.POLICY_REFUSED, "no batches")
