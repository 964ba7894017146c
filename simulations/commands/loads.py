"""A load's source as a series of arrival rates: a file, the topic's own history, or Prometheus."""

from __future__ import annotations

from forecasting.errors import BadSeries
from forecasting.series import Series
from scaler.api.predictive_scaler import PredictiveScaler
from scaler.clock import Clock, SystemClock
from scaler.errors import LagcastError
from simulations.errors import BadSetting

AUTO = "auto"
KAFKA_TIMEOUT = 15.0  # s, for the broker's first answer


def from_file(name: str, form: str, seed: int, column: str | None, silence: float | None) -> Series:
    """The load in a file, or a trace by its name. ``form`` auto: as the file looks. Raises BadSeries with its line."""
    from simulations.load_files import Form, read_load

    return read_load(name, None if form == AUTO else Form(form), seed, column, silence)


def from_kafka(resource: PredictiveScaler, span: float, clock: Clock | None = None) -> tuple[Series, int]:
    """The last ``span`` s of the resource's topic, as its broker remembers them, and the number of its partitions.

    Raises LagcastError when the broker does not answer, and BadSeries when it remembers nothing.
    """
    from scaler.observe.kafka import KafkaOffsets
    from scaler.observe.ports import GroupTopic

    clock = clock or SystemClock()
    kafka, step = resource.spec.kafka, float(resource.spec.forecast.step)
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


def from_prometheus(
    resource: PredictiveScaler, url: str | None, query: str | None, span: float, clock: Clock | None = None
) -> Series:
    """What Prometheus knows of the arrival rate over the last ``span`` s, in the resource's steps.

    ``url`` None: where the resource finds its latency. Raises BadSetting, LagcastError or BadSeries.
    """
    from simulations.prometheus_load import query_range

    latency = resource.spec.latency
    where = url if url is not None else None if latency is None else latency.prometheus
    if where is None:
        raise BadSetting(f"--prometheus: found nothing, and {resource} names none in spec.latency; give its URL")
    if query is None:
        raise BadSetting(
            "--query: found nothing; needed with --from-prometheus: arrivals in requests/s as one series, such as "
            "'sum(rate(requests_total[1m]))'"
        )
    step = float(resource.spec.forecast.step)
    now = (clock or SystemClock()).now()
    series = query_range(where, query, now - span, now, step)
    return _known_part(series, f"query {query}")


def _known_part(series: Series, what: str) -> Series:
    """Without the unknown steps at both ends; gaps inside stay."""
    import numpy as np

    known = np.flatnonzero(np.isfinite(series.rates))
    if not len(known):
        raise BadSeries(f"{what}: nothing is known of its past; wait until there is some, or give a file")
    first, last = int(known[0]), int(known[-1]) + 1
    return Series(series.start + first * series.step, series.step, series.rates[first:last])
