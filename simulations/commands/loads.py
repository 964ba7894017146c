"""A load's source as a series of arrival rates: a file, the topic's own history, or Prometheus."""

from __future__ import annotations

from pathlib import Path

from forecasting.errors import BadSeries
from forecasting.series import Series
from scaler.api.predictive_scaler import PredictiveScaler
from scaler.clock import Clock, SystemClock
from scaler.errors import LagcastError
from simulations.errors import BadSetting

KAFKA_TIMEOUT = 15.0  # s, for the broker's first answer


def from_file(path: Path, form: str, seed: int) -> Series:
    """The load in a file. ``form`` auto: by name and first bytes. Raises BadSeries with file and line."""
    from simulations.traces import find_trace, read_trace

    return read_trace(find_trace(str(path)))


def from_kafka(resource: PredictiveScaler, clock: Clock | None = None) -> tuple[Series, int]:
    """The history of the resource's topic, as its broker remembers it, and the number of its partitions.

    Raises LagcastError when the broker does not answer, and BadSeries when it remembers nothing.
    """
    from scaler.observe.kafka import KafkaOffsets
    from scaler.observe.ports import GroupTopic

    clock = clock or SystemClock()
    kafka, step = resource.spec.kafka, float(resource.spec.forecast.step)
    span = float(resource.spec.forecast.history)
    wanted = GroupTopic(kafka.consumer_group, kafka.topic)
    source = KafkaOffsets({"bootstrap.servers": kafka.bootstrap_servers, **dict(kafka.properties)}, KAFKA_TIMEOUT)
    try:
        offsets = source.sample(clock.now(), [wanted])[wanted]
        if offsets.value is None:
            raise LagcastError(f"{resource}: topic {kafka.topic}: {offsets.detail or offsets.freshness}")
        now = clock.now()
        end = now - now % step
        past = source.history(kafka.topic, end - span, end, step)
    finally:
        source.close()
    if past.value is None:
        raise LagcastError(f"{resource}: history of topic {kafka.topic}: {past.detail or past.freshness}")
    return _known_part(past.value, f"topic {kafka.topic}"), len(offsets.value.partitions)


def from_prometheus(url: str, query: str | None, resource: PredictiveScaler) -> Series:
    """What Prometheus knows of the arrival rate, over the resource's history. Raises BadSetting or BadSeries."""
    raise BadSetting("--from-prometheus: not yet")


def _known_part(series: Series, what: str) -> Series:
    """Without the unknown steps at both ends; gaps inside stay."""
    import numpy as np

    known = np.flatnonzero(np.isfinite(series.rates))
    if not len(known):
        raise BadSeries(f"{what}: nothing is known of its past; wait until there is some, or give a file")
    first, last = int(known[0]), int(known[-1]) + 1
    return Series(series.start + first * series.step, series.step, series.rates[first:last])
