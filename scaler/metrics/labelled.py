"""The series of one metric, by their labels: a float for each, where the client's own objects take 600 bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from sys import intern
from threading import Lock

from prometheus_client import CollectorRegistry
from prometheus_client import Metric as Family
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily

from scaler.metrics.catalog import PREFIX, Kind, Metric


class Labelled:
    """Of a gauge, a counter or a summary with labels; shown by ``registry``. May be read from any thread.

    ``labels`` are values in the order of the metric's label names. Raises ValueError for too few or too many.
    """

    def __init__(self, metric: Metric, registry: CollectorRegistry) -> None:
        self._metric = metric
        self._lock = Lock()
        self._values: dict[tuple[str, ...], float] = {}
        self._counts: dict[tuple[str, ...], int] = {}  # of a summary: how many were observed
        registry.register(self)

    def set(self, value: float | None, *labels: str) -> None:
        """Of a gauge; what is not known is shown as NaN, never as 0."""
        key = self._key(labels)
        with self._lock:
            self._values[key] = math.nan if value is None else float(value)

    def add(self, amount: float, *labels: str) -> None:
        """To a counter, which begins at 0. Raises ValueError for less than 0."""
        if amount < 0:
            raise ValueError(f"{self._metric.name}: a counter never goes down, and {amount} was to be added")
        key = self._key(labels)
        with self._lock:
            self._values[key] = self._values.get(key, 0.0) + amount

    def observe(self, value: float, *labels: str) -> None:
        """One more in a summary."""
        key = self._key(labels)
        with self._lock:
            self._values[key] = self._values.get(key, 0.0) + value
            self._counts[key] = self._counts.get(key, 0) + 1

    def begin(self, *labels: str) -> None:
        """Of a counter or a summary: show it at 0 if nothing is shown yet."""
        key = self._key(labels)
        with self._lock:
            self._values.setdefault(key, 0.0)

    def remove(self, **labels: str) -> None:
        """All series that have these labels. Raises ValueError for a label that the metric does not have."""
        names = self._metric.label_names
        if not labels.keys() <= set(names):
            raise ValueError(f"{self._metric.name}: labels {tuple(labels)} found; of {names} are allowed")
        at = {names.index(name): str(value) for name, value in labels.items()}
        with self._lock:
            if len(at) == len(names):  # one series: not looked for among all
                found = [tuple(at[k] for k in range(len(names)))]
            else:
                found = [key for key in self._values if all(key[k] == value for k, value in at.items())]
            for key in found:
                self._values.pop(key, None)
                self._counts.pop(key, None)

    def collect(self) -> Iterable[Family]:
        """As the client's registry asks for them."""
        metric = self._metric
        name, text, labels = PREFIX + metric.name, metric.text, metric.label_names
        with self._lock:
            values, counts = self._values.copy(), self._counts.copy()
        match metric.kind:
            case Kind.COUNTER:
                counter = CounterMetricFamily(name, text, labels=labels)
                for key, value in values.items():
                    counter.add_metric(key, value)
                return [counter]
            case Kind.SUMMARY:
                summary = SummaryMetricFamily(name, text, labels=labels)
                for key, value in values.items():
                    summary.add_metric(key, counts.get(key, 0), value)
                return [summary]
            case _:
                gauge = GaugeMetricFamily(name, text, labels=labels)
                for key, value in values.items():
                    gauge.add_metric(key, value)
                return [gauge]

    def describe(self) -> Iterable[Family]:
        """As the client's registry asks for the names before there is a value."""
        return self.collect()

    def _key(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(labels) != len(self._metric.label_names):
            raise ValueError(f"{self._metric.name}: labels {labels} found; {self._metric.label_names} is wanted")
        return tuple(intern(str(label)) for label in labels)
