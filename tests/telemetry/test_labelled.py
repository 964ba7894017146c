"""The series of one metric by their labels: what the client's registry is told of them."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Summary, generate_latest

from scaler.metrics.catalog import PREFIX, Kind, Metric, Part
from scaler.metrics.labelled import Labelled


def labelled(kind: Kind, registry: CollectorRegistry | None = None) -> Labelled:
    return Labelled(Metric(Part.LOAD, "some", kind, "Some text", ("part",)), registry or CollectorRegistry())


def test_it_is_shown_as_the_clients_own_objects_are() -> None:
    """Line by line, but for the times at which a counter or a summary was made."""
    names = ("namespace", "name", "part")
    for kind, theirs in ((Kind.GAUGE, Gauge), (Kind.COUNTER, Counter), (Kind.SUMMARY, Summary)):
        ours, registry = CollectorRegistry(), CollectorRegistry()
        mine, other = labelled(kind, ours), theirs(PREFIX + "some", "Some text", names, registry=registry)
        for value, labels in ((2.5, ("a", "b", "c")), (1.0, ("a", "b", 'd"\\\n')), (4.0, ("a", "b", "c"))):
            {Kind.GAUGE: mine.set, Kind.COUNTER: mine.add, Kind.SUMMARY: mine.observe}[kind](value, *labels)
            own = other.labels(*labels)
            getattr(own, {Kind.GAUGE: "set", Kind.COUNTER: "inc", Kind.SUMMARY: "observe"}[kind])(value)
        shown, expected = (generate_latest(one).decode().splitlines() for one in (ours, registry))
        assert shown == [line for line in expected if "_created" not in line]
        assert len(shown) == {Kind.GAUGE: 4, Kind.COUNTER: 4, Kind.SUMMARY: 6}[kind]


def test_what_has_begun_is_0_and_goes_on_from_there() -> None:
    registry = CollectorRegistry()
    summary = labelled(Kind.SUMMARY, registry)
    labels = {"namespace": "a", "name": "b", "part": "c"}
    summary.begin("a", "b", "c")
    assert registry.get_sample_value("lagcast_some_count", labels) == 0.0
    summary.observe(3.0, "a", "b", "c")
    summary.begin("a", "b", "c")
    assert registry.get_sample_value("lagcast_some_count", labels) == 1.0
    assert registry.get_sample_value("lagcast_some_sum", labels) == 3.0


def test_what_is_removed_is_all_with_these_labels_and_begins_anew() -> None:
    registry = CollectorRegistry()
    counter = labelled(Kind.COUNTER, registry)
    for labels in (("a", "b", "c"), ("a", "b", "d"), ("a", "x", "c")):
        counter.add(1.0, *labels)
    counter.remove(namespace="a", part="c")
    left = [sample.labels for family in registry.collect() for sample in family.samples]
    assert left == [{"namespace": "a", "name": "b", "part": "d"}]
    counter.add(1.0, "a", "b", "c")
    assert registry.get_sample_value("lagcast_some_total", {"namespace": "a", "name": "b", "part": "c"}) == 1.0


def test_a_counter_never_goes_down_and_labels_are_all_given() -> None:
    counter = labelled(Kind.COUNTER)
    with pytest.raises(ValueError, match="some: a counter never goes down"):
        counter.add(-1.0, "a", "b", "c")
    with pytest.raises(ValueError, match="some: labels"):
        counter.add(1.0, "a", "b")
